//! Where cgroups are mounted, and where a process is in them: read-only, from
//! the outside.

use crate::case::{Stop, failed, skipped};
use std::fs;
use std::path::{Path, PathBuf};

/// One mounted hierarchy.
pub(crate) struct Hierarchy {
    pub(crate) point: PathBuf,
    /// Names of v1 controllers (`cpu`, `name=systemd`); empty for v2.
    pub(crate) controllers: Vec<String>,
}

/// A file of a controller, and which version's rules hold for it.
pub(crate) struct Controller {
    pub(crate) directory: PathBuf,
    pub(crate) version: u8,
}

impl Controller {
    /// The content of the file that version 1 or version 2 calls so.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(&self, v1: &str, v2: &str) -> Result<String, Stop> {
        let path = self.directory.join(if self.version == 1 { v1 } else { v2 });
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim_end().to_owned()),
            Err(error) => failed(format!("{}: {error}", path.display())),
        }
    }
}

pub(crate) fn hierarchies() -> Vec<Hierarchy> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(hierarchy).collect()
}

fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (first, last) = line.split_once(" - ")?;
    let point = PathBuf::from(first.split(' ').nth(4)?);
    let mut last = last.split(' ');
    match last.next()? {
        "cgroup2" => Some(Hierarchy { point, controllers: Vec::new() }),
        "cgroup" => {
            let options = last.nth(1)?;
            Some(Hierarchy { point, controllers: options.split(',').map(str::to_owned).collect() })
        }
        _ => None,
    }
}

/// Path of a process in each hierarchy: (controllers as written, path).
fn places(pid: i32) -> Vec<(String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let place = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    text.lines().filter_map(place).collect()
}

/// The directory of `pid` in the hierarchy that carries `controller`.
///
/// # Errors
/// Skipped when no mounted hierarchy has the controller.
pub(crate) fn controller(pid: i32, controller: &str) -> Result<Controller, Stop> {
    let places = places(pid);
    for hierarchy in hierarchies() {
        let is_v1 = hierarchy.controllers.iter().any(|name| name == controller);
        let is_v2 = hierarchy.controllers.is_empty()
            && fs::read_to_string(hierarchy.point.join("cgroup.controllers"))
                .is_ok_and(|names| names.split_whitespace().any(|name| name == controller));
        if !is_v1 && !is_v2 {
            continue;
        }
        let place = places.iter().find(|(names, _)| {
            if is_v2 { names.is_empty() } else { names.split(',').any(|name| name == controller) }
        });
        if let Some((_, path)) = place {
            let directory = hierarchy.point.join(path.trim_start_matches('/'));
            return Ok(Controller { directory, version: if is_v1 { 1 } else { 2 } });
        }
    }
    skipped(format!("no mounted hierarchy has the controller {controller}"))
}

/// Whether any mounted hierarchy has the controller.
///
/// # Errors
/// Skipped when none has.
pub(crate) fn require(name: &str) -> Result<(), Stop> {
    controller(std::process::id() as i32, name).map(drop)
}

/// Every directory whose name contains `mark`, at the top of each hierarchy,
/// and in the caller's own group.
pub(crate) fn groups_named(mark: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let own = places(std::process::id() as i32);
    for hierarchy in hierarchies() {
        let mut parents = vec![hierarchy.point.clone()];
        parents
            .extend(own.iter().map(|(_, path)| hierarchy.point.join(path.trim_start_matches('/'))));
        parents.sort();
        parents.dedup();
        for parent in parents {
            found.extend(directories(&parent).into_iter().filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().contains(mark))
            }));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn directories(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Removes a group of ours with everything below it.
pub(crate) fn remove(group: &Path) -> std::io::Result<()> {
    for below in directories(group) {
        remove(&below)?;
    }
    fs::remove_dir(group)
}

/// Device rules need the v1 controller, or programs on a v2 group.
///
/// # Errors
/// Skipped when no hierarchy is mounted at all.
pub(crate) fn require_devices() -> Result<(), Stop> {
    if hierarchies().is_empty() {
        return skipped("no cgroup hierarchy is mounted");
    }
    Ok(())
}
