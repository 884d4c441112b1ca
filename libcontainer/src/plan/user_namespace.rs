//! `linux.uidMappings` and `linux.gidMappings`, and what the user namespace permits.

use super::capabilities::{SETGID, SYS_ADMIN};
use super::{Context, Mappings, NamespaceKind, PlanError};
use crate::spec::IdMapping;

/// Lines that the kernel takes in a mapping, since Linux 4.15.
const MAPPING_LINES: usize = 340;

/// Checks the mappings; `Some` where a new user namespace needs them written.
pub(super) fn plan_user_namespace(ctx: &Context<'_>) -> Result<Option<Mappings>, PlanError> {
    let (uids, gids) = mappings(ctx);
    if !ctx.namespaces.has(NamespaceKind::User) {
        if !uids.is_empty() || !gids.is_empty() {
            let pointer = if uids.is_empty() { "/linux/gidMappings" } else { "/linux/uidMappings" };
            let message =
                "user namespace mappings specified, but user namespace isn't enabled in the config";
            return Err(PlanError::new(pointer, message));
        }
        if !ctx.host.has_capability(SYS_ADMIN) {
            let message = "rootless container requires user namespaces";
            return Err(PlanError::new("/linux/namespaces", message)
                .with_hint("husk spec --rootless writes such a configuration"));
        }
        return Ok(None);
    }
    check_ranges(uids, "/linux/uidMappings")?;
    check_ranges(gids, "/linux/gidMappings")?;
    if ctx.namespaces.joins(NamespaceKind::User) {
        return Ok(None);
    }
    for (ranges, pointer, kind) in
        [(uids, "/linux/uidMappings", "uid"), (gids, "/linux/gidMappings", "gid")]
    {
        if ranges.is_empty() {
            let message = format!(
                "user namespaces enabled, but no namespace path or {kind} mappings specified"
            );
            return Err(PlanError::new(pointer, message));
        }
        if !is_mapped(ranges, 0) {
            let message = format!("{kind} 0 of the user namespace is not mapped");
            return Err(PlanError::new(pointer, message)
                .with_hint("the runtime sets the container up as root of its user namespace"));
        }
    }
    Ok(Some(Mappings {
        uids: uids.to_vec(),
        gids: gids.to_vec(),
        deny_setgroups: denies_setgroups(ctx, gids),
    }))
}

/// The mappings as they are written.
pub(super) fn mappings<'a>(ctx: &Context<'a>) -> (&'a [IdMapping], &'a [IdMapping]) {
    match ctx.linux() {
        Some(linux) => (&linux.uid_mappings, &linux.gid_mappings),
        None => (&[], &[]),
    }
}

/// Whether an id of the namespace is somebody outside.
pub(super) fn is_mapped(ranges: &[IdMapping], id: u32) -> bool {
    ranges
        .iter()
        .any(|range| id.checked_sub(range.container_id).is_some_and(|offset| offset < range.size))
}

/// The kernel lets an unprivileged process map its own group only after it has given up
/// setgroups (CVE-2014-8989); newgidmap writes every other mapping.
fn denies_setgroups(ctx: &Context<'_>, gids: &[IdMapping]) -> bool {
    let own = matches!(gids, [range] if range.size == 1 && range.host_id == ctx.host.gid);
    own && !ctx.host.has_capability(SETGID) || ctx.host.setgroups_denied
}

fn check_ranges(ranges: &[IdMapping], pointer: &str) -> Result<(), PlanError> {
    if ranges.len() > MAPPING_LINES {
        let message = format!("{} id mappings; the kernel takes {MAPPING_LINES}", ranges.len());
        return Err(PlanError::new(pointer, message));
    }
    for (index, range) in ranges.iter().enumerate() {
        let at = format!("{pointer}/{index}");
        if range.size == 0 {
            return Err(PlanError::new(format!("{at}/size"), "an id mapping of size 0"));
        }
        let ends = [range.container_id, range.host_id].map(|first| first.checked_add(range.size));
        if ends.contains(&None) {
            return Err(PlanError::new(at, "an id mapping ends beyond 4294967295"));
        }
        let earlier = ranges.get(..index).unwrap_or_default();
        let overlaps = |a: u32, b: u32, size: u32| {
            u64::from(a) < u64::from(b) + u64::from(size)
                && u64::from(b) < u64::from(a) + u64::from(range.size)
        };
        if earlier.iter().any(|other| {
            overlaps(range.container_id, other.container_id, other.size)
                || overlaps(range.host_id, other.host_id, other.size)
        }) {
            return Err(PlanError::new(at, "id mappings overlap"));
        }
    }
    Ok(())
}
