//! `linux.seccomp`: the compiled filter, and when it is loaded.

use super::{Context, PlanError, PlannedListener, ProcessSection};
use crate::protocol::{Bytes, Step};

/// A filter that is ready to be loaded.
pub(super) struct PlannedFilter {
    program: Bytes,
    flags: u32,
    needs_listener: bool,
    pub(super) listener: Option<PlannedListener>,
}

/// Compiles the profile.
pub(super) fn plan_filter(
    ctx: &mut Context<'_>,
    _: ProcessSection<'_>,
) -> Result<Option<PlannedFilter>, PlanError> {
    match ctx.linux().and_then(|linux| linux.seccomp.as_ref()) {
        Some(_) => Err(PlanError::new("/linux/seccomp", "seccomp is not supported")),
        None => Ok(None),
    }
}

/// Loads the filter if `now`: without noNewPrivileges the kernel demands CAP_SYS_ADMIN, so it
/// comes before the change of user; with it as late as possible, so that the profile need not
/// allow what the runtime does.
pub(super) fn plan_load(ctx: &mut Context<'_>, filter: Option<&PlannedFilter>, now: bool) {
    if let Some(filter) = filter.filter(|_| now) {
        let step = Step::LoadSeccomp {
            filter: filter.program,
            flags: filter.flags,
            listener: filter.needs_listener,
        };
        ctx.push(step, "/linux/seccomp");
    }
}
