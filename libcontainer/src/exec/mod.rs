//! A further process in a container: the same pipeline with another plan.

mod mounts;

use std::os::fd::AsFd;

pub(crate) use mounts::change_mounts;

use crate::cgroup::systemd::Unit;
use crate::cgroup::{self, Location};
use crate::container::{ExecOptions, Status};
use crate::create::{self, Conversation, Descriptors, Heard, HookState, Launch, Lent, open_lease};
use crate::error::{Error, ErrorKind, Result};
use crate::host::{Host, namespace_inode};
use crate::plan::{self, Mappings, Plan, Running, plan_exec};
use crate::protect;
use crate::protocol::{Slot, Step, SyncPoint};
use crate::spec::{IdMapping, NamespaceKind, Spec};
use crate::state::{self, LiveProcess, Record, StateDirectory};
use crate::sys::clone::Child;
use crate::sys::{pidfd, socket};

/// A process that executes its program.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) warnings: Vec<String>,
}

/// Executes a process in a container.
pub(crate) fn exec(directory: &StateDirectory, options: &ExecOptions<'_>) -> Result<Started> {
    let record = directory.load()?;
    let init = find_init(directory, &record, options)?;
    let spec = directory.load_spec()?;
    let host = Host::probe(false)?;
    if options.stdio.is_none() && options.console.is_none() {
        let message = "standard input, output and error of the process are not given";
        return Err(Error::new(ErrorKind::InvalidOption, message));
    }
    crate::container::check_exit_status_is_kept(host.kernel)?;
    let namespaces = foreign_namespaces(&host, init.pid)?;
    if !options.accept_unprotected_program {
        let mappings = match namespaces & NamespaceKind::User.flag() {
            0 => None,
            _ => Some(read_mappings(init.pid)?),
        };
        protect::check(mappings.as_ref())?;
    }
    let unit = unit_that_attaches(&record, options, &init)?;
    let plan = decide(options, &record, &spec, &host, &init, namespaces, unit.is_some())?;
    let groups = match &record.cgroup {
        Some(_) if unit.is_some() => None,
        Some(location) => {
            let location = choose_groups(location, &init, options)?;
            // The process is not there yet: 0 names it, as it does in cgroup.procs.
            Some(cgroup::open(&location).map_err(|error| adding(error.into(), 0))?)
        }
        None => None,
    };
    launch(options, &record, &plan, &init, groups, unit)
        .map_err(|error| create::starting(error).after(plan.warnings.clone()))
}

fn find_init(
    directory: &StateDirectory,
    record: &Record,
    options: &ExecOptions<'_>,
) -> Result<LiveProcess> {
    let message = match state::probe_status(directory, record)? {
        (Status::Running | Status::Created, Some(init)) => return Ok(init),
        (Status::Paused, Some(init)) if options.ignore_paused => return Ok(init),
        (Status::Paused, _) => {
            "cannot exec in a paused container (use --ignore-paused to override)"
        }
        (Status::Creating, _) => "cannot exec in a container that is being created",
        _ => "cannot exec in a stopped container",
    };
    Err(Error::new(ErrorKind::WrongStatus, message))
}

/// Namespaces of init that are not ours: the kernel refuses to join the user namespace that one
/// is in, and joining the others would be in vain.
fn foreign_namespaces(host: &Host, pid: u32) -> Result<u64> {
    let mut foreign = 0;
    for (flag, own) in &host.namespace_inodes {
        let Some(kind) = NamespaceKind::ALL.into_iter().find(|kind| kind.flag() == *flag) else {
            continue;
        };
        let path = format!("/proc/{pid}/ns/{}", kind.file_name());
        let inode = namespace_inode(&path)
            .map_err(|error| Error::io(ErrorKind::System, "read the link", &path, &error))?;
        if inode != *own {
            foreign |= flag;
        }
    }
    Ok(foreign)
}

/// Whether no process of the container can write to the file of the calling program, as its user
/// namespace stands: then a further one needs no protection of the file.
pub(crate) fn is_out_of_reach(directory: &StateDirectory) -> Result<bool> {
    if protect::is_protected() {
        return Ok(true);
    }
    let (_, init) = state::probe_status(directory, &directory.load()?)?;
    let Some(init) = init else { return Ok(false) };
    if user_namespace("self")? == user_namespace(&init.pid.to_string())? {
        return Ok(false);
    }
    Ok(protect::is_out_of_reach(&read_mappings(init.pid)?))
}

fn user_namespace(process: &str) -> Result<u64> {
    let path = format!("/proc/{process}/ns/user");
    namespace_inode(&path)
        .map_err(|error| Error::io(ErrorKind::System, "read the link", &path, &error))
}

fn read_mappings(pid: u32) -> Result<Mappings> {
    Ok(Mappings {
        uids: read_map(&format!("/proc/{pid}/uid_map"))?,
        gids: read_map(&format!("/proc/{pid}/gid_map"))?,
        deny_setgroups: false,
    })
}

fn read_map(path: &str) -> Result<Vec<IdMapping>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::io(ErrorKind::System, "read", path, &error))?;
    let ranges = text.lines().map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    });
    ranges
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Error::new(ErrorKind::System, format!("{path} is no mapping of ids")))
}

fn decide(
    options: &ExecOptions<'_>,
    record: &Record,
    spec: &Spec,
    host: &Host,
    init: &LiveProcess,
    namespaces: u64,
    by_systemd: bool,
) -> Result<Plan> {
    let plan_options = plan::Options {
        id: record.id.clone(),
        bundle: record.bundle.display().to_string(),
        no_pivot: record.no_pivot,
        no_new_keyring: record.no_new_keyring,
        preserve_fds: options.preserve_fds,
        listen_fds: 0,
        console: options.console.is_some(),
        plain_newlines: options.plain_newlines,
        seccomp_receiver: None,
        handler: None,
        rootless: record.rootless,
        from_outside: false,
        joinable: false,
        systemd_cgroup: by_systemd,
        umask: None,
    };
    let by_pidfd = !pidfd::is_directory(init.pidfd.as_fd());
    let running = Running { spec, pid: init.pid, namespaces, by_pidfd };
    Ok(plan_exec(&options.process, "", &running, &plan_options, host)?)
}

/// The groups that init is in now, which the container may have chosen itself; or those that the
/// caller names below the container's.
fn choose_groups(
    location: &Location,
    init: &LiveProcess,
    options: &ExecOptions<'_>,
) -> Result<Location> {
    if !options.cgroups.is_empty() {
        return Ok(cgroup::sub(location, &options.cgroups)?);
    }
    let mut chosen = cgroup::of_process(location, init.pid.cast_signed())?;
    // Where the caller is, the process is born. An ordinary user may have no right to join the
    // group in which its container was left.
    let own = cgroup::of_process(location, std::process::id().cast_signed())?;
    chosen.groups.retain(|group| !own.groups.contains(group));
    chosen.rootless = location.rootless;
    Ok(chosen)
}

/// A unit of the user's systemd, and the group at or below its own in which init is: an ordinary
/// user may not move a process there from a session, which lies elsewhere, and systemd may.
struct Attaching<'a> {
    unit: &'a Unit,
    subgroup: String,
}

fn unit_that_attaches<'a>(
    record: &'a Record,
    options: &ExecOptions<'_>,
    init: &LiveProcess,
) -> Result<Option<Attaching<'a>>> {
    let Some(location) = &record.cgroup else { return Ok(None) };
    let Some(unit) = location.unit.as_ref().filter(|unit| unit.user) else { return Ok(None) };
    if !options.cgroups.is_empty() {
        return Ok(None);
    }
    let present = cgroup::of_process(location, init.pid.cast_signed())?;
    // A container that has left its unit's group is none that systemd may reach.
    let below = present.v2().zip(location.v2()).and_then(|(present, own)| {
        let top = own.path().strip_suffix(&unit.subgroup)?.trim_end_matches('/');
        present.path().strip_prefix(top)
    });
    Ok(below.map(|subgroup| Attaching { unit, subgroup: subgroup.to_owned() }))
}

fn launch(
    options: &ExecOptions<'_>,
    record: &Record,
    plan: &Plan,
    init: &LiveProcess,
    groups: Option<cgroup::Descriptors>,
    unit: Option<Attaching<'_>>,
) -> Result<Started> {
    let (control, theirs) = socket::pair()
        .map_err(|errno| Error::new(ErrorKind::System, format!("socketpair: {errno}")))?;
    let mut descriptors = Descriptors::new(plan.init.slot_count(), options.preserve_fds);
    descriptors.put(Slot::CONTROL, theirs)?;
    if let Some(lease) = open_lease()? {
        descriptors.put(Slot::LEASE, lease)?;
    }
    descriptors.put_stdio(options.stdio)?;
    let lent = Lent { init: Some(init.pidfd.as_fd()), handler: None };
    descriptors.open_planned(&plan.descriptors, lent)?;
    let launch = Launch {
        program: &plan.init,
        flags: plan.clone_flags,
        cgroup_slots: plan.cgroups,
        pid_namespace: plan.pid_namespace.as_ref(),
        traced: false,
    };
    // These words, and those of a creation, are what runc's callers look for in its messages.
    log::debug!("nsexec container setup: {} steps in a clone", plan.init.steps().len());
    if let Some(mask) = early_affinity(plan) {
        log::debug!("nsexec: affinity: {mask:#x}");
    }
    create::tell_filter(plan);
    let mut child = launch.clone(descriptors, groups)?;
    log::debug!("child process in init(): pid {}", child.pid);
    let mut conversation = Conversation::new(&plan.init, control, options.console);
    let result = converse(record, plan, unit.as_ref(), &mut child, &mut conversation)
        .and_then(|()| send_pidfd(options, &child))
        .and_then(|()| write_pid_file(options, &child));
    if let Err(error) = result {
        create::kill(&child);
        return Err(error.after(conversation.warnings));
    }
    log::debug!("setns_init: about to exec: pid {} did", child.pid);
    let mut warnings = plan.warnings.clone();
    warnings.extend(conversation.warnings);
    Ok(Started { child, warnings })
}

/// The first CPUs that the process may run on until it is in its cgroup.
fn early_affinity(plan: &Plan) -> Option<u64> {
    let early = |step: &&Step| !matches!(step, Step::JoinCgroups { .. });
    plan.init.steps().iter().take_while(early).find_map(|step| match *step {
        Step::SetAffinity { mask } => {
            let word = plan.init.data().get(mask.offset as usize..)?.first_chunk()?;
            Some(u64::from_le_bytes(*word))
        }
        _ => None,
    })
}

/// runc's words, which its callers know.
fn adding(error: Error, pid: u32) -> Error {
    error.within(&format!("error adding pid {pid} to cgroups"))
}

/// Answers the child until it executes its program: the control socket closes with that.
fn converse(
    record: &Record,
    plan: &Plan,
    unit: Option<&Attaching<'_>>,
    child: &mut Child,
    conversation: &mut Conversation<'_>,
) -> Result<()> {
    if !plan.init.steps().contains(&Step::Meet { point: SyncPoint::Up }) {
        create::set_oom_score(plan, child.pid)?;
    }
    loop {
        let heard = conversation.listen(child.pidfd.as_fd()).map_err(|error| match conversation
            .last_step()
        {
            Some(Step::JoinCgroups { .. }) => adding(error, child.pid),
            _ => error,
        })?;
        match heard {
            Heard::Reached { point: SyncPoint::Up, .. } => {
                if let Some(Attaching { unit, subgroup }) = unit {
                    cgroup::systemd::attach(unit, subgroup, child.pid)
                        .map_err(|error| adding(error.into(), child.pid))?;
                }
                create::set_oom_score(plan, child.pid)?;
                // Somebody else may have removed it, and without it nothing is limited.
                if let Some(group) = record.rdt.as_ref().filter(|group| group.exists()) {
                    let pid = child.pid;
                    group.join(pid).map_err(|error| {
                        error.within(&format!("error adding pid {pid} to Intel RDT"))
                    })?;
                }
            }
            Heard::Reached { point: SyncPoint::Limits, .. } => {
                create::set_rlimits(child.pid, &plan.rlimits)?;
            }
            Heard::Reached { point: SyncPoint::Listener, detail } => {
                hand_listener(record, plan, child, detail)?;
            }
            Heard::Reached { .. } => {}
            Heard::Init { pid } => {
                *child = create::take_init(child, pid)?;
                continue;
            }
            Heard::Closed if state::has_executed(child.pid)? => return Ok(()),
            Heard::Closed => return Err(conversation.ended()),
        }
        conversation.go_on(&[])?;
    }
}

fn hand_listener(record: &Record, plan: &Plan, child: &Child, fd: u32) -> Result<()> {
    let Some(listener) = &plan.listener else { return Ok(()) };
    let init = record.init.map_or(0, |init| init.pid);
    let state = HookState::new(record, Status::Running, init);
    create::hand_over(listener, child.pidfd.as_fd(), child.pid, fd, &state)
}

fn send_pidfd(options: &ExecOptions<'_>, child: &Child) -> Result<()> {
    options.pidfd_socket.map_or(Ok(()), |socket| create::send_pidfd(socket, b"setns", child))
}

/// Only now: callers take its presence for the start of their command.
fn write_pid_file(options: &ExecOptions<'_>, child: &Child) -> Result<()> {
    let Some(path) = &options.pid_file else { return Ok(()) };
    state::write_replacing(path, child.pid.to_string().as_bytes())
        .map_err(|error| Error::io(ErrorKind::System, "write", path.display(), &error))
}
