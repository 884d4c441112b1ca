//! Which hierarchies of cgroups this machine has, and where they are mounted.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Result, file};

/// The hierarchies that can be reached here. Plain data: plans and tests may make their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Which generation of cgroups holds the controllers.
    pub(crate) mode: Mode,
    /// Mounted hierarchies.
    pub(crate) hierarchies: Vec<Hierarchy>,
}

/// Which generation of cgroups holds the controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// v1 only.
    Legacy,
    /// Controllers on v1, and a v2 hierarchy beside.
    Hybrid,
    /// v2 only.
    Unified,
}

/// Generation of one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    /// cgroup.
    #[serde(rename = "v1")]
    V1,
    /// cgroup2.
    #[serde(rename = "v2")]
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Generation.
    pub(crate) version: Version,
    /// Controllers; `name=systemd` and the like for v1 hierarchies without any.
    pub(crate) controllers: Vec<String>,
    /// Where it is mounted.
    pub(crate) mount_point: PathBuf,
    /// The caller's own group, relative to the mount point; the top if it lies outside.
    pub(crate) own: PathBuf,
    /// Group that is mounted, as /proc/PID/cgroup names it.
    pub(crate) mount_root: PathBuf,
    /// Whether files of cpuset lack their prefix (as on Android).
    pub(crate) noprefix: bool,
}

impl Layout {
    /// Reads the layout of the calling thread.
    ///
    /// # Errors
    /// procfs cannot be read.
    pub(crate) fn probe() -> Result<Layout> {
        let mounts = file::read_proc(Path::new("/proc/thread-self/mountinfo"))?;
        let memberships = file::read_proc(Path::new("/proc/thread-self/cgroup"))?;
        let mut layout = Self::parse(&mounts, &memberships);
        for hierarchy in &mut layout.hierarchies {
            if hierarchy.version == Version::V2 {
                let list = file::read(&hierarchy.mount_point.join("cgroup.controllers"))?;
                hierarchy.controllers = list.split_whitespace().map(str::to_owned).collect();
            }
        }
        Ok(layout)
    }

    /// Reads a layout from the texts of /proc/PID/mountinfo and /proc/PID/cgroup; v2 controllers
    /// are not among them.
    pub(crate) fn parse(mountinfo: &[u8], memberships: &[u8]) -> Layout {
        let mounts = parse_mountinfo(mountinfo);
        let memberships = Membership::parse_all(memberships);
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for mount in mounts.iter().filter(|mount| mount.version.is_some()) {
            let Some(hierarchy) = mount.hierarchy(&memberships) else { continue };
            if !mount.is_visible(&mounts) {
                continue;
            }
            let known = hierarchies.iter_mut().find(|known| {
                known.version == hierarchy.version && known.controllers == hierarchy.controllers
            });
            match known {
                None => hierarchies.push(hierarchy),
                Some(known) if !is_usual(&known.mount_point) && is_usual(&mount.point) => {
                    *known = hierarchy;
                }
                Some(_) => {}
            }
        }
        Self::of(hierarchies)
    }

    fn of(mut hierarchies: Vec<Hierarchy>) -> Layout {
        let unified = hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2);
        let has_v1 = hierarchies.iter().any(|hierarchy| {
            hierarchy.version == Version::V1
                && hierarchy.controllers.iter().any(|name| !name.starts_with("name="))
        });
        let mode = match unified {
            None => Mode::Legacy,
            // A lone v1 controller beside a full v2 (net_cls of some VPN) makes no hybrid.
            Some(v2) if !has_v1 || v2.mount_point == Path::new("/sys/fs/cgroup") => Mode::Unified,
            Some(_) => Mode::Hybrid,
        };
        if mode == Mode::Unified {
            hierarchies.retain(|hierarchy| hierarchy.version == Version::V2);
        }
        Layout { mode, hierarchies }
    }

    /// The v2 hierarchy.
    pub(crate) fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2)
    }

    /// The hierarchy that holds a controller.
    pub(crate) fn controller(&self, name: &str) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.controllers.iter().any(|controller| controller == name))
    }
}

fn is_usual(mount_point: &Path) -> bool {
    mount_point.starts_with("/sys/fs/cgroup")
}

/// One line of /proc/PID/cgroup.
pub(super) struct Membership {
    /// v1 controllers; empty for v2.
    pub(super) controllers: Vec<String>,
    /// Group, from the root of the reader's cgroup namespace.
    pub(super) path: PathBuf,
}

impl Membership {
    /// Parses the whole file. Lines that are none are skipped.
    pub(super) fn parse_all(text: &[u8]) -> Vec<Membership> {
        text.split(|byte| *byte == b'\n').filter_map(Self::parse).collect()
    }

    fn parse(line: &[u8]) -> Option<Membership> {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        fields.next()?;
        let controllers = String::from_utf8_lossy(fields.next()?).into_owned();
        let path = PathBuf::from(OsString::from_vec(fields.next()?.to_vec()));
        let controllers =
            controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(Membership { controllers, path })
    }

    /// Whether it names a group of this hierarchy.
    pub(super) fn is_of(&self, hierarchy: &Hierarchy) -> bool {
        self.is_in(hierarchy.version, &hierarchy.controllers)
    }

    /// Whether it tells of the hierarchy of these controllers, which has no names for v2.
    pub(super) fn is_in(&self, version: Version, controllers: &[String]) -> bool {
        match version {
            Version::V2 => self.controllers.is_empty(),
            Version::V1 => self.controllers == controllers,
        }
    }
}

/// One line of mountinfo.
struct Mount {
    id: u64,
    parent: u64,
    root: PathBuf,
    point: PathBuf,
    version: Option<Version>,
    options: Vec<String>,
}

fn parse_mountinfo(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect()
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Mount> {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let root = unescape(fields.nth(1)?);
        let point = unescape(fields.next()?);
        let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
        let version = match tail.next()? {
            b"cgroup" => Some(Version::V1),
            b"cgroup2" => Some(Version::V2),
            _ => None,
        };
        let options = match (version, tail.nth(1)) {
            (Some(_), Some(options)) => {
                String::from_utf8_lossy(options).split(',').map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        Some(Mount { id, parent, root, point, version, options })
    }

    /// Whether a path walk to the mount point ends on this mount: nothing was mounted over it or
    /// over a directory on the way.
    fn is_visible(&self, all: &[Mount]) -> bool {
        if all.iter().any(|other| other.parent == self.id && other.point == self.point) {
            return false;
        }
        let mut mount = self;
        for _ in 0..all.len() {
            let covered = all.iter().any(|other| {
                other.parent == mount.parent
                    && other.id != mount.id
                    && other.point != mount.point
                    && mount.point.starts_with(&other.point)
            });
            if covered {
                return false;
            }
            let parent = all.iter().find(|other| other.id == mount.parent);
            match parent {
                Some(parent) if parent.id != mount.id => mount = parent,
                _ => break,
            }
        }
        true
    }

    /// None for a hierarchy in which the caller is in no group.
    fn hierarchy(&self, memberships: &[Membership]) -> Option<Hierarchy> {
        let version = self.version?;
        let membership = memberships.iter().find(|membership| match version {
            Version::V2 => membership.controllers.is_empty(),
            Version::V1 => {
                membership.controllers.iter().any(|name| self.options.iter().any(|o| o == name))
            }
        })?;
        let own = membership.path.strip_prefix(&self.root).unwrap_or(Path::new(""));
        let stays = own.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        Some(Hierarchy {
            version,
            controllers: membership.controllers.clone(),
            mount_point: self.point.clone(),
            own: if stays { own.to_owned() } else { PathBuf::new() },
            mount_root: self.root.clone(),
            noprefix: self.options.iter().any(|option| option == "noprefix"),
        })
    }
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'\\'
            && let [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = tail
        {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}
