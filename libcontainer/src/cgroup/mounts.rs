//! What a mount of type `cgroup` shows inside a container.

use super::{Hierarchy, Layout, Location, Mode, Version};
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
            let group = own.groups.iter().find(|group| group.root() == hierarchy.mount_point)?;
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
                group: group.directory().to_str()?.to_owned(),
                links,
            })
        })
        .collect()
}

fn unified_mount(unified: &Hierarchy, own: &Location) -> Option<CgroupMount> {
    let mount_point = unified.mount_point.to_str()?.to_owned();
    let group = match own.v2() {
        Some(group) => group.directory().to_str()?.to_owned(),
        // An ordinary user's container without a group of its own.
        None => mount_point.clone(),
    };
    Some(CgroupMount {
        name: String::new(),
        unified: true,
        options: String::new(),
        mount_point,
        group,
        links: Vec::new(),
    })
}
