//! config.md, POSIX-platform Hooks: order, namespaces, what they are given,
//! and what their failure does.

use crate::bundle::Bundle;
use crate::case::Level::{Must, Should};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, failed};
use crate::scene::Scene;
use crate::{hook, probe};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const CASES: &[Case] = &[
    case(
        "hooks.order.stages",
        Must,
        "config.md, Hooks: prestart, createRuntime, createContainer at create; startContainer, poststart at start; poststop at delete",
        stages,
    ),
    case(
        "hooks.order.listed",
        Must,
        "config.md, Hooks: hooks of one kind run in the listed order",
        listed,
    ),
    case(
        "hooks.order.start-container-before-program",
        Must,
        "config.md, startContainer: before the program",
        before_program,
    ),
    case(
        "hooks.order.poststart-before-return",
        Must,
        "config.md, poststart: before start returns",
        poststart_before_return,
    ),
    case(
        "hooks.order.poststop-after-delete",
        Must,
        "config.md, poststop: after the container is deleted, before delete returns",
        poststop,
    ),
    case("hooks.state.stdin", Must, "config.md, Hooks: the state comes on stdin", state_on_stdin),
    case(
        "hooks.state.status",
        Must,
        "config.md, Hooks: the state is the one of that moment",
        state_status,
    ),
    case(
        "hooks.state.pid",
        Must,
        "runtime.md, State: pid as the runtime sees it in the runtime's namespace",
        state_pid,
    ),
    case(
        "hooks.namespaces.runtime",
        Must,
        "config.md, Hooks: prestart, createRuntime, poststart, poststop run in the runtime's namespaces",
        runtime_namespaces,
    ),
    case(
        "hooks.namespaces.container",
        Must,
        "config.md, Hooks: createContainer and startContainer run in the container's namespaces",
        container_namespaces,
    ),
    case(
        "hooks.namespaces.before-pivot",
        Must,
        "config.md, createContainer: before pivot_root, startContainer after it",
        before_pivot,
    ),
    case("hooks.entry.args", Must, "config.md, Hooks: args with the semantics of execv", args),
    case("hooks.entry.env", Must, "config.md, Hooks: env with the semantics of environ", env),
    case(
        "hooks.entry.relative-path",
        Must,
        "config.md, Hooks: path has to be absolute",
        relative_path,
    ),
    case(
        "hooks.entry.timeout",
        Must,
        "config.md, Hooks: a hook that takes longer than timeout is ended, an error",
        timeout,
    ),
    case(
        "hooks.entry.timeout-zero",
        Must,
        "config.md, Hooks: timeout has to be greater than zero",
        timeout_zero,
    ),
    case(
        "hooks.failure.prestart",
        Must,
        "runtime.md, Lifecycle 3: an error, the container is destroyed",
        fail_prestart,
    ),
    case(
        "hooks.failure.create-runtime",
        Must,
        "runtime.md, Lifecycle 4: an error, the container is destroyed",
        fail_create_runtime,
    ),
    case(
        "hooks.failure.create-container",
        Must,
        "runtime.md, Lifecycle 5: an error, the container is destroyed",
        fail_create_container,
    ),
    case(
        "hooks.failure.start-container",
        Must,
        "runtime.md, Lifecycle 7: an error, the program does not run",
        fail_start_container,
    ),
    case(
        "hooks.failure.poststart",
        Must,
        "runtime.md, Lifecycle 9: an error, the container is stopped",
        fail_poststart,
    ),
    case(
        "hooks.failure.poststop",
        Must,
        "runtime.md, Lifecycle 13: a warning; the other hooks run, the container is deleted",
        fail_poststop,
    ),
    case(
        "hooks.failure.missing-program",
        Must,
        "runtime.md, Lifecycle 4: a hook that cannot be run is an error",
        missing_program,
    ),
    case(
        "hooks.failure.rest-is-skipped",
        Should,
        "runtime.md, Lifecycle 4: the lifecycle goes on at its end, not with the next hook",
        rest_skipped,
    ),
];

/// Hooks of all six kinds that write to one log. It lies in the root file
/// system, where each of them can reach it by one path or another.
pub(super) struct Hooked<'s> {
    pub(super) bundle: Bundle<'s>,
    pub(super) log: PathBuf,
}

const STAGES: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub(super) fn hooked(scene: &Scene) -> Result<Hooked<'_>, Stop> {
    let bundle = scene.bundle()?;
    let log = bundle.root().join("hooks.log");
    Ok(Hooked { bundle, log })
}

impl<'s> Hooked<'s> {
    pub(super) fn hook(mut self, stage: &str, name: &str, rest: &[&str]) -> Self {
        let probe = self.bundle.scene.probe.clone();
        self.bundle = match stage {
            "startContainer" => {
                self.bundle.hook(stage, Path::new(probe::PATH), Path::new("/hooks.log"), name, rest)
            }
            _ => self.bundle.hook(stage, &probe, &self.log, name, rest),
        };
        self
    }

    fn all(mut self) -> Self {
        for stage in STAGES {
            self = self.hook(stage, stage, &[]);
        }
        self
    }
}

fn entries(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

pub(super) fn names(log: &Path) -> Vec<String> {
    entries(log).iter().map(|entry| entry["hook"].as_str().unwrap_or_default().to_owned()).collect()
}

pub(super) fn entry(log: &Path, name: &str) -> Result<Value, Stop> {
    match entries(log).into_iter().find(|entry| entry["hook"] == name) {
        Some(entry) => Ok(entry),
        None => failed(format!("the hook {name} did not run")),
    }
}

/// The whole life of a container with a hook of each kind.
pub(super) fn live(scene: &Scene) -> Result<(PathBuf, i32), Stop> {
    let Hooked { bundle, log } = hooked(scene)?.all();
    let container = bundle.operations(json!([["hold"]])).start()?;
    container.kill("KILL")?;
    container.wait_end()?;
    container.delete()?;
    Ok((log, container.pid()?))
}

fn stages(scene: &Scene) -> Verdict {
    let Hooked { bundle, log } = hooked(scene)?.all();
    let container = bundle.operations(json!([["hold"]])).create()?;
    ensure_eq!(names(&log), STAGES[..3], "hooks after create");
    container.start()?;
    ensure_eq!(names(&log), STAGES[..5], "hooks after start");
    container.kill("KILL")?;
    container.wait_end()?;
    container.delete()?;
    ensure_eq!(names(&log), STAGES, "hooks after delete");
    Ok(())
}

fn listed(scene: &Scene) -> Verdict {
    let mut hooks = hooked(scene)?;
    let mut wanted = Vec::new();
    for stage in STAGES {
        for number in 0..3 {
            wanted.push(format!("{stage}{number}"));
            hooks = hooks.hook(stage, &format!("{stage}{number}"), &[]);
        }
    }
    let Hooked { bundle, log } = hooks;
    bundle.run()?;
    ensure_eq!(names(&log), wanted, "hooks of a run");
    Ok(())
}

fn before_program(scene: &Scene) -> Verdict {
    let Hooked { bundle, .. } = hooked(scene)?.hook("startContainer", "early", &[]);
    let ran = bundle.operations(json!([["read", "/hooks.log"]])).run()?;
    ensure!(ran.value(0)?.to_string().contains("early"), "the program ran before the hook");
    Ok(())
}

fn poststart_before_return(scene: &Scene) -> Verdict {
    let Hooked { bundle, log } = hooked(scene)?.hook("poststart", "late", &[]);
    let container = bundle.operations(json!([["hold"]])).create()?;
    ensure!(names(&log).is_empty(), "poststart ran at create");
    container.start()?;
    ensure_eq!(names(&log), ["late"], "hooks when start returns");
    Ok(())
}

fn poststop(scene: &Scene) -> Verdict {
    let Hooked { bundle, log } = hooked(scene)?.hook("poststop", "stop", &[]);
    let container = bundle.start()?;
    container.wait_end()?;
    ensure!(names(&log).is_empty(), "poststop ran before delete");
    container.delete()?;
    ensure_eq!(names(&log), ["stop"], "hooks when delete returns");
    Ok(())
}

fn state_on_stdin(scene: &Scene) -> Verdict {
    let Hooked { bundle, log } = hooked(scene)?.all();
    let (id, directory) = (bundle.id.clone(), bundle.directory.clone());
    bundle.set("/annotations", json!({ "com.example.key": "value" })).run()?;
    for stage in STAGES {
        let state = entry(&log, stage)?["state"].clone();
        ensure_eq!(state["id"], json!(id), "id in the state of {stage}");
        ensure_eq!(state["bundle"], json!(directory), "bundle in the state of {stage}");
        ensure!(state["ociVersion"].is_string(), "{stage}: no ociVersion in {state}");
        ensure_eq!(
            state["annotations"]["com.example.key"],
            json!("value"),
            "annotation for {stage}"
        );
    }
    Ok(())
}

fn state_status(scene: &Scene) -> Verdict {
    let (log, _) = live(scene)?;
    let table: [(&str, &[&str]); 6] = [
        // The container's environment is made, create is not done.
        ("prestart", &["creating", "created"]),
        ("createRuntime", &["creating", "created"]),
        ("createContainer", &["creating", "created"]),
        ("startContainer", &["created"]),
        ("poststart", &["running"]),
        ("poststop", &["stopped"]),
    ];
    for (stage, wanted) in table {
        let status = entry(&log, stage)?["state"]["status"].clone();
        ensure!(
            wanted.iter().any(|each| status == *each),
            "{stage}: status {status}, wanted one of {wanted:?}"
        );
    }
    Ok(())
}

fn state_pid(scene: &Scene) -> Verdict {
    let (log, pid) = live(scene)?;
    for stage in ["prestart", "createRuntime", "poststart"] {
        ensure_eq!(entry(&log, stage)?["state"]["pid"], json!(pid), "pid in the state of {stage}");
    }
    Ok(())
}

fn own_namespace(name: &str) -> Result<Value, Stop> {
    Ok(json!(fs::read_link(format!("/proc/self/ns/{name}"))?.to_string_lossy()))
}

fn runtime_namespaces(scene: &Scene) -> Verdict {
    let (log, _) = live(scene)?;
    for stage in ["prestart", "createRuntime", "poststart", "poststop"] {
        let entry = entry(&log, stage)?;
        ensure_eq!(entry["mount_namespace"], own_namespace("mnt")?, "mount namespace of {stage}");
        ensure_eq!(entry["pid_namespace"], own_namespace("pid")?, "pid namespace of {stage}");
        ensure_eq!(entry["uts_namespace"], own_namespace("uts")?, "uts namespace of {stage}");
    }
    Ok(())
}

fn container_namespaces(scene: &Scene) -> Verdict {
    let Hooked { bundle, log } = hooked(scene)?.all();
    let container = bundle.operations(json!([["report"], ["hold"]])).start()?;
    let program = container.wait_lines(2)?[0]["value"]["namespaces"].clone();
    for stage in ["createContainer", "startContainer"] {
        let entry = entry(&log, stage)?;
        for (seen, name) in [("mount_namespace", "mnt"), ("uts_namespace", "uts")] {
            // /proc is the container's own already, or the host's still.
            if entry[seen].is_string() {
                ensure_eq!(entry[seen], program[name], "{seen} of {stage}");
            }
        }
    }
    let uts = &entry(&log, "startContainer")?["uts_namespace"];
    ensure!(uts.is_string(), "startContainer saw no /proc");
    Ok(())
}

fn before_pivot(scene: &Scene) -> Verdict {
    let (log, _) = live(scene)?;
    ensure_eq!(
        entry(&log, "createContainer")?["sees_probe_at_root"],
        json!(false),
        "createContainer sees the container's root at /"
    );
    ensure_eq!(
        entry(&log, "startContainer")?["sees_probe_at_root"],
        json!(true),
        "startContainer sees the container's root at /"
    );
    Ok(())
}

fn args(scene: &Scene) -> Verdict {
    let Hooked { bundle, log } = hooked(scene)?;
    let args = json!(["other-name", hook::PART, log, "named", "", "two words"]);
    let entry_of = json!({ "path": scene.probe, "args": args });
    bundle.push("/hooks/createRuntime", entry_of).run()?;
    ensure_eq!(entry(&log, "named")?["arguments"], args, "arguments of the hook");
    Ok(())
}

fn env(scene: &Scene) -> Verdict {
    let Hooked { bundle, log } = hooked(scene)?.hook("createRuntime", "named", &[]);
    let env = json!(["ONE=1", "EMPTY=", "SPACES=a b"]);
    bundle.set("/hooks/createRuntime/0/env", env.clone()).run()?;
    ensure_eq!(entry(&log, "named")?["environment"], env, "environment of the hook");
    Ok(())
}

fn relative_path(scene: &Scene) -> Verdict {
    let Hooked { bundle, .. } = hooked(scene)?.hook("createRuntime", "relative", &[]);
    bundle.set("/hooks/createRuntime/0/path", json!("probe")).refused().map(drop)
}

fn timeout(scene: &Scene) -> Verdict {
    let Hooked { bundle, log } = hooked(scene)?.hook("createRuntime", "slow", &["hold"]);
    bundle.set("/hooks/createRuntime/0/timeout", json!(1)).refused()?;
    ensure_eq!(names(&log), ["slow"], "hooks that ran");
    Ok(())
}

fn timeout_zero(scene: &Scene) -> Verdict {
    for value in [0, -1] {
        let Hooked { bundle, .. } = hooked(scene)?.hook("createRuntime", "named", &[]);
        bundle.set("/hooks/createRuntime/0/timeout", json!(value)).refused()?;
    }
    Ok(())
}

fn fail_at_create(scene: &Scene, stage: &str) -> Verdict {
    let Hooked { bundle, log } = hooked(scene)?.hook(stage, "failing", &["exit", "3"]);
    let marker = bundle.root().join("ran");
    bundle.operations(json!([["create", "/ran"]])).refused()?;
    ensure_eq!(names(&log), ["failing"], "hooks that ran");
    ensure!(!marker.exists(), "the program ran");
    Ok(())
}

fn fail_prestart(scene: &Scene) -> Verdict {
    fail_at_create(scene, "prestart")
}

fn fail_create_runtime(scene: &Scene) -> Verdict {
    fail_at_create(scene, "createRuntime")
}

fn fail_create_container(scene: &Scene) -> Verdict {
    fail_at_create(scene, "createContainer")
}

fn fail_start_container(scene: &Scene) -> Verdict {
    let Hooked { bundle, .. } = hooked(scene)?.hook("startContainer", "failing", &["exit", "3"]);
    let marker = bundle.root().join("ran");
    let container = bundle.operations(json!([["create", "/ran"], ["hold"]])).create()?;
    // The clause leaves open whether start itself says so.
    container.attempt("start", &[])?;
    container.wait_end()?;
    ensure!(!marker.exists(), "the program ran");
    Ok(())
}

fn fail_poststart(scene: &Scene) -> Verdict {
    let Hooked { bundle, .. } = hooked(scene)?.hook("poststart", "failing", &["exit", "3"]);
    let container = bundle.operations(json!([["hold"]])).create()?;
    // The clause leaves open whether start itself says so.
    container.attempt("start", &[])?;
    container.wait_end().map(drop)
}

fn fail_poststop(scene: &Scene) -> Verdict {
    let hooks = hooked(scene)?.hook("poststop", "failing", &["exit", "3"]);
    let Hooked { bundle, log } = hooks.hook("poststop", "next", &[]);
    let container = bundle.start()?;
    container.wait_end()?;
    container.delete()?;
    ensure_eq!(names(&log), ["failing", "next"], "hooks that ran");
    container.attempt("state", &[])?.expect_failure("state of a deleted container")
}

fn missing_program(scene: &Scene) -> Verdict {
    let Hooked { bundle, .. } = hooked(scene)?.hook("createRuntime", "named", &[]);
    bundle.set("/hooks/createRuntime/0/path", json!("/nonexistent/hook")).refused().map(drop)
}

fn rest_skipped(scene: &Scene) -> Verdict {
    let hooks = hooked(scene)?.hook("createRuntime", "failing", &["exit", "1"]);
    let hooks = hooks.hook("createRuntime", "second", &[]).hook("createContainer", "third", &[]);
    let Hooked { bundle, log } = hooks;
    bundle.refused()?;
    ensure_eq!(names(&log), ["failing"], "hooks that ran");
    Ok(())
}
