//! Mounts that lead out of the container: CRIU writes the name of each into the images, and is told
//! at the restore what stands for it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};

use crate::cgroup::{Layout, Location, mounts_for_container};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{MountKind, MountPoint};
use crate::sys::{self, namespaces};

/// Where a mount is in the container, and what stands for it.
pub(super) type External = (String, String);

/// The external mounts of a running container. What stands for each is its own place.
pub(super) fn external_of(
    points: &[MountPoint],
    groups: &[(String, String)],
    masked: &[String],
    devices: &[String],
    init: u32,
) -> Result<Vec<External>> {
    let root = open_root(Path::new(&format!("/proc/{init}/root")))?;
    let mut external = Vec::new();
    let mut add = |path: &str| {
        // What is not there any more is no mount either.
        let place =
            look_up(root.as_fd(), path).and_then(|found| place(root.as_fd(), found.as_fd()));
        let place = place.unwrap_or_else(|_| path.to_owned());
        external.push((place.clone(), place));
    };
    for point in points {
        match &point.kind {
            MountKind::Bind(_) => add(&point.destination),
            MountKind::Cgroup => {
                groups.iter().for_each(|(name, _)| add(&below(&point.destination, name)));
            }
            MountKind::Tmpfs | MountKind::Other => {}
        }
    }
    devices.iter().for_each(|path| add(path));
    for path in masked {
        if is_masked_file(root.as_fd(), path) {
            external.push((path.clone(), NULL.to_owned()));
        }
    }
    Ok(external)
}

const NULL: &str = "/dev/null";

/// A masked directory is a mount of a file system that CRIU restores by itself.
fn is_masked_file(root: BorrowedFd<'_>, path: &str) -> bool {
    let found = look_up(root, path).ok();
    let metadata = found.and_then(|found| File::from(found).metadata().ok());
    metadata.is_some_and(|metadata| !metadata.is_dir())
}

/// Names and paths on the host of the groups that a mount of type `cgroup` binds: on v1, without a
/// namespace of groups.
pub(super) fn bound_groups(
    layout: Option<&Layout>,
    location: Option<&Location>,
    has_namespace: bool,
) -> Vec<(String, String)> {
    let (Some(layout), Some(location), false) = (layout, location, has_namespace) else {
        return Vec::new();
    };
    let mounts = mounts_for_container(layout, location).into_iter();
    mounts.filter(|mount| !mount.unified).map(|mount| (mount.name, mount.group)).collect()
}

/// Gives the calling thread a mount namespace of its own, in which the root file system is bound
/// on `root`, as CRIU wants it, and all mount points are there. What stands for the external mounts.
///
/// Nothing of it is seen outside of the namespace but the mount points that were missing, as after
/// a creation.
pub(super) fn prepare(
    rootfs: &Path,
    root: &Path,
    points: &[MountPoint],
    groups: &[(String, String)],
    devices: &[String],
) -> Result<Vec<External>> {
    namespaces::unshare(libc::CLONE_NEWNS as u64)
        .map_err(|errno| system(format!("unshare the mount namespace: {errno}")))?;
    mount_at(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SLAVE)?;
    let recursive = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount_at(Some(rootfs), root, recursive)?;
    let external = make_mount_points(root, points, groups, devices);
    // Bind mounts were only there to make mount points in them.
    umount2(root, MntFlags::MNT_DETACH).map_err(|errno| kernel("umount", root, errno))?;
    let external = external?;
    mount_at(Some(rootfs), root, recursive)?;
    Ok(external)
}

fn make_mount_points(
    root: &Path,
    points: &[MountPoint],
    groups: &[(String, String)],
    devices: &[String],
) -> Result<Vec<External>> {
    let opened = open_root(root)?;
    let root = opened.as_fd();
    let mut external = Vec::new();
    for point in points {
        match &point.kind {
            MountKind::Cgroup => {
                for (name, group) in groups {
                    let key = below(&point.destination, name);
                    external.push((resolved(root, &key), group.clone()));
                }
            }
            MountKind::Bind(source) => {
                let source = &source_for_criu(source)?;
                let is_on_tmpfs = is_on_tmpfs(&point.destination, points);
                if is_on_tmpfs {
                    external.push((resolved(root, &point.destination), source.clone()));
                    continue;
                }
                let directory = std::fs::metadata(source).map(|found| found.is_dir());
                let directory = directory.map_err(|error| {
                    Error::io(ErrorKind::System, "stat the source of a bind mount", source, &error)
                })?;
                let target = make(root, &point.destination, directory)?;
                external.push((place(root, target.as_fd())?, source.clone()));
                let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
                mount_at(Some(Path::new(source)), &opened_path(target.as_fd()), flags)?;
            }
            MountKind::Tmpfs | MountKind::Other => {
                if !is_on_tmpfs(&point.destination, points) {
                    make(root, &point.destination, true)?;
                }
            }
        }
    }
    external.push((NULL.to_owned(), NULL.to_owned()));
    let nodes = devices.iter().filter(|path| *path != NULL);
    external.extend(nodes.map(|path| (path.clone(), path.clone())));
    Ok(external)
}

/// The source of a bind mount as CRIU takes it: it looks for the mount on which the path lies by taking away one name after
/// the other, and fails at `.` and `..`.
fn source_for_criu(source: &str) -> Result<String> {
    let path = Path::new(source);
    let has_parents = path.components().any(|part| part == Component::ParentDir);
    let cleared = match has_parents {
        // The parent of a link's target is known to the kernel alone.
        true => std::fs::canonicalize(path).map_err(|error| {
            Error::io(ErrorKind::System, "look up the source of a bind mount", source, &error)
        })?,
        false => path.components().collect(),
    };
    super::images::utf8(&cleared)
}

/// What lies on a tmpfs comes with its content.
fn is_on_tmpfs(path: &str, points: &[MountPoint]) -> bool {
    points.iter().any(|point| {
        point.kind == MountKind::Tmpfs
            && path
                .strip_prefix(point.destination.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
    })
}

/// The place of a path after all links, or itself where there is nothing.
fn resolved(root: BorrowedFd<'_>, path: &str) -> String {
    look_up(root, path)
        .and_then(|found| place(root, found.as_fd()))
        .unwrap_or_else(|_| path.to_owned())
}

/// Opens a path of a root file system, making what is missing of it. Nothing outside is touched,
/// whatever links there are.
fn make(root: BorrowedFd<'_>, path: &str, directory: bool) -> Result<OwnedFd> {
    let shown = Path::new(path);
    let mut reached = String::new();
    let mut parent = look_up(root, "/")?;
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        reached = below(&reached, part);
        let found = match open_in(root, &reached) {
            Err(Errno::ENOENT) => {
                let mode = Mode::from_bits_truncate(0o755);
                match directory || parts.peek().is_some() {
                    true => mkdirat(&parent, part, mode),
                    false => {
                        let flags =
                            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                        openat(&parent, part, flags, mode).map(drop)
                    }
                }
                .map_err(|errno| kernel("make the mount point", shown, errno))?;
                open_in(root, &reached)
            }
            found => found,
        };
        parent = found.map_err(|errno| kernel("open the mount point", shown, errno))?;
    }
    Ok(parent)
}

fn look_up(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    open_in(root, path).map_err(|errno| kernel("open", Path::new(path), errno))
}

fn open_in(root: BorrowedFd<'_>, path: &str) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    super::open_scoped(root, path.as_ref(), how)
}

/// The path from the root on of something that is open.
fn place(root: BorrowedFd<'_>, found: BorrowedFd<'_>) -> Result<String> {
    let path = |fd: BorrowedFd<'_>| {
        let link = opened_path(fd);
        std::fs::read_link(&link)
            .map_err(|error| Error::io(ErrorKind::System, "readlink", link.display(), &error))
    };
    let (root, found) = (path(root)?, path(found)?);
    let inside = found
        .strip_prefix(&root)
        .map_err(|_| system(format!("{} does not lie in the root file system", found.display())))?;
    let inside = Path::new("/").join(inside);
    super::images::utf8(&inside)
}

fn opened_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{}", fd.as_raw_fd()))
}

fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty()).map_err(|errno| kernel("open", path, errno))
}

fn below(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

fn mount_at(source: Option<&Path>, target: &Path, flags: MsFlags) -> Result<()> {
    mount(source, target, None::<&str>, flags, None::<&str>).map_err(|errno| {
        let what = match source {
            Some(source) => format!("mount {} on", source.display()),
            None => "change the propagation of".to_owned(),
        };
        kernel(&what, target, errno)
    })
}

fn kernel(act: &str, path: &Path, errno: Errno) -> Error {
    system(format!("{act} {}: {}", path.display(), sys::Errno::from(errno)))
}

fn system(message: String) -> Error {
    Error::new(ErrorKind::System, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn mount_points_are_made_inside() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path().join("rootfs");
        std::fs::create_dir(&rootfs).unwrap();
        symlink("/real", rootfs.join("conf")).unwrap();
        symlink("/../../..", rootfs.join("out")).unwrap();
        std::fs::create_dir(rootfs.join("real")).unwrap();
        let root = open_root(&rootfs).unwrap();
        for (path, directory, expected) in [
            ("/conf/a/b", true, "/real/a/b"),
            ("/out/etc/file", false, "/etc/file"),
            ("/conf", true, "/real"),
            ("/", true, "/"),
        ] {
            let made = make(root.as_fd(), path, directory).unwrap();
            assert_eq!(place(root.as_fd(), made.as_fd()).unwrap(), expected);
            let found = rootfs.join(expected.trim_start_matches('/')).metadata().unwrap();
            assert_eq!(found.is_dir(), directory, "{path}");
        }
        symlink("/missing", rootfs.join("dangling")).unwrap();
        assert!(make(root.as_fd(), "/dangling", true).is_err());
    }

    #[test]
    fn sources_have_no_names_that_criu_fails_at() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("far/away")).unwrap();
        symlink("far/away", top.join("link")).unwrap();
        let top = top.to_str().unwrap();
        for (source, expected) in
            [("/.", ""), ("/./link/", "/link"), ("//far/away", "/far/away"), ("/link/..", "/far")]
        {
            let found = source_for_criu(&format!("{top}{source}")).unwrap();
            assert_eq!(found, format!("{top}{expected}"), "{source}");
        }
        let missing = source_for_criu(&format!("{top}/missing/..")).unwrap_err();
        assert!(missing.to_string().contains("no such file or directory"), "{missing}");
    }

    #[test]
    fn what_lies_on_a_tmpfs_needs_no_mount_point() {
        let point = |destination: &str, kind| MountPoint { destination: destination.into(), kind };
        let points = [point("/dev", MountKind::Tmpfs), point("/proc", MountKind::Other)];
        assert!(is_on_tmpfs("/dev/shm", &points));
        assert!(!is_on_tmpfs("/dev", &points) && !is_on_tmpfs("/device", &points));
        assert!(!is_on_tmpfs("/proc/x", &points));
    }
}
