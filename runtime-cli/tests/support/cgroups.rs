//! The groups of a container, as this machine has them.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// Whether this machine lets a container have a controller: on v1, or on v2.
pub(crate) fn has_controller(name: &str) -> bool {
    is_v1(name)
        || fs::read_to_string(Path::new(ROOT).join("cgroup.controllers"))
            .is_ok_and(|list| list.split_whitespace().any(|present| present == name))
}

/// Whether a controller has a hierarchy of its own.
pub(crate) fn is_v1(name: &str) -> bool {
    Path::new(ROOT).join(name).join("cgroup.procs").exists()
}

/// Value of a file in the group of process `pid`: `v1` in the controller's own hierarchy, else
/// `v2`.
#[track_caller]
pub(crate) fn value(pid: u32, controller: &str, v1: &str, v2: &str) -> String {
    let name = if is_v1(controller) { v1 } else { v2 };
    let path = group(pid, controller).join(name);
    let text = fs::read_to_string(&path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// The group of process `pid`.
#[track_caller]
pub(crate) fn group(pid: u32, controller: &str) -> PathBuf {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of = |wanted: &str| {
        groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == wanted).then(|| path[1..].to_owned())
        })
    };
    match of(controller).filter(|_| is_v1(controller)) {
        Some(path) => Path::new(ROOT).join(controller).join(path),
        None => Path::new(ROOT).join(of("").expect("v2")),
    }
}
