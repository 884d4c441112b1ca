//! Checkpoint and restore by CRIU, <https://criu.org>.
//!
//! CRIU stops the container's processes, writes their state into a directory of images, and makes
//! them again of it. This library tells it what belongs to the container and what leads out of
//! it, and does around it what it does around its own child: cgroups, hooks, state.

mod criu;
mod dump;
mod images;
mod message;
mod mounts;
mod namespaces;
mod options;
mod restore;
mod wire;

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub(crate) use dump::{checkpoint, links_of};
pub use options::{CheckpointOptions, ManageCgroups, NetworkLock, RestoreOptions};
pub(crate) use restore::restore;

use nix::errno::Errno;
use nix::fcntl::{OpenHow, openat2};

use crate::error::{Error, ErrorKind, Result};
use crate::spec::Spec;
use crate::state::Record;
use images::Directory;

/// The first CRIU that can be told how to lock the network.
const LOCKS_NETWORK: u32 = 31_700;

/// Names a file with options of CRIU, which overrule those of the caller.
const CONFIG: &str = "org.criu.config";

/// The file where no annotation names one, as with runc. CRIU does without it where it is missing.
const DEFAULT_CONFIG: &str = "/etc/criu/runc.conf";

/// How often a path is tried again.
const ATTEMPTS: u32 = 4096;

/// The file with options of CRIU. It can name programs that CRIU executes. So one that came with
/// the images or with the bundle is refused: whoever made those would be root.
fn config_file(spec: &Spec, record: &Record, images: &Path) -> Result<Option<String>> {
    let Some(named) = spec.annotations.get(CONFIG) else {
        return Ok(Some(DEFAULT_CONFIG.to_owned()));
    };
    if named.is_empty() {
        return Ok(None);
    }
    let refused = |why: &str| {
        let message = format!("annotation {CONFIG}: {named:?} {why}");
        Err(Error::new(ErrorKind::InvalidConfig, message).at("/annotations/org.criu.config"))
    };
    let path = Path::new(named);
    if !path.is_absolute() {
        return refused("is no absolute path");
    }
    // CRIU does without a file that is missing; nobody else should put one there then.
    let Ok(found) = path.canonicalize() else { return Ok(None) };
    for place in [images, &record.bundle, &record.rootfs] {
        if place.canonicalize().is_ok_and(|place| found.starts_with(place)) {
            return refused("comes with the bundle or the images");
        }
    }
    match found.metadata() {
        Ok(file) if file.is_file() && file.mode() & 0o022 == 0 && is_trusted(file.uid()) => {
            Ok(Some(images::utf8(&found)?))
        }
        _ => refused("can be written by others than root and the caller"),
    }
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

/// Adds what CRIU's log says to an error.
fn with_log(error: Error, directory: &Directory, name: &str) -> Error {
    let tail = directory.log_tail(name);
    if tail.is_empty() || error.kind() != ErrorKind::Checkpoint {
        return error;
    }
    let path = directory.path().join(name);
    error.followed_by(&format!(" ({}: {tail})", path.display()))
}

/// openat2(2) within a directory. The kernel answers EAGAIN to `..` while anything is renamed or
/// mounted, anywhere: bounded, and never a weaker walk instead.
fn open_scoped(directory: BorrowedFd<'_>, path: &Path, how: OpenHow) -> nix::Result<OwnedFd> {
    for _ in 0..ATTEMPTS {
        match openat2(directory, path, how) {
            Err(Errno::EAGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::EAGAIN)
}

fn open_null() -> Result<File> {
    let null = File::options().read(true).write(true).open("/dev/null");
    null.map_err(|error| Error::io(ErrorKind::System, "open", "/dev/null", &error))
}
