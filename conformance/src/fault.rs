//! Kernels and hosts that cannot be booted here: system calls that answer with
//! an error, as older kernels and the seccomp profiles of outer containers do.
//!
//! The filter is set just before the runtime is executed, so that it holds for
//! the runtime and for all that it starts, the container's program included:
//! the kernel has no way to take a filter off again. It comes with
//! no_new_privs, which the container inherits, too. CLONE_INTO_CGROUP cannot be
//! refused alone, since a filter does not see what the argument of clone3
//! points to; without clone3 there is none either. A missing cgroup.kill is what
//! every host with v1 hierarchies has.

use anyhow::{Context, anyhow, ensure};
use nix::errno::Errno;
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::str::FromStr;

/// The hidden first argument.
pub(crate) const PART: &str = "__deny";

/// One system call that answers with an error.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    call: &'static str,
    number: i64,
    error: Errno,
}

/// Calls that are newer than the oldest kernels in use, or that profiles of
/// container engines refuse; by name, number, and what runtimes use them for.
const CALLS: [(&str, i64); 24] = [
    ("clone3", libc::SYS_clone3),
    ("openat2", libc::SYS_openat2),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("close_range", libc::SYS_close_range),
    ("statx", libc::SYS_statx),
    ("memfd_create", libc::SYS_memfd_create),
    ("renameat2", libc::SYS_renameat2),
    ("faccessat2", libc::SYS_faccessat2),
    ("execveat", libc::SYS_execveat),
    ("keyctl", libc::SYS_keyctl),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("copy_file_range", libc::SYS_copy_file_range),
    ("getrandom", libc::SYS_getrandom),
    ("preadv2", libc::SYS_preadv2),
    ("bpf", libc::SYS_bpf),
    ("rseq", libc::SYS_rseq),
];

const ERRORS: [(&str, Errno); 5] = [
    ("ENOSYS", Errno::ENOSYS),
    ("EPERM", Errno::EPERM),
    ("EACCES", Errno::EACCES),
    ("EINVAL", Errno::EINVAL),
    ("EOPNOTSUPP", Errno::EOPNOTSUPP),
];

/// Cases that ask for what a call does: (call, start of the case's name, what
/// it is that cannot be had without the call). They may fail without it, and
/// then count as skipped.
const NEEDS: &[(&str, &str, &str)] = &[
    ("mount_setattr", "mounts.bind.rro", "recursive flags"),
    ("mount_setattr", "mounts.bind.recursive-flags", "recursive flags"),
    ("mount_setattr", "mounts.option.recursive", "recursive flags"),
    ("mount_setattr", "features.mount-options.recognised", "recursive flags"),
    ("mount_setattr", "mounts.idmap", "id-mapped mounts"),
    ("open_tree", "mounts.idmap", "id-mapped mounts"),
    ("move_mount", "mounts.idmap", "id-mapped mounts"),
    ("clone3", "mounts.option.noexec", STARTS),
    ("clone3", "process.scheduler.reset-on-fork", STARTS),
    ("clone3", "cgroup.pids.enforced", STARTS),
    ("clone3", "seccomp.action.kill-whole-process", STARTS),
    ("clone3", "callers.seccomp.children", STARTS),
    ("clone3", "callers.kill.all", STARTS),
    ("clone3", "callers.ps.children", STARTS),
    ("clone3", "callers.delete.leftovers", STARTS),
    ("pidfd_getfd", "seccomp.listener", "listeners of seccomp profiles"),
    ("bpf", "cgroup.devices", "device rules on cgroup2"),
    ("bpf", "security.devices", "device rules on cgroup2"),
];

/// Of the program in the container: its C library gives up where clone3 is forbidden.
const STARTS: &str = "threads and processes of the container's program";

/// Cases that look at what no_new_privs, which every filter brings, changes.
const UNDER_NO_NEW_PRIVILEGES: &[&str] = &[
    "process.no-new-privileges.unset",
    "process.capabilities.sets",
    "process.capabilities.setuid",
    "process.no-new-privileges.setuid",
    "callers.exec.no-new-privileges",
];

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Fault> {
        let (call, error) = text.split_once('=').unwrap_or((text, "ENOSYS"));
        let (call, number) = CALLS
            .into_iter()
            .find(|(name, _)| *name == call)
            .with_context(|| format!("--deny: {call} is none of {}", names(&CALLS)))?;
        let (_, error) = ERRORS
            .into_iter()
            .find(|(name, _)| *name == error)
            .with_context(|| format!("--deny: {error} is none of {}", names(&ERRORS)))?;
        Ok(Fault { call, number, error })
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}={:?}", self.call, self.error)
    }
}

fn names<T>(table: &[(&str, T)]) -> String {
    table.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Every call of the table, missing and forbidden.
pub(crate) fn each() -> Vec<Fault> {
    let one = |error| CALLS.map(|(call, number)| Fault { call, number, error });
    [one(Errno::ENOSYS), one(Errno::EPERM)].concat()
}

/// What the case cannot do without, of what the faults take away.
pub(crate) fn excuse(faults: &[Fault], case: &str) -> Option<String> {
    if !faults.is_empty() && UNDER_NO_NEW_PRIVILEGES.contains(&case) {
        return Some("the filter that refuses calls brings no_new_privs".to_owned());
    }
    let needs = NEEDS.iter().find(|(call, start, _)| {
        case.starts_with(start) && faults.iter().any(|fault| fault.call == *call)
    });
    needs.map(|(call, _, what)| format!("{what} need {call}"))
}

/// The words of the command that executes a program under the faults.
pub(crate) fn words(faults: &[Fault]) -> OsString {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join(",").into()
}

/// `FAULTS PROGRAM ARGUMENT...`
pub(crate) fn play(args: Vec<OsString>) -> ExitCode {
    let Err(error) = execute(&args);
    eprintln!("husk-conformance: deny: {error:#}");
    ExitCode::from(126)
}

fn execute(args: &[OsString]) -> anyhow::Result<std::convert::Infallible> {
    let [faults, program, rest @ ..] = args else {
        return Err(anyhow!("it takes the faults and a program"));
    };
    let faults: Vec<Fault> =
        faults.to_string_lossy().split(',').map(str::parse).collect::<anyhow::Result<_>>()?;
    ensure!(!faults.is_empty(), "no call is named");
    for (_, error) in ERRORS {
        let calls = faults.iter().filter(|fault| fault.error == error);
        let rules = calls.map(|fault| (fault.number, Vec::new())).collect();
        refuse(rules, error)?;
    }
    Err(Command::new(program).args(rest).exec())
        .with_context(|| format!("execute {}", AsRef::<OsStr>::as_ref(program).display()))
}

/// A filter has one answer for all that it refuses: each error gets its own.
fn refuse(
    rules: std::collections::BTreeMap<i64, Vec<seccompiler::SeccompRule>>,
    error: Errno,
) -> anyhow::Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    let arch = std::env::consts::ARCH.try_into()?;
    let answer = SeccompAction::Errno(error as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}
