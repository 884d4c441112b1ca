//! Further processes in a container.

use std::os::fd::AsFd;
use std::sync::Arc;

use containerd_shim_protos::api::ExecProcessRequest;
use containerd_shim_protos::events::task::TaskExecAdded;
use libcontainer::ExecOptions;
use libcontainer::spec::Process as Description;

use super::{Phase, Pod, Process, Task, blocking, lock};
use crate::events::Event;
use crate::fault::{Fault, Result};
use crate::io::{ChildEnds, Context, Io, Streams};

impl Pod {
    /// Takes the description of a process. It is executed by its start.
    pub(crate) fn exec(&self, task: &Task, request: &ExecProcessRequest) -> Result<()> {
        if request.exec_id.is_empty() {
            return Err(Fault::invalid("the id of the process cannot be empty"));
        }
        // Before its restore there is nothing that it could be executed in.
        task.container().map_err(|_| Fault::unknown("cannot exec in a created state"))?;
        match task.process.phase() {
            Phase::Paused | Phase::Pausing => {
                return Err(Fault::unknown("cannot exec in a paused state"));
            }
            Phase::Stopped => return Err(Fault::unknown("cannot exec in a stopped state")),
            Phase::Deleted => return Err(Fault::unknown("cannot exec in a deleted state")),
            Phase::Created | Phase::Starting | Phase::Running => {}
        }
        let mut description = Description::parse(&request.spec.value)
            .map_err(|error| Fault::invalid(format_args!("process: {error}")))?;
        description.terminal = request.terminal;
        let streams = Streams {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let process = Process::new(&request.exec_id, streams).of(description);
        let mut execs = lock(&task.execs);
        if execs.contains_key(&request.exec_id) {
            return Err(Fault::already_exists(format_args!("id {}", request.exec_id)));
        }
        execs.insert(request.exec_id.clone(), Arc::new(process));
        drop(execs);
        self.publish(&Event::TaskExecAdded(TaskExecAdded {
            container_id: task.id.clone(),
            exec_id: request.exec_id.clone(),
            ..TaskExecAdded::default()
        }));
        Ok(())
    }
}

/// Executes a process and connects its streams. Its pid.
pub(super) async fn execute(pod: &Pod, task: &Task, process: &Process) -> Result<u32> {
    let description = process
        .take_description()
        .ok_or_else(|| Fault::unknown("cannot start a stopped process"))?;
    let context = Context {
        namespace: pod.namespace.clone(),
        id: task.id.clone(),
        exec_id: process.id.clone(),
    };
    let (mut io, ends) =
        Io::open(&process.streams, task.owner, &context).await.map_err(|error| {
            Fault::unknown(format_args!("failed to create init process I/O: {error}"))
        })?;
    let container = task.container()?;
    let executed = blocking(move || {
        let mut options = ExecOptions::new(description);
        match &ends {
            ChildEnds::Pipes([stdin, stdout, stderr]) => {
                options.stdio(stdin.as_fd(), stdout.as_fd(), stderr.as_fd());
            }
            ChildEnds::Console(socket) => {
                options.console(socket.as_fd());
            }
        }
        container.exec(&options)
    });
    let execution = executed
        .await?
        .map_err(|error| Fault::unknown(format_args!("OCI runtime exec failed: {error}")))?;
    if let Err(error) = io.start() {
        log::warn!("{}: streams of {} are not connected: {error}", task.id, process.id);
    }
    for warning in execution.warnings() {
        log::warn!("{}: {warning}", task.id);
    }
    let pid = execution.pid();
    process.attach(pid, io, Some(Arc::new(execution)));
    Ok(pid)
}
