//! Device nodes and the links of /dev, made by descriptor of their directory inside the root
//! (CVE-2026-41579, CVE-2026-47766: an image's /dev may be a link).

use std::ffi::CStr;

use super::mount::{self, Request};
use super::report::Failure;
use super::resolve::{self, Links, Missing};
use super::runner::{Child, Outcome};
use crate::protocol::mount::{Part, rule};
use crate::protocol::{Slot, Step, Text};
use crate::sys::path::c_text;
use crate::sys::{Errno, path, raw};

/// Carries out a step on devices.
pub(super) fn execute(child: &mut Child<'_>, step: &Step) -> Outcome {
    match *step {
        Step::MakeDevice { path, mode, device, uid, gid } => {
            let node = Node { mode: mode.0, device: device.0, uid, gid };
            make_device(child, path, node)
        }
        Step::MakeLink { directory, name, target } => {
            let directory = child.bytes_of(directory)?;
            let name = c_text(child.text(name)?)?;
            make_link(child, directory, name, c_text(child.text(target)?)?)
        }
        Step::MakeCoreLink {} => match path::stat(libc::AT_FDCWD, c"/proc/kcore") {
            Ok(_) => make_link(child, b"/dev", c"core", c"/proc/kcore"),
            Err(_) => Ok(()),
        },
        Step::MakePtmx {} => make_ptmx(child),
        _ => Err(Failure::from(Errno(libc::ENOSYS))),
    }
}

/// What a node shall be.
#[derive(Clone, Copy)]
struct Node {
    mode: u32,
    device: u64,
    uid: u32,
    gid: u32,
}

fn make_device(child: &mut Child<'_>, place: Text, node: Node) -> Outcome {
    let (directory, name) = resolve::split(child.bytes_of(place)?);
    let directory = resolve::open(child, directory, Links::Follow, Missing::Directory)
        .map_err(|failure| failure.at(Part::Destination.detail(-1)))?;
    let mut buffer = [0; 256];
    let name = resolve::terminated(name, &mut buffer)?;
    let made = match path::mknodat(directory, name, node.mode, node.device) {
        Ok(()) => set_owner(directory, name, node),
        Err(Errno(libc::EEXIST)) => accept(directory, name, node),
        Err(Errno(libc::EPERM)) if node.mode & libc::S_IFMT != libc::S_IFIFO => {
            bind_device(child, place, node)
        }
        Err(errno) => Err(Failure::from(errno)),
    };
    raw::close(directory);
    made
}

/// New nodes belong to root; another owner is set on the very node that was made.
fn set_owner(directory: i32, name: &CStr, node: Node) -> Outcome {
    if node.uid == 0 && node.gid == 0 {
        return Ok(());
    }
    let fd = open_node(directory, name, node)?;
    let changed = path::fchownat(fd, c"", node.uid, node.gid);
    raw::close(fd);
    changed.map_err(|errno| Failure::from(errno).at(Part::Attributes.detail(-1)))
}

/// The specification demands an error for a file that is not the device asked for.
fn accept(directory: i32, name: &CStr, node: Node) -> Outcome {
    raw::close(open_node(directory, name, node)?);
    Ok(())
}

fn open_node(directory: i32, name: &CStr, node: Node) -> Result<i32, Failure> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let fd = path::openat(directory, name, flags, 0)?;
    let status = path::stat(fd, c"")?;
    let same_kind = status.st_mode & libc::S_IFMT == node.mode & libc::S_IFMT;
    let is_fifo = node.mode & libc::S_IFMT == libc::S_IFIFO;
    if same_kind && (is_fifo || status.st_rdev == node.device) {
        return Ok(fd);
    }
    raw::close(fd);
    Err(Failure::from(Errno(libc::EEXIST)).at(Part::OtherDevice.detail(-1)))
}

/// In a user namespace no nodes can be made: the host's node of the same path is bound, if it is
/// that device.
fn bind_device(child: &mut Child<'_>, place: Text, node: Node) -> Outcome {
    let request = Request {
        destination: place,
        flags: 0,
        cleared: 0,
        rules: rule::SOURCE_IS_DEVICE,
        mount: Slot::NONE,
    };
    let source = c_text(child.text(place)?)?;
    mount::bind(child, source, false, node.device, request)
}

fn make_link(child: &mut Child<'_>, directory: &[u8], name: &CStr, target: &CStr) -> Outcome {
    let directory = resolve::open(child, directory, Links::Follow, Missing::Directory)?;
    let made = path::symlinkat(target, directory, name);
    raw::close(directory);
    match made {
        Err(Errno(libc::EEXIST)) => Ok(()),
        result => Ok(result?),
    }
}

/// The image's own /dev/ptmx, device or link, would open the terminals of another devpts.
fn make_ptmx(child: &mut Child<'_>) -> Outcome {
    let directory = resolve::open(child, b"/dev", Links::Follow, Missing::Directory)?;
    let mut made = Err(Errno(libc::EEXIST));
    // Another container of the same image without a mount on /dev may do the same beside us.
    for _ in 0..16 {
        match path::unlinkat(directory, c"ptmx", 0) {
            Err(Errno(libc::ENOENT)) => {}
            result => result?,
        }
        made = path::symlinkat(c"pts/ptmx", directory, c"ptmx");
        if made != Err(Errno(libc::EEXIST)) {
            break;
        }
    }
    raw::close(directory);
    Ok(made?)
}
