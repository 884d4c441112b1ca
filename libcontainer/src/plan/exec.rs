//! The order of a further process of a container.

use super::annotations::keeps_groups;
use super::capabilities::SYS_ADMIN;
use super::create::{plan_console, plan_no_new_privileges, plan_oom_score_adj};
use super::entry::{CGROUP_SLOTS, plan_cgroups, plan_descriptors};
use super::labels::{has_labels, plan_apparmor, plan_selinux};
use super::process::{check_process, plan_directory, plan_execute, plan_identity, plan_program};
use super::rlimits::plan_rlimits;
use super::scheduling::{
    plan_affinity, plan_affinity_reset, plan_memory_policy, plan_personality, plan_scheduling,
};
use super::seccomp::{plan_filter, plan_load};
use super::{
    Context, DescriptorSource, NamespaceKind, NamespacePath, Namespaces, Options, Plan, PlanError,
    PlannedHooks, ProcessSection, Shape,
};
use crate::host::Host;
use crate::protocol::{Slot, Step, SyncPoint};
use crate::spec::{Process, Resources, Spec};

/// What is known about the running container.
#[derive(Clone, Debug)]
pub(crate) struct Running<'a> {
    /// The configuration that it was created with.
    pub(crate) spec: &'a Spec,
    /// Pid of its init in the runtime's pid namespace.
    pub(crate) pid: u32,
    /// `CLONE_NEW*` flags of the namespaces of init that are not the caller's own. The kernel
    /// refuses to join the user namespace that one is in.
    pub(crate) namespaces: u64,
    /// Whether it is known by a pidfd; where pidfd_open(2) is refused, its directory in procfs stands
    /// for it, which setns(2) does not take.
    pub(crate) by_pidfd: bool,
}

/// Decides everything about a further process. `base` is the JSON pointer of `process` in the
/// document that it comes from.
///
/// # Errors
/// [`PlanError`] with the JSON pointer of whatever cannot be done.
pub(crate) fn plan_exec(
    process: &Process,
    base: &'static str,
    running: &Running<'_>,
    options: &Options,
    host: &Host,
) -> Result<Plan, PlanError> {
    let process = &inherit(process, running.spec.process.as_ref());
    let section = ProcessSection { process, base };
    check_process(section)?;
    if process.terminal && !options.console {
        let message = "cannot allocate tty if runc will detach without setting console socket";
        return Err(PlanError::new(section.at("/terminal"), message));
    }
    let mut ctx = Context::new(running.spec, options, host, Namespaces::default());
    let oom_score_adj = plan_oom_score_adj(section)?;
    let rlimits = plan_rlimits(section)?;
    let filter = plan_filter(&mut ctx)?;

    plan_descriptors(&mut ctx);
    let affinity = process.exec_cpu_affinity.clone().unwrap_or_default();
    if !affinity.initial.is_empty() {
        plan_affinity(&mut ctx, &affinity.initial, section.at("/execCPUAffinity/initial"))?;
    }
    let first_cgroup = plan_cgroups(&mut ctx, CGROUP_SLOTS);
    if !affinity.last.is_empty() {
        plan_affinity(&mut ctx, &affinity.last, section.at("/execCPUAffinity/final"))?;
    } else if affinity.initial.is_empty() {
        plan_affinity_reset(&mut ctx)?;
    }
    let (shape, pid_namespace) = plan_joining(&mut ctx, running, oom_score_adj.is_some());
    if !options.no_new_keyring {
        let name = ctx.text(format!("_ses.{}", options.id), "")?;
        ctx.push(Step::JoinKeyring { name }, "");
    }
    if has_labels(section) {
        ctx.push(Step::OpenProc {}, section.at(""));
    }

    ctx.push(Step::StartSession {}, "");
    plan_console(&mut ctx, section, false)?;
    plan_apparmor(&mut ctx, section)?;
    let program = plan_program(&mut ctx, section)?;
    let directory = plan_directory(&mut ctx, section)?;
    plan_no_new_privileges(&mut ctx, section);
    plan_scheduling(&mut ctx, section, false)?;
    plan_personality(&mut ctx)?;
    plan_memory_policy(&mut ctx)?;
    if !rlimits.is_empty() {
        ctx.push(Step::Meet { point: SyncPoint::Limits }, section.at("/rlimits"));
    }
    plan_selinux(&mut ctx, section)?;
    plan_load(&mut ctx, filter.as_ref(), !process.no_new_privileges);
    let in_user_namespace = running.namespaces & NamespaceKind::User.flag() != 0;
    let denied = in_user_namespace && process.user.additional_gids.is_empty();
    plan_identity(&mut ctx, section, directory, program, denied)?;
    let from = u32::from(ctx.preserved()) + 3;
    let none = Slot::NONE;
    let step = Step::CloseDescriptors { from, state: none, out: none, error: none, handler: none };
    ctx.push(step, "");
    plan_load(&mut ctx, filter.as_ref(), process.no_new_privileges);
    plan_execute(&mut ctx, section, program, Slot::NONE);

    Ok(Plan {
        shape,
        init: ctx.init,
        clone_flags: 0,
        cgroups: (first_cgroup, CGROUP_SLOTS),
        descriptors: ctx.descriptors,
        pid_namespace,
        mappings: None,
        oom_score_adj,
        rlimits,
        cgroups_path: None,
        net_devices: Vec::new(),
        rdt: None,
        resources: Resources::default(),
        hooks: PlannedHooks::default(),
        trees: ctx.trees,
        listener: filter.and_then(|filter| filter.listener),
        warnings: ctx.warnings,
    })
}

/// What the process does not say is as for the container's own, where runc has it so.
fn inherit(process: &Process, of: Option<&Process>) -> Process {
    let mut process = process.clone();
    let Some(of) = of else {
        return process;
    };
    if process.capabilities.is_none() {
        process.capabilities = of.capabilities.clone();
    }
    if process.rlimits.is_empty() {
        process.rlimits = of.rlimits.clone();
    }
    if process.apparmor_profile.is_empty() {
        process.apparmor_profile = of.apparmor_profile.clone();
    }
    if process.selinux_label.is_empty() {
        process.selinux_label = of.selinux_label.clone();
    }
    if process.scheduler.is_none() {
        process.scheduler = of.scheduler.clone();
    }
    if process.io_priority.is_none() {
        process.io_priority = of.io_priority.clone();
    }
    if process.exec_cpu_affinity.is_none() {
        process.exec_cpu_affinity = of.exec_cpu_affinity.clone();
    }
    process
}

/// Joins init's namespaces. A caller with rights over the host has a thread join the pid
/// namespace, and one process follows; another must enter the user namespace first, and only the
/// next process is in the pid namespace.
pub(super) fn plan_joining(
    ctx: &mut Context<'_>,
    running: &Running<'_>,
    adjusts_oom: bool,
) -> (Shape, Option<NamespacePath>) {
    const PID: u64 = NamespaceKind::Pid.flag();
    let privileged = ctx.host.has_capability(SYS_ADMIN);
    // The parent writes oom_score_adj: the program must not run before, and without rights over the
    // host the process has to be dumpable still.
    if ctx.options.systemd_cgroup || ctx.has_rdt() || adjusts_oom {
        ctx.push(Step::Meet { point: SyncPoint::Up }, "");
    }
    // A process of the container must not look into this one while it holds anything of the host
    // (CVE-2016-9962).
    ctx.push(Step::SetDumpable { dumpable: false }, "");
    let differs = |kind: NamespaceKind| running.namespaces & kind.flag() != 0;
    let by_thread = privileged && differs(NamespaceKind::Pid);
    let kinds = if by_thread { running.namespaces & !PID } else { running.namespaces };
    push_joins(ctx, running, kinds);
    if differs(NamespaceKind::User) {
        let keep_groups = keeps_groups(ctx);
        ctx.push(Step::BecomeRoot { tolerate_denied: true, keep_groups }, "");
        ctx.push(Step::SetDumpable { dumpable: false }, "");
    }
    if by_thread {
        let path = namespace_of(running.pid, NamespaceKind::Pid);
        return (Shape::One, Some(path));
    }
    if differs(NamespaceKind::Pid) {
        ctx.push(Step::CloneInit { kinds: 0 }, "");
        return (Shape::Two, None);
    }
    (Shape::One, None)
}

/// One call for all of them by init's pidfd, since Linux 5.8; before it one by one.
fn push_joins(ctx: &mut Context<'_>, running: &Running<'_>, kinds: u64) {
    if kinds == 0 {
        return;
    }
    let pid = running.pid;
    if ctx.host.kernel >= (5, 8) && running.by_pidfd {
        let process = ctx.open(DescriptorSource::Init, "");
        ctx.push(Step::JoinProcess { process, kinds }, "");
        return;
    }
    let user = NamespaceKind::User;
    let mut others = Vec::new();
    let mount_last = NamespaceKind::ALL.into_iter().filter(|kind| *kind != NamespaceKind::Mount);
    for kind in mount_last.chain([NamespaceKind::Mount]) {
        if kinds & kind.flag() == 0 || kind == user {
            continue;
        }
        let source = DescriptorSource::Namespace(namespace_of(pid, kind));
        let namespace = ctx.open(source, "");
        ctx.push(Step::JoinNamespace { namespace, kind: kind.flag(), postpone: true }, "");
        others.push((namespace, kind));
    }
    if kinds & user.flag() != 0 {
        let namespace = ctx.open(DescriptorSource::Namespace(namespace_of(pid, user)), "");
        ctx.push(Step::JoinNamespace { namespace, kind: user.flag(), postpone: false }, "");
    }
    for (namespace, kind) in others {
        ctx.push(Step::JoinPostponed { namespace, kind: kind.flag() }, "");
    }
}

fn namespace_of(pid: u32, kind: NamespaceKind) -> NamespacePath {
    let name = match kind {
        NamespaceKind::Mount => "mnt",
        NamespaceKind::Network => "net",
        other => other.name(),
    };
    NamespacePath {
        path: format!("/proc/{pid}/ns/{name}"),
        kind: kind.flag(),
        pointer: String::new(),
    }
}
