//! Masked and read-only paths, after the change of the root.

use super::attributes::make_readonly;
use super::place::bind_descriptor;
use super::report::Failure;
use super::resolve::{self, Links, Missing};
use super::runner::{Child, Outcome};
use crate::protocol::mount::Part;
use crate::protocol::{Slot, Step, Text, Texts};
use crate::sys::path::c_text;
use crate::sys::{Errno, mount, path, raw};

/// Carries out a step on masked and read-only paths.
pub(super) fn execute(child: &mut Child<'_>, step: &Step) -> Outcome {
    match *step {
        Step::ReadonlyPath { path } => match open(child, path)? {
            Some(target) => cover_readonly(child, path, target),
            None => Ok(()),
        },
        Step::MaskPath { path, options, data, shared, null } => match open(child, path)? {
            Some(target) => {
                let is_directory = path::stat(target, c"")?.st_mode & libc::S_IFMT == libc::S_IFDIR;
                let masked = if is_directory {
                    mask_directory(child, target, options, data, shared)
                } else {
                    mask_file(child, target, null)
                };
                raw::close(target);
                masked
            }
            None => Ok(()),
        },
        _ => Err(Failure::from(Errno(libc::ENOSYS))),
    }
}

/// The path's descriptor; none for a path that is not there, or that cannot be since something
/// on the way is a file.
fn open(child: &mut Child<'_>, path: Text) -> Result<Option<i32>, Failure> {
    let path = child.bytes_of(path)?;
    match resolve::open(child, path, Links::Follow, Missing::Refuse) {
        Ok(fd) => Ok(Some(fd)),
        Err(Failure { errno: Errno(libc::ENOENT | libc::ENOTDIR), .. }) => Ok(None),
        Err(failure) => Err(failure.at(Part::Destination.detail(-1))),
    }
}

fn cover_readonly(child: &mut Child<'_>, path: Text, target: i32) -> Outcome {
    match mount::clone_tree(target, c"", true) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            bind_descriptor(target, target, libc::MS_BIND | libc::MS_REC)?;
            raw::close(target);
            let path = child.bytes_of(path)?;
            let bound = resolve::open(child, path, Links::Follow, Missing::Refuse)?;
            make_readonly(bound)?;
            raw::close(bound);
        }
        result => {
            let tree = result?;
            // Before Linux 5.12 flags can only be changed once the tree is attached.
            mount::attach(tree, target)?;
            make_readonly(tree)?;
            raw::close(tree);
            raw::close(target);
        }
    }
    Ok(())
}

/// One empty read-only file system hides all directories.
fn mask_directory(
    child: &mut Child<'_>,
    target: i32,
    options: Texts,
    data: Text,
    shared: Slot,
) -> Outcome {
    if let Ok(mask) = child.fd(shared) {
        match mount::clone_tree(mask, c"", false) {
            // A filter that knows fsopen and not this: each directory gets a mask of its own.
            Err(Errno(libc::ENOSYS | libc::EPERM)) => {}
            result => {
                let copy = result?;
                mount::attach(copy, target)?;
                raw::close(copy);
                return Ok(());
            }
        }
    }
    match make_mask(child, options) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            let data = c_text(child.text(data)?)?;
            path::fchdir(target)?;
            let tmpfs = Some(c"tmpfs");
            mount::mount(tmpfs, c".", tmpfs, libc::MS_RDONLY, Some(data))?;
            path::chdir(c"/")?;
            Ok(())
        }
        result => {
            let mask = result?;
            mount::attach(mask, target)?;
            child.keep(shared, mask)
        }
    }
}

fn make_mask(child: &mut Child<'_>, options: Texts) -> Result<i32, Errno> {
    let context = mount::fsopen(c"tmpfs")?;
    let made = configure(child, context, options)
        .and_then(|()| mount::fsmount(context, libc::MOUNT_ATTR_RDONLY));
    raw::close(context);
    made
}

fn configure(child: &mut Child<'_>, context: i32, options: Texts) -> Result<(), Errno> {
    mount::fsconfig(context, c"source", Some(c"tmpfs"))?;
    mount::fsconfig(context, c"ro", None)?;
    for index in 0..options.count {
        let option = child.text_of(options, index).map_err(|failure| failure.errno)?;
        let at = option.iter().position(|byte| *byte == b'=').ok_or(Errno(libc::EINVAL))?;
        let (name, value) = option.split_at_checked(at).ok_or(Errno(libc::EINVAL))?;
        let name = resolve::terminated(name, child.scratch)?;
        mount::fsconfig(context, name, Some(c_text(value.get(1..).unwrap_or_default())?))?;
    }
    mount::fsconfig_create(context)
}

/// A file is hidden by the container's /dev/null. It is checked to be that device: a link in its
/// place would make its target writable through the masked path (CVE-2025-31133).
fn mask_file(child: &mut Child<'_>, target: i32, null: Slot) -> Outcome {
    let source = match child.fd(null) {
        Ok(fd) => fd,
        Err(_) => {
            let fd = resolve::open(child, b"/dev/null", Links::Follow, Missing::Refuse)
                .map_err(|failure| failure.at(Part::Source.detail(-1)))?;
            child.keep(null, fd)?;
            fd
        }
    };
    let status = path::stat(source, c"")?;
    if status.st_mode & libc::S_IFMT != libc::S_IFCHR || status.st_rdev != libc::makedev(1, 3) {
        return Err(Failure::from(Errno(libc::EINVAL)).at(Part::OtherDevice.detail(-1)));
    }
    match mount::clone_tree(source, c"", false) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            Ok(bind_descriptor(source, target, libc::MS_BIND)?)
        }
        result => {
            let tree = result?;
            mount::attach(tree, target)?;
            raw::close(tree);
            Ok(())
        }
    }
}
