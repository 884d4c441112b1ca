//! The order of a creation. Each line's place has a reason; docs/lifecycle.md tells them.

use super::annotations::check_annotations;
use super::capabilities::SYS_PTRACE;
use super::entry::{CGROUP_SLOTS, plan_cgroups, plan_descriptors, plan_entry};
use super::hooks::{
    HookOutput, plan_create_container, plan_hook_output, plan_parent_hooks, plan_start_container,
    plan_start_state,
};
use super::labels::{check_mount_label, has_labels, plan_apparmor, plan_selinux};
use super::network::plan_net_devices;
use super::process::{
    check_process, plan_directory, plan_execute, plan_handler, plan_identity, plan_make_directory,
    plan_program,
};
use super::rdt::plan_rdt;
use super::refused::refuse_unsupported;
use super::rlimits::plan_rlimits;
use super::scheduling::{
    check_exec_affinity, plan_affinity_reset, plan_memory_policy, plan_personality, plan_scheduling,
};
use super::seccomp::{plan_filter, plan_load};
use super::sysctl::plan_sysctl;
use super::user_namespace::{is_mapped, plan_user_namespace};
use super::{
    Context, Mappings, NamespaceKind, Options, Plan, PlanError, ProcessSection, plan_devices,
    plan_late_readonly, plan_masks, plan_mounts, plan_namespaces, plan_pivot, plan_readonly_root,
    plan_root,
};
use crate::host::Host;
use crate::protocol::{Step, SyncPoint};
use crate::spec::{IdMapping, Process, Spec};

/// Decides everything about a new container.
///
/// # Errors
/// [`PlanError`] with the JSON pointer of whatever cannot be done.
pub(crate) fn plan_create(spec: &Spec, options: &Options, host: &Host) -> Result<Plan, PlanError> {
    let ignored = refuse_unsupported(spec)?;
    check_annotations(spec)?;
    let process = spec
        .process
        .as_ref()
        .ok_or_else(|| PlanError::new("/process", "process property must not be empty"))?;
    let section = ProcessSection { process, base: "/process" };
    check_process(section)?;
    check_terminal(section, options)?;
    let namespaces = plan_namespaces(spec.linux.as_ref(), host)?;
    let mut ctx = Context::new(spec, options, host, namespaces);
    ctx.warnings = ignored;
    let mappings = plan_user_namespace(&ctx)?;
    check_mapped(section, mappings.as_ref())?;
    let hooks = plan_parent_hooks(&ctx)?;
    let rdt = plan_rdt(&ctx)?;
    let oom_score_adj = plan_oom_score_adj(section)?;
    let rlimits = plan_rlimits(section)?;
    check_exec_affinity(section)?;
    check_mount_label(&ctx)?;
    let filter = plan_filter(&mut ctx)?;

    plan_descriptors(&mut ctx);
    let output = plan_hook_output(&mut ctx);
    let handler = plan_handler(&mut ctx);
    let first_cgroup = plan_cgroups(&mut ctx, CGROUP_SLOTS);
    let entry = plan_entry(&mut ctx, mappings.as_ref())?;
    plan_affinity_reset(&mut ctx)?;
    plan_keyring(&mut ctx)?;
    plan_loopback(&mut ctx);
    let net_devices = plan_net_devices(&mut ctx)?;
    plan_procfs(&mut ctx, section);

    plan_root(&mut ctx)?;
    let late = plan_mounts(&mut ctx)?;
    plan_devices(&mut ctx)?;
    ctx.push(Step::Meet { point: SyncPoint::Mounted }, "");
    plan_create_container(&mut ctx, output)?;
    plan_pivot(&mut ctx)?;

    ctx.push(Step::ReopenNull {}, "");
    let directory = plan_directory(&mut ctx, section)?;
    plan_make_directory(&mut ctx, section, directory);
    plan_session(&mut ctx, section)?;
    plan_late_readonly(&mut ctx, late);
    plan_readonly_root(&mut ctx)?;
    plan_names(&mut ctx)?;
    plan_apparmor(&mut ctx, section)?;
    plan_sysctl(&mut ctx)?;
    plan_masks(&mut ctx)?;

    let program = plan_program(&mut ctx, section)?;
    plan_no_new_privileges(&mut ctx, section);
    plan_scheduling(&mut ctx, section, has_cpuset(spec))?;
    plan_personality(&mut ctx)?;
    plan_memory_policy(&mut ctx)?;
    if !rlimits.is_empty() {
        ctx.push(Step::Meet { point: SyncPoint::Limits }, "/process/rlimits");
    }
    plan_selinux(&mut ctx, section)?;
    let state = plan_start_state(&mut ctx)?;
    plan_load(&mut ctx, filter.as_ref(), !process.no_new_privileges);
    let denied = setgroups_denied(&ctx, mappings.as_ref());
    plan_identity(&mut ctx, section, directory, program, denied)?;
    let from = u32::from(ctx.preserved()) + 3;
    let HookOutput { out, error } = output;
    ctx.push(Step::CloseDescriptors { from, state, out, error, handler }, "");
    plan_visibility(&mut ctx, mappings.as_ref());
    plan_load(&mut ctx, filter.as_ref(), process.no_new_privileges);
    ctx.push(Step::Meet { point: SyncPoint::Created }, "");

    ctx.push(Step::LeaveCreator {}, "");
    ctx.push(Step::AwaitStart {}, "");
    plan_start_container(&mut ctx, state, output, program)?;
    plan_execute(&mut ctx, section, program, handler);

    let linux = spec.linux.as_ref();
    Ok(Plan {
        shape: entry.shape,
        init: ctx.init,
        clone_flags: entry.clone_flags,
        cgroups: (first_cgroup, CGROUP_SLOTS),
        descriptors: ctx.descriptors,
        pid_namespace: entry.pid_namespace,
        mappings,
        oom_score_adj,
        rlimits,
        cgroups_path: linux.map(|linux| linux.cgroups_path.clone()).filter(|path| !path.is_empty()),
        net_devices,
        rdt,
        resources: linux.and_then(|linux| linux.resources.clone()).unwrap_or_default(),
        hooks,
        trees: ctx.trees,
        listener: filter.and_then(|filter| filter.listener),
        warnings: ctx.warnings,
    })
}

fn check_terminal(section: ProcessSection<'_>, options: &Options) -> Result<(), PlanError> {
    if section.process.terminal && !options.console {
        let message = "cannot allocate tty if runc will detach without setting console socket";
        return Err(PlanError::new(section.at("/terminal"), message));
    }
    Ok(())
}

/// In a new user namespace the process's ids must be somebody.
fn check_mapped(section: ProcessSection<'_>, mappings: Option<&Mappings>) -> Result<(), PlanError> {
    let Some(mappings) = mappings else {
        return Ok(());
    };
    let check = |ranges: &[IdMapping], id: u32, below: String| {
        if is_mapped(ranges, id) {
            return Ok(());
        }
        let message = format!("id {id} is not mapped in the user namespace");
        Err(PlanError::new(section.at(&below), message))
    };
    let user = &section.process.user;
    check(&mappings.uids, user.uid, "/user/uid".to_owned())?;
    check(&mappings.gids, user.gid, "/user/gid".to_owned())?;
    for (index, gid) in user.additional_gids.iter().enumerate() {
        if !mappings.deny_setgroups {
            check(&mappings.gids, *gid, format!("/user/additionalGids/{index}"))?;
        }
    }
    Ok(())
}

/// The namespace's own prohibition; one that is joined may have it too.
fn setgroups_denied(ctx: &Context<'_>, mappings: Option<&Mappings>) -> bool {
    match mappings {
        Some(mappings) => mappings.deny_setgroups,
        None => {
            ctx.namespaces.joins(NamespaceKind::User)
                && ctx
                    .spec
                    .process
                    .as_ref()
                    .is_some_and(|process| process.user.additional_gids.is_empty())
        }
    }
}

/// `process.oomScoreAdj`; absent means untouched.
pub(super) fn plan_oom_score_adj(section: ProcessSection<'_>) -> Result<Option<i32>, PlanError> {
    let Some(value) = section.process.oom_score_adj else {
        return Ok(None);
    };
    match i32::try_from(value) {
        Ok(value @ -1000..=1000) => Ok(Some(value)),
        _ => {
            let message = format!("oomScoreAdj {value} is not between -1000 and 1000");
            Err(PlanError::new(section.at("/oomScoreAdj"), message))
        }
    }
}

/// An ordinary user opens the namespaces of a process only while it is dumpable. Nobody else is in its user
/// namespace yet. Before the filter of a process with no_new_privileges, which need not allow the call.
fn plan_visibility(ctx: &mut Context<'_>, mappings: Option<&Mappings>) {
    if ctx.options.joinable && mappings.is_some() && !ctx.host.has_capability(SYS_PTRACE) {
        ctx.push(Step::SetDumpable { dumpable: true }, "/linux/namespaces");
    }
}

fn plan_keyring(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    if !ctx.options.no_new_keyring {
        let name = ctx.text(format!("_ses.{}", ctx.options.id), "")?;
        ctx.push(Step::JoinKeyring { name }, "");
    }
    Ok(())
}

fn plan_loopback(ctx: &mut Context<'_>) {
    if ctx.namespaces.creates(NamespaceKind::Network) {
        ctx.push(Step::RaiseLoopback {}, "/linux/namespaces");
    }
}

/// Before anything is mounted: the kernel gives a user namespace a procfs only while it sees a
/// complete one.
fn plan_procfs(ctx: &mut Context<'_>, section: ProcessSection<'_>) {
    let sysctl = ctx.linux().is_some_and(|linux| !linux.sysctl.is_empty());
    if sysctl || has_labels(section) {
        ctx.push(Step::OpenProc {}, if sysctl { "/linux/sysctl" } else { "/process" });
    }
}

fn plan_session(ctx: &mut Context<'_>, section: ProcessSection<'_>) -> Result<(), PlanError> {
    ctx.push(Step::StartSession {}, "");
    if ctx.namespaces.creates(NamespaceKind::Pid) {
        ctx.push(Step::EndOnSignals {}, "");
    }
    plan_console(ctx, section, ctx.namespaces.has(NamespaceKind::Mount))
}

/// A terminal; with `device` also at /dev/console.
pub(super) fn plan_console(
    ctx: &mut Context<'_>,
    section: ProcessSection<'_>,
    device: bool,
) -> Result<(), PlanError> {
    let process: &Process = section.process;
    if !process.terminal {
        return Ok(());
    }
    let size = process.console_size.clone().unwrap_or_default();
    let length = |value: u64, below: &str| {
        u16::try_from(value).map(u32::from).map_err(|_| {
            let message = format!("a terminal cannot have {value} rows or columns");
            PlanError::new(section.at(&format!("/consoleSize/{below}")), message)
        })
    };
    let rows = length(size.height, "height")?;
    let columns = length(size.width, "width")?;
    let uid = process.user.uid;
    let newlines = ctx.options.plain_newlines;
    ctx.push(Step::Console { uid, rows, columns, newlines, device }, section.at("/terminal"));
    Ok(())
}

fn plan_names(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let names =
        [("hostname", ctx.spec.hostname.as_str()), ("domainname", ctx.spec.domainname.as_str())];
    for (kind, name) in names {
        if name.is_empty() {
            continue;
        }
        let pointer = format!("/{kind}");
        if !ctx.namespaces.has(NamespaceKind::Uts) {
            let message = format!("unable to set {kind} without a private UTS namespace");
            return Err(PlanError::new(pointer, message));
        }
        if name.len() > 64 {
            let message = format!("{kind} is longer than 64 bytes");
            return Err(PlanError::new(pointer, message));
        }
        let name = ctx.text(name, &pointer)?;
        let step = if kind == "hostname" {
            Step::SetHostname { name }
        } else {
            Step::SetDomainname { name }
        };
        ctx.push(step, pointer);
    }
    Ok(())
}

/// Sets no_new_privs where it is asked for.
pub(super) fn plan_no_new_privileges(ctx: &mut Context<'_>, section: ProcessSection<'_>) {
    if section.process.no_new_privileges {
        ctx.push(Step::ForbidNewPrivileges {}, section.at("/noNewPrivileges"));
    }
}

fn has_cpuset(spec: &Spec) -> bool {
    let resources = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref());
    resources.and_then(|resources| resources.cpu.as_ref()).is_some_and(|cpu| !cpu.cpus.is_empty())
}
