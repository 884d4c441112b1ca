//! Files by directory descriptor and name ("child" rules hold for all of this file).

use std::ffi::CStr;
use std::mem::MaybeUninit;

use super::errno::{Errno, Result};
use super::raw::call;

/// What openat2(2) reads.
#[repr(C)]
struct KernelHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// openat2(2), Linux 5.6. No mode: nothing is created.
pub(crate) fn openat2(directory: i32, path: &CStr, flags: i32, resolve: u64) -> Result<i32> {
    let how = KernelHow { flags: flags as u32 as u64, mode: 0, resolve };
    let size = size_of::<KernelHow>();
    // SAFETY: the path is NUL-terminated, the structure is valid for reads of its size.
    unsafe { call!(libc::SYS_openat2, directory, path.as_ptr(), std::ptr::from_ref(&how), size) }
        .map(|fd| fd as i32)
}

/// openat(2).
pub(crate) fn openat(directory: i32, path: &CStr, flags: i32, mode: u32) -> Result<i32> {
    // SAFETY: the path is NUL-terminated.
    unsafe { call!(libc::SYS_openat, directory, path.as_ptr(), flags, mode) }.map(|fd| fd as i32)
}

/// mkdirat(2).
pub(crate) fn mkdirat(directory: i32, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(libc::SYS_mkdirat, directory, name.as_ptr(), mode) }.map(drop)
}

/// mknodat(2); the number as `makedev` gives it.
pub(crate) fn mknodat(directory: i32, name: &CStr, mode: u32, device: u64) -> Result<()> {
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(libc::SYS_mknodat, directory, name.as_ptr(), mode, device) }.map(drop)
}

/// symlinkat(2).
pub(crate) fn symlinkat(target: &CStr, directory: i32, name: &CStr) -> Result<()> {
    // SAFETY: both texts are NUL-terminated.
    unsafe { call!(libc::SYS_symlinkat, target.as_ptr(), directory, name.as_ptr()) }.map(drop)
}

/// unlinkat(2).
pub(crate) fn unlinkat(directory: i32, name: &CStr, flags: i32) -> Result<()> {
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(libc::SYS_unlinkat, directory, name.as_ptr(), flags) }.map(drop)
}

/// readlinkat(2); an empty name means the link that `directory` is open on.
pub(crate) fn readlinkat(directory: i32, name: &CStr, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the name is NUL-terminated, the buffer is valid for writes of its length.
    unsafe {
        call!(libc::SYS_readlinkat, directory, name.as_ptr(), buffer.as_mut_ptr(), buffer.len())
    }
}

/// fchownat(2); an empty name means `directory` itself. Links are not followed.
pub(crate) fn fchownat(directory: i32, name: &CStr, uid: u32, gid: u32) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(libc::SYS_fchownat, directory, name.as_ptr(), uid, gid, flags) }.map(drop)
}

/// fchmod(2).
pub(crate) fn fchmod(fd: i32, mode: u32) -> Result<()> {
    // SAFETY: fchmod takes integers.
    unsafe { call!(libc::SYS_fchmod, fd, mode) }.map(drop)
}

/// fstatat(2) without following links; an empty name means `directory` itself.
pub(crate) fn stat(directory: i32, name: &CStr) -> Result<libc::stat> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the name is NUL-terminated, the structure is valid for writes.
    unsafe {
        call!(libc::SYS_newfstatat, directory, name.as_ptr(), status.as_mut_ptr(), flags)?;
        // The kernel filled it, and all-zero bytes are a valid value besides.
        Ok(status.assume_init())
    }
}

/// fstatfs(2).
pub(crate) fn statfs(fd: i32) -> Result<libc::statfs64> {
    let mut status = MaybeUninit::<libc::statfs64>::zeroed();
    // SAFETY: the structure is valid for writes; all-zero bytes are a valid value besides.
    unsafe {
        call!(libc::SYS_fstatfs, fd, status.as_mut_ptr())?;
        Ok(status.assume_init())
    }
}

/// getdents64(2).
pub(crate) fn getdents(directory: i32, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is valid for writes of its length.
    unsafe { call!(libc::SYS_getdents64, directory, buffer.as_mut_ptr(), buffer.len()) }
}

/// lseek(2) to an absolute position.
pub(crate) fn seek(fd: i32, position: i64) -> Result<()> {
    // SAFETY: lseek takes integers.
    unsafe { call!(libc::SYS_lseek, fd, position, libc::SEEK_SET) }.map(drop)
}

/// chdir(2).
pub(crate) fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: the path is NUL-terminated.
    unsafe { call!(libc::SYS_chdir, path.as_ptr()) }.map(drop)
}

/// fchdir(2).
pub(crate) fn fchdir(directory: i32) -> Result<()> {
    // SAFETY: fchdir takes an integer.
    unsafe { call!(libc::SYS_fchdir, directory) }.map(drop)
}

/// umask(2).
pub(crate) fn umask(mask: u32) -> Result<u32> {
    // SAFETY: umask takes an integer.
    unsafe { call!(libc::SYS_umask, mask) }.map(|old| old as u32)
}

/// Sets the times of a file to those of another: utimensat(2), links are not followed.
pub(crate) fn set_times(directory: i32, name: &CStr, of: &libc::stat) -> Result<()> {
    let times = [
        libc::timespec { tv_sec: of.st_atime, tv_nsec: of.st_atime_nsec },
        libc::timespec { tv_sec: of.st_mtime, tv_nsec: of.st_mtime_nsec },
    ];
    // SAFETY: the name is NUL-terminated, the array holds the two times that the kernel reads.
    unsafe {
        call!(
            libc::SYS_utimensat,
            directory,
            name.as_ptr(),
            times.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW
        )
    }
    .map(drop)
}

/// flistxattr(2).
pub(crate) fn list_attributes(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is valid for writes of its length.
    unsafe { call!(libc::SYS_flistxattr, fd, buffer.as_mut_ptr(), buffer.len()) }
}

/// fgetxattr(2).
pub(crate) fn read_attribute(fd: i32, name: &CStr, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the name is NUL-terminated, the buffer is valid for writes of its length.
    unsafe { call!(libc::SYS_fgetxattr, fd, name.as_ptr(), buffer.as_mut_ptr(), buffer.len()) }
}

/// fsetxattr(2).
pub(crate) fn write_attribute(fd: i32, name: &CStr, value: &[u8]) -> Result<()> {
    // SAFETY: the name is NUL-terminated, the value is valid for reads of its length.
    unsafe { call!(libc::SYS_fsetxattr, fd, name.as_ptr(), value.as_ptr(), value.len(), 0) }
        .map(drop)
}

/// A NUL-terminated text; EINVAL for one without a NUL.
pub(crate) fn c_text(text: &[u8]) -> Result<&CStr> {
    CStr::from_bytes_until_nul(text).map_err(|_| Errno(libc::EINVAL))
}
