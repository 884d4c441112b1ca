//! Finds out what this machine and this program can do.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Host;
use crate::cgroup::{Layout, Location, mounts_for_container};
use crate::error::{Error, ErrorKind, Result};
use crate::rdt::Resctrl;
use crate::spec::{Linux, NamespaceKind};
use crate::sys::process;

/// Inode of the initial user namespace, the same on every machine: PROC_USER_INIT_INO.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

impl Host {
    /// Asks the kernel; about the mounts of this namespace only where the plan needs them.
    pub(crate) fn probe(mounts: bool) -> Result<Self> {
        let namespace_inodes = probe_namespaces();
        let inode_of = |kind: NamespaceKind| {
            namespace_inodes.iter().find(|(flag, _)| *flag == kind.flag()).map(|(_, inode)| *inode)
        };
        let user = inode_of(NamespaceKind::User);
        let in_user_namespace = user.is_some_and(|inode| inode != INITIAL_USER_NAMESPACE);
        Ok(Self {
            kernel: probe_kernel()?,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            capabilities: process::effective_capabilities()
                .map_err(|errno| Error::new(ErrorKind::System, format!("capget: {errno}")))?,
            last_capability: read("/proc/sys/kernel/cap_last_cap")?.trim().parse().unwrap_or(40),
            in_user_namespace,
            setgroups_denied: in_user_namespace
                && std::fs::read("/proc/self/setgroups").is_ok_and(|s| s.starts_with(b"deny")),
            namespaces: namespace_inodes.iter().fold(0, |flags, (flag, _)| flags | flag),
            namespace_inodes,
            own_namespaces: Vec::new(),
            resctrl: None,
            apparmor: std::fs::read("/sys/module/apparmor/parameters/enabled")
                .is_ok_and(|enabled| enabled.starts_with(b"Y")),
            selinux: has_selinux(),
            mount_setattr: process::knows_mount_setattr(),
            mount_api: process::knows_open_tree(),
            cgroup_mounts: Vec::new(),
            full_kernel_mounts: if mounts { probe_full_mounts()? } else { Vec::new() },
        })
    }

    /// The calling thread's umask, read where umask(2) would have to change it.
    pub(crate) fn probe_umask() -> Result<u32> {
        let status = read("/proc/thread-self/status")?;
        let digits = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        digits
            .and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok())
            .ok_or_else(|| Error::new(ErrorKind::System, "/proc/thread-self/status tells no umask"))
    }

    /// Adds which namespaces that the container joins are the caller's own: what belongs to them is
    /// not the container's to change.
    pub(crate) fn compare_namespaces(&mut self, linux: &Linux) {
        if linux.sysctl.is_empty() && linux.net_devices.is_empty() {
            return;
        }
        let joined = linux.namespaces.iter().filter(|namespace| !namespace.path.is_empty());
        for namespace in joined {
            let Some(kind) = NamespaceKind::of(&namespace.kind) else { continue };
            let own = format!("/proc/thread-self/ns/{}", kind.file_name());
            let identity = |path: &str| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
            if identity(&own).is_some_and(|own| identity(&namespace.path) == Some(own)) {
                self.own_namespaces.push(namespace.path.clone());
            }
        }
    }

    /// Adds the resctrl file system, at `root` or where mountinfo has it, if it is asked for.
    pub(crate) fn find_resctrl(&mut self, linux: &Linux, root: Option<&Path>) -> Result<()> {
        if linux.intel_rdt.is_none() {
            return Ok(());
        }
        let found = match root {
            Some(root) => Some(root.to_owned()),
            None => find_resctrl()?,
        };
        self.resctrl = found.map(Resctrl::at);
        Ok(())
    }

    /// The resctrl file system that is mounted here.
    pub(crate) fn probe_resctrl() -> Result<Option<Resctrl>> {
        Ok(find_resctrl()?.map(Resctrl::at))
    }

    /// Adds what of its cgroups the container shall see.
    pub(crate) fn show_cgroups(&mut self, layout: &Layout, group: &Location) {
        self.cgroup_mounts = mounts_for_container(layout, group);
    }
}

fn find_resctrl() -> Result<Option<PathBuf>> {
    let mounts = read("/proc/thread-self/mountinfo")?;
    Ok(Resctrl::mount_point(&mounts).map(|point| PathBuf::from(unescape(point))))
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::io(ErrorKind::System, "read", path, &error))
}

fn probe_kernel() -> Result<(u32, u32)> {
    let release = read("/proc/sys/kernel/osrelease")?;
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => Err(Error::new(
            ErrorKind::System,
            format!("{:?} is no version of a kernel", release.trim()),
        )),
    }
}

fn probe_namespaces() -> Vec<(u64, u64)> {
    NamespaceKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let path = format!("/proc/thread-self/ns/{}", kind.file_name());
            Some((kind.flag(), namespace_inode(&path).ok()?))
        })
        .collect()
}

/// Inode of a namespace, from the text of a link such as /proc/PID/ns/user: the kernel makes no
/// file for that, as it does for stat(2).
///
/// # Errors
/// readlink(2) fails, or the link does not read `KIND:[INODE]`.
pub(crate) fn namespace_inode(path: &str) -> std::io::Result<u64> {
    let link = std::fs::read_link(path)?;
    let text = link.to_str().and_then(|link| link.split_once(":[")?.1.strip_suffix(']'));
    let inode = text.and_then(|inode| inode.parse().ok());
    inode.ok_or_else(|| std::io::Error::other(format!("{} is no namespace", link.display())))
}

/// Mount points of whole procfs and sysfs file systems, in the order of mountinfo: parents come
/// before what is mounted on them.
fn probe_full_mounts() -> Result<Vec<String>> {
    let mountinfo = read("/proc/thread-self/mountinfo")?;
    Ok(mountinfo.lines().filter_map(full_mount).collect())
}

fn full_mount(line: &str) -> Option<String> {
    let (before, after) = line.split_once(" - ")?;
    let kind = after.split(' ').next()?;
    let mut fields = before.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    (matches!(kind, "proc" | "sysfs") && root == "/").then(|| unescape(point))
}

/// mountinfo writes blanks and backslashes as octal numbers.
fn unescape(field: &str) -> String {
    let mut text = Vec::new();
    let mut bytes = field.as_bytes();
    while let [first, rest @ ..] = bytes {
        match (first, rest) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..]) => {
                text.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                bytes = rest;
            }
            _ => {
                text.push(*first);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Before a policy is loaded every process has the label `kernel`, and no other one means anything.
fn has_selinux() -> bool {
    std::fs::exists("/sys/fs/selinux/enforce").unwrap_or(false)
        && std::fs::read("/proc/thread-self/attr/current")
            .is_ok_and(|label| !label.starts_with(b"kernel\0") && label != b"kernel")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_of_the_tests_is_known() {
        let host = Host::probe(true).unwrap();
        assert!(host.kernel >= (5, 4), "{:?}", host.kernel);
        assert!(host.last_capability >= 37);
        assert_ne!(host.namespaces & NamespaceKind::Pid.flag(), 0);
        assert!(host.full_kernel_mounts.iter().any(|point| point == "/proc"));
    }

    #[test]
    fn a_namespace_has_the_inode_of_its_file() {
        let path = "/proc/self/ns/mnt";
        assert_eq!(namespace_inode(path).unwrap(), std::fs::metadata(path).unwrap().ino());
        assert!(namespace_inode("/proc/self/cwd").is_err());
    }

    #[test]
    fn only_whole_kernel_file_systems_count() {
        assert_eq!(
            full_mount("22 28 0:21 / /pr\\040oc rw,nosuid shared:5 - proc proc rw").as_deref(),
            Some("/pr oc")
        );
        assert_eq!(full_mount("22 28 0:21 /sys /x rw - proc proc rw"), None);
        assert_eq!(full_mount("22 28 0:21 / /x rw - tmpfs tmpfs rw"), None);
    }
}
