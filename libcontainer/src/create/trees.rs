//! Detached mount trees: with id mappings, and of sources out of the child's reach.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::descriptors::open_path;
use super::{undo, user_namespace};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Mappings, PlannedTree, TreeMapping};
use crate::protocol::Slot;
use crate::spec::IdMapping;
use crate::sys::{Errno, clone, process, raw};

/// Trees that do not wait for the container's user namespace, made before the clone.
pub(super) fn make_early(trees: &[PlannedTree]) -> Result<Vec<(&PlannedTree, OwnedFd)>> {
    let mut early = Vec::new();
    for tree in trees {
        match &tree.mapping {
            TreeMapping::Absent => early.push((tree, make(tree, None)?)),
            TreeMapping::Own(uids, gids) => {
                let namespace = user_namespace_with(uids, gids).map_err(|e| e.at(&tree.pointer))?;
                early.push((tree, make(tree, Some(namespace.as_fd()))?));
            }
            TreeMapping::Container => {}
        }
    }
    Ok(early)
}

/// Trees that are mapped by the container's own user namespace.
pub(super) fn make_for(trees: &[PlannedTree], namespace: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    trees
        .iter()
        .filter(|tree| tree.mapping == TreeMapping::Container)
        .map(|tree| make(tree, Some(namespace)))
        .collect()
}

/// All trees, for a container whose user namespace is there.
pub(crate) fn make_all(
    trees: &[PlannedTree],
    namespace: Option<BorrowedFd<'_>>,
) -> Result<Vec<(Slot, OwnedFd)>> {
    let early = make_early(trees)?.into_iter().map(|(tree, made)| (tree.slot, made));
    let mut all: Vec<_> = early.collect();
    if let Some(namespace) = namespace {
        let mapped = trees.iter().filter(|tree| tree.mapping == TreeMapping::Container);
        all.extend(mapped.map(|tree| tree.slot).zip(make_for(trees, namespace)?));
    }
    Ok(all)
}

fn make(tree: &PlannedTree, namespace: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    let failed = |act: &str, errno: Errno| {
        let hint = match errno.0 {
            libc::ENOSYS => Some("id-mapped mounts need Linux 5.12".to_owned()),
            libc::EINVAL => Some(match file_system_of(&tree.source) {
                Some(kind) => format!("{kind}, the file system of the source, may have none"),
                None => "the file system of the source may not support it".to_owned(),
            }),
            _ => None,
        };
        let message = format!("{act} {}: {errno}", tree.source);
        let error = Error::new(ErrorKind::System, message).at(&tree.pointer);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    };
    let clone = process::clone_tree(&tree.source, tree.recursive_bind)
        .map_err(|errno| failed("failed to fulfil mount request: open", errno))?;
    // A clone of a shared mount stays in the host's peer group, and what is mounted below it in
    // the container would appear on the host.
    process::make_slave(clone.as_fd()).map_err(|errno| failed("set propagation of", errno))?;
    if let Some(namespace) = namespace {
        process::map_ids(clone.as_fd(), namespace, tree.recursive_map)
            .map_err(|errno| failed("failed to set MOUNT_ATTR_IDMAP on", errno))?;
    }
    Ok(clone)
}

/// Name of the file system that a path lies on, for people: fdinfo tells the mount, and mountinfo
/// what it is.
fn file_system_of(path: &str) -> Option<String> {
    let file = open_path(path, nix::fcntl::OFlag::O_PATH).ok()?;
    let about = std::fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", file.as_raw_fd()));
    let id = about.ok()?.lines().find_map(|line| {
        line.strip_prefix("mnt_id:").map(|number| format!("{} ", number.trim()))
    })?;
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.starts_with(&id))?;
    line.split_once(" - ")?.1.split(' ').next().map(str::to_owned)
}

/// A user namespace with these mappings: a child makes it and lives until it is open.
pub(crate) fn user_namespace_with(uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    let holder = clone::clone(libc::CLONE_NEWUSER as u64, None, || {
        // Ended by its creator. The pause takes no memory and no lock.
        loop {
            if raw::poll(&mut []).is_err() {
                raw::exit_group(1);
            }
        }
    })
    .map_err(|errno| {
        Error::new(ErrorKind::System, format!("clone a process for a user namespace: {errno}"))
    })?;
    let mappings = Mappings { uids: uids.to_vec(), gids: gids.to_vec(), deny_setgroups: false };
    let opened =
        user_namespace::write_mappings(holder.pid, &mappings).and_then(|()| open_of(holder.pid));
    undo::kill(&holder);
    opened
}

/// The user namespace of a process.
pub(crate) fn open_of(pid: u32) -> Result<OwnedFd> {
    open_path(&format!("/proc/{pid}/ns/user"), nix::fcntl::OFlag::O_RDONLY)
}
