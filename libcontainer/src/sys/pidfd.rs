//! Processes by descriptor.
//!
//! Where a filter of an outer container refuses pidfd_open(2), the process's directory in procfs
//! stands for it: it belongs to that process alone, pidfd_send_signal(2) takes it, and it can be
//! asked whether the process lives. Only its end cannot be polled for.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use procfs::FromRead;
use procfs::process::Stat;

use super::errno::{Errno, Result};
use super::raw::call;

/// Whether a directory of procfs was ever opened in a pidfd's place.
static USES_DIRECTORIES: AtomicBool = AtomicBool::new(false);

/// How often a process that is known by its directory is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A descriptor that stands for a process: a pidfd, or its directory in procfs.
pub(crate) fn open(pid: u32) -> Result<OwnedFd> {
    match open_pidfd(pid) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => open_directory(pid),
        result => result,
    }
}

fn open_directory(pid: u32) -> Result<OwnedFd> {
    USES_DIRECTORIES.store(true, Ordering::Relaxed);
    File::open(format!("/proc/{pid}")).map(OwnedFd::from).map_err(|error| {
        match error.raw_os_error() {
            Some(libc::ENOENT) | None => Errno(libc::ESRCH),
            Some(errno) => Errno(errno),
        }
    })
}

/// pidfd_open(2), Linux 5.3.
pub(crate) fn open_pidfd(pid: u32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes integers and returns a descriptor that nobody else knows.
    unsafe {
        let fd = call!(libc::SYS_pidfd_open, pid, 0)?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// pidfd_send_signal(2), Linux 5.1; by number where a filter of an outer container refuses it.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: no siginfo is passed, the other arguments are integers.
    let sent =
        unsafe { call!(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, 0, 0) }.map(drop);
    match sent {
        // A lack of rights is EPERM, too; kill(2) says it again.
        Err(errno @ Errno(libc::ENOSYS | libc::EPERM)) => signal_by_number(pidfd, signal, errno),
        result => result,
    }
}

/// kill(2) of the process that a descriptor stands for. Between the look at its number and the
/// signal the process may end, be reaped by its parent, and its number be given to another one:
/// numbers are given in turn, so that all the others have to be used up meanwhile. Nothing less
/// than pidfd_send_signal(2) excludes that.
fn signal_by_number(pidfd: BorrowedFd<'_>, signal: i32, errno: Errno) -> Result<()> {
    if !procfs_has_own_numbers() {
        return Err(errno);
    }
    let number = match is_directory(pidfd) {
        true => stat_of(pidfd).map(|(pid, _)| pid),
        false => listed_number(pidfd)?,
    };
    // Neither a group of processes nor all of them.
    let number = number.filter(|number| *number > 0).ok_or(Errno(libc::ESRCH))?;
    // SAFETY: kill takes integers.
    unsafe { call!(libc::SYS_kill, number, signal) }.map(drop)
}

/// What procfs says of a pidfd: the number, -1 when the process was reaped.
fn listed_number(pidfd: BorrowedFd<'_>) -> Result<Option<i32>> {
    let path = format!("/proc/thread-self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path)
        .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok()))
}

/// Whether /proc numbers processes as this one's pid namespace does: it then has one number there.
fn procfs_has_own_numbers() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_ascii_whitespace().count() == 1)
}

/// pidfd_getfd(2), Linux 5.6: a duplicate of descriptor `fd` of another process.
pub(crate) fn duplicate(pidfd: BorrowedFd<'_>, fd: i32) -> Result<OwnedFd> {
    // SAFETY: pidfd_getfd takes integers and returns a descriptor that nobody else knows.
    unsafe {
        let fd = call!(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0)?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// How a process ended: a wait(2) status, or nothing where it was taken by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By exit, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// The status is lost.
    Unknown,
}

/// Takes the status of a process that has ended. Of a child it is taken as waitid(2) does
/// (`__WALL`: it may have no exit signal yet); of any other process the kernel tells it since
/// Linux 6.15 once its parent has taken it.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Result<Ended> {
    let (kind, id) = if is_directory(pidfd) {
        let Some((pid, _)) = stat_of(pidfd) else { return Ok(Ended::Unknown) };
        (libc::P_PID, pid)
    } else {
        (libc::P_PIDFD, pidfd.as_raw_fd())
    };
    // SAFETY: an all-zero siginfo_t is a valid value of plain integers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` is valid for writes; no rusage is asked for.
        let result = unsafe {
            call!(
                libc::SYS_waitid,
                kind,
                id,
                std::ptr::from_mut(&mut info),
                libc::WEXITED | libc::__WALL,
                0
            )
        };
        match result {
            Err(Errno(libc::EINTR)) => continue,
            Err(Errno(libc::ECHILD)) => return status_of_reaped(pidfd),
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    // SAFETY: waitid filled the fields of a SIGCHLD siginfo.
    let status = unsafe { info.si_status() };
    Ok(match info.si_code {
        libc::CLD_EXITED => Ended::Exited(status),
        _ => Ended::Signaled(status),
    })
}

/// The status of a process that is somebody else's to take. One who takes it hides the process
/// from waitid(2) a moment before the kernel keeps the status, and hangs the pidfd up thereafter.
/// A parent that leaves its zombie is not waited for.
fn status_of_reaped(pidfd: BorrowedFd<'_>) -> Result<Ended> {
    let kept = match kept_status(pidfd) {
        Ok(None) | Err(Errno(libc::ESRCH)) => {
            poll([(Some(pidfd), 0)], Some(Duration::from_secs(1)))?;
            kept_status(pidfd)
        }
        known => known,
    };
    // Kernels before 6.13 do not know the question, and those before 6.15 forget the answer.
    Ok(kept.ok().flatten().unwrap_or(Ended::Unknown))
}

/// The first version of what PIDFD_GET_INFO fills.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// The status that the kernel keeps for holders of a pidfd after the process was reaped; nothing
/// where it is not reaped.
fn kept_status(pidfd: BorrowedFd<'_>) -> Result<Option<Ended>> {
    const PIDFD_GET_INFO: usize = 0xC040_FF0B;
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the structure has the 64 bytes that the request's number announces.
    unsafe {
        call!(libc::SYS_ioctl, pidfd.as_raw_fd(), PIDFD_GET_INFO, std::ptr::from_mut(&mut info))?;
    }
    if info.mask & PIDFD_INFO_EXIT == 0 {
        return Ok(None);
    }
    let status = info.exit_code;
    Ok(Some(if libc::WIFSIGNALED(status) {
        Ended::Signaled(libc::WTERMSIG(status))
    } else {
        Ended::Exited(libc::WEXITSTATUS(status))
    }))
}

/// Waits until one of the descriptors is ready and returns the ready events of each; zeros after
/// `timeout`. Signals do not end the wait.
pub(crate) fn poll<const N: usize>(
    descriptors: [(Option<BorrowedFd<'_>>, i16); N],
    timeout: Option<Duration>,
) -> Result<[i16; N]> {
    let is_directory = descriptors.map(|(fd, _)| fd.is_some_and(is_directory));
    let mut polled = [libc::pollfd { fd: -1, events: 0, revents: 0 }; N];
    for ((polled, (fd, events)), is_directory) in
        polled.iter_mut().zip(descriptors).zip(is_directory)
    {
        polled.fd = fd.filter(|_| !is_directory).map_or(-1, |fd| fd.as_raw_fd());
        polled.events = events;
    }
    if !is_directory.contains(&true) {
        poll_list(&mut polled, timeout)?;
        return Ok(polled.map(|descriptor| descriptor.revents));
    }
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        for ((polled, (fd, _)), is_directory) in
            polled.iter_mut().zip(descriptors).zip(is_directory)
        {
            polled.revents = 0;
            if is_directory && fd.is_some_and(|fd| stat_of(fd).is_none_or(|(_, ended)| ended)) {
                polled.revents = libc::POLLIN;
            }
        }
        let ended = polled.map(|descriptor| descriptor.revents);
        let is_ended = ended != [0; N];
        let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let wait = if is_ended { Duration::ZERO } else { rest.map_or(LOOK, |rest| rest.min(LOOK)) };
        poll_list(&mut polled, Some(wait))?;
        let mut ready = polled.map(|descriptor| descriptor.revents);
        for (ready, ended) in ready.iter_mut().zip(ended) {
            *ready |= ended;
        }
        if ready != [0; N] || rest == Some(Duration::ZERO) {
            return Ok(ready);
        }
    }
}

/// Whether a descriptor is a process's directory in procfs.
pub(crate) fn is_directory(fd: BorrowedFd<'_>) -> bool {
    USES_DIRECTORIES.load(Ordering::Relaxed)
        && nix::sys::stat::fstat(fd).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Pid, and whether the process has ended, of a directory in procfs; `None` when it was reaped.
fn stat_of(directory: BorrowedFd<'_>) -> Option<(i32, bool)> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let stat = openat(directory, "stat", flags, Mode::empty()).ok()?;
    let stat = Stat::from_read(File::from(stat)).ok()?;
    Some((stat.pid, matches!(stat.state, 'Z' | 'X')))
}

fn poll_list(polled: &mut [libc::pollfd], timeout: Option<Duration>) -> Result<()> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let rest = deadline.map(|deadline| {
            let rest = deadline.saturating_duration_since(Instant::now());
            libc::timespec {
                tv_sec: rest.as_secs() as libc::time_t,
                tv_nsec: rest.subsec_nanos().into(),
            }
        });
        let limit = rest.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the array and the time are valid during the call; the kernel's update of the
        // time goes to a value of ours that is not read again.
        let ready =
            unsafe { call!(libc::SYS_ppoll, polled.as_mut_ptr(), polled.len(), limit, 0, 0) };
        match ready {
            Err(Errno(libc::EINTR)) => continue,
            result => return result.map(drop),
        }
    }
}

/// Whether the process has ended (a zombie has).
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>) -> Result<bool> {
    let [ready] = poll([(Some(pidfd), libc::POLLIN)], Some(Duration::ZERO))?;
    Ok(ready != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::process::Command;

    #[test]
    fn a_signal_by_number_reaches_the_process_and_nobody_after_its_end() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let opened = [open_pidfd(child.id()).unwrap(), open_directory(child.id()).unwrap()];
        for process in &opened {
            assert_eq!(signal_by_number(process.as_fd(), 0, Errno(libc::ENOSYS)), Ok(()));
        }
        signal_by_number(opened[0].as_fd(), libc::SIGKILL, Errno(libc::ENOSYS)).unwrap();
        assert!(!child.wait().unwrap().success());
        for process in &opened {
            let answer = signal_by_number(process.as_fd(), 0, Errno(libc::ENOSYS));
            assert_eq!(answer, Err(Errno(libc::ESRCH)));
        }
    }
}
