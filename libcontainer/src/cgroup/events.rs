//! What the kernel counted in a container's groups.

use super::{Location, file};

/// How many processes the kernel killed for lack of memory. None where it does not say.
pub(crate) fn oom_kills(location: &Location) -> Option<u64> {
    let path = match (location.v1("memory"), location.v2()) {
        (Some(group), _) => group.file("memory.oom_control"),
        (None, Some(group)) => group.file("memory.events"),
        (None, None) => return None,
    };
    let text = file::read(&path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}
