//! The public interface: a container and what can be done with it.

mod options;
mod status;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub use options::{CgroupDriver, CreateOptions, ExecOptions};
pub use status::{ExitStatus, State, Status};

use crate::error::{Error, ErrorKind, Result};
use crate::spec::{Process, Spec};

/// A container that is recorded in a state directory.
///
/// All operations may be called from programs with threads, and change nothing process-wide in
/// them. Operations on one container exclude each other between processes, too; reading does not.
#[derive(Debug)]
pub struct Container {
    root: PathBuf,
    id: String,
    warnings: Vec<String>,
}

/// A further process in a container.
#[derive(Debug)]
pub struct ExecProcess {
    pid: u32,
    pidfd: OwnedFd,
    warnings: Vec<String>,
}

fn missing<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "not wired yet"))
}

impl Container {
    /// Creates a container: everything but the execution of its program is done. Nothing stays
    /// of a failed creation.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with a JSON pointer for what config.json asks wrongly,
    /// [`ErrorKind::AlreadyExists`] for a taken id, [`ErrorKind::Unprotected`] before anything
    /// is done, and the kinds of the steps that can fail.
    pub fn create(_options: &CreateOptions<'_>) -> Result<Self> {
        missing()
    }

    /// Creates a container and starts it. A container whose start fails is deleted.
    ///
    /// # Errors
    /// As [`Container::create`] and [`Container::start`].
    pub fn run(_options: &CreateOptions<'_>) -> Result<Self> {
        missing()
    }

    /// What [`Container::create`] would do, step by step, as text. Nothing is done.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] as for `create`.
    pub fn describe_plan(_options: &CreateOptions<'_>) -> Result<String> {
        missing()
    }

    /// The container `id` that is recorded below `root`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::InvalidId`], and [`ErrorKind::State`] for a record
    /// that cannot be read.
    pub fn open(_root: &Path, _id: &str) -> Result<Self> {
        missing()
    }

    /// Every container below `root` by name, broken ones with the reason. None when there is no
    /// such directory.
    ///
    /// # Errors
    /// [`ErrorKind::State`] when the directory cannot be read.
    pub fn list(_root: &Path) -> Result<Vec<(String, Result<Self>)>> {
        missing()
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What was wrong and not refused, in the operation that made this value.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The state, as the verb `state` prints it.
    ///
    /// # Errors
    /// [`ErrorKind::State`].
    pub fn state(&self) -> Result<State> {
        missing()
    }

    /// The status alone.
    ///
    /// # Errors
    /// [`ErrorKind::State`].
    pub fn status(&self) -> Result<Status> {
        Ok(self.state()?.status)
    }

    /// The configuration that the container was created with.
    ///
    /// # Errors
    /// [`ErrorKind::State`].
    pub fn spec(&self) -> Result<Spec> {
        missing()
    }

    /// The process of the configuration: what a further process starts from.
    ///
    /// # Errors
    /// [`ErrorKind::State`].
    pub fn process(&self) -> Result<Process> {
        missing()
    }

    /// Executes the program of a created container and runs the poststart hooks.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] unless it is created; [`ErrorKind::Process`] and
    /// [`ErrorKind::Hook`] for a program that cannot be executed or a hook that fails: the
    /// container is stopped then.
    pub fn start(&self) -> Result<()> {
        missing()
    }

    /// Sends a signal to the container's process; to every process of the container when it
    /// shares its pid namespace and the signal is SIGKILL. Signal 0 only asks.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] for a stopped container.
    pub fn kill(&self, _signal: i32) -> Result<()> {
        missing()
    }

    /// Sends a signal to every process of the container; a stopped container is no error.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn kill_all(&self, _signal: i32) -> Result<()> {
        missing()
    }

    /// Removes what is left of a stopped container, or a created one, and runs the poststop
    /// hooks. What goes wrong in those is returned as warnings.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] unless it is stopped or created.
    pub fn delete(&self) -> Result<Vec<String>> {
        missing()
    }

    /// Kills and removes a container whatever its status, one whose creation was interrupted
    /// among them. A missing container is no error. Returns warnings.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when something cannot be removed; the next call goes on from there.
    pub fn force_delete(_root: &Path, _id: &str) -> Result<Vec<String>> {
        missing()
    }

    /// Executes a further process in the container. It runs when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] for a stopped or paused container, else as
    /// [`Container::create`].
    pub fn exec(&self, _options: &ExecOptions<'_>) -> Result<ExecProcess> {
        missing()
    }

    /// Freezes all processes of the container.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] unless it is running or created.
    pub fn pause(&self) -> Result<()> {
        missing()
    }

    /// Thaws a paused container.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] unless it is paused.
    pub fn resume(&self) -> Result<()> {
        missing()
    }

    /// Pids of all processes of the container in the caller's pid namespace.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn processes(&self) -> Result<Vec<u32>> {
        missing()
    }

    /// Pid of the container's process in the caller's pid namespace, as it was recorded; the
    /// process may have ended.
    pub fn pid(&self) -> Option<u32> {
        None
    }

    /// A pidfd of the container's process.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] when it has ended.
    pub fn init_pidfd(&self) -> Result<OwnedFd> {
        missing()
    }

    /// Waits until the container's process has ended.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn wait(&self) -> Result<ExitStatus> {
        missing()
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
    pub fn kill(&self, _signal: i32) -> Result<()> {
        missing()
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn wait(&self) -> Result<ExitStatus> {
        missing()
    }
}

impl AsFd for ExecProcess {
    /// The pidfd of the process.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
