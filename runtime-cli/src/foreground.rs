//! A container's process in the foreground: signals go to it, its end ends the wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Result;
use libcontainer::{Container, ErrorKind, ExecProcess};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::text;

/// Something that signals can be sent to.
pub(crate) trait Target {
    /// Sends a signal.
    fn send(&self, signal: i32) -> libcontainer::Result<()>;
}

impl Target for Container {
    fn send(&self, signal: i32) -> libcontainer::Result<()> {
        self.kill(signal)
    }
}

impl Target for ExecProcess {
    fn send(&self, signal: i32) -> libcontainer::Result<()> {
        self.kill(signal)
    }
}

/// Signals that are kept until a process is there to get them.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks every signal that can be passed on, and SIGCHLD. To be called before the process
    /// is made: a signal that comes in between is passed on afterwards.
    ///
    /// # Errors
    /// What the kernel answered.
    pub(crate) fn block() -> Result<Self> {
        let mask = kept();
        mask.thread_block().map_err(|error| failed("block signals", error))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&mask, flags);
        Ok(Self(descriptor.map_err(|error| failed("signalfd", error))?))
    }

    /// Passes signals on until `pidfd` says that the process has ended. Children that were
    /// reparented to this process are reaped; `pid` itself is left to its owner.
    ///
    /// # Errors
    /// What the kernel answered to poll(2).
    pub(crate) fn forward(
        &self,
        target: &dyn Target,
        pid: u32,
        pidfd: BorrowedFd<'_>,
    ) -> Result<()> {
        loop {
            let mut wanted = [
                PollFd::new(pidfd, PollFlags::POLLIN),
                PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut wanted, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(failed("poll", error)),
            }
            let ended = wanted[0].any().unwrap_or(true);
            if ended {
                return Ok(());
            }
            while let Ok(Some(received)) = self.0.read_signal() {
                let signal = i32::try_from(received.ssi_signo).unwrap_or(0);
                if signal == Signal::SIGCHLD as i32 {
                    reap_orphans(pid);
                } else {
                    pass_on(target, signal)?;
                }
            }
        }
    }
}

/// A process that has ended meanwhile needs no signal.
fn pass_on(target: &dyn Target, signal: i32) -> Result<()> {
    match target.send(signal) {
        Err(error) if error.kind() != ErrorKind::NotRunning => Err(error.into()),
        _ => Ok(()),
    }
}

/// Everything but SIGKILL and SIGSTOP, which cannot be blocked, the signals of faults, which are
/// about this process, SIGPIPE, and SIGURG, which language runtimes send to themselves.
fn kept() -> SigSet {
    let mut mask = SigSet::all();
    for signal in [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGTRAP,
        Signal::SIGSYS,
        Signal::SIGPIPE,
        Signal::SIGURG,
    ] {
        mask.remove(signal);
    }
    mask
}

/// Processes that daemonize out of a container without its own pid namespace become children of
/// this one.
///
/// # Errors
/// What prctl(2) answered.
pub(crate) fn become_subreaper() -> Result<()> {
    prctl::set_child_subreaper(true).map_err(|error| failed("become a subreaper", error))
}

/// Reaps every ended child but `pid`: looks first, so that its status is never taken.
fn reap_orphans(pid: u32) {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let take = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    while let Ok(status) = waitid(Id::All, look) {
        let Some(ended) = status.pid().filter(|_| status != WaitStatus::StillAlive) else {
            return;
        };
        let is_ours = u32::try_from(ended.as_raw()) == Ok(pid);
        if is_ours || waitid(Id::Pid(Pid::from_raw(ended.as_raw())), take).is_err() {
            return;
        }
    }
}

fn failed(what: &str, error: Errno) -> anyhow::Error {
    text::tried(what, &io::Error::from(error))
}
