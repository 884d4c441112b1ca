//! A container's terminal: what is written to it goes to the output, the input goes into it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use libcontainer::terminal::Terminal;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::sync::watch;

use super::copy::{self, Rest};
use super::{Sink, fifo, is_set};

/// Makes reading and writing not wait.
pub(super) fn set_nonblocking(descriptor: impl AsFd) -> io::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Copies what is written to the terminal until its process has ended and nothing is left. A
/// hang-up before that is none of ours: programs such as systemd and getty open their terminal
/// again after it.
pub(super) async fn copy_output(
    terminal: &Arc<Terminal>,
    sink: &Sink,
    ended: &watch::Receiver<bool>,
) -> io::Result<()> {
    const PAUSE: Duration = Duration::from_millis(10);
    let mut rest = Rest::default();
    loop {
        let master = Arc::new(copy::readable(Arc::clone(terminal))?);
        match sink {
            Sink::Nowhere => copy::discard_all(&*master, || ()).await?,
            Sink::Fifo(to) | Sink::Pipe(to) => copy::copy_all(&*master, to, &mut rest).await?,
            Sink::File(to, path) => copy::append_all(&master, to, path).await?,
        }
        if *ended.borrow() {
            return Ok(());
        }
        // A terminal that reported a hang-up reports it until it is waited for anew.
        drop(master);
        tokio::time::sleep(PAUSE).await;
        if !*ended.borrow() {
            terminal.hold_open().map_err(io::Error::other)?;
        }
    }
}

/// Copies the input until it ends, which it can only when it was closed.
pub(super) async fn copy_input(
    input: OwnedFd,
    terminal: &Arc<Terminal>,
    closed: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let master = copy::writable(terminal.as_fd().try_clone_to_owned()?)?;
    let mut rest = Rest::default();
    let reader = {
        let input = copy::readable(input)?;
        tokio::select! {
            copied = copy::copy_all(&input, &master, &mut rest) => return copied,
            () = is_set(closed) => {}
        }
        fifo::reopen(input.as_fd(), false)?
    };
    copy::copy_all(&copy::readable(reader)?, &master, &mut rest).await
}
