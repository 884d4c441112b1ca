//! A task comes to be.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use containerd_shim_protos::api::{CreateTaskRequest, Mount};
use containerd_shim_protos::events::task::{TaskCreate, TaskIO, TaskOOM};
use libcontainer::spec::{Namespace, Spec};
use libcontainer::{CgroupDriver, Container, CreateOptions};
use tokio::sync::watch;

use super::{Pod, Process, Task, blocking, exit};
use crate::events::Event;
use crate::fault::{Fault, Result};
use crate::io::{ChildEnds, Context, Io, Owner, Streams};
use crate::oom;
use crate::options::{self, Options};
use crate::place;
use crate::rootfs;

/// What is made of a request.
pub(super) struct Order {
    pub(super) id: String,
    pub(super) bundle: PathBuf,
    root: PathBuf,
    pub(super) options: Options,
    mounts: Vec<Mount>,
    /// Directory of the images that it is restored from.
    pub(super) images: Option<PathBuf>,
}

/// A container, and what its configuration says of it.
struct Made {
    container: Container,
    shares_pids: bool,
}

impl Pod {
    /// Creates a container. Its process waits for the start.
    pub(crate) async fn create(self: &Arc<Self>, request: CreateTaskRequest) -> Result<Arc<Task>> {
        let claim = self.claim(&request.id)?;
        let order = self.order(&request)?;
        let streams = Streams {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let (bundle, options) = (order.bundle.clone(), order.options.clone());
        let rootfs = (!order.mounts.is_empty()).then(|| order.rootfs());
        let (container, restore, io, shares_pids) = if order.images.is_some() {
            let (order, shares_pids) = blocking(move || order.prepare_restore()).await??;
            (OnceLock::new(), Some(order), None, shares_pids)
        } else {
            let (made, io) = self.make(order, &streams, rootfs.clone()).await?;
            (OnceLock::from(Arc::new(made.container)), None, Some(io), made.shares_pids)
        };
        let process = Process::new(&request.id, streams);
        if let (Some(container), Some(io)) = (container.get(), io) {
            process.attach(container.pid().unwrap_or_default(), io, None);
        }
        let task = Arc::new(Task {
            id: request.id.clone(),
            bundle,
            container,
            restore: Mutex::new(restore),
            owner: Owner { uid: options.io_uid, gid: options.io_gid },
            options,
            process: Arc::new(process),
            execs: Mutex::default(),
            running: watch::Sender::new(0),
            signals: watch::Sender::new(0),
            rootfs,
            shares_pids,
            oom: Mutex::default(),
        });
        self.publish(&Event::TaskCreate(created(&request, task.process.pid())));
        if let Ok(container) = task.container() {
            self.watch(&task, &container)?;
        }
        claim.fill(task.clone());
        Ok(task)
    }

    /// A container whose process waits for the start, with its streams.
    async fn make(
        &self,
        order: Order,
        streams: &Streams,
        rootfs: Option<PathBuf>,
    ) -> Result<(Made, Io)> {
        let (mut io, ends) = self.open_streams(&order, streams).await?;
        let id = order.id.clone();
        let made = blocking(move || order.carry_out(&ends)).await??;
        if let Err(error) = io.start() {
            undo(made.container, rootfs).await;
            return Err(Fault::unknown(format_args!("failed to start io pipe copy: {error}")));
        }
        for warning in made.container.warnings() {
            log::warn!("{id}: {warning}");
        }
        Ok((made, io))
    }

    pub(super) async fn open_streams(
        &self,
        order: &Order,
        streams: &Streams,
    ) -> Result<(Io, ChildEnds)> {
        let owner = Owner { uid: order.options.io_uid, gid: order.options.io_gid };
        let context = Context {
            namespace: self.namespace.clone(),
            id: order.id.clone(),
            exec_id: String::new(),
        };
        Io::open(streams, owner, &context).await.map_err(|error| {
            Fault::unknown(format_args!("failed to create init process I/O: {error}"))
        })
    }

    /// Watches a container from its first moment on.
    pub(super) fn watch(self: &Arc<Self>, task: &Arc<Task>, container: &Container) -> Result<()> {
        self.watch_memory(task, container);
        exit::watch_init(self.clone(), task.clone(), container)
    }

    fn order(&self, request: &CreateTaskRequest) -> Result<Order> {
        let (options, warnings) =
            options::decode(request.options.as_ref()).map_err(Fault::invalid)?;
        for warning in warnings {
            log::warn!("{}: {warning}", request.id);
        }
        Ok(Order {
            id: request.id.clone(),
            bundle: PathBuf::from(&request.bundle),
            root: place::runtime_root(&options.root, &self.namespace),
            options,
            mounts: request.rootfs.clone(),
            images: (!request.checkpoint.is_empty()).then(|| request.checkpoint.clone().into()),
        })
    }

    /// A container is also served where lack of memory cannot be told.
    fn watch_memory(self: &Arc<Self>, task: &Arc<Task>, container: &Container) {
        let (pod, id) = (self.clone(), task.id.clone());
        let tell = move || {
            let event = TaskOOM { container_id: id.clone(), ..TaskOOM::default() };
            pod.publish(&Event::TaskOom(event));
        };
        match oom::watch(container, tell) {
            Ok(watch) => *super::lock(&task.oom) = Some(watch),
            Err(error) => log::warn!("{}: lack of memory is not watched: {error:#}", task.id),
        }
    }
}

impl Order {
    fn rootfs(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }

    /// Blocks. Nothing stays of what fails.
    fn carry_out(&self, ends: &ChildEnds) -> Result<Made> {
        self.prepare()?;
        self.create(ends).inspect_err(|_| self.give_up())
    }

    /// Blocks. What can be done before the images are read.
    fn prepare_restore(self) -> Result<(Self, bool)> {
        self.prepare()?;
        match self.create_options().load_spec() {
            Ok(spec) => {
                let shares_pids = shares_pids(spec);
                Ok((self, shares_pids))
            }
            Err(error) => {
                self.give_up();
                Err(Fault::unknown(format_args!("OCI runtime restore failed: {error}")))
            }
        }
    }

    fn prepare(&self) -> Result<()> {
        let failed = |error: anyhow::Error| Fault::unknown(format_args!("{error:#}"));
        place::make_runtime_root(&self.root).map_err(failed)?;
        place::remember(&self.bundle, &self.options).map_err(failed)?;
        if self.mounts.is_empty() {
            return Ok(());
        }
        let rootfs = self.rootfs();
        make_rootfs(&rootfs)?;
        rootfs::mount(&self.mounts, &rootfs).map_err(|error| {
            Fault::unknown(format_args!("failed to mount rootfs component: {error:#}"))
        })
    }

    fn give_up(&self) {
        if !self.mounts.is_empty() {
            unmount(&self.rootfs());
        }
    }

    pub(super) fn create_options<'fd>(&self) -> CreateOptions<'fd> {
        let mut options = CreateOptions::new(&self.root, &self.id, &self.bundle);
        options
            .no_pivot(self.options.no_pivot_root)
            .no_new_keyring(self.options.no_new_keyring)
            .cgroup_driver(match self.options.systemd_cgroup {
                true => CgroupDriver::Systemd,
                false => CgroupDriver::Files,
            })
            .pid_file(self.bundle.join(place::PID_FILE));
        options
    }

    fn create(&self, ends: &ChildEnds) -> Result<Made> {
        let mut options = self.create_options();
        lend(&mut options, ends);
        let failed = |error: libcontainer::Error| {
            Fault::unknown(format_args!("OCI runtime create failed: {error}"))
        };
        let shares_pids = shares_pids(options.load_spec().map_err(failed)?);
        let container = Container::create(&options).map_err(failed)?;
        Ok(Made { container, shares_pids })
    }
}

/// Gives a container its ends of the streams.
pub(super) fn lend<'fd>(options: &mut CreateOptions<'fd>, ends: &'fd ChildEnds) {
    match ends {
        ChildEnds::Pipes([stdin, stdout, stderr]) => {
            options.stdio(stdin.as_fd(), stdout.as_fd(), stderr.as_fd());
        }
        ChildEnds::Console(socket) => {
            options.console(socket.as_fd());
        }
    }
}

fn shares_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux.as_ref().map(|linux| linux.namespaces.as_slice());
    let is_own = |namespace: &Namespace| namespace.kind == "pid" && namespace.path.is_empty();
    !namespaces.unwrap_or_default().iter().any(is_own)
}

fn make_rootfs(rootfs: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o711).create(rootfs) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Fault::unknown(format_args!("mkdir {}: {error}", rootfs.display())))
        }
        _ => Ok(()),
    }
}

fn unmount(rootfs: &Path) {
    if let Err(error) = rootfs::unmount(rootfs) {
        log::warn!("failed to cleanup rootfs mount: {error:#}");
    }
}

/// Removes a container that nobody will know of.
async fn undo(container: Container, rootfs: Option<PathBuf>) {
    let undone = blocking(move || {
        let deleted = container.delete().map(drop).map_err(|error| error.to_string());
        if let Some(rootfs) = rootfs {
            unmount(&rootfs);
        }
        deleted
    });
    if let Ok(Err(error)) = undone.await {
        log::warn!("a container that is not needed stays: {error}");
    }
}

fn created(request: &CreateTaskRequest, pid: u32) -> TaskCreate {
    let io = TaskIO {
        stdin: request.stdin.clone(),
        stdout: request.stdout.clone(),
        stderr: request.stderr.clone(),
        terminal: request.terminal,
        ..TaskIO::default()
    };
    TaskCreate {
        container_id: request.id.clone(),
        bundle: request.bundle.clone(),
        io: Some(io).into(),
        checkpoint: request.checkpoint.clone(),
        pid,
        ..TaskCreate::default()
    }
}
