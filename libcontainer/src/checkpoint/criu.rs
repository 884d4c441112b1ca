//! The conversation with CRIU: one process for one request, over a socket.
//!
//! ```text
//! us                                    criu swrk 3
//!   version? features?            -->
//!                                 <--   answers
//!   dump, pre-dump or restore     -->
//!                                 <--   notification         as often as it likes; it waits for
//!   success or failure            -->                        each answer
//!                                 <--   answer, its end
//! ```

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::message::{self, Kind, Options, Response};
use super::wire::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::clone::Child;
use crate::sys::spawn::{self, Command};
use crate::sys::{Errno, pidfd, socket};

/// The oldest CRIU that tells its version, and that is tried.
const OLDEST: u32 = 30_000;

/// Longest packet that CRIU sends: a few texts of its own.
const LONGEST: usize = 64 * 1024;

/// How long CRIU may take to undo what it did after it was told to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long CRIU may take to see that what it saves has ended: less than a deletion waits.
const PATIENCE_WITH_THE_DEAD: Duration = Duration::from_secs(2);

/// All is written: what CRIU ends it ends after this.
const WRITTEN: &str = "post-dump";

const ADVICE: &str = "install it (Debian 13 and later, Ubuntu, Fedora: package criu), or name the program with --criu";

/// Finds the program: the one that the caller names, or `criu` in `PATH`.
pub(super) fn find(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        return match is_program(path) {
            true if path.is_absolute() => Ok(path.to_owned()),
            _ => Err(missing(&format!("{} is no absolute path of a program", path.display()))),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("criu"))
        .find(|program| is_program(program))
        .ok_or_else(|| missing("executable file not found in $PATH"))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn missing(why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("criu: {why}: {ADVICE}")).with_hint(ADVICE)
}

/// What a process of CRIU starts with.
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    pub(super) stdio: [BorrowedFd<'a>; 3],
    /// Descriptors from [`FIRST_PASSED`] on.
    pub(super) passed: &'a [BorrowedFd<'a>],
    /// Files of cgroups into which it writes itself before it is executed.
    pub(super) tasks: &'a [BorrowedFd<'a>],
}

/// Number of the first passed descriptor: 0 to 2 are the standard ones, 3 is the socket.
pub(super) const FIRST_PASSED: i32 = 4;

/// A process of CRIU. It is killed when this is dropped before its end.
pub(super) struct Session<'a> {
    child: Option<Child>,
    socket: OwnedFd,
    /// Until all of it is written.
    saved: Option<BorrowedFd<'a>>,
}

/// Something that CRIU has reached.
pub(super) struct Notification {
    pub(super) script: String,
    pub(super) pid: u32,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl<'a> Session<'a> {
    /// Executes the program.
    pub(super) fn start(start: &Start<'_>) -> Result<Self> {
        let (ours, theirs) = socket::pair().map_err(|errno| failed("socketpair", errno))?;
        let path = CString::new(start.program.as_os_str().as_bytes())
            .map_err(|_| missing("its path has a NUL byte"))?;
        let arguments = [c"criu", c"swrk", c"3"].map(CString::from);
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            let mut entry = name.into_vec();
            entry.push(b'=');
            entry.extend_from_slice(value.as_bytes());
            CString::new(entry).ok()
        });
        let command = Command {
            path: &path,
            arguments: &arguments,
            environment: &environment.collect::<Vec<_>>(),
            directory: None,
            stdio: start.stdio,
        };
        let mut passed = vec![theirs.as_fd()];
        passed.extend_from_slice(start.passed);
        let child = spawn::spawn_direct(&command, &passed, start.tasks)
            .map_err(|errno| failed(&format!("execute {}", start.program.display()), errno))?;
        Ok(Self { child: Some(child), socket: ours, saved: None })
    }

    /// With the end of the process that is saved CRIU's work ends, also where CRIU waits for somebody
    /// else.
    pub(super) fn saving(mut self, process: BorrowedFd<'a>) -> Self {
        self.saved = Some(process);
        self
    }

    /// The pid of CRIU.
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, |child| child.pid)
    }

    /// Asks for the version, and refuses one that is too old to be asked.
    pub(super) fn version(&mut self) -> Result<u32> {
        let version = self.ask(Kind::Version)?.version;
        match version {
            OLDEST.. => Ok(version),
            _ => Err(too_old(version, OLDEST, "checkpoint and restore")),
        }
    }

    /// Asks what CRIU and the kernel can do.
    pub(super) fn features(&mut self) -> Result<message::Features> {
        Ok(self.ask(Kind::FeatureCheck)?.features)
    }

    fn ask(&mut self, kind: Kind) -> Result<Response> {
        self.send(&message::question(kind))?;
        let (response, _) = self.receive()?;
        if response.success { Ok(response) } else { Err(refusal(kind, &response)) }
    }

    /// Has CRIU carry a request out. `notified` is called at each notification; its error ends
    /// the request. Waits for CRIU's end.
    pub(super) fn perform(
        mut self,
        kind: Kind,
        options: &Options,
        notified: &mut dyn FnMut(Notification) -> Result<()>,
    ) -> Result<Response> {
        self.send(&message::request(kind, options))?;
        let mut outcome = Ok(());
        let response = loop {
            let (response, descriptors) = match self.receive() {
                Ok(received) => received,
                // What was refused here is why CRIU says no more.
                Err(error) => return Err(outcome.err().unwrap_or(error)),
            };
            if response.kind != Some(Kind::Notify) {
                break response;
            }
            if !response.success {
                break response;
            }
            log::debug!("criu: {}", response.script);
            self.saved = self.saved.filter(|_| response.script != WRITTEN);
            let notification =
                Notification { script: response.script, pid: response.pid, descriptors };
            if outcome.is_ok() {
                outcome = notified(notification);
            }
            self.send(&message::acknowledgement(outcome.is_ok()))?;
        };
        outcome?;
        if !response.success {
            let kind = response.kind.unwrap_or(kind);
            self.finish()?;
            return Err(refusal(kind, &response));
        }
        let ended = self.finish()?;
        // After a pre-dump it waits for the dump, and the end of the connection is a failure to it.
        // Somebody else in the calling program may have taken its status, which is no failure.
        let well = matches!(ended, pidfd::Ended::Exited(0) | pidfd::Ended::Unknown);
        if kind != Kind::PreDump && !well {
            let message = format!("criu failed: type {}: it ended with {ended:?}", kind.name());
            return Err(Error::new(ErrorKind::Checkpoint, message));
        }
        Ok(response)
    }

    fn send(&self, message: &Writer) -> Result<()> {
        match socket::send(self.socket.as_fd(), message.as_bytes(), &[]) {
            // It has ended: what it said last, if anything, is still to be read.
            Ok(()) | Err(Errno(libc::EPIPE | libc::ECONNRESET)) => Ok(()),
            Err(errno) => Err(failed("write to criu", errno)),
        }
    }

    fn receive(&mut self) -> Result<(Response, Vec<OwnedFd>)> {
        self.await_answer()?;
        let mut packet = vec![0; LONGEST];
        // Read even if only its end was seen: it may have said something just before.
        let received = match socket::receive(self.socket.as_fd(), &mut packet) {
            Err(Errno(libc::EAGAIN)) => None,
            received => received.map_err(|errno| failed("read from criu", errno))?,
        };
        let Some((length, descriptors)) = received else {
            return Err(Error::new(
                ErrorKind::Checkpoint,
                "criu failed: it ended without an answer",
            ));
        };
        let response = packet.get(..length).and_then(Response::parse).ok_or_else(|| {
            Error::new(ErrorKind::Checkpoint, "criu failed: its answer is not in its form")
        })?;
        Ok((response, descriptors))
    }

    /// Waits for an answer or CRIU's end, but not long when what it saves has ended.
    fn await_answer(&mut self) -> Result<()> {
        let child = self.child.as_ref().map(|child| child.pidfd.as_fd());
        let answered = |saved, timeout| -> Result<bool> {
            let polled = [Some(self.socket.as_fd()), child, saved].map(|fd| (fd, libc::POLLIN));
            let ready = pidfd::poll(polled, timeout).map_err(|errno| failed("poll", errno))?;
            Ok(!matches!(ready, [0, 0, _]))
        };
        if answered(self.saved, None)? || answered(None, Some(PATIENCE_WITH_THE_DEAD))? {
            return Ok(());
        }
        if let Some(child) = self.child.take() {
            crate::create::kill(&child);
        }
        let message = "criu failed: the container ended before it was saved";
        Err(Error::new(ErrorKind::Checkpoint, message))
    }

    /// Ends the connection and waits for CRIU's end.
    fn finish(&mut self) -> Result<pidfd::Ended> {
        let Some(child) = self.child.take() else { return Ok(pidfd::Ended::Unknown) };
        socket::shut_down(self.socket.as_fd()).map_err(|errno| failed("shutdown", errno))?;
        let pidfd = child.pidfd.as_fd();
        let wait = |patience| {
            pidfd::poll([(Some(pidfd), libc::POLLIN)], patience)
                .map_err(|errno| failed("wait for criu", errno))
        };
        if wait(Some(PATIENCE))? == [0] {
            crate::create::kill(&child);
            return Ok(pidfd::Ended::Signaled(libc::SIGKILL));
        }
        pidfd::reap(pidfd).map_err(|errno| failed("wait for criu", errno))
    }
}

impl Drop for Session<'_> {
    /// Gives CRIU the time to take back what it did, then kills it.
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            log::debug!("criu: {error}");
        }
    }
}

/// Refuses an option that this CRIU does not know yet.
pub(super) fn check_version(version: u32, needed: u32, what: &str) -> Result<()> {
    if version >= needed { Ok(()) } else { Err(too_old(version, needed, what)) }
}

fn too_old(version: u32, needed: u32, what: &str) -> Error {
    let shown =
        |version: u32| format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100);
    let message =
        format!("criu {} is too old: {what} needs {} or later", shown(version), shown(needed));
    Error::new(ErrorKind::Unsupported, message).with_hint(ADVICE)
}

/// Without CAP_SYS_RESOURCE CRIU calls it an error first of all that it cannot raise a limit of its
/// own, and goes on.
pub(super) fn is_noise(line: &str) -> bool {
    line.contains("rlimit: Can't setup RLIMIT_NOFILE for self")
}

fn refusal(kind: Kind, response: &Response) -> Error {
    let mut message = format!("criu failed: type {} errno {}", kind.name(), response.errno);
    let said = response.message.lines().map(str::trim);
    let said: Vec<&str> = said.filter(|line| !line.is_empty() && !is_noise(line)).collect();
    if !said.is_empty() {
        message.push_str(": ");
        message.push_str(&said.join("; "));
    }
    Error::new(ErrorKind::Checkpoint, message)
}

fn failed(act: &str, errno: Errno) -> Error {
    Error::new(ErrorKind::System, format!("{act}: {errno}"))
}
