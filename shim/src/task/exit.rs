//! The end of processes. Each is watched by its pidfd: no signal tells of it, and no pid that
//! may be another process's by then.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use containerd_shim_protos::events::task::TaskExit;
use libcontainer::{Container, ExitStatus};
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::process::Exit;
use super::{Pod, Process, Task, lock, timestamp};
use crate::events::Event;
use crate::fault::{Fault, Result};
use crate::readiness;

/// How long the end of a container waits for that of its other processes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Watches the container's own process.
pub(super) fn watch_init(pod: Arc<Pod>, task: Arc<Task>, container: &Container) -> Result<()> {
    let pidfd = container.init_pidfd().map_err(Fault::unknown)?;
    let pidfd = readiness::watch(pidfd).map_err(Fault::unknown)?;
    tokio::spawn(async move {
        let at = readable(&pidfd).await;
        drop(pidfd);
        let status = task.container.get().map_or(Ok(ExitStatus::Unknown), |known| known.wait());
        let exit = Exit { status: code(&task, status), at };
        end_others(&task).await;
        if let Some(watch) = lock(&task.oom).take() {
            watch.settle();
        }
        tell(&pod, &task, &task.process, exit).await;
    });
    Ok(())
}

/// Watches a further process.
pub(super) fn watch_exec(pod: Arc<Pod>, task: Arc<Task>, process: Arc<Process>) -> Result<()> {
    let Some(execution) = process.execution() else {
        return Err(Fault::unknown("the process is not there"));
    };
    let pidfd = execution.as_fd().try_clone_to_owned().and_then(readiness::watch);
    let pidfd = pidfd.map_err(Fault::unknown)?;
    tokio::spawn(async move {
        let at = readable(&pidfd).await;
        let exit = Exit { status: code(&task, execution.wait()), at };
        drop((pidfd, execution));
        tell(&pod, &task, &process, exit).await;
        task.running.send_modify(|count| *count -= 1);
    });
    Ok(())
}

async fn readable(pidfd: &AsyncFd<OwnedFd>) -> SystemTime {
    if let Err(error) = pidfd.readable().await {
        log::error!("a process cannot be watched any more: {error}");
    }
    SystemTime::now()
}

fn code(task: &Task, status: libcontainer::Result<ExitStatus>) -> u32 {
    let status = status.unwrap_or_else(|error| {
        log::error!("{}: {error}", task.id);
        ExitStatus::Unknown
    });
    u32::try_from(status.code()).unwrap_or(255)
}

/// The end of the container's own process is the last one that is told: of its further ones too,
/// which may live on if they share their pid namespace.
async fn end_others(task: &Task) {
    if task.shares_pids {
        let killed = task.with_container(|container| container.kill_all(libc::SIGKILL));
        match timeout(PATIENCE, killed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => log::error!("failed to kill init's children: {error}"),
            Ok(Err(fault)) => log::error!("failed to kill init's children: {fault}"),
            Err(_) => log::error!("{}: its processes do not end", task.id),
        }
    }
    let mut running = task.running.subscribe();
    if timeout(PATIENCE, running.wait_for(|count| *count == 0)).await.is_err() {
        log::error!("{}: further processes do not end", task.id);
    }
}

/// Publishes the end, when the start was and signals are answered, and then answers who waits.
async fn tell(pod: &Pod, task: &Task, process: &Process, exit: Exit) {
    let _started = process.starting.lock().await;
    task.signalled().await;
    pod.publish(&Event::TaskExit(TaskExit {
        container_id: task.id.clone(),
        id: process.id.clone(),
        pid: process.pid(),
        exit_status: exit.status,
        exited_at: Some(timestamp(exit.at)).into(),
        ..TaskExit::default()
    }));
    process.finish(exit);
}
