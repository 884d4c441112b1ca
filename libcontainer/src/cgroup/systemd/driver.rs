//! The life of a container's unit.

use std::collections::BTreeMap;

use zbus::Variant;

use super::annotations;
use super::manager::Manager;
use super::properties::{self, Property};
use super::unit::Unit;
use crate::cgroup::create::Created;
use crate::cgroup::devices::DevicePolicy;
use crate::cgroup::{Error, Layout, Location, Mode, Result, create, file, location};
use crate::spec::Resources;

/// What a unit is made of.
pub(crate) struct Order<'a> {
    /// Id of the container, for the description.
    pub(crate) id: &'a str,
    /// Limits.
    pub(crate) resources: &'a Resources,
    /// Device rules.
    pub(crate) devices: &'a DevicePolicy,
    /// Annotations, some of which are properties.
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

/// Decides the unit and its groups; asks the user's systemd where its own group is. Annotations
/// are checked.
///
/// # Errors
/// Names that are none, and annotations that are not allowed; the user's systemd does not answer.
pub(crate) fn locate(
    layout: &Layout,
    path: Option<&str>,
    id: &str,
    rootless: bool,
    annotations: &BTreeMap<String, String>,
) -> Result<Location> {
    annotations::properties(annotations)?;
    let user = rootless && !is_system_root();
    let mut unit = Unit::parse(path, id, user)?;
    if let Some(subgroup) = annotations.get(SUBGROUP) {
        unit.subgroup = crate::cgroup::clean_name(subgroup).ok_or_else(|| {
            Error::at(
                format!("/annotations/{SUBGROUP}"),
                format!("{subgroup:?} is no name of a cgroup"),
            )
        })?;
    }
    if user && layout.mode != Mode::Unified {
        return Err(Error::new(
            "the systemd of a user manages cgroups on cgroup v2 only, and this machine has v1",
        )
        .hinting("use --cgroup-manager=cgroupfs, or boot with cgroup v2"));
    }
    let base = match user {
        true => Some(Manager::connect(true)?.control_group()?),
        false => None,
    };
    location::of_unit(layout, unit, base.as_deref(), rootless, path.is_some())
}

/// Annotation: a group below that of the unit, in which the container is.
const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// Root of a user namespace may be root of a whole machine (LXC), which has a systemd of its own
/// and no user's.
fn is_system_root() -> bool {
    nix::unistd::geteuid().is_root()
        && std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_none()
        && std::env::var_os("XDG_RUNTIME_DIR").is_none()
        && std::path::Path::new("/run/systemd/private").exists()
}

/// Starts the unit with a process in it, and puts that into the groups of which systemd does not
/// know. All limits go with the unit, so that systemd is asked once; those of memory and tasks are
/// lifted again until the process has set itself up.
///
/// # Errors
/// systemd refuses or does not answer, or a group cannot be entered. Then nothing stays.
pub(crate) fn start(
    layout: &Layout,
    location: &Location,
    order: &Order<'_>,
    pid: u32,
) -> Result<Created> {
    let Some(unit) = &location.unit else {
        return Err(Error::new("there is no unit to be started"));
    };
    create::refuse_foreign(location)?;
    let mut manager = Manager::connect(unit.user)?;
    let properties = properties_of(&mut manager, unit, layout.mode == Mode::Unified, order, pid)?;
    log::debug!("StartTransientUnit {}: {properties:?}", unit.name);
    manager
        .start(unit, &properties)
        .map_err(|error| error.context("unable to apply cgroup configuration"))?;
    match create::join(layout, location, order.resources, pid) {
        Ok(created) => {
            lift_early_limits(location, order.resources);
            Ok(created)
        }
        Err(error) => {
            if let Err(left) = manager.stop(&unit.name) {
                log::debug!("a unit stays after a failed creation: {left}");
            }
            Err(error)
        }
    }
}

fn properties_of(
    manager: &mut Manager,
    unit: &Unit,
    unified: bool,
    order: &Order<'_>,
    pid: u32,
) -> Result<Vec<Property>> {
    let mut all = BTreeMap::new();
    let mut add = |name: &str, value: Variant<'static>| all.insert(name.to_owned(), value);
    add("Description", Variant::new(format!("libcontainer container {}", order.id)));
    add("DefaultDependencies", Variant::Bool(false));
    for name in ["MemoryAccounting", "CPUAccounting", "TasksAccounting"] {
        add(name, Variant::Bool(true));
    }
    let io = if unified { "IOAccounting" } else { "BlockIOAccounting" };
    add(io, Variant::Bool(true));
    all.extend(annotations::properties(order.annotations)?);
    // What config.json says comes after the annotations: those may add, and lift nothing.
    all.extend(properties::of_resources(order.resources, unified, &mut || manager.version())?);
    if !unit.user {
        all.extend(properties::of_devices(order.devices));
    }
    if unit.is_slice() {
        all.insert("Wants".to_owned(), Variant::new(vec![unit.slice.clone()]));
    } else {
        all.insert("Slice".to_owned(), Variant::new(unit.slice.clone()));
        all.insert("Delegate".to_owned(), Variant::Bool(true));
        all.insert("PIDs".to_owned(), Variant::new(vec![pid]));
    }
    Ok(all.into_iter().collect())
}

/// A container's process needs memory and tasks to become one. Only limits of config.json are
/// lifted: those are written to the files later, and others are systemd's own.
fn lift_early_limits(location: &Location, resources: &Resources) {
    let memory = resources.memory.as_ref();
    let given = |value: Option<i64>| value.is_some_and(|value| value != 0);
    let limit = memory.is_some_and(|memory| given(memory.limit));
    let swap = memory.is_some_and(|memory| given(memory.swap));
    let tasks = resources.pids.as_ref().is_some_and(|pids| pids.limit.is_some());
    let mut files = Vec::new();
    if let Some(group) = location.v1("memory").filter(|_| limit) {
        files.push((group.file("memory.limit_in_bytes"), "-1"));
    }
    if let Some(group) = location.v1("pids").filter(|_| tasks) {
        files.push((group.file("pids.max"), "max"));
    }
    if let Some(group) = location.v2().filter(|_| location.is_unified()) {
        let of_v2 = [("memory.max", limit), ("memory.swap.max", swap), ("pids.max", tasks)];
        let lifted = of_v2
            .into_iter()
            .filter(|(name, given)| *given || resources.unified.contains_key(*name));
        files.extend(lifted.map(|(name, _)| (group.file(name), "max")));
    }
    for (path, value) in files {
        match file::write(&path, value) {
            Err(error) if !error.is_gone() => {
                log::debug!("a limit holds from the beginning: {error}");
            }
            _ => {}
        }
    }
}

/// The limits as they are to be written to files: systemd has the quota in whole percents, and
/// without a quota takes a period of its own. `whole` has the period where `resources` has none.
pub(crate) fn rounded(resources: &Resources, whole: &Resources) -> Resources {
    let mut rounded = resources.clone();
    let period = whole.cpu.as_ref().and_then(|cpu| cpu.period);
    if let Some(cpu) = &mut rounded.cpu
        && let Some(quota) = cpu.quota
    {
        cpu.period = cpu.period.or(period);
        cpu.quota = Some(properties::rounded_quota(quota, cpu.period));
    }
    rounded
}

/// Tells systemd of changed limits. On v1 it then also writes its device rules anew, the denial of
/// everything first: the caller has frozen the processes, and when this returns they are written.
///
/// # Errors
/// systemd refuses or does not answer.
pub(crate) fn update(unit: &Unit, resources: &Resources, unified: bool) -> Result<()> {
    let mut manager = Manager::connect(unit.user)?;
    let properties = properties::of_resources(resources, unified, &mut || manager.version())?;
    if properties.is_empty() {
        return Ok(());
    }
    manager.set_properties(&unit.name, &properties)?;
    if !unified {
        // systemd sets what has changed before it takes the next call.
        manager.control_group()?;
    }
    Ok(())
}

/// Stops the unit; its processes must have ended. A unit that is gone is fine.
///
/// # Errors
/// systemd refuses or does not answer.
pub(crate) fn stop(unit: &Unit) -> Result<()> {
    Manager::connect(unit.user)?.stop(&unit.name)
}

/// Puts a further process into a group at or below the unit's: an ordinary user may not move a
/// process there from outside of its delegated groups, and systemd may.
///
/// # Errors
/// systemd refuses or does not answer.
pub(crate) fn attach(unit: &Unit, subgroup: &str, pid: u32) -> Result<()> {
    Manager::connect(unit.user)?.attach(&unit.name, subgroup, pid)
}
