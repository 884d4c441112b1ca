//! Mounts that come into a running container and go from it.

use super::entry::plan_descriptors;
use super::exec::{Running, plan_joining};
use super::mounts::{clean, plan_added_mounts};
use super::{
    Context, NamespaceKind, NamespacePath, Options, PlanError, PlannedDescriptor, PlannedTree,
    plan_namespaces,
};
use crate::host::Host;
use crate::protocol::{Program, Step, SyncPoint};
use crate::spec::{Mount, Spec};

/// What is done with mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// They are made.
    Add,
    /// They are taken away, in the given order.
    Remove,
}

/// What a process that joins the container does, and what it needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedChange {
    /// Program of the process.
    pub(crate) program: Program,
    /// Descriptors that the parent opens before the clone.
    pub(crate) descriptors: Vec<PlannedDescriptor>,
    /// Sources of bind mounts, which the parent makes before the clone.
    pub(crate) trees: Vec<PlannedTree>,
    /// A pid namespace that a scratch thread of the parent joins before it clones.
    pub(crate) pid_namespace: Option<NamespacePath>,
    /// Things that are wrong but not refused.
    pub(crate) warnings: Vec<String>,
}

/// Decides how a process that joins the container changes its mounts. JSON pointers are those of
/// the list.
///
/// # Errors
/// [`PlanError`] with the JSON pointer of whatever cannot be done.
pub(crate) fn plan_change(
    change: Change,
    mounts: &[Mount],
    running: &Running<'_>,
    options: &Options,
    host: &Host,
) -> Result<PlannedChange, PlanError> {
    if running.namespaces & NamespaceKind::Mount.flag() == 0 {
        let message = "the container has no mount namespace of its own";
        return Err(PlanError::new("", message));
    }
    check_mounts(mounts)?;
    let spec = Spec { mounts: mounts.to_vec(), ..running.spec.clone() };
    let namespaces = plan_namespaces(spec.linux.as_ref(), host)?;
    let mut ctx = Context::new(&spec, options, host, namespaces);
    plan_descriptors(&mut ctx);
    let (_, pid_namespace) = plan_joining(&mut ctx, &joined(running, mounts), false);
    let directory = ctx.text("/", "")?;
    let path = ctx.text(".", "")?;
    ctx.push(Step::OpenRoot { directory, path }, "");
    match change {
        Change::Add => plan_added_mounts(&mut ctx)?,
        Change::Remove => plan_removed_mounts(&mut ctx)?,
    }
    ctx.push(Step::Meet { point: SyncPoint::Created }, "");
    let Context { init: program, descriptors, trees, warnings, .. } = ctx;
    Ok(PlannedChange { program, descriptors, trees, pid_namespace, warnings })
}

fn check_mounts(mounts: &[Mount]) -> Result<(), PlanError> {
    for (index, mount) in mounts.iter().enumerate() {
        let destination = clean(&mount.destination);
        let problem = match (destination.as_str(), mount.kind.as_str()) {
            ("/", _) => "the root of a running container cannot be replaced",
            ("/proc", _) => "/proc of a running container cannot be replaced",
            (_, "cgroup" | "cgroup2") => "cgroup mounts belong to the creation of a container",
            _ => continue,
        };
        let message = format!("invalid mount {}: {problem}", mount.destination);
        return Err(PlanError::new(format!("/{index}/destination"), message));
    }
    Ok(())
}

/// A procfs shows the pid namespace of the process that makes it. For all else this process is
/// better off where nobody in the container sees it.
fn joined<'a>(running: &Running<'a>, mounts: &[Mount]) -> Running<'a> {
    let mut joined = running.clone();
    if mounts.iter().all(|mount| mount.kind != "proc") {
        joined.namespaces &= !NamespaceKind::Pid.flag();
    }
    joined
}

fn plan_removed_mounts(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    for (index, mount) in ctx.spec.mounts.iter().enumerate() {
        let pointer = format!("/{index}/destination");
        let destination = ctx.text(clean(&mount.destination), &pointer)?;
        ctx.push(Step::Unmount { destination }, pointer);
    }
    Ok(())
}
