//! Control groups on cgroup v1, v2 and hybrids of the two: by plain files, or made by systemd and
//! filled in by files.
//!
//! In the order of a container's life: [`Layout`] is what this machine mounts, [`locate`] decides
//! which groups a container has, [`create()`] makes them, [`apply`] sets limits and device rules,
//! [`freeze`], [`kill_all`] and [`remove()`] end it. [`check()`] and [`DevicePolicy`] need no kernel:
//! the plan uses them.
//!
//! Every file is opened without following links and must lie on a cgroup file system; paths of
//! groups are clean and relative to the mount point of their hierarchy. So a state file with
//! hostile paths in it cannot make the runtime write or remove anything else.

mod check;
mod convert;
mod create;
mod devices;
mod error;
mod events;
mod file;
mod freezer;
mod kill;
mod layout;
mod location;
mod mounts;
mod owner;
mod program;
mod remove;
mod resources;
pub(crate) mod stats;
pub(crate) mod systemd;
mod usage;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

pub(crate) use check::check;
pub(crate) use create::{Created, Descriptors, create, delegate, descend, open};
pub(crate) use devices::DevicePolicy;
pub(crate) use error::{Error, Result};
pub(crate) use events::{OomWatch, oom_kills};
pub(crate) use freezer::{freeze, is_frozen, thaw};
pub(crate) use kill::{kill_all, pids};
pub(crate) use layout::{Hierarchy, Layout, Mode, Version};
pub(crate) use location::{Group, Location, clean_name, locate, of_process, sub};
pub(crate) use mounts::mounts_for_container;
pub(crate) use remove::remove;
pub(crate) use resources::{completed, merge};
pub(crate) use stats::{Stats, stats};
pub(crate) use usage::check_usage;

use crate::spec::Resources;

/// Sets limits and, if given, device rules. Returns warnings.
///
/// # Errors
/// The first limit that cannot be set, with its JSON pointer.
pub(crate) fn apply(
    location: &Location,
    resources: &Resources,
    devices: Option<&DevicePolicy>,
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    check_usage(location, resources)?;
    if location.is_unified() {
        v2::apply(location, resources, &mut warnings)?;
    } else {
        v1::apply(location, resources)?;
    }
    if let Some(policy) = devices
        && let Err(error) = devices::apply(location, policy)
    {
        // An ordinary user may never write device rules, and cannot make a device node either; a
        // warning would stand in every run of his.
        if !location.rootless {
            return Err(error);
        }
    }
    Ok(warnings)
}
