//! A mount of type `cgroup`: what of its cgroups a container sees.

use libc::{MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY};

use super::mounts::{Filesystem, Request};
use super::{Context, NamespaceKind, PlanError};
use crate::host::CgroupMount;
use crate::protocol::mount::{Device, Flags, Rules, rule};
use crate::protocol::{Slot, Step};

const USUAL_FLAGS: u64 = MS_NOEXEC | MS_NOSUID | MS_NODEV;

/// cgroup v2 alone is one file system; otherwise there is a tmpfs with one directory for each
/// hierarchy.
pub(super) fn plan_cgroup_mount(
    ctx: &mut Context<'_>,
    request: &Request<'_>,
    mount: Slot,
) -> Result<(), PlanError> {
    match ctx.host.cgroup_mounts.as_slice() {
        [unified] if unified.name.is_empty() => plan_unified(ctx, request, unified, mount),
        hierarchies => plan_hierarchies(ctx, request, hierarchies, mount),
    }
}

/// A cgroup2 of the container's own namespace shows its own groups; where the kernel refuses one
/// the group is bound. Without a namespace what is mounted already is bound: a new cgroup2 in the initial
/// namespace takes options away from the host's, as `nsdelegate`. An ordinary user's container could then write to
/// all of the user's groups (CVE-2023-25809): it gets its own group, read-only.
fn plan_unified(
    ctx: &mut Context<'_>,
    request: &Request<'_>,
    unified: &CgroupMount,
    mount: Slot,
) -> Result<(), PlanError> {
    let flags = request.options.flags;
    if !ctx.namespaces.has(NamespaceKind::Cgroup) {
        let (source, flags) = match ctx.options.rootless {
            true => (&unified.group, flags | MS_RDONLY),
            false => (&unified.mount_point, flags),
        };
        return plan_bound(ctx, request, source, &request.destination, flags, mount);
    }
    Filesystem {
        kind: "cgroup2",
        source: &request.source,
        destination: &request.destination,
        fallback: &unified.group,
        data: request.options.data.clone(),
        labelled: false,
        flags,
        cleared: request.options.cleared,
        rules: 0,
    }
    .plan(ctx, &request.pointer, mount)
}

fn plan_hierarchies(
    ctx: &mut Context<'_>,
    request: &Request<'_>,
    hierarchies: &[CgroupMount],
    mount: Slot,
) -> Result<(), PlanError> {
    let destination = request.destination.as_str();
    Filesystem {
        kind: "tmpfs",
        source: "tmpfs",
        destination,
        fallback: "",
        data: vec!["mode=755".to_owned()],
        labelled: true,
        flags: USUAL_FLAGS,
        cleared: 0,
        rules: 0,
    }
    .plan(ctx, &request.pointer, mount)?;
    let below = ctx.init.slot();
    for hierarchy in hierarchies {
        plan_hierarchy(ctx, request, hierarchy, below)?;
    }
    let directory = ctx.text(destination, &request.pointer)?;
    for hierarchy in hierarchies {
        for link in &hierarchy.links {
            let name = ctx.text(link, &request.pointer)?;
            let target = ctx.text(&hierarchy.name, &request.pointer)?;
            ctx.push(Step::MakeLink { directory, name, target }, request.pointer.as_str());
        }
    }
    if request.options.flags & MS_RDONLY != 0 {
        ctx.push(Step::MakeReadonly { mount, destination: directory }, request.pointer.as_str());
    }
    Ok(())
}

/// With a cgroup namespace the hierarchy is mounted anew and shows the container's groups alone;
/// without one the container's group is bound.
fn plan_hierarchy(
    ctx: &mut Context<'_>,
    request: &Request<'_>,
    hierarchy: &CgroupMount,
    mount: Slot,
) -> Result<(), PlanError> {
    let destination = format!("{}/{}", request.destination.trim_end_matches('/'), hierarchy.name);
    let has_namespace = ctx.namespaces.has(NamespaceKind::Cgroup);
    let readonly = request.options.flags & MS_RDONLY;
    if !has_namespace {
        let hidden = if ctx.options.rootless { MS_RDONLY } else { 0 };
        let flags = request.options.flags | hidden;
        return plan_bound(ctx, request, &hierarchy.group, &destination, flags, mount);
    }
    let (kind, source) = match hierarchy.unified {
        true => ("cgroup2", "cgroup2"),
        false if hierarchy.options.starts_with("name=systemd") => ("cgroup", "systemd"),
        false => ("cgroup", "cgroup"),
    };
    // A named hierarchy has no controllers; the kernel wants that said.
    let data = match hierarchy.options.strip_prefix("name=") {
        Some(_) => vec!["none".to_owned(), hierarchy.options.clone()],
        None if hierarchy.options.is_empty() => Vec::new(),
        None => vec![hierarchy.options.clone()],
    };
    Filesystem {
        kind,
        source,
        destination: &destination,
        fallback: &hierarchy.group,
        data,
        labelled: false,
        flags: USUAL_FLAGS | readonly,
        cleared: 0,
        rules: 0,
    }
    .plan(ctx, &request.pointer, mount)
}

fn plan_bound(
    ctx: &mut Context<'_>,
    request: &Request<'_>,
    source: &str,
    destination: &str,
    flags: u64,
    mount: Slot,
) -> Result<(), PlanError> {
    let source = ctx.text(source, &request.pointer)?;
    let destination = ctx.text(destination, &request.pointer)?;
    let (cleared, rules) = (Flags(request.options.cleared), Rules(rule::CHANGE_FLAGS));
    let flags = Flags(flags);
    let step = Step::MountBind {
        source,
        destination,
        recursive: false,
        flags,
        cleared,
        rules,
        device: Device(0),
        tree: Slot::NONE,
        mount,
    };
    ctx.push(step, request.pointer.as_str());
    Ok(())
}
