//! Entering and making namespaces ("child" rules hold for all of this file).

use super::errno::{Errno, Result};
use super::raw::call;

/// setns(2) on a namespace (`kinds` is its type) or on a pidfd (several types, Linux 5.8).
pub(crate) fn setns(fd: i32, kinds: u64) -> Result<()> {
    // SAFETY: setns takes integers.
    unsafe { call!(libc::SYS_setns, fd, kinds) }.map(drop)
}

/// unshare(2).
pub(crate) fn unshare(kinds: u64) -> Result<()> {
    // SAFETY: unshare takes integers; the child shares nothing with its host that these flags
    // (`CLONE_NEW*`) would take away.
    unsafe { call!(libc::SYS_unshare, kinds) }.map(drop)
}

/// Clones this process as a sibling in new namespaces; 0 in the new one, its pid in the old one.
/// The new process has copies of everything, so both go on in the same place.
pub(crate) fn clone_sibling(kinds: u64) -> Result<usize> {
    let flags = kinds | libc::CLONE_PARENT as u64;
    let arguments = libc::clone_args {
        flags,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        // Any other is EINVAL together with CLONE_PARENT.
        exit_signal: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    let size = size_of::<libc::clone_args>();
    // SAFETY: without CLONE_VM the new process runs on a copy of this stack and this memory; the
    // structure is valid for reads of its size.
    match unsafe { call!(libc::SYS_clone3, std::ptr::from_ref(&arguments), size) } {
        // Linux before 5.3, or a filter that does not know the call; a real refusal comes again.
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            // SAFETY: as above; stack 0 means the copied one.
            unsafe { call!(libc::SYS_clone, flags, 0, 0, 0, 0) }
        }
        result => result,
    }
}
