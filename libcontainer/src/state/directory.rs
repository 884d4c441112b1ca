//! The directory of one container.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind as IoKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, major, minor, mkdirat};
use nix::unistd::{UnlinkatFlags, mkfifoat, unlinkat};
use procfs::LockType;

use super::{Identity, LiveProcess, Record, check_id};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::Spec;
use crate::sys::Errno;

const RECORD: &str = "state.json";
const SPEC: &str = "config.json";
const GO: &str = "go";
const RESULT: &str = "result";

/// Files of a container's directory, those of an interrupted replacement among them.
const FILES: [&str; 6] = [RECORD, SPEC, GO, RESULT, ".state.json", ".config.json"];

/// The state directory of one container.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
    id: String,
    directory: File,
}

/// While it lives, no other operation changes the container.
#[derive(Debug)]
pub(crate) struct Lock {
    _directory: Flock<File>,
}

/// Both FIFOs of the start gate, open for reading and writing.
pub(crate) struct Gate {
    /// Through which `start` says go.
    pub(crate) go: OwnedFd,
    /// Through which the container's process tells `start` what became of it.
    pub(crate) result: OwnedFd,
}

impl StateDirectory {
    /// Directory with the socket on which the container tells that it is ready.
    pub(crate) const NOTIFY: &str = "notify";

    /// Where the root file system is bound while CRIU restores the container.
    const RESTORE_ROOT: &str = "criu-root";

    /// The socket in it.
    pub(crate) const NOTIFY_SOCKET: &str = "notify.sock";

    /// Claims an id by making its directory below `root`, which is made where it is missing.
    pub(crate) fn claim(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        make_root(root)?;
        let path = root.join(id);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == IoKind::AlreadyExists => {
                let message = "container with given ID already exists";
                return Err(Error::new(ErrorKind::AlreadyExists, message));
            }
            Err(error) => return Err(state_error("mkdir", &path, &error)),
        }
        let directory = open_directory(&path).map_err(|e| state_error("open", &path, &e))?;
        // The umask of the caller may have taken rights away.
        directory
            .set_permissions(Permissions::from_mode(0o700))
            .map_err(|error| state_error("chmod", &path, &error))?;
        Ok(Self { path, id: id.to_owned(), directory })
    }

    /// The directory of an existing container.
    pub(crate) fn open(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        Self::open_named(root, id, id)
    }

    fn open_named(root: &Path, name: &str, id: &str) -> Result<Self> {
        let path = root.join(name);
        match open_directory(&path) {
            Ok(directory) => Ok(Self { path, id: id.to_owned(), directory }),
            Err(error) if error.kind() == IoKind::NotFound => {
                Err(Error::new(ErrorKind::NotFound, "container does not exist"))
            }
            Err(error) => Err(state_error("open", &path, &error)),
        }
    }

    /// Locks the container against other operations; waits at most `patience` for those.
    pub(crate) fn lock(&self, patience: Duration) -> Result<Lock> {
        let deadline = Instant::now() + patience;
        // A lock belongs to an opening of the directory: each operation opens it anew.
        let mut directory = self.reopen()?;
        loop {
            match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => return Ok(Lock { _directory: locked }),
                Err((file, nix::errno::Errno::EWOULDBLOCK)) if Instant::now() < deadline => {
                    directory = file;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                    let holder = self.holder().map(|pid| format!(" in process {pid}"));
                    let message = format!(
                        "container {} is busy: another operation on it goes on{}",
                        self.id,
                        holder.unwrap_or_default()
                    );
                    return Err(Error::new(ErrorKind::Busy, message));
                }
                Err((_, errno)) => return Err(self.failed("lock", "", errno)),
            }
        }
    }

    /// The process that locks the container, if the kernel tells: not of one in another pid namespace.
    fn holder(&self) -> Option<i32> {
        let own = fstat(&self.directory).ok()?;
        let device = (major(own.st_dev), minor(own.st_dev));
        let mut locks = procfs::locks().ok()?.into_iter().filter(|lock| {
            lock.lock_type == LockType::FLock
                && (u64::from(lock.devmaj), u64::from(lock.devmin)) == device
                && lock.inode == own.st_ino
        });
        locks.find_map(|lock| lock.pid)
    }

    fn reopen(&self) -> Result<File> {
        openat(&self.directory, ".", directory_flags(), Mode::empty())
            .map(File::from)
            .map_err(|errno| self.failed("open", "", errno))
    }

    /// Makes the FIFOs of the start gate and opens both for reading and writing: so their owner
    /// never blocks in open, and never sees their end.
    pub(crate) fn make_gate(&self) -> Result<Gate> {
        for name in [GO, RESULT] {
            mkfifoat(&self.directory, name, Mode::S_IRUSR | Mode::S_IWUSR)
                .map_err(|errno| self.failed("mkfifo", name, errno))?;
        }
        Ok(Gate { go: self.open_fifo(GO)?, result: self.open_fifo(RESULT)? })
    }

    fn open_fifo(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        openat(&self.directory, name, flags, Mode::empty())
            .map_err(|errno| self.failed("open", name, errno))
    }

    /// Opens the gate's ends for `start`: first the one that is read, then the one that is
    /// written. `None` when no process waits behind it.
    pub(crate) fn open_gate(&self) -> Result<Option<Gate>> {
        let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let result = openat(&self.directory, RESULT, flags | OFlag::O_RDONLY, Mode::empty())
            .map_err(|errno| self.failed("open", RESULT, errno))?;
        match openat(&self.directory, GO, flags | OFlag::O_WRONLY, Mode::empty()) {
            Ok(go) => Ok(Some(Gate { go, result })),
            Err(nix::errno::Errno::ENXIO) => Ok(None),
            Err(errno) => Err(self.failed("open", GO, errno)),
        }
    }

    /// Whether a process waits behind the start gate.
    pub(crate) fn gate_is_closed(&self) -> Result<bool> {
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        match openat(&self.directory, GO, flags, Mode::empty()) {
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::ENXIO | nix::errno::Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.failed("open", GO, errno)),
        }
    }

    /// Makes the directory that is mounted in the container, for every user of it.
    pub(crate) fn make_notify_directory(&self) -> Result<()> {
        let mode = Mode::from_bits_truncate(0o755);
        mkdirat(&self.directory, Self::NOTIFY, mode)
            .and_then(|()| self.open_notify())
            // The umask of the caller may have taken rights away.
            .and_then(|directory| fchmod(directory, mode))
            .map_err(|errno| self.failed("mkdir", Self::NOTIFY, errno))
    }

    fn open_notify(&self) -> nix::Result<OwnedFd> {
        openat(&self.directory, Self::NOTIFY, directory_flags(), Mode::empty())
    }

    /// Makes a directory on which CRIU finds the root file system. Its path has no links.
    pub(crate) fn make_restore_root(&self) -> Result<PathBuf> {
        mkdirat(&self.directory, Self::RESTORE_ROOT, Mode::S_IRWXU)
            .map_err(|errno| self.failed("mkdir", Self::RESTORE_ROOT, errno))?;
        let path = self.path.join(Self::RESTORE_ROOT);
        path.canonicalize().map_err(|error| state_error("resolve", &path, &error))
    }

    /// Removes that directory.
    pub(crate) fn remove_restore_root(&self) -> Result<()> {
        match unlinkat(&self.directory, Self::RESTORE_ROOT, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.failed("rmdir", Self::RESTORE_ROOT, errno)),
        }
    }

    /// Path of the socket in that directory, `None` where there is none. An address is short, so
    /// that it goes by the process's own descriptor of the directory.
    pub(crate) fn notify_socket(&self) -> Result<Option<PathBuf>> {
        let path = format!("/proc/self/fd/{}", self.directory.as_raw_fd());
        match self.open_notify() {
            Ok(_) => Ok(Some(Path::new(&path).join(Self::NOTIFY).join(Self::NOTIFY_SOCKET))),
            Err(nix::errno::Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.failed("open", Self::NOTIFY, errno)),
        }
    }

    /// Writes the record.
    pub(crate) fn save(&self, record: &Record) -> Result<()> {
        self.replace(RECORD, &record.to_json()?)
    }

    /// Reads the record. A directory without one is a container whose creation broke off before
    /// anything was done.
    pub(crate) fn load(&self) -> Result<Record> {
        match self.read(RECORD)? {
            Some(json) => Record::parse(&json),
            None => Err(Error::new(ErrorKind::NotFound, "container does not exist")),
        }
    }

    /// Keeps the configuration: the bundle may change or go.
    pub(crate) fn save_spec(&self, json: &[u8]) -> Result<()> {
        self.replace(SPEC, json)
    }

    /// The configuration that the container was created with.
    pub(crate) fn load_spec(&self) -> Result<Spec> {
        let json =
            self.read(SPEC)?.ok_or_else(|| self.failed("read", SPEC, nix::errno::Errno::ENOENT))?;
        Spec::parse(&json).map_err(|error| {
            let message = format!("{}/{SPEC}: {error}", self.path.display());
            Error::new(ErrorKind::State, message)
        })
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let mut file = match openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(nix::errno::Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(self.failed("open", name, errno)),
        };
        let mut content = Vec::new();
        file.read_to_end(&mut content)
            .map_err(|error| state_error("read", &self.path.join(name), &error))?;
        Ok(Some(content))
    }

    /// Readers see the old content or the new one. No fsync: after a crash of the machine there
    /// is no container either.
    fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let temporary = format!(".{name}");
        let flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_TRUNC
            | OFlag::O_CLOEXEC
            | OFlag::O_NOFOLLOW;
        let file =
            openat(&self.directory, temporary.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)
                .map_err(|errno| self.failed("open", &temporary, errno))?;
        File::from(file)
            .write_all(content)
            .map_err(|error| state_error("write", &self.path.join(&temporary), &error))?;
        renameat(&self.directory, temporary.as_str(), &self.directory, name)
            .map_err(|errno| self.failed("rename", &temporary, errno))
    }

    /// Frees the id: gives the directory a hidden name, unique to the process that deletes and to
    /// the deletion.
    pub(crate) fn retire(&mut self) -> Result<()> {
        static RETIRED: AtomicU32 = AtomicU32::new(0);
        let own = Identity::of(std::process::id())?;
        let count = RETIRED.fetch_add(1, Ordering::Relaxed);
        let hidden = format!(".{}.{}.{count}", own.pid, own.start_time);
        let hidden = self.path.with_file_name(hidden);
        std::fs::rename(&self.path, &hidden)
            .map_err(|error| state_error("rename", &self.path, &error))?;
        self.path = hidden;
        Ok(())
    }

    /// Removes the directory with everything that this crate puts into it.
    pub(crate) fn remove(&self) -> Result<()> {
        for name in FILES {
            match unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(nix::errno::Errno::ENOENT) => {}
                Err(errno) => return Err(self.failed("unlink", name, errno)),
            }
        }
        self.remove_notify_directory()?;
        self.remove_restore_root()?;
        match std::fs::remove_dir(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == IoKind::NotFound => Ok(()),
            Err(error) => Err(state_error("rmdir", &self.path, &error)),
        }
    }

    fn remove_notify_directory(&self) -> Result<()> {
        let gone = |errno| if errno == nix::errno::Errno::ENOENT { Ok(()) } else { Err(errno) };
        let directory = match self.open_notify() {
            Ok(directory) => directory,
            Err(errno) => return gone(errno).map_err(|e| self.failed("open", Self::NOTIFY, e)),
        };
        unlinkat(directory, Self::NOTIFY_SOCKET, UnlinkatFlags::NoRemoveDir)
            .or_else(gone)
            .and_then(|()| {
                unlinkat(&self.directory, Self::NOTIFY, UnlinkatFlags::RemoveDir).or_else(gone)
            })
            .map_err(|errno| self.failed("rmdir", Self::NOTIFY, errno))
    }

    fn failed(&self, act: &str, name: &str, errno: nix::errno::Errno) -> Error {
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        let message = format!("{act} {}: {}", path.display(), Errno::from(errno));
        Error::new(ErrorKind::State, message)
    }
}

/// Names of the containers below `root`, sorted.
pub(crate) fn names(root: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> =
        entries(root)?.into_iter().filter(|name| check_id(name).is_ok()).collect();
    names.sort_unstable();
    Ok(names)
}

fn entries(root: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == IoKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(state_error("open", root, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| state_error("read", root, &error))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Deletions below `root` whose process died over them.
pub(crate) fn unfinished_deletions(root: &Path) -> Result<Vec<StateDirectory>> {
    let mut unfinished = Vec::new();
    for name in entries(root)? {
        let Some(deleter) = parse_hidden(&name) else { continue };
        if LiveProcess::find(&deleter)?.is_none()
            && let Ok(directory) = StateDirectory::open_named(root, &name, &name)
        {
            unfinished.push(directory);
        }
    }
    Ok(unfinished)
}

fn parse_hidden(name: &str) -> Option<Identity> {
    let mut parts = name.strip_prefix('.')?.split('.');
    let identity =
        Identity { pid: parts.next()?.parse().ok()?, start_time: parts.next()?.parse().ok()? };
    parts.next()?.parse::<u32>().ok()?;
    parts.next().is_none().then_some(identity)
}

/// Replaces a file by rename, so that a reader finds its old content or all of the new one.
pub(crate) fn write_replacing(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().ok_or(IoKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(hidden);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o666)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&temporary)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err()
        && let Err(error) = std::fs::remove_file(&temporary)
    {
        log::debug!("{} stays: {error}", temporary.display());
    }
    written
}

fn make_root(root: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).recursive(true).create(root) {
        Ok(()) => Ok(()),
        Err(error) => Err(state_error("mkdir", root, &error)),
    }
}

fn directory_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

fn open_directory(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(directory_flags().bits()).open(path)
}

fn state_error(act: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::io(ErrorKind::State, act, path.display(), error)
}

impl AsFd for StateDirectory {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_claimed_once_and_free_again_when_its_directory_is_retired() {
        let root = tempfile::tempdir().unwrap();
        let mut first = StateDirectory::claim(root.path(), "c1").unwrap();
        let error = StateDirectory::claim(root.path(), "c1").unwrap_err();
        assert_eq!(error.to_string(), "container with given ID already exists");
        assert_eq!(first.load().unwrap_err().kind(), ErrorKind::NotFound);
        first.make_gate().unwrap();
        first.save_spec(b"{}").unwrap();
        first.retire().unwrap();
        let mut second = StateDirectory::claim(root.path(), "c1").unwrap();
        second.save_spec(b"{}").unwrap();
        second.retire().unwrap();
        assert!(unfinished_deletions(root.path()).unwrap().is_empty(), "their process lives");
        first.remove().unwrap();
        second.remove().unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_excludes_other_openings_of_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let first = StateDirectory::claim(root.path(), "c1").unwrap();
        let second = StateDirectory::open(root.path(), "c1").unwrap();
        let lock = first.lock(Duration::ZERO).unwrap();
        let error = second.lock(Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        let holder = format!("goes on in process {}", std::process::id());
        assert!(error.to_string().ends_with(&holder), "{error}");
        drop(lock);
        second.lock(Duration::ZERO).unwrap();
    }

    #[test]
    fn the_gate_knows_whether_somebody_waits() {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::claim(root.path(), "c1").unwrap();
        assert!(!directory.gate_is_closed().unwrap());
        let gate = directory.make_gate().unwrap();
        assert!(directory.gate_is_closed().unwrap());
        assert!(directory.open_gate().unwrap().is_some());
        drop(gate);
        assert!(!directory.gate_is_closed().unwrap());
        assert!(directory.open_gate().unwrap().is_none());
    }

    #[test]
    fn only_names_of_retired_directories_are_deletions() {
        assert_eq!(parse_hidden(".12.345.0"), Some(Identity { pid: 12, start_time: 345 }));
        for name in ["c1", ".12", ".12.345", ".12.345.0.1", "..1.2", ".a.b.c", "12.345.0"] {
            assert_eq!(parse_hidden(name), None, "{name}");
        }
    }
}
