//! containerd's Task service: requests become acts on tasks, and their results answers.
//!
//! A request is dropped with its connection or at its deadline; what it began goes on, so that
//! no task is left half changed.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim_protos::api;
use containerd_shim_protos::events::task::{TaskPaused, TaskResumed};
use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
use containerd_shim_protos::shim_async::Task as TaskService;
use containerd_shim_protos::ttrpc;
use containerd_shim_protos::ttrpc::asynchronous::TtrpcContext;
use containerd_shim_protos::types::task::{ProcessInfo, Status};
use libcontainer::{Container, ErrorKind};
use tokio::sync::oneshot;

use crate::events::Event;
use crate::fault::{Fault, Result};
use crate::metrics;
use crate::options;
use crate::resources;
use crate::task::{Phase, Pod, timestamp};

/// The service, for all connections.
pub(crate) struct Service {
    pod: Arc<Pod>,
}

impl Service {
    pub(crate) fn new(pod: Arc<Pod>) -> Self {
        Self { pod }
    }
}

/// Does something to its end, whoever still waits for it.
async fn complete<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> ttrpc::Result<T> {
    match tokio::spawn(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Fault::unknown(error).into()),
    }
}

#[async_trait]
impl TaskService for Service {
    async fn create(
        &self,
        _: &TtrpcContext,
        request: api::CreateTaskRequest,
    ) -> ttrpc::Result<api::CreateTaskResponse> {
        let pod = self.pod.clone();
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            // Nobody would ever delete what nobody was told of.
            if let Err(Ok(task)) = answer.send(pod.create(request).await) {
                pod.abandon(task).await;
            }
        });
        let task = answered.await.map_err(Fault::unknown)??;
        let pid = task.process.pid();
        Ok(api::CreateTaskResponse { pid, ..Default::default() })
    }

    async fn start(
        &self,
        _: &TtrpcContext,
        request: api::StartRequest,
    ) -> ttrpc::Result<api::StartResponse> {
        let pod = self.pod.clone();
        let pid =
            complete(async move { pod.start(pod.task(&request.id)?, &request.exec_id).await })
                .await?;
        Ok(api::StartResponse { pid, ..Default::default() })
    }

    async fn delete(
        &self,
        _: &TtrpcContext,
        request: api::DeleteRequest,
    ) -> ttrpc::Result<api::DeleteResponse> {
        let pod = self.pod.clone();
        let deleted =
            complete(async move { pod.delete(pod.task(&request.id)?, &request.exec_id).await })
                .await?;
        Ok(api::DeleteResponse {
            pid: deleted.pid,
            exit_status: deleted.exit.map_or(0, |exit| exit.status),
            exited_at: deleted.exit.map(|exit| timestamp(exit.at)).into(),
            ..Default::default()
        })
    }

    async fn exec(
        &self,
        _: &TtrpcContext,
        request: api::ExecProcessRequest,
    ) -> ttrpc::Result<Empty> {
        let task = self.pod.task(&request.id)?;
        self.pod.exec(&task, &request)?;
        Ok(Empty::new())
    }

    async fn resize_pty(
        &self,
        _: &TtrpcContext,
        request: api::ResizePtyRequest,
    ) -> ttrpc::Result<Empty> {
        let process = self.pod.task(&request.id)?.process(&request.exec_id)?;
        if process.exit().is_some() && !request.exec_id.is_empty() {
            return Err(Fault::unknown("cannot resize a stopped container").into());
        }
        let side = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
        if let Some(io) = process.io() {
            io.resize(side(request.width), side(request.height)).map_err(Fault::unknown)?;
        }
        Ok(Empty::new())
    }

    async fn state(
        &self,
        _: &TtrpcContext,
        request: api::StateRequest,
    ) -> ttrpc::Result<api::StateResponse> {
        let task = self.pod.task(&request.id)?;
        let process = task.process(&request.exec_id)?;
        let exit = process.exit();
        // What freezes the container freezes its other processes as well.
        let phase = match task.process.phase() {
            phase @ (Phase::Pausing | Phase::Paused) => phase,
            _ => process.phase(),
        };
        let status = match phase {
            Phase::Created | Phase::Starting => Status::CREATED,
            Phase::Running => Status::RUNNING,
            Phase::Pausing => Status::PAUSING,
            Phase::Paused => Status::PAUSED,
            Phase::Stopped | Phase::Deleted => Status::STOPPED,
        };
        let streams = &process.streams;
        Ok(api::StateResponse {
            id: process.id.clone(),
            bundle: task.bundle.to_string_lossy().into_owned(),
            pid: process.pid(),
            status: status.into(),
            stdin: streams.stdin.clone(),
            stdout: streams.stdout.clone(),
            stderr: streams.stderr.clone(),
            terminal: streams.terminal,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| timestamp(exit.at)).into(),
            exec_id: request.exec_id,
            ..Default::default()
        })
    }

    async fn pause(&self, _: &TtrpcContext, request: api::PauseRequest) -> ttrpc::Result<Empty> {
        let pod = self.pod.clone();
        complete(async move {
            pod.task(&request.id)?.pause().await?;
            let event = TaskPaused { container_id: request.id, ..Default::default() };
            pod.publish(&Event::TaskPaused(event));
            Ok(Empty::new())
        })
        .await
    }

    async fn resume(&self, _: &TtrpcContext, request: api::ResumeRequest) -> ttrpc::Result<Empty> {
        let pod = self.pod.clone();
        complete(async move {
            pod.task(&request.id)?.resume().await?;
            let event = TaskResumed { container_id: request.id, ..Default::default() };
            pod.publish(&Event::TaskResumed(event));
            Ok(Empty::new())
        })
        .await
    }

    async fn kill(&self, _: &TtrpcContext, request: api::KillRequest) -> ttrpc::Result<Empty> {
        let task = self.pod.task(&request.id)?;
        let _answered = task.signalling();
        complete(async move { task.kill(&request.exec_id, request.signal, request.all).await })
            .await?;
        Ok(Empty::new())
    }

    async fn pids(
        &self,
        _: &TtrpcContext,
        request: api::PidsRequest,
    ) -> ttrpc::Result<api::PidsResponse> {
        let task = self.pod.task(&request.id)?;
        let pids = task
            .with_container(Container::processes)
            .await?
            .map_err(|error| Fault::unknown(format_args!("OCI runtime ps failed: {error}")))?;
        let execs = task.execs();
        let describe = |pid: u32| {
            let exec = execs.iter().find(|exec| exec.pid() == pid);
            let info = exec.map(|exec| options::process_details(&exec.id));
            ProcessInfo { pid, info: info.into(), ..Default::default() }
        };
        let processes = pids.into_iter().map(describe).collect();
        Ok(api::PidsResponse { processes, ..Default::default() })
    }

    async fn close_io(
        &self,
        _: &TtrpcContext,
        request: api::CloseIORequest,
    ) -> ttrpc::Result<Empty> {
        let process = self.pod.task(&request.id)?.process(&request.exec_id)?;
        process.close_stdin();
        Ok(Empty::new())
    }

    async fn checkpoint(
        &self,
        _: &TtrpcContext,
        request: api::CheckpointTaskRequest,
    ) -> ttrpc::Result<Empty> {
        let (pod, task) = (self.pod.clone(), self.pod.task(&request.id)?);
        let (asked, warnings) =
            options::decode_checkpoint(request.options.as_ref()).map_err(Fault::invalid)?;
        warnings.iter().for_each(|warning| log::warn!("{}: {warning}", task.id));
        complete(async move { pod.checkpoint(&task, request.path, asked).await }).await?;
        Ok(Empty::new())
    }

    async fn update(
        &self,
        _: &TtrpcContext,
        request: api::UpdateTaskRequest,
    ) -> ttrpc::Result<Empty> {
        let task = self.pod.task(&request.id)?;
        let limits = resources::decode(request.resources.as_ref()).map_err(Fault::invalid)?;
        if task.process.exit().is_some() {
            return Err(Fault::unknown("cannot update a stopped container").into());
        }
        complete(async move {
            let updated = task.with_container(move |container| container.update(&limits)).await?;
            let warnings = updated.map_err(|error| {
                Fault::unknown(format_args!("OCI runtime update failed: {error}"))
            })?;
            warnings.iter().for_each(|warning| log::warn!("{}: {warning}", task.id));
            Ok(Empty::new())
        })
        .await
    }

    async fn wait(
        &self,
        _: &TtrpcContext,
        request: api::WaitRequest,
    ) -> ttrpc::Result<api::WaitResponse> {
        let process = self.pod.task(&request.id)?.process(&request.exec_id)?;
        let exit = process.ended().await?;
        Ok(api::WaitResponse {
            exit_status: exit.status,
            exited_at: Some(timestamp(exit.at)).into(),
            ..Default::default()
        })
    }

    async fn stats(
        &self,
        _: &TtrpcContext,
        request: api::StatsRequest,
    ) -> ttrpc::Result<api::StatsResponse> {
        let task = self.pod.task(&request.id)?;
        let stats = task.with_container(metrics::any).await?.map_err(|error| {
            let kind = error.downcast_ref().map(libcontainer::Error::kind);
            match kind {
                Some(ErrorKind::NotRunning) => Fault::not_found("cgroup does not exist"),
                _ => Fault::unknown(format_args!("{error:#}")),
            }
        })?;
        Ok(api::StatsResponse { stats: Some(stats).into(), ..Default::default() })
    }

    async fn connect(
        &self,
        _: &TtrpcContext,
        request: api::ConnectRequest,
    ) -> ttrpc::Result<api::ConnectResponse> {
        let task_pid = self.pod.task(&request.id).map_or(0, |task| task.process.pid());
        Ok(api::ConnectResponse { shim_pid: std::process::id(), task_pid, ..Default::default() })
    }

    async fn shutdown(&self, _: &TtrpcContext, _: api::ShutdownRequest) -> ttrpc::Result<Empty> {
        self.pod.end_if_empty();
        Ok(Empty::new())
    }
}
