//! From created to running.

use std::sync::Arc;
use std::time::SystemTime;

use containerd_shim_protos::events::task::{TaskExecStarted, TaskStart};
use libcontainer::Container;

use super::process::Exit;
use super::{Phase, Pod, Process, Task, exec, exit, lock};
use crate::events::Event;
use crate::fault::{Fault, Result};

/// Status of what could not be executed.
const NOT_EXECUTED: u32 = 255;

impl Pod {
    /// Starts a process and tells its pid.
    pub(crate) async fn start(self: &Arc<Self>, task: Arc<Task>, exec_id: &str) -> Result<u32> {
        let process = task.process(exec_id)?;
        if !exec_id.is_empty() {
            return self.start_exec(&task, &process).await;
        }
        process.begin(Phase::Created, Phase::Starting).map_err(not_startable)?;
        // The end is told when the start was.
        let _starting = process.starting.lock().await;
        let order = lock(&task.restore).take();
        let started = match order {
            Some(order) => self.restore(&task, order).await,
            None => start_created(&task).await,
        };
        match started {
            Ok(()) => {
                process.settle(Phase::Starting, Phase::Running);
                let pid = process.pid();
                self.publish(&Event::TaskStart(TaskStart {
                    container_id: task.id.clone(),
                    pid,
                    ..TaskStart::default()
                }));
                Ok(pid)
            }
            Err(fault) => {
                process.settle(Phase::Starting, Phase::Created);
                Err(fault)
            }
        }
    }

    async fn start_exec(self: &Arc<Self>, task: &Arc<Task>, process: &Arc<Process>) -> Result<u32> {
        if task.process.exit().is_some() {
            return Err(Fault::precondition(format_args!(
                "container {} init process is not running",
                task.id
            )));
        }
        process.begin(Phase::Created, Phase::Starting).map_err(not_startable)?;
        task.running.send_modify(|count| *count += 1);
        let _starting = process.starting.lock().await;
        let executed = match exec::execute(self, task, process).await {
            Ok(pid) => exit::watch_exec(self.clone(), task.clone(), process.clone()).map(|()| pid),
            Err(fault) => Err(fault),
        };
        match executed {
            Ok(pid) => {
                process.settle(Phase::Starting, Phase::Running);
                self.publish(&Event::TaskExecStarted(TaskExecStarted {
                    container_id: task.id.clone(),
                    exec_id: process.id.clone(),
                    pid,
                    ..TaskExecStarted::default()
                }));
                Ok(pid)
            }
            Err(fault) => {
                process.finish(Exit { status: NOT_EXECUTED, at: SystemTime::now() });
                task.running.send_modify(|count| *count -= 1);
                Err(fault)
            }
        }
    }
}

async fn start_created(task: &Task) -> Result<()> {
    let failed = |error| Fault::unknown(format_args!("OCI runtime start failed: {error}"));
    task.with_container(Container::start).await?.map_err(failed)
}

fn not_startable(phase: Phase) -> Fault {
    Fault::unknown(match phase {
        Phase::Paused | Phase::Pausing => "cannot start a paused process",
        Phase::Stopped => "cannot start a stopped process",
        Phase::Deleted => "cannot start a deleted process",
        Phase::Created | Phase::Starting | Phase::Running => "cannot start a running process",
    })
}
