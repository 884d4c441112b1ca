//! What a process has beside its identity.

use super::identity::is_null;
use super::report::Failure;
use super::runner::{Child, Outcome};
use crate::protocol::{Bytes, Slot, Text};
use crate::sys::path::{c_text, mkdirat, openat, openat2, stat};
use crate::sys::{Errno, child, program, raw, scheduling};

/// The host's /dev/null may be refused by the container's device rules or labels.
pub(super) fn reopen_null() -> Outcome {
    for place in 0..=2 {
        if !is_null(&stat(place, c"")?) {
            continue;
        }
        let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        let Ok(null) = openat(libc::AT_FDCWD, c"/dev/null", flags, 0) else {
            // A container without devices keeps what it was given.
            return Ok(());
        };
        let replaced = match stat(null, c"") {
            Ok(status) if is_null(&status) => raw::dup3(null, place, 0),
            _ => Ok(()),
        };
        raw::close(null);
        replaced?;
    }
    Ok(())
}

/// Makes the missing parts of the working directory. What is there but cannot be entered is for
/// the change of directory to report.
pub(super) fn make_working_directory(child: &mut Child<'_>, path: Text) -> Outcome {
    let path = child.text(path)?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    match openat2(libc::AT_FDCWD, c_text(path)?, flags, libc::RESOLVE_NO_MAGICLINKS) {
        Ok(directory) => {
            raw::close(directory);
            return Ok(());
        }
        // Linux before 5.6, or a filter that does not know the call.
        Err(Errno(libc::ENOENT | libc::ENOSYS | libc::EPERM)) => {}
        Err(_) => return Ok(()),
    }
    let copy = child.scratch.get_mut(..path.len()).ok_or(Errno(libc::ENAMETOOLONG))?;
    copy.copy_from_slice(path);
    for end in 1..path.len() {
        if !matches!(path.get(end), Some(b'/' | b'\0')) {
            continue;
        }
        let Some(place) = copy.get_mut(end) else {
            break;
        };
        let letter = std::mem::replace(place, 0);
        match mkdirat(libc::AT_FDCWD, c_text(copy)?, 0o755) {
            Ok(()) | Err(Errno(libc::EEXIST)) => {}
            Err(errno) => return Err(Failure::from(errno).with_text(path)),
        }
        if let Some(place) = copy.get_mut(end) {
            *place = letter;
        }
    }
    Ok(())
}

pub(super) fn start_session() -> Outcome {
    program::start_session()?;
    Ok(())
}

pub(super) fn forbid_new_privileges() -> Outcome {
    child::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)?;
    Ok(())
}

pub(super) fn set_scheduler(child: &Child<'_>, attributes: Bytes) -> Outcome {
    scheduling::set_scheduler(child.bytes(attributes)?)?;
    Ok(())
}

pub(super) fn set_memory_policy(child: &Child<'_>, mode: u32, nodes: Bytes) -> Outcome {
    scheduling::set_memory_policy(mode, child.bytes(nodes)?)?;
    Ok(())
}

pub(super) fn set_affinity(child: &Child<'_>, mask: Bytes) -> Outcome {
    scheduling::set_affinity(child.bytes(mask)?)?;
    Ok(())
}

/// Closes what only the runtime needs. The gate, what hooks need and the handler stay,
/// close-on-exec.
pub(super) fn close_descriptors(
    child: &mut Child<'_>,
    from: u32,
    [state, out, error, handler]: [Slot; 4],
) -> Outcome {
    let gate = [Slot::CONTROL, Slot::LEASE, Slot::GO, Slot::RESULT];
    let [control, lease, go, result] = gate;
    let needed = [control, lease, go, result, state, out, error, handler];
    let count = u16::try_from(child.slots.len()).unwrap_or(u16::MAX);
    for slot in (0..count).map(Slot) {
        let above = child.fd(slot).is_ok_and(|fd| fd as u32 >= from);
        if above && !needed.contains(&slot) {
            child.drop_slot(slot);
        }
    }
    let mut next = from as i32;
    loop {
        let kept = needed.iter().filter_map(|slot| child.fd(*slot).ok());
        let Some(kept) = kept.filter(|fd| *fd >= next).min() else {
            return super::descriptors::close_between(next, i32::MAX);
        };
        if kept > next {
            super::descriptors::close_between(next, kept.saturating_sub(1))?;
        }
        next = kept.saturating_add(1);
    }
}
