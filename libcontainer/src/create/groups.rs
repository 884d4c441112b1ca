//! The container's groups, and the process's way into them.

use super::{Conversation, Decided, Undo};
use crate::cgroup::{self, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Mappings;
use crate::spec::IdMapping;
use crate::state::Record;

/// Makes the container's groups, but for those that systemd makes.
pub(crate) fn make_groups(
    decided: &Decided<'_>,
    record: &mut Record,
    undo: &mut Undo,
) -> Result<Option<cgroup::Descriptors>> {
    let (Some(layout), Some(location)) = (&decided.layout, &decided.location) else {
        return Ok(None);
    };
    // systemd wants a process first.
    if location.unit.is_some() {
        return Ok(None);
    }
    let mut created = cgroup::create(layout, location, &decided.plan.resources)?;
    let descriptors = std::mem::take(&mut created.descriptors);
    record.cgroup = Some(created.location.clone());
    let created = undo.cgroup.insert(created);
    delegate(decided, &created.location)?;
    Ok(Some(descriptors))
}

/// Has systemd make the container's unit with its process in it, and records which one it is.
pub(crate) fn start_unit(
    decided: &Decided<'_>,
    record: &mut Record,
    undo: &mut Undo,
    pid: u32,
) -> Result<()> {
    let (Some(layout), Some(location)) = (&decided.layout, &decided.location) else {
        return Ok(());
    };
    if location.unit.is_none() {
        return Ok(());
    }
    let order = cgroup::systemd::Order {
        id: &decided.id,
        resources: &decided.plan.resources,
        devices: &decided.devices,
        annotations: &decided.spec.annotations,
    };
    let created = undo.cgroup.insert(cgroup::systemd::start(layout, location, &order, pid)?);
    record.cgroup = Some(created.location.clone());
    if let Some(directory) = &undo.directory {
        directory.save(record)?;
    }
    delegate(decided, &created.location)
}

/// A container with namespaces of users and cgroups of its own and a writable cgroup mount
/// manages its groups itself.
fn delegate(decided: &Decided<'_>, location: &Location) -> Result<()> {
    let Some(mappings) = &decided.plan.mappings else { return Ok(()) };
    let namespaces = decided.spec.linux.iter().flat_map(|linux| &linux.namespaces);
    let has_namespace = namespaces.into_iter().any(|namespace| namespace.kind == "cgroup");
    let writable =
        decided.spec.mounts.iter().any(|mount| {
            mount.kind == "cgroup" && !mount.options.iter().any(|option| option == "ro")
        });
    match root_of(mappings) {
        Some((uid, gid)) if has_namespace && writable && !decided.rootless => {
            Ok(cgroup::delegate(location, uid, gid)?)
        }
        _ => Ok(()),
    }
}

/// Whom the container's root is on the host: user and group.
fn root_of(mappings: &Mappings) -> Option<(u32, u32)> {
    let first = |ranges: &[IdMapping]| {
        let range = ranges.iter().find(|range| range.container_id == 0 && range.size > 0);
        range.map(|range| range.host_id)
    };
    Some((first(&mappings.uids)?, first(&mappings.gids)?))
}

/// Annotation: a group below that of the container, which the container manages itself.
const DELEGATED: &str = "run.oci.delegate-cgroup";

/// Moves the container's process into the group that it manages itself. Its namespace of cgroups
/// was made before, so that it sees the group in which the limits are, too.
pub(super) fn descend(decided: &Decided<'_>, undo: &Undo, pid: u32) -> Result<()> {
    let (Some(below), Some(created)) = (delegated(decided)?, &undo.cgroup) else { return Ok(()) };
    let mappings = decided.plan.mappings.as_ref().filter(|_| !decided.rootless);
    let owner = mappings.and_then(root_of);
    cgroup::descend(&created.location, below, owner, pid)
        .map_err(|error| Error::from(error).at(format!("/annotations/{DELEGATED}")))
}

fn delegated<'a>(decided: &'a Decided<'_>) -> Result<Option<&'a str>> {
    let given = decided.spec.annotations.get(DELEGATED).filter(|below| !below.is_empty());
    match given {
        Some(below) if cgroup::clean_name(below).is_none() => {
            let message = format!("{below:?} is no name of a cgroup");
            Err(Error::new(ErrorKind::InvalidConfig, message)
                .at(format!("/annotations/{DELEGATED}")))
        }
        given => Ok(given.map(String::as_str)),
    }
}

/// All limits, and device rules: hooks may look at them or change them, and a tight list of
/// devices set earlier would break mknod.
pub(super) fn set_limits(
    decided: &Decided<'_>,
    undo: &Undo,
    conversation: &mut Conversation<'_>,
) -> Result<()> {
    if let Some(created) = &undo.cgroup {
        let resources = match created.location.unit {
            Some(_) => &cgroup::systemd::rounded(&decided.plan.resources, &decided.plan.resources),
            None => &decided.plan.resources,
        };
        let warnings = cgroup::apply(&created.location, resources, Some(&decided.devices))?;
        conversation.warnings.extend(warnings);
    }
    Ok(())
}
