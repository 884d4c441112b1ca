//! What a parent does to its child, and to scratch threads of its own.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::errno::{Errno, Result};
use super::program;
use super::raw::{self, call};

/// prlimit(2): sets a resource limit of another process.
pub(crate) fn set_rlimit(pid: u32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the structure is valid for reads; the old limit is not asked for.
    unsafe { call!(libc::SYS_prlimit64, pid, resource, std::ptr::from_ref(&limit), 0) }.map(drop)
}

/// capget(2): the effective capabilities of the calling thread, one bit each.
pub(crate) fn effective_capabilities() -> Result<u64> {
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = [VERSION_3, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: header and data have the kernel's layout of version 3: version and pid, then twice
    // effective, permitted and inheritable.
    unsafe { call!(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) }?;
    Ok(u64::from(sets[0]) | u64::from(sets[3]) << 32)
}

/// Whether mount_setattr(2) can be called here: Linux 5.12, and no filter against it.
pub(crate) fn knows_mount_setattr() -> bool {
    // SAFETY: no attributes are passed; the call fails on its size before anything else.
    let result = unsafe { call!(libc::SYS_mount_setattr, -1_isize, c"".as_ptr(), 0, 0, 0) };
    !matches!(result, Err(Errno(libc::ENOSYS | libc::EPERM)))
}

/// Whether open_tree(2) can be called here: Linux 5.2, and no filter against it.
pub(crate) fn knows_open_tree() -> bool {
    // SAFETY: the path is NUL-terminated; the call fails on its descriptor.
    let result = unsafe { call!(libc::SYS_open_tree, -1_isize, c"x".as_ptr(), 0) };
    !matches!(result, Err(Errno(libc::ENOSYS | libc::EPERM)))
}

/// Whether this process ignores SIGCHLD or wants no status of its children.
pub(crate) fn discards_children() -> bool {
    // SAFETY: an all-zero sigaction is a valid value; no new action is passed.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action) == 0
            && (action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0)
    }
}

/// Gives SIGCHLD its default action: the status of children is kept.
pub(crate) fn keep_children() -> Result<()> {
    // SAFETY: an all-zero sigaction is a valid value, with SIG_DFL, which is no code of ours.
    let changed = unsafe {
        let action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut())
    };
    if changed == 0 { Ok(()) } else { Err(Errno(libc::EINVAL)) }
}

/// setns(2) of the calling thread.
pub(crate) fn set_namespace(fd: BorrowedFd<'_>, kind: u64) -> Result<()> {
    // SAFETY: setns takes integers; the thread is a scratch thread of the caller.
    unsafe { call!(libc::SYS_setns, fd.as_raw_fd(), kind) }.map(drop)
}

/// The `CLONE_NEW*` flag of a namespace's type; an error for what is no namespace.
pub(crate) fn namespace_kind(fd: BorrowedFd<'_>) -> Result<u64> {
    // SAFETY: NS_GET_NSTYPE takes no argument.
    unsafe { call!(libc::SYS_ioctl, fd.as_raw_fd(), libc::NS_GET_NSTYPE) }.map(|kind| kind as u64)
}

/// A duplicate with a number of at least `lowest`, closed on execve.
pub(crate) fn duplicate_above(fd: BorrowedFd<'_>, lowest: i32) -> Result<OwnedFd> {
    let number = raw::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest as usize)?;
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

/// A duplicate of the descriptor with number `fd` of this process, which the caller promised to
/// pass on; an error where there is none.
pub(crate) fn duplicate_number(fd: i32, lowest: i32) -> Result<OwnedFd> {
    let number = raw::fcntl(fd, libc::F_DUPFD_CLOEXEC, lowest as usize)?;
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

/// A file in memory that can be neither written nor resized any more.
pub(crate) fn sealed_memory(name: &CStr, content: &[u8], executable: bool) -> Result<OwnedFd> {
    const MFD_EXEC: u32 = 0x10;
    const MFD_NOEXEC_SEAL: u32 = 0x8;
    let kind = if executable { MFD_EXEC } else { MFD_NOEXEC_SEAL };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is NUL-terminated; the descriptor is fresh. Linux before 6.3 does not know
    // the second kind of flags.
    let file = unsafe {
        let fd = match call!(libc::SYS_memfd_create, name.as_ptr(), flags | kind) {
            Err(Errno(libc::EINVAL)) => call!(libc::SYS_memfd_create, name.as_ptr(), flags)?,
            result => result?,
        };
        OwnedFd::from_raw_fd(fd as i32)
    };
    let mut rest = content;
    while !rest.is_empty() {
        let written = raw::write(file.as_raw_fd(), rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    // SAFETY: lseek takes integers.
    unsafe { call!(libc::SYS_lseek, file.as_raw_fd(), 0, libc::SEEK_SET) }?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    raw::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals as usize)?;
    Ok(file)
}

/// A descriptor from which `content` can be read and which nobody can change: sealed memory, or a
/// pipe that holds all of it where memfd_create(2) is refused. A pipe is read once.
pub(crate) fn input_of(content: &[u8]) -> Result<OwnedFd> {
    match sealed_memory(c"state", content, false) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => filled_pipe(content),
        result => result,
    }
}

/// A pipe that holds all of `content`, with nobody at its other end. Its size is limited by
/// /proc/sys/fs/pipe-max-size, 1 MiB.
fn filled_pipe(content: &[u8]) -> Result<OwnedFd> {
    let [read, write] = program::pipe(libc::O_CLOEXEC | libc::O_NONBLOCK)?;
    // SAFETY: the kernel has just opened these descriptors for us.
    let [read, write] = unsafe { [OwnedFd::from_raw_fd(read), OwnedFd::from_raw_fd(write)] };
    program::fit_pipe(write.as_raw_fd(), content.len())?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = raw::write(write.as_raw_fd(), rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    // Whoever reads it may wait, as at any other pipe.
    raw::fcntl(read.as_raw_fd(), libc::F_SETFL, 0)?;
    Ok(read)
}

/// Whether a descriptor refers to memory that can be neither written nor resized any more.
pub(crate) fn is_sealed(fd: BorrowedFd<'_>) -> bool {
    let needed = (libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE) as usize;
    raw::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS, 0).is_ok_and(|seals| seals & needed == needed)
}

/// Whether nothing can be written through this descriptor's mount.
pub(crate) fn is_read_only(fd: BorrowedFd<'_>) -> bool {
    const ST_RDONLY: i64 = 1;
    file_system(fd).is_some_and(|status| status.f_flags & ST_RDONLY != 0)
}

/// Whether the file can never be written: its file system has no writing, or it has fs-verity.
pub(crate) fn is_unwritable(fd: BorrowedFd<'_>) -> bool {
    const SQUASHFS: i64 = 0x7371_7368;
    const EROFS: i64 = 0xE0F5_E1E2;
    const FS_IOC_GETFLAGS: usize = 0x8008_6601;
    const FS_VERITY_FL: u32 = 0x0010_0000;
    if file_system(fd).is_some_and(|status| [SQUASHFS, EROFS].contains(&status.f_type)) {
        return true;
    }
    let mut flags = [0_u32; 2];
    // SAFETY: file systems write an int; the array is valid for more.
    let asked =
        unsafe { call!(libc::SYS_ioctl, fd.as_raw_fd(), FS_IOC_GETFLAGS, flags.as_mut_ptr()) };
    asked.is_ok() && flags[0] & FS_VERITY_FL != 0
}

fn file_system(fd: BorrowedFd<'_>) -> Option<libc::statfs64> {
    // SAFETY: an all-zero statfs is a valid value of integers.
    let mut status: libc::statfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is valid for writes, and the kernel's on 64-bit architectures.
    unsafe { call!(libc::SYS_fstatfs, fd.as_raw_fd(), std::ptr::from_mut(&mut status)) }.ok()?;
    Some(status)
}

/// Whether a file has an access control list beside its mode.
pub(crate) fn has_acl(fd: BorrowedFd<'_>) -> bool {
    let name = c"system.posix_acl_access";
    // SAFETY: the name is NUL-terminated; no value is asked for, only its size.
    let size = unsafe { call!(libc::SYS_fgetxattr, fd.as_raw_fd(), name.as_ptr(), 0, 0) };
    !matches!(size, Err(Errno(libc::ENODATA | libc::EOPNOTSUPP)))
}

/// A detached clone of the mount of one file or directory that cannot be written through.
pub(crate) fn read_only_clone(file: BorrowedFd<'_>) -> Result<OwnedFd> {
    const OPEN_TREE_CLONE: u32 = 1;
    let attributes = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];
    // SAFETY: the paths are NUL-terminated and empty; the descriptor is fresh; the attributes have
    // the 32 bytes of struct mount_attr (set, clear, propagation, user namespace).
    unsafe {
        let tree = call!(
            libc::SYS_open_tree,
            file.as_raw_fd(),
            c"".as_ptr(),
            OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | libc::AT_EMPTY_PATH as u32
        )?;
        let tree = OwnedFd::from_raw_fd(tree as i32);
        call!(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            attributes.as_ptr(),
            32
        )?;
        Ok(tree)
    }
}

/// A detached clone of a directory's mount in which no link is followed, Linux 5.12.
pub(crate) fn clone_without_links(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    const OPEN_TREE_CLONE: u32 = 1;
    // SAFETY: the path is NUL-terminated and empty; the descriptor is fresh.
    let tree = unsafe {
        let tree = call!(
            libc::SYS_open_tree,
            directory.as_raw_fd(),
            c"".as_ptr(),
            OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | libc::AT_EMPTY_PATH as u32
        )?;
        OwnedFd::from_raw_fd(tree as i32)
    };
    set_attributes(tree.as_fd(), [libc::MOUNT_ATTR_NOSYMFOLLOW, 0, libc::MS_PRIVATE, 0], false)?;
    Ok(tree)
}

/// A detached clone of the mount at a path.
pub(crate) fn clone_tree(path: &str, recursive: bool) -> Result<OwnedFd> {
    const OPEN_TREE_CLONE: u32 = 1;
    let path = std::ffi::CString::new(path).map_err(|_| Errno(libc::EINVAL))?;
    let recursive = if recursive { libc::AT_RECURSIVE as u32 } else { 0 };
    // SAFETY: the path is NUL-terminated; the descriptor is fresh.
    unsafe {
        let tree = call!(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            path.as_ptr(),
            OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | recursive
        )?;
        Ok(OwnedFd::from_raw_fd(tree as i32))
    }
}

/// Takes a detached tree out of the peer groups of the host.
pub(crate) fn make_slave(tree: BorrowedFd<'_>) -> Result<()> {
    set_attributes(tree, [0, 0, libc::MS_SLAVE, 0], true)
}

/// Maps the ids of a detached tree by a user namespace.
pub(crate) fn map_ids(tree: BorrowedFd<'_>, namespace: BorrowedFd<'_>, all: bool) -> Result<()> {
    let namespace = namespace.as_raw_fd() as u64;
    set_attributes(tree, [libc::MOUNT_ATTR_IDMAP, 0, 0, namespace], all)
}

/// Forbids to write through a detached tree.
pub(crate) fn make_read_only(tree: BorrowedFd<'_>) -> Result<()> {
    set_attributes(tree, [libc::MOUNT_ATTR_RDONLY, 0, 0, 0], true)
}

/// mount_setattr(2), Linux 5.12: set, clear, propagation, user namespace.
fn set_attributes(tree: BorrowedFd<'_>, attributes: [u64; 4], recursive: bool) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is NUL-terminated; the attributes have the 32 bytes of struct mount_attr.
    unsafe {
        call!(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            attributes.as_ptr(),
            32
        )
    }
    .map(drop)
}

/// execveat(2) of a descriptor, or execve(2) of its name in procfs where a filter does not know the
/// first call; returns only when it fails.
pub(crate) fn execute(
    file: BorrowedFd<'_>,
    arguments: &[std::ffi::CString],
    environment: &[std::ffi::CString],
) -> Errno {
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    // SAFETY: path and strings are NUL-terminated, the arrays end with a null pointer, and all
    // outlive the call.
    let result = unsafe {
        call!(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH
        )
    };
    let errno = result.err().unwrap_or(Errno(libc::EIO));
    if !matches!(errno, Errno(libc::ENOSYS | libc::EPERM)) {
        return errno;
    }
    let Ok(path) = std::ffi::CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())) else {
        return errno;
    };
    // SAFETY: as above.
    let result =
        unsafe { call!(libc::SYS_execve, path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    result.err().unwrap_or(errno)
}

/// The pointers of C strings, with a null pointer at the end.
pub(super) fn pointers(strings: &[std::ffi::CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_filled_pipe_is_read_to_its_end() {
        for length in [0, 10, 65_536, 300_000] {
            let content: Vec<u8> = (0..length).map(|at: u32| at as u8).collect();
            let mut read = Vec::new();
            std::fs::File::from(filled_pipe(&content).unwrap()).read_to_end(&mut read).unwrap();
            assert!(read == content, "{length}: {} bytes", read.len());
        }
    }

    #[test]
    fn a_copied_pipe_keeps_its_content() {
        let content = vec![7; 100_000];
        let kept = filled_pipe(&content).unwrap();
        for _ in 0..2 {
            let [from, to] = program::pipe(libc::O_CLOEXEC).unwrap();
            // SAFETY: the kernel has just opened these descriptors for us.
            let [from, to] = unsafe { [OwnedFd::from_raw_fd(from), OwnedFd::from_raw_fd(to)] };
            program::copy_pipe(kept.as_raw_fd(), to.as_raw_fd()).unwrap();
            drop(to);
            let mut read = Vec::new();
            std::fs::File::from(from).read_to_end(&mut read).unwrap();
            assert!(read == content, "{} bytes", read.len());
        }
    }
}
