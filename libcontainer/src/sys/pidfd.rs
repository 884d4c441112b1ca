//! Processes by descriptor. For the parent.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::errno::Result;
use super::raw::call;

/// pidfd_open(2), Linux 5.3.
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes integers.
    let fd = unsafe { call!(libc::SYS_pidfd_open, pid, 0) }?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it. It is
    // close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// pidfd_send_signal(2), Linux 5.1.
pub(crate) fn pidfd_send_signal(process: impl AsFd, signal: i32) -> Result<()> {
    let fd = process.as_fd().as_raw_fd();
    // SAFETY: pidfd_send_signal takes integers and, here, no siginfo.
    unsafe { call!(libc::SYS_pidfd_send_signal, fd, signal, 0, 0) }.map(drop)
}
