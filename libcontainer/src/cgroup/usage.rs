//! `memory.checkBeforeUpdate`: no limit below what is used.

use super::{Error, Location, Result, file};
use crate::spec::Resources;

/// Refuses a memory limit that is not above the usage, where `checkBeforeUpdate` asks for that: the kernel would end the container.
///
/// # Errors
/// Such a limit, in runc's words, with its JSON pointer.
pub(crate) fn check_usage(location: &Location, resources: &Resources) -> Result<()> {
    let Some(memory) = &resources.memory else { return Ok(()) };
    if memory.check_before_update != Some(true) {
        return Ok(());
    }
    let (group, name) = match location.is_unified() {
        true => (location.v2(), "memory.current"),
        false => (location.v1("memory"), "memory.usage_in_bytes"),
    };
    let Some(group) = group else { return Ok(()) };
    let (limit, swap) = (memory.limit.unwrap_or(0), memory.swap.unwrap_or(0));
    // Best effort, as the specification says: without a number there is nothing to compare.
    let Ok(usage) = file::read_number(&group.file(name)) else { return Ok(()) };
    let below = |value: i64| value > 0 && value.cast_unsigned() <= usage;
    if below(swap) {
        return Err(Error::at(
            "/linux/resources/memory/swap",
            format!("rejecting memory+swap limit {swap} <= usage {usage}"),
        ));
    }
    if below(limit) {
        return Err(Error::at(
            "/linux/resources/memory/limit",
            format!("rejecting memory limit {limit} <= usage {usage}"),
        ));
    }
    Ok(())
}
