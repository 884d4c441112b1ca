//! The end of a root file system's mounts.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use super::{words, words_of};

/// Pauses between attempts to unmount what somebody uses for a moment.
const PAUSES: [u64; 5] = [10, 20, 40, 80, 160];

/// How often the list of mounts is read: each time all of it is unmounted.
const ROUNDS: usize = 4;

/// Unmounts everything at `target` and below. What stays in use goes lazily: nobody finds it any
/// more, and it ends with its last user. A target that is not there or not mounted is no error.
///
/// # Errors
/// A mount that remains, and the kernel's words.
pub(crate) fn unmount(target: &Path) -> Result<(), String> {
    let Some(target) = resolved(target).map_err(|e| told(target, &words_of(&e)))? else {
        return Ok(());
    };
    let mut last = None;
    for _ in 0..ROUNDS {
        let mounts = mounts_at(&target).map_err(|error| told(&target, &words_of(&error)))?;
        if mounts.is_empty() {
            return Ok(());
        }
        for mount in mounts {
            if let Err(errno) = unmount_one(&mount) {
                last = Some(told(&mount, &words(errno)));
            }
        }
    }
    match mounts_at(&target).map_err(|error| told(&target, &words_of(&error)))?.first() {
        Some(mount) => Err(last.unwrap_or_else(|| told(mount, "it is mounted again and again"))),
        None => Ok(()),
    }
}

fn told(path: &Path, words: &str) -> String {
    format!("unmount {}: {words}", path.display())
}

/// Without a look at the last part, behind which a file system may be dead. None where it is not
/// there.
fn resolved(target: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Ok(None);
    };
    match parent.canonicalize() {
        Ok(parent) => Ok(Some(parent.join(name))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Mounts at a path and below, the deepest and the latest first.
fn mounts_at(target: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read("/proc/thread-self/mountinfo")?;
    let paths = table.split(|byte| *byte == b'\n').filter_map(mount_point);
    let mut found: Vec<_> = paths.filter(|path| path.starts_with(target)).collect();
    found.reverse();
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    Ok(found)
}

/// The fifth field of a line of mountinfo, see proc(5).
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match tail {
            // Space, tab, newline and backslash are written as three octal digits.
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] if *first == b'\\' => {
                path.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                path.push(*first);
                rest = tail;
            }
        }
    }
    Some(OsString::from_vec(path).into())
}

fn unmount_one(path: &Path) -> Result<(), Errno> {
    for pause in PAUSES {
        match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
            Err(Errno::EBUSY) => std::thread::sleep(Duration::from_millis(pause)),
            // Not a mount any more: gone with another one.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    log::warn!("{} is in use: unmounted lazily", path.display());
    detach(path)
}

/// Takes the upper mount of a path away at once, whoever uses it.
pub(super) fn detach(path: &Path) -> Result<(), Errno> {
    umount2(path.as_os_str().as_bytes(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let line = br"36 35 98:0 / /a\040b\134\011c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/a b\\\tc")));
        assert_eq!(mount_point(b"36 35 98:0 / /\\04"), Some(PathBuf::from("/\\04")));
        assert_eq!(mount_point(b""), None);
    }
}
