//! What the caller chooses, beside the bundle.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::create;
use crate::error::Result;
use crate::spec::{Process, Spec};

/// How a container is created.
///
/// Descriptors are borrowed: the library duplicates what it passes on and changes nothing about
/// the caller's.
///
/// ```no_run
/// use std::os::fd::AsFd;
///
/// libcontainer::protect_self()?;
/// let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
/// let mut options = libcontainer::CreateOptions::new("/run/example", "web", "/bundles/web");
/// options.stdio(null.as_fd(), null.as_fd(), null.as_fd());
/// let container = libcontainer::Container::run(&options)?;
/// println!("{}", container.wait()?.code());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CreateOptions<'fd> {
    pub(crate) root: PathBuf,
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) spec: Option<Spec>,
    pub(crate) json: Option<Vec<u8>>,
    pub(crate) stdio: Option<[BorrowedFd<'fd>; 3]>,
    pub(crate) console: Option<BorrowedFd<'fd>>,
    pub(crate) plain_newlines: bool,
    pub(crate) pidfd_socket: Option<BorrowedFd<'fd>>,
    pub(crate) notify_socket: bool,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) handlers: Option<PathBuf>,
    pub(crate) seccomp_receiver: Option<String>,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) keep_umask: bool,
    pub(crate) joinable: bool,
    pub(crate) preserve_fds: u32,
    pub(crate) listen_fds: u32,
    pub(crate) cgroup_driver: CgroupDriver,
    pub(crate) rootless: Option<bool>,
    pub(crate) accept_unprotected_program: bool,
    pub(crate) trace: bool,
    pub(crate) resctrl: Option<PathBuf>,
}

/// Who manages the container's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CgroupDriver {
    /// The library, by files.
    #[default]
    Files,
    /// systemd, over D-Bus.
    Systemd,
    /// Nobody: the container stays in the caller's group, and limits are refused.
    Disabled,
}

impl<'fd> CreateOptions<'fd> {
    /// A container `id` recorded below `root`, of the bundle in directory `bundle`.
    pub fn new(
        root: impl Into<PathBuf>,
        id: impl Into<String>,
        bundle: impl Into<PathBuf>,
    ) -> Self {
        Self {
            root: root.into(),
            id: id.into(),
            bundle: bundle.into(),
            config: None,
            spec: None,
            json: None,
            stdio: None,
            console: None,
            plain_newlines: false,
            pidfd_socket: None,
            notify_socket: false,
            pid_file: None,
            handlers: None,
            seccomp_receiver: None,
            no_pivot: false,
            no_new_keyring: false,
            keep_umask: false,
            joinable: false,
            preserve_fds: 0,
            listen_fds: 0,
            cgroup_driver: CgroupDriver::Files,
            rootless: None,
            accept_unprotected_program: false,
            trace: false,
            resctrl: None,
        }
    }

    /// Uses this configuration instead of the bundle's config.json.
    pub fn spec(&mut self, spec: Spec) -> &mut Self {
        self.spec = Some(spec);
        self.json = None;
        self
    }

    /// Reads the configuration from this file instead of the bundle's config.json.
    pub fn config(&mut self, file: impl Into<PathBuf>) -> &mut Self {
        self.config = Some(file.into());
        self
    }

    /// Reads the bundle's config.json now, for a caller that chooses other options by it. It is
    /// not read again.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidConfig`] with a JSON pointer.
    pub fn load_spec(&mut self) -> Result<&Spec> {
        let bundle = create::absolute(&self.bundle)?;
        let (spec, json) = create::read_config(&bundle, self.config.as_deref())?;
        self.json = Some(json);
        Ok(self.spec.insert(spec))
    }

    /// Standard input, output and error of the container's process. Required unless the
    /// configuration asks for a terminal: the caller's own are never the default.
    pub fn stdio(
        &mut self,
        stdin: BorrowedFd<'fd>,
        stdout: BorrowedFd<'fd>,
        stderr: BorrowedFd<'fd>,
    ) -> &mut Self {
        self.stdio = Some([stdin, stdout, stderr]);
        self
    }

    /// A connected unix socket that gets the master of the terminal (SCM_RIGHTS).
    pub fn console(&mut self, socket: BorrowedFd<'fd>) -> &mut Self {
        self.console = Some(socket);
        self
    }

    /// Leaves newlines in the terminal's output as they are, instead of putting a carriage return
    /// before each: for callers that pass the output on to a terminal, which does that itself, or
    /// to a file.
    pub fn plain_newlines(&mut self, plain: bool) -> &mut Self {
        self.plain_newlines = plain;
        self
    }

    /// A connected unix socket that gets a pidfd of the container's process (SCM_RIGHTS, with the
    /// word `standard`) before `create` returns.
    pub fn pidfd_socket(&mut self, socket: BorrowedFd<'fd>) -> &mut Self {
        self.pidfd_socket = Some(socket);
        self
    }

    /// Gives the container a directory /run/notify and names a socket in it in NOTIFY_SOCKET, to
    /// be bound with [`crate::Container::bind_notify_socket`].
    pub fn notify_socket(&mut self, notify: bool) -> &mut Self {
        self.notify_socket = notify;
        self
    }

    /// A file that gets the pid of the container's process, written before `create` returns.
    pub fn pid_file(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.pid_file = Some(path.into());
        self
    }

    /// The file that describes handlers, /etc/husk/handlers.json when not set. It is read when an
    /// annotation asks for one.
    pub fn handlers(&mut self, file: impl Into<PathBuf>) -> &mut Self {
        self.handlers = Some(file.into());
        self
    }

    /// Where a seccomp agent listens, for profiles that notify and name none.
    pub fn seccomp_receiver(&mut self, socket: impl Into<String>) -> &mut Self {
        self.seccomp_receiver = Some(socket.into());
        self
    }

    /// Changes the root by MS_MOVE and chroot, for an initramfs, where pivot_root fails.
    pub fn no_pivot(&mut self, no_pivot: bool) -> &mut Self {
        self.no_pivot = no_pivot;
        self
    }

    /// Keeps the caller's session keyring instead of making a new one.
    pub fn no_new_keyring(&mut self, no_new_keyring: bool) -> &mut Self {
        self.no_new_keyring = no_new_keyring;
        self
    }

    /// Lets other processes of an ordinary user join a container of theirs that is created and not started. They
    /// need to see its process, which holds a copy of the calling program's memory until `start`; so does, then, what
    /// they start in the container with the same rights. For programs whose memory has no secrets.
    ///
    /// It concerns callers without `CAP_SYS_PTRACE` and containers with a user namespace of their own (ptrace(2),
    /// "Ptrace access mode checking"). Others can join, or cannot, whatever is said here.
    pub fn joinable_when_created(&mut self, joinable: bool) -> &mut Self {
        self.joinable = joinable;
        self
    }

    /// Gives a process for which the configuration has no umask that of the calling process, as the
    /// specification wants it, instead of 022, as runc does.
    pub fn keep_umask(&mut self, keep: bool) -> &mut Self {
        self.keep_umask = keep;
        self
    }

    /// Passes on this many of the caller's descriptors, from 3 (after those of
    /// [`listen_fds`](Self::listen_fds)) on.
    pub fn preserve_fds(&mut self, count: u32) -> &mut Self {
        self.preserve_fds = count;
        self
    }

    /// Passes on this many of the caller's descriptors from 3 on, and says so in LISTEN_FDS.
    pub fn listen_fds(&mut self, count: u32) -> &mut Self {
        self.listen_fds = count;
        self
    }

    /// Who manages the container's cgroup.
    pub fn cgroup_driver(&mut self, driver: CgroupDriver) -> &mut Self {
        self.cgroup_driver = driver;
        self
    }

    /// Whether errors are tolerated that stem from missing rights over cgroups; found out from
    /// the caller's rights when not set.
    pub fn rootless(&mut self, rootless: bool) -> &mut Self {
        self.rootless = Some(rootless);
        self
    }

    /// Creates the container although the file of the calling program could be overwritten from
    /// inside it (CVE-2019-5736). See [`crate::protect_self`] for what to do instead.
    pub fn accept_unprotected_program(&mut self, accept: bool) -> &mut Self {
        self.accept_unprotected_program = accept;
        self
    }

    /// Has the container's process report when each of its steps ends:
    /// [`crate::Container::trace`].
    pub fn trace(&mut self, trace: bool) -> &mut Self {
        self.trace = trace;
        self
    }

    /// Where the resctrl file system for `linux.intelRdt` is mounted. Without this it is looked for
    /// among the mounts of the calling process, which does not see those of another mount namespace.
    pub fn resctrl(&mut self, root: impl Into<PathBuf>) -> &mut Self {
        self.resctrl = Some(root.into());
        self
    }
}

/// How a further process of a container is executed.
#[derive(Clone, Debug)]
pub struct ExecOptions<'fd> {
    pub(crate) process: Process,
    pub(crate) stdio: Option<[BorrowedFd<'fd>; 3]>,
    pub(crate) console: Option<BorrowedFd<'fd>>,
    pub(crate) plain_newlines: bool,
    pub(crate) pidfd_socket: Option<BorrowedFd<'fd>>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) preserve_fds: u32,
    pub(crate) cgroups: Vec<String>,
    pub(crate) ignore_paused: bool,
    pub(crate) accept_unprotected_program: bool,
}

impl<'fd> ExecOptions<'fd> {
    /// Executes this process. [`crate::Container::process`] is a good start: the container's own
    /// user, environment, directory and rights.
    pub fn new(process: Process) -> Self {
        Self {
            process,
            stdio: None,
            console: None,
            plain_newlines: false,
            pidfd_socket: None,
            pid_file: None,
            preserve_fds: 0,
            cgroups: Vec::new(),
            ignore_paused: false,
            accept_unprotected_program: false,
        }
    }

    /// As [`CreateOptions::stdio`].
    pub fn stdio(
        &mut self,
        stdin: BorrowedFd<'fd>,
        stdout: BorrowedFd<'fd>,
        stderr: BorrowedFd<'fd>,
    ) -> &mut Self {
        self.stdio = Some([stdin, stdout, stderr]);
        self
    }

    /// As [`CreateOptions::console`].
    pub fn console(&mut self, socket: BorrowedFd<'fd>) -> &mut Self {
        self.console = Some(socket);
        self
    }

    /// As [`CreateOptions::plain_newlines`].
    pub fn plain_newlines(&mut self, plain: bool) -> &mut Self {
        self.plain_newlines = plain;
        self
    }

    /// A connected unix socket that gets a pidfd of the process (SCM_RIGHTS, with the word
    /// `setns`) when the process was executed.
    pub fn pidfd_socket(&mut self, socket: BorrowedFd<'fd>) -> &mut Self {
        self.pidfd_socket = Some(socket);
        self
    }

    /// A file that gets the pid of the process. It is only written when the process was executed.
    pub fn pid_file(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.pid_file = Some(path.into());
        self
    }

    /// Passes on this many of the caller's descriptors, from 3 on.
    pub fn preserve_fds(&mut self, count: u32) -> &mut Self {
        self.preserve_fds = count;
        self
    }

    /// Puts the process into a group below the container's, `[CONTROLLER,...:]PATH` as `exec
    /// --cgroup` takes it; may be repeated for the controllers of v1.
    pub fn cgroup(&mut self, path: impl Into<String>) -> &mut Self {
        self.cgroups.push(path.into());
        self
    }

    /// Executes it in a paused container: it starts when the container is resumed.
    pub fn ignore_paused(&mut self, ignore: bool) -> &mut Self {
        self.ignore_paused = ignore;
        self
    }

    /// As [`CreateOptions::accept_unprotected_program`].
    pub fn accept_unprotected_program(&mut self, accept: bool) -> &mut Self {
        self.accept_unprotected_program = accept;
        self
    }
}
