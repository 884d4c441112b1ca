//! The methods of systemd's manager that a container needs.

use std::time::Duration;

use zbus::{ObjectPath, OwnedObjectPath, Variant};

use super::bus::{Bus, CallError};
use super::message::{Message, Target};
use super::properties::Property;
use super::unit::Unit;
use crate::cgroup::{Error, Result};

const MANAGER: Target<'_> = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

const PROPERTIES: Target<'_> = Target { interface: "org.freedesktop.DBus.Properties", ..MANAGER };

/// How long an operation may take as a whole, from connecting on.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body without auxiliary units.
type NoUnits = Vec<(String, Vec<Property>)>;

/// A systemd, for one operation.
pub(super) struct Manager {
    bus: Bus,
    version: Option<u32>,
}

impl Manager {
    /// Connects to the system's, or to the user's.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(super) fn connect(user: bool) -> Result<Manager> {
        Ok(Manager { bus: Bus::connect(user, PATIENCE)?, version: None })
    }

    fn property(&mut self, name: &str) -> Result<String> {
        let asked = format!("ask for systemd's {name}");
        let answer = self
            .bus
            .call(PROPERTIES, "Get", &(MANAGER.interface, name))
            .map_err(|error| error.into_error(&self.bus, &asked))?;
        let value: Variant<'_> = answer.body().map_err(|error| nonsense(&asked, &error))?;
        match value {
            Variant::Str(text) => Ok(text.to_string()),
            _ => Err(Error::new(format!("{asked}: it is no text"))),
        }
    }

    /// Its version.
    ///
    /// # Errors
    /// It does not tell.
    pub(super) fn version(&mut self) -> Result<u32> {
        if let Some(version) = self.version {
            return Ok(version);
        }
        let text = self.property("Version")?;
        let version = parse_version(&text)
            .ok_or_else(|| Error::new(format!("systemd's version {text:?} has no number")))?;
        self.version = Some(version);
        Ok(version)
    }

    /// The group below which its units have theirs, from the top of the hierarchy.
    ///
    /// # Errors
    /// It does not tell.
    pub(super) fn control_group(&mut self) -> Result<String> {
        self.property("ControlGroup")
    }

    /// Starts a transient unit and waits until it is there.
    ///
    /// # Errors
    /// systemd refuses; the unit exists and is not a failed one.
    pub(super) fn start(&mut self, unit: &Unit, properties: &[Property]) -> Result<()> {
        let name = unit.name.as_str();
        let asked = format!("unable to start unit {name:?}");
        self.await_jobs_of(name)?;
        let job = match self.try_start(name, properties) {
            // What is left of a failed one of that name stands in the way, and is given up.
            Err(error) if error.is("UnitExists") && !unit.is_slice() => {
                self.reset_failed(name)?;
                self.try_start(name, properties)
            }
            // Somebody made the slice before.
            Err(error) if error.is("UnitExists") => return Ok(()),
            result => result,
        };
        let job = job.map_err(|error| error.into_error(&self.bus, &asked))?;
        match self.result_of(&job, &asked)?.as_str() {
            "done" => Ok(()),
            result => {
                self.reset_failed(name)?;
                Err(Error::new(format!("{asked}: the job ended with {result:?}"))
                    .hinting("systemd's own messages tell more: journalctl -b"))
            }
        }
    }

    fn try_start(
        &mut self,
        name: &str,
        properties: &[Property],
    ) -> std::result::Result<OwnedObjectPath, CallError> {
        let body = (name, "replace", properties, NoUnits::new());
        let answer = self.bus.call(MANAGER, "StartTransientUnit", &body)?;
        job_of(&answer)
    }

    /// Stops a unit and waits until it is gone. One that is gone is fine.
    ///
    /// # Errors
    /// systemd refuses.
    pub(super) fn stop(&mut self, name: &str) -> Result<()> {
        let asked = format!("unable to stop unit {name:?}");
        self.await_jobs_of(name)?;
        let stopped = self
            .bus
            .call(MANAGER, "StopUnit", &(name, "replace"))
            .and_then(|answer| job_of(&answer));
        match stopped {
            Ok(job) => {
                let result = self.result_of(&job, &asked)?;
                if result != "done" {
                    log::debug!("{asked}: the job ended with {result:?}");
                }
            }
            // A scope ends by itself with its last process.
            Err(error) if error.is("NoSuchUnit") => {}
            Err(error) => return Err(error.into_error(&self.bus, &asked)),
        }
        self.reset_failed(name)
    }

    /// Forgets the failure of a unit, which else stays.
    fn reset_failed(&mut self, name: &str) -> Result<()> {
        match self.bus.call(MANAGER, "ResetFailedUnit", &name) {
            Ok(_) => Ok(()),
            // There is none; or it did not fail.
            Err(CallError::Refused { name: error, words }) => {
                log::debug!("the unit {name} is not reset: {words} ({error})");
                Ok(())
            }
            Err(CallError::Failed(error)) => Err(error),
        }
    }

    /// Changes properties of a unit, until the next boot.
    ///
    /// # Errors
    /// systemd refuses.
    pub(super) fn set_properties(&mut self, name: &str, properties: &[Property]) -> Result<()> {
        let asked = format!("unable to set the properties of unit {name:?}");
        self.bus
            .call(MANAGER, "SetUnitProperties", &(name, true, properties))
            .map(drop)
            .map_err(|error| error.into_error(&self.bus, &asked))
    }

    /// Puts a process into the group of a unit, or into one below.
    ///
    /// # Errors
    /// systemd refuses: the unit is gone, or it is not delegated.
    pub(super) fn attach(&mut self, name: &str, subgroup: &str, pid: u32) -> Result<()> {
        let asked = format!("unable to attach process {pid} to unit {name:?}");
        self.bus
            .call(MANAGER, "AttachProcessesToUnit", &(name, subgroup, &[pid][..]))
            .map(drop)
            .map_err(|error| error.into_error(&self.bus, &asked))
    }

    fn await_jobs_of(&mut self, name: &str) -> Result<()> {
        self.bus.subscribe(&format!(
            "type='signal',sender='{}',path='{}',interface='{}',member='JobRemoved',arg2='{name}'",
            MANAGER.destination, MANAGER.path, MANAGER.interface
        ))
    }

    /// How a job ended.
    fn result_of(&mut self, job: &OwnedObjectPath, asked: &str) -> Result<String> {
        loop {
            let signal = self.bus.next_signal(&format!("{asked}: its job"))?;
            if signal.interface != MANAGER.interface || signal.member != "JobRemoved" {
                continue;
            }
            let (_, removed, _, result): (u32, ObjectPath<'_>, String, String) =
                signal.body().map_err(|error| nonsense(asked, &error))?;
            if removed.as_str() == job.as_str() {
                return Ok(result);
            }
        }
    }
}

fn job_of(answer: &Message) -> std::result::Result<OwnedObjectPath, CallError> {
    answer.body().map_err(|error| nonsense("read the job that systemd began", &error).into())
}

fn nonsense(asked: &str, error: &zbus::Error) -> Error {
    Error::new(format!("{asked}: systemd's answer cannot be read: {error}"))
}

/// `252.39-1~deb12u1`, `v245.4`, `"v245"`: the first number.
fn parse_version(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, version) in [
            ("252.39-1~deb12u1", Some(252)),
            ("v245.4-4ubuntu3", Some(245)),
            ("\"v239\"", Some(239)),
            ("257", Some(257)),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(parse_version(text), version, "{text}");
        }
    }
}
