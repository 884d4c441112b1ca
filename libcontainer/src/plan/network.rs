//! `linux.netDevices`: which network devices the container gets, under which names.

use super::{Context, NamespaceKind, PlanError, PlannedNetDevice};
use crate::protocol::{Step, SyncPoint};

/// Longest name of a network device: IFNAMSIZ without the NUL.
const LONGEST_NAME: usize = 15;

/// Checks the devices, and has the child wait until the parent has moved them.
pub(super) fn plan_net_devices(ctx: &mut Context<'_>) -> Result<Vec<PlannedNetDevice>, PlanError> {
    let Some(linux) = ctx.linux().filter(|linux| !linux.net_devices.is_empty()) else {
        return Ok(Vec::new());
    };
    let error = |message: &str| Err(PlanError::new("/linux/netDevices", message));
    if !ctx.has_own(NamespaceKind::Network) {
        return error("unable to move network devices without a NET namespace");
    }
    if ctx.options.rootless {
        return error("network devices are not supported for rootless containers");
    }
    let mut devices: Vec<PlannedNetDevice> = Vec::new();
    for (name, device) in &linux.net_devices {
        let pointer = crate::pointer::below("/linux/netDevices", name);
        let new_name = if device.name.is_empty() { name } else { &device.name };
        if !is_name(name) || !is_name(&new_name.replacen("%d", "0", 1)) {
            let name = if is_name(name) { new_name } else { name };
            let message = format!("invalid network device name {name:?}");
            return Err(PlanError::new(pointer, message));
        }
        if let Some(other) =
            devices.iter().find(|other| &other.new_name == new_name && !new_name.contains("%d"))
        {
            let other = &other.name;
            let message =
                format!("network devices {other:?} and {name:?} cannot both be named {new_name:?}");
            return Err(PlanError::new(pointer, message));
        }
        devices.push(PlannedNetDevice { name: name.clone(), new_name: new_name.clone(), pointer });
    }
    ctx.push(Step::Meet { point: SyncPoint::Network }, "/linux/netDevices");
    Ok(devices)
}

/// What the kernel takes as a name; of `%` only one template, which the caller has filled.
fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(|letter: char| {
            matches!(letter, '/' | ':' | '%' | '\0') || letter.is_ascii_whitespace()
        })
}
