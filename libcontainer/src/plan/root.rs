//! `root` and `linux.rootfsPropagation`: where the root file system is, how it becomes `/`, and
//! what propagates.

use libc::{MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE};

use super::options::propagation_flags;
use super::{Context, NamespaceKind, PlanError};
use crate::protocol::mount::Flags;
use crate::protocol::{Slot, Step};

/// Opens the root file system and makes it a mount that nothing propagates from.
pub(crate) fn plan_root(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let (directory, path) = root_path(ctx)?;
    let directory = ctx.text(directory, "/root/path")?;
    let path = ctx.text(path, "/root/path")?;
    let propagation = root_propagation(ctx)?;
    if !ctx.namespaces.has(NamespaceKind::Mount) {
        refuse_without_namespace(ctx)?;
        ctx.push(Step::OpenRoot { directory, path }, "/root/path");
        return Ok(());
    }
    let shared = propagation.filter(|flags| flags & MS_SHARED != 0);
    let first = shared.unwrap_or(MS_SLAVE | MS_REC);
    ctx.push(Step::PrepareMounts { propagation: Flags(first) }, "/linux/rootfsPropagation");
    ctx.push(Step::OpenRoot { directory, path }, "/root/path");
    if shared.is_some() {
        ctx.push(Step::MakeParentPrivate {}, "/root/path");
    }
    let is_slave = propagation.is_some_and(|flags| flags & MS_SLAVE != 0);
    let bound = if is_slave { MS_SLAVE } else { MS_PRIVATE };
    ctx.push(Step::BindRoot { propagation: Flags(bound) }, "/root/path");
    Ok(())
}

/// Makes the root file system `/`, and gives it its propagation: not before, because the type
/// would reach the mount on the host that it lies on.
pub(crate) fn plan_pivot(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    if !ctx.namespaces.has(NamespaceKind::Mount) {
        ctx.push(Step::ChangeRoot {}, "/root/path");
        return Ok(());
    }
    let propagation = root_propagation(ctx)?;
    if ctx.options.no_pivot {
        if propagation.is_some_and(|flags| flags & MS_PRIVATE != 0) {
            let message = "rootfsPropagation of [r]private is not safe without pivot_root";
            return Err(PlanError::new("/linux/rootfsPropagation", message));
        }
        let full = ctx.texts(&ctx.host.full_kernel_mounts, "/mounts")?;
        ctx.push(Step::MoveRoot { full }, "/root/path");
    } else {
        ctx.push(Step::PivotRoot {}, "/root/path");
    }
    if let Some(propagation) = propagation.filter(|flags| flags & (MS_PRIVATE | MS_UNBINDABLE) == 0)
    {
        push_propagation(ctx, propagation);
    }
    Ok(())
}

/// The last of all steps on mounts: what is unbindable could not be made read-only any more.
pub(super) fn plan_unbindable(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    if let Some(propagation) = root_propagation(ctx)?.filter(|flags| flags & MS_UNBINDABLE != 0) {
        push_propagation(ctx, propagation);
    }
    Ok(())
}

fn push_propagation(ctx: &mut Context<'_>, propagation: u64) {
    let step = Step::SetRootPropagation { propagation: Flags(propagation) };
    ctx.push(step, "/linux/rootfsPropagation");
}

/// Makes the root read-only, after everything that the runtime writes there.
pub(crate) fn plan_readonly_root(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    if ctx.spec.root.as_ref().is_some_and(|root| root.readonly) {
        let destination = ctx.text("/", "/root/readonly")?;
        ctx.push(Step::MakeReadonly { mount: Slot::ROOT, destination }, "/root/readonly");
    }
    Ok(())
}

/// The directory that is taken as it is, and the path below it that must hold no link.
fn root_path<'a>(ctx: &Context<'a>) -> Result<(&'a str, &'a str), PlanError> {
    let Some(root) = &ctx.spec.root else {
        return Err(PlanError::new("/root", "root must be specified"));
    };
    if root.path.is_empty() {
        return Err(PlanError::new("/root/path", "invalid rootfs: the path is empty"));
    }
    match root.path.strip_prefix('/') {
        Some(below) => Ok(("/", if below.is_empty() { "." } else { below })),
        None => Ok((&ctx.options.bundle, &root.path)),
    }
}

/// The root file system's path on the host; empty without `root`.
pub(super) fn host_root(ctx: &Context<'_>) -> String {
    let path = ctx.spec.root.as_ref().map(|root| root.path.as_str()).unwrap_or_default();
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", ctx.options.bundle),
    }
}

fn root_propagation(ctx: &Context<'_>) -> Result<Option<u64>, PlanError> {
    let name = ctx.linux().map(|linux| linux.rootfs_propagation.as_str()).unwrap_or_default();
    if name.is_empty() {
        return Ok(None);
    }
    propagation_flags(name).map(Some).ok_or_else(|| {
        let message = format!("rootfsPropagation={name} is not supported");
        PlanError::new("/linux/rootfsPropagation", message)
    })
}

/// In the caller's own mount namespace only the root of the process can be changed.
fn refuse_without_namespace(ctx: &Context<'_>) -> Result<(), PlanError> {
    let without = "without a private MNT namespace";
    let linux = ctx.linux();
    if linux.is_some_and(|linux| !linux.masked_paths.is_empty() || !linux.readonly_paths.is_empty())
    {
        let message = format!("unable to restrict sys entries {without}");
        return Err(PlanError::new("/linux/namespaces", message));
    }
    if !ctx.spec.mounts.is_empty() {
        let message = format!("unable to mount into the rootfs {without}");
        return Err(PlanError::new("/mounts", message));
    }
    if ctx.spec.root.as_ref().is_some_and(|root| root.readonly) {
        let message = format!("unable to make the rootfs read-only {without}");
        return Err(PlanError::new("/root/readonly", message));
    }
    if linux.is_some_and(|linux| !linux.rootfs_propagation.is_empty()) {
        let message = format!("unable to set the propagation of the rootfs {without}");
        return Err(PlanError::new("/linux/rootfsPropagation", message));
    }
    Ok(())
}
