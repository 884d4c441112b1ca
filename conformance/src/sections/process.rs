//! config.md, Process: what the program is given, and as whom it runs.

use crate::bundle::DEFAULT_CAPABILITIES;
use crate::case::Level::{Must, Should};
use crate::case::{Case, Verdict, case, ensure, ensure_eq, skipped};
use crate::probe;
use crate::scene::Scene;
use serde_json::{Value, json};
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "process.args.exact",
        Must,
        "config.md, Process args: every argument arrives as written",
        args_exact,
    ),
    case(
        "process.args.empty",
        Must,
        "config.md, Process args: at least one entry is required",
        args_empty,
    ),
    case(
        "process.args.path-lookup",
        Must,
        "config.md, Process args: the first entry is looked up as execvp does",
        args_path_lookup,
    ),
    case(
        "process.args.missing-program",
        Must,
        "runtime.md, Create: what cannot be applied is an error",
        args_missing,
    ),
    case(
        "process.args.not-executable",
        Must,
        "runtime.md, Create: what cannot be applied is an error",
        args_not_executable,
    ),
    case(
        "process.env.exact",
        Must,
        "config.md, Process env: the environment is the one of the configuration",
        env_exact,
    ),
    case(
        "process.env.nothing-inherited",
        Must,
        "config.md, Process env: nothing of the caller's environment",
        env_not_inherited,
    ),
    case("process.cwd.set", Must, "config.md, Process cwd: the program starts there", cwd_set),
    case("process.cwd.relative", Must, "config.md, Process cwd: has to be absolute", cwd_relative),
    case(
        "process.cwd.not-a-directory",
        Must,
        "runtime.md, Create: what cannot be applied is an error",
        cwd_file,
    ),
    case(
        "process.terminal.console-size-ignored",
        Must,
        "config.md, consoleSize: ignored without a terminal",
        console_size,
    ),
    case(
        "process.user.ids",
        Must,
        "config.md, POSIX-platform User: uid and gid in all four places",
        user_ids,
    ),
    case(
        "process.user.additional-gids",
        Must,
        "config.md, POSIX-platform User: exactly these groups",
        user_groups,
    ),
    case("process.user.umask", Must, "config.md, POSIX-platform User: umask", user_umask),
    case(
        "process.rlimits.set",
        Must,
        "config.md, rlimits: soft and hard as configured",
        rlimits_set,
    ),
    case(
        "process.rlimits.unknown",
        Must,
        "config.md, rlimits: a type that the kernel does not know is an error",
        rlimits_unknown,
    ),
    case(
        "process.rlimits.duplicate",
        Must,
        "config.md, rlimits: a type given twice is an error",
        rlimits_duplicate,
    ),
    case(
        "process.capabilities.sets",
        Must,
        "config.md, Linux Process: the five sets as configured",
        capability_sets,
    ),
    case(
        "process.capabilities.ambient",
        Must,
        "config.md, Linux Process: the ambient set as configured",
        capability_ambient,
    ),
    case(
        "process.capabilities.other-user",
        Must,
        "config.md, Linux Process: ambient capabilities survive a change of user",
        capability_other_user,
    ),
    case(
        "process.capabilities.empty",
        Must,
        "config.md, Linux Process: empty sets give no capability",
        capability_empty,
    ),
    case(
        "process.capabilities.unknown",
        Should,
        "config.md, Linux Process: a capability that is not known should not be an error",
        capability_unknown,
    ),
    case(
        "process.no-new-privileges.set",
        Must,
        "config.md, Linux Process: noNewPrivileges true sets the bit",
        no_new_privileges,
    ),
    case(
        "process.no-new-privileges.unset",
        Must,
        "config.md, Linux Process: noNewPrivileges false or absent leaves it clear",
        no_new_privileges_unset,
    ),
    case("process.oom-score-adj.set", Must, "config.md, oomScoreAdj: set to the value", oom_set),
    case(
        "process.oom-score-adj.unset",
        Must,
        "config.md, oomScoreAdj: left alone when it is not set",
        oom_unset,
    ),
    case(
        "process.oom-score-adj.range",
        Must,
        "config.md, Valid values: outside of -1000 to 1000 is an error",
        oom_range,
    ),
    case(
        "process.scheduler.batch",
        Must,
        "config.md, scheduler: policy and nice value",
        scheduler_batch,
    ),
    case(
        "process.scheduler.unknown",
        Must,
        "config.md, Valid values: an unknown policy is an error",
        scheduler_unknown,
    ),
    case("process.io-priority.set", Must, "config.md, ioPriority: class and priority", io_priority),
    case(
        "process.hostname.set",
        Must,
        "config.md, Hostname: the name in the container's uts namespace",
        hostname,
    ),
    case(
        "process.domainname.set",
        Must,
        "config.md, Domainname: the name in the container's uts namespace",
        domainname,
    ),
];

fn args_exact(scene: &Scene) -> Verdict {
    let report = json!([["report"]]).to_string();
    let args = json!([
        probe::PATH,
        probe::PART,
        report,
        "",
        "two words",
        "ünïcode\n",
        "$HOME",
        "-x",
        "'\""
    ]);
    let seen = scene.bundle()?.set("/process/args", args.clone()).run()?.value(0)?;
    ensure_eq!(seen["arguments"], args, "arguments");
    Ok(())
}

fn args_empty(scene: &Scene) -> Verdict {
    scene.bundle()?.set("/process/args", json!([])).refused_by_run().map(drop)
}

fn args_path_lookup(scene: &Scene) -> Verdict {
    let bundle =
        scene.bundle()?.folder("/first")?.folder("/second")?.file("/first/tool", "no program")?;
    fs::hard_link(bundle.root().join("probe"), bundle.root().join("second/tool"))?;
    let ran = bundle
        .set("/process/args", json!(["tool", probe::PART, r#"[["echo","found"]]"#]))
        .set("/process/env", json!(["PATH=/nowhere:/first:/second"]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("found"), "a program of the second directory");
    Ok(())
}

fn args_missing(scene: &Scene) -> Verdict {
    for program in ["/no/such/program", "no-such-program", ""] {
        scene.bundle()?.set("/process/args", json!([program])).refused_by_run()?;
    }
    Ok(())
}

fn args_not_executable(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.file("/plain", "text")?;
    bundle.set("/process/args", json!(["/plain"])).refused_by_run()?;
    scene.bundle()?.set("/process/args", json!(["/tmp"])).refused_by_run().map(drop)
}

fn env_exact(scene: &Scene) -> Verdict {
    let env = json!([
        "PATH=/",
        "HOME=/somewhere",
        "EMPTY=",
        "SPACES= a b ",
        "EQUALS=a=b",
        "LINES=a\nb",
        "low=er"
    ]);
    let seen = scene.bundle()?.set("/process/env", env.clone()).report()?;
    let list = |value: &Value| {
        let mut list: Vec<String> = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect();
        list.sort();
        list
    };
    ensure_eq!(list(&seen["environment"]), list(&env), "environment");
    Ok(())
}

fn env_not_inherited(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    bundle.write()?;
    let (directory, log) =
        (bundle.directory.to_string_lossy().into_owned(), scene.directory.join("log"));
    let mut command = scene.runtime.command(&log, &["run", "--bundle", &directory, &bundle.id]);
    command.env("CONFORMANCE_LEAK", "1");
    let answer = scene.runtime.finish(command, &log, &bundle.directory.join("out"))?;
    let seen = crate::container::Ran::new(answer).value(0)?;
    ensure!(
        !seen["environment"].to_string().contains("CONFORMANCE_LEAK"),
        "environment: {}",
        seen["environment"]
    );
    Ok(())
}

fn cwd_set(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.folder("/a/b")?.set("/process/cwd", json!("/a/b")).report()?;
    ensure_eq!(seen["cwd"], json!("/a/b"), "working directory");
    Ok(())
}

fn cwd_relative(scene: &Scene) -> Verdict {
    for cwd in ["tmp", "./tmp", ""] {
        let answer = scene.bundle()?.set("/process/cwd", json!(cwd)).attempt("run")?;
        ensure!(!answer.succeeded(), "the cwd {cwd:?} was accepted");
    }
    Ok(())
}

fn cwd_file(scene: &Scene) -> Verdict {
    scene
        .bundle()?
        .file("/plain", "x")?
        .set("/process/cwd", json!("/plain"))
        .refused_by_run()
        .map(drop)
}

fn console_size(scene: &Scene) -> Verdict {
    scene.bundle()?.set("/process/consoleSize", json!({ "height": 10, "width": 20 })).report()?;
    let bundle = scene.bundle()?.set("/process/terminal", json!(false));
    bundle.set("/process/consoleSize", json!({ "height": 10, "width": 20 })).report().map(drop)
}

fn user_ids(scene: &Scene) -> Verdict {
    for (uid, gid) in [(0_u32, 0_u32), (1000, 2000), (65534, 1), (2_147_483_647, 2_147_483_647)] {
        let user = json!({ "uid": uid, "gid": gid });
        let seen = scene.bundle()?.set("/process/user", user).report()?;
        ensure_eq!(seen["uid"], json!([uid, uid, uid, uid]), "uids");
        ensure_eq!(seen["gid"], json!([gid, gid, gid, gid]), "gids");
    }
    Ok(())
}

fn user_groups(scene: &Scene) -> Verdict {
    for groups in [json!([]), json!([5, 7, 2_147_483_647])] {
        let user = json!({ "uid": 1000, "gid": 1000, "additionalGids": groups });
        let seen = scene.bundle()?.set("/process/user", user).report()?;
        // The kernel's list may or may not repeat the group itself.
        let mut list = seen["groups"].as_array().cloned().unwrap_or_default();
        list.retain(|group| *group != json!(1000));
        ensure_eq!(json!(list), groups, "supplementary groups");
    }
    Ok(())
}

fn user_umask(scene: &Scene) -> Verdict {
    for (umask, seen) in [(0o027, "0027"), (0, "0000"), (0o777, "0777")] {
        let report = scene.bundle()?.set("/process/user/umask", json!(umask)).report()?;
        ensure_eq!(report["umask"], json!(seen), "umask");
    }
    Ok(())
}

fn rlimits_set(scene: &Scene) -> Verdict {
    let table = [
        ("RLIMIT_NOFILE", 100_u64, 200_u64),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_CPU", 1000, 2000),
        ("RLIMIT_FSIZE", 1 << 30, 1 << 31),
        ("RLIMIT_STACK", 4 << 20, 8 << 20),
        ("RLIMIT_NPROC", 500, 600),
        ("RLIMIT_SIGPENDING", 10, 20),
        ("RLIMIT_AS", 4_u64 << 30, 8 << 30),
    ];
    let mut bundle = scene.bundle()?;
    for (kind, soft, hard) in table {
        bundle =
            bundle.push("/process/rlimits", json!({ "type": kind, "soft": soft, "hard": hard }));
    }
    let seen = bundle.report()?;
    for (kind, soft, hard) in table {
        ensure_eq!(seen["limits"][kind], json!({ "soft": soft, "hard": hard }), "{kind}");
    }
    Ok(())
}

fn rlimits_unknown(scene: &Scene) -> Verdict {
    for kind in ["RLIMIT_NONSENSE", "", "NOFILE", "rlimit_nofile"] {
        let limits = json!([{ "type": kind, "soft": 10, "hard": 10 }]);
        let answer = scene.bundle()?.set("/process/rlimits", limits).attempt("run")?;
        ensure!(!answer.succeeded(), "the type {kind:?} was accepted");
    }
    Ok(())
}

fn rlimits_duplicate(scene: &Scene) -> Verdict {
    let limits = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        { "type": "RLIMIT_NOFILE", "soft": 50, "hard": 60 },
    ]);
    scene.bundle()?.set("/process/rlimits", limits).refused_by_run().map(drop)
}

/// Bits of the capabilities that cases name.
pub(super) fn mask(names: &[&str]) -> String {
    let bit = |name: &&str| match *name {
        "CAP_CHOWN" => 0,
        "CAP_DAC_OVERRIDE" => 1,
        "CAP_FOWNER" => 3,
        "CAP_KILL" => 5,
        "CAP_SETGID" => 6,
        "CAP_SETUID" => 7,
        "CAP_SETPCAP" => 8,
        "CAP_NET_BIND_SERVICE" => 10,
        "CAP_NET_RAW" => 13,
        "CAP_MKNOD" => 27,
        _ => 63,
    };
    format!("{:016x}", names.iter().map(bit).fold(0_u64, |mask, bit| mask | 1 << bit))
}

fn capability_sets(scene: &Scene) -> Verdict {
    let sets = [
        ("bounding", vec!["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SETUID"]),
        ("permitted", vec!["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"]),
        ("effective", vec!["CAP_CHOWN", "CAP_KILL"]),
    ];
    // execve gives root the whole bounding set again: only another user, with
    // ambient capabilities, keeps what was set. So sets differ by user here.
    let given: Value = sets
        .iter()
        .map(|(set, names)| ((*set).to_owned(), json!(names)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let seen = scene.bundle()?.set("/process/capabilities", given).report()?;
    let bounding = mask(&sets[0].1);
    ensure_eq!(seen["capabilities"]["bounding"], json!(bounding), "bounding");
    ensure_eq!(
        seen["capabilities"]["permitted"],
        json!(bounding),
        "permitted, as execve by root makes it"
    );
    ensure_eq!(seen["capabilities"]["inheritable"], json!(mask(&[])), "inheritable");
    ensure_eq!(seen["capabilities"]["ambient"], json!(mask(&[])), "ambient");
    Ok(())
}

fn ambient_sets(names: &[&str]) -> Value {
    json!({
        "bounding": DEFAULT_CAPABILITIES, "permitted": names, "effective": names,
        "inheritable": names, "ambient": names,
    })
}

fn capability_ambient(scene: &Scene) -> Verdict {
    let names = ["CAP_NET_BIND_SERVICE", "CAP_KILL"];
    let seen = scene.bundle()?.set("/process/capabilities", ambient_sets(&names)).report()?;
    for set in ["ambient", "inheritable"] {
        ensure_eq!(seen["capabilities"][set], json!(mask(&names)), "{set}");
    }
    Ok(())
}

fn capability_other_user(scene: &Scene) -> Verdict {
    let names = ["CAP_NET_BIND_SERVICE", "CAP_CHOWN"];
    let bundle = scene.bundle()?.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let seen = bundle.set("/process/capabilities", ambient_sets(&names)).report()?;
    for set in ["ambient", "inheritable", "permitted", "effective"] {
        ensure_eq!(seen["capabilities"][set], json!(mask(&names)), "{set} of uid 1000");
    }
    let none =
        scene.bundle()?.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).report()?;
    for set in ["ambient", "inheritable", "permitted", "effective"] {
        ensure_eq!(
            none["capabilities"][set],
            json!(mask(&[])),
            "{set} of uid 1000 without ambient"
        );
    }
    Ok(())
}

fn capability_empty(scene: &Scene) -> Verdict {
    let empty = json!({ "bounding": [], "permitted": [], "effective": [], "inheritable": [], "ambient": [] });
    let seen = scene.bundle()?.set("/process/capabilities", empty).report()?;
    for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
        ensure_eq!(seen["capabilities"][set], json!(mask(&[])), "{set}");
    }
    Ok(())
}

fn capability_unknown(scene: &Scene) -> Verdict {
    let names = ["CAP_KILL", "CAP_OF_THE_FUTURE"];
    let sets = json!({ "bounding": names, "permitted": names, "effective": names });
    let seen = scene.bundle()?.set("/process/capabilities", sets).report()?;
    ensure_eq!(seen["capabilities"]["bounding"], json!(mask(&["CAP_KILL"])), "bounding");
    Ok(())
}

fn no_new_privileges(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.set("/process/noNewPrivileges", json!(true)).report()?;
    ensure_eq!(seen["no_new_privileges"], json!("1"), "NoNewPrivs");
    Ok(())
}

fn no_new_privileges_unset(scene: &Scene) -> Verdict {
    let explicit = scene.bundle()?.set("/process/noNewPrivileges", json!(false)).report()?;
    ensure_eq!(explicit["no_new_privileges"], json!("0"), "NoNewPrivs with false");
    ensure_eq!(
        scene.bundle()?.report()?["no_new_privileges"],
        json!("0"),
        "NoNewPrivs when absent"
    );
    Ok(())
}

fn own_oom_score() -> Result<i32, crate::case::Stop> {
    Ok(fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse()?)
}

fn oom_set(scene: &Scene) -> Verdict {
    // Lowering needs CAP_SYS_RESOURCE, raising nothing.
    let value = (own_oom_score()? + 50).min(1000);
    let seen = scene.bundle()?.set("/process/oomScoreAdj", json!(value)).report()?;
    ensure_eq!(seen["oom_score_adj"], json!(value.to_string()), "oom_score_adj");
    Ok(())
}

fn oom_unset(scene: &Scene) -> Verdict {
    let value = (own_oom_score()? + 77).min(1000).to_string();
    fs::write("/proc/self/oom_score_adj", &value)?;
    ensure_eq!(scene.bundle()?.report()?["oom_score_adj"], json!(value), "inherited oom_score_adj");
    Ok(())
}

fn oom_range(scene: &Scene) -> Verdict {
    for value in [1001, -1001, 100_000] {
        scene.bundle()?.set("/process/oomScoreAdj", json!(value)).refused_by_run()?;
    }
    Ok(())
}

/// Runtimes of before 1.1 ignore the property as an unknown one.
pub(super) fn require_version(scene: &Scene, property: &str, minor: u32) -> Verdict {
    let features = scene.features()?;
    let max = features["ociVersionMax"].as_str().unwrap_or_default();
    let known = max.split('.').nth(1).and_then(|text| text.parse::<u32>().ok()).unwrap_or_default();
    if known < minor {
        return skipped(format!("{property} came with 1.{minor}; the runtime knows {max}"));
    }
    Ok(())
}

fn scheduler_batch(scene: &Scene) -> Verdict {
    require_version(scene, "scheduler", 1)?;
    let scheduler = json!({ "policy": "SCHED_BATCH", "nice": 7 });
    let seen = scene.bundle()?.set("/process/scheduler", scheduler).report()?;
    ensure_eq!(seen["session"]["policy"], json!(3), "scheduling policy");
    ensure_eq!(seen["session"]["nice"], json!(7), "nice value");
    Ok(())
}

fn scheduler_unknown(scene: &Scene) -> Verdict {
    require_version(scene, "scheduler", 1)?;
    scene
        .bundle()?
        .set("/process/scheduler", json!({ "policy": "SCHED_NONSENSE" }))
        .refused_by_run()
        .map(drop)
}

fn io_priority(scene: &Scene) -> Verdict {
    require_version(scene, "ioPriority", 1)?;
    let priority = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    let container = scene
        .bundle()?
        .set("/process/ioPriority", priority)
        .operations(json!([["hold"]]))
        .start()?;
    container.wait_lines(1)?;
    let pid = container.pid()?.to_string();
    let Ok(output) = std::process::Command::new("ionice").args(["-p", &pid]).output() else {
        return skipped("ionice of util-linux is not installed");
    };
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure_eq!(text, "best-effort: prio 6", "what ionice says");
    Ok(())
}

fn hostname(scene: &Scene) -> Verdict {
    let before = nix::unistd::gethostname()?;
    let seen = scene.bundle()?.set("/hostname", json!("conformance.example")).report()?;
    ensure_eq!(seen["hostname"], json!("conformance.example"), "hostname");
    ensure_eq!(nix::unistd::gethostname()?, before, "hostname of the host");
    Ok(())
}

fn domainname(scene: &Scene) -> Verdict {
    require_version(scene, "domainname", 1)?;
    let seen = scene.bundle()?.set("/domainname", json!("example.org")).report()?;
    ensure_eq!(seen["domainname"], json!("example.org"), "domainname");
    Ok(())
}
