//! Processes of the host that are no containers', such as programs that a container's output goes
//! to.

use std::os::fd::OwnedFd;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::pidfd;

/// A pidfd of a process: it becomes readable when the process has ended. Of a child that was not
/// waited for yet it is certain that the pid still is that child's.
///
/// # Errors
/// [`ErrorKind::System`], also where pidfd_open(2) is missing or forbidden.
pub fn open(pid: u32) -> Result<OwnedFd> {
    pidfd::open_pidfd(pid)
        .map_err(|errno| Error::new(ErrorKind::System, format!("open process {pid}: {errno}")))
}
