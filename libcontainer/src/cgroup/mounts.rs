//! What a mount of type `cgroup` shows inside a container.

use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use super::{Group, Hierarchy, Layout, Location, Mode, Version};
use crate::host::CgroupMount;

/// The hierarchies that a container sees: one nameless entry on a unified host, else those of
/// v1. The v2 part of a hybrid is not shown, as with runc.
pub(crate) fn mounts_for_container(layout: &Layout, own: &Location) -> Vec<CgroupMount> {
    if layout.mode == Mode::Unified {
        return layout
            .unified()
            .and_then(|unified| unified_mount(unified, own))
            .into_iter()
            .collect();
    }
    let hierarchies = layout.hierarchies.iter();
    hierarchies
        .filter(|hierarchy| hierarchy.version == Version::V1)
        .filter_map(|hierarchy| {
            let name = hierarchy.mount_point.file_name()?.to_str()?.to_owned();
            let links = match hierarchy.controllers.as_slice() {
                [_, _, ..] => {
                    hierarchy.controllers.iter().filter(|link| **link != name).cloned().collect()
                }
                _ => Vec::new(),
            };
            Some(CgroupMount {
                name,
                unified: false,
                options: hierarchy.controllers.join(","),
                mount_point: hierarchy.mount_point.to_str()?.to_owned(),
                group: shown_group(hierarchy, own)?,
                links,
            })
        })
        .collect()
}

/// The container's group; an ordinary user's container without one is in its caller's.
fn shown_group(hierarchy: &Hierarchy, own: &Location) -> Option<String> {
    let group = own.groups.iter().find(|group| group.root() == hierarchy.mount_point);
    let directory = match group.filter(|group| !may_be_missing(own, group)) {
        Some(group) => group.directory(),
        None => hierarchy.mount_point.join(&hierarchy.own),
    };
    directory.to_str().map(str::to_owned)
}

/// Whether this group cannot be made, and nobody minds.
fn may_be_missing(location: &Location, group: &Group) -> bool {
    let directory = group.directory();
    location.rootless
        && !location.explicit
        && directory
            .ancestors()
            .find(|path| path.is_dir())
            .is_none_or(|there| there != directory && !is_writable(there))
}

fn is_writable(directory: &Path) -> bool {
    faccessat(AT_FDCWD, directory, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok()
}

fn unified_mount(unified: &Hierarchy, own: &Location) -> Option<CgroupMount> {
    let mount_point = unified.mount_point.to_str()?.to_owned();
    let group = shown_group(unified, own)?;
    Some(CgroupMount {
        name: String::new(),
        unified: true,
        options: String::new(),
        mount_point,
        group,
        links: Vec::new(),
    })
}
