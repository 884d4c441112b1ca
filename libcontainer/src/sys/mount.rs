//! Mounts and roots ("child" rules hold for all of this file).

use std::ffi::CStr;
use std::ptr;

use super::errno::{Errno, Result};
use super::raw::call;

/// The mount of a descriptor itself, not of a path below it.
const EMPTY: &CStr = c"";

/// `MOUNT_ATTR_*` changes of mount_setattr(2).
#[derive(Clone, Copy, Default)]
pub(crate) struct Change {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    /// `MS_SHARED` and so on; 0 keeps the type.
    pub(crate) propagation: u64,
    pub(crate) recursive: bool,
}

/// Whether move_mount(2) can be had: without it nothing detached can ever be attached, so that those
/// who make such mounts answer as it does. A kernel that has the call has no descriptor -1.
fn can_attach() -> Result<()> {
    match attach(-1, -1) {
        Err(Errno(libc::EBADF)) => Ok(()),
        result => result,
    }
}

/// A copy of a mount, in no namespace yet: open_tree(2), Linux 5.2. An empty path means the
/// mount at `directory` itself.
pub(crate) fn clone_tree(directory: i32, path: &CStr, recursive: bool) -> Result<i32> {
    clone_with(directory, path, recursive, 0)
}

/// As [`clone_tree`]; a link at the end of the path is not followed.
pub(crate) fn clone_link(directory: i32, path: &CStr, recursive: bool) -> Result<i32> {
    clone_with(directory, path, recursive, libc::AT_SYMLINK_NOFOLLOW)
}

fn clone_with(directory: i32, path: &CStr, recursive: bool, more: i32) -> Result<i32> {
    can_attach()?;
    let mut flags = libc::OPEN_TREE_CLONE as i32 | libc::OPEN_TREE_CLOEXEC as i32 | more;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    // SAFETY: the path is NUL-terminated.
    unsafe { call!(libc::SYS_open_tree, directory, path.as_ptr(), flags) }.map(|fd| fd as i32)
}

/// Attaches the mount of one descriptor on the file of another: move_mount(2), Linux 5.2.
pub(crate) fn attach(mount: i32, target: i32) -> Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are NUL-terminated.
    unsafe { call!(libc::SYS_move_mount, mount, EMPTY.as_ptr(), target, EMPTY.as_ptr(), flags) }
        .map(drop)
}

/// Opens a file system to be configured: fsopen(2), Linux 5.2.
pub(crate) fn fsopen(kind: &CStr) -> Result<i32> {
    can_attach()?;
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) }.map(|fd| fd as i32)
}

/// Whether a filter refuses what follows [`fsopen`]. A kernel that has these calls has no context
/// -1, and its other reasons for EPERM are not about them.
pub(crate) fn refuses_parameters() -> bool {
    let refused = |answer| matches!(answer, Err(Errno(libc::ENOSYS | libc::EPERM)));
    refused(fsconfig_create(-1)) || refused(fsmount(-1, 0).map(drop))
}

/// Sets a parameter of a file system; one without a value is a flag.
pub(crate) fn fsconfig(fd: i32, key: &CStr, value: Option<&CStr>) -> Result<()> {
    let (command, value) = match value {
        Some(value) => (libc::FSCONFIG_SET_STRING, value.as_ptr()),
        None => (libc::FSCONFIG_SET_FLAG, ptr::null()),
    };
    // SAFETY: key and value are NUL-terminated.
    unsafe { call!(libc::SYS_fsconfig, fd, command, key.as_ptr(), value, 0) }.map(drop)
}

/// Makes the configured file system.
pub(crate) fn fsconfig_create(fd: i32) -> Result<()> {
    // SAFETY: the command takes neither key nor value.
    unsafe { call!(libc::SYS_fsconfig, fd, libc::FSCONFIG_CMD_CREATE, 0, 0, 0) }.map(drop)
}

/// A mount of a file system, in no namespace yet.
pub(crate) fn fsmount(fd: i32, attributes: u64) -> Result<i32> {
    // SAFETY: fsmount takes integers.
    unsafe { call!(libc::SYS_fsmount, fd, libc::FSMOUNT_CLOEXEC, attributes) }.map(|fd| fd as i32)
}

/// What mount_setattr(2) reads.
#[repr(C)]
struct KernelAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    namespace: u64,
}

/// Changes attributes of the mount of a descriptor: mount_setattr(2), Linux 5.12.
pub(crate) fn set_attributes(mount: i32, change: Change) -> Result<()> {
    let attributes = KernelAttributes {
        set: change.set,
        clear: change.clear,
        propagation: change.propagation,
        namespace: 0,
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if change.recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is NUL-terminated, the structure is valid for reads of its size.
    unsafe {
        call!(
            libc::SYS_mount_setattr,
            mount,
            EMPTY.as_ptr(),
            flags,
            ptr::from_ref(&attributes),
            size_of::<KernelAttributes>()
        )
    }
    .map(drop)
}

/// mount(2). The text of options ends at its NUL.
pub(crate) fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: all texts are NUL-terminated or null, which the kernel takes as absent.
    unsafe {
        call!(
            libc::SYS_mount,
            pointer(source),
            target.as_ptr(),
            pointer(kind),
            flags,
            pointer(data)
        )
    }
    .map(drop)
}

/// umount2(2).
pub(crate) fn unmount(target: &CStr, flags: i32) -> Result<()> {
    // SAFETY: the path is NUL-terminated.
    unsafe { call!(libc::SYS_umount2, target.as_ptr(), flags) }.map(drop)
}

/// pivot_root(2).
pub(crate) fn pivot_root(new: &CStr, old: &CStr) -> Result<()> {
    // SAFETY: both paths are NUL-terminated.
    unsafe { call!(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) }.map(drop)
}

/// chroot(2).
pub(crate) fn chroot(path: &CStr) -> Result<()> {
    // SAFETY: the path is NUL-terminated.
    unsafe { call!(libc::SYS_chroot, path.as_ptr()) }.map(drop)
}
