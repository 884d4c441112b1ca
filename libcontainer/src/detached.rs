//! Mounts that belong to no namespace yet, for programs that prepare root file systems.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::create::user_namespace_with;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::IdMapping;
use crate::sys::{Errno, mount, process};

/// A copy of a mount that no path leads to yet. It goes when it is dropped, unless it was attached.
///
/// ```no_run
/// use libcontainer::DetachedMount;
/// use libcontainer::spec::IdMapping;
///
/// let copy = DetachedMount::copy_of("/srv/layers".as_ref(), false)?;
/// let ids = [IdMapping { container_id: 0, host_id: 100_000, size: 65536 }];
/// copy.map_ids(&ids, &ids)?;
/// copy.make_read_only()?;
/// copy.attach("/mnt".as_ref())?;
/// # Ok::<(), libcontainer::Error>(())
/// ```
#[derive(Debug)]
pub struct DetachedMount(OwnedFd);

impl DetachedMount {
    /// A copy of the mount at `path`, with the mounts below it if `recursive`: open_tree(2).
    ///
    /// # Errors
    /// [`ErrorKind::System`]; Linux before 5.2 has no such call.
    pub fn copy_of(path: &Path, recursive: bool) -> Result<Self> {
        let text = path.to_str().ok_or(Errno(libc::EILSEQ));
        text.and_then(|text| process::clone_tree(text, recursive))
            .map(Self)
            .map_err(|errno| failed("copy the mount at", path, errno))
    }

    /// Files of `container_id` on the disk belong to `host_id` in the mount: mount_setattr(2).
    ///
    /// # Errors
    /// [`ErrorKind::System`], also for mappings that the kernel refuses; Linux before 5.12 and
    /// some file systems cannot do it.
    pub fn map_ids(&self, uids: &[IdMapping], gids: &[IdMapping]) -> Result<()> {
        let namespace = user_namespace_with(uids, gids)?;
        process::map_ids(self.0.as_fd(), namespace.as_fd(), true).map_err(|errno| {
            let error = Error::new(ErrorKind::System, format!("map the ids of a mount: {errno}"));
            match errno.0 {
                libc::ENOSYS => error.with_hint("id-mapped mounts need Linux 5.12"),
                libc::EINVAL => error.with_hint("the file system may not support id-mapped mounts"),
                _ => error,
            }
        })
    }

    /// Forbids to write through it: mount_setattr(2), Linux 5.12.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn make_read_only(&self) -> Result<()> {
        process::make_read_only(self.0.as_fd()).map_err(|errno| {
            Error::new(ErrorKind::System, format!("make a mount read-only: {errno}"))
        })
    }

    /// Mounts it on `target`, which may be a mount already: move_mount(2).
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn attach(self, target: &Path) -> Result<()> {
        let place = open(target, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| failed("open", target, errno.into()))?;
        mount::attach(self.0.as_raw_fd(), place.as_raw_fd())
            .map_err(|errno| failed("mount on", target, errno))
    }
}

fn failed(act: &str, path: &Path, errno: Errno) -> Error {
    Error::new(ErrorKind::System, format!("{act} {}: {errno}", path.display()))
}
