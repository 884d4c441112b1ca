//! Bytes on their way. Nothing is read before there is room for it: whoever writes is slowed down
//! by whoever reads, and no buffer grows.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::PollFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::fifo;

/// A descriptor that can be waited for.
pub(super) trait Source: AsFd + AsRawFd + Send + Sync + 'static {}

impl<T: AsFd + AsRawFd + Send + Sync + 'static> Source for T {}

/// To be waited for until it can be read.
#[expect(deprecated, reason = "a Source owns its descriptor, which keeps its number")]
pub(super) fn readable<S: Source>(descriptor: S) -> io::Result<AsyncFd<S>> {
    Ok(AsyncFd::try_with_interest(descriptor, Interest::READABLE)?)
}

/// To be waited for until it can be written.
#[expect(deprecated, reason = "it owns its descriptor, which keeps its number")]
pub(super) fn writable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    Ok(AsyncFd::try_with_interest(descriptor, Interest::WRITABLE)?)
}

/// Moves everything from one pipe to another until the first one's end; the bytes stay in the
/// kernel.
pub(super) async fn splice_all(from: &AsyncFd<OwnedFd>, to: &AsyncFd<OwnedFd>) -> io::Result<()> {
    const MOST: usize = 1 << 20;
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    loop {
        let mut has_bytes = from.readable().await?;
        let mut has_room = to.writable().await?;
        match splice(from.get_ref(), None, to.get_ref(), None, MOST, flags) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            // The kernel does not say which of the two it was; what has become ready since is
            // reported again.
            Err(Errno::EAGAIN) => {
                if fifo::now(from.as_fd(), PollFlags::POLLIN).is_empty() {
                    has_bytes.clear_ready();
                }
                if fifo::now(to.as_fd(), PollFlags::POLLOUT).is_empty() {
                    has_room.clear_ready();
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Bytes that were read and not written yet.
#[derive(Default)]
pub(super) struct Rest(Vec<u8>);

/// What a pipe takes at once, without waiting, when it says that it takes something (PIPE_BUF).
const ROOM: usize = 4096;

/// Copies what splice(2) cannot move until the end of `from`: from a terminal to a pipe, or from
/// a pipe to a terminal.
pub(super) async fn copy_all<S: Source, T: Source>(
    from: &AsyncFd<S>,
    to: &AsyncFd<T>,
    rest: &mut Rest,
) -> io::Result<()> {
    loop {
        write_rest(to, rest).await?;
        let mut has_bytes = from.readable().await?;
        let mut has_room = to.writable().await?;
        match step(from.as_fd(), to.as_fd(), rest) {
            Ok(Step::Copied) => {}
            Ok(Step::Empty) => has_bytes.clear_ready(),
            Ok(Step::Full) => has_room.clear_ready(),
            Ok(Step::End) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

enum Step {
    Copied,
    Empty,
    Full,
    End,
}

fn step(from: BorrowedFd<'_>, to: BorrowedFd<'_>, rest: &mut Rest) -> io::Result<Step> {
    let mut buffer = [0; ROOM];
    let length = match nix::unistd::read(from, &mut buffer) {
        // EIO: the other end of a terminal is closed.
        Ok(0) | Err(Errno::EIO) => return Ok(Step::End),
        Ok(length) => length,
        Err(Errno::EAGAIN) => return Ok(Step::Empty),
        Err(Errno::EINTR) => return Ok(Step::Copied),
        Err(errno) => return Err(errno.into()),
    };
    let bytes = buffer.get(..length).unwrap_or_default();
    match nix::unistd::write(to, bytes) {
        Ok(written) if written == length => Ok(Step::Copied),
        Ok(written) => {
            rest.0.extend_from_slice(bytes.get(written..).unwrap_or_default());
            Ok(Step::Full)
        }
        Err(Errno::EAGAIN | Errno::EINTR) => {
            rest.0.extend_from_slice(bytes);
            Ok(Step::Full)
        }
        Err(errno) => Err(errno.into()),
    }
}

async fn write_rest<T: Source>(to: &AsyncFd<T>, rest: &mut Rest) -> io::Result<()> {
    /// A terminal whose buffer is being emptied says so too early, and not a second time.
    const LOOK: std::time::Duration = std::time::Duration::from_millis(20);
    while !rest.0.is_empty() {
        match nix::unistd::write(to.get_ref(), &rest.0) {
            Ok(written) => drop(rest.0.drain(..written)),
            Err(Errno::EAGAIN | Errno::EINTR) => {
                if let Ok(has_room) = tokio::time::timeout(LOOK, to.writable()).await
                    && fifo::now(to.as_fd(), PollFlags::POLLOUT).is_empty()
                {
                    has_room?.clear_ready();
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    rest.0 = Vec::new();
    Ok(())
}

/// Reads and forgets until the end, and calls `noticed` for everything that is lost.
pub(super) async fn discard_all<S: Source>(
    from: &AsyncFd<S>,
    mut noticed: impl FnMut(),
) -> io::Result<()> {
    loop {
        let mut has_bytes = from.readable().await?;
        let mut buffer = [0; ROOM];
        match nix::unistd::read(from.get_ref(), &mut buffer) {
            Ok(0) | Err(Errno::EIO) => return Ok(()),
            Ok(_) => noticed(),
            Err(Errno::EAGAIN) => has_bytes.clear_ready(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Appends everything to a file. A write may wait for a disk, or for a server for ever, so that it
/// is done by a thread of its own; while it lasts, nothing more is read.
pub(super) async fn append_all<S: Source>(
    from: &Arc<AsyncFd<S>>,
    to: &Arc<File>,
    path: &Path,
) -> io::Result<()> {
    let mut fails = false;
    loop {
        let mut has_bytes = from.readable().await?;
        let (source, file) = (Arc::clone(from), Arc::clone(to));
        let appended = tokio::task::spawn_blocking(move || append(source.as_fd(), &file)).await??;
        if let Some(error) = &appended.failure
            && !fails
        {
            log::warn!("write {}: {}; what comes is lost", path.display(), super::words(error));
        }
        fails = appended.failure.is_some();
        match appended.step {
            Step::End => return Ok(()),
            Step::Empty => has_bytes.clear_ready(),
            Step::Copied | Step::Full => {}
        }
    }
}

struct Appended {
    step: Step,
    /// The file took no more. The bytes are lost: a full disk must not stop the container.
    failure: Option<io::Error>,
}

fn append(from: BorrowedFd<'_>, mut to: &File) -> io::Result<Appended> {
    const BUFFER: usize = 32 * 1024;
    const MOST_READS: usize = 64;
    let mut failure = None;
    let mut buffer = [0; BUFFER];
    for _ in 0..MOST_READS {
        let length = match nix::unistd::read(from, &mut buffer) {
            Ok(0) | Err(Errno::EIO) => return Ok(Appended { step: Step::End, failure }),
            Ok(length) => length,
            Err(Errno::EAGAIN) => return Ok(Appended { step: Step::Empty, failure }),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if let Err(error) = to.write_all(buffer.get(..length).unwrap_or_default()) {
            failure = Some(error);
        }
    }
    Ok(Appended { step: Step::Copied, failure })
}
