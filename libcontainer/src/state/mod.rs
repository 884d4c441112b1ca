//! What is remembered of a container: a directory with its name below the state root.
//!
//! ```text
//! ROOT/ID/              claims the id; locked (flock) by the operation that changes the container
//!         state.json    the record, replaced by rename, readable without the lock
//!         config.json   the configuration that it was created with
//!         go, result    FIFOs: the gate of `start`
//! ROOT/.PID.TIME/       a container whose deletion goes on; its id is free
//! ```
//!
//! The record only helps to find things. Whether a container is created, running or stopped is
//! asked of the kernel: its process by pid and start time, and the gate by its reader.

mod directory;
mod process;
mod record;
mod time;

pub(crate) use directory::{
    Gate, Lock, StateDirectory, names, unfinished_deletions, write_replacing,
};
pub(crate) use process::{Identity, LiveProcess, has_executed};
pub(crate) use record::{Phase, Record};
pub(crate) use time::now;

use crate::container::Status;
use crate::error::{Error, ErrorKind, Result};

/// Checks an id: letters, digits, `_`, `+`, `-` and, but for the first, `.`.
pub(crate) fn check_id(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::new(ErrorKind::InvalidId, "container id cannot be empty"));
    }
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
    if !id.bytes().all(|byte| usual(byte) || byte == b'.') || id.starts_with('.') {
        return Err(Error::new(ErrorKind::InvalidId, "invalid container ID format"));
    }
    Ok(())
}

/// The container's process while it lives, and the status, from the kernel.
pub(crate) fn probe_status(
    directory: &StateDirectory,
    record: &Record,
) -> Result<(Status, Option<LiveProcess>)> {
    let init = match &record.init {
        Some(identity) => LiveProcess::find(identity)?,
        None => None,
    };
    let status = match (record.phase, &init) {
        (Phase::Creating, _) if LiveProcess::find(&record.creator)?.is_some() => Status::Creating,
        (_, None) | (Phase::Creating, _) => Status::Stopped,
        (Phase::Created | Phase::Deleting, Some(_)) if is_frozen(record)? => Status::Paused,
        (Phase::Created | Phase::Deleting, Some(_)) if directory.gate_is_closed()? => {
            Status::Created
        }
        (Phase::Created | Phase::Deleting, Some(_)) => Status::Running,
    };
    Ok((status, init))
}

fn is_frozen(record: &Record) -> Result<bool> {
    match &record.cgroup {
        Some(location) => Ok(crate::cgroup::is_frozen(location)?),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_runc() {
        for id in ["a", "A9_+-.", "-x", "+", "web.1", &"x".repeat(64)] {
            assert_eq!(check_id(id), Ok(()), "{id}");
        }
        for id in [".", "..", ".x", "a/b", "a b", "ä", "a\n", "a\0"] {
            assert_eq!(
                check_id(id).unwrap_err().to_string(),
                "invalid container ID format",
                "{id:?}"
            );
        }
        assert_eq!(check_id("").unwrap_err().to_string(), "container id cannot be empty");
    }
}
