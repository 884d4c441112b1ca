//! Makes the groups, and opens them so that the child can join without waiting.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::freezer::{FreezerState, state_of};
use super::{
    Error, Group, Layout, Location, Mode, Result, Version, check, file, kill, remove, systemd,
};
use crate::spec::Resources;

/// Groups that were made.
#[derive(Debug)]
pub(crate) struct Created {
    /// The groups; without those that an ordinary user could not have.
    pub(crate) location: Location,
    /// Descriptors by which the child joins them.
    pub(crate) descriptors: Descriptors,
    /// Directories that were not there before, parents first.
    made: Vec<PathBuf>,
}

/// Open groups. Writing a pid to `cgroup.procs` may wait for an RCU grace period; these do not.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    /// The v2 group, for `CLONE_INTO_CGROUP`.
    pub(crate) directory: Option<OwnedFd>,
    /// The v1 groups' `tasks` files, into which a single-threaded child writes `0`; freezer last.
    pub(crate) tasks: Vec<OwnedFd>,
}

impl Created {
    /// Removes what was made. Processes must have left.
    ///
    /// # Errors
    /// The first group that stays; the others are tried nevertheless.
    pub(crate) fn undo(&self) -> Result<()> {
        let stopped = self.location.unit.as_ref().map_or(Ok(()), systemd::stop);
        undo(&self.made).and(stopped)
    }
}

fn undo(made: &[PathBuf]) -> Result<()> {
    let mut result = Ok(());
    for directory in made.iter().rev() {
        let removed = remove::remove_group(directory);
        if result.is_ok() {
            result = removed;
        }
    }
    result
}

/// Makes the groups, refusing those that have processes or are frozen. On failure nothing stays.
///
/// # Errors
/// A refusal in runc's words, or what the kernel answered.
pub(crate) fn create(
    layout: &Layout,
    location: &Location,
    resources: &Resources,
) -> Result<Created> {
    let mut made = Vec::new();
    let mut kept = Location { groups: Vec::new(), ..location.clone() };
    let mut descriptors = Descriptors::default();
    for group in &location.groups {
        match enter(layout, group, resources, &mut made) {
            Ok(descriptor) => {
                match group.version {
                    Version::V1 => descriptors.tasks.push(descriptor),
                    Version::V2 => descriptors.directory = Some(descriptor),
                }
                kept.groups.push(group.clone());
            }
            Err(error) if may_lack(location, &error) => {
                if location.is_unified()
                    && check::needs_controllers(resources, layout.hierarchies.iter())
                {
                    return Err(failed(&made, error.context(NO_PERMISSION)));
                }
            }
            Err(error) => return Err(failed(&made, error)),
        }
    }
    Ok(Created { location: kept, descriptors, made })
}

/// Refuses groups that others use, before systemd is asked for a unit that has them.
///
/// # Errors
/// There are processes in one, or one is frozen.
#[cfg(feature = "systemd")]
pub(super) fn refuse_foreign(location: &Location) -> Result<()> {
    location.groups.iter().try_for_each(|group| {
        refuse_processes(&group.directory())?;
        if group.has("freezer") || group.version == Version::V2 {
            refuse_frozen(group)?;
        }
        Ok(())
    })
}

/// Puts a process that systemd has put into its unit into the other groups as well: those of
/// hierarchies that systemd does not fill, and those below the unit's. Makes what is missing. On
/// failure nothing stays of what was made here.
///
/// # Errors
/// What the kernel answered, or systemd has put the process elsewhere.
#[cfg(feature = "systemd")]
pub(super) fn join(
    layout: &Layout,
    location: &Location,
    resources: &Resources,
    pid: u32,
) -> Result<Created> {
    let mut made = Vec::new();
    let present = super::of_process(location, pid.cast_signed())?;
    for group in &location.groups {
        if let Err(error) = join_group(layout, location, group, &present, resources, pid, &mut made)
        {
            return Err(failed(&made, error));
        }
    }
    let mut location = location.clone();
    location.number_groups();
    Ok(Created { location, descriptors: Descriptors::default(), made })
}

#[cfg(feature = "systemd")]
fn join_group(
    layout: &Layout,
    location: &Location,
    group: &Group,
    present: &Location,
    resources: &Resources,
    pid: u32,
    made: &mut Vec<PathBuf>,
) -> Result<()> {
    let directory = group.directory();
    let is_new = make_all(group.root(), &directory, made)?;
    let is_member = present.groups.contains(group);
    if is_new && filled_by_systemd(layout, location, group) {
        let elsewhere = present.groups.iter().find(|present| present.root() == group.root());
        return Err(Error::new(format!(
            "systemd was expected to put process {pid} into {}, and it is in {}",
            directory.display(),
            elsewhere
                .map_or("no group".to_owned(), |group| group.directory().display().to_string())
        )));
    }
    if group.has("freezer") || group.version == Version::V2 {
        refuse_frozen(group)?;
    }
    if group.has("cpuset") {
        fill_cpuset(group, &directory, is_new)?;
    }
    if !is_member {
        file::write(&directory.join("cgroup.procs"), &pid.to_string())?;
    }
    if group.version == Version::V2 {
        prepare_unified(layout, group, resources, is_new)?;
    }
    Ok(())
}

/// Whether systemd itself must have made the group: the hierarchy is the one by which it knows its
/// units, and the group is the unit's own.
#[cfg(feature = "systemd")]
fn filled_by_systemd(layout: &Layout, location: &Location, group: &Group) -> bool {
    let whole = location.unit.as_ref().is_some_and(|unit| unit.subgroup.is_empty());
    let known = match layout.mode {
        Mode::Unified => group.version == Version::V2,
        Mode::Legacy | Mode::Hybrid => group.has("name=systemd"),
    };
    whole && known
}

/// Moves a process into a group below that of its container on cgroup v2, which the container
/// manages: no limit is set there. `owner` is the user and group of the container's root.
///
/// # Errors
/// What the kernel answered; there is no v2.
pub(crate) fn descend(
    location: &Location,
    below: &str,
    owner: Option<(u32, u32)>,
    pid: u32,
) -> Result<()> {
    let Some(group) = location.v2().filter(|_| location.is_unified()) else {
        return Err(Error::new("a cgroup is safely delegated on cgroup v2 only"));
    };
    let target = group.below(below);
    let directory = target.directory();
    let mut made = Vec::new();
    make_all(group.root(), &directory, &mut made)?;
    file::write(&directory.join("cgroup.procs"), &pid.to_string())?;
    let controllers = file::read(&group.file("cgroup.controllers"))?;
    let controllers: Vec<String> = controllers.split_whitespace().map(str::to_owned).collect();
    enable_controllers(&target, &directory, &controllers);
    if let Some((uid, gid)) = owner {
        let delegated = Location { groups: vec![target], ..Location::default() };
        delegate(&delegated, uid, gid)?;
    }
    Ok(())
}

/// runc's words, which its tests look for.
const NO_PERMISSION: &str = "rootless needs no limits + no cgrouppath when no permission is \
                             granted for cgroups";

fn may_lack(location: &Location, error: &Error) -> bool {
    location.rootless && !location.explicit && error.is_permission()
}

fn failed(made: &[PathBuf], error: Error) -> Error {
    let error = match error.errno {
        Some(_) => error.context("unable to apply cgroup configuration"),
        None => error,
    };
    match undo(made) {
        Ok(()) => error,
        Err(left) => Error { message: format!("{error} (and then: {left})"), ..error },
    }
}

fn enter(
    layout: &Layout,
    group: &Group,
    resources: &Resources,
    made: &mut Vec<PathBuf>,
) -> Result<OwnedFd> {
    let directory = group.directory();
    let is_new = make_all(group.root(), &directory, made)?;
    if !is_new {
        refuse_processes(&directory)?;
    }
    if group.has("freezer") || group.version == Version::V2 {
        refuse_frozen(group)?;
    }
    if group.has("cpuset") {
        fill_cpuset(group, &directory, is_new)?;
    }
    if group.version == Version::V2 {
        prepare_unified(layout, group, resources, is_new)?;
    }
    open_group(group)
}

/// Makes a group and its parents. False if the group was there.
fn make_all(root: &Path, directory: &Path, made: &mut Vec<PathBuf>) -> Result<bool> {
    let result = match file::make(directory) {
        Err(error) if error.is(libc::ENOENT) => {
            let parent = directory.parent().filter(|parent| parent.starts_with(root));
            let Some(parent) = parent.filter(|parent| *parent != root) else { return Err(error) };
            make_all(root, parent, made)?;
            file::make(directory)
        }
        result => result,
    };
    if let Ok(true) = result {
        made.push(directory.to_owned());
    }
    result
}

fn refuse_processes(directory: &Path) -> Result<()> {
    let mut pids = Vec::new();
    match kill::collect_pids(directory, true, &mut pids) {
        Err(error) if !error.is_gone() => Err(error.context("unable to get cgroup PIDs")),
        _ if pids.is_empty() => Ok(()),
        _ => Err(Error::new(format!(
            "container's cgroup is not empty: {} process(es) found",
            pids.len()
        ))),
    }
}

/// A child that enters a frozen group stops there and never answers. So groups that are frozen
/// by a parent are refused as well.
fn refuse_frozen(group: &Group) -> Result<()> {
    match state_of(group)? {
        FreezerState::Frozen => Err(Error::new("container's cgroup unexpectedly frozen")),
        FreezerState::Thawed | FreezerState::Undefined => Ok(()),
    }
}

/// No task can enter a v1 cpuset without CPUs or memory nodes (ENOSPC): such a group takes its
/// parent's.
fn fill_cpuset(group: &Group, directory: &Path, is_new: bool) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let name = if group.noprefix { name.strip_prefix("cpuset.").unwrap_or(name) } else { name };
        fill_cpuset_file(group.root(), directory, name, is_new)?;
    }
    Ok(())
}

fn fill_cpuset_file(root: &Path, directory: &Path, name: &str, is_empty: bool) -> Result<String> {
    let path = directory.join(name);
    if !is_empty {
        let present = file::read(&path)?.trim().to_owned();
        if !present.is_empty() {
            return Ok(present);
        }
    }
    match directory.parent().filter(|parent| parent.starts_with(root)) {
        Some(parent) => {
            let inherited = fill_cpuset_file(root, parent, name, false)?;
            file::write(&path, &inherited)?;
            Ok(inherited)
        }
        None => Ok(String::new()),
    }
}

/// Brings a v2 group into a mode that takes processes, and gives it the controllers that its
/// parents have. What cannot be had shows when a limit is set.
fn prepare_unified(
    layout: &Layout,
    group: &Group,
    resources: &Resources,
    is_new: bool,
) -> Result<()> {
    let hybrid = layout.mode == Mode::Hybrid;
    // The v2 part of a hybrid is used for what v1 lacks, and is left alone otherwise.
    if hybrid && !check::needs_controllers(resources, layout.unified().into_iter()) {
        return Ok(());
    }
    let directory = group.directory();
    let wanted = layout.unified().map_or(&[][..], |hierarchy| hierarchy.controllers.as_slice());
    if !wanted.is_empty() {
        let present = file::read(&directory.join("cgroup.controllers"))?;
        let has = |name: &String| present.split_whitespace().any(|controller| controller == name);
        if !wanted.iter().all(has) {
            enable_controllers(group, &directory, wanted);
        }
    }
    if is_new { enter_domain(&directory, resources) } else { Ok(()) }
}

/// Passes controllers down to a group. Those that cannot be had show when a limit is set.
pub(super) fn enable_controllers(group: &Group, directory: &Path, wanted: &[String]) {
    if wanted.is_empty() {
        return;
    }
    let mut parents: Vec<&Path> = directory
        .ancestors()
        .skip(1)
        .take_while(|parent| parent.starts_with(group.root()))
        .collect();
    parents.reverse();
    for parent in parents {
        let path = parent.join("cgroup.subtree_control");
        let all: Vec<String> = wanted.iter().map(|name| format!("+{name}")).collect();
        if file::write(&path, &all.join(" ")).is_ok() {
            continue;
        }
        for (name, one) in wanted.iter().zip(&all) {
            if let Err(error) = file::write(&path, one) {
                log::debug!("controller {name} is not enabled: {error}");
            }
        }
    }
}

/// A group below one with processes is `domain invalid`: it takes processes only as a threaded
/// one, in which memory and I/O cannot be limited.
fn enter_domain(directory: &Path, resources: &Resources) -> Result<()> {
    let path = directory.join("cgroup.type");
    let mode = match file::read(&path) {
        Ok(mode) => mode,
        // The file came with Linux 4.14, and the top group has none.
        Err(error) if error.is(libc::ENOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    match mode.trim() {
        "domain invalid" if check::needs_domain(resources) => Err(Error::new(format!(
            "cannot enter cgroupv2 {:?} with domain controllers -- it is in an invalid state",
            directory.display().to_string()
        ))),
        "domain invalid" => file::write(&path, "threaded"),
        mode @ ("domain threaded" | "threaded") if check::needs_domain(resources) => {
            Err(Error::new(format!(
                "cannot enter cgroupv2 {:?} with domain controllers -- it is in {mode} mode",
                directory.display().to_string()
            )))
        }
        _ => Ok(()),
    }
}

fn open_group(group: &Group) -> Result<OwnedFd> {
    let opened = match group.version {
        Version::V1 => file::open_write(&group.file("tasks")),
        Version::V2 => file::open_group(&group.directory()),
    };
    opened.map(OwnedFd::from)
}

/// Opens groups that exist, for a process that joins a container.
///
/// # Errors
/// A group is gone or may not be entered.
pub(crate) fn open(location: &Location) -> Result<Descriptors> {
    let mut descriptors = Descriptors::default();
    for group in &location.groups {
        match open_group(group) {
            Ok(descriptor) if group.version == Version::V1 => descriptors.tasks.push(descriptor),
            Ok(descriptor) => descriptors.directory = Some(descriptor),
            Err(error) if location.rootless && error.is_permission() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(descriptors)
}

/// Gives the v2 group to the container's root, as systemd delegates: the directory and the files
/// that the kernel lists for it.
///
/// # Errors
/// What the kernel answered to chown.
pub(crate) fn delegate(location: &Location, uid: u32, gid: u32) -> Result<()> {
    const DEFAULT: &str = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";
    let Some(group) = location.v2() else { return Ok(()) };
    let directory = group.directory();
    file::check_group(&directory)?;
    let list = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
    let list = list.unwrap_or_else(|_| DEFAULT.to_owned());
    let files = list.lines().filter(|name| !name.is_empty() && !name.contains('/'));
    let paths = std::iter::once(directory.clone()).chain(files.map(|name| directory.join(name)));
    for path in paths {
        match std::os::unix::fs::lchown(&path, Some(uid), Some(gid)) {
            Ok(()) => {}
            // The list names files of controllers that this group has not.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(Error::kernel("chown", &path, &error)),
        }
    }
    Ok(())
}
