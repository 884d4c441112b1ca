//! `linux.seccomp`: the compiled filter, and when it is loaded.

use super::{Context, PlanError, PlannedListener};
use crate::protocol::{Bytes, Step};
use crate::seccomp::{Arch, compile, is_absent};

/// A filter that is ready to be loaded.
pub(super) struct PlannedFilter {
    program: Bytes,
    flags: u32,
    needs_listener: bool,
    pub(super) listener: Option<PlannedListener>,
}

/// Compiles the profile.
pub(super) fn plan_filter(ctx: &mut Context<'_>) -> Result<Option<PlannedFilter>, PlanError> {
    let profile = ctx.linux().and_then(|linux| linux.seccomp.as_ref());
    let Some(profile) = profile.filter(|profile| !is_absent(profile)) else {
        return Ok(None);
    };
    let filter = compile(profile, Arch::native()).map_err(|error| {
        PlanError::new(format!("/linux/seccomp{}", error.pointer), error.message)
    })?;
    for warning in &filter.warnings {
        ctx.warn(format!("/linux/seccomp{warning}"));
    }
    let listener = filter.needs_listener.then(|| PlannedListener {
        path: profile.listener_path.clone(),
        metadata: profile.listener_metadata.clone(),
    });
    if listener.as_ref().is_some_and(|listener| !listener.path.starts_with('/')) {
        let message = "SCMP_ACT_NOTIFY needs the absolute path of an agent's socket";
        return Err(PlanError::new("/linux/seccomp/listenerPath", message));
    }
    Ok(Some(PlannedFilter {
        program: ctx.bytes(&filter.bytes(), "/linux/seccomp")?,
        flags: filter.flags,
        needs_listener: filter.needs_listener,
        listener,
    }))
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
