//! Carries out the parent's half of a creation: state directory, cgroups, the clone, the
//! conversation with the child, and the commit. What fails is undone.

mod conversation;
mod decide;
mod descriptors;
mod failure;
mod groups;
mod handler;
pub(crate) mod hooks;
mod launch;
mod limits;
mod listener;
pub(crate) mod notify;
mod trees;
mod undo;
mod user_namespace;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use serde::Serialize;

pub(crate) use conversation::{Conversation, Heard};
pub(crate) use decide::{Decided, absolute, decide, decide_with, read_config};
pub(crate) use descriptors::{Descriptors, Lent, open_namespace};
pub(crate) use failure::HookOutput;
use groups::{descend, set_limits};
pub(crate) use groups::{make_groups, start_unit};
pub(crate) use launch::Launch;
pub(crate) use limits::set as set_rlimits;
pub(crate) use listener::hand_over;
pub(crate) use trees::{
    make_all as make_trees, open_of as open_user_namespace, user_namespace_with,
};
pub(crate) use undo::{Undo, kill};

use crate::cgroup;
use crate::checkpoint;
use crate::container::{CreateOptions, Status};
use crate::error::{Error, ErrorKind, Result, kernel_words};
use crate::network;
use crate::plan::annotations::PIDFD_RECEIVER;
use crate::plan::{self, Plan};
use crate::protect;
use crate::protocol::{Slot, Step, SyncPoint};
use crate::rdt::Group;
use crate::state::{self, Gate, Identity, Phase, Record, StateDirectory};
use crate::sys::clone::Child;
use crate::sys::{Errno, pidfd, socket};

/// A container that waits for its start.
pub(crate) struct Created {
    pub(crate) directory: StateDirectory,
    pub(crate) record: Record,
    pub(crate) init: Child,
    pub(crate) warnings: Vec<String>,
    pub(crate) trace: Vec<(&'static str, u64)>,
}

/// The state document that hooks and seccomp agents get.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HookState<'a> {
    pub(crate) oci_version: &'a str,
    pub(crate) id: &'a str,
    pub(crate) status: Status,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) pid: u32,
    pub(crate) bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

fn is_zero(pid: &u32) -> bool {
    *pid == 0
}

impl<'a> HookState<'a> {
    /// The document of a container with this status and process.
    pub(crate) fn new(record: &'a Record, status: Status, pid: u32) -> Self {
        Self {
            oci_version: &record.oci_version,
            id: &record.id,
            status,
            pid,
            bundle: &record.bundle,
            annotations: &record.annotations,
        }
    }

    /// Its JSON.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::new(ErrorKind::State, format!("the state of {}: {error}", self.id))
        })
    }
}

/// Creates a container.
pub(crate) fn create(options: &CreateOptions<'_>) -> Result<Created> {
    let decided = decide(options)?;
    if options.stdio.is_none() && options.console.is_none() {
        let message = "standard input, output and error of the container are not given";
        return Err(Error::new(ErrorKind::InvalidOption, message));
    }
    if !options.accept_unprotected_program {
        protect::check(decided.plan.mappings.as_ref())?;
    }
    crate::container::check_exit_status_is_kept(decided.kernel)?;
    let mut undo = Undo::default();
    match carry_out(options, &decided, &mut undo) {
        Ok(created) => Ok(created),
        Err(error) => {
            let error = undo.unwind(error.after(decided.plan.warnings.clone()));
            Err(match undo.hooked.take() {
                Some(record) => error.after(end_hooks(&decided.plan, &record)),
                None => error,
            })
        }
    }
}

/// The poststop hooks of a creation that failed once its hooks had begun: what those did for the
/// container is for these to take back. Their own failures are warnings.
fn end_hooks(plan: &Plan, record: &Record) -> Vec<String> {
    let state = HookState::new(record, Status::Stopped, 0).to_json();
    let prepared = state.and_then(|state| Ok((state, hooks::Output::open(record)?)));
    let (state, output) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return vec![format!("poststop hooks do not run: {error}")],
    };
    let occasion = hooks::Occasion {
        kind: "poststop",
        state: &state,
        directory: &record.bundle,
        output: &output,
        container: None,
    };
    occasion.try_all(&plan.hooks.poststop).into_iter().map(|error| error.to_string()).collect()
}

fn carry_out(
    options: &CreateOptions<'_>,
    decided: &Decided<'_>,
    undo: &mut Undo,
) -> Result<Created> {
    let directory = undo.directory.insert(StateDirectory::claim(&options.root, &options.id)?);
    let _lock = directory.lock(Duration::ZERO)?;
    let mut record = intent(options, decided)?;
    directory.save_spec(&decided.json)?;
    directory.save(&record)?;
    let gate = directory.make_gate()?;
    if options.notify_socket {
        directory.make_notify_directory()?;
    }

    let groups = make_groups(decided, &mut record, undo)?;
    let (control, theirs) = socket::pair()
        .map_err(|errno| Error::new(ErrorKind::System, format!("socketpair: {errno}")))?;
    let descriptors = open_descriptors(options, decided, theirs, gate)?;
    let launch = Launch {
        program: &decided.plan.init,
        flags: decided.plan.clone_flags,
        cgroup_slots: decided.plan.cgroups,
        pid_namespace: decided.plan.pid_namespace.as_ref(),
        traced: options.trace,
    };
    // The first words of these messages are what runc's callers look for in its own.
    log::debug!("nsexec container setup: {} steps in a clone", launch.program.steps().len());
    tell_filter(&decided.plan);
    let child = launch.clone(descriptors, groups).map_err(starting)?;
    log::debug!("child process in init(): pid {}", child.pid);
    undo.children.push(child);
    let mut conversation = Conversation::new(&decided.plan.init, control, options.console);
    let result = converse(options, decided, undo, &mut record, &mut conversation);
    if let Err(error) = result {
        return Err(starting(explain(error, undo)).after(conversation.warnings));
    }
    commit(decided, undo, record, conversation)
}

/// Tells what seccomp(2) is going to be called with.
pub(crate) fn tell_filter(plan: &Plan) {
    for step in plan.init.steps() {
        if let Step::LoadSeccomp { flags, listener, .. } = *step {
            let listener = if listener { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32 } else { 0 };
            log::debug!("seccomp filter flags: {}", flags | listener);
        }
    }
}

/// The words that callers know before whatever went wrong with a process.
pub(crate) fn starting(error: Error) -> Error {
    error.within("unable to start container process")
}

/// What is recorded before the host is changed.
pub(crate) fn intent(options: &CreateOptions<'_>, decided: &Decided<'_>) -> Result<Record> {
    let spec = &decided.spec;
    let rootfs = spec.root.as_ref().map(|root| decided.bundle.join(&root.path));
    let namespaces = spec.linux.as_ref().map(|linux| linux.namespaces.as_slice());
    let hooks = &decided.plan.hooks;
    Ok(Record {
        format: Record::FORMAT,
        phase: Phase::Creating,
        id: options.id.clone(),
        bundle: decided.bundle.clone(),
        rootfs: rootfs.unwrap_or_default(),
        oci_version: spec.oci_version.clone(),
        created: state::now(),
        annotations: spec.annotations.clone(),
        uid: decided.uid,
        creator: Identity::of(std::process::id())?,
        init: None,
        cgroup: decided.location.clone(),
        rdt: decided.plan.rdt.as_ref().map(Group::intended),
        own_pid_namespace: namespaces
            .unwrap_or_default()
            .iter()
            .any(|namespace| namespace.kind == "pid" && namespace.path.is_empty()),
        rootless: decided.rootless,
        no_new_keyring: options.no_new_keyring,
        no_pivot: options.no_pivot,
        has_late_hooks: !hooks.poststart.is_empty() || !hooks.poststop.is_empty(),
        first_late_step: late_step(&decided.plan),
        resources: None,
        descriptors: options.stdio.as_ref().map(checkpoint::links_of).unwrap_or_default(),
    })
}

/// The first step that `start` hears of.
fn late_step(plan: &Plan) -> u32 {
    let gate = plan.init.steps().iter().position(|step| matches!(step, Step::AwaitStart {}));
    gate.map_or(0, |gate| gate as u32 + 1)
}

fn open_descriptors(
    options: &CreateOptions<'_>,
    decided: &Decided<'_>,
    control: OwnedFd,
    gate: Gate,
) -> Result<Descriptors> {
    let plan = &decided.plan;
    let preserved = options.preserve_fds.saturating_add(options.listen_fds);
    let mut descriptors = Descriptors::new(plan.init.slot_count(), preserved);
    descriptors.put(Slot::CONTROL, control)?;
    if let Some(lease) = open_lease()? {
        descriptors.put(Slot::LEASE, lease)?;
    }
    descriptors.put(Slot::GO, gate.go)?;
    descriptors.put(Slot::RESULT, gate.result)?;
    descriptors.put_stdio(options.stdio)?;
    let handler = decided.handler.as_ref().map(AsFd::as_fd);
    descriptors.open_planned(&plan.descriptors, Lent { init: None, handler })?;
    for (tree, made) in trees::make_early(&plan.trees)? {
        descriptors.put(tree.slot, made)?;
    }
    Ok(descriptors)
}

/// A pidfd of this process: its end is the end of a child that is not committed. Without
/// pidfd_open(2) the child sees our end by the control socket alone, which holds as long as no
/// other process has a copy of our side.
pub(crate) fn open_lease() -> Result<Option<OwnedFd>> {
    match pidfd::open_pidfd(std::process::id()) {
        Ok(lease) => Ok(Some(lease)),
        Err(Errno(libc::ENOSYS | libc::EPERM)) => Ok(None),
        Err(errno) => Err(Error::new(ErrorKind::System, format!("pidfd_open: {errno}"))),
    }
}

/// Answers the child until it is created.
fn converse(
    options: &CreateOptions<'_>,
    decided: &Decided<'_>,
    undo: &mut Undo,
    record: &mut Record,
    conversation: &mut Conversation<'_>,
) -> Result<()> {
    let plan = &decided.plan;
    let meets_up = plan.init.steps().contains(&Step::Meet { point: SyncPoint::Up });
    remember(undo, record)?;
    if !meets_up {
        set_oom_score(plan, last(undo)?.pid)?;
    }
    let mut namespace = None;
    loop {
        let heard = conversation
            .listen(last(undo)?.pidfd.as_fd())
            .map_err(|error| error.within("error during container init"))?;
        let pid = last(undo)?.pid;
        match heard {
            Heard::Reached { point: SyncPoint::Up, .. } => {
                start_unit(decided, record, undo, pid)?;
                if let Some(mappings) = &plan.mappings {
                    user_namespace::write_mappings(pid, mappings)?;
                    // Before the child stops being dumpable: it is another's then.
                    namespace = Some(trees::open_of(pid)?);
                }
                set_oom_score(plan, pid)?;
                if let Some(group) = &record.rdt {
                    undo.rdt.insert(group.clone()).enter(pid)?;
                }
            }
            Heard::Reached { point: SyncPoint::Network, .. } => {
                move_devices(plan, pid, undo)
                    .map_err(|error| error.within("error during container init"))?;
            }
            Heard::Reached { point: SyncPoint::Namespaces, .. } => {
                conversation.go_on(&[])?;
                hand_trees(plan, namespace.as_ref(), pid, conversation)?;
                continue;
            }
            Heard::Reached { point: SyncPoint::Mounted, .. } => {
                descend(decided, undo, pid)?;
                set_limits(decided, undo, conversation)?;
                if let Some(group) = &undo.rdt {
                    group.apply().map_err(|error| {
                        error.within("error setting Intel RDT config for procHooks process")
                    })?;
                }
                undo.hooked = Some(record.clone());
                run_hooks(plan, last(undo)?, record)
                    .map_err(|error| error.within("error during container init"))?;
            }
            Heard::Reached { point: SyncPoint::Limits, .. } => set_rlimits(pid, &plan.rlimits)?,
            Heard::Reached { point: SyncPoint::Listener, detail } => {
                if let Some(listener) = &plan.listener {
                    let child = last(undo)?;
                    let state = HookState::new(record, Status::Creating, pid);
                    hand_over(listener, child.pidfd.as_fd(), pid, detail, &state)?;
                }
            }
            Heard::Reached { point: SyncPoint::Created, .. } => {
                return finish(options, undo, record, conversation);
            }
            Heard::Init { pid } => {
                replace_intermediate(undo, pid)?;
                remember(undo, record)?;
                continue;
            }
            Heard::Closed => {
                return Err(conversation.ended().within("error during container init"));
            }
        }
        conversation.go_on(&[])?;
    }
}

fn last(undo: &Undo) -> Result<&Child> {
    undo.children
        .last()
        .ok_or_else(|| Error::new(ErrorKind::Process, "the container has no process"))
}

/// Records the container's process: after a crash of ours it is found again.
fn remember(undo: &Undo, record: &mut Record) -> Result<()> {
    record.init = Some(Identity::of(last(undo)?.pid)?);
    match &undo.directory {
        Some(directory) => directory.save(record),
        None => Ok(()),
    }
}

/// Writes oom_score_adj: lowering it needs rights over the host.
pub(crate) fn set_oom_score(plan: &Plan, pid: u32) -> Result<()> {
    let Some(value) = plan.oom_score_adj else { return Ok(()) };
    let path = format!("/proc/{pid}/oom_score_adj");
    std::fs::write(&path, value.to_string()).map_err(|error| {
        let message = format!("write {value} to {path}: {}", kernel_words(&error));
        Error::new(ErrorKind::System, message).at("/process/oomScoreAdj")
    })
}

fn move_devices(plan: &Plan, pid: u32, undo: &mut Undo) -> Result<()> {
    let place = format!("/proc/{pid}/ns/net");
    let home = descriptors::open_path("/proc/thread-self/ns/net", OFlag::O_RDONLY)?;
    let target = descriptors::open_path(&place, OFlag::O_RDONLY)?;
    undo.network.insert(network::Moved::new(home, target, place)?).move_all(&plan.net_devices)
}

fn hand_trees(
    plan: &Plan,
    namespace: Option<&OwnedFd>,
    pid: u32,
    conversation: &Conversation<'_>,
) -> Result<()> {
    let opened = match namespace {
        Some(_) => None,
        None => Some(trees::open_of(pid)?),
    };
    let Some(namespace) = namespace.or(opened.as_ref()) else { return Ok(()) };
    for tree in trees::make_for(&plan.trees, namespace.as_fd())? {
        conversation.go_on(&[tree.as_fd()])?;
    }
    Ok(())
}

/// Runs the hooks of a creation in the runtime's namespaces.
pub(crate) fn run_hooks(plan: &Plan, child: &Child, record: &Record) -> Result<()> {
    if plan.hooks.prestart.is_empty() && plan.hooks.create_runtime.is_empty() {
        return Ok(());
    }
    let state = HookState::new(record, Status::Creating, child.pid).to_json()?;
    let output = hooks::Output::open(record)?;
    for (kind, hooks) in
        [("prestart", &plan.hooks.prestart), ("createRuntime", &plan.hooks.create_runtime)]
    {
        let occasion = hooks::Occasion {
            kind,
            state: &state,
            directory: &record.bundle,
            output: &output,
            container: Some(child.pidfd.as_fd()),
        };
        occasion.run_all(hooks)?;
    }
    Ok(())
}

fn replace_intermediate(undo: &mut Undo, pid: u32) -> Result<()> {
    let init = take_init(last(undo)?, pid)?;
    undo.children.clear();
    undo.children.push(init);
    Ok(())
}

/// An intermediate process has made init, as our child, and ends.
pub(crate) fn take_init(intermediate: &Child, pid: u32) -> Result<Child> {
    let failed = |errno| Error::new(ErrorKind::System, format!("process {pid}: {errno}"));
    // Nobody but us can take its status, so that the pid is its own.
    let pidfd = pidfd::open(pid).map_err(failed)?;
    pidfd::reap(intermediate.pidfd.as_fd()).map_err(failed)?;
    Ok(Child { pid, pidfd })
}

/// Sends a pidfd of a process, with the word by which receivers tell a container's first process
/// from a further one.
pub(crate) fn send_pidfd(socket: BorrowedFd<'_>, word: &[u8], process: &Child) -> Result<()> {
    if pidfd::is_directory(process.pidfd.as_fd()) {
        let message = "there is no pidfd to send: pidfd_open(2) is refused here";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    socket::send(socket, word, &[process.pidfd.as_fd()]).map_err(|errno| {
        Error::new(ErrorKind::System, format!("failed to send pidfd on socket: {errno}"))
    })
}

/// Sends the pidfd to the socket that an annotation names, relative to the bundle.
fn send_to_receiver(record: &Record, init: &Child) -> Result<()> {
    let Some(path) = record.annotations.get(PIDFD_RECEIVER) else { return Ok(()) };
    let path = record.bundle.join(path);
    let socket = std::os::unix::net::UnixStream::connect(&path)
        .map_err(|error| Error::io(ErrorKind::System, "connect", path.display(), &error));
    socket
        .and_then(|socket| send_pidfd(socket.as_fd(), b"standard", init))
        .map_err(|error| error.at(plan::annotations::pointer(PIDFD_RECEIVER)))
}

/// The record says created before the pid file does, and both before the child's lease ends.
fn finish(
    options: &CreateOptions<'_>,
    undo: &mut Undo,
    record: &mut Record,
    conversation: &Conversation<'_>,
) -> Result<()> {
    if let Some(socket) = options.pidfd_socket {
        send_pidfd(socket, b"standard", last(undo)?)?;
    }
    send_to_receiver(record, last(undo)?)?;
    record.phase = Phase::Created;
    if let Some(directory) = &undo.directory {
        directory.save(record)?;
    }
    if let Some(path) = &options.pid_file {
        let pid = last(undo)?.pid.to_string();
        state::write_replacing(path, pid.as_bytes())
            .map_err(|error| Error::io(ErrorKind::System, "write", path.display(), &error))?;
        undo.pid_file = Some(path.clone());
    }
    log::debug!("init: closing the pipe to signal completion");
    conversation.go_on(&[])
}

fn commit(
    decided: &Decided<'_>,
    undo: &mut Undo,
    record: Record,
    conversation: Conversation<'_>,
) -> Result<Created> {
    let (Some(directory), Some(init)) = (undo.directory.take(), undo.children.pop()) else {
        return Err(Error::new(ErrorKind::Process, "the container has no process"));
    };
    undo.cgroup = None;
    undo.network = None;
    undo.rdt = None;
    undo.pid_file = None;
    let mut warnings = decided.plan.warnings.clone();
    warnings.extend(conversation.warnings);
    Ok(Created { directory, record, init, warnings, trace: conversation.trace })
}

/// An early death is often the kernel's answer to a memory limit.
fn explain(error: Error, undo: &Undo) -> Error {
    let location = undo.cgroup.as_ref().map(|created| &created.location);
    let killed = location.and_then(cgroup::oom_kills).is_some_and(|kills| kills > 0);
    if !killed {
        return error;
    }
    Error::new(ErrorKind::OutOfMemory, "container init was OOM-killed (memory limit too low?)")
        .at("/linux/resources/memory/limit")
        .with_hint("a container needs about 1 MiB of memory until its program runs")
}
