//! CPU, disk and memory policy of the calling process, and the names of its host ("child" rules
//! hold for all of this file).

use super::errno::Result;
use super::raw::call;

/// sched_setaffinity(2) on the calling process.
pub(crate) fn set_affinity(mask: &[u8]) -> Result<()> {
    // SAFETY: the mask is valid for reads of its length.
    unsafe { call!(libc::SYS_sched_setaffinity, 0, mask.len(), mask.as_ptr()) }.map(drop)
}

/// sched_setattr(2) on the calling process; the structure begins with its own length.
pub(crate) fn set_scheduler(attributes: &[u8]) -> Result<()> {
    let [a, b, c, d, ..] = *attributes else {
        return Err(super::Errno(libc::EINVAL));
    };
    if u32::from_ne_bytes([a, b, c, d]) as usize != attributes.len() {
        return Err(super::Errno(libc::EINVAL));
    }
    // SAFETY: the structure is valid for reads of the length that its first word says.
    unsafe { call!(libc::SYS_sched_setattr, 0, attributes.as_ptr(), 0) }.map(drop)
}

/// ioprio_set(2) on the caller's process group.
pub(crate) fn set_io_priority(priority: u32) -> Result<()> {
    const IOPRIO_WHO_PGRP: usize = 2;
    // SAFETY: ioprio_set takes integers.
    unsafe { call!(libc::SYS_ioprio_set, IOPRIO_WHO_PGRP, 0, priority) }.map(drop)
}

/// personality(2).
pub(crate) fn set_personality(domain: u32) -> Result<()> {
    // SAFETY: personality takes an integer.
    unsafe { call!(libc::SYS_personality, domain) }.map(drop)
}

/// set_mempolicy(2); `nodes` is a mask of whole words.
pub(crate) fn set_memory_policy(mode: u32, nodes: &[u8]) -> Result<()> {
    // The kernel takes the number of bits plus one.
    let bits = nodes.len().saturating_mul(8).saturating_add(1);
    // SAFETY: the mask is valid for reads of its length; the kernel reads whole words below
    // `bits - 1`.
    unsafe { call!(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) }.map(drop)
}

/// sethostname(2).
pub(crate) fn set_hostname(name: &[u8]) -> Result<()> {
    // SAFETY: the name is valid for reads of its length.
    unsafe { call!(libc::SYS_sethostname, name.as_ptr(), name.len()) }.map(drop)
}

/// setdomainname(2).
pub(crate) fn set_domainname(name: &[u8]) -> Result<()> {
    // SAFETY: the name is valid for reads of its length.
    unsafe { call!(libc::SYS_setdomainname, name.as_ptr(), name.len()) }.map(drop)
}

/// Raises the interface `lo` of the network namespace.
pub(crate) fn raise_loopback() -> Result<()> {
    // SAFETY: socket takes integers.
    let socket = unsafe {
        call!(libc::SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    }? as i32;
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, letter) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = *letter as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is valid for reads and writes and holds a NUL-terminated name.
    let result = unsafe {
        call!(libc::SYS_ioctl, socket, libc::SIOCSIFFLAGS, std::ptr::from_mut(&mut request))
    };
    super::raw::close(socket);
    result.map(drop)
}
