//! The end of a process.

use std::os::fd::BorrowedFd;

use super::ExitStatus;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::pidfd::{self, Ended};
use crate::sys::process;

/// Waits for the end of a process and takes its status.
pub(super) fn wait(process: BorrowedFd<'_>) -> Result<ExitStatus> {
    let failed = |errno| Error::new(ErrorKind::System, format!("wait for the process: {errno}"));
    pidfd::poll([(Some(process), libc::POLLIN)], None).map_err(failed)?;
    Ok(match pidfd::reap(process).map_err(failed)? {
        Ended::Exited(code) => ExitStatus::Exited(code),
        Ended::Signaled(signal) => ExitStatus::Signaled(signal),
        Ended::Unknown => ExitStatus::Unknown,
    })
}

/// Gives SIGCHLD its default action in this process. For programs, not for libraries: one that was
/// started with the signal ignored inherits that, and would get no status of its containers from
/// kernels before 6.15.
///
/// # Errors
/// [`ErrorKind::System`].
pub fn keep_exit_statuses() -> Result<()> {
    if !process::discards_children() {
        return Ok(());
    }
    process::keep_children()
        .map_err(|errno| Error::new(ErrorKind::System, format!("reset SIGCHLD: {errno}")))
}

/// execve gives the container's process the exit signal SIGCHLD. A program that ignores that
/// signal gets no status, unless the kernel keeps it for holders of a pidfd (Linux 6.15).
pub(crate) fn check_exit_status_is_kept(kernel: (u32, u32)) -> Result<()> {
    if !process::discards_children() || kernel >= (6, 15) {
        return Ok(());
    }
    let message = "the calling program ignores SIGCHLD, so that nobody can tell how the \
                   container's process ends on this kernel";
    Err(Error::new(ErrorKind::HostReapsChildren, message)
        .with_hint("give SIGCHLD a handler or its default action, without SA_NOCLDWAIT"))
}
