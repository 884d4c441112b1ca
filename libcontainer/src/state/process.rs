//! Finding a process again.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use procfs::process::Stat;
use procfs::{FromRead, ProcError};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Errno, pidfd};

/// A process for ever: pids are used again, but not with the same start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Pid in the pid namespace of whoever recorded it.
    pub(crate) pid: u32,
    /// Clock ticks from boot to its start: field 22 of /proc/PID/stat.
    pub(crate) start_time: u64,
}

impl Identity {
    /// The identity of a process that exists, be it a zombie.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        match start_time(pid)? {
            Some(start_time) => Ok(Self { pid, start_time }),
            None => Err(Error::new(ErrorKind::System, format!("process {pid} does not exist"))),
        }
    }
}

/// A process that had not ended when it was found.
#[derive(Debug)]
pub(crate) struct LiveProcess {
    /// Its pid.
    pub(crate) pid: u32,
    /// Stands for it alone.
    pub(crate) pidfd: OwnedFd,
}

impl LiveProcess {
    /// Finds a recorded process; `None` when it has ended, be it a zombie or its pid another's.
    pub(crate) fn find(identity: &Identity) -> Result<Option<Self>> {
        let pid = identity.pid;
        let pidfd = match pidfd::open(pid) {
            Ok(pidfd) => pidfd,
            // EINVAL: the pid is a thread's by now.
            Err(Errno(libc::ESRCH | libc::EINVAL)) => return Ok(None),
            Err(errno) => return Err(cannot("open a pidfd of", pid, errno)),
        };
        // Read after the pidfd was opened: what is read is of the process that it stands for, or
        // that process has ended.
        if start_time(pid)? != Some(identity.start_time) {
            return Ok(None);
        }
        let ended = pidfd::has_ended(pidfd.as_fd()).map_err(|e| cannot("poll", pid, e))?;
        Ok((!ended).then_some(Self { pid, pidfd }))
    }
}

fn cannot(act: &str, pid: u32, errno: Errno) -> Error {
    Error::new(ErrorKind::System, format!("{act} process {pid}: {errno}"))
}

/// Whether a child of ours has executed a program since it was cloned: true also for one whose
/// status somebody took. A zombie still tells.
pub(crate) fn has_executed(pid: u32) -> Result<bool> {
    /// `PF_FORKNOEXEC`: execve clears it before it closes descriptors.
    const CLONED_ONLY: u32 = 0x40;
    Ok(stat(pid)?.is_none_or(|stat| stat.flags & CLONED_ONLY == 0))
}

fn start_time(pid: u32) -> Result<Option<u64>> {
    Ok(stat(pid)?.map(|stat| stat.starttime))
}

fn stat(pid: u32) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    match File::open(&path).map_err(ProcError::from).and_then(Stat::from_read) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(Error::new(ErrorKind::System, format!("read {path}: {error}"))),
    }
}

/// It was not there, or was reaped after its file was opened.
fn is_gone(error: &ProcError) -> bool {
    match error {
        ProcError::NotFound(_) => true,
        ProcError::Io(error, _) => error.raw_os_error() == Some(libc::ESRCH),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_until_it_ends() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        assert_eq!(LiveProcess::find(&identity).unwrap().unwrap().pid, child.id());
        let other = Identity { start_time: identity.start_time + 1, ..identity };
        assert!(LiveProcess::find(&other).unwrap().is_none());
        let alive = LiveProcess::find(&identity).unwrap().unwrap();
        drop(child.stdin.take());
        pidfd::poll([(Some(alive.pidfd.as_fd()), libc::POLLIN)], None).unwrap();
        assert!(LiveProcess::find(&identity).unwrap().is_none(), "a zombie");
        child.wait().unwrap();
        assert!(LiveProcess::find(&identity).unwrap().is_none());
    }

    #[test]
    fn a_process_may_be_reaped_while_it_is_read() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let file = File::open(format!("/proc/{}/stat", child.id())).unwrap();
        child.wait().unwrap();
        assert!(is_gone(&Stat::from_read(file).unwrap_err()));
        assert!(stat(child.id()).unwrap().is_none());
    }

    #[test]
    fn names_do_not_mislead() {
        let own = |name: &str| {
            let thread = std::thread::Builder::new().name(name.to_owned());
            let stat = || Stat::from_file("/proc/thread-self/stat").unwrap();
            thread.spawn(stat).unwrap().join().unwrap()
        };
        let expected = own("cat");
        for name in ["a) S 1", ") ) (", "("] {
            let stat = own(name);
            assert_eq!((stat.comm.as_str(), stat.pgrp), (name, expected.pgrp));
            assert!(stat.starttime >= expected.starttime);
        }
    }
}
