//! `tmpcopyup`: the directory that a tmpfs covers is copied into it.
//!
//! The tree is walked with an explicit stack of descriptors and one buffer: names that are read
//! again after a subdirectory was copied are found by their position in the directory.

use std::ffi::CStr;

use super::report::Failure;
use super::runner::Outcome;
use crate::protocol::mount::Part;
use crate::sys::path::c_text;
use crate::sys::{Errno, path, raw};

type Result<T> = std::result::Result<T, Errno>;

/// Directories within each other, at most.
const DEPTH: usize = 64;

/// Bytes of the buffer for names; the rest of the scratch space is for content.
const NAMES: usize = 16 * 1024;

#[derive(Clone, Copy)]
struct Level {
    from: i32,
    to: i32,
    /// Where reading goes on, as the kernel numbers entries.
    position: i64,
}

/// Copies what is in the directory `from` into the directory `to`; both stay open.
pub(super) fn copy(from: i32, to: i32, scratch: &mut [u8]) -> Outcome {
    let (names, content) = scratch.split_at_mut_checked(NAMES).ok_or(Errno(libc::ENOBUFS))?;
    let mut copy =
        Copy { names, content, levels: [Level { from: -1, to: -1, position: 0 }; DEPTH], depth: 0 };
    let copied = copy.open(from, to, c".").and_then(|()| copy.run());
    let failing = copy.failing_name();
    copied.map_err(|errno| Failure::from(errno).at(Part::CopyUp.detail(to)).with_text(failing))
}

struct Copy<'a> {
    names: &'a mut [u8],
    content: &'a mut [u8],
    levels: [Level; DEPTH],
    depth: usize,
}

/// One entry of a directory as getdents64 writes it.
struct Entry<'a> {
    name: &'a CStr,
    next: i64,
}

impl Copy<'_> {
    fn run(&mut self) -> Result<()> {
        while let Some(level) = self.levels.get(self.depth.wrapping_sub(1)).copied() {
            path::seek(level.from, level.position)?;
            let length = path::getdents(level.from, self.names)?;
            if length == 0 {
                self.close();
                continue;
            }
            self.copy_entries(level, length)?;
        }
        Ok(())
    }

    /// Copies entries until one of them is a directory: that one is entered first.
    fn copy_entries(&mut self, level: Level, length: usize) -> Result<()> {
        let mut at = 0;
        while at < length {
            let record = self.names.get(at..length).unwrap_or_default();
            let (entry, size) = read_entry(record)?;
            at = at.saturating_add(size);
            let position = entry.next;
            if matches!(entry.name.to_bytes(), b"." | b"..") {
                self.set_position(position);
                continue;
            }
            let status = path::stat(level.from, entry.name)?;
            let is_directory = status.st_mode & libc::S_IFMT == libc::S_IFDIR;
            copy_entry(level, entry.name, &status, self.content)?;
            if is_directory {
                let mut name = [0; 256];
                let name = super::resolve::terminated(entry.name.to_bytes(), &mut name)?;
                self.set_position(position);
                return self.open(level.from, level.to, name);
            }
            self.set_position(position);
        }
        Ok(())
    }

    fn set_position(&mut self, position: i64) {
        if let Some(level) = self.levels.get_mut(self.depth.wrapping_sub(1)) {
            level.position = position;
        }
    }

    fn open(&mut self, from: i32, to: i32, name: &CStr) -> Result<()> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let level = self.levels.get_mut(self.depth).ok_or(Errno(libc::ENAMETOOLONG))?;
        let from = path::openat(from, name, flags, 0)?;
        let to = path::openat(to, name, flags, 0)?;
        *level = Level { from, to, position: 0 };
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    /// Leaves a directory; its times are set now that nothing is added to it any more.
    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if let Some(level) = self.levels.get(self.depth) {
            if let Ok(status) = path::stat(level.from, c"") {
                // Times are a courtesy that some file systems do not offer.
                let _ = path::set_times(level.to, c".", &status);
            }
            raw::close(level.from);
            raw::close(level.to);
        }
    }

    /// The first name of the buffer that was read last: near the one that failed.
    fn failing_name(&self) -> &[u8] {
        self.names
            .get(19..)
            .and_then(|name| CStr::from_bytes_until_nul(name).ok())
            .map(CStr::to_bytes)
            .unwrap_or_default()
    }
}

fn read_entry(record: &[u8]) -> Result<(Entry<'_>, usize)> {
    let broken = Errno(libc::EIO);
    let next = record.get(8..).and_then(|rest| rest.first_chunk()).ok_or(broken)?;
    let size = record.get(16..).and_then(|rest| rest.first_chunk()).ok_or(broken)?;
    let size = usize::from(u16::from_ne_bytes(*size));
    if size == 0 {
        return Err(broken);
    }
    let name = c_text(record.get(19..size).ok_or(broken)?)?;
    Ok((Entry { name, next: i64::from_ne_bytes(*next) }, size))
}

/// Copies one entry, of a directory only the directory itself.
fn copy_entry(level: Level, name: &CStr, status: &libc::stat, content: &mut [u8]) -> Result<()> {
    match status.st_mode & libc::S_IFMT {
        libc::S_IFDIR => copy_directory(level, name, status, content)?,
        libc::S_IFREG => copy_file(level, name, status, content)?,
        libc::S_IFLNK => {
            let length = path::readlinkat(level.from, name, content)?;
            *content.get_mut(length).ok_or(Errno(libc::ENAMETOOLONG))? = 0;
            path::symlinkat(c_text(content)?, level.to, name)?;
        }
        // A socket without its listener is of no use.
        libc::S_IFSOCK => return Ok(()),
        _ => path::mknodat(level.to, name, status.st_mode, status.st_rdev)?,
    }
    if status.st_mode & libc::S_IFMT != libc::S_IFREG
        && status.st_mode & libc::S_IFMT != libc::S_IFDIR
    {
        own(level.to, name, status)?;
        path::set_times(level.to, name, status)?;
    }
    Ok(())
}

fn copy_directory(
    level: Level,
    name: &CStr,
    status: &libc::stat,
    content: &mut [u8],
) -> Result<()> {
    path::mkdirat(level.to, name, 0o700)?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let from = path::openat(level.from, name, flags, 0)?;
    let to = path::openat(level.to, name, flags, 0)?;
    let copied = finish(from, to, status, content);
    raw::close(from);
    raw::close(to);
    copied
}

fn copy_file(level: Level, name: &CStr, status: &libc::stat, content: &mut [u8]) -> Result<()> {
    let read = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let from = path::openat(level.from, name, read, 0)?;
    let write = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let to = path::openat(level.to, name, write, 0o600)?;
    let copied = copy_content(from, to, content)
        .and_then(|()| finish(from, to, status, content))
        .and_then(|()| path::set_times(level.to, name, status));
    raw::close(from);
    raw::close(to);
    copied
}

fn copy_content(from: i32, to: i32, buffer: &mut [u8]) -> Result<()> {
    loop {
        let length = raw::read(from, buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let written = raw::write(to, rest)?;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}

/// Owner, then mode (a change of the owner takes setuid bits away), then extended attributes
/// (capabilities of a file go with a change of the owner, too).
fn finish(from: i32, to: i32, status: &libc::stat, content: &mut [u8]) -> Result<()> {
    own(to, c"", status)?;
    path::fchmod(to, status.st_mode & 0o7777)?;
    copy_attributes(from, to, content)
}

/// In a user namespace owners that have no number there cannot be kept.
fn own(directory: i32, name: &CStr, status: &libc::stat) -> Result<()> {
    match path::fchownat(directory, name, status.st_uid, status.st_gid) {
        Err(Errno(libc::EINVAL | libc::EPERM)) => Ok(()),
        result => result,
    }
}

fn copy_attributes(from: i32, to: i32, buffer: &mut [u8]) -> Result<()> {
    let half = buffer.len() >> 1;
    let (names, value) = buffer.split_at_mut_checked(half).ok_or(Errno(libc::ENOBUFS))?;
    let length = match path::list_attributes(from, names) {
        Err(Errno(libc::ENOTSUP)) => 0,
        result => result?,
    };
    let mut rest = names.get(..length).unwrap_or_default();
    while let Ok(name) = CStr::from_bytes_until_nul(rest) {
        rest = rest.get(name.to_bytes_with_nul().len()..).unwrap_or_default();
        let size = path::read_attribute(from, name, value)?;
        let value = value.get(..size).unwrap_or_default();
        match path::write_attribute(to, name, value) {
            // A tmpfs has no place for `user` attributes before Linux 6.6, and labels of an LSM
            // are not ours to set.
            Err(Errno(libc::ENOTSUP | libc::EPERM)) | Ok(()) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
