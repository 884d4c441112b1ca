//! The public interface: a container and what can be done with it.

mod delete;
mod events;
mod options;
mod signal;
mod start;
mod status;
mod update;
mod wait;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use events::{Event, Events, MemoryWatch};
pub use options::{CgroupDriver, CreateOptions, ExecOptions};
pub use status::{ExitStatus, State, Status};
pub(crate) use wait::check_exit_status_is_kept;
pub use wait::keep_exit_statuses;

use crate::cgroup;
use crate::checkpoint::{self, CheckpointOptions, RestoreOptions};
use crate::create;
use crate::error::{Error, ErrorKind, Result};
use crate::exec;
use crate::plan::Change;
use crate::spec::{Mount, Process, Spec};
use crate::state::{self, LiveProcess, Record, StateDirectory};

/// A container that is recorded in a state directory.
///
/// All operations may be called from programs with threads, and change nothing process-wide in
/// them. Operations that change one container exclude each other, between processes, too; reading
/// does not wait.
#[derive(Debug)]
pub struct Container {
    root: PathBuf,
    directory: StateDirectory,
    record: Record,
    init: Option<OwnedFd>,
    warnings: Vec<String>,
    trace: Vec<(&'static str, Duration)>,
}

/// A further process in a container.
#[derive(Debug)]
pub struct ExecProcess {
    pid: u32,
    pidfd: OwnedFd,
    warnings: Vec<String>,
}

impl Container {
    /// Creates a container: everything but the execution of its program is done. Nothing stays
    /// of a failed creation.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with a JSON pointer for what config.json asks wrongly,
    /// [`ErrorKind::AlreadyExists`] for a taken id, [`ErrorKind::Unprotected`] before anything
    /// is done, and the kinds of the steps that can fail.
    pub fn create(options: &CreateOptions<'_>) -> Result<Self> {
        let created = create::create(options)?;
        let mut last = created.trace.first().map_or(0, |(_, at)| *at);
        let trace = created.trace.into_iter().map(|(name, at)| {
            let took = Duration::from_nanos(at.saturating_sub(last));
            last = at;
            (name, took)
        });
        Ok(Self {
            root: options.root.clone(),
            directory: created.directory,
            record: created.record,
            init: Some(created.init.pidfd),
            warnings: created.warnings,
            trace: trace.collect(),
        })
    }

    /// Creates a container and starts it. A container whose start fails is deleted.
    ///
    /// # Errors
    /// As [`Container::create`] and [`Container::start`].
    pub fn run(options: &CreateOptions<'_>) -> Result<Self> {
        let container = Self::create(options)?;
        match container.start() {
            Ok(()) => Ok(container),
            Err(error) => {
                if let Err(left) = Self::force_delete(&container.root, container.id()) {
                    log::debug!("{} stays after a failed start: {left}", container.id());
                }
                Err(error.after(container.warnings))
            }
        }
    }

    /// Writes the state of a running or paused container into a directory of images by CRIU, the
    /// program `criu`. Unless it is left running, its processes have ended then, and it is to be
    /// deleted; after a failure it runs on.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] unless it is running or paused, [`ErrorKind::Unsupported`] when
    /// there is no CRIU or one that is too old, [`ErrorKind::Checkpoint`] with the end of CRIU's log
    /// when it fails.
    pub fn checkpoint(&self, options: &CheckpointOptions<'_>) -> Result<()> {
        checkpoint::checkpoint(&self.directory, options)
    }

    /// Makes a running container of images. Its process is a child of the calling program, as after
    /// [`Container::create`]. Of the hooks, `prestart` and `createRuntime` run. Nothing stays of a
    /// failed restore. What lies in the directory of images is not trusted: links in it are refused.
    ///
    /// # Errors
    /// As [`Container::create`]; [`ErrorKind::Unsupported`] when there is no CRIU or one that is too
    /// old, [`ErrorKind::Checkpoint`] with the end of CRIU's log when it fails.
    pub fn restore(options: &RestoreOptions<'_>) -> Result<Self> {
        let restored = checkpoint::restore(options)?;
        Ok(Self {
            root: options.root().to_owned(),
            directory: restored.directory,
            record: restored.record,
            init: Some(restored.init.pidfd),
            warnings: restored.warnings,
            trace: Vec::new(),
        })
    }

    /// What [`Container::create`] would do, step by step, as text. Nothing is done.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] as for `create`.
    pub fn describe_plan(options: &CreateOptions<'_>) -> Result<String> {
        Ok(create::decide_with(options, true)?.plan.describe())
    }

    /// The container `id` that is recorded below `root`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::InvalidId`], and [`ErrorKind::State`] for a record
    /// that cannot be read.
    pub fn open(root: &Path, id: &str) -> Result<Self> {
        let directory = StateDirectory::open(root, id)?;
        let record = directory.load()?;
        Ok(Self::recorded(root, directory, record))
    }

    fn recorded(root: &Path, directory: StateDirectory, record: Record) -> Self {
        let (warnings, trace) = (Vec::new(), Vec::new());
        Self { root: root.to_owned(), directory, record, init: None, warnings, trace }
    }

    /// Every container below `root` by name, broken ones with the reason. None when there is no
    /// such directory. Deletions that were interrupted are finished.
    ///
    /// # Errors
    /// [`ErrorKind::State`] when the directory cannot be read.
    pub fn list(root: &Path) -> Result<Vec<(String, Result<Self>)>> {
        delete::finish_interrupted(root)?;
        Ok(state::names(root)?
            .into_iter()
            .map(|name| {
                let container = Self::open(root, &name);
                (name, container)
            })
            // Deleted between the two calls.
            .filter(|(_, container)| {
                !matches!(container, Err(error) if error.kind() == ErrorKind::NotFound)
            })
            .collect())
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// What was wrong and not refused, in the operation that made this value.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Steps of the container's process in its creation and the time that each took, where
    /// [`CreateOptions::trace`] asked for it.
    pub fn trace(&self) -> &[(&'static str, Duration)] {
        &self.trace
    }

    /// The state, as the verb `state` prints it.
    ///
    /// # Errors
    /// [`ErrorKind::State`] and [`ErrorKind::System`].
    pub fn state(&self) -> Result<State> {
        let record = self.directory.load()?;
        let (status, init) = state::probe_status(&self.directory, &record)?;
        Ok(State {
            oci_version: record.oci_version,
            id: record.id,
            pid: init.map_or(0, |init| init.pid),
            status,
            bundle: record.bundle,
            rootfs: record.rootfs,
            created: record.created,
            annotations: record.annotations,
            owner: String::new(),
        })
    }

    /// The status alone.
    ///
    /// # Errors
    /// As [`Container::state`].
    pub fn status(&self) -> Result<Status> {
        Ok(self.probe()?.0)
    }

    fn probe(&self) -> Result<(Status, Option<LiveProcess>)> {
        state::probe_status(&self.directory, &self.directory.load()?)
    }

    /// User id of the one who created it.
    pub fn owner_uid(&self) -> u32 {
        self.record.uid
    }

    /// The configuration that the container was created with.
    ///
    /// # Errors
    /// [`ErrorKind::State`].
    pub fn spec(&self) -> Result<Spec> {
        self.directory.load_spec()
    }

    /// The process of the configuration: what a further process starts from.
    ///
    /// # Errors
    /// [`ErrorKind::State`].
    pub fn process(&self) -> Result<Process> {
        let process = self.spec()?.process;
        process.ok_or_else(|| Error::new(ErrorKind::State, "the configuration has no process"))
    }

    /// Whether no process of the container can write to the file of the calling program: it is
    /// protected, or the user namespace that the container runs in lacks the ids for it. A program
    /// that only executes further processes in such containers needs no [`crate::protect_self`].
    ///
    /// # Errors
    /// [`ErrorKind::State`] and [`ErrorKind::System`].
    pub fn is_program_out_of_reach(&self) -> Result<bool> {
        exec::is_out_of_reach(&self.directory)
    }

    /// Executes a further process in the container. It runs when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] for a stopped or paused container, else as
    /// [`Container::create`].
    pub fn exec(&self, options: &ExecOptions<'_>) -> Result<ExecProcess> {
        let started = exec::exec(&self.directory, options)?;
        Ok(ExecProcess {
            pid: started.child.pid,
            pidfd: started.child.pidfd,
            warnings: started.warnings,
        })
    }

    /// Mounts into the running container. Sources of bind mounts are those of the caller, relative
    /// ones below the bundle; destinations are resolved inside the container's root. What was
    /// wrong and not refused is returned. Those before one that fails stay.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] unless there is a process, [`ErrorKind::InvalidConfig`] with the
    /// JSON pointer in the list, and the kinds of the steps that can fail.
    pub fn add_mounts(&self, mounts: &[Mount]) -> Result<Vec<String>> {
        exec::change_mounts(&self.directory, Change::Add, mounts)
    }

    /// Takes mounts of the running container away, in the given order, with what is mounted below
    /// them. Only their destinations count.
    ///
    /// # Errors
    /// As [`Container::add_mounts`].
    pub fn remove_mounts(&self, mounts: &[Mount]) -> Result<Vec<String>> {
        exec::change_mounts(&self.directory, Change::Remove, mounts)
    }

    /// Binds the socket of [`CreateOptions::notify_socket`]; `None` where that was not asked for.
    /// To be called before [`Container::start`]. Datagrams are as in sd_notify(3), and come from
    /// inside the container: they are to be checked.
    ///
    /// # Errors
    /// [`ErrorKind::State`].
    pub fn bind_notify_socket(&self) -> Result<Option<UnixDatagram>> {
        create::notify::bind(&self.directory)
    }

    /// Freezes all processes of the container.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] unless it is running or created.
    pub fn pause(&self) -> Result<()> {
        match self.probe()?.0 {
            Status::Running | Status::Created => Ok(cgroup::freeze(self.location()?)?),
            _ => Err(Error::new(ErrorKind::NotRunning, "container not running")),
        }
    }

    /// Thaws a paused container.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] unless it is paused.
    pub fn resume(&self) -> Result<()> {
        match self.probe()?.0 {
            Status::Paused => Ok(cgroup::thaw(self.location()?)?),
            _ => Err(Error::new(ErrorKind::WrongStatus, "container not paused")),
        }
    }

    fn location(&self) -> Result<&cgroup::Location> {
        self.record.cgroup.as_ref().ok_or_else(|| {
            let message = format!("container {} has no cgroup of its own", self.id());
            Error::new(ErrorKind::Unsupported, message)
        })
    }

    /// Pids of all processes of the container in the caller's pid namespace.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn processes(&self) -> Result<Vec<u32>> {
        let pids = cgroup::pids(self.location()?, true)?;
        Ok(pids.into_iter().map(i32::cast_unsigned).collect())
    }

    /// Pid of the container's process in the caller's pid namespace, as it was recorded; the
    /// process may have ended.
    pub fn pid(&self) -> Option<u32> {
        self.record.init.map(|init| init.pid)
    }

    /// A pidfd of the container's process; its directory in procfs where pidfd_open(2) is refused.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] when it has ended.
    pub fn init_pidfd(&self) -> Result<OwnedFd> {
        if let Some(init) = &self.init {
            return init
                .try_clone()
                .map_err(|error| Error::io(ErrorKind::System, "duplicate", "the pidfd", &error));
        }
        match self.probe()?.1 {
            Some(init) => Ok(init.pidfd),
            None => Err(Error::new(ErrorKind::NotRunning, "container not running")),
        }
    }

    /// Waits until the container's process has ended. The status is known to the program that
    /// created the container; to others where the kernel keeps it, since Linux 6.15.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] when it had ended before and the container was created by
    /// another program.
    pub fn wait(&self) -> Result<ExitStatus> {
        match &self.init {
            Some(init) => wait::wait(init.as_fd()),
            None => wait::wait(self.init_pidfd()?.as_fd()),
        }
    }
}

impl ExecProcess {
    /// Pid in the caller's pid namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What was wrong and not refused.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] when it has ended.
    pub fn kill(&self, signal: i32) -> Result<()> {
        signal::send(self.pidfd.as_fd(), signal)
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn wait(&self) -> Result<ExitStatus> {
        wait::wait(self.pidfd.as_fd())
    }
}

impl AsFd for ExecProcess {
    /// The pidfd of the process.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
