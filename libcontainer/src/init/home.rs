//! The user's home directory in the container's /etc/passwd. The file is the image's: it may be
//! a FIFO, a device, or without end.

use super::runner::{Child, Outcome};
use crate::protocol::Reserve;
use crate::sys::path::{openat, openat2, stat};
use crate::sys::{Errno, child, raw};

/// Bytes that are read at most.
const LIMIT: usize = 4 * 1024 * 1024;

/// Writes `HOME=...` with its NUL; the root where the user has no home.
pub(super) fn find(child: &mut Child<'_>, uid: u32, home: Reserve) -> Outcome {
    let range = child.reserved_range(home)?;
    let place = child.reserved.get_mut(range).ok_or(Errno(libc::EFAULT))?;
    store(place, b"/");
    if let Ok(passwd) = open_passwd() {
        search(passwd, uid, child.scratch, place);
        raw::close(passwd);
    }
    Ok(())
}

fn open_passwd() -> Result<i32, Errno> {
    let path = c"/etc/passwd";
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let passwd = match openat2(libc::AT_FDCWD, path, flags, libc::RESOLVE_NO_MAGICLINKS) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            openat(libc::AT_FDCWD, path, flags | libc::O_NOFOLLOW, 0)?
        }
        opened => opened?,
    };
    match stat(passwd, c"") {
        Ok(status) if status.st_mode & libc::S_IFMT == libc::S_IFREG => Ok(passwd),
        _ => {
            raw::close(passwd);
            Err(Errno(libc::EINVAL))
        }
    }
}

/// Reads line by line through a window; a line that is longer than the window is none.
fn search(passwd: i32, uid: u32, window: &mut [u8], place: &mut [u8]) {
    let mut filled = 0_usize;
    let mut total = 0_usize;
    loop {
        let Some(free) = window.get_mut(filled..).filter(|free| !free.is_empty()) else {
            return;
        };
        let length = match raw::read(passwd, free) {
            Ok(length) if total < LIMIT => length,
            _ => return,
        };
        total = total.saturating_add(length);
        filled = filled.saturating_add(length);
        let text = window.get(..filled).unwrap_or_default();
        let mut used = 0_usize;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let complete = line.ends_with(b"\n") || length == 0;
            if !complete {
                break;
            }
            used = used.saturating_add(line.len());
            if let Some(home) = home_of(line, uid) {
                store(place, home);
                return;
            }
        }
        if length == 0 {
            return;
        }
        window.copy_within(used..filled, 0);
        filled = filled.saturating_sub(used);
    }
}

/// The home of a line `name:password:uid:gid:gecos:home:shell` if it is this user's.
fn home_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut fields = line.split(|byte| *byte == b':');
    let number = child::number(fields.nth(2)?)?;
    let home = fields.nth(2)?;
    (number == u64::from(uid) && !home.is_empty() && !home.contains(&0)).then_some(home)
}

/// Writes `HOME=` and a path, if there is room for it.
fn store(place: &mut [u8], home: &[u8]) {
    let parts = b"HOME=".iter().chain(home).chain(b"\0");
    if home.len().saturating_add(6) <= place.len() {
        for (to, from) in place.iter_mut().zip(parts) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_passwd() {
        assert_eq!(home_of(b"root:x:0:0:root:/root:/bin/sh\n", 0), Some(&b"/root"[..]));
        assert_eq!(home_of(b"a:x:1000:1000::/home/a:", 1000), Some(&b"/home/a"[..]));
        // A numeric name is a name (CVE-2016-3697).
        assert_eq!(home_of(b"1000:x:0:0::/evil:/bin/sh\n", 1000), None);
        for line in [&b"a:x:1000:1000:"[..], b"", b"\n", b"::::::", b"a:x: 1:1::/x:", b"a:x:0:0:::"]
        {
            assert_eq!(home_of(line, 0), None);
        }
    }
}
