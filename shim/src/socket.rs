//! The socket of a pod's shim.
//!
//! Whoever can connect may run programs as root on the host: so it lies in a directory of its
//! own that only its owner can enter, is the owner's only, and has no abstract address, which
//! every container in the host's network namespace could reach (CVE-2020-15257).

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};
use sha2::{Digest, Sha256};

/// containerd's own directory for the sockets of shims.
const DEFAULT_DIRECTORY: &str = "/run/containerd/s";

/// Own directory in it: that of containerd may be entered by others.
const OWN: &str = "husk";

/// Bytes of the hash in a socket's name. Its path has to be shorter than 108 bytes.
const HASH_LENGTH: usize = 20;

/// Who listens for a pod.
pub(crate) enum Socket {
    /// Nobody did: this one is to be served.
    Bound(OwnedFd),
    /// A shim that serves another container of the pod.
    Taken,
}

/// The address that containerd connects to.
pub(crate) fn address(path: &Path) -> String {
    format!("unix://{}", path.display())
}

/// The path of the socket for the pod `group`.
pub(crate) fn path(
    directory: Option<&Path>,
    containerd: &str,
    namespace: &str,
    group: &str,
) -> PathBuf {
    let mut hash = Sha256::new();
    for part in [containerd, namespace, group] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let name: String = digest.iter().take(HASH_LENGTH).map(|byte| format!("{byte:02x}")).collect();
    directory.unwrap_or(DEFAULT_DIRECTORY.as_ref()).join(OWN).join(name)
}

/// Binds the socket, or finds who has it.
pub(crate) fn claim(path: &Path) -> Result<Socket> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    // Two shims that start at once: a socket that is bound and does not listen yet would look
    // like one whose shim is gone.
    let lock = loop {
        make_directory(directory)?;
        if let Some(lock) = lock(directory)? {
            break lock;
        }
    };
    let claimed = bind_or_find(path).with_context(|| format!("bind {}", path.display()));
    drop(lock);
    claimed
}

/// Removes the socket of a shim that ends, and the directory if it was the last one.
pub(crate) fn release(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let lock = lock(directory)?;
    fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    if directory.ends_with(OWN) {
        leave(directory);
    }
    drop(lock);
    Ok(())
}

/// Removes the socket of this address if it is one of ours and nobody listens on it any more.
pub(crate) fn remove_stale(address: &str) -> Result<()> {
    let path = Path::new(address.strip_prefix("unix://").unwrap_or_default());
    let Some(directory) = path.parent().filter(|directory| directory.ends_with(OWN)) else {
        return Ok(());
    };
    let lock = lock(directory)?;
    let is_stale =
        UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    if is_stale {
        fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
        leave(directory);
    }
    drop(lock);
    Ok(())
}

/// The directory stays when it holds other sockets.
fn leave(directory: &Path) {
    if let Err(error) = fs::remove_dir(directory) {
        log::debug!("{} stays: {error}", directory.display());
    }
}

/// The lock of a directory; none when another one has taken its place.
fn lock(directory: &Path) -> Result<Option<Flock<File>>> {
    let shown = directory.display();
    let file = match File::open(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| format!("open {shown}"))?,
    };
    let lock = Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| std::io::Error::from(errno))
        .with_context(|| format!("lock {shown}"))?;
    let locked = lock.metadata().with_context(|| format!("stat {shown}"))?;
    let is_there = fs::symlink_metadata(directory)
        .is_ok_and(|there| (there.dev(), there.ino()) == (locked.dev(), locked.ino()));
    Ok(is_there.then_some(lock))
}

fn bind_or_find(path: &Path) -> Result<Socket> {
    match listen_at(path) {
        Ok(socket) => return Ok(Socket::Bound(socket)),
        Err(Errno::EADDRINUSE) => {}
        Err(errno) => bail!("{}", std::io::Error::from(errno)),
    }
    match UnixStream::connect(path) {
        Ok(_) => Ok(Socket::Taken),
        // Nobody listens any more: its shim was killed.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path)?;
            Ok(Socket::Bound(listen_at(path).map_err(std::io::Error::from)?))
        }
        Err(error) => Err(error.into()),
    }
}

/// A socket that listens at `path` and is its owner's only, from the first moment on.
pub(crate) fn listen_at(path: &Path) -> nix::Result<OwnedFd> {
    let kind = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, kind, None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&socket, Backlog::new(128)?)?;
    Ok(socket)
}

fn make_directory(directory: &Path) -> Result<()> {
    let shown = directory.display();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("mkdir {shown}"))?;
    let metadata = fs::symlink_metadata(directory).with_context(|| format!("stat {shown}"))?;
    if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() {
        bail!("{shown} is not a directory of the shim's own");
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(directory, Permissions::from_mode(0o700))
            .with_context(|| format!("chmod {shown}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_has_a_socket_of_its_own() {
        let path = |containerd, namespace, group| super::path(None, containerd, namespace, group);
        let first = path("/run/c.sock", "default", "pod");
        assert_eq!(first, path("/run/c.sock", "default", "pod"));
        assert_ne!(first, path("/run/c.sock", "other", "pod"));
        assert_ne!(first, path("/run/d.sock", "default", "pod"));
        assert_ne!(path("", "ab", "c"), path("", "a", "bc"));
        assert!(first.as_os_str().len() < 80);
    }

    #[test]
    fn the_socket_is_its_owners_whatever_the_directory_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = super::path(Some(directory.path()), "c", "n", "g");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
        let socket = claim(&path).unwrap();
        assert!(matches!(socket, Socket::Bound(..)));
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(matches!(claim(&path).unwrap(), Socket::Taken));
        drop(socket);
        assert!(matches!(claim(&path).unwrap(), Socket::Bound(..)));
        remove_stale(&address(&path)).unwrap();
        assert!(!path.parent().unwrap().exists(), "nothing stays of the last one");
    }
}
