//! The terminal of the process.

use super::place::bind_descriptor;
use super::report::Failure;
use super::runner::{Child, Outcome};
use crate::protocol::{Record, RecordKind, Slot};
use crate::sys::path::{fchownat, mknodat, openat, openat2, stat, statfs};
use crate::sys::{Errno, mount, raw, terminal};

/// The multiplexer.
const PTMX: u64 = libc::makedev(5, 2);

/// Which part failed: `detail` of the record.
const MULTIPLEXER: u32 = 0;
const PEER: u32 = 1;
const DEVICE: u32 = 2;
const CONTROL: u32 = 3;

/// Makes a terminal. Everything goes by descriptors: a path in /dev/pts could have become another
/// one between two uses (CVE-2025-52565). The master goes to the parent as soon as it is there,
/// so that errors of later steps reach whoever watches the terminal.
pub(super) fn make(
    child: &mut Child<'_>,
    uid: u32,
    rows: u32,
    columns: u32,
    newlines: bool,
    device: bool,
) -> Outcome {
    let at = |part| move |errno: Errno| Failure::from(errno).at(part);
    let master = open_multiplexer().map_err(at(MULTIPLEXER))?;
    terminal::unlock(master).map_err(at(MULTIPLEXER))?;
    let peer = terminal::open_peer(master).map_err(at(PEER))?;
    if rows != 0 || columns != 0 {
        terminal::set_size(peer, rows as u16, columns as u16).map_err(at(PEER))?;
    }
    if newlines {
        terminal::keep_newlines(peer).map_err(at(PEER))?;
    }
    const SAME_GROUP: u32 = u32::MAX;
    fchownat(peer, c"", uid, SAME_GROUP).map_err(at(PEER))?;
    if device {
        cover_device(peer).map_err(at(DEVICE))?;
    }
    let record = Record::new(RecordKind::Console, child.step);
    terminal::send_descriptor(child.fd(Slot::CONTROL)?, &record.encode(), master)
        .map_err(at(CONTROL))?;
    raw::close(master);
    terminal::take_control(peer).map_err(at(CONTROL))?;
    for place in 0..=2 {
        raw::dup3(peer, place, 0).map_err(at(CONTROL))?;
    }
    raw::close(peer);
    Ok(())
}

/// The multiplexer of the container's own devpts.
fn open_multiplexer() -> Result<i32, Errno> {
    let directory = open_directory(c"/dev/pts")?;
    let genuine = statfs(directory).is_ok_and(|status| status.f_type == libc::DEVPTS_SUPER_MAGIC);
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let master =
        if genuine { openat(directory, c"ptmx", flags, 0) } else { Err(Errno(libc::ENODEV)) };
    raw::close(directory);
    let master = master?;
    match stat(master, c"") {
        Ok(status) if status.st_rdev == PTMX => Ok(master),
        _ => {
            raw::close(master);
            Err(Errno(libc::ENODEV))
        }
    }
}

fn open_directory(path: &std::ffi::CStr) -> Result<i32, Errno> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    match openat2(libc::AT_FDCWD, path, flags, libc::RESOLVE_NO_SYMLINKS) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            openat(libc::AT_FDCWD, path, flags | libc::O_NOFOLLOW, 0)
        }
        opened => opened,
    }
}

/// Puts the terminal on /dev/console.
fn cover_device(peer: i32) -> Result<(), Errno> {
    let dev = open_directory(c"/dev")?;
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let target = match openat(dev, c"console", flags, 0) {
        Err(Errno(libc::ENOENT)) => mknodat(dev, c"console", libc::S_IFREG | 0o666, 0)
            .and_then(|()| openat(dev, c"console", flags, 0)),
        target => target,
    };
    raw::close(dev);
    let target = target?;
    let is_link = stat(target, c"")?.st_mode & libc::S_IFMT == libc::S_IFLNK;
    let covered = if is_link {
        Err(Errno(libc::ELOOP))
    } else {
        match mount::clone_tree(peer, c"", false) {
            Err(Errno(libc::ENOSYS | libc::EPERM)) => bind_descriptor(peer, target, libc::MS_BIND),
            tree => tree.and_then(|tree| {
                let attached = mount::attach(tree, target);
                raw::close(tree);
                attached
            }),
        }
    };
    raw::close(target);
    covered
}
