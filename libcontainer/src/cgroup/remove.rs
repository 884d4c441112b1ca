//! Removes the groups of a container.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Error, Location, Result, file, kill};

/// How long a group whose processes have ended may stay busy: the kernel takes them out of it a
/// little after their parent was told.
const DYING: Duration = Duration::from_secs(5);

/// How long one waits for processes that are alive: they are foreign, or were just killed.
const LIVING: Duration = Duration::from_millis(500);

/// Removes a container's groups with their sub-groups. Groups that are gone are fine.
///
/// # Errors
/// The first group that stays, with the processes that hold it; the others are removed.
pub(crate) fn remove(location: &Location) -> Result<()> {
    let start = Instant::now();
    let mut result = Ok(());
    for group in &location.groups {
        if group.path().is_empty() {
            continue;
        }
        let removed = match remove_since(start, &location.top_of(group)) {
            Err(error) if location.rootless && !location.explicit && error.is_permission() => {
                Ok(())
            }
            removed => removed,
        };
        if result.is_ok() {
            result = removed;
        }
    }
    result
}

/// Removes one group with its sub-groups.
pub(super) fn remove_group(directory: &Path) -> Result<()> {
    remove_since(Instant::now(), directory)
}

/// Removes one of several groups that were begun with at `start`: they share their patience.
fn remove_since(start: Instant, directory: &Path) -> Result<()> {
    let mut pause = Duration::from_micros(200);
    loop {
        match file::check_group(directory) {
            Err(error) if error.is_gone() => return Ok(()),
            result => result?,
        }
        let error = match remove_once(directory) {
            Err(error) if error.is(libc::EBUSY) => error,
            result => return result,
        };
        let mut pids = Vec::new();
        kill::collect_pids(directory, true, &mut pids)?;
        let patience = if pids.is_empty() { DYING } else { LIVING };
        if start.elapsed() > patience {
            return Err(explain(error, &pids));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn remove_once(directory: &Path) -> Result<()> {
    let error = match remove_directory(directory) {
        Err(error) if error.is(libc::EBUSY) => error,
        result => return result,
    };
    let children = kill::children(directory)?;
    if children.is_empty() {
        return Err(error);
    }
    for child in children {
        remove_once(&child)?;
    }
    remove_directory(directory)
}

fn remove_directory(directory: &Path) -> Result<()> {
    match std::fs::remove_dir(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) => Err(Error::kernel("rmdir", directory, &error)),
    }
}

fn explain(error: Error, pids: &[i32]) -> Error {
    if pids.is_empty() {
        return error;
    }
    let message = format!("{error}: process(es) {} are in it", kill::list(pids));
    Error { message, ..error }
}
