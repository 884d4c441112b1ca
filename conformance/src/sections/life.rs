//! runtime.md and config.md, Hooks: further clauses of the life of a container; config-linux.md:
//! further clauses on namespaces.

use super::hooks::{Hooked, entry, hooked, live, names};
use crate::case::Level::{Caller, Must, Security};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq};
use crate::container::Container;
use crate::scene::Scene;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

pub(super) const CASES: &[Case] = &[
    case(
        "hooks.entry.timeout-inner",
        Must,
        "config.md, Hooks: timeout of createContainer and startContainer hooks",
        timeout_inner,
    ),
    case(
        "hooks.entry.timeout-enough",
        Must,
        "config.md, Hooks: a hook that ends in time is no error",
        timeout_enough,
    ),
    case("hooks.entry.no-args", Must, "config.md, Hooks: args are optional", no_args),
    case(
        "hooks.state.not-read",
        Must,
        "config.md, Hooks: a hook need not read its standard input",
        state_not_read,
    ),
    case(
        "hooks.state.pid-inside",
        Must,
        "runtime.md, State: for hooks in the container's namespaces the pid as the container sees it",
        pid_inside,
    ),
    case(
        "hooks.failure.signal",
        Must,
        "runtime.md, Lifecycle: a hook that a signal ends has failed",
        by_signal,
    ),
    case(
        "hooks.failure.start-container-missing",
        Must,
        "runtime.md, Lifecycle 7: a startContainer hook that cannot be run is an error",
        start_missing,
    ),
    case(
        "hooks.failure.poststop-after-create",
        Must,
        "runtime.md, Lifecycle 4, 12, 13: after a failure the container is destroyed and poststop hooks run",
        poststop_after_failure,
    ),
    case(
        "hooks.failure.id-free",
        Must,
        "runtime.md, Errors: after a failing hook everything is as before",
        id_free,
    ),
    case(
        "security.hooks.descriptors",
        Security,
        "hooks get the three standard descriptors and nothing else of the runtime or its caller",
        hook_descriptors,
    ),
    case("runtime.state.schema", Must, "runtime.md, State: the types of the schema", schema),
    case(
        "runtime.state.without-bundle",
        Must,
        "runtime.md, Scope: operations do not need the bundle once the container is there",
        without_bundle,
    ),
    case(
        "runtime.delete.twice",
        Must,
        "runtime.md, Delete: the second time it is unknown",
        deleted_twice,
    ),
    case("runtime.start.twice", Must, "runtime.md, Start: only once", started_twice),
    case(
        "runtime.kill.unknown-signal",
        Must,
        "runtime.md, Kill: a signal that does not exist is an error without effect",
        unknown_signal,
    ),
    case(
        "runtime.kill.every-signal",
        Must,
        "runtime.md, Kill: the specified signal is sent, by number and by name",
        every_signal,
    ),
    case(
        "runtime.start.program-fails",
        Must,
        "runtime.md, Start: a program that cannot be run leaves no running container",
        program_fails,
    ),
    case(
        "runtime.scope.parallel",
        Must,
        "runtime.md, Create: containers made at the same time do not disturb each other",
        parallel,
    ),
    case(
        "runtime.create.two-roots",
        Must,
        "runtime.md, Create: ids are unique within the scope of a runtime, which is its root",
        two_roots,
    ),
    case(
        "namespaces.path.user",
        Must,
        "config-linux.md, Namespaces: the user namespace at path",
        joined_user,
    ),
    case(
        "namespaces.path.cgroup",
        Must,
        "config-linux.md, Namespaces: the cgroup namespace at path",
        joined_cgroup,
    ),
    case(
        "namespaces.uts.isolated",
        Must,
        "config-linux.md, Namespaces: a hostname set inside stays inside",
        uts_isolated,
    ),
    case(
        "namespaces.mount.isolated",
        Must,
        "config-linux.md, Namespaces: a mount made inside stays inside",
        mount_isolated,
    ),
    case(
        "user.mappings.not-mapped",
        Must,
        "runtime.md, Create: a user that the mappings do not contain is an error",
        not_mapped,
    ),
    case(
        "user.mappings.overlap",
        Must,
        "runtime.md, Create: mappings that the kernel refuses are an error",
        overlap,
    ),
    case(
        "user.mappings.without-namespace",
        Must,
        "runtime.md, Create: mappings without a user namespace cannot be applied",
        mappings_alone,
    ),
    case(
        "user.mappings.groups",
        Must,
        "config.md, POSIX-platform User: additionalGids in a user namespace",
        user_groups,
    ),
    case(
        "time.offsets.unknown-clock",
        Must,
        "config-linux.md, Offset for Time Namespace: a clock that does not exist is an error",
        unknown_clock,
    ),
    case(
        "time.offsets.without-namespace",
        Must,
        "runtime.md, Create: offsets without a new time namespace cannot be applied",
        offsets_alone,
    ),
    case(
        "time.offsets.negative",
        Must,
        "config-linux.md, Offset for Time Namespace: secs is signed",
        negative_offset,
    ),
    case(
        "callers.exec.time-namespace",
        Caller,
        "exec's process has the container's clocks",
        exec_clocks,
    ),
    case(
        "callers.network.loopback-up",
        Caller,
        "the loopback device of a new network namespace is up",
        loopback,
    ),
];

fn timeout_inner(scene: &Scene) -> Verdict {
    let Hooked { bundle, log } = hooked(scene)?.hook("createContainer", "slow", &["hold"]);
    bundle.set("/hooks/createContainer/0/timeout", json!(1)).refused()?;
    ensure_eq!(names(&log), ["slow"], "hooks that ran");
    fs::remove_file(&log).ok();
    let Hooked { bundle, .. } = hooked(scene)?.hook("startContainer", "slow", &["hold"]);
    let marker = bundle.root().join("ran");
    let bundle = bundle.set("/hooks/startContainer/0/timeout", json!(1));
    let container = bundle.operations(json!([["create", "/ran"], ["hold"]])).create()?;
    container.attempt("start", &[])?;
    container.wait_end()?;
    ensure!(!marker.exists(), "the program ran");
    Ok(())
}

fn timeout_enough(scene: &Scene) -> Verdict {
    let mut hooks = hooked(scene)?;
    for stage in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        hooks = hooks.hook(stage, stage, &[]);
    }
    let Hooked { mut bundle, log } = hooks;
    for stage in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        bundle = bundle.set(&format!("/hooks/{stage}/0/timeout"), json!(30));
    }
    bundle.run()?;
    ensure_eq!(names(&log).len(), 6, "hooks that ran");
    Ok(())
}

fn no_args(scene: &Scene) -> Verdict {
    let Some(program) =
        ["/bin/true", "/usr/bin/true"].into_iter().find(|path| Path::new(path).exists())
    else {
        return crate::case::skipped("this machine has no true");
    };
    scene.bundle()?.push("/hooks/createRuntime", json!({ "path": program })).report().map(drop)
}

fn state_not_read(scene: &Scene) -> Verdict {
    let Some(program) =
        ["/bin/true", "/usr/bin/true"].into_iter().find(|path| Path::new(path).exists())
    else {
        return crate::case::skipped("this machine has no true");
    };
    let mut bundle =
        scene.bundle()?.set("/annotations/com.example.long", json!("x".repeat(200_000)));
    for stage in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        bundle =
            bundle.push(&format!("/hooks/{stage}"), json!({ "path": program, "args": ["true"] }));
    }
    bundle.report().map(drop)
}

fn pid_inside(scene: &Scene) -> Verdict {
    let (log, _) = live(scene)?;
    for stage in ["createContainer", "startContainer"] {
        ensure_eq!(entry(&log, stage)?["state"]["pid"], json!(1), "pid in the state of {stage}");
    }
    Ok(())
}

fn by_signal(scene: &Scene) -> Verdict {
    for stage in ["createRuntime", "createContainer"] {
        let Hooked { bundle, log } = hooked(scene)?.hook(stage, "dying", &["end-by-signal"]);
        bundle.refused()?;
        ensure_eq!(names(&log), ["dying"], "hooks that ran");
    }
    Ok(())
}

fn start_missing(scene: &Scene) -> Verdict {
    let bundle =
        scene.bundle()?.push("/hooks/startContainer", json!({ "path": "/nonexistent/hook" }));
    let marker = bundle.root().join("ran");
    let (answer, container) =
        bundle.operations(json!([["create", "/ran"], ["hold"]])).try_create()?;
    if answer.succeeded() {
        container.attempt("start", &[])?;
        container.wait_end()?;
    }
    ensure!(!marker.exists(), "the program ran");
    Ok(())
}

fn poststop_after_failure(scene: &Scene) -> Verdict {
    let hooks = hooked(scene)?.hook("createRuntime", "failing", &["exit", "1"]);
    let Hooked { bundle, log } = hooks.hook("poststop", "stop", &[]);
    bundle.refused()?;
    ensure_eq!(names(&log), ["failing", "stop"], "hooks that ran");
    Ok(())
}

fn id_free(scene: &Scene) -> Verdict {
    for stage in ["prestart", "createRuntime", "createContainer"] {
        let Hooked { bundle, .. } = hooked(scene)?.hook(stage, "failing", &["exit", "1"]);
        let id = bundle.id.clone();
        bundle.refused()?;
        let mut again = scene.bundle()?;
        again.id = id;
        let again = again.start()?;
        again.wait_end()?;
        again.delete()?;
    }
    Ok(())
}

fn hook_descriptors(scene: &Scene) -> Verdict {
    let kept = super::security::hold_directories()?;
    let (log, _) = live(scene)?;
    for stage in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        let mut found: Vec<String> =
            serde_json::from_value(entry(&log, stage)?["descriptors"].clone())?;
        found.sort();
        // createContainer hooks may see no /proc.
        ensure!(found.is_empty() || found == ["0", "1", "2"], "descriptors of {stage}: {found:?}");
    }
    drop(kept);
    Ok(())
}

fn schema(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["hold"]])).create()?;
    for _ in 0..2 {
        let state = container.state()?;
        for key in ["ociVersion", "id", "status", "bundle"] {
            ensure!(state[key].is_string(), "{key} of {state}");
        }
        ensure!(state["pid"].is_i64() || state["pid"].is_u64(), "pid of {state}");
        let version = state["ociVersion"].as_str().unwrap_or_default().to_owned();
        ensure!(version.split('.').count() >= 3, "ociVersion: {version}");
        let known = ["creating", "created", "running", "stopped"];
        ensure!(known.iter().any(|word| state["status"] == *word), "status of {state}");
        if state["status"] == "created" {
            container.start()?;
        }
    }
    Ok(())
}

fn without_bundle(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    fs::remove_file(container.bundle.join("config.json"))?;
    ensure_eq!(container.status()?, "running", "status");
    container.kill("KILL")?;
    container.wait_end()?;
    ensure_eq!(container.status()?, "stopped", "status");
    container.delete()
}

fn deleted_twice(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.start()?;
    container.wait_end()?;
    container.delete()?;
    container.attempt("delete", &[])?.expect_failure("the second delete")
}

fn started_twice(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["echo", "once"], ["hold"]])).start()?;
    container.wait_lines(2)?;
    container.attempt("start", &[])?.expect_failure("the second start")?;
    container.kill("KILL")?;
    container.wait_end()?;
    ensure_eq!(container.lines().len(), 2, "lines of the program");
    Ok(())
}

fn unknown_signal(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    for signal in ["NONSENSE", "SIG", "-1", "999", "9x"] {
        container.attempt("kill", &[signal])?.expect_failure(&format!("kill {signal:?}"))?;
    }
    ensure_eq!(container.status()?, "running", "status");
    Ok(())
}

fn every_signal(scene: &Scene) -> Verdict {
    let table = [
        ("1", "SIGHUP"),
        ("SIGINT", "SIGINT"),
        ("QUIT", "SIGQUIT"),
        ("SIGUSR1", "SIGUSR1"),
        ("12", "SIGUSR2"),
        ("WINCH", "SIGWINCH"),
        ("sigpwr", "SIGPWR"),
        ("SIGURG", "SIGURG"),
    ];
    for (given, seen) in table {
        let container = scene.bundle()?.operations(json!([["await-signal"]])).start()?;
        container.wait_lines(1)?;
        container.kill(given)?;
        container.wait_end()?;
        ensure_eq!(container.wait_lines(2)?[1]["value"], json!(seen), "signal after kill {given}");
        container.delete()?;
    }
    Ok(())
}

fn program_fails(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.set("/process/args", json!(["/no/such/program"]));
    let (answer, container) = bundle.try_create()?;
    if !answer.succeeded() {
        return answer.expect_failure("create");
    }
    container.attempt("start", &[])?.expect_failure("start")?;
    container.wait_end()?;
    let state = container.attempt("state", &[])?;
    ensure!(!state.succeeded() || state.stdout.contains("stopped"), "state: {}", state.stdout);
    container.delete_by_force()
}

fn parallel(scene: &Scene) -> Verdict {
    let bundles = (0..6).map(|_| scene.bundle()).collect::<Result<Vec<_>, Stop>>()?;
    let mut children = Vec::new();
    for bundle in bundles {
        let bundle = bundle.operations(json!([["report"]]));
        bundle.write()?;
        let directory = bundle.directory.to_string_lossy().into_owned();
        let log = bundle.directory.join("log");
        let mut command = scene.runtime.command(&log, &["run", "--bundle", &directory, &bundle.id]);
        let out = fs::File::create(bundle.directory.join("out"))?;
        let error = fs::File::create(bundle.directory.join("err"))?;
        children.push((command.stdout(out).stderr(error).spawn()?, bundle.directory.clone()));
    }
    for (mut child, directory) in children {
        let status = child.wait()?;
        let text = fs::read_to_string(directory.join("out"))?;
        let said = fs::read_to_string(directory.join("err"))?;
        ensure!(status.success(), "run: {status}: {said}");
        let line: Value = serde_json::from_str(text.trim())?;
        ensure_eq!(line["value"]["pid"], json!(1), "pid of the program");
    }
    Ok(())
}

fn two_roots(scene: &Scene) -> Verdict {
    let first = scene.bundle()?.operations(json!([["hold"]])).start()?;
    let other = scene.directory.join("other-root");
    fs::create_dir(&other)?;
    let bundle = scene.bundle()?;
    bundle.write()?;
    let mut command = std::process::Command::new(scene.runtime.binary());
    command
        .arg("--root")
        .arg(&other)
        .args(["run", "--bundle"])
        .arg(&bundle.directory)
        .arg(&first.id);
    let log = scene.directory.join("log");
    let answer = scene.runtime.finish(command, &log, &scene.directory.join("out"))?;
    answer.expect_success("run of the same id below another root")?;
    ensure_eq!(first.status()?, "running", "status of the first");
    Ok(())
}

fn holder<'s>(bundle: crate::bundle::Bundle<'s>) -> Result<Container<'s>, Stop> {
    let holder = bundle.operations(json!([["report"], ["hold"]])).start()?;
    holder.wait_lines(2)?;
    Ok(holder)
}

fn joined_user(scene: &Scene) -> Verdict {
    let holder = holder(scene.bundle()?.user_namespace()?)?;
    let held = holder.lines()[0]["value"]["namespaces"]["user"].clone();
    let path = format!("/proc/{}/ns/user", holder.pid()?);
    let bundle = scene.bundle()?.user_namespace()?.namespace("user", Some(&path));
    let bundle = bundle.remove("/linux/uidMappings").remove("/linux/gidMappings");
    let seen = bundle.report()?;
    ensure_eq!(seen["namespaces"]["user"], held, "user namespace at {path}");
    Ok(())
}

fn joined_cgroup(scene: &Scene) -> Verdict {
    let holder = holder(scene.bundle()?.namespace("cgroup", None))?;
    let held = holder.lines()[0]["value"]["namespaces"]["cgroup"].clone();
    let path = format!("/proc/{}/ns/cgroup", holder.pid()?);
    let seen = scene.bundle()?.namespace("cgroup", Some(&path)).report()?;
    ensure_eq!(seen["namespaces"]["cgroup"], held, "cgroup namespace at {path}");
    Ok(())
}

fn with_administration(bundle: crate::bundle::Bundle<'_>) -> crate::bundle::Bundle<'_> {
    let mut names = crate::bundle::DEFAULT_CAPABILITIES.to_vec();
    names.push("CAP_SYS_ADMIN");
    let sets = json!({ "bounding": names, "effective": names, "permitted": names });
    bundle.set("/process/capabilities", sets)
}

fn uts_isolated(scene: &Scene) -> Verdict {
    let before = nix::unistd::gethostname()?;
    let bundle = with_administration(scene.bundle()?);
    let ran = bundle.operations(json!([["call", "sethostname"], ["report"]])).run()?;
    ensure_eq!(ran.error(0)?, "ok", "sethostname");
    ensure_eq!(ran.value(1)?["hostname"], json!("probe"), "name inside");
    ensure_eq!(nix::unistd::gethostname()?, before, "name outside");
    Ok(())
}

fn mount_isolated(scene: &Scene) -> Verdict {
    let shared = scene.directory.join("shared");
    fs::create_dir(&shared)?;
    let bundle = with_administration(scene.bundle()?);
    let bundle = bundle.mount("/mnt", "bind", &shared.to_string_lossy(), &["rbind"]);
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    let operations =
        json!([["mount", "tmpfs", "/mnt", "tmpfs"], ["create", "/mnt/inside"], ["hold"]]);
    let container = bundle.operations(operations).start()?;
    let lines = container.wait_lines(3)?;
    ensure!(lines[0]["error"].is_null(), "mount: {}", lines[0]);
    ensure!(!shared.join("inside").exists(), "the mount is seen outside");
    ensure_eq!(fs::read_to_string("/proc/self/mountinfo")?, before, "mounts of the host");
    Ok(())
}

fn not_mapped(scene: &Scene) -> Verdict {
    for user in [json!({ "uid": 70_000, "gid": 0 }), json!({ "uid": 0, "gid": 70_000 })] {
        scene.bundle()?.user_namespace()?.set("/process/user", user).refused_by_run()?;
    }
    Ok(())
}

fn overlap(scene: &Scene) -> Verdict {
    let maps = json!([
        { "containerID": 0, "hostID": 100_000, "size": 100 },
        { "containerID": 50, "hostID": 200_000, "size": 100 },
    ]);
    scene.bundle()?.user_namespace()?.set("/linux/uidMappings", maps).refused().map(drop)
}

fn mappings_alone(scene: &Scene) -> Verdict {
    scene.bundle()?.user_namespace()?.without_namespace("user").refused().map(drop)
}

fn user_groups(scene: &Scene) -> Verdict {
    let user = json!({ "uid": 0, "gid": 0, "additionalGids": [10, 20, 30] });
    let seen = scene.bundle()?.user_namespace()?.set("/process/user", user).report()?;
    let groups = seen["groups"].as_array().cloned().unwrap_or_default();
    for gid in [10, 20, 30] {
        ensure!(groups.contains(&json!(gid)), "group {gid} is missing: {groups:?}");
    }
    Ok(())
}

fn require_time(scene: &Scene) -> Verdict {
    scene.require_feature("/linux/namespaces", "time")
}

fn unknown_clock(scene: &Scene) -> Verdict {
    require_time(scene)?;
    for clock in ["realtime", "nonsense"] {
        let bundle = scene.bundle()?.namespace("time", None);
        bundle.set("/linux/timeOffsets", json!({ clock: { "secs": 1 } })).refused()?;
    }
    Ok(())
}

fn offsets_alone(scene: &Scene) -> Verdict {
    require_time(scene)?;
    let offsets = json!({ "monotonic": { "secs": 100 } });
    scene.bundle()?.set("/linux/timeOffsets", offsets).refused().map(drop)
}

fn time_lines(text: &Value) -> Vec<Vec<String>> {
    let text = text.as_str().unwrap_or_default();
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn negative_offset(scene: &Scene) -> Verdict {
    require_time(scene)?;
    let offsets = json!({ "boottime": { "secs": -10, "nanosecs": 7 } });
    let bundle = scene.bundle()?.namespace("time", None).set("/linux/timeOffsets", offsets);
    let seen = time_lines(&bundle.report()?["time_offsets"]);
    ensure_eq!(seen, [["monotonic", "0", "0"], ["boottime", "-10", "7"]], "timens_offsets");
    Ok(())
}

fn exec_clocks(scene: &Scene) -> Verdict {
    require_time(scene)?;
    let offsets = json!({ "monotonic": { "secs": 500 } });
    let bundle = scene.bundle()?.namespace("time", None).set("/linux/timeOffsets", offsets);
    let container = holder(bundle)?;
    let first = container.lines()[0]["value"]["namespaces"]["time"].clone();
    let seen = container.exec(&[], json!([["report"]]))?.value(0)?;
    ensure_eq!(seen["namespaces"]["time"], first, "time namespace of exec");
    Ok(())
}

fn loopback(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.namespace("network", None);
    let ran = bundle.operations(json!([["loopback"]])).run()?;
    ensure_eq!(ran.error(0)?, "ok", "a connection to 127.0.0.1");
    Ok(())
}
