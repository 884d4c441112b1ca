//! Finds what a runtime left behind: processes, mounts, cgroups, state.

use crate::cgroups;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a killed container's processes and groups may take to vanish.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state before the case. The case process is a child subreaper in its own
/// mount namespace, so everything found later is the case's own.
pub(crate) struct Guard {
    mounts: BTreeSet<String>,
}

impl Guard {
    pub(crate) fn new() -> Guard {
        Guard { mounts: mounts() }
    }

    /// Names everything that is left, then ends and removes it.
    pub(crate) fn leftovers(&self, mark: &str, state: &Path) -> Vec<String> {
        let mut found = leftover_processes();
        found.extend(leftover_groups(mark));
        found.extend(mounts().difference(&self.mounts).map(|mount| format!("mount: {mount}")));
        let entries = fs::read_dir(state).into_iter().flatten().flatten();
        found.extend(
            entries
                .filter(|entry| entry.file_name().to_string_lossy().contains(mark))
                .map(|entry| format!("state: {}", entry.path().display())),
        );
        found
    }
}

fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect()
}

/// Collects dead orphans; true once no child is left.
fn reap() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) => {}
            Err(Errno::EINTR) => {}
            Err(_) => return true,
        }
    }
}

fn leftover_processes() -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    while !reap() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let left = descendants(std::process::id() as i32);
    let names = left.iter().map(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        format!("process: {pid} {}", command.trim_end())
    });
    let names = names.collect();
    end_descendants();
    names
}

/// Kills everything that descends from this process, until nothing does.
pub(crate) fn end_descendants() {
    let deadline = Instant::now() + PATIENCE;
    while !reap() && Instant::now() < deadline {
        for pid in descendants(std::process::id() as i32) {
            // It may have died by itself since the list was made.
            if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGKILL)
                && error != Errno::ESRCH
            {
                eprintln!("kill {pid}: {error}");
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn descendants(of: i32) -> Vec<i32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        let parent = fields.split(' ').nth(1).and_then(|field| field.parse::<i32>().ok());
        parents.push((pid, parent.unwrap_or_default()));
    }
    let mut found = vec![of];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// Also removes them: a group that stays poisons later runs.
fn leftover_groups(mark: &str) -> Vec<String> {
    remove_groups(mark).into_iter().map(|group| format!("cgroup: {}", group.display())).collect()
}

/// Removes every group with the mark in its name; says which there were.
pub(crate) fn remove_groups(mark: &str) -> Vec<PathBuf> {
    let left = cgroups::groups_named(mark);
    for group in &left {
        if let Err(error) = cgroups::remove(group) {
            eprintln!("{}: {error}", group.display());
        }
    }
    left
}
