//! From a running container to images.

use std::os::fd::AsFd;
use std::time::Duration;

use super::criu::{self, Notification, Session, Start};
use super::images::{self, Directory};
use super::message::{Kind, Options};
use super::options::{CheckpointOptions, NetworkLock};
use super::{LOCKS_NETWORK, mounts, namespaces};
use crate::cgroup::{self, Layout};
use crate::container::Status;
use crate::error::{Error, ErrorKind, Result, kernel_words};
use crate::plan::{plan_device_paths, plan_mount_points};
use crate::spec::{NamespaceKind, Spec};
use crate::state::{self, LiveProcess, Record, StateDirectory};
use crate::sys::{pidfd, raw};

const LOG: &str = "dump.log";

/// The first version with pages that are loaded when they are needed and tells when it serves them.
const NOTIFIES_READINESS: u32 = 31_500;

/// Writes the state of a container. The lock is held, so that nobody changes it meanwhile.
pub(crate) fn checkpoint(
    directory: &StateDirectory,
    options: &CheckpointOptions<'_>,
) -> Result<()> {
    let _lock = directory.lock(Duration::ZERO)?;
    let record = directory.load()?;
    let (status, init) = state::probe_status(directory, &record)?;
    let init = match (status, init) {
        (Status::Running | Status::Paused, Some(init)) => init,
        _ => {
            let message = format!("Container cannot be checkpointed in {status} state");
            return Err(Error::new(ErrorKind::WrongStatus, message));
        }
    };
    let program = criu::find(options.common.criu.as_deref())?;
    let spec = directory.load_spec()?;
    let mut images = Directory::open_or_make(&options.common.images)?;
    let parent = match &options.parent {
        Some(parent) => Some(open_parent(&images, parent)?),
        None => None,
    };
    let work = options.common.work.as_deref().map(Directory::open_work).transpose()?;
    images.check_content()?;
    // CRIU finds the parent by a link.
    if parent.is_none() {
        images.guard();
    }

    let null = super::open_null()?;
    let stdio = [null.as_fd(); 3];
    let session = Session::start(&Start { program: &program, stdio, passed: &[], tasks: &[] })?;
    let mut session = session.saving(init.pidfd.as_fd());
    let request = Request { options, record: &record, spec: &spec, init: &init, images: &images };
    let kind = if options.pre_dump { Kind::PreDump } else { Kind::Dump };
    let result = request.plan(directory, &mut session, work.as_ref()).and_then(|request| {
        let mut notified = |notification: Notification| hear(options, &notification);
        session.perform(kind, &request, &mut notified).map(drop)
    });
    result.map_err(|error| {
        release(&record, status, &init);
        let log = work.as_ref().unwrap_or(&images);
        super::with_log(error, log, LOG)
    })
}

/// A directory that a restore would not go to is not written down either.
fn open_parent(images: &Directory, parent: &std::path::Path) -> Result<String> {
    if parent.is_absolute() {
        let message = format!("{}: the parent's directory must be relative", parent.display());
        return Err(Error::new(ErrorKind::InvalidOption, message));
    }
    images.open_beside(parent)?;
    images::utf8(parent)
}

struct Request<'a> {
    options: &'a CheckpointOptions<'a>,
    record: &'a Record,
    spec: &'a Spec,
    init: &'a LiveProcess,
    images: &'a Directory,
}

impl Request<'_> {
    /// Decides what CRIU is told, by what it and this kernel can do.
    fn plan(
        &self,
        directory: &StateDirectory,
        session: &mut Session<'_>,
        work: Option<&Directory>,
    ) -> Result<Options> {
        let Self { options, record, spec, init, images } = self;
        let common = &options.common;
        let version = session.version()?;
        self.check_features(session, version)?;
        if common.network_lock.is_some() {
            criu::check_version(version, LOCKS_NETWORK, "--network-lock")?;
        }
        let location = record.cgroup.as_ref();
        let freezer =
            location.and_then(|location| location.v1("freezer").or_else(|| location.v2()));
        let mut request = Options {
            images_dir_fd: images.number(),
            work_dir_fd: work.map(Directory::number),
            log_file: LOG.to_owned(),
            root: images::utf8(&record.rootfs)?,
            pid: Some(init.pid),
            leave_running: options.leave_running,
            ext_unix_sk: common.ext_unix_sk,
            tcp_established: common.tcp_established,
            network_lock: common.network_lock.map(NetworkLock::number),
            tcp_skip_in_flight: options.tcp_skip_in_flight,
            shell_job: common.shell_job,
            file_locks: common.file_locks,
            link_remap: options.link_remap,
            auto_dedup: common.auto_dedup,
            lazy_pages: common.lazy_pages,
            parent_img: options.parent.as_deref().map(images::utf8).transpose()?,
            page_server: options.page_server.clone(),
            manage_cgroups_mode: common.cgroups.number(),
            // Devices of a network are made by whoever made the container.
            empty_ns: libc::CLONE_NEWNET.cast_unsigned(),
            freeze_cgroup: freezer.map(|group| images::utf8(&group.directory())).transpose()?,
            config_file: super::config_file(spec, record, images.path())?,
            external: namespaces::external(spec, init.pid)?,
            ..Options::default()
        };
        if !options.pre_dump {
            request.ext_mnt = self.external_mounts(directory)?;
            images.save_descriptors(&self.descriptors()?)?;
        }
        Ok(request)
    }

    fn check_features(&self, session: &mut Session<'_>, version: u32) -> Result<()> {
        let (pre_dump, lazy) = (self.options.pre_dump, self.options.common.lazy_pages);
        if !pre_dump && !lazy {
            return Ok(());
        }
        let features = session.features()?;
        let lacking = match () {
            () if pre_dump && !features.mem_track => "MemTrack",
            () if lazy && !features.lazy_pages => "LazyPages",
            () if self.options.status.is_some() => {
                return criu::check_version(version, NOTIFIES_READINESS, "a status descriptor");
            }
            () => return Ok(()),
        };
        let message = format!("criu is missing features: [{lacking}]");
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    fn external_mounts(&self, directory: &StateDirectory) -> Result<Vec<mounts::External>> {
        let bundle = images::utf8(&self.record.bundle)?;
        let mut points = plan_mount_points(self.spec, &bundle, &images::utf8(&self.record.rootfs)?);
        if directory.notify_socket()?.is_some() {
            points.push(crate::create::notify::mount_point());
        }
        let layout = Layout::probe()?;
        let has_namespace = namespaces::has(self.spec, NamespaceKind::Cgroup);
        let groups =
            mounts::bound_groups(Some(&layout), self.record.cgroup.as_ref(), has_namespace);
        let masked = self.spec.linux.as_ref().map(|linux| linux.masked_paths.as_slice());
        let devices = plan_device_paths(self.spec);
        mounts::external_of(&points, &groups, masked.unwrap_or_default(), &devices, self.init.pid)
    }

    /// Where the standard descriptors of the container's process led when it was created; of a
    /// container of an earlier release, where they lead now.
    fn descriptors(&self) -> Result<Vec<String>> {
        if !self.record.descriptors.is_empty() {
            return Ok(self.record.descriptors.clone());
        }
        let links = (0..3).map(|number| {
            let path = format!("/proc/{}/fd/{number}", self.init.pid);
            match std::fs::read_link(&path) {
                Ok(link) => Ok(link.to_string_lossy().into_owned()),
                // Closed by the program.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
                Err(error) => Err(Error::io(ErrorKind::System, "readlink", &path, &error)),
            }
        });
        links.collect()
    }
}

fn hear(options: &CheckpointOptions<'_>, notification: &Notification) -> Result<()> {
    if notification.script == "status-ready"
        && let Some(status) = options.status
    {
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&status);
        raw::write(descriptor, &[0]).map_err(|errno| {
            Error::new(ErrorKind::System, format!("write to the status descriptor: {errno}"))
        })?;
    }
    Ok(())
}

/// A CRIU that was killed leaves its freezer frozen. What was running runs on.
fn release(record: &Record, status: Status, init: &LiveProcess) {
    let alive = pidfd::has_ended(init.pidfd.as_fd()) == Ok(false);
    if status != Status::Running || !alive {
        return;
    }
    let thawed = match &record.cgroup {
        Some(location) => cgroup::is_frozen(location)
            .and_then(|frozen| if frozen { cgroup::thaw(location) } else { Ok(()) }),
        None => Ok(()),
    };
    if let Err(error) = thawed {
        log::debug!("{} stays frozen: {error}", record.id);
    }
}

/// Where standard descriptors lead, in the words of procfs.
pub(crate) fn links_of(stdio: &[std::os::fd::BorrowedFd<'_>; 3]) -> Vec<String> {
    let link = |fd: &std::os::fd::BorrowedFd<'_>| {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
        std::fs::read_link(&path).map(|link| link.to_string_lossy().into_owned())
    };
    let links: std::io::Result<Vec<String>> = stdio.iter().map(link).collect();
    links.unwrap_or_else(|error| {
        log::debug!("standard descriptors are not recorded: {}", kernel_words(&error));
        Vec::new()
    })
}
