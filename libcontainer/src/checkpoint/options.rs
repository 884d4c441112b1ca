//! What the caller of a checkpoint or a restore chooses.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::container::CreateOptions;

/// Who makes the groups and sets the limits of a restored container: CRIU, or only this library.
/// <https://criu.org/CGroups>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManageCgroups {
    /// What CRIU does of itself: [`ManageCgroups::Soft`].
    #[default]
    Default,
    /// CRIU makes groups that are missing, and sets the limits of those that it made.
    Soft,
    /// CRIU makes all groups and sets their limits.
    Full,
    /// As full; groups that are there already are an error.
    Strict,
    /// CRIU leaves groups alone: those that this library makes are all.
    Ignore,
}

impl ManageCgroups {
    /// The number in CRIU's definition.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Ignore => 0,
            Self::Soft => 3,
            Self::Full => 4,
            Self::Strict => 5,
            Self::Default => 6,
        }
    }
}

/// How CRIU keeps packets away from the connections that it saves, between the checkpoint and the
/// restore. Both have to be told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkLock {
    /// By iptables, which CRIU executes: what it does of itself.
    Iptables,
    /// By nftables, which a CRIU that was built with it does by itself.
    Nftables,
    /// Not at all: packets that arrive meanwhile may end the connections.
    Skip,
}

impl NetworkLock {
    /// The number in CRIU's definition.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Iptables => 1,
            Self::Nftables => 2,
            Self::Skip => 3,
        }
    }
}

/// What checkpoint and restore have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) images: PathBuf,
    pub(super) work: Option<PathBuf>,
    pub(super) criu: Option<PathBuf>,
    pub(super) tcp_established: bool,
    pub(super) network_lock: Option<NetworkLock>,
    pub(super) ext_unix_sk: bool,
    pub(super) shell_job: bool,
    pub(super) file_locks: bool,
    pub(super) auto_dedup: bool,
    pub(super) lazy_pages: bool,
    pub(super) cgroups: ManageCgroups,
}

impl Common {
    fn new(images: PathBuf) -> Self {
        Self {
            images,
            work: None,
            criu: None,
            tcp_established: false,
            network_lock: None,
            ext_unix_sk: false,
            shell_job: false,
            file_locks: false,
            auto_dedup: false,
            lazy_pages: false,
            cgroups: ManageCgroups::Default,
        }
    }
}

/// How the state of a running container is written to a directory of images.
///
/// ```no_run
/// # fn main() -> libcontainer::Result<()> {
/// let container = libcontainer::Container::open("/run/example".as_ref(), "web")?;
/// let mut options = libcontainer::CheckpointOptions::new("/images/web");
/// container.checkpoint(options.tcp_established(true))?;
/// container.delete()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CheckpointOptions<'fd> {
    pub(super) common: Common,
    pub(super) parent: Option<PathBuf>,
    pub(super) leave_running: bool,
    pub(super) pre_dump: bool,
    pub(super) tcp_skip_in_flight: bool,
    pub(super) link_remap: bool,
    pub(super) page_server: Option<(String, u16)>,
    pub(super) status: Option<BorrowedFd<'fd>>,
}

/// How a container is made of a directory of images.
///
/// ```no_run
/// use std::os::fd::AsFd;
///
/// # fn main() -> libcontainer::Result<()> {
/// # let null = std::fs::File::options().read(true).write(true).open("/dev/null").unwrap();
/// let mut create = libcontainer::CreateOptions::new("/run/example", "web", "/bundles/web");
/// create.stdio(null.as_fd(), null.as_fd(), null.as_fd());
/// let options = libcontainer::RestoreOptions::new(create, "/images/web");
/// let container = libcontainer::Container::restore(&options)?;
/// println!("{}", container.wait()?.code());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RestoreOptions<'fd> {
    pub(super) common: Common,
    pub(super) create: CreateOptions<'fd>,
    pub(super) tcp_close: bool,
    pub(super) lsm_profile: Option<String>,
    pub(super) lsm_mount_context: Option<String>,
}

/// The setters of what both have in common.
macro_rules! common_setters {
    () => {
        /// Directory for the log and other files of CRIU; that of the images when not set. It is
        /// made where it is missing.
        pub fn work(&mut self, directory: impl Into<PathBuf>) -> &mut Self {
            self.common.work = Some(directory.into());
            self
        }

        /// Path of the program; `criu` is looked for in `PATH` when not set.
        pub fn criu(&mut self, program: impl Into<PathBuf>) -> &mut Self {
            self.common.criu = Some(program.into());
            self
        }

        /// Keeps established TCP connections.
        pub fn tcp_established(&mut self, keep: bool) -> &mut Self {
            self.common.tcp_established = keep;
            self
        }

        /// How packets are kept away from connections meanwhile; as CRIU does of itself when not
        /// set. CRIU 3.17.
        pub fn network_lock(&mut self, method: NetworkLock) -> &mut Self {
            self.common.network_lock = Some(method);
            self
        }

        /// Allows unix sockets that lead out of the container.
        pub fn ext_unix_sk(&mut self, allow: bool) -> &mut Self {
            self.common.ext_unix_sk = allow;
            self
        }

        /// Allows processes whose session or terminal is outside of the container.
        pub fn shell_job(&mut self, allow: bool) -> &mut Self {
            self.common.shell_job = allow;
            self
        }

        /// Keeps file locks. It is safe only where nobody outside of the container holds any.
        pub fn file_locks(&mut self, keep: bool) -> &mut Self {
            self.common.file_locks = keep;
            self
        }

        /// Removes memory pages from earlier images that this one replaces.
        pub fn auto_dedup(&mut self, remove: bool) -> &mut Self {
            self.common.auto_dedup = remove;
            self
        }

        /// Hands memory pages over when they are needed: the checkpoint serves them until all
        /// are taken; for the restore `criu lazy-pages` gets them.
        pub fn lazy_pages(&mut self, lazy: bool) -> &mut Self {
            self.common.lazy_pages = lazy;
            self
        }

        /// Who manages the groups.
        pub fn manage_cgroups(&mut self, mode: ManageCgroups) -> &mut Self {
            self.common.cgroups = mode;
            self
        }
    };
}

impl<'fd> CheckpointOptions<'fd> {
    /// Writes images into this directory, which is made where it is missing.
    pub fn new(images: impl Into<PathBuf>) -> Self {
        Self {
            common: Common::new(images.into()),
            parent: None,
            leave_running: false,
            pre_dump: false,
            tcp_skip_in_flight: false,
            link_remap: false,
            page_server: None,
            status: None,
        }
    }

    common_setters!();

    /// Directory of an earlier image, relative to this one's, of which unchanged pages are used.
    pub fn parent(&mut self, directory: impl Into<PathBuf>) -> &mut Self {
        self.parent = Some(directory.into());
        self
    }

    /// Leaves the container running.
    pub fn leave_running(&mut self, leave: bool) -> &mut Self {
        self.leave_running = leave;
        self
    }

    /// Writes only memory, and leaves the container running: what comes later as
    /// [`parent`](Self::parent).
    pub fn pre_dump(&mut self, pre_dump: bool) -> &mut Self {
        self.pre_dump = pre_dump;
        self
    }

    /// Leaves TCP connections out that are being established.
    pub fn tcp_skip_in_flight(&mut self, skip: bool) -> &mut Self {
        self.tcp_skip_in_flight = skip;
        self
    }

    /// Gives files that were unlinked a name again while the image exists.
    pub fn link_remap(&mut self, allow: bool) -> &mut Self {
        self.link_remap = allow;
        self
    }

    /// Sends memory pages to a page server instead of writing them, or serves them from there
    /// with [`lazy_pages`](Self::lazy_pages).
    pub fn page_server(&mut self, address: impl Into<String>, port: u16) -> &mut Self {
        self.page_server = Some((address.into(), port));
        self
    }

    /// A descriptor that gets one NUL byte when pages are served.
    pub fn status(&mut self, descriptor: BorrowedFd<'fd>) -> &mut Self {
        self.status = Some(descriptor);
        self
    }
}

impl<'fd> RestoreOptions<'fd> {
    /// Makes the container that `create` describes of the images in this directory. Of `create`
    /// the following has no effect: the seccomp filter, rights, environment and arguments of the
    /// configuration, and descriptors from 3 on, all of which the images have.
    pub fn new(create: CreateOptions<'fd>, images: impl Into<PathBuf>) -> Self {
        Self {
            common: Common::new(images.into()),
            create,
            tcp_close: false,
            lsm_profile: None,
            lsm_mount_context: None,
        }
    }

    common_setters!();

    /// The directory of all states.
    pub(crate) fn root(&self) -> &std::path::Path {
        &self.create.root
    }

    /// Makes established TCP connections of the images closed ones.
    pub fn tcp_close(&mut self, close: bool) -> &mut Self {
        self.tcp_close = close;
        self
    }

    /// Label of a security module for all processes, `TYPE:NAME`, instead of that of the images.
    pub fn lsm_profile(&mut self, profile: impl Into<String>) -> &mut Self {
        self.lsm_profile = Some(profile.into());
        self
    }

    /// Label of a security module for mounts, instead of that of the images.
    pub fn lsm_mount_context(&mut self, context: impl Into<String>) -> &mut Self {
        self.lsm_mount_context = Some(context.into());
        self
    }
}
