//! What a `cgroup` mount shows inside a container on v1.

use super::{Layout, Location, Version};

/// One hierarchy as the container sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContainerMount {
    /// Directory below the mount's destination, named as on the host.
    pub(crate) name: String,
    /// Links beside it, for controllers that share the hierarchy.
    pub(crate) links: Vec<String>,
    /// Data for a mount of its own in a cgroup namespace: `cpu,cpuacct`, `name=systemd`.
    pub(crate) data: String,
    /// The container's group on the host: source of a bind mount without cgroup namespace.
    pub(crate) source: String,
}

/// The v1 hierarchies that are shown inside a container. Empty on a unified host, where one
/// cgroup2 mount does; of a hybrid, the v2 part is not shown, as with runc.
pub(crate) fn mounts_for_container(layout: &Layout, own: &Location) -> Vec<ContainerMount> {
    let hierarchies =
        layout.hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::V1);
    hierarchies
        .filter_map(|hierarchy| {
            let group = own.groups.iter().find(|group| group.root() == hierarchy.mount_point)?;
            let name = hierarchy.mount_point.file_name()?.to_str()?.to_owned();
            let links = match hierarchy.controllers.as_slice() {
                [_, _, ..] => {
                    hierarchy.controllers.iter().filter(|link| **link != name).cloned().collect()
                }
                _ => Vec::new(),
            };
            let source = group.directory().to_str()?.to_owned();
            Some(ContainerMount { name, links, data: hierarchy.controllers.join(","), source })
        })
        .collect()
}
