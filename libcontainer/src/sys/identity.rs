//! Users, groups and capabilities ("child" rules hold for all of this file). Raw calls: the C
//! library's would tell threads that do not exist here.

use super::child::prctl;
use super::errno::{Errno, Result};
use super::raw::call;

/// Sets real, effective and saved user id.
pub(crate) fn set_user(uid: u32) -> Result<()> {
    // SAFETY: setresuid takes integers.
    unsafe { call!(libc::SYS_setresuid, uid, uid, uid) }.map(drop)
}

/// Sets real, effective and saved group id.
pub(crate) fn set_group(gid: u32) -> Result<()> {
    // SAFETY: setresgid takes integers.
    unsafe { call!(libc::SYS_setresgid, gid, gid, gid) }.map(drop)
}

/// Sets the supplementary groups: native u32 each.
pub(crate) fn set_groups(groups: &[u8]) -> Result<()> {
    let count = groups.len() / size_of::<u32>();
    // SAFETY: the list is valid for reads of `count` ids; the kernel copies it byte by byte.
    unsafe { call!(libc::SYS_setgroups, count, groups.as_ptr()) }.map(drop)
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// Third version of the capability calls: two words a set.
const VERSION_3: u32 = 0x2008_0522;

/// Sets the effective, permitted and inheritable set.
pub(crate) fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let header = CapabilityHeader { version: VERSION_3, pid: 0 };
    let sets = [effective, permitted, inheritable];
    let [low, high] = [0, 32].map(|shift: u32| sets.map(|set| (set >> shift) as u32));
    let data = [low, high];
    // SAFETY: the header and the two times three words of version 3 are valid for reads.
    unsafe { call!(libc::SYS_capset, std::ptr::from_ref(&header), data.as_ptr()) }.map(drop)
}

/// Takes a capability from the bounding set.
pub(crate) fn drop_bounding(number: u32) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, number as usize, 0, 0, 0).map(drop)
}

/// Keeps permitted capabilities over a change of all user ids.
pub(crate) fn keep_capabilities() -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0).map(drop)
}

/// Empties the ambient set.
pub(crate) fn clear_ambient() -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize, 0, 0, 0).map(drop)
}

/// Raises an ambient capability.
pub(crate) fn raise_ambient(number: u32) -> Result<()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE as usize;
    prctl(libc::PR_CAP_AMBIENT, raise, number as usize, 0, 0).map(drop)
}

/// Joins a new session keyring of this name; its serial number.
pub(crate) fn join_session_keyring(name: &std::ffi::CStr) -> Result<usize> {
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr(), 0, 0, 0) }
}

/// Sets the permissions of a key.
pub(crate) fn set_key_permissions(key: usize, permissions: u32) -> Result<()> {
    // SAFETY: the operation takes integers.
    unsafe { call!(libc::SYS_keyctl, libc::KEYCTL_SETPERM, key, permissions, 0, 0) }.map(drop)
}

/// Loads a seccomp filter of 8-byte instructions; the listener's descriptor if the flags ask for
/// one.
pub(crate) fn load_filter(program: &[u8], flags: u32) -> Result<usize> {
    let length = u16::try_from(program.len() / size_of::<libc::sock_filter>())
        .map_err(|_| Errno(libc::EINVAL))?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the structure and the `length` instructions that it points to are valid for reads.
    unsafe {
        call!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&filter))
    }
}
