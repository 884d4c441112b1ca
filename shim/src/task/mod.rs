//! The tasks of a pod: containers and further processes in them.
//!
//! Requests run beside each other. What can block runs on a thread of its own, and no lock is held
//! meanwhile that a request for another process needs.

mod checkpoint;
mod create;
mod delete;
mod exec;
mod exit;
mod process;
mod start;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use libcontainer::Container;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

pub(crate) use process::{Phase, Process};

use crate::events::{Event, Publisher};
use crate::fault::{Fault, Result};
use crate::io;
use crate::oom;
use crate::options::Options;
use crate::rest;

/// How long the end of a process is kept back for signals that are being sent.
const SIGNALLED: Duration = Duration::from_secs(1);

/// Everything that one shim serves.
pub(crate) struct Pod {
    namespace: String,
    publisher: Publisher,
    tasks: Mutex<HashMap<String, Entry>>,
    end: Notify,
}

enum Entry {
    /// The id is taken, and there is nothing yet.
    Creating,
    Task(Arc<Task>),
}

/// A container.
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    /// There is none before the start of a task that is restored.
    container: OnceLock<Arc<Container>>,
    /// What it is to be restored from, until it is.
    restore: Mutex<Option<create::Order>>,
    options: Options,
    /// The container's own process.
    pub(crate) process: Arc<Process>,
    /// Further processes by id.
    execs: Mutex<HashMap<String, Arc<Process>>>,
    /// How many of those run or are being started.
    running: watch::Sender<usize>,
    /// How many signals are being sent.
    signals: watch::Sender<usize>,
    /// Where the root file system was mounted by the shim.
    rootfs: Option<PathBuf>,
    /// The end of the container's process does not end the others.
    shares_pids: bool,
    /// Who owns the pipes.
    owner: io::Owner,
    oom: Mutex<Option<oom::Watch>>,
}

impl Pod {
    pub(crate) fn new(namespace: &str, publisher: Publisher) -> Self {
        Self {
            namespace: namespace.to_owned(),
            publisher,
            tasks: Mutex::default(),
            end: Notify::new(),
        }
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    pub(crate) fn publish(&self, event: &Event) {
        self.publisher.publish(event);
    }

    /// The task `id`.
    pub(crate) fn task(&self, id: &str) -> Result<Arc<Task>> {
        match lock(&self.tasks).get(id) {
            Some(Entry::Task(task)) => Ok(task.clone()),
            _ => Err(Fault::not_found("container not created")),
        }
    }

    /// Ends the shim, unless it serves tasks.
    pub(crate) fn end_if_empty(&self) {
        let is_empty = !lock(&self.tasks).values().any(|entry| matches!(entry, Entry::Task(_)));
        if is_empty {
            self.end.notify_one();
        }
    }

    /// Returns when the shim is to end.
    pub(crate) async fn ended(&self) {
        self.end.notified().await;
    }

    fn claim(self: &Arc<Self>, id: &str) -> Result<Claim> {
        let mut tasks = lock(&self.tasks);
        if tasks.contains_key(id) {
            return Err(Fault::already_exists(format_args!("container {id} already exists")));
        }
        tasks.insert(id.to_owned(), Entry::Creating);
        Ok(Claim { pod: self.clone(), id: id.to_owned() })
    }

    fn remove(&self, id: &str) {
        lock(&self.tasks).remove(id);
    }
}

/// An id that is taken, and free again when nothing comes of it.
struct Claim {
    pod: Arc<Pod>,
    id: String,
}

impl Claim {
    fn fill(&self, task: Arc<Task>) {
        lock(&self.pod.tasks).insert(self.id.clone(), Entry::Task(task));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut tasks = lock(&self.pod.tasks);
        if matches!(tasks.get(&self.id), Some(Entry::Creating)) {
            tasks.remove(&self.id);
        }
    }
}

impl Task {
    /// A process by the id of its execution; the container's own without one.
    pub(crate) fn process(&self, exec_id: &str) -> Result<Arc<Process>> {
        if exec_id.is_empty() {
            return Ok(self.process.clone());
        }
        lock(&self.execs)
            .get(exec_id)
            .cloned()
            .ok_or_else(|| Fault::not_found(format_args!("process does not exist {exec_id}")))
    }

    /// All further processes.
    pub(crate) fn execs(&self) -> Vec<Arc<Process>> {
        lock(&self.execs).values().cloned().collect()
    }

    /// Has `work` done to the container on a thread where it may block.
    pub(crate) async fn with_container<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Container) -> T + Send + 'static,
    ) -> Result<T> {
        let container = self.container()?;
        blocking(move || work(&container)).await
    }

    fn container(&self) -> Result<Arc<Container>> {
        self.container.get().cloned().ok_or_else(|| Fault::not_found("no such container"))
    }

    /// Freezes all processes.
    pub(crate) async fn pause(&self) -> Result<()> {
        self.process.begin(Phase::Running, Phase::Pausing).map_err(|phase| match phase {
            Phase::Created | Phase::Starting => {
                Fault::unknown("cannot pause task in created state")
            }
            Phase::Pausing | Phase::Paused => Fault::unknown("cannot pause a paused container"),
            Phase::Running | Phase::Stopped => Fault::unknown("cannot pause a stopped container"),
            Phase::Deleted => Fault::unknown("cannot pause a deleted process"),
        })?;
        let paused = self.with_container(Container::pause).await;
        let failed = |error| Fault::unknown(format_args!("OCI runtime pause failed: {error}"));
        match paused.and_then(|paused| paused.map_err(failed)) {
            Ok(()) => {
                self.process.settle(Phase::Pausing, Phase::Paused);
                Ok(())
            }
            Err(fault) => {
                self.process.settle(Phase::Pausing, Phase::Running);
                Err(fault)
            }
        }
    }

    /// Thaws all processes.
    pub(crate) async fn resume(&self) -> Result<()> {
        match self.process.phase() {
            Phase::Paused => {}
            Phase::Created | Phase::Starting => {
                return Err(Fault::unknown("cannot resume task in created state"));
            }
            Phase::Running | Phase::Pausing => {
                return Err(Fault::unknown("cannot resume a running process"));
            }
            Phase::Stopped => return Err(Fault::unknown("cannot resume a stopped container")),
            Phase::Deleted => return Err(Fault::unknown("cannot resume a deleted process")),
        }
        let failed = |error| Fault::unknown(format_args!("OCI runtime resume failed: {error}"));
        self.with_container(Container::resume).await?.map_err(failed)?;
        self.process.settle(Phase::Paused, Phase::Running);
        Ok(())
    }

    /// Keeps the end of processes from being told until it is dropped: containerd deletes a task
    /// when it hears of its end, and then cuts off who still waits for the answer to a signal.
    pub(crate) fn signalling(self: &Arc<Self>) -> Signalling {
        self.signals.send_modify(|count| *count += 1);
        Signalling(self.clone())
    }

    /// Returns when the signals that were asked for are answered.
    async fn signalled(&self) {
        let mut signals = self.signals.subscribe();
        if timeout(SIGNALLED, signals.wait_for(|count| *count == 0)).await.is_err() {
            log::warn!("{}: a signal is not sent yet", self.id);
        }
    }

    /// Sends a signal to a process, or to all of the container.
    pub(crate) async fn kill(&self, exec_id: &str, signal: u32, all: bool) -> Result<()> {
        let signal = i32::try_from(signal).map_err(|_| Fault::invalid("no such signal"))?;
        let process = self.process(exec_id)?;
        if !exec_id.is_empty() {
            return kill_exec(&process, signal);
        }
        // A restore that is still to come, or failed. Told that there is no container, clients would
        // wait for its end.
        if self.container.get().is_none() {
            return Err(Fault::precondition("process not created"));
        }
        let killed = self.with_container(move |container| match all {
            true => container.kill_all(signal),
            false => container.kill(signal),
        });
        killed.await?.map_err(|error| Fault::of_kill(&error))
    }
}

/// A signal that is being sent.
pub(crate) struct Signalling(Arc<Task>);

impl Drop for Signalling {
    fn drop(&mut self) {
        self.0.signals.send_modify(|count| *count -= 1);
    }
}

fn kill_exec(process: &Process, signal: i32) -> Result<()> {
    match process.execution() {
        Some(execution) => execution.kill(signal).map_err(|error| Fault::of_kill(&error)),
        None if process.exit().is_some() => Err(Fault::not_found("process already finished")),
        None => Err(Fault::precondition("process not created")),
    }
}

/// Does work that may block on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(Fault::unknown);
    rest::end();
    done
}

/// A time as messages have it.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos().cast_signed(),
        ..Timestamp::default()
    }
}

/// Nothing here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
