//! A container's process in the foreground: signals and keys go to it, its output comes back, its
//! end ends the wait.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Result;
use libcontainer::{Container, ErrorKind, ExecProcess};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, fstat};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use procfs::FromRead;
use procfs::process::Stat;

use crate::notify::Notify;
use crate::terminal::Relay;
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

    fn polled(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.0.as_fd(), PollFlags::POLLIN)
    }

    /// The signal that came first of those that still wait.
    fn next(&self) -> Option<i32> {
        let received = self.0.read_signal().ok()??;
        i32::try_from(received.ssi_signo).ok()
    }
}

/// A process that this command waits for.
pub(crate) struct Foreground<'a> {
    /// Kept since before the process was made.
    pub(crate) signals: &'a Signals,
    /// What signals are sent to.
    pub(crate) target: &'a dyn Target,
    /// Its pid, which is left to its owner to be reaped.
    pub(crate) pid: u32,
    /// Its pidfd.
    pub(crate) pidfd: BorrowedFd<'a>,
    /// Its terminal.
    pub(crate) relay: Option<Relay>,
    /// Where it says that it is ready.
    pub(crate) notify: Option<Notify>,
}

impl Foreground<'_> {
    /// Passes signals on and copies what goes through the terminal until the process has ended.
    /// Children that were reparented to this process are reaped.
    ///
    /// # Errors
    /// What the kernel answered to poll(2).
    pub(crate) fn attend(mut self) -> Result<()> {
        loop {
            let [ended, terminal, input, output, said, signal] = self.poll()?;
            // This process is the service, as long as it lives.
            if said && self.notify.as_ref().is_some_and(|notify| notify.pass_on(std::process::id()))
            {
                self.notify = None;
            }
            if ended {
                return self.finish();
            }
            while signal && let Some(signal) = self.signals.next() {
                self.take(signal)?;
            }
            if let Some(relay) = &mut self.relay {
                relay.copy([terminal, input, output]);
            }
        }
    }

    /// Waits for something to do. Signals are looked at last and taken first: a new size holds for
    /// what is typed after it.
    fn poll(&self) -> Result<[bool; 6]> {
        let terminal = self.relay.as_ref().map(Relay::wanted).unwrap_or_default();
        let [master, input, output] = terminal;
        let read = PollFlags::POLLIN;
        let said = self.notify.as_ref().map(|notify| (notify.as_fd(), read));
        let signal = Some(self.signals.polled());
        if !is_directory(self.pidfd) {
            let wanted = [Some((self.pidfd, read)), master, input, output, said, signal];
            return ready(wanted, PollTimeout::NONE);
        }
        let wanted = [None, master, input, output, said, signal];
        let mut seen = ready(wanted, PollTimeout::from(LOOK))?;
        seen[0] = has_ended(self.pidfd);
        Ok(seen)
    }

    fn take(&mut self, signal: i32) -> Result<()> {
        match (Signal::try_from(signal), &self.relay) {
            (Ok(Signal::SIGCHLD), _) => reap_orphans(self.pid),
            // The container's terminal tells its processes when it has another size.
            (Ok(Signal::SIGWINCH), Some(relay)) => relay.resize(),
            _ => pass_on(self.target, signal)?,
        }
        Ok(())
    }

    /// Copies what the process has written before its end. A signal ends this where the reader
    /// does not read, which could last for ever.
    fn finish(mut self) -> Result<()> {
        let Some(relay) = &mut self.relay else { return Ok(()) };
        let mut drained = 0;
        while relay.drain(&mut drained) {
            let [_, _, output] = relay.wanted();
            let [written, interrupted] =
                ready([output, Some(self.signals.polled())], PollTimeout::NONE)?;
            if written {
                relay.copy([false, false, true]);
            } else if interrupted && self.signals.next().is_some_and(ends_a_wait) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn ends_a_wait(signal: i32) -> bool {
    !matches!(Signal::try_from(signal), Ok(Signal::SIGCHLD | Signal::SIGWINCH | Signal::SIGCONT))
}

/// How often a process without a pidfd is looked at, in milliseconds.
const LOOK: u8 = 5;

/// Where a filter of an outer container refuses pidfd_open(2), the library has the process's
/// directory in procfs instead, of which poll(2) tells nothing.
fn is_directory(process: BorrowedFd<'_>) -> bool {
    fstat(process).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Whether the process of a directory in procfs has ended.
fn has_ended(directory: BorrowedFd<'_>) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let Ok(stat) = openat(directory, "stat", flags, Mode::empty()) else { return true };
    Stat::from_read(File::from(stat)).map_or(true, |stat| matches!(stat.state, 'Z' | 'X'))
}

/// Waits until one of these descriptors is ready; which ones are.
fn ready<const N: usize>(
    wanted: [Option<(BorrowedFd<'_>, PollFlags)>; N],
    timeout: PollTimeout,
) -> Result<[bool; N]> {
    let mut polled: Vec<PollFd<'_>> =
        wanted.iter().flatten().map(|(fd, events)| PollFd::new(*fd, *events)).collect();
    while let Err(error) = poll(&mut polled, timeout) {
        if error != Errno::EINTR {
            return Err(failed("poll", error));
        }
    }
    let mut polled = polled.into_iter();
    Ok(wanted.map(|wanted| {
        let seen = wanted.and_then(|_| polled.next());
        seen.is_some_and(|seen| seen.any().unwrap_or(true))
    }))
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

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    struct Nobody;

    impl Target for Nobody {
        fn send(&self, _: i32) -> libcontainer::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_end_is_seen_without_a_pidfd() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let directory = File::open(format!("/proc/{}", child.id())).unwrap();
        assert!(is_directory(directory.as_fd()) && !has_ended(directory.as_fd()));
        let signals = Signals::block().unwrap();
        drop(child.stdin.take());
        let (pid, pidfd) = (child.id(), directory.as_fd());
        let waited = Foreground {
            signals: &signals,
            target: &Nobody,
            pid,
            pidfd,
            relay: None,
            notify: None,
        };
        waited.attend().unwrap();
        assert!(has_ended(directory.as_fd()));
        child.wait().unwrap();
        assert!(has_ended(directory.as_fd()), "reaped");
    }
}
