//! `linux.seccomp`: the compiled filter, and when it is loaded.

use super::annotations::{
    SECCOMP_BPF, SECCOMP_RECEIVER, fails_on_unknown_calls, pointer, raw_filter,
};
use super::{Context, PlanError, PlannedListener};
use crate::protocol::{Bytes, Step};
use crate::seccomp::{Arch, compile, is_absent, known_flags, unknown_call};
use crate::spec::Seccomp;

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
    if let Some(raw) = raw_filter(ctx)? {
        return plan_raw(ctx, profile, &raw).map(Some);
    }
    let Some(profile) = profile.filter(|profile| !is_absent(profile)) else {
        return Ok(None);
    };
    if fails_on_unknown_calls(ctx)
        && let Some((below, name)) = unknown_call(profile)
    {
        let message = format!("unknown syscall {name:?} in the seccomp profile");
        return Err(PlanError::new(format!("/linux/seccomp{below}"), message));
    }
    let filter = compile(profile, Arch::native()).map_err(|error| {
        PlanError::new(format!("/linux/seccomp{}", error.pointer), error.message)
    })?;
    for warning in &filter.warnings {
        ctx.warn(format!("/linux/seccomp{warning}"));
    }
    let listener = filter.needs_listener.then(|| PlannedListener {
        path: receiver(ctx, profile),
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

/// A filter that the kernel gets as it is, with the flags of the profile in whose place it is.
fn plan_raw(
    ctx: &mut Context<'_>,
    profile: Option<&Seccomp>,
    raw: &[u8],
) -> Result<PlannedFilter, PlanError> {
    let flags = profile.map_or(Ok(0), known_flags).map_err(|error| {
        PlanError::new(format!("/linux/seccomp{}", error.pointer), error.message)
    })?;
    let program = ctx.bytes(raw, &pointer(SECCOMP_BPF))?;
    Ok(PlannedFilter { program, flags, needs_listener: false, listener: None })
}

/// Where the agent listens: the configuration says it, or an annotation, or the caller.
fn receiver(ctx: &Context<'_>, profile: &Seccomp) -> String {
    let annotation = || ctx.spec.annotations.get(SECCOMP_RECEIVER).cloned();
    match profile.listener_path.as_str() {
        "" => annotation().or_else(|| ctx.options.seccomp_receiver.clone()).unwrap_or_default(),
        path => path.to_owned(),
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
