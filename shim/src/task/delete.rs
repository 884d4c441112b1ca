//! The end of a task.

use std::sync::Arc;
use std::time::Duration;

use containerd_shim_protos::events::task::TaskDelete;
use libcontainer::{Container, ErrorKind};
use tokio::time::timeout;

use super::process::Exit;
use super::{Phase, Pod, Process, Task, blocking, lock, timestamp};
use crate::events::Event;
use crate::fault::{Fault, Result};
use crate::rootfs;

/// How long the last output may take on its way, and a killed process to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is told of a process that is gone.
pub(crate) struct Deleted {
    pub(crate) pid: u32,
    pub(crate) exit: Option<Exit>,
}

impl Pod {
    /// Removes a process that has ended; with the container's own the container.
    pub(crate) async fn delete(&self, task: Arc<Task>, exec_id: &str) -> Result<Deleted> {
        let process = task.process(exec_id)?;
        // Of two that delete it at once the second one finds nothing.
        let _deletion = process.deletion.lock().await;
        match process.phase() {
            Phase::Created | Phase::Stopped => {}
            Phase::Starting | Phase::Running => {
                return Err(Fault::unknown("cannot delete a running process"));
            }
            Phase::Pausing | Phase::Paused => {
                return Err(Fault::unknown("cannot delete a paused process"));
            }
            Phase::Deleted => return Err(Fault::not_found("cannot delete a deleted process")),
        }
        if exec_id.is_empty() {
            end_created(&task).await?;
        }
        drain(&task, &process).await;
        if exec_id.is_empty() {
            remove_container(&task).await?;
            self.remove(&task.id);
        } else {
            lock(&task.execs).remove(exec_id);
        }
        process.forget();
        let deleted = Deleted { pid: process.pid(), exit: process.exit() };
        if exec_id.is_empty() {
            self.publish(&Event::TaskDelete(deleted.event(&task.id)));
        }
        Ok(deleted)
    }
}

impl Pod {
    /// Removes a task whose creation was given up by who asked for it.
    pub(crate) async fn abandon(&self, task: Arc<Task>) {
        let id = task.id.clone();
        log::warn!("{id}: nobody waits for its creation any more: it is removed");
        if let Err(fault) = self.delete(task, "").await {
            log::error!("{id}: {fault}");
        }
    }
}

impl Deleted {
    fn event(&self, id: &str) -> TaskDelete {
        TaskDelete {
            container_id: id.to_owned(),
            pid: self.pid,
            exit_status: self.exit.map_or(0, |exit| exit.status),
            exited_at: self.exit.map(|exit| timestamp(exit.at)).into(),
            ..TaskDelete::default()
        }
    }
}

/// A container that was never started has a process that waits.
async fn end_created(task: &Task) -> Result<()> {
    if task.process.exit().is_some() || task.container().is_err() {
        return Ok(());
    }
    let killed = task.with_container(|container| container.kill(libc::SIGKILL)).await?;
    if let Err(error) = killed
        && error.kind() != ErrorKind::NotRunning
    {
        return Err(Fault::unknown(format_args!("failed to delete task: {error}")));
    }
    match timeout(PATIENCE, task.process.ended()).await {
        Ok(ended) => ended.map(drop),
        Err(_) => Err(Fault::unknown("failed to delete task: its process does not end")),
    }
}

async fn drain(task: &Task, process: &Process) {
    let Some(io) = process.io() else { return };
    if timeout(PATIENCE, io.drained()).await.is_err() {
        log::warn!("{}: not all output of {} was passed on", task.id, process.id);
    }
}

async fn delete_container(task: &Task) -> Result<()> {
    match task.with_container(Container::delete).await? {
        Ok(warnings) => warnings.iter().for_each(|warning| log::warn!("{}: {warning}", task.id)),
        // Somebody else was faster, as `husk delete`.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Fault::unknown(format_args!("failed to delete task: {error}"))),
    }
    Ok(())
}

async fn remove_container(task: &Task) -> Result<()> {
    if task.container().is_ok() {
        delete_container(task).await?;
    }
    let Some(rootfs) = task.rootfs.clone() else { return Ok(()) };
    blocking(move || rootfs::unmount(&rootfs))
        .await?
        .map_err(|error| Fault::unknown(format_args!("failed rootfs umount: {error:#}")))
}
