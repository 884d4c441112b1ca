//! What a mount of type `cgroup` shows inside a container.

use super::{Layout, Location, Mode, Version};
use crate::host::CgroupMount;

/// The hierarchies that a container sees: one nameless entry on a unified host, else those of
/// v1. The v2 part of a hybrid is not shown, as with runc.
pub(crate) fn mounts_for_container(layout: &Layout, own: &Location) -> Vec<CgroupMount> {
    let shown = match layout.mode {
        Mode::Unified => Version::V2,
        Mode::Legacy | Mode::Hybrid => Version::V1,
    };
    let hierarchies = layout.hierarchies.iter().filter(|hierarchy| hierarchy.version == shown);
    hierarchies
        .filter_map(|hierarchy| {
            let group = own.groups.iter().find(|group| group.root() == hierarchy.mount_point)?;
            let mount_point = hierarchy.mount_point.to_str()?.to_owned();
            let group = group.directory().to_str()?.to_owned();
            if shown == Version::V2 {
                let (name, options, links) = (String::new(), String::new(), Vec::new());
                return Some(CgroupMount {
                    name,
                    unified: true,
                    options,
                    mount_point,
                    group,
                    links,
                });
            }
            let name = hierarchy.mount_point.file_name()?.to_str()?.to_owned();
            let links = match hierarchy.controllers.as_slice() {
                [_, _, ..] => {
                    hierarchy.controllers.iter().filter(|link| **link != name).cloned().collect()
                }
                _ => Vec::new(),
            };
            let options = hierarchy.controllers.join(",");
            Some(CgroupMount { name, unified: false, options, mount_point, group, links })
        })
        .collect()
}
