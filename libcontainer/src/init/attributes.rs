//! Flags and propagation of one mount.

use super::mount::Request;
use super::place::DescriptorPath;
use crate::protocol::mount::{ATIME_FLAGS, LOCKABLE_FLAGS, attributes, rule};
use crate::sys::mount::Change;
use crate::sys::{Errno, mount, path};

type Result<T> = std::result::Result<T, Errno>;

/// Gives a bound mount the flags that its options ask for: without `remount` these are all that
/// it has. Flags that a more privileged namespace locked stay, unless the options name them as
/// off: then the answer is the kernel's EPERM.
pub(super) fn change_flags(mount: i32, request: Request) -> Result<()> {
    let wanted = attributes(normal_atime(request.flags));
    // As in mount(2): one word on access times replaces all of them, and words that only take one
    // away change nothing.
    let names_atime = request.flags & ATIME_FLAGS != 0;
    let mut clear = match request.has(rule::KEEP_FLAGS) {
        true => attributes(request.cleared),
        false => attributes(!ATIME_FLAGS),
    };
    if names_atime {
        clear |= libc::MOUNT_ATTR__ATIME | libc::MOUNT_ATTR_NODIRATIME;
    }
    let change =
        Change { set: wanted, clear: clear & !wanted | atime_mask(clear), ..Change::default() };
    match set_attributes(mount, change) {
        Err(Errno(libc::EPERM)) => keep_locked(mount, request, change),
        result => result,
    }
}

/// As [`change_flags`], also where mount_setattr is missing or forbidden; the mount must be
/// attached.
pub(super) fn change_attached_flags(mount: i32, request: Request) -> Result<()> {
    match change_flags(mount, request) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => remount(mount, request),
        result => result,
    }
}

/// The access time's value is replaced as a whole.
const fn atime_mask(clear: u64) -> u64 {
    if clear & libc::MOUNT_ATTR__ATIME != 0 { libc::MOUNT_ATTR__ATIME } else { 0 }
}

/// strictatime wins over noatime, as in mount(2).
pub(super) const fn normal_atime(flags: u64) -> u64 {
    if flags & libc::MS_STRICTATIME != 0 { flags & !libc::MS_NOATIME } else { flags }
}

/// nosymfollow came two versions after the call.
fn set_attributes(mount: i32, change: Change) -> Result<()> {
    match mount::set_attributes(mount, change) {
        Err(Errno(libc::EINVAL))
            if change.set & libc::MOUNT_ATTR_NOSYMFOLLOW == 0
                && change.clear & libc::MOUNT_ATTR_NOSYMFOLLOW != 0 =>
        {
            let clear = change.clear & !libc::MOUNT_ATTR_NOSYMFOLLOW;
            mount::set_attributes(mount, Change { clear, ..change })
        }
        result => result,
    }
}

fn keep_locked(mount: i32, request: Request, change: Change) -> Result<()> {
    let current = current_flags(mount)?;
    check_locked(current, request)?;
    let kept = attributes(current & LOCKABLE_FLAGS & !ATIME_FLAGS);
    let clear = change.clear & !kept & !libc::MOUNT_ATTR__ATIME & !libc::MOUNT_ATTR_NODIRATIME;
    let set = (change.set | kept) & !libc::MOUNT_ATTR__ATIME & !libc::MOUNT_ATTR_NODIRATIME;
    set_attributes(mount, Change { set, clear, ..change })
}

/// What the options ask for must not contradict what is locked.
pub(super) fn check_locked(current: u64, request: Request) -> Result<()> {
    let contradicts_atime =
        request.flags & ATIME_FLAGS != 0 && request.flags & ATIME_FLAGS != current & ATIME_FLAGS;
    if current & request.cleared & LOCKABLE_FLAGS != 0 || contradicts_atime {
        return Err(Errno(libc::EPERM));
    }
    Ok(())
}

/// `MS_*` flags of a mount, from what statfs says.
pub(super) fn current_flags(mount: i32) -> Result<u64> {
    const STATFS_FLAGS: [(u64, u64); 8] = [
        (libc::ST_RDONLY, libc::MS_RDONLY),
        (libc::ST_NOSUID, libc::MS_NOSUID),
        (libc::ST_NODEV, libc::MS_NODEV),
        (libc::ST_NOEXEC, libc::MS_NOEXEC),
        (libc::ST_NOATIME, libc::MS_NOATIME),
        (libc::ST_NODIRATIME, libc::MS_NODIRATIME),
        (libc::ST_RELATIME, libc::MS_RELATIME),
        (0x2000, libc::MS_NOSYMFOLLOW),
    ];
    let said = path::statfs(mount)?.f_flags as u64;
    Ok(STATFS_FLAGS
        .iter()
        .filter(|(bit, _)| said & bit != 0)
        .fold(0, |flags, (_, flag)| flags | flag))
}

/// Without mount_setattr: a bind remount, which replaces all flags.
fn remount(mount: i32, request: Request) -> Result<()> {
    let current = current_flags(mount)?;
    let kept = if request.has(rule::KEEP_FLAGS) { current & !request.cleared } else { 0 };
    match remount_with(mount, request.flags | kept) {
        Err(Errno(libc::EPERM)) => {
            check_locked(current, request)?;
            remount_with(mount, request.flags | current & LOCKABLE_FLAGS)
        }
        result => result,
    }
}

fn remount_with(mount: i32, flags: u64) -> Result<()> {
    let mut number = [0; 12];
    let place = DescriptorPath::enter(mount, &mut number)?;
    let flags = flags | libc::MS_BIND | libc::MS_REMOUNT;
    let changed = mount::mount(None, place.name, None, flags, None);
    place.leave();
    changed
}

/// Makes a mount read-only; its other flags stay.
pub(super) fn make_readonly(mount: i32) -> Result<()> {
    let change = Change { set: libc::MOUNT_ATTR_RDONLY, ..Change::default() };
    match mount::set_attributes(mount, change) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            remount_with(mount, current_flags(mount)? | libc::MS_RDONLY)
        }
        result => result,
    }
}

/// Sets the propagation type; MS_REC among the flags reaches the mounts below.
pub(super) fn set_propagation(mount: i32, flags: u64) -> Result<()> {
    let recursive = flags & libc::MS_REC != 0;
    let change = Change { propagation: flags & !libc::MS_REC, recursive, ..Change::default() };
    match mount::set_attributes(mount, change) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            let mut number = [0; 12];
            let place = DescriptorPath::enter(mount, &mut number)?;
            let changed = mount::mount(None, place.name, None, flags, None);
            place.leave();
            changed
        }
        result => result,
    }
}
