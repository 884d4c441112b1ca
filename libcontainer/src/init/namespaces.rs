//! The child enters and makes its namespaces.

use super::report::{self, Failure};
use super::runner::{Child, Outcome};
use crate::protocol::{Bytes, Record, RecordKind, Slot, Text};
use crate::sys::path::{c_text, openat};
use crate::sys::{Errno, child, identity, namespaces, raw};

/// All kinds that setns knows, for the order in which they are joined one by one.
const KINDS: [i32; 7] = [
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWTIME,
    libc::CLONE_NEWNS,
];

const USER: u64 = libc::CLONE_NEWUSER as u64;

/// Joins a namespace; a refusal may be left to [`join_postponed`].
pub(super) fn join(child: &mut Child<'_>, slot: Slot, kind: u64, postpone: bool) -> Outcome {
    match namespaces::setns(child.fd(slot)?, kind) {
        Err(Errno(libc::EPERM)) if postpone => return Ok(()),
        result => result?,
    }
    child.drop_slot(slot);
    Ok(())
}

/// Joins what the user namespace owns, now that this process is in it.
pub(super) fn join_postponed(child: &mut Child<'_>, slot: Slot, kind: u64) -> Outcome {
    if child.fd(slot).is_err() {
        return Ok(());
    }
    join(child, slot, kind, false)
}

/// One call for all kinds; where the user namespace does not own one of them (a network
/// namespace that the container joined by path), those of the host first.
pub(super) fn join_process(child: &mut Child<'_>, slot: Slot, kinds: u64) -> Outcome {
    let process = child.fd(slot)?;
    match namespaces::setns(process, kinds) {
        Err(Errno(libc::EPERM)) if kinds & USER != 0 => join_by_owner(process, kinds)?,
        result => result?,
    }
    child.drop_slot(slot);
    Ok(())
}

fn join_by_owner(process: i32, kinds: u64) -> Outcome {
    let mut postponed = 0;
    for kind in KINDS.map(|kind| kind as u64).into_iter().filter(|kind| kinds & kind != 0) {
        match namespaces::setns(process, kind) {
            Err(Errno(libc::EPERM)) => postponed |= kind,
            result => result.map_err(|errno| Failure::from(errno).at(kind as u32))?,
        }
    }
    namespaces::setns(process, USER)?;
    for kind in KINDS.map(|kind| kind as u64).into_iter().filter(|kind| postponed & kind != 0) {
        let joined = namespaces::setns(process, kind);
        joined.map_err(|errno| Failure::from(errno).at(kind as u32))?;
    }
    Ok(())
}

/// A joined user namespace must be the one that the configuration describes.
pub(super) fn check_mappings(child: &mut Child<'_>, uids: Bytes, gids: Bytes) -> Outcome {
    for (which, path, expected) in
        [(0, c"/proc/self/uid_map", uids), (1, c"/proc/self/gid_map", gids)]
    {
        let mut expected = child.bytes(expected)?;
        let map = openat(libc::AT_FDCWD, path, libc::O_RDONLY | libc::O_CLOEXEC, 0)?;
        let read = raw::read(map, child.scratch);
        raw::close(map);
        let text = child.scratch.get(..read?).unwrap_or_default();
        let mut same = true;
        for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            let number = child::number(word).and_then(|value| u32::try_from(value).ok());
            let Some((first, rest)) = expected.split_first_chunk::<4>() else {
                same = false;
                break;
            };
            same &= number == Some(u32::from_ne_bytes(*first));
            expected = rest;
        }
        if !same || !expected.is_empty() {
            return Err(Failure::from(Errno(libc::EINVAL)).at(which));
        }
    }
    Ok(())
}

/// Makes a time namespace, sets its clocks and enters it. Entering comes here and not with
/// execve, which kernels before 6.3 do not do.
pub(super) fn offset_clocks(child: &mut Child<'_>, offsets: Text) -> Outcome {
    const TIME: u64 = libc::CLONE_NEWTIME as u64;
    namespaces::unshare(TIME)?;
    let lines = child.bytes_of(offsets)?;
    if !lines.is_empty() {
        let at = |errno| Failure::from(errno).at(1);
        let path = c"/proc/self/timens_offsets";
        let file = openat(libc::AT_FDCWD, path, libc::O_WRONLY | libc::O_CLOEXEC, 0).map_err(at)?;
        let written = raw::write(file, lines);
        raw::close(file);
        written.map_err(at)?;
    }
    let at = |errno| Failure::from(errno).at(2);
    let path = c"/proc/self/ns/time_for_children";
    let own = openat(libc::AT_FDCWD, path, libc::O_RDONLY | libc::O_CLOEXEC, 0).map_err(at)?;
    let entered = namespaces::setns(own, TIME);
    raw::close(own);
    entered.map_err(at)
}

/// Init goes on with the next step; the intermediate process says its pid and ends.
pub(super) fn clone_init(child: &Child<'_>, kinds: u64) -> Outcome {
    let pid = namespaces::clone_sibling(kinds)?;
    if pid == 0 {
        return Ok(());
    }
    let mut record = Record::new(RecordKind::Init, child.step);
    record.value = pid as u64;
    report::send(child, &record);
    raw::exit_group(0)
}

/// Mounts of the container belong to root of its user namespace, not to whoever came in.
pub(super) fn become_root(tolerate_denied: bool, keep_groups: bool) -> Outcome {
    if !keep_groups {
        match identity::set_groups(&[]) {
            // The namespace forbids setgroups: the kernel lets nobody give up groups in it.
            Err(Errno(libc::EPERM)) if tolerate_denied => {}
            result => result?,
        }
    }
    identity::set_group(0).map_err(|errno| Failure::from(errno).at(1))?;
    identity::set_user(0).map_err(|errno| Failure::from(errno).at(2))
}

/// Permissions of the session keyring: the kernel's defaults and the right of the same user to
/// search it, so that other processes of the container may join it.
const KEYRING_PERMISSIONS: u32 = 0x3f1b_0000;

/// A session keyring of the container's own.
pub(super) fn join_keyring(child: &mut Child<'_>, name: Text) -> Outcome {
    match identity::join_session_keyring(c_text(child.text(name)?)?) {
        Ok(keyring) => {
            identity::set_key_permissions(keyring, KEYRING_PERMISSIONS)?;
            Ok(())
        }
        // A kernel without keys has none to keep apart; in a container whose filter forbids the
        // call the keyring is already a container's.
        Err(errno @ Errno(libc::ENOSYS | libc::EPERM)) => {
            report::warned(child, &Failure::from(errno));
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}
