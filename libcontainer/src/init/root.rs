//! The root file system: found, bound, and made `/`.

use super::attributes::set_propagation;
use super::place::bind_descriptor;
use super::report::Failure;
use super::runner::{Child, Outcome};
use crate::protocol::{Slot, Step, Text, Texts};
use crate::sys::mount::Change;
use crate::sys::path::c_text;
use crate::sys::{Errno, mount, path, raw};

/// Directories above a root file system, at most: a path has fewer.
const DEPTH: u32 = 2048;

/// Carries out a step on the root.
pub(super) fn execute(child: &mut Child<'_>, step: &Step) -> Outcome {
    match *step {
        Step::PrepareMounts { propagation } => prepare(propagation.0),
        Step::OpenRoot { directory, path } => {
            child.root_path = (directory, path);
            let root = open_path(child)?;
            child.keep(Slot::ROOT, root)
        }
        Step::MakeParentPrivate {} => make_parent_private(child),
        Step::BindRoot { propagation } => bind_root(child, propagation.0),
        Step::PivotRoot {} => pivot(child),
        Step::MoveRoot { full } => move_root(child, full),
        Step::ChangeRoot {} => change_root(child),
        Step::SetRootPropagation { propagation } => {
            Ok(set_propagation(child.fd(Slot::ROOT)?, propagation.0)?)
        }
        _ => Err(Failure::from(Errno(libc::ENOSYS))),
    }
}

/// Nothing that is mounted from now on may reach the host.
fn prepare(propagation: u64) -> Outcome {
    path::umask(0)?;
    mount::mount(None, c"/", None, propagation, None)?;
    Ok(())
}

/// Opens the root file system by its path. A link below the directory that is taken as it is
/// would let whoever owns the bundle's content choose another root.
pub(super) fn open_path(child: &mut Child<'_>) -> Result<i32, Failure> {
    let (directory, below) = child.root_path;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let start = path::openat(libc::AT_FDCWD, c_text(child.text(directory)?)?, flags, 0)?;
    let opened = open_without_links(child, start, below);
    raw::close(start);
    opened
}

fn open_without_links(child: &mut Child<'_>, start: i32, below: Text) -> Result<i32, Failure> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let name = c_text(child.text(below)?)?;
    match path::openat2(start, name, flags, libc::RESOLVE_NO_SYMLINKS) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => walk_without_links(start, name.to_bytes()),
        result => Ok(result?),
    }
}

fn walk_without_links(start: i32, below: &[u8]) -> Result<i32, Failure> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let mut current = path::openat(start, c".", flags | libc::O_DIRECTORY, 0)?;
    for name in below.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let mut buffer = [0; 256];
        let name = super::resolve::terminated(name, &mut buffer)?;
        let opened = path::openat(current, name, flags, 0);
        raw::close(current);
        current = opened?;
        let kind = path::stat(current, c"")?.st_mode & libc::S_IFMT;
        if kind != libc::S_IFDIR {
            raw::close(current);
            let is_link = kind == libc::S_IFLNK;
            return Err(Failure::from(Errno(if is_link { libc::ELOOP } else { libc::ENOTDIR })));
        }
    }
    Ok(current)
}

/// Goes up from the root file system to the first directory that is a mount: only there is the
/// propagation type accepted.
fn make_parent_private(child: &Child<'_>) -> Outcome {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let mut current = path::openat(child.fd(Slot::ROOT)?, c".", flags, 0)?;
    for _ in 0..DEPTH {
        match set_propagation(current, libc::MS_PRIVATE) {
            Err(Errno(libc::EINVAL)) => {}
            result => {
                raw::close(current);
                return Ok(result?);
            }
        }
        let above = path::openat(current, c"..", flags, 0);
        raw::close(current);
        current = above?;
    }
    Err(Failure::from(Errno(libc::ELOOP)))
}

fn bind_root(child: &mut Child<'_>, propagation: u64) -> Outcome {
    let root = child.fd(Slot::ROOT)?;
    let tree = match mount::clone_tree(root, c"", true) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            return bind_root_classic(child, propagation);
        }
        result => result?,
    };
    let change = Change { propagation, ..Change::default() };
    match mount::set_attributes(tree, change) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            mount::attach(tree, root)?;
            set_propagation(tree, propagation)?;
        }
        result => {
            result?;
            mount::attach(tree, root)?;
        }
    }
    child.keep(Slot::ROOT, tree)
}

fn bind_root_classic(child: &mut Child<'_>, propagation: u64) -> Outcome {
    let root = child.fd(Slot::ROOT)?;
    bind_descriptor(root, root, libc::MS_BIND | libc::MS_REC)?;
    let bound = open_path(child)?;
    set_propagation(bound, propagation)?;
    child.keep(Slot::ROOT, bound)
}

/// The old root ends below the new one and is detached there. It is a slave by then, so that the
/// unmounting does not reach the host.
fn pivot(child: &Child<'_>) -> Outcome {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let old = path::openat(libc::AT_FDCWD, c"/", flags, 0)?;
    path::fchdir(child.fd(Slot::ROOT)?)?;
    mount::pivot_root(c".", c".")?;
    path::fchdir(old)?;
    raw::close(old);
    mount::mount(None, c".", None, libc::MS_SLAVE | libc::MS_REC, None)?;
    mount::unmount(c".", libc::MNT_DETACH)?;
    path::chdir(c"/")?;
    Ok(())
}

/// The old root stays reachable below the new one for whoever may mount; what must not be
/// reachable are a procfs and a sysfs without covers, which would allow new ones to be mounted.
fn move_root(child: &Child<'_>, full: Texts) -> Outcome {
    for index in 0..full.count {
        let place = c_text(child.text_of(full, index)?)?;
        uncover(place).map_err(|errno| Failure::from(errno).with_text(place.to_bytes()))?;
    }
    path::fchdir(child.fd(Slot::ROOT)?)?;
    mount::mount(Some(c"."), c"/", None, libc::MS_MOVE, None)?;
    mount::chroot(c".")?;
    path::chdir(c"/")?;
    Ok(())
}

/// Unmounts, or covers where the rights do not suffice. What is gone went with a mount above it.
fn uncover(place: &std::ffi::CStr) -> Result<(), Errno> {
    match mount::mount(None, place, None, libc::MS_SLAVE | libc::MS_REC, None) {
        Err(Errno(libc::ENOENT | libc::EINVAL)) => return Ok(()),
        result => result?,
    }
    match mount::unmount(place, libc::MNT_DETACH) {
        Err(Errno(libc::EINVAL | libc::EPERM)) => {
            mount::mount(Some(c"tmpfs"), place, Some(c"tmpfs"), 0, None)
        }
        result => result,
    }
}

fn change_root(child: &Child<'_>) -> Outcome {
    path::fchdir(child.fd(Slot::ROOT)?)?;
    mount::chroot(c".")?;
    path::chdir(c"/")?;
    Ok(())
}
