//! Mounts on descriptors: the destination is resolved inside the root once, and the mount goes on
//! what was found there, whatever happens to the path meanwhile.

use std::ffi::CStr;

use super::attributes::{
    change_attached_flags, change_flags, check_locked, current_flags, make_readonly, normal_atime,
    set_propagation,
};
use super::copyup;
use super::place::{DescriptorPath, PROC_SUPER_MAGIC, bind_descriptor, mount_id, octal};
use super::report::Failure;
use super::resolve::{self, Links, Missing};
use super::runner::{Child, Outcome};
use crate::protocol::mount::{Flags, Part, Rules, attributes, rule};
use crate::protocol::{RECORD_LENGTH, Slot, Step, Text};
use crate::sys::mount::Change;
use crate::sys::path::c_text;
use crate::sys::{Errno, mount, passing, path, raw};

type Result<T> = std::result::Result<T, Failure>;

/// Carries out a step on mounts.
pub(super) fn execute(child: &mut Child<'_>, step: &Step) -> Outcome {
    match *step {
        Step::MountFilesystem { destination, flags, cleared, rules, mount, .. } => {
            let request = Request::new(destination, flags, cleared, rules, mount);
            mount_filesystem(child, step, request)
        }
        Step::MountBind { .. } => bind_step(child, step),
        Step::MountTree { tree, destination, flags, cleared, rules, mount, .. } => {
            let request = Request::new(destination, flags, cleared, rules, mount);
            let fd = child.fd(tree)?;
            attach_tree(child, fd, request)?;
            // The descriptor lives on in the mount's slot.
            child.forget_slot(tree);
            Ok(())
        }
        Step::SetMountPropagation { mount, propagation, .. } => {
            match child.fd(mount) {
                Ok(fd) => Ok(set_propagation(fd, propagation.0)?),
                // A link that was copied: nothing was mounted.
                Err(_) => Ok(()),
            }
        }
        Step::SetMountAttributes { mount, set, clear, .. } => {
            let change = Change { set, clear, recursive: true, ..Change::default() };
            match child.fd(mount) {
                Ok(fd) => Ok(mount::set_attributes(fd, change)?),
                Err(_) => Ok(()),
            }
        }
        Step::MakeReadonly { mount, .. } => Ok(make_readonly(child.fd(mount)?)?),
        Step::Unmount { destination } => unmount(child, destination),
        Step::ReceiveTrees { first, count } => receive_trees(child, first, count),
        _ => Err(Failure::from(Errno(libc::ENOSYS))),
    }
}

/// What every mount has.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) destination: Text,
    pub(super) flags: u64,
    pub(super) cleared: u64,
    pub(super) rules: u32,
    pub(super) mount: Slot,
}

impl Request {
    fn new(destination: Text, flags: Flags, cleared: Flags, rules: Rules, mount: Slot) -> Self {
        Self { destination, flags: flags.0, cleared: cleared.0, rules: rules.0, mount }
    }

    pub(super) fn has(&self, rule: u32) -> bool {
        self.rules & rule != 0
    }
}

/// Says which part failed, with the descriptor of the destination.
fn part(part: Part, fd: i32) -> impl Fn(Errno) -> Failure {
    move |errno| Failure::from(errno).at(part.detail(fd))
}

fn mount_filesystem(child: &mut Child<'_>, step: &Step, request: Request) -> Outcome {
    let Step::MountFilesystem { kind, source, data, fallback, .. } = *step else {
        return Err(Failure::from(Errno(libc::EINVAL)));
    };
    let target = open_destination(child, request, Missing::Directory)?;
    let is_new = request.flags & libc::MS_REMOUNT == 0;
    let mode = if request.has(rule::INHERIT_MODE) && target.existed && is_new {
        Some(path::stat(target.fd, c"")?.st_mode & 0o7777)
    } else {
        None
    };
    let classic = |child: &mut Child<'_>| {
        let filesystem = Classic { kind, source, data, mode };
        mount_classic(child, &filesystem, &target, request)
    };
    let mounted = if request.has(rule::CLASSIC) {
        classic(child)
    } else {
        match mount_by_parameters(child, step, &target, mode, request) {
            Err(Failure { errno: Errno(libc::ENOSYS), .. }) => classic(child),
            result => result,
        }
    };
    match mounted {
        Err(Failure { errno: Errno(libc::EPERM | libc::EBUSY), .. }) if fallback.length > 0 => {
            raw::close(target.fd);
            // What is bound keeps the flags that the host locked and gets those asked for.
            let rules = request.rules | rule::CHANGE_FLAGS | rule::KEEP_FLAGS;
            let source = c_text(child.text(fallback)?)?;
            bind(child, source, true, 0, Request { rules, ..request })
        }
        result => {
            raw::close(target.fd);
            result
        }
    }
}

/// fsopen, fsconfig, fsmount, move_mount. ENOSYS where the kernel or a filter lacks them; that
/// answer comes before anything has changed.
fn mount_by_parameters(
    child: &mut Child<'_>,
    step: &Step,
    target: &Target,
    mode: Option<u32>,
    request: Request,
) -> Outcome {
    let Step::MountFilesystem { kind, source, options, .. } = *step else {
        return Err(Failure::from(Errno(libc::EINVAL)));
    };
    let failed = part(Part::Mount, target.fd);
    let context = match mount::fsopen(c_text(child.text(kind)?)?) {
        // Filters written before the mount API answer EPERM for calls that they do not know.
        Err(Errno(libc::EPERM)) => return Err(failed(Errno(libc::ENOSYS))),
        result => result.map_err(&failed)?,
    };
    let configured = configure(child, context, source, options, mode)
        .and_then(|()| mount::fsmount(context, attributes(normal_atime(request.flags))));
    let made = match configured {
        Ok(made) => made,
        Err(Errno(libc::EPERM)) if mount::refuses_parameters() => {
            raw::close(context);
            return Err(failed(Errno(libc::ENOSYS)));
        }
        Err(errno) => {
            let mut said = [0_u8; 256];
            let length = raw::read(context, &mut said).unwrap_or(0);
            raw::close(context);
            return Err(failed(errno).with_text(complaint(said.get(..length).unwrap_or_default())));
        }
    };
    raw::close(context);
    if request.has(rule::COPY_UP) {
        copyup::copy(target.fd, made, child.scratch)?;
    }
    attach(made, target)?;
    keep(child, made, request)
}

/// The kernel's sentence without its level.
fn complaint(said: &[u8]) -> &[u8] {
    let said = said.strip_suffix(b"\n").unwrap_or(said);
    said.strip_prefix(b"e ").or(said.strip_prefix(b"w ")).unwrap_or(said)
}

fn configure(
    child: &mut Child<'_>,
    context: i32,
    source: Text,
    options: crate::protocol::Texts,
    mode: Option<u32>,
) -> std::result::Result<(), Errno> {
    if source.length > 0 {
        let source = c_text(child.text(source).map_err(|failure| failure.errno)?)?;
        mount::fsconfig(context, c"source", Some(source))?;
    }
    if let Some(mode) = mode {
        let mut digits = [0; 8];
        mount::fsconfig(context, c"mode", Some(octal(mode, &mut digits)?))?;
    }
    for index in 0..options.count {
        let option = child.text_of(options, index).map_err(|failure| failure.errno)?;
        match option.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                let name = option.get(..at).unwrap_or_default();
                let value = option.get(at.saturating_add(1)..).unwrap_or_default();
                let name = resolve::terminated(name, child.scratch)?;
                mount::fsconfig(context, name, Some(c_text(value)?))?;
            }
            None => mount::fsconfig(context, c_text(option)?, None)?,
        }
    }
    mount::fsconfig_create(context)
}

/// mount(2)'s arguments.
struct Classic {
    kind: Text,
    source: Text,
    data: Text,
    mode: Option<u32>,
}

fn mount_classic(
    child: &mut Child<'_>,
    filesystem: &Classic,
    target: &Target,
    request: Request,
) -> Outcome {
    let failed = part(Part::Mount, target.fd);
    let mut digits = [0; 8];
    let mode = match filesystem.mode {
        Some(mode) => octal(mode, &mut digits)?.to_bytes(),
        None => b"",
    };
    let kind = c_text(child.text(filesystem.kind)?)?;
    let source = c_text(child.text(filesystem.source)?)?;
    let given = child.bytes_of(filesystem.data)?;
    let data = joined_data(mode, given, child.scratch)?;
    let mut number = [0; 12];
    let place = DescriptorPath::enter(target.fd, &mut number)?;
    let mounted = mount::mount(Some(source), place.name, Some(kind), request.flags, Some(data));
    place.leave();
    mounted.map_err(&failed)?;
    if request.flags & libc::MS_REMOUNT != 0 {
        let same = raw::fcntl(target.fd, libc::F_DUPFD_CLOEXEC, 3)?;
        return child.keep(request.mount, same as i32);
    }
    let made = reopen(child, target, request)?;
    if request.has(rule::COPY_UP) {
        copyup::copy(target.fd, made, child.scratch)?;
    }
    keep(child, made, request)
}

/// The mode goes first: one among the options then has the last word.
fn joined_data<'a>(mode: &[u8], data: &[u8], buffer: &'a mut [u8]) -> Result<&'a CStr> {
    let prefix: &[u8] = if mode.is_empty() { b"" } else { b"mode=" };
    let comma: &[u8] = if mode.is_empty() || data.is_empty() { b"" } else { b"," };
    let mut end = 0_usize;
    for text in [prefix, mode, comma, data, b"\0"] {
        let start = end;
        end = end.saturating_add(text.len());
        buffer.get_mut(start..end).ok_or(Errno(libc::E2BIG))?.copy_from_slice(text);
    }
    Ok(c_text(buffer)?)
}

/// Binds a path of the host.
pub(super) fn bind(
    child: &mut Child<'_>,
    source: &CStr,
    recursive: bool,
    device: u64,
    request: Request,
) -> Outcome {
    if request.has(rule::COPY_LINK) && copy_link(child, source, request)? {
        return Ok(());
    }
    let cloned = match request.has(rule::SOURCE_LINK) {
        true => mount::clone_link(libc::AT_FDCWD, source, recursive),
        false => mount::clone_tree(libc::AT_FDCWD, source, recursive),
    };
    match cloned {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            bind_classic(child, source, recursive, device, request)
        }
        Err(errno) => Err(part(Part::Source, -1)(errno).with_text(source.to_bytes())),
        Ok(tree) => {
            let attached =
                check_source(tree, device, request).and_then(|_| attach_tree(child, tree, request));
            if attached.is_err() {
                raw::close(tree);
            }
            attached
        }
    }
}

fn bind_step(child: &mut Child<'_>, step: &Step) -> Outcome {
    let Step::MountBind {
        source,
        destination,
        recursive,
        flags,
        cleared,
        rules,
        device,
        tree,
        mount,
    } = *step
    else {
        return Err(Failure::from(Errno(libc::EINVAL)));
    };
    let request = Request::new(destination, flags, cleared, rules, mount);
    let source = c_text(child.text(source)?)?;
    match bind(child, source, recursive, device.0, request) {
        Err(Failure { errno: Errno(libc::EACCES), .. }) if child.fd(tree).is_ok() => {
            bind_copy(child, tree, request)
        }
        result => {
            child.drop_slot(tree);
            result
        }
    }
}

/// Attaches the parent's copy of a source. Flags that the host's administrator set are treated as
/// if they were locked.
fn bind_copy(child: &mut Child<'_>, tree: Slot, request: Request) -> Outcome {
    let fd = child.fd(tree)?;
    check_source(fd, 0, request)?;
    check_locked(current_flags(fd)?, request).map_err(part(Part::Flags, -1))?;
    let rules = request.rules | rule::KEEP_FLAGS;
    attach_tree(child, fd, Request { rules, ..request })?;
    child.forget_slot(tree);
    Ok(())
}

/// Makes a link again; false where the source is none. What is there already must lead to the same
/// place.
fn copy_link(child: &mut Child<'_>, source: &CStr, request: Request) -> Result<bool> {
    const LONGEST: usize = 4096;
    let mut target = [0; LONGEST];
    let length = match path::readlinkat(libc::AT_FDCWD, source, &mut target) {
        Err(Errno(libc::EINVAL)) => return Ok(false),
        result => result.map_err(part(Part::Source, -1))?,
    };
    let failed = part(Part::Destination, -1);
    let target = target.get(..=length).ok_or(Errno(libc::ENAMETOOLONG))?;
    let (directory, name) = resolve::split(child.bytes_of(request.destination)?);
    let directory = resolve::open(child, directory, Links::Follow, Missing::Directory)?;
    let made = resolve::terminated(name, child.scratch).and_then(|name| {
        match path::symlinkat(c_text(target)?, directory, name) {
            Err(Errno(libc::EEXIST)) => {
                let mut present = [0; LONGEST];
                let length = path::readlinkat(directory, name, &mut present)
                    .map_err(|_| Errno(libc::EEXIST))?;
                let is_same = present.get(..=length) == Some(target);
                if is_same { Ok(()) } else { Err(Errno(libc::EEXIST)) }
            }
            result => result,
        }
    });
    raw::close(directory);
    made.map_err(failed)?;
    child.drop_slot(request.mount);
    Ok(true)
}

/// Returns the source's type.
fn check_source(source: i32, device: u64, request: Request) -> Result<u32> {
    let status = path::stat(source, c"").map_err(part(Part::Source, -1))?;
    if request.has(rule::SOURCE_IS_PROC) && path::statfs(source)?.f_type != PROC_SUPER_MAGIC {
        return Err(part(Part::NotProc, -1)(Errno(libc::EPERM)));
    }
    if request.has(rule::SOURCE_IS_DEVICE) && status.st_rdev != device {
        return Err(part(Part::OtherDevice, -1)(Errno(libc::EEXIST)));
    }
    Ok(status.st_mode & libc::S_IFMT)
}

/// Puts a detached tree on its destination. Its flags are set before it can be seen.
pub(super) fn attach_tree(child: &mut Child<'_>, tree: i32, request: Request) -> Outcome {
    let kind = path::stat(tree, c"")?.st_mode & libc::S_IFMT;
    // Before Linux 5.12 flags can only be changed once the tree is attached.
    let changed = match request.has(rule::CHANGE_FLAGS) {
        true => change_flags(tree, request),
        false => Ok(()),
    };
    let is_late = matches!(changed, Err(Errno(libc::ENOSYS | libc::EPERM)));
    if !is_late {
        changed.map_err(part(Part::Flags, -1))?;
    }
    let target = match kind == libc::S_IFLNK && request.has(rule::DESTINATION_LINK) {
        true => open_link(child, request)?,
        false => open_destination(child, request, missing_for(kind))?,
    };
    let attached = attach(tree, &target);
    raw::close(target.fd);
    attached?;
    if is_late {
        change_attached_flags(tree, request).map_err(part(Part::Flags, -1))?;
    }
    keep(child, tree, request)
}

fn missing_for(kind: u32) -> Missing {
    if kind == libc::S_IFDIR { Missing::Directory } else { Missing::File }
}

fn bind_classic(
    child: &mut Child<'_>,
    source: &CStr,
    recursive: bool,
    device: u64,
    request: Request,
) -> Outcome {
    let links = if request.has(rule::SOURCE_LINK) { libc::O_NOFOLLOW } else { 0 };
    let opened = path::openat(libc::AT_FDCWD, source, libc::O_PATH | libc::O_CLOEXEC | links, 0)
        .map_err(|errno| part(Part::Source, -1)(errno).with_text(source.to_bytes()))?;
    let kind = check_source(opened, device, request)?;
    let target = open_destination(child, request, missing_for(kind))?;
    let flags = libc::MS_BIND | if recursive { libc::MS_REC } else { 0 };
    bind_descriptor(opened, target.fd, flags).map_err(part(Part::Mount, target.fd))?;
    let made = reopen(child, &target, request)?;
    let identity = |fd| path::stat(fd, c"").map(|status| (status.st_dev, status.st_ino));
    if identity(made)? != identity(opened)? {
        return Err(part(Part::Moved, target.fd)(Errno(libc::EAGAIN)));
    }
    raw::close(opened);
    raw::close(target.fd);
    if request.has(rule::CHANGE_FLAGS) {
        change_attached_flags(made, request).map_err(part(Part::Flags, -1))?;
    }
    keep(child, made, request)
}

/// A destination inside the root.
struct Target {
    fd: i32,
    existed: bool,
}

fn open_destination(child: &mut Child<'_>, request: Request, missing: Missing) -> Result<Target> {
    let path = child.bytes_of(request.destination)?;
    let ordinary = request.has(rule::ORDINARY_DIRECTORY);
    let links = if ordinary { Links::Refuse } else { Links::Follow };
    let failed = part(Part::Destination, -1);
    let (fd, existed) = match resolve::open(child, path, links, Missing::Refuse) {
        Ok(fd) => (fd, true),
        Err(Failure { errno: Errno(libc::ENOENT), .. }) => {
            let made = resolve::open(child, path, links, missing);
            (made.map_err(|failure| refusal(failure.errno, ordinary, &failed))?, false)
        }
        Err(failure) => return Err(refusal(failure.errno, ordinary, &failed)),
    };
    match check_destination(fd, request) {
        Ok(()) => Ok(Target { fd, existed }),
        Err(failure) => {
            raw::close(fd);
            Err(failure)
        }
    }
}

/// A destination that is not followed if it is a link. What is missing is made as a file.
fn open_link(child: &mut Child<'_>, request: Request) -> Result<Target> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let (directory, name) = resolve::split(child.bytes_of(request.destination)?);
    let directory = resolve::open(child, directory, Links::Follow, Missing::Directory)?;
    let opened = resolve::terminated(name, child.scratch)
        .and_then(|name| path::openat(directory, name, flags, 0));
    raw::close(directory);
    match opened {
        Err(Errno(libc::ENOENT)) => open_destination(child, request, Missing::File),
        result => {
            let fd = result.map_err(part(Part::Destination, -1))?;
            match check_destination(fd, request) {
                Ok(()) => Ok(Target { fd, existed: true }),
                Err(failure) => {
                    raw::close(fd);
                    Err(failure)
                }
            }
        }
    }
}

fn refusal(errno: Errno, ordinary: bool, failed: impl Fn(Errno) -> Failure) -> Failure {
    if ordinary && matches!(errno, Errno(libc::ELOOP | libc::ENOTDIR)) {
        return part(Part::NotOrdinary, -1)(errno);
    }
    failed(errno)
}

fn check_destination(fd: i32, request: Request) -> Outcome {
    if request.has(rule::ORDINARY_DIRECTORY) {
        let kind = path::stat(fd, c"")?.st_mode & libc::S_IFMT;
        if kind != libc::S_IFDIR {
            return Err(part(Part::NotOrdinary, -1)(Errno(libc::ENOTDIR)));
        }
        return Ok(());
    }
    let may_be_proc = request.has(rule::INSIDE_PROC) || request.has(rule::SOURCE_IS_PROC);
    if !may_be_proc && path::statfs(fd)?.f_type == PROC_SUPER_MAGIC {
        return Err(part(Part::InsideProc, fd)(Errno(libc::EPERM)));
    }
    Ok(())
}

/// move_mount answers EINVAL for a directory on a file; mount(2) and everybody's tables of error
/// texts say ENOTDIR.
fn attach(tree: i32, target: &Target) -> Outcome {
    let failed = part(Part::Mount, target.fd);
    match mount::attach(tree, target.fd) {
        Err(Errno(libc::EINVAL)) => {
            let kind = |fd| path::stat(fd, c"").map(|status| status.st_mode & libc::S_IFMT);
            let is_directory = |fd| kind(fd).map(|kind| kind == libc::S_IFDIR);
            let differs = is_directory(tree)? != is_directory(target.fd)?;
            Err(failed(Errno(if differs { libc::ENOTDIR } else { libc::EINVAL })))
        }
        result => result.map_err(failed),
    }
}

/// The mount that mount(2) put on the target: the same path once more, which must end on another
/// mount than before.
fn reopen(child: &mut Child<'_>, target: &Target, request: Request) -> Result<i32> {
    let path = child.bytes_of(request.destination)?;
    let links = if request.has(rule::ORDINARY_DIRECTORY) { Links::Refuse } else { Links::Follow };
    let made = if request.has(rule::OVER_ROOT) {
        // Nothing below the root's descriptor leads to what covers it.
        super::root::open_path(child)?
    } else {
        resolve::open(child, path, links, Missing::Refuse)?
    };
    if mount_id(made)? == mount_id(target.fd)? {
        return Err(part(Part::Moved, target.fd)(Errno(libc::EAGAIN)));
    }
    Ok(made)
}

/// Keeps the mount for the steps that follow.
fn keep(child: &mut Child<'_>, mount: i32, request: Request) -> Outcome {
    if request.has(rule::OVER_ROOT) {
        // Whatever comes next is below what covers the root now.
        let root = raw::fcntl(mount, libc::F_DUPFD_CLOEXEC, 3)?;
        child.keep(Slot::ROOT, root as i32)?;
    }
    child.keep(request.mount, mount)
}

/// The directory is opened inside the root, and the name in it is no link that could lead
/// elsewhere.
fn unmount(child: &mut Child<'_>, destination: Text) -> Outcome {
    let (directory, name) = resolve::split(child.bytes_of(destination)?);
    let parent = resolve::open(child, directory, Links::Follow, Missing::Refuse)?;
    let entered = path::fchdir(parent);
    raw::close(parent);
    entered?;
    let flags = libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW;
    mount::unmount(resolve::terminated(name, child.scratch)?, flags)?;
    path::chdir(c"/")?;
    Ok(())
}

/// Trees mapped by the container's own user namespace.
fn receive_trees(child: &mut Child<'_>, first: Slot, count: u16) -> Outcome {
    for index in 0..count {
        super::report::wait_for_parent(child)?;
        let mut packet = [0; RECORD_LENGTH];
        let control = child.fd(Slot::CONTROL)?;
        let (_, fd) = passing::receive_descriptor(control, &mut packet)?;
        child.keep(Slot(first.0.saturating_add(index)), fd)?;
    }
    Ok(())
}
