//! Tasks that are saved, and made again of what was saved.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containerd_shim_protos::events::task::TaskCheckpointed;
use libcontainer::{CheckpointOptions, Container, ManageCgroups, RestoreOptions};

use super::create::{Order, lend};
use super::{Phase, Pod, Task, blocking, lock};
use crate::events::Event;
use crate::fault::{Fault, Result};
use crate::io::ChildEnds;
use crate::options;

/// CRIU's log of a checkpoint, and where it is kept when it failed.
const LOG: &str = "dump.log";
const KEPT_LOG: &str = "criu-dump.log";

/// What a request asks for.
struct Dump {
    images: PathBuf,
    criu: String,
    bundle: PathBuf,
    asked: options::CheckpointOptions,
}

impl Pod {
    /// Writes the state of a task into a directory of images.
    pub(crate) async fn checkpoint(
        &self,
        task: &Task,
        path: String,
        asked: options::CheckpointOptions,
    ) -> Result<()> {
        match task.process.phase() {
            Phase::Running | Phase::Pausing | Phase::Paused => {}
            Phase::Created | Phase::Starting => {
                return Err(Fault::unknown("cannot checkpoint a task in created state"));
            }
            Phase::Stopped => return Err(Fault::unknown("cannot checkpoint a stopped container")),
            Phase::Deleted => return Err(Fault::unknown("cannot checkpoint a deleted process")),
        }
        let dump = Dump {
            images: PathBuf::from(&path),
            criu: task.options.criu_path.clone(),
            bundle: task.bundle.clone(),
            asked,
        };
        task.with_container(move |container| dump.carry_out(container)).await??;
        self.publish(&Event::TaskCheckpointed(TaskCheckpointed {
            container_id: task.id.clone(),
            checkpoint: path,
            ..TaskCheckpointed::default()
        }));
        Ok(())
    }

    /// Makes the container of a task, running, of the images that its creation named.
    pub(super) async fn restore(self: &Arc<Self>, task: &Arc<Task>, order: Order) -> Result<()> {
        let opened = self.open_streams(&order, &task.process.streams).await;
        let (mut io, ends) = match opened {
            Ok(opened) => opened,
            Err(fault) => {
                // It can be tried again.
                *lock(&task.restore) = Some(order);
                return Err(fault);
            }
        };
        let restored = blocking(move || (restore(&order, &ends), order)).await;
        let container = match restored? {
            (Ok(container), _) => container,
            (Err(error), order) => {
                *lock(&task.restore) = Some(order);
                return Err(Fault::unknown(format_args!("OCI runtime restore failed: {error}")));
            }
        };
        for warning in container.warnings() {
            log::warn!("{}: {warning}", task.id);
        }
        if let Err(error) = io.start() {
            log::warn!("{}: streams are not connected: {error}", task.id);
        }
        task.process.attach(container.pid().unwrap_or_default(), io, None);
        let container = task.container.get_or_init(|| Arc::new(container)).clone();
        self.watch(task, &container)
    }
}

fn restore(order: &Order, ends: &ChildEnds) -> libcontainer::Result<Container> {
    let mut create = order.create_options();
    lend(&mut create, ends);
    let images = order.images.clone().unwrap_or_default();
    let mut options = RestoreOptions::new(create, images);
    let work = &order.options.criu_work_path;
    options.work(if work.is_empty() { order.bundle.join("work") } else { work.into() });
    if !order.options.criu_path.is_empty() {
        options.criu(&order.options.criu_path);
    }
    Container::restore(&options)
}

impl Dump {
    /// Blocks.
    fn carry_out(&self, container: &Container) -> Result<()> {
        if let Some(name) = self.asked.empty_namespaces.iter().find(|name| *name != "network") {
            return Err(Fault::invalid(format_args!("namespace {name:?} is not supported")));
        }
        let is_own = self.asked.work_path.is_empty();
        let work = match is_own {
            true => self.bundle.join("work").join("criu-work"),
            false => PathBuf::from(&self.asked.work_path),
        };
        let dumped = container.checkpoint(&self.options(&work)?);
        let failed = dumped.map_err(|error| {
            let kept = self.bundle.join(KEPT_LOG);
            if let Err(error) = fs::copy(work.join(LOG), &kept) {
                log::warn!("the log of the checkpoint is not kept: {error}");
            }
            let message = error.to_string();
            let first = message.lines().next().unwrap_or_default();
            Fault::unknown(format_args!("{first} path= {}", kept.display()))
        });
        if is_own {
            remove(&work);
        }
        failed
    }

    fn options<'fd>(&self, work: &Path) -> Result<CheckpointOptions<'fd>> {
        let asked = &self.asked;
        let mut options = CheckpointOptions::new(&self.images);
        options
            .work(work)
            .leave_running(!asked.exit)
            .tcp_established(asked.open_tcp)
            .ext_unix_sk(asked.external_unix_sockets)
            .shell_job(asked.terminal)
            .file_locks(asked.file_locks)
            .manage_cgroups(manage_cgroups(&asked.cgroups_mode)?);
        if !asked.parent_path.is_empty() {
            options.parent(&asked.parent_path);
        }
        if !self.criu.is_empty() {
            options.criu(&self.criu);
        }
        Ok(options)
    }
}

fn manage_cgroups(mode: &str) -> Result<ManageCgroups> {
    Ok(match mode {
        "" => ManageCgroups::Default,
        "soft" => ManageCgroups::Soft,
        "full" => ManageCgroups::Full,
        "strict" => ManageCgroups::Strict,
        "ignore" => ManageCgroups::Ignore,
        _ => return Err(Fault::invalid(format_args!("unknown cgroups mode {mode:?}"))),
    })
}

fn remove(directory: &Path) {
    match fs::remove_dir_all(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => log::warn!("remove {}: {error}", directory.display()),
    }
}
