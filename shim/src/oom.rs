//! Watches containers for lack of memory, by the descriptors of the kernel and without a thread.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use libcontainer::{Container, MemoryWatch};
use tokio::task::AbortHandle;

use crate::readiness;

/// A watch over one container, until it is dropped.
pub(crate) struct Watch {
    /// None where no controller counts memory.
    watched: Option<(Arc<Mutex<Watched>>, AbortHandle)>,
}

struct Watched {
    watch: MemoryWatch,
    tell: Box<dyn FnMut() + Send>,
}

/// Calls `tell` each time that memory runs out in the container, in the runtime that this is
/// called in. A container whose memory nobody counts is never short of it.
///
/// # Errors
/// The kernel refused to watch.
pub(crate) fn watch(
    container: &Container,
    tell: impl FnMut() + Send + 'static,
) -> anyhow::Result<Watch> {
    let Some(watch) = container.watch_memory()? else { return Ok(Watch { watched: None }) };
    let descriptor = watch.as_fd().as_raw_fd();
    let watched = Arc::new(Mutex::new(Watched { watch, tell: Box::new(tell) }));
    let polled = readiness::watch(Seen { descriptor, watched: watched.clone() })?;
    let seen = watched.clone();
    let task = tokio::spawn(async move {
        loop {
            match polled.readable().await {
                Ok(mut ready) => {
                    ready.clear_ready();
                    if !seen.check() {
                        return;
                    }
                }
                Err(error) => {
                    log::warn!("lack of memory is not watched any more: {error}");
                    return;
                }
            }
        }
    });
    Ok(Watch { watched: Some((watched, task.abort_handle())) })
}

/// What is watched, by its descriptor.
struct Seen {
    descriptor: RawFd,
    #[expect(dead_code, reason = "keeps the descriptor open")]
    watched: Arc<Mutex<Watched>>,
}

impl AsRawFd for Seen {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor
    }
}

impl Watch {
    /// Looks now. To be called when the container's process has ended and before that is told:
    /// what killed the process is told first.
    pub(crate) fn settle(&self) {
        if let Some((watched, _)) = &self.watched {
            watched.check();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.watched {
            task.abort();
        }
    }
}

trait Check {
    /// Tells of a lack of memory. Whether there may be another.
    fn check(&self) -> bool;
}

impl Check for Mutex<Watched> {
    fn check(&self) -> bool {
        let mut watched = self.lock().unwrap_or_else(PoisonError::into_inner);
        match watched.watch.has_occurred() {
            Ok(true) => (watched.tell)(),
            Ok(false) => {}
            Err(error) => {
                log::warn!("lack of memory is not watched any more: {error}");
                return false;
            }
        }
        true
    }
}
