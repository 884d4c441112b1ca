//! config-linux.md, Seccomp.

use crate::bundle::Bundle;
use crate::case::Level::Must;
use crate::case::{Case, Stop, Verdict, case, ensure_eq, skipped};
use crate::scene::Scene;
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    case("seccomp.action.allow", Must, "config-linux.md, Seccomp: SCMP_ACT_ALLOW", allow),
    case(
        "seccomp.action.errno",
        Must,
        "config-linux.md, Seccomp: SCMP_ACT_ERRNO, EPERM when no errnoRet is given",
        errno,
    ),
    case("seccomp.action.errno-ret", Must, "config-linux.md, Seccomp: errnoRet", errno_ret),
    case(
        "seccomp.action.default-errno-ret",
        Must,
        "config-linux.md, Seccomp: defaultErrnoRet",
        default_errno_ret,
    ),
    case(
        "seccomp.action.kill-process",
        Must,
        "config-linux.md, Seccomp: SCMP_ACT_KILL_PROCESS",
        kill_process,
    ),
    case(
        "seccomp.action.log",
        Must,
        "config-linux.md, Seccomp: SCMP_ACT_LOG lets the call through",
        log,
    ),
    case(
        "seccomp.action.unknown",
        Must,
        "config.md, Valid values: an unknown action is an error",
        unknown_action,
    ),
    case(
        "seccomp.action.errno-ret-misplaced",
        Must,
        "config-linux.md, Seccomp: errnoRet with an action that takes none is an error",
        errno_misplaced,
    ),
    case(
        "seccomp.args.operators",
        Must,
        "config-linux.md, Seccomp: the seven operators, on 64 bits",
        operators,
    ),
    case(
        "seccomp.args.several",
        Must,
        "config-linux.md, Seccomp: several arguments have to match together",
        several_args,
    ),
    case(
        "seccomp.args.unknown-operator",
        Must,
        "config.md, Valid values: an unknown operator is an error",
        unknown_operator,
    ),
    case(
        "seccomp.names.several",
        Must,
        "config-linux.md, Seccomp: names lists all calls of the rule",
        several_names,
    ),
    case(
        "seccomp.names.unknown",
        Must,
        "config.md, Extensibility: a call that this kernel lacks is left out",
        unknown_name,
    ),
    case(
        "seccomp.architectures.other",
        Must,
        "config-linux.md, Seccomp: architectures beside the own one",
        architectures,
    ),
    case(
        "seccomp.architectures.unknown",
        Must,
        "config.md, Valid values: an unknown architecture is an error",
        unknown_architecture,
    ),
    case("seccomp.flags.known", Must, "config-linux.md, Seccomp: flags", flags),
    case(
        "seccomp.mode.filter",
        Must,
        "config-linux.md, Seccomp: the process runs under a filter",
        mode,
    ),
    case(
        "seccomp.order.no-new-privileges",
        Must,
        "config-linux.md, Seccomp: also with noNewPrivileges and another user",
        unprivileged,
    ),
    case(
        "seccomp.listener.metadata-alone",
        Must,
        "config-linux.md, Seccomp: listenerMetadata only together with listenerPath",
        metadata_alone,
    ),
];

pub(super) fn filtered<'s>(scene: &'s Scene, seccomp: Value) -> Result<Bundle<'s>, Stop> {
    Ok(scene.bundle()?.set("/linux/seccomp", seccomp))
}

pub(super) fn rule(names: &[&str], action: &str) -> Value {
    json!({ "names": names, "action": action })
}

fn allow(scene: &Scene) -> Verdict {
    filtered(scene, json!({ "defaultAction": "SCMP_ACT_ALLOW" }))?.report()?;
    // The other way round: everything is refused but what the rule allows.
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [rule(&["sethostname"], "SCMP_ACT_ERRNO"), rule(&["mkdir"], "SCMP_ACT_ALLOW")],
    });
    let ran =
        filtered(scene, seccomp).map(|bundle| bundle.operations(json!([["call", "mkdir"]])))?.run();
    match ran {
        // Some runtimes refuse a rule that does what the default does.
        Err(_) => Ok(()),
        Ok(ran) => {
            ensure_eq!(ran.error(0)?, "ok", "mkdir");
            Ok(())
        }
    }
}

fn errno(scene: &Scene) -> Verdict {
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(&["mkdir"], "SCMP_ACT_ERRNO")] });
    let ran = filtered(scene, seccomp)?
        .operations(json!([["call", "mkdir"], ["call", "sched_yield"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "EPERM", "mkdir");
    ensure_eq!(ran.error(1)?, "ok", "sched_yield");
    Ok(())
}

fn errno_ret(scene: &Scene) -> Verdict {
    for (number, name) in [(38, "ENOSYS"), (12, "ENOMEM"), (1, "EPERM")] {
        let mut denied = rule(&["mkdir"], "SCMP_ACT_ERRNO");
        denied["errnoRet"] = json!(number);
        let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied] });
        let ran = filtered(scene, seccomp)?.operations(json!([["call", "mkdir"]])).run()?;
        ensure_eq!(ran.error(0)?, name, "mkdir with errnoRet {number}");
    }
    Ok(())
}

/// Calls of the probe, of its start, and of what runtimes do after the filter
/// is in place.
pub(super) const USED: [&str; 74] = [
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "clock_gettime",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat2",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setuid",
    "sigaltstack",
    "stat",
    "statx",
    "uname",
    "write",
];

/// What runtimes call after they have loaded the filter.
pub(super) const USED_BY_RUNTIMES: &[&str] = &[
    "restart_syscall",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "tgkill",
    "tkill",
    "umask",
    "setsid",
    "fchown",
    "recvmsg",
    "socketpair",
    "sched_yield",
    "fsync",
    "writev",
    "keyctl",
    "pread64",
    "statfs",
    "openat2",
];

fn default_errno_ret(scene: &Scene) -> Verdict {
    let names = [USED.as_slice(), USED_BY_RUNTIMES].concat();
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 61,
        "syscalls": [rule(&names, "SCMP_ACT_ALLOW")],
    });
    let ran = filtered(scene, seccomp)?
        .operations(json!([["call", "mkdir"], ["call", "sched_yield"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "ENODATA", "mkdir");
    ensure_eq!(ran.error(1)?, "ok", "sched_yield");
    Ok(())
}

fn kill_process(scene: &Scene) -> Verdict {
    for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL"] {
        let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(&["sethostname"], action)] });
        let operations = json!([["echo", "before"], ["call", "sethostname"], ["echo", "after"]]);
        let ran = filtered(scene, seccomp)?.operations(operations).run()?;
        ensure_eq!(ran.lines.len(), 1, "lines of the program with {action}");
        ensure_eq!(ran.answer.code, 128 + 31, "exit code with {action}");
    }
    Ok(())
}

fn log(scene: &Scene) -> Verdict {
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(&["mkdir"], "SCMP_ACT_LOG")] });
    let ran = filtered(scene, seccomp)?.operations(json!([["call", "mkdir"]])).run()?;
    ensure_eq!(ran.error(0)?, "ok", "mkdir");
    Ok(())
}

fn unknown_action(scene: &Scene) -> Verdict {
    for action in ["SCMP_ACT_NONSENSE", "ERRNO", "scmp_act_allow"] {
        filtered(scene, json!({ "defaultAction": action }))?.refused_by_run()?;
        let seccomp =
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(&["mkdir"], action)] });
        filtered(scene, seccomp)?.refused_by_run()?;
    }
    Ok(())
}

fn errno_misplaced(scene: &Scene) -> Verdict {
    let mut misplaced = rule(&["mkdir"], "SCMP_ACT_KILL_PROCESS");
    misplaced["errnoRet"] = json!(38);
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [misplaced] });
    filtered(scene, seccomp)?.refused_by_run()?;
    let seccomp =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 38, "syscalls": [] });
    filtered(scene, seccomp)?.refused_by_run().map(drop)
}

const HIGH: i64 = 1 << 32;

fn operators(scene: &Scene) -> Verdict {
    let value = HIGH + 5;
    let offsets = [0, 5, value - 1, value, value + 1, 2 * HIGH, i64::MAX];
    type Matches = fn(i64) -> bool;
    let table: [(&str, Matches); 6] = [
        ("SCMP_CMP_EQ", |offset| offset == HIGH + 5),
        ("SCMP_CMP_NE", |offset| offset != HIGH + 5),
        ("SCMP_CMP_LT", |offset| offset < HIGH + 5),
        ("SCMP_CMP_LE", |offset| offset <= HIGH + 5),
        ("SCMP_CMP_GT", |offset| offset > HIGH + 5),
        ("SCMP_CMP_GE", |offset| offset >= HIGH + 5),
    ];
    for (operator, matches) in table {
        let condition = json!({ "index": 1, "value": value, "op": operator });
        let wanted = |offset: i64| if matches(offset) { "ENODATA" } else { "ok" };
        check_lseek(scene, condition, &offsets, &wanted)?;
    }
    let condition = json!({ "index": 1, "value": HIGH + 0xf0, "valueTwo": HIGH + 0x50, "op": "SCMP_CMP_MASKED_EQ" });
    let offsets = [HIGH + 0x50, HIGH + 0x5f, HIGH + 0x60, HIGH + 0xd0, 0x50, 3 * HIGH + 0x151];
    let wanted = |offset: i64| if offset & (HIGH + 0xf0) == HIGH + 0x50 { "ENODATA" } else { "ok" };
    check_lseek(scene, condition, &offsets, &wanted)
}

fn check_lseek(
    scene: &Scene,
    condition: Value,
    offsets: &[i64],
    wanted: &dyn Fn(i64) -> &'static str,
) -> Verdict {
    let mut denied = rule(&["lseek"], "SCMP_ACT_ERRNO");
    denied["errnoRet"] = json!(61);
    denied["args"] = json!([condition]);
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied] });
    let operations: Vec<Value> =
        offsets.iter().map(|offset| json!(["call", "lseek", offset])).collect();
    let ran = filtered(scene, seccomp)?.operations(json!(operations)).run()?;
    for (index, offset) in offsets.iter().enumerate() {
        ensure_eq!(ran.error(index)?, wanted(*offset), "lseek to {offset:#x} with {condition}");
    }
    Ok(())
}

fn several_args(scene: &Scene) -> Verdict {
    let mut denied = rule(&["lseek"], "SCMP_ACT_ERRNO");
    denied["args"] = json!([
        { "index": 1, "value": 10, "op": "SCMP_CMP_GE" },
        { "index": 2, "value": 0, "op": "SCMP_CMP_EQ" },
    ]);
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied] });
    let ran = filtered(scene, seccomp)?
        .operations(json!([["call", "lseek", 9], ["call", "lseek", 10]]))
        .run()?;
    ensure_eq!((ran.error(0)?, ran.error(1)?), ("ok", "EPERM"), "both conditions");
    let mut denied = rule(&["lseek"], "SCMP_ACT_ERRNO");
    denied["args"] = json!([
        { "index": 1, "value": 10, "op": "SCMP_CMP_GE" },
        { "index": 2, "value": 7, "op": "SCMP_CMP_EQ" },
    ]);
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied] });
    let ran = filtered(scene, seccomp)?.operations(json!([["call", "lseek", 10]])).run()?;
    ensure_eq!(ran.error(0)?, "ok", "one of two conditions");
    Ok(())
}

fn unknown_operator(scene: &Scene) -> Verdict {
    let mut denied = rule(&["lseek"], "SCMP_ACT_ERRNO");
    denied["args"] = json!([{ "index": 1, "value": 10, "op": "SCMP_CMP_NONSENSE" }]);
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied] });
    filtered(scene, seccomp)?.refused_by_run().map(drop)
}

fn several_names(scene: &Scene) -> Verdict {
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [rule(&["mkdir", "mkdirat", "sched_yield", "personality"], "SCMP_ACT_ERRNO")],
    });
    let operations = json!([["call", "mkdir"], ["call", "sched_yield"], ["call", "personality"]]);
    let ran = filtered(scene, seccomp)?.operations(operations).run()?;
    for index in 0..3 {
        ensure_eq!(ran.error(index)?, "EPERM", "{}", ran.lines[index]["op"]);
    }
    Ok(())
}

fn unknown_name(scene: &Scene) -> Verdict {
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [rule(&["call_of_the_future", "mkdir"], "SCMP_ACT_ERRNO")],
    });
    let ran = filtered(scene, seccomp)?.operations(json!([["call", "mkdir"]])).run()?;
    ensure_eq!(ran.error(0)?, "EPERM", "mkdir");
    Ok(())
}

fn architectures(scene: &Scene) -> Verdict {
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
        "syscalls": [rule(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO")],
    });
    let ran = filtered(scene, seccomp)?
        .operations(json!([["call", "mkdir"], ["call", "sched_yield"]]))
        .run()?;
    ensure_eq!((ran.error(0)?, ran.error(1)?), ("EPERM", "ok"), "mkdir and sched_yield");
    Ok(())
}

fn unknown_architecture(scene: &Scene) -> Verdict {
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NONSENSE"], "syscalls": [rule(&["mkdir"], "SCMP_ACT_ERRNO")] });
    filtered(scene, seccomp)?.refused_by_run().map(drop)
}

fn flags(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    let Some(Value::Array(flags)) = features.pointer("/linux/seccomp/supportedFlags").cloned()
    else {
        return skipped("the runtime's features list no supported seccomp flags");
    };
    for flag in flags {
        // This one asks for a listener, too.
        if flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
            continue;
        }
        let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": [flag], "syscalls": [rule(&["mkdir"], "SCMP_ACT_ERRNO")] });
        let ran = filtered(scene, seccomp)?.operations(json!([["call", "mkdir"]])).run()?;
        ensure_eq!(ran.error(0)?, "EPERM", "mkdir with {flag}");
    }
    Ok(())
}

fn mode(scene: &Scene) -> Verdict {
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(&["mkdir"], "SCMP_ACT_ERRNO")] });
    ensure_eq!(filtered(scene, seccomp)?.report()?["seccomp"], json!("2"), "Seccomp of the status");
    Ok(())
}

fn unprivileged(scene: &Scene) -> Verdict {
    for no_new_privileges in [false, true] {
        let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(&["sched_yield"], "SCMP_ACT_ERRNO")] });
        let ran = filtered(scene, seccomp)?
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .operations(json!([["call", "sched_yield"]]))
            .run()?;
        ensure_eq!(ran.error(0)?, "EPERM", "sched_yield with noNewPrivileges {no_new_privileges}");
    }
    Ok(())
}

fn metadata_alone(scene: &Scene) -> Verdict {
    let seccomp =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x", "syscalls": [] });
    filtered(scene, seccomp)?.refused_by_run().map(drop)
}
