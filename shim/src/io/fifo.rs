//! FIFOs that containerd makes and opens at its end.
//!
//! They are opened for reading and writing: that never waits for the other end, and as long as we
//! have both ends open, a restart of containerd neither ends our input nor breaks our output.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Whether a path leads to a FIFO.
pub(super) fn is_fifo(path: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(path)?.file_type().is_fifo())
}

/// Opens both ends.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    Ok(File::options().read(true).write(true).custom_flags(flags).open(path)?.into())
}

/// Opens one end of a FIFO anew that is open already.
pub(super) fn reopen(fifo: BorrowedFd<'_>, write: bool) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fifo.as_raw_fd());
    let flags = libc::O_NONBLOCK;
    Ok(File::options().read(!write).write(write).custom_flags(flags).open(path)?.into())
}

/// Closes a FIFO after the last byte was written to it, so that its reader reads the end. What is
/// in it belongs to a reader who may not be there yet, or not again yet: he is waited for, because
/// the kernel throws the bytes away when nobody has the FIFO open, and an opening of it that comes
/// too late waits for a writer for ever.
pub(super) async fn hand_over(fifo: OwnedFd) -> io::Result<()> {
    const FIRST_LOOK: Duration = Duration::from_millis(1);
    const LONGEST_PAUSE: Duration = Duration::from_millis(250);
    let writer = reopen(fifo.as_fd(), true)?;
    drop(fifo);
    let mut pause = FIRST_LOOK;
    while !has_reader(writer.as_fd()) {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

fn has_reader(writer: BorrowedFd<'_>) -> bool {
    !now(writer, PollFlags::empty()).contains(PollFlags::POLLERR)
}

/// What poll(2) says at this moment.
pub(super) fn now(descriptor: BorrowedFd<'_>, events: PollFlags) -> PollFlags {
    let mut polled = [PollFd::new(descriptor, events)];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(_) => polled[0].revents().unwrap_or(PollFlags::empty()),
        Err(_) => PollFlags::empty(),
    }
}
