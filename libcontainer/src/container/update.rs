//! Changed limits of a container that lives.

use std::time::Duration;

use super::{Container, Status};
use crate::cgroup::{self, Layout, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::rdt;
use crate::spec::Resources;
use crate::state::Record;

/// How long a change waits for another operation on the container.
const PATIENCE: Duration = Duration::from_secs(5);

impl Container {
    /// The limits as they were set last. Device rules are those of the creation.
    ///
    /// # Errors
    /// [`ErrorKind::State`].
    pub fn resources(&self) -> Result<Resources> {
        self.recorded_resources(&self.directory.load()?)
    }

    fn recorded_resources(&self, record: &Record) -> Result<Resources> {
        if let Some(resources) = &record.resources {
            return Ok(resources.clone());
        }
        Ok(self.spec()?.linux.and_then(|linux| linux.resources).unwrap_or_default())
    }

    /// Changes the shares of the container's class of service: lines of `schemata` for the L3 cache
    /// and for memory bandwidth; empty ones stay as they are. When the kernel refuses them, those
    /// of before are written again.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the container is in no class of service or the machine
    /// cannot share these out, [`ErrorKind::NotRunning`], [`ErrorKind::System`].
    pub fn update_rdt(&self, l3_cache_schema: &str, mem_bw_schema: &str) -> Result<()> {
        let _lock = self.directory.lock(PATIENCE)?;
        if matches!(self.probe()?.0, Status::Stopped | Status::Creating) {
            return Err(Error::new(ErrorKind::NotRunning, "container not running"));
        }
        let mut record = self.directory.load()?;
        let Some(group) = &record.rdt else {
            let resctrl = Host::probe_resctrl()?;
            rdt::check_shared(resctrl.as_ref(), l3_cache_schema, mem_bw_schema)?;
            let message = "updating a non-existent Intel RDT configuration is not supported";
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        let changed = group.with_schemas(l3_cache_schema, mem_bw_schema)?;
        if let Err(error) = changed.apply() {
            return Err(match group.apply() {
                Ok(()) => error,
                Err(left) => {
                    error.with_hint(format!("the shares of before are not written again: {left}"))
                }
            });
        }
        record.rdt = Some(changed);
        self.directory.save(&record)
    }

    /// Changes limits of a container that has not ended; what is not given stays as it is. Device
    /// rules are not changed: others may have added rules of their own, for a GPU for example.
    /// When the kernel refuses one of the limits, those of before are set again. Returns warnings.
    ///
    /// The limits are recorded after the kernel took them: a program that is killed in between
    /// leaves a record that is older than the kernel's values.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] for a stopped container; [`ErrorKind::InvalidConfig`] with the
    /// JSON pointer of a limit that is wrong, or that the kernel refuses; [`ErrorKind::Busy`] when
    /// another operation on the container goes on for seconds.
    ///
    /// ```no_run
    /// use libcontainer::spec::Resources;
    ///
    /// let container = libcontainer::Container::open("/run/example".as_ref(), "web")?;
    /// let limits = Resources::parse(br#"{ "memory": { "limit": 67108864 } }"#)?;
    /// container.update(&limits)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update(&self, resources: &Resources) -> Result<Vec<String>> {
        let _lock = self.directory.lock(PATIENCE)?;
        if matches!(self.probe()?.0, Status::Stopped | Status::Creating) {
            return Err(Error::new(ErrorKind::NotRunning, "container not running"));
        }
        let mut record = self.directory.load()?;
        let location = self.location()?;
        let present = self.recorded_resources(&record)?;
        let changed = cgroup::completed(resources, &present, location.is_unified());
        let mut warnings = cgroup::check(&changed, &Layout::probe()?)?;
        // Once, and before systemd is told, which would set the limit.
        cgroup::check_usage(location, &changed)?;
        let mut merged = present.clone();
        cgroup::merge(&mut merged, &changed);
        let written = unchecked(match location.unit {
            Some(_) => cgroup::systemd::rounded(&changed, &merged),
            None => changed.clone(),
        });
        // systemd first: it sets what it carries itself, and the files then get all values.
        match tell_unit(location, &merged).and_then(|()| cgroup::apply(location, &written, None)) {
            Ok(further) => warnings.extend(further),
            Err(error) => return Err(set_back(error.into(), location, present)),
        }
        record.resources = Some(merged);
        self.directory.save(&record)?;
        Ok(warnings)
    }
}

/// A unit is told of all limits: some of its properties are made of several of ours.
fn tell_unit(location: &Location, resources: &Resources) -> cgroup::Result<()> {
    let Some(unit) = &location.unit else { return Ok(()) };
    if location.is_unified() || cgroup::is_frozen(location)? {
        return cgroup::systemd::update(unit, resources, location.is_unified());
    }
    // systemd denies all devices of v1 for a moment, which no process may see.
    cgroup::freeze(location)?;
    let told = cgroup::systemd::update(unit, resources, false);
    cgroup::thaw(location).and(told)
}

/// Sets the limits of before; the first error stays the one that is told.
fn set_back(error: Error, location: &Location, before: Resources) -> Error {
    let before = unchecked(before);
    let told = tell_unit(location, &before);
    match told.and_then(|()| cgroup::apply(location, &before, None)) {
        Ok(_) => error,
        Err(left) => error.with_hint(format!("the limits of before are not all set again: {left}")),
    }
}

/// What is set whatever is used.
fn unchecked(mut resources: Resources) -> Resources {
    if let Some(memory) = &mut resources.memory {
        memory.check_before_update = None;
    }
    resources
}
