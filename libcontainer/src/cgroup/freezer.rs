//! Stops and continues all processes of a container.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Error, Group, Location, Result, Version, file};

/// How long a container may take to freeze: a task in an uninterruptible sleep does not.
const DEADLINE: Duration = Duration::from_secs(10);

/// Whether a container's processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FreezerState {
    /// There is no freezer.
    Undefined,
    /// They run.
    Thawed,
    /// They are stopped.
    Frozen,
}

fn freezer(location: &Location) -> Option<&Group> {
    location.v1("freezer").or_else(|| location.v2())
}

/// Stops all processes. If that fails they run again.
///
/// # Errors
/// No freezer, or processes that did not stop within ten seconds.
pub(crate) fn freeze(location: &Location) -> Result<()> {
    freeze_until(location, Instant::now() + DEADLINE)
}

/// As [`freeze`], with an end of the caller's.
pub(super) fn freeze_until(location: &Location, deadline: Instant) -> Result<()> {
    let group = freezer(location)
        .ok_or_else(|| Error::new("cannot toggle freezer: cgroups not configured for container"))?;
    let frozen = match group.version {
        Version::V1 => freeze_v1(group, deadline),
        Version::V2 => freeze_v2(group, deadline),
    };
    frozen.map_err(|error| match thaw(location) {
        Ok(()) => error,
        Err(left) => Error { message: format!("{error} (and then: {left})"), ..error },
    })
}

/// On v1 a group in which tasks appear may stay in FREEZING until it is written again; a short
/// thaw now and then helps (kernel commit ef9fe980c6fc took the advice out of the
/// documentation, not the behaviour out of the kernel).
fn freeze_v1(group: &Group, deadline: Instant) -> Result<()> {
    let path = group.file("freezer.state");
    let mut tries = 0_u32;
    loop {
        file::write(&path, "FROZEN")?;
        if file::read(&path)?.trim() == "FROZEN" {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::new(format!("unable to freeze {}", group.directory().display())));
        }
        tries += 1;
        if tries.is_multiple_of(50) {
            file::write(&path, "THAWED")?;
            std::thread::sleep(Duration::from_millis(10));
        } else if tries.is_multiple_of(5) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

fn freeze_v2(group: &Group, deadline: Instant) -> Result<()> {
    file::write(&group.file("cgroup.freeze"), "1").map_err(no_freezer)?;
    if wait_event(group, "frozen 1", deadline)? {
        Ok(())
    } else {
        Err(Error::new(format!("unable to freeze {}", group.directory().display())))
    }
}

fn no_freezer(error: Error) -> Error {
    if error.is(libc::ENOENT) { error.context("freezer not supported") } else { error }
}

/// Lets all processes run.
///
/// # Errors
/// What the kernel answered.
pub(crate) fn thaw(location: &Location) -> Result<()> {
    for group in &location.groups {
        let written = match group.version {
            Version::V1 if group.has("freezer") => {
                file::write(&group.file("freezer.state"), "THAWED")
            }
            Version::V1 => continue,
            Version::V2 => file::write(&group.file("cgroup.freeze"), "0"),
        };
        match written {
            // A group that is gone, or a kernel before 5.2, has nothing frozen.
            Err(error) if error.is_gone() => {}
            result => result?,
        }
    }
    Ok(())
}

/// What pause did and resume undoes: a container that only a parent's freezer holds is thawed.
///
/// # Errors
/// What the kernel answered.
pub(crate) fn freezer_state(location: &Location) -> Result<FreezerState> {
    let Some(group) = freezer(location) else { return Ok(FreezerState::Undefined) };
    let (name, frozen) = match group.version {
        Version::V1 => ("freezer.self_freezing", "1"),
        Version::V2 => ("cgroup.freeze", "1"),
    };
    match file::read(&group.file(name)) {
        Ok(text) if text.trim() == frozen => Ok(FreezerState::Frozen),
        Ok(_) => Ok(FreezerState::Thawed),
        Err(error) if error.is_gone() => Ok(FreezerState::Undefined),
        Err(error) => Err(error),
    }
}

/// Whether the container was paused.
///
/// # Errors
/// What the kernel answered.
pub(crate) fn is_frozen(location: &Location) -> Result<bool> {
    freezer_state(location).map(|state| state == FreezerState::Frozen)
}

/// Whether processes in this group run, whoever froze it.
pub(super) fn state_of(group: &Group) -> Result<FreezerState> {
    let (name, thawed) = match group.version {
        Version::V1 => ("freezer.state", "THAWED"),
        Version::V2 => ("cgroup.events", "frozen 0"),
    };
    match file::read(&group.file(name)) {
        Ok(text) if text.lines().any(|line| line == thawed) => Ok(FreezerState::Thawed),
        // Before Linux 5.2 there was no freezer on v2.
        Ok(text) if group.version == Version::V2 && !text.contains("frozen") => {
            Ok(FreezerState::Undefined)
        }
        Ok(_) => Ok(FreezerState::Frozen),
        Err(error) if error.is_gone() => Ok(FreezerState::Undefined),
        Err(error) => Err(error),
    }
}

/// Waits until cgroup.events has a line. False when the deadline passes, true as well when the
/// group is gone.
pub(super) fn wait_event(group: &Group, line: &str, deadline: Instant) -> Result<bool> {
    let path = group.file("cgroup.events");
    loop {
        let file = match file::open_read(&path) {
            Err(error) if error.is_gone() => return Ok(true),
            result => result?,
        };
        // Reading arms the descriptor: a change after it makes poll report POLLPRI.
        match file::read_open(&file, &path) {
            Ok(text) if text.lines().any(|present| present == line) => return Ok(true),
            Err(error) if error.is_gone() => return Ok(true),
            result => drop(result?),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        wait_change(&file, left, &path)?;
    }
}

fn wait_change(file: &std::fs::File, left: Duration, path: &Path) -> Result<()> {
    // A group that is removed wakes nobody, so the wait has an end of its own.
    let step = left.min(Duration::from_millis(100)).max(Duration::from_millis(1));
    let timeout = PollTimeout::try_from(step).unwrap_or(PollTimeout::ZERO);
    match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)], timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::kernel("poll", path, &errno.into())),
    }
}
