//! Writes to a procfs that nothing can be mounted over: an image or another container could
//! otherwise choose what is written to (CVE-2019-16884, CVE-2025-52881).

use super::report::Failure;
use super::runner::{Child, Outcome};
use crate::protocol::{Slot, Text};
use crate::sys::path::{c_text, openat, openat2, stat, statfs};
use crate::sys::{Errno, mount, raw};

/// Inode of the root of every procfs.
const PROC_ROOT: u64 = 1;

/// Attempts of a lookup that the kernel gives up because of renames elsewhere.
const ATTEMPTS: u32 = 128;

/// A detached mount; where the kernel or a filter refuses that, the host's own, in which a
/// lookup may not cross mounts.
pub(super) fn open(child: &mut Child<'_>) -> Outcome {
    let proc = match detached() {
        Ok(proc) => proc,
        Err(_) => hosts()?,
    };
    child.keep(Slot::PROC, proc)
}

fn detached() -> Result<i32, Errno> {
    let context = mount::fsopen(c"proc")?;
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let proc = mount::fsconfig_create(context).and_then(|()| mount::fsmount(context, attributes));
    raw::close(context);
    proc
}

fn hosts() -> Result<i32, Failure> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let proc = openat(libc::AT_FDCWD, c"/proc", flags, 0)?;
    let genuine = is_proc(proc) && stat(proc, c"").is_ok_and(|status| status.st_ino == PROC_ROOT);
    if genuine {
        return Ok(proc);
    }
    raw::close(proc);
    Err(Errno(libc::EXDEV).into())
}

fn is_proc(fd: i32) -> bool {
    statfs(fd).is_ok_and(|status| status.f_type == libc::PROC_SUPER_MAGIC)
}

/// One write, as the kernel's parameters want it.
pub(super) fn write_parameter(child: &Child<'_>, path: Text, value: Text) -> Outcome {
    let file = open_below(child, path, libc::RESOLVE_NO_SYMLINKS)?;
    write_once(file, child.bytes_of(value)?)
}

/// The label of the next execve, in the first file that exists.
pub(super) fn write_label(child: &Child<'_>, path: Text, fallback: Text, label: Text) -> Outcome {
    let file = match open_below(child, path, 0) {
        Err(Failure { errno: Errno(libc::ENOENT), .. }) if fallback.length > 0 => {
            open_below(child, fallback, 0)?
        }
        file => file?,
    };
    write_once(file, child.bytes_of(label)?).map_err(|failure| failure.at(1))
}

fn write_once(file: i32, value: &[u8]) -> Outcome {
    let written = raw::write(file, value);
    raw::close(file);
    match written? {
        length if length == value.len() => Ok(()),
        _ => Err(Errno(libc::EIO).into()),
    }
}

fn open_below(child: &Child<'_>, path: Text, resolve: u64) -> Result<i32, Failure> {
    let proc = child.fd(Slot::PROC)?;
    let path = c_text(child.text(path)?)?;
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    let resolve =
        resolve | libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_MAGICLINKS;
    let mut attempts = 0;
    let file = loop {
        attempts = u32::saturating_add(attempts, 1);
        match openat2(proc, path, flags, resolve) {
            Err(Errno(libc::EAGAIN)) if attempts < ATTEMPTS => continue,
            // Linux before 5.6, or a filter that does not know the call; a real refusal comes
            // again.
            Err(Errno(libc::ENOSYS | libc::EPERM)) => {
                break openat(proc, path, flags | libc::O_NOFOLLOW, 0)?;
            }
            file => break file?,
        }
    };
    if is_proc(file) {
        return Ok(file);
    }
    raw::close(file);
    Err(Errno(libc::EXDEV).into())
}
