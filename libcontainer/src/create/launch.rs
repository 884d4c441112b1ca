//! The clone itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::descriptors::{Descriptors, open_namespace};
use crate::cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::init;
use crate::plan::NamespacePath;
use crate::protocol::{Program, Slot};
use crate::sys::block::Block;
use crate::sys::clone::{self, Child};
use crate::sys::{Errno, process};

/// What is cloned.
pub(crate) struct Launch<'a> {
    /// What the child does.
    pub(crate) program: &'a Program,
    /// `CLONE_NEW*` flags.
    pub(crate) flags: u64,
    /// Slots for cgroup files into which the child writes itself.
    pub(crate) cgroup_slots: (Slot, u16),
    /// A pid namespace for the child.
    pub(crate) pid_namespace: Option<&'a NamespacePath>,
    /// Whether every step's end is reported.
    pub(crate) traced: bool,
}

impl Launch<'_> {
    /// Clones the child into its cgroups: into that of v2 by the clone where the kernel does so,
    /// into the others by its own writes.
    pub(crate) fn clone(
        &self,
        mut descriptors: Descriptors,
        groups: Option<cgroup::Descriptors>,
    ) -> Result<Child> {
        let cgroup::Descriptors { directory, tasks } = groups.unwrap_or_default();
        let mut next = self.cgroup_slots.0.0;
        let end = next.saturating_add(self.cgroup_slots.1);
        let mut put = |descriptors: &mut Descriptors, fd: OwnedFd| {
            if next == end {
                let message = "more cgroup hierarchies than a plan has room for";
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            descriptors.put(Slot(next), fd)?;
            next += 1;
            Ok(())
        };
        for file in tasks {
            put(&mut descriptors, file)?;
        }
        let namespace = match self.pid_namespace {
            Some(path) => Some(open_namespace(path).map_err(|error| error.at(&path.pointer))?),
            None => None,
        };
        let joined = namespace.as_ref().map(AsFd::as_fd);
        match self.attempt(&descriptors, directory.as_ref(), joined) {
            Err(errno) if directory.is_some() && is_refusal(errno) => {}
            result => return result.map_err(clone_error),
        }
        // Another engine's filter, an old kernel, or a group that takes no processes this way:
        // the child writes itself into it, and the kernel says what is wrong if it refuses that.
        if let Some(directory) = directory {
            let flags = nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_CLOEXEC;
            let procs = nix::fcntl::openat(
                &directory,
                "cgroup.procs",
                flags,
                nix::sys::stat::Mode::empty(),
            )
            .map_err(|errno| {
                let message = format!("open cgroup.procs: {}", Errno::from(errno));
                Error::new(ErrorKind::System, message)
            })?;
            put(&mut descriptors, procs)?;
        }
        self.attempt(&descriptors, None, joined).map_err(clone_error)
    }

    fn attempt(
        &self,
        descriptors: &Descriptors,
        group: Option<&OwnedFd>,
        pid_namespace: Option<BorrowedFd<'_>>,
    ) -> std::result::Result<Child, Errno> {
        let mut block = Block::new(self.program, descriptors.slots())
            .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::ENOMEM)))?;
        let traced = self.traced;
        let flags = self.flags;
        let group = group.map(AsFd::as_fd);
        let Some(namespace) = pid_namespace else {
            return clone::clone(flags, group, || init::run(block.view(), traced));
        };
        // setns(CLONE_NEWPID) holds for all later children of a thread: this one ends.
        let in_thread = std::thread::scope(|scope| {
            let scratch = std::thread::Builder::new().spawn_scoped(scope, || {
                process::set_namespace(namespace, libc::CLONE_NEWPID as u64)?;
                clone::clone(flags, group, || init::run(block.view(), traced))
            });
            scratch.ok().map(|thread| thread.join().unwrap_or(Err(Errno(libc::EIO))))
        });
        match in_thread {
            Some(result) => result,
            // The C library makes no thread where a filter answers EPERM to clone3.
            None => in_namespace(namespace, || {
                clone::clone(flags, group, || init::run(block.view(), traced))
            }),
        }
    }
}

/// Clones with the calling thread's own children in the pid namespace for that moment.
fn in_namespace(
    namespace: BorrowedFd<'_>,
    clone: impl FnOnce() -> std::result::Result<Child, Errno>,
) -> std::result::Result<Child, Errno> {
    let kind = libc::CLONE_NEWPID as u64;
    let own = std::fs::File::open("/proc/thread-self/ns/pid")
        .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::ENOENT)))?;
    process::set_namespace(namespace, kind)?;
    let child = clone();
    match (process::set_namespace(own.as_fd(), kind), child) {
        (Err(errno), Ok(child)) => {
            super::kill(&child);
            Err(errno)
        }
        (_, child) => child,
    }
}

/// Answers of clone3 that concern the cgroup, or clone3 as a whole.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno.0,
        libc::EBUSY
            | libc::EACCES
            | libc::EOPNOTSUPP
            | libc::ENOSYS
            | libc::EPERM
            | libc::EINVAL
            | libc::E2BIG
    )
}

fn clone_error(errno: Errno) -> Error {
    Error::new(ErrorKind::Process, format!("clone the container's process: {errno}"))
}
