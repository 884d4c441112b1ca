//! From images to a running container: the parent's half of a creation, with CRIU in the place of
//! the child.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::criu::{self, Notification, Session, Start};
use super::images::{self, Directory};
use super::message::{Kind, Options};
use super::options::{NetworkLock, RestoreOptions};
use super::{LOCKS_NETWORK, mounts, namespaces};
use crate::cgroup;
use crate::create::{self, Created, Decided, Undo};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{MountPoint, plan_device_paths, plan_mount_points};
use crate::protect;
use crate::spec::{NamespaceKind, Resources};
use crate::state::{self, Identity, Phase, Record, StateDirectory};
use crate::sys::clone::Child;
use crate::sys::{Errno, pidfd, socket};

const LOG: &str = "restore.log";

/// What CRIU says in its mode `strict`, and why that is always so.
const GROUPS_EXIST: &str = "Abort restore of existing cgroups";
const OTHER_MODE: &str = "; the container's groups are made before criu restores, which \
                          --manage-cgroups-mode strict does not allow: restore with soft or full";

/// The first version in which a security label can be chosen.
const CHOOSES_LABELS: u32 = 31_600;

/// Makes a container of images.
pub(crate) fn restore(options: &RestoreOptions<'_>) -> Result<Created> {
    let create = &options.create;
    let decided = create::decide_with(create, true)?;
    if create.stdio.is_none() && create.console.is_none() {
        let message = "standard input, output and error of the container are not given";
        return Err(Error::new(ErrorKind::InvalidOption, message));
    }
    if !create.accept_unprotected_program {
        protect::check(decided.plan.mappings.as_ref())?;
    }
    crate::container::check_exit_status_is_kept(decided.kernel)?;
    let program = criu::find(options.common.criu.as_deref())?;
    let images = Directory::open(&options.common.images)?;
    // CRIU finds the parent by a link.
    let guarded = !images.check_content()?;
    let work = options.common.work.as_deref().map(Directory::open_work).transpose()?;
    let work = work.filter(|work| !work.is(&images));
    let mut undo = Undo::default();
    let work = work.as_ref();
    let restoring = Restoring { options, decided: &decided, images: &images, guarded, work };
    restoring.carry_out(&program, &mut undo).map_err(|error| {
        if let Some(created) = &undo.cgroup
            && let Err(left) = cgroup::kill_all(&created.location)
        {
            log::debug!("processes stay after a failed restore: {left}");
        }
        undo.unwind(error.after(decided.plan.warnings.clone()))
    })
}

/// CRIU, and what it finds in its mount namespace.
struct Started {
    session: Session<'static>,
    external: Vec<mounts::External>,
    images: Directory,
    work: Option<Directory>,
}

struct Restoring<'a> {
    options: &'a RestoreOptions<'a>,
    decided: &'a Decided<'a>,
    images: &'a Directory,
    guarded: bool,
    work: Option<&'a Directory>,
}

impl Restoring<'_> {
    fn carry_out(&self, program: &Path, undo: &mut Undo) -> Result<Created> {
        let create = &self.options.create;
        let directory = undo.directory.insert(StateDirectory::claim(&create.root, &create.id)?);
        let _lock = directory.lock(Duration::ZERO)?;
        let mut record = create::intent(create, self.decided)?;
        // A resctrl group takes threads one by one; CRIU would have to put each into it.
        let leaves_class = record.rdt.take().is_some();
        directory.save_spec(&self.decided.json)?;
        directory.save(&record)?;
        if create.notify_socket {
            directory.make_notify_directory()?;
        }
        let root = directory.make_restore_root()?;
        let groups = create::make_groups(self.decided, &mut record, undo)?;
        let tasks = join_files(groups.unwrap_or_default())?;

        let mut request = self.plan(&record)?;
        let passed = namespaces::join(&self.decided.spec, &mut request)?;
        let Started { mut session, external, images, work } =
            self.start(program, &root, &record, &passed, &tasks)?;
        request.images_dir_fd = images.number();
        request.work_dir_fd = work.as_ref().map(Directory::number);
        request.ext_mnt = external;
        request.root = images::utf8(&root)?;
        create::start_unit(self.decided, &mut record, undo, session.pid())?;
        request.cg_root = groups_of(session.pid())?;
        self.check_version(session.version()?)?;

        let mut warnings = Vec::new();
        if leaves_class {
            warnings.push("a restored container is in no class of service (intelRdt)".to_owned());
        }
        let performed = session.perform(Kind::Restore, &request, &mut |notification| {
            self.hear(notification, undo, &mut record, &mut warnings)
        });
        performed.map_err(|error| {
            let error = super::with_log(error, self.work.unwrap_or(self.images), LOG);
            match error.to_string().contains(GROUPS_EXIST) {
                true => error.followed_by(OTHER_MODE),
                false => error,
            }
        })?;
        self.commit(undo, record, warnings)
    }

    /// Decides what CRIU is told, but for what is known only when it runs.
    fn plan(&self, record: &Record) -> Result<Options> {
        let common = &self.options.common;
        let pipes = match self.options.create.stdio {
            Some(_) => self.images.load_pipes()?,
            None => Vec::new(),
        };
        Ok(Options {
            log_file: LOG.to_owned(),
            evasive_devices: true,
            // The container's process becomes our child.
            rst_sibling: true,
            ext_unix_sk: common.ext_unix_sk,
            tcp_established: common.tcp_established,
            tcp_close: self.options.tcp_close,
            network_lock: common.network_lock.map(NetworkLock::number),
            shell_job: common.shell_job,
            file_locks: common.file_locks,
            auto_dedup: common.auto_dedup,
            lazy_pages: common.lazy_pages,
            inherit_fd: pipes,
            manage_cgroups_mode: common.cgroups.number(),
            empty_ns: libc::CLONE_NEWNET.cast_unsigned(),
            config_file: super::config_file(&self.decided.spec, record, self.images.path())?,
            lsm_profile: self.options.lsm_profile.clone(),
            lsm_mount_context: self.options.lsm_mount_context.clone(),
            ..Options::default()
        })
    }

    fn check_version(&self, version: u32) -> Result<()> {
        let spec = &self.decided.spec;
        let joins_pids = namespaces::has(spec, NamespaceKind::Pid)
            && !namespaces::creates(spec, NamespaceKind::Pid);
        for (asked, needed, what) in [
            (self.options.lsm_profile.is_some(), CHOOSES_LABELS, "--lsm-profile"),
            (self.options.lsm_mount_context.is_some(), CHOOSES_LABELS, "--lsm-mount-context"),
            (self.options.common.network_lock.is_some(), LOCKS_NETWORK, "--network-lock"),
            (joins_pids, namespaces::LEAVES_PIDS_OUT, "a pid namespace by path"),
        ] {
            if asked {
                criu::check_version(version, needed, what)?;
            }
        }
        Ok(())
    }

    /// Executes CRIU in the container's groups and in a mount namespace of its own, which goes
    /// with it.
    fn start(
        &self,
        program: &Path,
        root: &Path,
        record: &Record,
        passed: &[OwnedFd],
        tasks: &[OwnedFd],
    ) -> Result<Started> {
        let spec = &self.decided.spec;
        let rootfs = images::utf8(&record.rootfs)?;
        let points = plan_mount_points(spec, &images::utf8(&record.bundle)?, &rootfs);
        let has_namespace = namespaces::has(spec, NamespaceKind::Cgroup);
        let groups = mounts::bound_groups(
            self.decided.layout.as_ref(),
            record.cgroup.as_ref(),
            has_namespace,
        );
        let devices = plan_device_paths(spec);
        let null = super::open_null()?;
        let stdio = self.options.create.stdio.unwrap_or([null.as_fd(); 3]);
        let passed: Vec<BorrowedFd<'_>> = passed.iter().map(AsFd::as_fd).collect();
        let tasks: Vec<BorrowedFd<'_>> = tasks.iter().map(AsFd::as_fd).collect();
        let start = Start { program, stdio, passed: &passed, tasks: &tasks };
        in_scratch_thread(|| {
            let points: &[MountPoint] = &points;
            let external = mounts::prepare(&record.rootfs, root, points, &groups, &devices)?;
            let images = self.images.enter(self.guarded)?;
            let work = self.work.map(|work| work.enter(false)).transpose()?;
            Ok(Started { session: Session::start(&start)?, external, images, work })
        })
    }

    fn hear(
        &self,
        notification: Notification,
        undo: &mut Undo,
        record: &mut Record,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        let Notification { script, pid, descriptors } = notification;
        match script.as_str() {
            "setup-namespaces" => {
                if namespaces::creates(&self.decided.spec, NamespaceKind::Network) {
                    namespaces::raise_loopback(pid)?;
                }
                create::run_hooks(&self.decided.plan, &find(pid)?, record)
            }
            "orphan-pts-master" => self.send_console(descriptors),
            "post-restore" => self.accept(pid, undo, record, warnings),
            _ => Ok(()),
        }
    }

    fn send_console(&self, descriptors: Vec<OwnedFd>) -> Result<()> {
        let (Some(master), Some(console)) =
            (descriptors.into_iter().next(), self.options.create.console)
        else {
            let message = "the container has a terminal, and nobody to receive it";
            return Err(Error::new(ErrorKind::InvalidOption, message));
        };
        socket::send(console, b"/dev/ptmx", &[master.as_fd()]).map_err(|errno| {
            let message = format!("send the terminal to the console socket: {errno}");
            Error::new(ErrorKind::System, message)
        })
    }

    /// All processes are there, and stand still until this is answered.
    fn accept(
        &self,
        pid: u32,
        undo: &mut Undo,
        record: &mut Record,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        let create = &self.options.create;
        let init = find(pid)?;
        record.init = Some(Identity::of(pid)?);
        undo.children.push(init);
        if let Some(created) = &undo.cgroup {
            let resources = without_memory(&self.decided.plan.resources);
            let devices = Some(&self.decided.devices);
            warnings.extend(cgroup::apply(&created.location, &resources, devices)?);
        }
        record.phase = Phase::Created;
        record.created = state::now();
        if let Some(directory) = &undo.directory {
            directory.save(record)?;
        }
        if let (Some(socket), Some(init)) = (create.pidfd_socket, undo.children.last()) {
            create::send_pidfd(socket, b"standard", init)?;
        }
        if let Some(path) = &create.pid_file {
            state::write_replacing(path, pid.to_string().as_bytes())
                .map_err(|error| Error::io(ErrorKind::System, "write", path.display(), &error))?;
            undo.pid_file = Some(path.clone());
        }
        Ok(())
    }

    fn commit(
        &self,
        undo: &mut Undo,
        record: Record,
        mut warnings: Vec<String>,
    ) -> Result<Created> {
        // CRIU's own memory was counted in the group until it ended.
        if let Some(created) = &undo.cgroup {
            warnings.extend(cgroup::apply(&created.location, &self.decided.plan.resources, None)?);
        }
        if let Some(directory) = &undo.directory {
            directory.remove_restore_root()?;
        }
        let (Some(directory), Some(init)) = (undo.directory.take(), undo.children.pop()) else {
            let message = "criu failed: it restored no process";
            return Err(Error::new(ErrorKind::Checkpoint, message));
        };
        undo.cgroup = None;
        undo.pid_file = None;
        let mut all = self.decided.plan.warnings.clone();
        all.extend(warnings);
        Ok(Created { directory, record, init, warnings: all, trace: Vec::new() })
    }
}

/// A process that CRIU made: our child, which nobody else reaps.
fn find(pid: u32) -> Result<Child> {
    let pidfd = pidfd::open(pid)
        .map_err(|errno| Error::new(ErrorKind::System, format!("process {pid}: {errno}")))?;
    Ok(Child { pid, pidfd })
}

/// Runs something in a thread that ends after it: its namespaces go with it.
fn in_scratch_thread<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let joined = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .spawn_scoped(scope, act)
            .map(std::thread::ScopedJoinHandle::join)
    });
    match joined {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::new(ErrorKind::System, "a thread of the restore panicked")),
        Err(error) => Err(Error::io(ErrorKind::System, "start", "a thread", &error)),
    }
}

/// Files into which CRIU's process writes itself.
fn join_files(groups: cgroup::Descriptors) -> Result<Vec<OwnedFd>> {
    let mut files = groups.tasks;
    if let Some(directory) = groups.directory {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = openat(&directory, "cgroup.procs", flags, Mode::empty()).map_err(|errno| {
            let message = format!("open cgroup.procs: {}", Errno::from(errno));
            Error::new(ErrorKind::System, message)
        })?;
        files.push(file);
    }
    Ok(files)
}

/// The groups that a process is in, by controller.
fn groups_of(pid: u32) -> Result<Vec<(String, String)>> {
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Error::io(ErrorKind::System, "read", &path, &error))?;
    let lines = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let each = lines.flat_map(|(controllers, path)| {
        controllers.split(',').map(move |controller| (controller.to_owned(), path.to_owned()))
    });
    Ok(each.collect())
}

/// Everything but limits of memory.
fn without_memory(resources: &Resources) -> Resources {
    let mut resources = resources.clone();
    resources.memory = None;
    resources.unified.retain(|name, _| !name.starts_with("memory."));
    resources
}
