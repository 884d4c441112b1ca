//! Files of cgroup file systems, and of nothing else.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, Statfs, fstatfs, statfs};

use super::{Error, Result};

/// Longest file that is read: a group's list of processes may be long, but not endless.
const LONGEST_FILE: usize = 64 << 20;

fn is_cgroup(stat: &Statfs) -> bool {
    matches!(stat.filesystem_type(), CGROUP_SUPER_MAGIC | CGROUP2_SUPER_MAGIC)
}

fn foreign(path: &Path) -> Error {
    Error::new(format!("{} is not on a cgroup file system", path.display()))
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File> {
    let file = options
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| Error::kernel("open", path, &error))?;
    let stat = fstatfs(&file).map_err(|errno| Error::kernel("statfs", path, &errno.into()))?;
    if is_cgroup(&stat) { Ok(file) } else { Err(foreign(path)) }
}

/// Opens for reading.
pub(super) fn open_read(path: &Path) -> Result<File> {
    open(path, OpenOptions::new().read(true))
}

/// Opens for writing.
pub(super) fn open_write(path: &Path) -> Result<File> {
    open(path, OpenOptions::new().write(true))
}

/// Opens a group, as clone3 and bpf take it.
pub(super) fn open_group(path: &Path) -> Result<File> {
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
        .open(path)
        .map_err(|error| Error::kernel("open", path, &error))?;
    let stat = fstatfs(&directory).map_err(|errno| Error::kernel("statfs", path, &errno.into()))?;
    if is_cgroup(&stat) { Ok(directory) } else { Err(foreign(path)) }
}

/// Checks that a group exists and is one.
pub(super) fn check_group(path: &Path) -> Result<()> {
    let stat = statfs(path).map_err(|errno| Error::kernel("statfs", path, &errno.into()))?;
    if is_cgroup(&stat) { Ok(()) } else { Err(foreign(path)) }
}

/// Reads the rest of an open file whose whole text the kernel makes at once: less than was asked
/// for is all there is.
pub(super) fn read_open(file: &File, path: &Path) -> Result<String> {
    read_until(file, path, true).map(text)
}

/// Reads a file, as [`read_open`] does.
pub(super) fn read(path: &Path) -> Result<String> {
    read_open(&open_read(path)?, path)
}

/// Reads a file that the kernel makes line by line, such as the processes of a group.
pub(super) fn read_lines(path: &Path) -> Result<String> {
    read_until(&open_read(path)?, path, false).map(text)
}

/// Reads a file of procfs.
pub(super) fn read_proc(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| Error::kernel("open", path, &error))?;
    read_until(&file, path, false)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_until(mut file: &File, path: &Path, short_is_end: bool) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(length) => {
                bytes.extend(buffer.iter().take(length));
                if short_is_end && length < buffer.len() {
                    return Ok(bytes);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::kernel("read", path, &error)),
        }
        if bytes.len() > LONGEST_FILE {
            return Err(Error::new(format!("read {}: file too large", path.display())));
        }
    }
}

/// Reads a number; `max` is the largest one.
pub(super) fn read_number(path: &Path) -> Result<u64> {
    let text = read(path)?;
    match text.trim() {
        "max" => Ok(u64::MAX),
        number => number
            .parse()
            .map_err(|_| Error::new(format!("read {}: {number:?} is no number", path.display()))),
    }
}

/// Writes a value to an open file: one system call, as these files demand.
pub(super) fn write_open(mut file: &File, path: &Path, value: &str) -> Result<()> {
    let written = loop {
        match file.write(value.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result,
        }
    };
    match written {
        Ok(length) if length == value.len() => Ok(()),
        Ok(_) => Err(Error::new(format!("write {value:?} to {}: short write", path.display()))),
        Err(error) => Err(Error::kernel(&format!("write {:?} to", value.trim_end()), path, &error)),
    }
}

/// Writes a value.
pub(super) fn write(path: &Path, value: &str) -> Result<()> {
    write_open(&open_write(path)?, path, value)
}

/// Makes a group. False if it was there.
pub(super) fn make(path: &Path) -> Result<bool> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::kernel("mkdir", path, &error)),
    }
}
