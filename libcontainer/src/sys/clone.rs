//! Making a child that is a plain copy of the calling thread.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::errno::{Errno, Result};
use super::raw::{self, call};

/// A process that this one made, or that a child of it made with CLONE_PARENT.
#[derive(Debug)]
pub(crate) struct Child {
    /// Pid in the caller's pid namespace.
    pub(crate) pid: u32,
    /// Stands for this process alone, whatever its pid is used for later.
    pub(crate) pidfd: OwnedFd,
}

/// All 64 signals, in the kernel's layout: glibc's own wrappers leave its internal ones out.
const ALL_SIGNALS: u64 = u64::MAX;

/// Clones the calling thread with the semantics of fork: no shared memory, no vfork. `flags` are
/// `CLONE_NEW*`; the child starts in `cgroup` where one is given (a directory of cgroup v2).
/// `body` runs in the child, with all signals blocked, and must keep the child's rules.
///
/// The exit signal is 0: until it executes a program, neither a `waitpid(-1)` of the host program
/// nor an ignored SIGCHLD takes the child away.
pub(crate) fn clone(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce(),
) -> Result<Child> {
    let mut pidfd: i32 = -1;
    let blocked = block_signals()?;
    // SAFETY: the child gets a copy of the address space and goes on with `body` and ends
    // after it; the parent's memory is not shared with it. Signals are blocked, so that no handler
    // of the host program runs in the child.
    let result = unsafe { clone_raw(flags, cgroup, &mut pidfd) };
    if result == Ok(0) {
        body();
        raw::exit_group(255);
    }
    restore_signals(blocked)?;
    let pid = result? as u32;
    // SAFETY: the kernel has just opened this descriptor for us; nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd })
}

/// clone3(2), and clone(2) where that is not there: Linux before 5.3, or a filter of an outer
/// container (ENOSYS, EPERM). clone(2) cannot place the child in a cgroup.
///
/// # Safety
/// As fork: the caller must be prepared to return twice.
unsafe fn clone_raw(flags: u64, cgroup: Option<BorrowedFd<'_>>, pidfd: &mut i32) -> Result<usize> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut request = [0_u64; 11];
    request[0] = flags | libc::CLONE_PIDFD as u64;
    request[1] = std::ptr::from_mut(pidfd) as u64;
    let mut length = 64;
    if let Some(cgroup) = cgroup {
        request[0] |= CLONE_INTO_CGROUP;
        request[10] = cgroup.as_raw_fd() as u64;
        length = 88;
    }
    // SAFETY: the request has the kernel's layout (struct clone_args, versions 0 and 2: flags,
    // pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
    // cgroup); it and `pidfd` are valid during the call. A stack of 0 keeps the copied one.
    let result = unsafe { call!(libc::SYS_clone3, request.as_ptr(), length) };
    match result {
        Err(Errno(libc::ENOSYS | libc::EPERM)) if cgroup.is_none() => {
            // SAFETY: as above; the third argument is where clone(2) stores the pidfd.
            unsafe {
                call!(
                    libc::SYS_clone,
                    flags | libc::CLONE_PIDFD as u64,
                    0,
                    std::ptr::from_mut(pidfd),
                    0,
                    0
                )
            }
        }
        result => result,
    }
}

fn block_signals() -> Result<u64> {
    let mut old = 0_u64;
    let all = ALL_SIGNALS;
    // SAFETY: both masks are valid for eight bytes, the kernel's sigset size.
    unsafe {
        call!(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            std::ptr::from_ref(&all),
            std::ptr::from_mut(&mut old),
            8
        )
    }?;
    Ok(old)
}

fn restore_signals(mask: u64) -> Result<()> {
    // SAFETY: the mask is valid for eight bytes, the kernel's sigset size.
    unsafe { call!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, std::ptr::from_ref(&mask), 0, 8) }
        .map(drop)
}
