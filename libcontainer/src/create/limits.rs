//! Resource limits of the process, set from outside: raising one needs rights over the host.

use crate::error::{Error, ErrorKind, Result};
use crate::plan::PlannedRlimit;
use crate::sys::process;

/// Sets the limits of a process.
pub(crate) fn set(pid: u32, limits: &[PlannedRlimit]) -> Result<()> {
    for limit in limits {
        process::set_rlimit(pid, limit.resource, limit.soft, limit.hard).map_err(|errno| {
            let message = format!("error setting rlimit type {}: {errno}", limit.name);
            Error::new(ErrorKind::System, message).at(&limit.pointer)
        })?;
    }
    Ok(())
}
