//! Takes back what a failed creation has done to the host.

use std::os::fd::AsFd;
use std::time::Duration;

use crate::cgroup;
use crate::error::Error;
use crate::network;
use crate::rdt;
use crate::state::{Record, StateDirectory};
use crate::sys::clone::Child;
use crate::sys::pidfd;

/// How long a killed child may take to end. One that the kernel does not let go (a frozen cgroup,
/// a hanging file system) must not hang its creator as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was done so far, to be undone unless it is kept. Undone in reverse; the child always
/// first, because everything inside its namespaces goes with it.
#[derive(Default)]
pub(crate) struct Undo {
    pub(crate) directory: Option<StateDirectory>,
    pub(crate) cgroup: Option<cgroup::Created>,
    pub(crate) children: Vec<Child>,
    pub(crate) network: Option<network::Moved>,
    pub(crate) rdt: Option<rdt::Group>,
    pub(crate) pid_file: Option<std::path::PathBuf>,
    /// The container as its hooks know it, from the first one on.
    pub(crate) hooked: Option<Record>,
}

impl Undo {
    /// Undoes everything. What cannot be undone is logged: it must not hide `first`.
    pub(crate) fn unwind(&mut self, first: Error) -> Error {
        for child in self.children.drain(..).rev() {
            kill(&child);
        }
        if let Some(moved) = self.network.take() {
            moved.undo();
        }
        if let Some(group) = self.rdt.take()
            && let Err(error) = group.remove()
        {
            log::debug!("a resctrl group stays after a failed creation: {error}");
        }
        if let Some(path) = self.pid_file.take()
            && let Err(error) = std::fs::remove_file(&path)
        {
            log::debug!("{} stays after a failed creation: {error}", path.display());
        }
        if let Some(created) = self.cgroup.take()
            && let Err(error) = created.undo()
        {
            log::debug!("a cgroup stays after a failed creation: {error}");
        }
        if let Some(directory) = self.directory.take()
            && let Err(error) = directory.remove()
        {
            log::debug!("the state directory stays after a failed creation: {error}");
        }
        first
    }
}

/// Kills a child and takes its status.
pub(crate) fn kill(child: &Child) {
    let pidfd = child.pidfd.as_fd();
    let result = pidfd::send_signal(pidfd, libc::SIGKILL)
        .and_then(|()| pidfd::poll([(Some(pidfd), libc::POLLIN)], Some(PATIENCE)))
        .and_then(|[ended]| if ended == 0 { Ok(()) } else { pidfd::reap(pidfd).map(drop) });
    match result {
        // It ended by itself and was taken before.
        Err(crate::sys::Errno(libc::ESRCH)) => {
            if let Err(errno) = pidfd::reap(pidfd) {
                log::debug!("process {}: {errno}", child.pid);
            }
        }
        Err(errno) => log::debug!("process {} is not killed: {errno}", child.pid),
        Ok(()) => {}
    }
}
