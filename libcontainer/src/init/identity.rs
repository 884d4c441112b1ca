//! From root of the container to its user.

use super::report::{self, Failure};
use super::runner::{Child, Outcome};
use crate::protocol::{Bytes, Slot, SyncPoint, Text};
use crate::sys::path::{c_text, chdir, fchownat, openat, stat, umask};
use crate::sys::{Errno, child, identity, program, raw};

/// Change to the working directory; EACCES is left to the container's user, whose directory may
/// be closed to root (a network file system).
pub(super) fn enter_directory(child: &mut Child<'_>, path: Text, entered: Slot) -> Outcome {
    match chdir(c_text(child.text(path)?)?) {
        Err(Errno(libc::EACCES)) => Ok(()),
        Err(errno) => Err(errno.into()),
        Ok(()) => {
            let flags = libc::O_PATH | libc::O_CLOEXEC;
            let here = openat(libc::AT_FDCWD, c".", flags, 0)?;
            child.keep(entered, here)
        }
    }
}

/// The working directory must have a path in the container's root: a descriptor of the host that
/// was left open would otherwise be a way out (CVE-2024-21626).
pub(super) fn confirm_directory(child: &mut Child<'_>, path: Text, entered: Slot) -> Outcome {
    if child.fd(entered).is_ok() {
        child.drop_slot(entered);
    } else {
        chdir(c_text(child.text(path)?)?)?;
    }
    match program::working_directory(child.scratch) {
        Ok([b'/', ..]) => Ok(()),
        Ok(_) | Err(Errno(libc::ENOENT)) => Err(Failure::from(Errno(libc::EPERM)).at(1)),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes capabilities from the bounding set. Without CAP_SETPCAP only what is gone already may
/// be missing from it.
pub(super) fn limit_bounding(kept: u64, last: u32) -> Outcome {
    for number in 0..=last.min(63) {
        if kept.checked_shr(number).unwrap_or(0) & 1 == 1 {
            continue;
        }
        if let Err(errno) = identity::drop_bounding(number)
            && child::prctl(libc::PR_CAPBSET_READ, number as usize, 0, 0, 0) != Ok(0)
        {
            return Err(Failure::from(errno).at(number));
        }
    }
    Ok(())
}

/// The container's user may open its standard descriptors again by /dev/stdout and its like.
pub(super) fn own_stdio(uid: u32) -> Outcome {
    const SAME_GROUP: u32 = u32::MAX;
    for fd in 0..=2 {
        let status = stat(fd, c"").map_err(|errno| Failure::from(errno).at(fd as u32))?;
        if status.st_uid == uid || is_null(&status) {
            continue;
        }
        match fchownat(fd, c"", uid, SAME_GROUP) {
            // Of another user namespace, of a kind without owners, or on a read-only mount: the
            // descriptor itself can be used all the same.
            Err(Errno(libc::EPERM | libc::EINVAL | libc::EROFS)) => {}
            result => result.map_err(|errno| Failure::from(errno).at(fd as u32))?,
        }
    }
    Ok(())
}

/// Whether this is the device null, by type and number.
pub(super) fn is_null(status: &libc::stat) -> bool {
    const NULL: u64 = libc::makedev(1, 3);
    status.st_mode & libc::S_IFMT == libc::S_IFCHR && status.st_rdev == NULL
}

pub(super) fn set_groups(child: &Child<'_>, groups: Bytes, tolerate_denied: bool) -> Outcome {
    let groups = child.bytes(groups)?;
    match identity::set_groups(groups) {
        // The namespace forbids setgroups: nobody in it can have groups of the host's choice.
        Err(Errno(libc::EPERM)) if tolerate_denied && groups.is_empty() => Ok(()),
        result => result.map_err(Failure::from),
    }
}

/// The order is the kernel's: after the change of user nobody may change groups.
pub(super) fn set_ids(uid: u32, gid: u32) -> Outcome {
    identity::keep_capabilities()?;
    identity::set_group(gid).map_err(|errno| Failure::from(errno).at(1))?;
    identity::set_user(uid).map_err(|errno| Failure::from(errno).at(2))
}

pub(super) fn set_umask(mask: u32) -> Outcome {
    umask(mask)?;
    Ok(())
}

/// The ambient set, which a change of user empties or keeps depending on the ids.
pub(super) fn set_ambient(child: &Child<'_>, set: u64) -> Outcome {
    identity::clear_ambient()?;
    for number in 0..64 {
        if set.checked_shr(number).unwrap_or(0) & 1 == 1
            && let Err(errno) = identity::raise_ambient(number)
        {
            report::warned(child, &Failure::from(errno).at(number));
        }
    }
    Ok(())
}

/// From now on the filter may forbid what reports and waits use, but not read and write.
pub(super) fn load_filter(
    child: &mut Child<'_>,
    filter: Bytes,
    flags: u32,
    listener: bool,
) -> Outcome {
    let loaded = identity::load_filter(child.bytes(filter)?, flags)?;
    child.filtered = true;
    if listener {
        // The parent takes the descriptor by its number: sending it might wait for the very
        // agent that gets it.
        report::meet(child, SyncPoint::Listener, loaded as u32)?;
        raw::close(loaded as i32);
    }
    Ok(())
}
