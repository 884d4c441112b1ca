//! Signals to a container's processes.

use std::os::fd::{AsFd, BorrowedFd};

use super::{Container, Status};
use crate::cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Errno, pidfd};

impl Container {
    /// Sends a signal to the container's process. SIGKILL goes to all processes of a container
    /// that shares its pid namespace, even when its first one has ended. Signal 0 only asks.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] for a stopped container.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let (status, init) = self.probe()?;
        if signal == libc::SIGKILL && !self.record.own_pid_namespace {
            return self.kill_everything(status);
        }
        let Some(init) = init else {
            return Err(Error::new(ErrorKind::NotRunning, "container not running"));
        };
        send(init.pidfd.as_fd(), signal)?;
        if signal == libc::SIGKILL && status == Status::Paused {
            // A frozen task of v1 does not die.
            cgroup::thaw(self.location()?)?;
        }
        Ok(())
    }

    fn kill_everything(&self, status: Status) -> Result<()> {
        let location = &self.location()?.own(None, true)?;
        if cgroup::pids(location, true)?.is_empty() && status == Status::Stopped {
            return Err(Error::new(ErrorKind::NotRunning, "container not running"));
        }
        Ok(cgroup::kill_all(location)?)
    }

    /// Sends a signal to every process of the container; a stopped container is no error.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        let Some(location) = &self.record.cgroup else {
            return match self.probe()?.1 {
                Some(init) => send(init.pidfd.as_fd(), signal),
                None => Ok(()),
            };
        };
        let location = &location.own(None, true)?;
        if signal == libc::SIGKILL {
            return Ok(cgroup::kill_all(location)?);
        }
        for pid in cgroup::pids(location, true)? {
            let process = match pidfd::open(pid.cast_unsigned()) {
                Ok(process) => process,
                Err(Errno(libc::ESRCH | libc::EINVAL)) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            // The pid may have become another's before the pidfd was opened.
            if !cgroup::pids(location, true)?.contains(&pid) {
                continue;
            }
            match pidfd::send_signal(process.as_fd(), signal) {
                Ok(()) | Err(Errno(libc::ESRCH)) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }
}

/// Sends a signal to one process.
pub(super) fn send(process: BorrowedFd<'_>, signal: i32) -> Result<()> {
    match pidfd::send_signal(process, signal) {
        Ok(()) => Ok(()),
        Err(Errno(libc::ESRCH)) => Err(Error::new(ErrorKind::NotRunning, "container not running")),
        Err(errno) => Err(failed(errno)),
    }
}

fn failed(errno: Errno) -> Error {
    Error::new(ErrorKind::System, format!("error sending signal to process: {errno}"))
}
