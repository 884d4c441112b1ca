//! What the configuration mounts, as whoever saves or restores a container has to know it.

use libc::MS_REMOUNT;

use super::devices::DEFAULT_DEVICES;
use super::mounts::{clean, is_below};
use super::options::MountOptions;
use crate::spec::{Mount, Spec};

/// One mount of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountPoint {
    /// Clean path from the container's root on.
    pub(crate) destination: String,
    /// What is mounted there.
    pub(crate) kind: MountKind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// A file or directory of the host, by its absolute path.
    Bind(String),
    /// The container's groups.
    Cgroup,
    /// A file system whose content is the container's own.
    Tmpfs,
    /// Another file system.
    Other,
}

/// The mounts in their order; `rootfs` is the absolute path of the root file system.
pub(crate) fn plan_mount_points(spec: &Spec, bundle: &str, rootfs: &str) -> Vec<MountPoint> {
    spec.mounts.iter().filter_map(|mount| plan_mount_point(mount, bundle, rootfs)).collect()
}

fn plan_mount_point(mount: &Mount, bundle: &str, rootfs: &str) -> Option<MountPoint> {
    let options = MountOptions::parse(&mount.options);
    if options.flags & MS_REMOUNT != 0 || mount.destination.is_empty() {
        return None;
    }
    let kind = if options.is_bind() {
        MountKind::Bind(match mount.source.starts_with('/') {
            true => mount.source.clone(),
            false => format!("{bundle}/{}", mount.source),
        })
    } else {
        match mount.kind.as_str() {
            "cgroup" | "cgroup2" => MountKind::Cgroup,
            "tmpfs" => MountKind::Tmpfs,
            _ => MountKind::Other,
        }
    };
    let (destination, root) = (clean(&mount.destination), clean(rootfs));
    // As in a creation, a destination may begin with the root's path on the host.
    let destination = match is_below(&destination, &root) {
        true => clean(&destination[root.len()..]),
        false => destination,
    };
    Some(MountPoint { destination, kind })
}

/// Paths of all device nodes: in a user namespace each is a mount.
pub(crate) fn plan_device_paths(spec: &Spec) -> Vec<String> {
    let devices = spec.linux.iter().flat_map(|linux| &linux.devices);
    let mut paths: Vec<String> =
        DEFAULT_DEVICES.iter().map(|(path, ..)| (*path).to_owned()).collect();
    for path in devices.map(|device| clean(&device.path)) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_what_their_options_say() {
        let json = br#"{"ociVersion":"1.3.0","mounts":[
            {"destination":"/data/../etc","source":"conf","options":["rbind","ro"]},
            {"destination":"/b/rootfs/x","source":"/host","type":"none","options":["bind"]},
            {"destination":"dev","type":"tmpfs","source":"tmpfs"},
            {"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup"},
            {"destination":"/proc","type":"proc","source":"proc"},
            {"destination":"/proc","type":"proc","source":"proc","options":["remount","ro"]}
        ],"linux":{"devices":[{"path":"/dev/null"},{"path":"/dev/fuse"}]}}"#;
        let spec = Spec::parse(json).unwrap();
        let points = plan_mount_points(&spec, "/b", "/b/rootfs");
        let expected = [
            ("/etc", MountKind::Bind("/b/conf".to_owned())),
            ("/x", MountKind::Bind("/host".to_owned())),
            ("/dev", MountKind::Tmpfs),
            ("/sys/fs/cgroup", MountKind::Cgroup),
            ("/proc", MountKind::Other),
        ];
        let found: Vec<(&str, MountKind)> =
            points.iter().map(|point| (point.destination.as_str(), point.kind.clone())).collect();
        assert_eq!(found, expected);
        let devices = plan_device_paths(&spec);
        assert_eq!(devices.len(), DEFAULT_DEVICES.len() + 1);
        assert!(devices.contains(&"/dev/fuse".to_owned()));
    }
}
