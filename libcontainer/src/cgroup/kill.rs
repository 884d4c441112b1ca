//! The processes of a container, and their end.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::freezer::{freeze_until, thaw, wait_event};
use super::{Error, Location, Result, Version, file};
use crate::sys::{Errno, pidfd};

/// How long killed processes may take to end.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long one waits for them to stop before they are killed.
const FREEZING: Duration = Duration::from_millis(200);

/// The container's processes, as pids of the caller's pid namespace; also those of sub-groups if
/// `recursive`.
///
/// # Errors
/// What the kernel answered; a group that is gone has no processes.
pub(crate) fn pids(location: &Location, recursive: bool) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    if let Some(group) = location.main() {
        collect_pids(&group.directory(), recursive, &mut pids)?;
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Adds the processes of a group.
pub(super) fn collect_pids(directory: &Path, recursive: bool, pids: &mut Vec<i32>) -> Result<()> {
    let text = match file::read_lines(&directory.join("cgroup.procs")) {
        // Threaded groups list threads only.
        Err(error) if error.is(libc::EOPNOTSUPP) => {
            file::read_lines(&directory.join("cgroup.threads"))
        }
        result => result,
    };
    match text {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(error) if error.is_gone() => return Ok(()),
        Err(error) => return Err(error),
    }
    if recursive {
        for child in children(directory)? {
            collect_pids(&child, true, pids)?;
        }
    }
    Ok(())
}

/// The sub-groups of a group.
pub(super) fn children(directory: &Path) -> Result<Vec<PathBuf>> {
    let gone =
        |error: &std::io::Error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV));
    let entries = match std::fs::read_dir(directory) {
        Err(error) if gone(&error) => return Ok(Vec::new()),
        result => result.map_err(|error| Error::kernel("open", directory, &error))?,
    };
    let mut children = Vec::new();
    for entry in entries {
        let entry = match entry {
            Err(error) if gone(&error) => break,
            result => result.map_err(|error| Error::kernel("read", directory, &error))?,
        };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            children.push(entry.path());
        }
    }
    Ok(children)
}

/// Kills every process in the groups and waits until they are gone. Frozen groups are thawed: on
/// v1 a frozen task does not die.
///
/// # Errors
/// Processes that are there after five seconds, or what the kernel answered.
pub(crate) fn kill_all(location: &Location) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    thaw(location)?;
    if let Some(group) = location.v2() {
        match file::write(&group.file("cgroup.kill"), "1") {
            Ok(()) if location.is_unified() => return wait_empty(location, deadline),
            Ok(()) => drop(wait_event(group, "populated 0", deadline)?),
            // Linux before 5.14, or a threaded group; or the group is gone.
            Err(error) if error.is_gone() || error.is(libc::EOPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    kill_one_by_one(location, deadline)
}

/// Kills by signals. The first round is a plain one; where processes are left, or new ones came,
/// the following ones stop them first, so that they cannot fork meanwhile.
pub(super) fn kill_one_by_one(location: &Location, deadline: Instant) -> Result<()> {
    let mut pause = Duration::from_micros(200);
    let mut round = 0_u32;
    loop {
        let present = all_pids(location)?;
        if present.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(still_there(&present));
        }
        // What was killed needs time to end, and what is ending does not freeze.
        let stops = round > 8;
        if stops && let Err(error) = freeze_until(location, Instant::now() + FREEZING) {
            log::debug!("killing without freezing: {error}");
        }
        let killed = kill_members(location);
        if stops {
            thaw(location)?;
        }
        killed?;
        round += 1;
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Kills what is in the groups. A pid may belong to another process by the time of the signal,
/// so it is pinned by a descriptor and looked for once more.
fn kill_members(location: &Location) -> Result<()> {
    const BATCH: usize = 64;
    for batch in all_pids(location)?.chunks(BATCH) {
        let pinned = batch.iter().map(|pid| pin(*pid)).collect::<Result<Vec<_>>>()?;
        let present = all_pids(location)?;
        for (pid, process) in batch.iter().zip(&pinned) {
            if let Some(process) = process.as_ref().filter(|_| present.contains(pid)) {
                match pidfd::send_signal(process.as_fd(), libc::SIGKILL) {
                    Ok(()) | Err(Errno(libc::ESRCH)) => {}
                    Err(errno) => return Err(failed(*pid, errno)),
                }
            }
        }
    }
    Ok(())
}

/// None for a process that has ended.
fn pin(pid: i32) -> Result<Option<OwnedFd>> {
    // 0 stands for processes outside the caller's pid namespace.
    if pid <= 0 || pid == std::process::id().cast_signed() {
        return Err(Error::new(format!("process {pid} in the container's cgroup is not killed")));
    }
    match pidfd::open(pid.cast_unsigned()) {
        Ok(process) => Ok(Some(process)),
        // EINVAL: a thread of a threaded group; its process is in the list as well.
        Err(Errno(libc::ESRCH | libc::EINVAL)) => Ok(None),
        Err(errno) => Err(failed(pid, errno)),
    }
}

fn failed(pid: i32, errno: Errno) -> Error {
    Error::kernel("kill process", Path::new(&pid.to_string()), &errno.into())
}

/// The processes of all hierarchies: a container that may write to one of them may have moved
/// some out of the main group.
fn all_pids(location: &Location) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    for group in &location.groups {
        collect_pids(&group.directory(), true, &mut pids)?;
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

fn still_there(pids: &[i32]) -> Error {
    Error::new(format!("container's cgroup still has process(es) {}", list(pids)))
}

/// The first few pids.
pub(super) fn list(pids: &[i32]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<String> = pids.iter().take(SHOWN).map(i32::to_string).collect();
    if pids.len() > SHOWN {
        words.push(format!("and {} more", pids.len() - SHOWN));
    }
    words.join(", ")
}

/// Waits until no process is left in the groups.
///
/// # Errors
/// Processes that are there at the deadline, by their pids.
pub(crate) fn wait_empty(location: &Location, deadline: Instant) -> Result<()> {
    if let Some(group) = location.v2()
        && !wait_event(group, "populated 0", deadline)?
    {
        return Err(still_there(&all_pids(location)?));
    }
    if location.groups.iter().all(|group| group.version == Version::V2) {
        return Ok(());
    }
    let mut pause = Duration::from_micros(200);
    loop {
        let present = all_pids(location)?;
        if present.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(still_there(&present));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
