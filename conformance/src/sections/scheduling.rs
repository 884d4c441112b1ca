//! config.md: rlimits, scheduler, ioPriority, execCPUAffinity; config-linux.md: memory policy and
//! personality.

use super::linux::require_minor;
use crate::case::Level::{Caller, Must, Should};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, skipped};
use crate::container::Container;
use crate::scene::Scene;
use serde_json::{Value, json};
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "process.rlimits.every-type",
        Must,
        "config.md, rlimits: every type of getrlimit(2)",
        every_rlimit,
    ),
    case(
        "process.rlimits.infinity",
        Must,
        "config.md, rlimits: the values match, the largest among them",
        infinite_rlimit,
    ),
    case(
        "process.rlimits.soft-above-hard",
        Must,
        "runtime.md, Create: what cannot be applied is an error",
        rlimit_order,
    ),
    case(
        "process.rlimits.of-exec",
        Caller,
        "exec's process has the limits of the container",
        rlimit_exec,
    ),
    case(
        "process.scheduler.nice",
        Must,
        "config.md, scheduler: nice value of SCHED_OTHER",
        scheduler_nice,
    ),
    case("process.scheduler.idle", Must, "config.md, scheduler: SCHED_IDLE", scheduler_idle),
    case(
        "process.scheduler.nice-default",
        Must,
        "config.md, scheduler: nice is 0 when it is not set",
        scheduler_default,
    ),
    case(
        "process.scheduler.reset-on-fork",
        Must,
        "config.md, scheduler: SCHED_FLAG_RESET_ON_FORK",
        scheduler_reset,
    ),
    case(
        "process.scheduler.unknown-flag",
        Must,
        "config.md, Valid values: an unknown flag is an error",
        scheduler_flag,
    ),
    case(
        "process.scheduler.policy-required",
        Must,
        "config.md, scheduler: policy is required",
        scheduler_no_policy,
    ),
    case("process.io-priority.idle", Must, "config.md, ioPriority: IOPRIO_CLASS_IDLE", io_idle),
    case(
        "process.io-priority.unknown",
        Must,
        "config.md, Valid values: an unknown class is an error",
        io_unknown,
    ),
    case(
        "process.exec-cpu-affinity.final",
        Must,
        "config.md, execCPUAffinity: CPUs of a process of exec",
        affinity_final,
    ),
    case(
        "process.exec-cpu-affinity.not-for-init",
        Must,
        "config.md, execCPUAffinity: does not concern the container's first process",
        affinity_init,
    ),
    case(
        "process.exec-cpu-affinity.invalid",
        Must,
        "config.md, Valid values: a list of CPUs that is none is an error",
        affinity_invalid,
    ),
    case(
        "linux.memory-policy.modes",
        Must,
        "config-linux.md, Memory policy: the modes that every kernel with NUMA has",
        policy_modes,
    ),
    case("linux.memory-policy.flags", Must, "config-linux.md, Memory policy: flags", policy_flags),
    case(
        "linux.memory-policy.unknown-flag",
        Must,
        "config.md, Valid values: an unknown flag is an error",
        policy_unknown_flag,
    ),
    case(
        "linux.memory-policy.nodes-invalid",
        Must,
        "runtime.md, Create: nodes that are not there or not a list are an error",
        policy_nodes,
    ),
    case(
        "linux.personality.of-exec",
        Caller,
        "exec's process has the personality of the container",
        personality_exec,
    ),
    case(
        "process.oom-score-adj.of-exec",
        Should,
        "config.md, oomScoreAdj: of the process, that of exec as well",
        oom_exec,
    ),
];

/// Every limit by name, with a value that lowers whatever a machine has by default.
const LIMITS: [(&str, u64); 16] = [
    ("RLIMIT_AS", 8 << 30),
    ("RLIMIT_CORE", 0),
    ("RLIMIT_CPU", 3600),
    ("RLIMIT_DATA", 4 << 30),
    ("RLIMIT_FSIZE", 1 << 33),
    ("RLIMIT_LOCKS", 1000),
    ("RLIMIT_MEMLOCK", 16 << 10),
    ("RLIMIT_MSGQUEUE", 4096),
    ("RLIMIT_NICE", 0),
    ("RLIMIT_NOFILE", 100),
    ("RLIMIT_NPROC", 400),
    ("RLIMIT_RSS", 1 << 30),
    ("RLIMIT_RTPRIO", 0),
    ("RLIMIT_RTTIME", 1_000_000),
    ("RLIMIT_SIGPENDING", 50),
    ("RLIMIT_STACK", 4 << 20),
];

fn every_rlimit(scene: &Scene) -> Verdict {
    let mut bundle = scene.bundle()?;
    for (kind, value) in LIMITS {
        bundle =
            bundle.push("/process/rlimits", json!({ "type": kind, "soft": value, "hard": value }));
    }
    let seen = bundle.report()?;
    for (kind, value) in LIMITS {
        ensure_eq!(seen["limits"][kind], json!({ "soft": value, "hard": value }), "{kind}");
    }
    Ok(())
}

fn infinite_rlimit(scene: &Scene) -> Verdict {
    let limits = json!([{ "type": "RLIMIT_FSIZE", "soft": u64::MAX, "hard": u64::MAX }]);
    let seen = scene.bundle()?.set("/process/rlimits", limits).report()?;
    ensure_eq!(
        seen["limits"]["RLIMIT_FSIZE"],
        json!({ "soft": u64::MAX, "hard": u64::MAX }),
        "RLIMIT_FSIZE"
    );
    Ok(())
}

fn rlimit_order(scene: &Scene) -> Verdict {
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 200, "hard": 100 }]);
    scene.bundle()?.set("/process/rlimits", limits).refused_by_run().map(drop)
}

fn held<'s>(bundle: crate::bundle::Bundle<'s>) -> Result<Container<'s>, Stop> {
    let container = bundle.operations(json!([["report"], ["hold"]])).start()?;
    container.wait_lines(2)?;
    Ok(container)
}

/// What a process of exec reports of itself.
fn of_exec(container: &Container<'_>) -> Result<Value, Stop> {
    container.exec(&[], json!([["report"]]))?.value(0)
}

fn rlimit_exec(scene: &Scene) -> Verdict {
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 77, "hard": 88 }]);
    let container = held(scene.bundle()?.set("/process/rlimits", limits))?;
    ensure_eq!(
        of_exec(&container)?["limits"]["RLIMIT_NOFILE"],
        json!({ "soft": 77, "hard": 88 }),
        "limit of exec"
    );
    Ok(())
}

fn scheduled(scene: &Scene, scheduler: Value) -> Result<Value, Stop> {
    require_minor(scene, "scheduler", 1)?;
    let seen = scene.bundle()?.set("/process/scheduler", scheduler).report()?;
    Ok(seen["session"].clone())
}

fn scheduler_nice(scene: &Scene) -> Verdict {
    for nice in [11, 0, 19] {
        let seen = scheduled(scene, json!({ "policy": "SCHED_OTHER", "nice": nice }))?;
        ensure_eq!(
            (seen["policy"].clone(), seen["nice"].clone()),
            (json!(0), json!(nice)),
            "policy and nice"
        );
    }
    Ok(())
}

fn scheduler_idle(scene: &Scene) -> Verdict {
    let seen = scheduled(scene, json!({ "policy": "SCHED_IDLE" }))?;
    ensure_eq!(seen["policy"], json!(5), "policy");
    Ok(())
}

fn scheduler_default(scene: &Scene) -> Verdict {
    let seen = scheduled(scene, json!({ "policy": "SCHED_BATCH" }))?;
    ensure_eq!(
        (seen["policy"].clone(), seen["nice"].clone()),
        (json!(3), json!(0)),
        "policy and nice"
    );
    Ok(())
}

/// proc(5) has no field for the flag: a child of a process that was preferred is not.
fn scheduler_reset(scene: &Scene) -> Verdict {
    require_minor(scene, "scheduler", 1)?;
    let scheduler =
        json!({ "policy": "SCHED_OTHER", "nice": -5, "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
    let bundle = scene.bundle()?.set("/process/scheduler", scheduler);
    let ran = bundle
        .operations(json!([["report"], ["exec", "/probe", "__probe", r#"[["report"]]"#]]))
        .run()?;
    ensure_eq!(ran.value(0)?["session"]["nice"], json!(-5), "nice value of the program");
    let child = ran.value(1)?["stdout"].as_str().unwrap_or_default().to_owned();
    let child: Value = serde_json::from_str(&child)?;
    ensure_eq!(child["value"]["session"]["nice"], json!(0), "nice value of its child");
    Ok(())
}

fn scheduler_flag(scene: &Scene) -> Verdict {
    require_minor(scene, "scheduler", 1)?;
    let scheduler = json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONSENSE"] });
    scene.bundle()?.set("/process/scheduler", scheduler).refused_by_run().map(drop)
}

fn scheduler_no_policy(scene: &Scene) -> Verdict {
    require_minor(scene, "scheduler", 1)?;
    scene.bundle()?.set("/process/scheduler", json!({ "nice": 5 })).refused_by_run().map(drop)
}

fn io_idle(scene: &Scene) -> Verdict {
    require_minor(scene, "ioPriority", 1)?;
    let priority = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 });
    let container = held(scene.bundle()?.set("/process/ioPriority", priority))?;
    let pid = container.pid()?.to_string();
    let Ok(output) = std::process::Command::new("ionice").args(["-p", &pid]).output() else {
        return skipped("ionice of util-linux is not installed");
    };
    ensure_eq!(String::from_utf8_lossy(&output.stdout).trim(), "idle", "what ionice says");
    Ok(())
}

fn io_unknown(scene: &Scene) -> Verdict {
    require_minor(scene, "ioPriority", 1)?;
    let priority = json!({ "class": "IOPRIO_CLASS_NONSENSE", "priority": 0 });
    scene.bundle()?.set("/process/ioPriority", priority).refused_by_run().map(drop)
}

/// The CPUs that this process may use, as a list.
fn own_cpus() -> Result<String, Stop> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cpus = line.unwrap_or_default().trim().to_owned();
    if !cpus.contains(['-', ',']) {
        return skipped("this machine has one CPU");
    }
    Ok(cpus)
}

fn affinity_final(scene: &Scene) -> Verdict {
    require_minor(scene, "execCPUAffinity", 2)?;
    own_cpus()?;
    let affinity = json!({ "initial": "0", "final": "1" });
    let container = held(scene.bundle()?.set("/process/execCPUAffinity", affinity))?;
    ensure_eq!(of_exec(&container)?["cpus"], json!("1"), "CPUs of exec");
    Ok(())
}

fn affinity_init(scene: &Scene) -> Verdict {
    require_minor(scene, "execCPUAffinity", 2)?;
    let cpus = own_cpus()?;
    let affinity = json!({ "initial": "0", "final": "0" });
    let seen = scene.bundle()?.set("/process/execCPUAffinity", affinity).report()?;
    ensure_eq!(seen["cpus"], json!(cpus), "CPUs of the container's first process");
    Ok(())
}

fn affinity_invalid(scene: &Scene) -> Verdict {
    require_minor(scene, "execCPUAffinity", 2)?;
    for list in ["nonsense", "0-", "3-1"] {
        let bundle = scene.bundle()?.set("/process/execCPUAffinity", json!({ "initial": list }));
        let (answer, container) = bundle.operations(json!([["hold"]])).try_create()?;
        if !answer.succeeded() {
            continue;
        }
        // The list is only for exec, which may be the one to refuse it.
        container.start()?;
        let ran = container.exec(&[], json!([["report"]]))?;
        ensure!(!ran.answer.succeeded(), "the list {list:?} was accepted");
    }
    Ok(())
}

fn with_policy(scene: &Scene, policy: Value) -> Result<String, Stop> {
    require_minor(scene, "memoryPolicy", 3)?;
    let seen = scene.bundle()?.set("/linux/memoryPolicy", policy).report()?;
    match seen["numa_maps"].as_str() {
        Some(text) => Ok(text.lines().next().unwrap_or_default().to_owned()),
        None => skipped("the kernel has no numa_maps"),
    }
}

fn policy_modes(scene: &Scene) -> Verdict {
    let table = [
        (json!({ "mode": "MPOL_DEFAULT" }), " default"),
        (json!({ "mode": "MPOL_LOCAL" }), " local"),
        (json!({ "mode": "MPOL_PREFERRED", "nodes": "0" }), " prefer"),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }), " interleave"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0" }), " bind"),
    ];
    for (policy, word) in table {
        let what = policy.to_string();
        let line = with_policy(scene, policy)?;
        ensure!(line.contains(word), "{what}: {line}");
    }
    Ok(())
}

fn policy_flags(scene: &Scene) -> Verdict {
    for (flag, word) in [("MPOL_F_STATIC_NODES", "=static"), ("MPOL_F_RELATIVE_NODES", "=relative")]
    {
        let line =
            with_policy(scene, json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] }))?;
        ensure!(line.contains(word), "{flag}: {line}");
    }
    Ok(())
}

fn policy_unknown_flag(scene: &Scene) -> Verdict {
    require_minor(scene, "memoryPolicy", 3)?;
    let policy = json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NONSENSE"] });
    scene.bundle()?.set("/linux/memoryPolicy", policy).refused_by_run().map(drop)
}

fn policy_nodes(scene: &Scene) -> Verdict {
    require_minor(scene, "memoryPolicy", 3)?;
    for policy in [
        json!({ "mode": "MPOL_BIND" }),
        json!({ "mode": "MPOL_BIND", "nodes": "nonsense" }),
        json!({ "mode": "MPOL_BIND", "nodes": "1-0" }),
        json!({ "mode": "MPOL_INTERLEAVE", "nodes": "900" }),
    ] {
        let what = policy.to_string();
        let answer = scene.bundle()?.set("/linux/memoryPolicy", policy).attempt("run")?;
        ensure!(!answer.succeeded(), "{what} was accepted");
    }
    Ok(())
}

fn personality_exec(scene: &Scene) -> Verdict {
    require_minor(scene, "personality", 1)?;
    let container =
        held(scene.bundle()?.set("/linux/personality", json!({ "domain": "LINUX32" })))?;
    ensure_eq!(of_exec(&container)?["machine"], json!("i686"), "machine of exec");
    Ok(())
}

fn oom_exec(scene: &Scene) -> Verdict {
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse()?;
    let value = (own + 33).min(1000);
    let container = held(scene.bundle()?.set("/process/oomScoreAdj", json!(value)))?;
    ensure_eq!(of_exec(&container)?["oom_score_adj"], json!(value.to_string()), "of exec");
    Ok(())
}
