//! How the container's process comes into its namespaces: which processes there are and who
//! joins and makes what, in which order.

use super::annotations::keeps_groups;
use super::capabilities::SYS_ADMIN;
use super::user_namespace::mappings;
use super::{Context, DescriptorSource, Mappings, NamespaceKind, NamespacePath, PlanError, Shape};
use crate::protocol::{Slot, Step, SyncPoint};
use crate::spec::IdMapping;

/// Slots that the parent fills with the `tasks` (v1) and `cgroup.procs` files that the child
/// writes itself into; there are not that many hierarchies.
pub(crate) const CGROUP_SLOTS: u16 = 16;

/// What the entry decides for the parent.
pub(super) struct Entry {
    pub(super) shape: Shape,
    pub(super) clone_flags: u64,
    pub(super) pid_namespace: Option<NamespacePath>,
}

/// The child's first acts, before anything of the container can see it: descriptors, signals.
pub(super) fn plan_descriptors(ctx: &mut Context<'_>) {
    let first = plan_preserved(ctx);
    ctx.push(Step::ArrangeDescriptors { first, count: ctx.preserved() }, "");
    ctx.push(Step::ResetSignals {}, "");
}

/// Joins the container's cgroups; the first of `count` slots for their files.
pub(super) fn plan_cgroups(ctx: &mut Context<'_>, count: u16) -> Slot {
    let first = ctx.slots(count);
    ctx.push(Step::JoinCgroups { first, count }, "/linux/cgroupsPath");
    first
}

/// Slots one after the other, as `ArrangeDescriptors` wants them.
fn plan_preserved(ctx: &mut Context<'_>) -> Slot {
    let mut first = None;
    for index in 0..ctx.preserved() {
        let slot = ctx.open(DescriptorSource::Preserved(i32::from(index) + 3), "");
        first.get_or_insert(slot);
    }
    first.unwrap_or(Slot::NONE)
}

/// Enters and makes the namespaces. The cgroup namespace comes last, because its root is the
/// group that the process is in at that moment.
pub(super) fn plan_entry(
    ctx: &mut Context<'_>,
    new_user: Option<&Mappings>,
) -> Result<Entry, PlanError> {
    let names = &ctx.namespaces;
    let joins_user = names.joins(NamespaceKind::User);
    let joins_others = names.paths().any(|(kind, _)| kind != NamespaceKind::User);
    let entry = if !names.has(NamespaceKind::User) {
        plan_without_user(ctx)?
    } else if new_user.is_some() && !joins_others {
        plan_new_user(ctx, new_user)?
    } else if joins_user && !joins_others && !names.creates(NamespaceKind::Pid) {
        plan_joined_user(ctx)?
    } else {
        plan_two(ctx, new_user)?
    };
    if ctx.namespaces.creates(NamespaceKind::Cgroup) {
        let kinds = NamespaceKind::Cgroup.flag();
        ctx.push(Step::Unshare { kinds }, "/linux/namespaces");
    }
    Ok(entry)
}

/// No user namespace: all but cgroup and time are made by the clone, the others are joined first
/// of all. A pid namespace holds for children only, so the parent's thread joins it.
fn plan_without_user(ctx: &mut Context<'_>) -> Result<Entry, PlanError> {
    if ctx.options.systemd_cgroup || ctx.has_rdt() {
        ctx.push(Step::Meet { point: SyncPoint::Up }, "");
    }
    plan_clocks(ctx)?;
    ctx.push(Step::SetDumpable { dumpable: false }, "");
    let pid_namespace = ctx.namespaces.joined(NamespaceKind::Pid).cloned();
    for (kind, path) in joined_in_order(ctx) {
        if kind != NamespaceKind::Pid {
            push_join(ctx, path, false);
        }
    }
    Ok(Entry { shape: Shape::One, clone_flags: made_by_clone(ctx), pid_namespace })
}

/// A new user namespace and nothing joined: only the pid namespace goes with it into the clone.
/// Made in one call, the others would belong to ids that are not mapped yet.
fn plan_new_user(ctx: &mut Context<'_>, new_user: Option<&Mappings>) -> Result<Entry, PlanError> {
    ctx.push(Step::Meet { point: SyncPoint::Up }, "/linux/uidMappings");
    plan_clocks(ctx)?;
    plan_root_of_user_namespace(ctx, new_user);
    ctx.push(Step::SetDumpable { dumpable: false }, "");
    let pid = ctx.namespaces.created_flags() & NamespaceKind::Pid.flag();
    let kinds = made_by_clone(ctx) & !pid;
    if kinds != 0 {
        ctx.push(Step::Unshare { kinds }, "/linux/namespaces");
    }
    let clone_flags = NamespaceKind::User.flag() | pid;
    Ok(Entry { shape: Shape::One, clone_flags, pid_namespace: None })
}

/// A joined user namespace alone: a process with one thread may enter it.
fn plan_joined_user(ctx: &mut Context<'_>) -> Result<Entry, PlanError> {
    plan_early_meeting(ctx);
    ctx.push(Step::SetDumpable { dumpable: false }, "");
    plan_join_user(ctx)?;
    plan_clocks(ctx)?;
    plan_root_of_user_namespace(ctx, None);
    let kinds = made_by_clone(ctx);
    if kinds != 0 {
        ctx.push(Step::Unshare { kinds }, "/linux/namespaces");
    }
    Ok(Entry { shape: Shape::One, clone_flags: 0, pid_namespace: None })
}

/// Namespaces of the host cannot be joined from a new user namespace, and those of the user
/// namespace not before it: so an intermediate process joins what it can, enters the user
/// namespace, joins the rest, and clones init.
fn plan_two(ctx: &mut Context<'_>, new_user: Option<&Mappings>) -> Result<Entry, PlanError> {
    let privileged = ctx.host.has_capability(SYS_ADMIN);
    let others: Vec<_> =
        joined_in_order(ctx).into_iter().filter(|(kind, _)| *kind != NamespaceKind::User).collect();
    let mut postponed = Vec::new();
    if privileged {
        if new_user.is_none() {
            plan_early_meeting(ctx);
        }
        ctx.push(Step::SetDumpable { dumpable: false }, "");
        for (_, path) in &others {
            let slot = push_join(ctx, path.clone(), true);
            postponed.push((slot, path.clone()));
        }
    } else if new_user.is_none() {
        plan_early_meeting(ctx);
        ctx.push(Step::SetDumpable { dumpable: false }, "");
    }
    if new_user.is_some() {
        let kinds = NamespaceKind::User.flag();
        ctx.push(Step::Unshare { kinds }, "/linux/namespaces");
        ctx.push(Step::Meet { point: SyncPoint::Up }, "/linux/uidMappings");
    } else {
        plan_join_user(ctx)?;
    }
    plan_clocks(ctx)?;
    plan_root_of_user_namespace(ctx, new_user);
    ctx.push(Step::SetDumpable { dumpable: false }, "");
    for (slot, path) in postponed {
        let step = Step::JoinPostponed { namespace: slot, kind: path.kind };
        ctx.push(step, path.pointer);
    }
    if !privileged {
        for (_, path) in others {
            push_join(ctx, path, false);
        }
    }
    ctx.push(Step::CloneInit { kinds: made_by_clone(ctx) }, "/linux/namespaces");
    Ok(Entry { shape: Shape::Two, clone_flags: 0, pid_namespace: None })
}

/// Without rights over the host the parent can write oom_score_adj only of a process that is
/// dumpable.
fn plan_early_meeting(ctx: &mut Context<'_>) {
    let adjusts = ctx.spec.process.as_ref().is_some_and(|process| process.oom_score_adj.is_some());
    let privileged = ctx.host.has_capability(SYS_ADMIN);
    if ctx.options.systemd_cgroup || ctx.has_rdt() || (adjusts && !privileged) {
        ctx.push(Step::Meet { point: SyncPoint::Up }, "");
    }
}

fn plan_join_user(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let Some(path) = ctx.namespaces.joined(NamespaceKind::User).cloned() else {
        return Ok(());
    };
    push_join(ctx, path, false);
    let (uids, gids) = mappings(ctx);
    if uids.is_empty() && gids.is_empty() {
        return Ok(());
    }
    let uids = ctx.bytes(&triples(uids), "/linux/uidMappings")?;
    let gids = ctx.bytes(&triples(gids), "/linux/gidMappings")?;
    ctx.push(Step::CheckMappings { uids, gids }, "/linux/uidMappings");
    Ok(())
}

fn plan_root_of_user_namespace(ctx: &mut Context<'_>, new_user: Option<&Mappings>) {
    let tolerate_denied = new_user.is_none_or(|mappings| mappings.deny_setgroups);
    let keep_groups = keeps_groups(ctx);
    ctx.push(Step::BecomeRoot { tolerate_denied, keep_groups }, "/linux/uidMappings");
}

/// A new time namespace. Before the process stops being dumpable: the file belongs to another
/// then.
fn plan_clocks(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let offsets = ctx.linux().map(|linux| &linux.time_offsets);
    let creates = ctx.namespaces.creates(NamespaceKind::Time);
    if let Some(offsets) = offsets.filter(|offsets| !offsets.is_empty() && !creates) {
        let clock = offsets.keys().next().cloned().unwrap_or_default();
        let message = "timeOffsets are given, but no new time namespace is in the config";
        return Err(PlanError::new(format!("/linux/timeOffsets/{clock}"), message));
    }
    if !creates {
        return Ok(());
    }
    let mut lines = String::new();
    for (clock, offset) in offsets.into_iter().flatten() {
        let pointer = format!("/linux/timeOffsets/{clock}");
        if clock != "monotonic" && clock != "boottime" {
            let message = format!("time offset of an unknown clock {clock:?}");
            return Err(PlanError::new(pointer, message));
        }
        if offset.nanosecs >= 1_000_000_000 {
            let message = format!("{} nanoseconds are a second or more", offset.nanosecs);
            return Err(PlanError::new(format!("{pointer}/nanosecs"), message));
        }
        lines.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    let offsets = ctx.text(&lines, "/linux/timeOffsets")?;
    ctx.push(Step::OffsetClocks { offsets }, "/linux/timeOffsets");
    Ok(())
}

/// The mount namespace last: paths mean something else in it.
fn joined_in_order(ctx: &Context<'_>) -> Vec<(NamespaceKind, NamespacePath)> {
    let (mount, mut others): (Vec<_>, Vec<_>) = ctx
        .namespaces
        .paths()
        .map(|(kind, path)| (kind, path.clone()))
        .partition(|(kind, _)| *kind == NamespaceKind::Mount);
    others.extend(mount);
    others
}

fn push_join(ctx: &mut Context<'_>, path: NamespacePath, postpone: bool) -> Slot {
    let (kind, pointer) = (path.kind, path.pointer.clone());
    let namespace = ctx.open(DescriptorSource::Namespace(path), pointer.clone());
    ctx.push(Step::JoinNamespace { namespace, kind, postpone }, pointer);
    namespace
}

/// New namespaces but those of user, cgroup and time, which have moments of their own.
fn made_by_clone(ctx: &Context<'_>) -> u64 {
    [NamespaceKind::User, NamespaceKind::Cgroup, NamespaceKind::Time]
        .into_iter()
        .fold(ctx.namespaces.created_flags(), |flags, kind| flags & !kind.flag())
}

fn triples(ranges: &[IdMapping]) -> Vec<u8> {
    ranges
        .iter()
        .flat_map(|range| [range.container_id, range.host_id, range.size])
        .flat_map(u32::to_ne_bytes)
        .collect()
}
