//! Which groups a container has.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::Membership;
use super::systemd::Unit;
use super::{Error, Hierarchy, Layout, Mode, Result, Version, file};

/// A container's groups, one in each hierarchy. Part of state.json.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Location {
    /// The groups; of v1 hierarchies the freezer's comes last, then that of v2.
    pub(crate) groups: Vec<Group>,
    /// Whether an ordinary user runs the container: missing rights are then no error.
    #[serde(default)]
    pub(crate) rootless: bool,
    /// Whether config.json names the path: missing rights are then an error for all.
    #[serde(default)]
    pub(crate) explicit: bool,
    /// The unit of systemd whose groups they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<Unit>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawGroup")]
pub(crate) struct Group {
    /// Generation of the hierarchy.
    pub(crate) version: Version,
    /// Controllers of the hierarchy, for v1.
    pub(crate) controllers: Vec<String>,
    /// Mount point of the hierarchy.
    root: String,
    /// Path below the mount point: clean, relative.
    path: String,
    /// Group that is mounted there, as /proc/PID/cgroup names it. Older records lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mounted: Option<String>,
    /// Whether files of cpuset lack their prefix.
    #[serde(default)]
    pub(crate) noprefix: bool,
}

#[derive(Deserialize)]
struct RawGroup {
    version: Version,
    controllers: Vec<String>,
    root: String,
    path: String,
    #[serde(default)]
    mounted: Option<String>,
    #[serde(default)]
    noprefix: bool,
}

impl TryFrom<RawGroup> for Group {
    type Error = Error;

    fn try_from(raw: RawGroup) -> Result<Group> {
        let RawGroup { version, controllers, root, path, mounted, noprefix } = raw;
        if !root.starts_with('/') || clean(&root) != root.trim_matches('/') {
            return Err(Error::new(format!("{root:?} is no mount point of a cgroup hierarchy")));
        }
        if clean(&path) != path {
            return Err(Error::new(format!("{path:?} is no clean path of a cgroup")));
        }
        Ok(Group { version, controllers, root, path, mounted, noprefix })
    }
}

impl Group {
    fn new(hierarchy: &Hierarchy, path: String) -> Result<Group> {
        let root = hierarchy.mount_point.to_str().ok_or_else(|| {
            Error::new(format!("{} is not valid UTF-8", hierarchy.mount_point.display()))
        })?;
        let controllers = match hierarchy.version {
            Version::V1 => hierarchy.controllers.clone(),
            Version::V2 => Vec::new(),
        };
        Ok(Group {
            version: hierarchy.version,
            controllers,
            root: root.to_owned(),
            path,
            mounted: hierarchy.mount_root.to_str().map(str::to_owned),
            noprefix: hierarchy.noprefix,
        })
    }

    /// Mount point of the hierarchy.
    pub(crate) fn root(&self) -> &Path {
        Path::new(&self.root)
    }

    /// Path below the mount point; empty for the top.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Path in the runtime's mount namespace.
    pub(crate) fn directory(&self) -> PathBuf {
        self.root().join(&self.path)
    }

    /// Path of one of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let name = if self.noprefix { name.strip_prefix("cpuset.").unwrap_or(name) } else { name };
        self.directory().join(name)
    }

    /// The group at a clean path below.
    pub(super) fn below(&self, path: &str) -> Group {
        Group { path: clean(&format!("{}/{path}", self.path)), ..self.clone() }
    }

    /// Whether it is the group of this v1 controller.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

impl Location {
    /// The group of a v1 controller.
    pub(crate) fn v1(&self, controller: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.version == Version::V1 && group.has(controller))
    }

    /// The group of the v2 hierarchy.
    pub(crate) fn v2(&self) -> Option<&Group> {
        self.groups.iter().find(|group| group.version == Version::V2)
    }

    /// Whether v2 holds all controllers: no v1 group has any.
    pub(crate) fn is_unified(&self) -> bool {
        self.v2().is_some() && self.groups.iter().all(|group| group.version == Version::V2)
    }

    /// Directory of the unit's group, where the container's lies below that; else of the group.
    pub(super) fn top_of(&self, group: &Group) -> PathBuf {
        let subgroup = self.unit.as_ref().map_or("", |unit| unit.subgroup.as_str());
        let top = group.path.strip_suffix(subgroup).filter(|top| top.ends_with('/'));
        match top.filter(|_| !subgroup.is_empty()) {
            Some(top) => group.root().join(top.trim_end_matches('/')),
            None => group.directory(),
        }
    }

    /// The group whose processes are the container's: as runc, that of devices, else any.
    pub(crate) fn main(&self) -> Option<&Group> {
        self.v1("devices").or_else(|| self.v2()).or_else(|| self.groups.first())
    }
}

/// Decides a container's groups. An absolute path starts at the top of each hierarchy, any other
/// beside the caller's own group on v2 (which has processes, so that it can have no children with
/// controllers) and below it elsewhere. No path leaves the hierarchy.
///
/// # Errors
/// No hierarchy is mounted here, or the path names the top of a hierarchy.
pub(crate) fn locate(
    layout: &Layout,
    cgroups_path: Option<&str>,
    id: &str,
    rootless: bool,
) -> Result<Location> {
    if layout.hierarchies.is_empty() {
        return Err(Error::new("no cgroup mount found in mountinfo"));
    }
    let given = cgroups_path.unwrap_or_default();
    let path = clean(given);
    let absolute = given.starts_with('/');
    if given.contains('\0') || absolute && path.is_empty() {
        return Err(Error::at("/linux/cgroupsPath", format!("{given:?} names no group")));
    }
    let mut groups = Vec::with_capacity(layout.hierarchies.len());
    for hierarchy in &layout.hierarchies {
        let below = if absolute { Path::new("") } else { parent_group(layout.mode, hierarchy) };
        let below = below
            .to_str()
            .ok_or_else(|| Error::new(format!("{} is not valid UTF-8", below.display())))?;
        let name = if path.is_empty() { clean(id) } else { path.clone() };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        groups.push(Group::new(hierarchy, path)?);
    }
    // A task that has entered a frozen freezer runs no further, so that one is entered last.
    groups.sort_by_key(|group| (group.version == Version::V2, group.has("freezer")));
    Ok(Location { groups, rootless, explicit: !path.is_empty(), unit: None })
}

/// The groups of a unit. `base` is the group below which its systemd has its units, as systemd
/// names it; without one it is that of the first process, which is the system's.
///
/// # Errors
/// No hierarchy is mounted here, or the unit's names are none.
#[cfg(feature = "systemd")]
pub(super) fn of_unit(
    layout: &Layout,
    unit: Unit,
    base: Option<&str>,
    rootless: bool,
    explicit: bool,
) -> Result<Location> {
    if layout.hierarchies.is_empty() {
        return Err(Error::new("no cgroup mount found in mountinfo"));
    }
    let first = match base {
        Some(_) => Vec::new(),
        None => Membership::parse_all(&file::read_proc(Path::new("/proc/1/cgroup"))?),
    };
    let below = match unit.subgroup.as_str() {
        "" => unit.path()?,
        subgroup => format!("{}/{}", unit.path()?, clean(subgroup)),
    };
    let mut groups = Vec::with_capacity(layout.hierarchies.len());
    for hierarchy in &layout.hierarchies {
        let membership = first.iter().find(|membership| membership.is_of(hierarchy));
        let top = base.map(Path::new).or(membership.map(|membership| membership.path.as_path()));
        // A group that lies outside of what is mounted here is as good as the top.
        let top = top
            .and_then(|top| top.strip_prefix(&hierarchy.mount_root).ok())
            .and_then(Path::to_str)
            .filter(|top| clean(top) == *top)
            .unwrap_or_default();
        let top = top.strip_suffix("init.scope").unwrap_or(top);
        groups.push(Group::new(hierarchy, clean(&format!("{top}/{below}")))?);
    }
    groups.sort_by_key(|group| (group.version == Version::V2, group.has("freezer")));
    Ok(Location { groups, rootless, explicit, unit: Some(unit) })
}

/// A path below a group, if it is a clean one that leads nowhere else.
pub(crate) fn clean_name(path: &str) -> Option<String> {
    (clean(path) == path && !path.contains('\0')).then(|| path.to_owned())
}

fn parent_group(mode: Mode, hierarchy: &Hierarchy) -> &Path {
    match mode {
        Mode::Unified => hierarchy.own.parent().unwrap_or(Path::new("")),
        Mode::Legacy | Mode::Hybrid => &hierarchy.own,
    }
}

/// The path without empty, `.` and `..` components; `..` does not climb above the top.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The groups that a process is in now, in the hierarchies of a container, which may have moved
/// it. The container's record knows them: a machine of many containers has many mounts, which are
/// not read for that.
///
/// # Errors
/// The process is gone, or one of its groups was removed or cannot be seen from here.
pub(crate) fn of_process(location: &Location, pid: i32) -> Result<Location> {
    let memberships = memberships(pid)?;
    let recorded = location.groups.iter().all(|group| group.mounted.is_some());
    let groups = match recorded {
        true => beside(&location.groups, &memberships, pid)?,
        false => mounted_here(&memberships, pid)?,
    };
    Ok(Location { groups, rootless: false, explicit: true, unit: None })
}

fn beside(own: &[Group], memberships: &[Membership], pid: i32) -> Result<Vec<Group>> {
    let mut groups = Vec::with_capacity(own.len());
    for group in own {
        let of_group =
            |membership: &&Membership| membership.is_in(group.version, &group.controllers);
        let membership = memberships.iter().find(of_group);
        let (Some(membership), Some(mounted)) = (membership, &group.mounted) else { continue };
        let path = path_below(membership, Path::new(mounted), group.root(), pid)?;
        groups.push(Group { path, ..group.clone() });
    }
    Ok(groups)
}

fn mounted_here(memberships: &[Membership], pid: i32) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    for hierarchy in &Layout::probe()?.hierarchies {
        let membership = memberships.iter().find(|membership| membership.is_of(hierarchy));
        let Some(membership) = membership else { continue };
        let path = path_below(membership, &hierarchy.mount_root, &hierarchy.mount_point, pid)?;
        groups.push(Group::new(hierarchy, path)?);
    }
    groups.sort_by_key(|group| (group.version == Version::V2, group.has("freezer")));
    Ok(groups)
}

fn memberships(pid: i32) -> Result<Vec<Membership>> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    Ok(Membership::parse_all(&file::read_proc(&path)?))
}

/// Path of a process's group below the mount point of its hierarchy.
fn path_below(
    membership: &Membership,
    mounted: &Path,
    mount_point: &Path,
    pid: i32,
) -> Result<String> {
    let below = membership.path.strip_prefix(mounted).ok().and_then(Path::to_str);
    let below = below.filter(|path| clean(path) == *path && !path.ends_with(" (deleted)"));
    below.map(str::to_owned).ok_or_else(|| {
        Error::new(format!(
            "process {pid} is in the cgroup {}, which cannot be reached at {}",
            membership.path.display(),
            mount_point.display()
        ))
    })
}

/// Sub-groups for `exec --cgroup`: one `path` for all hierarchies, or any number of
/// `controller[,controller]:path`.
///
/// # Errors
/// Controllers that are not there or are named twice, and paths that leave the container's group;
/// in runc's words.
pub(crate) fn sub(location: &Location, arguments: &[String]) -> Result<Location> {
    let mut result = location.clone();
    let mut named: Vec<&str> = Vec::new();
    for argument in arguments {
        let Some((controllers, path)) = argument.split_once(':') else {
            if arguments.len() != 1 {
                return Err(Error::new(format!(
                    "invalid --cgroup argument: {argument} (missing <controller>: prefix)"
                )));
            }
            for group in &mut result.groups {
                group.path = below(&group.path, argument)?;
            }
            return Ok(result);
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(Error::new(format!(
                    "invalid --cgroup argument: {argument} (empty <controller> prefix)"
                )));
            }
            if named.contains(&controller) {
                return Err(Error::new(format!(
                    "invalid --cgroup argument(s): controller {controller} specified multiple times"
                )));
            }
            named.push(controller);
            let base = location.v1(controller).ok_or_else(|| {
                Error::new(format!("unknown controller {controller} in SubCgroupPaths"))
            })?;
            let path = below(&base.path, path)?;
            let group = result.groups.iter_mut().find(|group| group.has(controller));
            if let Some(group) = group {
                group.path = path;
            }
        }
    }
    Ok(result)
}

fn below(base: &str, sub: &str) -> Result<String> {
    let mut depth = 0_usize;
    for part in sub.split('/') {
        depth = match part {
            "" | "." => depth,
            ".." => depth
                .checked_sub(1)
                .ok_or_else(|| Error::new(format!("bad sub cgroup path: {sub}")))?,
            _ => depth + 1,
        };
    }
    let sub = clean(sub);
    Ok(match (base.is_empty(), sub.is_empty()) {
        (_, true) => base.to_owned(),
        (true, false) => sub,
        (false, false) => format!("{base}/{sub}"),
    })
}
