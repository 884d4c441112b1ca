//! Running a program of the host from a program that may have any disposition of SIGCHLD.
//!
//! A child that executes a program sends SIGCHLD at its end, and a `waitpid(-1)` elsewhere in the
//! host program, or an ignored SIGCHLD, takes its status away. So the program is executed by a
//! grandchild; the child between executes nothing, has no exit signal, is invisible to such waits,
//! and passes the status on. It ends the program when we are gone or hang up.
//!
//! CRIU makes the container's process a sibling of its own (CLONE_PARENT), which must be our child:
//! it is executed by a direct child.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::clone::{self, Child};
use super::errno::{Errno, Result};
use super::pidfd::Ended;
use super::raw::{self, call};
use super::{child, process, socket};

/// A program to execute.
pub(crate) struct Command<'a> {
    /// Absolute path.
    pub(crate) path: &'a CString,
    /// Argument vector.
    pub(crate) arguments: &'a [CString],
    /// Environment.
    pub(crate) environment: &'a [CString],
    /// Working directory; the caller's when absent.
    pub(crate) directory: Option<&'a CString>,
    /// Standard input, output and error; no other descriptor is passed on.
    pub(crate) stdio: [BorrowedFd<'a>; 3],
}

/// A program that runs.
pub(crate) struct Running {
    between: Child,
    status: OwnedFd,
}

/// What the child between reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The program could not be executed.
    NotExecuted(Errno),
    /// It has ended.
    Ended(Ended),
}

/// Pointers that the child needs, made before the clone: it must not allocate.
struct Prepared {
    path: *const libc::c_char,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    directory: *const libc::c_char,
    descriptors: Vec<i32>,
}

impl Prepared {
    fn new(command: &Command<'_>, descriptors: &[OwnedFd]) -> Self {
        Self {
            path: command.path.as_ptr(),
            arguments: process::pointers(command.arguments),
            environment: process::pointers(command.environment),
            directory: command.directory.map_or(std::ptr::null(), |directory| directory.as_ptr()),
            descriptors: descriptors.iter().map(AsRawFd::as_raw_fd).collect(),
        }
    }
}

/// Starts a program.
pub(crate) fn spawn(command: &Command<'_>) -> Result<Running> {
    // The descriptors lie above 2, so that putting them in their places overwrites none of them.
    let descriptors = duplicate_all(command.stdio.into_iter(), 3)?;
    let (ours, theirs) = socket::pair()?;
    let theirs = process::duplicate_above(theirs.as_fd(), 3)?;
    let prepared = Prepared::new(command, &descriptors);
    let status = theirs.as_raw_fd();
    let between = clone::clone(0, None, || watch(&prepared, status))?;
    Ok(Running { between, status: ours })
}

fn duplicate_all<'a>(
    descriptors: impl Iterator<Item = BorrowedFd<'a>>,
    lowest: i32,
) -> Result<Vec<OwnedFd>> {
    descriptors.map(|descriptor| process::duplicate_above(descriptor, lowest)).collect()
}

/// Starts a program as a direct child, with further descriptors from 3 on. Before it is executed it
/// writes itself into these files of cgroups, `tasks` or `cgroup.procs`. The error of a program that cannot be executed is that of execve(2).
pub(crate) fn spawn_direct(
    command: &Command<'_>,
    passed: &[BorrowedFd<'_>],
    tasks: &[BorrowedFd<'_>],
) -> Result<Child> {
    let lowest = i32::try_from(passed.len()).map_err(|_| Errno(libc::EMFILE))?.saturating_add(3);
    let all = command.stdio.into_iter().chain(passed.iter().copied());
    let descriptors = duplicate_all(all, lowest)?;
    let tasks: Vec<i32> = tasks.iter().map(AsRawFd::as_raw_fd).collect();
    let prepared = Prepared::new(command, &descriptors);
    let (mut read, write) =
        std::io::pipe().map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EIO)))?;
    let failure = process::duplicate_above(write.as_fd(), lowest)?;
    drop(write);
    let number = failure.as_raw_fd();
    let child = clone::clone(0, None, || {
        for file in &tasks {
            if let Err(errno) = raw::write(*file, b"0") {
                fail(number, errno);
            }
        }
        execute(&prepared, number)
    })?;
    drop(failure);
    let mut errno = [0_u8; 4];
    match std::io::Read::read_exact(&mut read, &mut errno) {
        // The end of the pipe: execve closed it.
        Err(_) => Ok(child),
        Ok(()) => {
            super::pidfd::reap(child.pidfd.as_fd())?;
            Err(Errno(i32::from_ne_bytes(errno)))
        }
    }
}

impl Running {
    /// Readable when there is a report.
    pub(crate) fn status(&self) -> BorrowedFd<'_> {
        self.status.as_fd()
    }

    /// Takes the report after [`Running::status`] became readable, and the child between.
    pub(crate) fn report(self) -> Result<Report> {
        let mut words = [0_u8; 8];
        let received = socket::receive(self.status.as_fd(), &mut words)?;
        drop(self.status);
        super::pidfd::reap(self.between.pidfd.as_fd())?;
        let [a, b, c, d, e, f, g, h] = words;
        let kind = i32::from_ne_bytes([a, b, c, d]);
        let value = i32::from_ne_bytes([e, f, g, h]);
        Ok(match (received, kind) {
            (None, _) => Report::Ended(Ended::Unknown),
            (_, 0) => Report::NotExecuted(Errno(value)),
            (_, libc::CLD_EXITED) => Report::Ended(Ended::Exited(value)),
            _ => Report::Ended(Ended::Signaled(value)),
        })
    }

    /// Kills the program, whatever it does, and takes the child between.
    pub(crate) fn kill(self) -> Result<()> {
        drop(self.status);
        super::pidfd::reap(self.between.pidfd.as_fd()).map(drop)
    }
}

/// The child between: runs the program and waits for it or for the end of our parent. Only raw
/// system calls from here on.
fn watch(prepared: &Prepared, status: i32) -> ! {
    let (read, write) = match exec_pipe() {
        Ok(pipe) => pipe,
        Err(errno) => report(status, 0, errno.0),
    };
    let mut pidfd = -1_i32;
    // SAFETY: as fork: no memory is shared, the grandchild never returns from `execute`.
    let pid = unsafe {
        call!(
            libc::SYS_clone,
            libc::CLONE_PIDFD as usize | libc::SIGCHLD as usize,
            0,
            std::ptr::from_mut(&mut pidfd),
            0,
            0
        )
    };
    match pid {
        Ok(0) => execute(prepared, write),
        Ok(_) => {}
        Err(errno) => report(status, 0, errno.0),
    }
    let pid = pid.unwrap_or_default();
    raw::close(write);
    close_all_but([status, pidfd, read]);
    let mut errno = [0_u8; 4];
    if raw::read(read, &mut errno) == Ok(4) {
        report(status, 0, i32::from_ne_bytes(errno));
    }
    let mut waited = [
        libc::pollfd { fd: pidfd, events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: status, events: libc::POLLIN, revents: 0 },
    ];
    if raw::poll(&mut waited).is_err() || matches!(waited, [program, _] if program.revents == 0) {
        // SAFETY: kill takes integers. The number is that of a child that nobody else can reap.
        let killed = unsafe { call!(libc::SYS_kill, pid, libc::SIGKILL) };
        if killed.is_err() {
            raw::exit_group(1);
        }
    }
    // SAFETY: an all-zero siginfo_t is a valid value of plain integers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is valid for writes; no rusage is asked for.
    let result = unsafe {
        call!(
            libc::SYS_waitid,
            libc::P_PIDFD,
            pidfd,
            std::ptr::from_mut(&mut info),
            libc::WEXITED,
            0
        )
    };
    match result {
        // SAFETY: waitid filled the fields of a SIGCHLD siginfo.
        Ok(_) => report(status, info.si_code, unsafe { info.si_status() }),
        // The copied disposition of SIGCHLD threw the status away.
        Err(_) => raw::exit_group(1),
    }
}

/// A pipe whose writing end closes when the program is executed.
fn exec_pipe() -> Result<(i32, i32)> {
    // An ignored SIGCHLD of the host would throw the grandchild's status away here, too.
    child::default_signal(libc::SIGCHLD)?;
    let mut pipe = [-1_i32; 2];
    // SAFETY: the array is valid for writes of two integers.
    unsafe { call!(libc::SYS_pipe2, pipe.as_mut_ptr(), libc::O_CLOEXEC) }?;
    // Above 2, where the program's standard descriptors go.
    let write = raw::fcntl(pipe[1], libc::F_DUPFD_CLOEXEC, 3)? as i32;
    raw::close(pipe[1]);
    Ok((pipe[0], write))
}

fn report(status: i32, kind: i32, value: i32) -> ! {
    let mut words = [0_u8; 8];
    let bytes = kind.to_ne_bytes().into_iter().chain(value.to_ne_bytes());
    for (place, byte) in words.iter_mut().zip(bytes) {
        *place = byte;
    }
    // Nobody is left to tell when this fails.
    let _ = raw::send(status, &words);
    raw::exit_group(0)
}

/// Drops what other programs wait for the end of: pipes, sockets, locks.
fn close_all_but(kept: [i32; 3]) {
    let mut sorted = kept;
    if sorted[0] > sorted[1] {
        sorted.swap(0, 1);
    }
    if sorted[1] > sorted[2] {
        sorted.swap(1, 2);
    }
    if sorted[0] > sorted[1] {
        sorted.swap(0, 1);
    }
    let mut next = 0;
    for fd in sorted {
        close_between(next, fd.saturating_sub(1));
        next = fd.saturating_add(1);
    }
    close_between(next, i32::MAX);
}

fn close_between(first: i32, last: i32) {
    if first <= last && raw::close_range(first as u32, last as u32, 0).is_err() {
        // Best effort of an old kernel: the descriptors close at this short process's end.
        let _ = child::close_listed(first, last);
    }
}

/// The grandchild: becomes the program.
fn execute(prepared: &Prepared, failure: i32) -> ! {
    let errno = match become_program(prepared, failure) {
        Ok(never) => match never {},
        Err(errno) => errno,
    };
    fail(failure, errno)
}

fn fail(failure: i32, errno: Errno) -> ! {
    // Our parent reads "not executed" from a closed pipe otherwise; nothing else can be done.
    let _ = raw::write(failure, &errno.0.to_ne_bytes());
    raw::exit_group(127)
}

fn become_program(prepared: &Prepared, failure: i32) -> Result<std::convert::Infallible> {
    let mut next = 0_i32;
    for fd in &prepared.descriptors {
        raw::dup3(*fd, next, 0)?;
        next = next.saturating_add(1);
    }
    close_between(next, failure.saturating_sub(1));
    close_between(failure.saturating_add(1), i32::MAX);
    for signal in 1..=64 {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            child::default_signal(signal)?;
        }
    }
    child::unblock_signals()?;
    // SAFETY: the pointers were made from C strings that live in the copied memory; the arrays
    // end with null pointers.
    unsafe {
        if !prepared.directory.is_null() {
            call!(libc::SYS_chdir, prepared.directory)?;
        }
        call!(
            libc::SYS_execve,
            prepared.path,
            prepared.arguments.as_ptr(),
            prepared.environment.as_ptr()
        )?;
    }
    Err(Errno(libc::EIO))
}
