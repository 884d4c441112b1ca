//! Rest: most shims have nothing to do most of the time, and there are many of them.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// Longer than unused threads wait for work.
const PAUSE: Duration = Duration::from_millis(1500);

static WORK: Notify = Notify::const_new();

/// To be called when something is done.
pub(crate) fn end() {
    WORK.notify_one();
}

/// Gives memory back each time that nothing was done for a while.
pub(crate) async fn observe() {
    loop {
        WORK.notified().await;
        while timeout(PAUSE, WORK.notified()).await.is_ok() {}
        libcontainer::footprint::shrink();
    }
}
