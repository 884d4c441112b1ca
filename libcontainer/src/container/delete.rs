//! The end of a container.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use super::{Container, Status};
use crate::cgroup::systemd::Unit;
use crate::cgroup::{self, Location};
use crate::create::HookState;
use crate::create::hooks::{Occasion, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::state::{self, LiveProcess, Lock, Phase, Record, StateDirectory};
use crate::sys::{Errno, pidfd};

/// How long killed processes may take to end, and another operation to give the container up.
const PATIENCE: Duration = Duration::from_secs(10);

impl Container {
    /// Removes what is left of a stopped container, or a created one, and runs the poststop
    /// hooks. What goes wrong in those is returned as warnings.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] unless it is stopped or created.
    pub fn delete(&self) -> Result<Vec<String>> {
        self.delete_if(|status| matches!(status, Status::Stopped | Status::Created))
    }

    /// As [`delete`](Self::delete), but a created container is refused, too: the letter of the
    /// specification, which containerd's shim and others do not follow.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] unless it is stopped.
    pub fn delete_stopped(&self) -> Result<Vec<String>> {
        self.delete_if(|status| status == Status::Stopped)
    }

    fn delete_if(&self, is_allowed: impl Fn(Status) -> bool) -> Result<Vec<String>> {
        let directory = StateDirectory::open(&self.root, self.id())?;
        let lock = directory.lock(Duration::ZERO)?;
        let record = directory.load()?;
        let (status, init) = state::probe_status(&directory, &record)?;
        if !is_allowed(status) {
            let message =
                format!("cannot delete container {} that is not stopped: {status}", record.id);
            return Err(Error::new(ErrorKind::WrongStatus, message));
        }
        remove(directory, record, init.as_ref(), lock)
    }

    /// Kills and removes a container whatever its status, one whose creation was interrupted
    /// among them. A missing container is no error. Returns warnings.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when something cannot be removed; the next call goes on from there.
    pub fn force_delete(root: &Path, id: &str) -> Result<Vec<String>> {
        let directory = match StateDirectory::open(root, id) {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                finish_interrupted(root)?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let lock = match directory.lock(Duration::ZERO) {
            Err(error) if error.kind() == ErrorKind::Busy => {
                end_early(&directory)?;
                directory.lock(PATIENCE)?
            }
            lock => lock?,
        };
        let record = match directory.load() {
            Ok(record) => record,
            // Its creator was killed before it wrote down what it was going to do, so that it had
            // done nothing; or somebody else has removed it.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                directory.remove()?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let init = find_init(&record)?;
        remove(directory, record, init.as_ref(), lock)
    }
}

fn find_init(record: &Record) -> Result<Option<LiveProcess>> {
    record.init.as_ref().map_or(Ok(None), LiveProcess::find)
}

/// Ends the processes of a container that another operation works on, which may wait for them: the
/// creator for its child, without which it gives up and leaves nothing, a start for a hook in the
/// container, a checkpoint for what it has stopped.
fn end_early(directory: &StateDirectory) -> Result<()> {
    // Without a record nothing was done yet, or nothing is left.
    let Ok(record) = directory.load() else { return Ok(()) };
    let Some(init) = find_init(&record)? else { return Ok(()) };
    if record.phase == Phase::Creating {
        kill(&init)?;
        return wait(&init, false);
    }
    end(&record, Some(&init)).map(drop)
}

/// Kills all processes. Returns the groups that are the container's own.
fn end(record: &Record, init: Option<&LiveProcess>) -> Result<Option<Location>> {
    let was_created = record.phase != Phase::Creating;
    let own = made_groups(record)
        .map(|made| made.own(init.map(|init| init.pid), was_created))
        .transpose()?;
    if let Some(init) = init {
        kill(init)?;
    }
    if let Some(location) = &own {
        // Thaws first; ends what the container's process left behind, or a half-made one of which
        // no record was written yet.
        cgroup::kill_all(location)?;
    }
    Ok(own)
}

/// Ends and removes a container. Every act may have been done before by a deletion that was
/// interrupted.
fn remove(
    mut directory: StateDirectory,
    mut record: Record,
    init: Option<&LiveProcess>,
    lock: Lock,
) -> Result<Vec<String>> {
    let was_created = record.phase != Phase::Creating;
    if was_created {
        record.phase = Phase::Deleting;
        directory.save(&record)?;
    }
    // The status of a process that never ran a program concerns nobody.
    let never_started = directory.gate_is_closed()?;
    let own = end(&record, init)?;
    let location = own.as_ref();
    if let Some(init) = init {
        wait(init, never_started)?;
    }
    let mut warnings = Vec::new();
    if let Some(location) = location {
        warnings.extend(stop_unit(location));
        cgroup::remove(location)?;
    }
    let others = made_groups(&record).filter(|_| location.is_some_and(|own| own.unit.is_none()));
    warnings.extend(others.and_then(|made| made.unit.as_ref()).map(left_alone));
    if let Some(group) = &record.rdt {
        group.remove()?;
    }
    directory.retire()?;
    if was_created {
        warnings.extend(run_poststop(&directory, &record));
    }
    directory.remove()?;
    drop(lock);
    Ok(warnings)
}

/// The groups that this container may have made. A unit is asked for only when there is a process
/// for it: before that, one of that name is somebody else's.
fn made_groups(record: &Record) -> Option<&Location> {
    record.cgroup.as_ref().filter(|location| match &location.unit {
        Some(unit) => !unit.numbers.is_empty() || record.init.is_some(),
        None => true,
    })
}

fn left_alone(unit: &Unit) -> String {
    format!("the unit {} belongs to somebody else now, and is left alone", unit.name)
}

/// Stops the unit. A systemd that is gone, or does not answer, must not keep a container: its
/// groups are empty, and are removed without it. What went wrong is a warning.
fn stop_unit(location: &Location) -> Option<String> {
    let unit = location.unit.as_ref()?;
    cgroup::systemd::stop(unit).err().map(|error| error.to_string())
}

fn kill(init: &LiveProcess) -> Result<()> {
    match pidfd::send_signal(init.pidfd.as_fd(), libc::SIGKILL) {
        Ok(()) | Err(Errno(libc::ESRCH)) => Ok(()),
        Err(errno) => {
            Err(Error::new(ErrorKind::System, format!("kill the container's process: {errno}")))
        }
    }
}

/// Waits for a killed process, and takes its status on demand: it may be our child.
fn wait(init: &LiveProcess, reap: bool) -> Result<()> {
    let pidfd = init.pidfd.as_fd();
    let failed =
        |errno| Error::new(ErrorKind::System, format!("wait for process {}: {errno}", init.pid));
    let [ended] = pidfd::poll([(Some(pidfd), libc::POLLIN)], Some(PATIENCE)).map_err(failed)?;
    if ended == 0 {
        let message = format!("process {} does not end although it was killed", init.pid);
        return Err(Error::new(ErrorKind::System, message));
    }
    if reap {
        pidfd::reap(pidfd).map_err(failed)?;
    }
    Ok(())
}

/// The failures of poststop hooks are warnings, and the remaining hooks run nevertheless. They
/// run at least once: again when their deletion was interrupted.
fn run_poststop(directory: &StateDirectory, record: &Record) -> Vec<String> {
    if !record.has_late_hooks {
        return Vec::new();
    }
    let prepared = directory.load_spec().and_then(|spec| {
        let state = HookState::new(record, Status::Stopped, 0).to_json()?;
        let hooks = spec.hooks.map(|hooks| hooks.poststop).unwrap_or_default();
        Ok((hooks, state, Output::open(record)?))
    });
    let (hooks, state, output) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return vec![format!("poststop hooks do not run: {error}")],
    };
    let occasion = Occasion {
        kind: "poststop",
        state: &state,
        directory: &record.bundle,
        output: &output,
        container: None,
    };
    occasion.try_all(&hooks).into_iter().map(|error| error.to_string()).collect()
}

/// Finishes deletions whose process died after it had freed the id.
pub(super) fn finish_interrupted(root: &Path) -> Result<()> {
    for directory in state::unfinished_deletions(root)? {
        // Somebody else is at it.
        let Ok(_lock) = directory.lock(Duration::ZERO) else { continue };
        if let Ok(record) = directory.load() {
            for warning in run_poststop(&directory, &record) {
                log::debug!("{}: {warning}", record.id);
            }
        }
        directory.remove()?;
    }
    Ok(())
}
