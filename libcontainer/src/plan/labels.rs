//! `process.apparmorProfile`, `process.selinuxLabel` and `linux.mountLabel`.

use super::{Context, PlanError, ProcessSection};
use crate::protocol::{Step, Text};

/// Whether a label has to be written, so that the process needs a procfs.
pub(super) fn has_labels(section: ProcessSection<'_>) -> bool {
    !section.process.apparmor_profile.is_empty() || !section.process.selinux_label.is_empty()
}

/// The AppArmor profile of the next execve.
pub(super) fn plan_apparmor(
    ctx: &mut Context<'_>,
    section: ProcessSection<'_>,
) -> Result<(), PlanError> {
    let profile = &section.process.apparmor_profile;
    if profile.is_empty() {
        return Ok(());
    }
    let pointer = section.at("/apparmorProfile");
    if !ctx.host.apparmor {
        let message = "apparmor: config provided but apparmor not supported";
        return Err(PlanError::new(pointer, message));
    }
    let path = ctx.text("self/attr/apparmor/exec", &pointer)?;
    let fallback = ctx.text("self/attr/exec", &pointer)?;
    let label = ctx.text(format!("exec {profile}"), &pointer)?;
    ctx.push(Step::WriteLabel { path, fallback, label }, pointer);
    Ok(())
}

/// The SELinux label of the next execve.
pub(super) fn plan_selinux(
    ctx: &mut Context<'_>,
    section: ProcessSection<'_>,
) -> Result<(), PlanError> {
    let label = &section.process.selinux_label;
    if label.is_empty() {
        return Ok(());
    }
    let pointer = section.at("/selinuxLabel");
    if !ctx.host.selinux {
        let message =
            "selinux label is specified in config, but selinux is disabled or not supported";
        return Err(PlanError::new(pointer, message));
    }
    let path = ctx.text("self/attr/exec", &pointer)?;
    let label = ctx.text(label, &pointer)?;
    ctx.push(Step::WriteLabel { path, fallback: Text::default(), label }, pointer);
    Ok(())
}

/// A label of mounts needs SELinux; the mounts' own steps carry it.
pub(super) fn check_mount_label(ctx: &Context<'_>) -> Result<(), PlanError> {
    if ctx.host.selinux || ctx.linux().is_none_or(|linux| linux.mount_label.is_empty()) {
        return Ok(());
    }
    let message = "a mount label is specified in config, but selinux is disabled or not supported";
    Err(PlanError::new("/linux/mountLabel", message))
}
