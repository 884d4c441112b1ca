//! Mounts of a running container, changed by a process that joins it.

use std::os::fd::{AsFd, OwnedFd};

use super::{foreign_namespaces, read_mappings};
use crate::container::Status;
use crate::create::{
    Conversation, Descriptors, Heard, Launch, Lent, kill, make_trees, open_lease,
    open_user_namespace,
};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::plan::{self, Change, PlannedChange, Running, TreeMapping, plan_change};
use crate::protect;
use crate::protocol::{Slot, SyncPoint};
use crate::spec::{Mount, NamespaceKind};
use crate::state::{self, LiveProcess, StateDirectory};
use crate::sys::{pidfd, socket};

/// Adds or removes mounts; what was wrong and not refused.
pub(crate) fn change_mounts(
    directory: &StateDirectory,
    change: Change,
    mounts: &[Mount],
) -> Result<Vec<String>> {
    let record = directory.load()?;
    let init = match state::probe_status(directory, &record)? {
        (Status::Running | Status::Created | Status::Paused, Some(init)) => init,
        _ => return Err(Error::new(ErrorKind::NotRunning, "container not running")),
    };
    let spec = directory.load_spec()?;
    let host = Host::probe(false)?;
    crate::container::check_exit_status_is_kept(host.kernel)?;
    let namespaces = foreign_namespaces(&host, init.pid)?;
    let mappings = match namespaces & NamespaceKind::User.flag() {
        0 => None,
        _ => Some(read_mappings(init.pid)?),
    };
    protect::check(mappings.as_ref())?;
    let options = plan::Options {
        id: record.id.clone(),
        bundle: record.bundle.display().to_string(),
        rootless: record.rootless,
        from_outside: true,
        ..plan::Options::default()
    };
    let by_pidfd = !pidfd::is_directory(init.pidfd.as_fd());
    let running = Running { spec: &spec, pid: init.pid, namespaces, by_pidfd };
    let planned = plan_change(change, mounts, &running, &options, &host)?;
    carry_out(&planned, &init)
}

fn carry_out(planned: &PlannedChange, init: &LiveProcess) -> Result<Vec<String>> {
    let (control, theirs) = socket::pair()
        .map_err(|errno| Error::new(ErrorKind::System, format!("socketpair: {errno}")))?;
    let mut descriptors = Descriptors::new(planned.program.slot_count(), 0);
    descriptors.put(Slot::CONTROL, theirs)?;
    if let Some(lease) = open_lease()? {
        descriptors.put(Slot::LEASE, lease)?;
    }
    descriptors.put_stdio(None)?;
    let lent = Lent { init: Some(init.pidfd.as_fd()), handler: None };
    descriptors.open_planned(&planned.descriptors, lent)?;
    let namespace = namespace_for(planned, init)?;
    for (slot, tree) in make_trees(&planned.trees, namespace.as_ref().map(AsFd::as_fd))? {
        descriptors.put(slot, tree)?;
    }
    let launch = Launch {
        program: &planned.program,
        flags: 0,
        cgroup_slots: (Slot::NONE, 0),
        pid_namespace: planned.pid_namespace.as_ref(),
        traced: false,
    };
    let child = launch.clone(descriptors, None)?;
    let mut conversation = Conversation::new(&planned.program, control, None);
    let done = loop {
        match conversation.listen(child.pidfd.as_fd()) {
            Ok(Heard::Reached { point, .. }) => {
                if let Err(error) = conversation.go_on(&[]) {
                    break Err(error);
                }
                if point == SyncPoint::Created {
                    break Ok(());
                }
            }
            Ok(Heard::Init { .. } | Heard::Closed) => break Err(conversation.ended()),
            Err(error) => break Err(error),
        }
    };
    match done {
        Ok(()) => pidfd::reap(child.pidfd.as_fd()).map(drop).map_err(|errno| {
            Error::new(ErrorKind::System, format!("wait for the process that mounts: {errno}"))
        })?,
        Err(error) => {
            kill(&child);
            return Err(error);
        }
    }
    let mut warnings = planned.warnings.clone();
    warnings.extend(conversation.warnings);
    Ok(warnings)
}

/// The container's user namespace, where trees are mapped by it.
fn namespace_for(planned: &PlannedChange, init: &LiveProcess) -> Result<Option<OwnedFd>> {
    match planned.trees.iter().any(|tree| tree.mapping == TreeMapping::Container) {
        true => open_user_namespace(init.pid).map(Some),
        false => Ok(None),
    }
}
