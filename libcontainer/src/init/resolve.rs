//! Paths inside the root file system, whose content is the image's or an attacker's: nothing may
//! lead out of it, and nothing outside may be made or changed (CVE-2021-30465, CVE-2024-45310).

use super::report::Failure;
use super::runner::Child;
use crate::protocol::Slot;
use crate::sys::{Errno, path, raw};

type Result<T> = std::result::Result<T, Errno>;

/// Whether links on the way, and at the end, are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    Refuse,
}

/// What happens when the path or a part of it is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Refuse,
    Directory,
    File,
}

/// Longest path, with its NUL: PATH_MAX.
const PATH_LENGTH: usize = 4096;

/// Space for what is left to walk: a path and the links that it expands to.
const PENDING_LENGTH: usize = 4 * PATH_LENGTH;

/// Mode of directories and files that are made to mount on.
const MODE: u32 = 0o755;

/// Tries against a path that others rename: an unrelated rename makes openat2 answer EAGAIN.
const TRIES: u32 = 256;

/// As many links as the kernel follows in one path.
const LINKS: u32 = 40;

/// Opens `path` (without a NUL at its end) inside the container's root as O_PATH.
pub(super) fn open(
    child: &mut Child<'_>,
    path: &[u8],
    links: Links,
    missing: Missing,
) -> std::result::Result<i32, Failure> {
    let root = child.fd(Slot::ROOT)?;
    Ok(open_below(root, path, links, missing, child.scratch)?)
}

/// Opens `path` inside `root`.
pub(super) fn open_below(
    root: i32,
    path: &[u8],
    links: Links,
    missing: Missing,
    scratch: &mut [u8],
) -> Result<i32> {
    match by_kernel(root, path, links, scratch) {
        Err(Errno(libc::ENOENT)) if missing != Missing::Refuse => {
            Walk::new(root, path, links, missing, scratch)?.run()
        }
        // Linux before 5.6, or a filter that does not know the call.
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            Walk::new(root, path, links, missing, scratch)?.run()
        }
        result => result,
    }
}

fn by_kernel(root: i32, path: &[u8], links: Links, scratch: &mut [u8]) -> Result<i32> {
    let text = terminated(path, scratch)?;
    let mut resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= libc::RESOLVE_NO_SYMLINKS;
    }
    for _ in 0..TRIES {
        match path::openat2(root, text, libc::O_PATH | libc::O_CLOEXEC, resolve) {
            Err(Errno(libc::EAGAIN)) => {}
            result => return result,
        }
    }
    Err(Errno(libc::EAGAIN))
}

/// Copies a text and ends it with a NUL.
pub(super) fn terminated<'a>(text: &[u8], buffer: &'a mut [u8]) -> Result<&'a std::ffi::CStr> {
    let length = text.len();
    if length >= PATH_LENGTH {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    let (place, rest) = buffer.split_at_mut_checked(length).ok_or(Errno(libc::ENAMETOOLONG))?;
    place.copy_from_slice(text);
    *rest.first_mut().ok_or(Errno(libc::ENAMETOOLONG))? = 0;
    path::c_text(buffer)
}

/// The directory and the name of a path; no name for the root.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last.saturating_add(1));
    let path = path.get(..end).unwrap_or_default();
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at.saturating_add(1));
    path.split_at_checked(start).unwrap_or_default()
}

/// A walk by hand: one component at a time, no link is ever followed by the kernel, and `..` goes
/// back over components that were resolved before, from the root anew.
struct Walk<'a> {
    root: i32,
    links: Links,
    missing: Missing,
    /// What is left, up to the end of the buffer; the last byte is NUL.
    pending: &'a mut [u8],
    start: usize,
    /// Components that led to `current`, each with a NUL.
    resolved: &'a mut [u8],
    length: usize,
    target: &'a mut [u8],
    /// Where the walk stands; not to be closed while it is `root`.
    current: i32,
    followed: u32,
    tries: u32,
}

impl<'a> Walk<'a> {
    fn new(
        root: i32,
        path: &[u8],
        links: Links,
        missing: Missing,
        scratch: &'a mut [u8],
    ) -> Result<Self> {
        let too_small = Errno(libc::ENOBUFS);
        let (pending, rest) = scratch.split_at_mut_checked(PENDING_LENGTH).ok_or(too_small)?;
        let (resolved, rest) = rest.split_at_mut_checked(PENDING_LENGTH).ok_or(too_small)?;
        let target = rest.get_mut(..PATH_LENGTH).ok_or(too_small)?;
        let mut walk = Self {
            root,
            links,
            missing,
            pending,
            start: PENDING_LENGTH.saturating_sub(1),
            resolved,
            length: 0,
            target,
            current: root,
            followed: 0,
            tries: 0,
        };
        *walk.pending.last_mut().ok_or(too_small)? = 0;
        walk.prepend(path)?;
        Ok(walk)
    }

    fn run(mut self) -> Result<i32> {
        let result = self.steps();
        match result {
            Ok(()) if self.current == self.root => {
                let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY;
                path::openat(self.root, c".", flags, 0)
            }
            Ok(()) => Ok(self.current),
            Err(errno) => {
                self.stand_at(self.root);
                Err(errno)
            }
        }
    }

    fn steps(&mut self) -> Result<()> {
        while let Some((from, to)) = self.next_component()? {
            let name = self.pending.get(from..to).unwrap_or_default();
            match name {
                b"." => {}
                b".." => self.go_up()?,
                _ => self.enter(from, to)?,
            }
        }
        Ok(())
    }

    /// Bounds of the next component in `pending`; its end gets a NUL.
    fn next_component(&mut self) -> Result<Option<(usize, usize)>> {
        let rest = self.pending.get(self.start..).unwrap_or_default();
        let Some(skip) = rest.iter().position(|byte| *byte != b'/' && *byte != 0) else {
            return Ok(None);
        };
        let from = self.start.saturating_add(skip);
        let name = self.pending.get(from..).unwrap_or_default();
        let length = name
            .iter()
            .position(|byte| *byte == b'/' || *byte == 0)
            .ok_or(Errno(libc::ENAMETOOLONG))?;
        let to = from.saturating_add(length);
        *self.pending.get_mut(to).ok_or(Errno(libc::ENAMETOOLONG))? = 0;
        self.start = to.saturating_add(1).min(self.pending.len());
        Ok(Some((from, to)))
    }

    fn is_last(&self) -> bool {
        let rest = self.pending.get(self.start..).unwrap_or_default();
        rest.iter().all(|byte| *byte == b'/' || *byte == 0)
    }

    fn enter(&mut self, from: usize, to: usize) -> Result<()> {
        let fd = self.open_component(from, to)?;
        let status = match path::stat(fd, c"") {
            Ok(status) => status,
            Err(errno) => {
                raw::close(fd);
                return Err(errno);
            }
        };
        if status.st_mode & libc::S_IFMT == libc::S_IFLNK {
            let read = path::readlinkat(fd, c"", self.target);
            raw::close(fd);
            return self.follow(read?);
        }
        self.remember(from, to)?;
        self.stand_at(fd);
        Ok(())
    }

    fn open_component(&mut self, from: usize, to: usize) -> Result<i32> {
        let is_last = self.is_last();
        let bytes = self.pending.get(from..=to).ok_or(Errno(libc::EINVAL))?;
        let name = path::c_text(bytes)?;
        let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        loop {
            match path::openat(self.current, name, flags, 0) {
                Err(Errno(libc::ENOENT)) if self.missing != Missing::Refuse => {}
                result => return result,
            }
            self.tries = self.tries.saturating_add(1);
            if self.tries > TRIES {
                return Err(Errno(libc::EAGAIN));
            }
            let made = if is_last && self.missing == Missing::File {
                make_file(self.current, name)
            } else {
                path::mkdirat(self.current, name, MODE)
            };
            match made {
                // Somebody else made it, or replaced it: look again.
                Ok(()) | Err(Errno(libc::EEXIST)) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Continues at the target of a link.
    fn follow(&mut self, length: usize) -> Result<()> {
        self.followed = self.followed.saturating_add(1);
        if self.links == Links::Refuse || self.followed > LINKS {
            return Err(Errno(libc::ELOOP));
        }
        if length == 0 || length >= self.target.len() {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        if self.target.first() == Some(&b'/') {
            self.length = 0;
            self.stand_at(self.root);
        }
        let target = self.target.get(..length).unwrap_or_default();
        prepend(self.pending, &mut self.start, target)
    }

    fn prepend(&mut self, text: &[u8]) -> Result<()> {
        prepend(self.pending, &mut self.start, text)
    }

    fn remember(&mut self, from: usize, to: usize) -> Result<()> {
        let too_long = Errno(libc::ENAMETOOLONG);
        let name = self.pending.get(from..=to).ok_or(too_long)?;
        let end = self.length.saturating_add(name.len());
        self.resolved.get_mut(self.length..end).ok_or(too_long)?.copy_from_slice(name);
        self.length = end;
        Ok(())
    }

    /// One component back. Asking the kernel for `..` could lead out of a directory that was
    /// moved meanwhile, so the shorter path is walked again.
    fn go_up(&mut self) -> Result<()> {
        let resolved = self.resolved.get(..self.length.saturating_sub(1)).unwrap_or_default();
        self.length =
            resolved.iter().rposition(|byte| *byte == 0).map_or(0, |at| at.saturating_add(1));
        self.stand_at(self.root);
        let mut from = 0;
        while from < self.length {
            let name = path::c_text(self.resolved.get(from..self.length).unwrap_or_default())?;
            let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_DIRECTORY;
            // A component that became a link meanwhile is no directory: ENOTDIR.
            let fd = path::openat(self.current, name, flags, 0)?;
            from = from.saturating_add(name.to_bytes_with_nul().len());
            self.stand_at(fd);
        }
        Ok(())
    }

    fn stand_at(&mut self, fd: i32) {
        if self.current != self.root {
            raw::close(self.current);
        }
        self.current = fd;
    }
}

/// Puts a path before what is left to walk.
fn prepend(pending: &mut [u8], start: &mut usize, text: &[u8]) -> Result<()> {
    let too_long = Errno(libc::ENAMETOOLONG);
    let separator = start.checked_sub(1).ok_or(too_long)?;
    let from = separator.checked_sub(text.len()).ok_or(too_long)?;
    *pending.get_mut(separator).ok_or(too_long)? = b'/';
    pending.get_mut(from..separator).ok_or(too_long)?.copy_from_slice(text);
    *start = from;
    Ok(())
}

/// An empty file to mount on; an existing one is not touched.
fn make_file(directory: i32, name: &std::ffi::CStr) -> Result<()> {
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_WRONLY;
    let fd = path::openat(directory, name, flags, MODE)?;
    raw::close(fd);
    Ok(())
}
