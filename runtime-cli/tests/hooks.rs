//! Hooks: the right moment, the right namespaces, the state, and what their failures say and do.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use support::{Bundle, eventually};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that appends one line to `log`: its kind, pid and mount namespace, and the state.
fn logging(kind: &str, log: &Path) -> Value {
    let script = format!(
        "state=$(cat); echo \"{kind} $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/pid) \
         $state\" >> {}",
        log.display()
    );
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]})
}

fn hooked(args: &[&str], hooks: impl FnOnce(&Bundle) -> Value) -> Bundle {
    let bundle = Bundle::new(args);
    let mut config = bundle.config(args);
    config["hooks"] = hooks(&bundle);
    config["annotations"] = json!({"org.example.key": "a\"b"});
    bundle.write(&config);
    bundle
}

fn failing(kind: &str) -> Bundle {
    hooked(&["sleep", "1000"], |_| {
        let script = "echo to-out; echo to-err >&2; exit 3";
        json!({kind: [
            {"path": "/bin/true", "args": ["true"]},
            {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]},
        ]})
    })
}

#[test]
fn all_six_in_order_each_in_its_namespaces() {
    let bundle = hooked(&["sleep", "1000"], |bundle| {
        let outside = bundle.path().join("log");
        let inside = Path::new("/log");
        let hooks = KINDS.map(|kind| {
            let log = if kind == "startContainer" { inside } else { &outside };
            (kind.to_owned(), json!([logging(kind, log)]))
        });
        Value::Object(hooks.into_iter().collect())
    });
    let outside = bundle.path().join("log");
    let inside = bundle.rootfs().join("log");
    let log = || -> Vec<Vec<String>> {
        let text = fs::read_to_string(&outside).unwrap_or_default();
        text.lines().map(|line| line.splitn(4, ' ').map(str::to_owned).collect()).collect()
    };
    bundle.detached("create ID").code(0);
    let seen: Vec<String> = log().iter().map(|line| line[0].clone()).collect();
    assert_eq!(seen, ["prestart", "createRuntime", "createContainer"]);
    assert!(!inside.exists(), "startContainer comes with start");
    let pid = bundle.state()["pid"].as_u64().unwrap();
    bundle.line("start ID").code(0);
    let within = fs::read_to_string(&inside).unwrap();
    let within: Vec<&str> = within.trim().splitn(4, ' ').collect();
    bundle.line("kill ID KILL").code(0);
    bundle.await_status("stopped");
    assert_eq!(log().len(), 4, "poststop comes with delete");
    bundle.line("delete ID").code(0);
    let log = log();
    let seen: Vec<&str> = log.iter().map(|line| line[0].as_str()).collect();
    assert_eq!(seen, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);

    let own = |name: &str| {
        fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_string_lossy().into_owned()
    };
    let state = |line: &[String]| -> Value { serde_json::from_str(&line[3]).unwrap() };
    for line in &log {
        let runtime = line[0] != "createContainer";
        assert_eq!(line[1] == own("mnt"), runtime, "{line:?}");
        assert_eq!(line[2] == own("pid"), runtime, "{line:?}");
        let state = state(line);
        assert_eq!(state["id"], bundle.id());
        assert_eq!(state["ociVersion"], "1.3.0");
        assert_eq!(state["bundle"], bundle.path().to_str().unwrap());
        assert_eq!(state["annotations"]["org.example.key"], "a\"b");
    }
    assert_eq!(within[1], log[2][1], "both hooks of the container are in its mount namespace");
    let statuses: Vec<Value> = log.iter().map(|line| state(line)["status"].clone()).collect();
    assert_eq!(statuses, ["creating", "creating", "creating", "running", "stopped"]);
    let pids: Vec<Value> = log.iter().map(|line| state(line)["pid"].clone()).collect();
    assert_eq!(pids[..4], [json!(pid), json!(pid), json!(1), json!(pid)]);
    let started: Value = serde_json::from_str(within[3]).unwrap();
    assert_eq!((&started["status"], &started["pid"]), (&json!("created"), &json!(1)));
}

#[test]
fn a_failing_hook_of_create_fails_it_and_leaves_nothing() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = failing(kind);
        let told = bundle.line("create ID");
        let words = format!("error running {kind} hook #1: exit status 3, stdout: to-out");
        let told = told.fails(1, &words);
        assert!(told.err.contains("stderr: to-err"), "{told:?}");
        bundle.assert_gone();
    }
}

/// The specification, Lifecycle 4, 12 and 13: what a hook has done is taken back by poststop.
#[test]
fn poststop_hooks_run_after_a_failing_hook_of_create() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = hooked(&["true"], |bundle| {
            let fails = json!([{"path": "/bin/false", "args": ["false"]}]);
            let log = bundle.path().join("log");
            let last = json!({"path": "/bin/false", "args": ["false"]});
            json!({kind: fails, "poststop": [last, logging("poststop", &log)]})
        });
        bundle.line("create ID").fails(1, &format!("error running {kind} hook #0"));
        bundle.assert_gone();
        let text = fs::read_to_string(bundle.path().join("log")).unwrap();
        let line: Vec<&str> = text.trim().splitn(4, ' ').collect();
        let state: Value = serde_json::from_str(line[3]).unwrap();
        assert_eq!((line[0], &state["status"]), ("poststop", &json!("stopped")));
    }
}

/// Before any hook has run there is nothing that poststop hooks could take back.
#[test]
fn no_poststop_hook_without_hooks_before() {
    let bundle = hooked(
        &["true"],
        |bundle| json!({"poststop": [logging("poststop", &bundle.path().join("log"))]}),
    );
    let mut config = bundle.config(&["true"]);
    config["hooks"] = json!({"poststop": [logging("poststop", &bundle.path().join("log"))]});
    config["mounts"] = json!([{"destination": "/x", "type": "no-such-file-system"}]);
    bundle.write(&config);
    bundle.line("create ID").fails(1, "no such device");
    assert!(!bundle.path().join("log").exists());
}

#[test]
fn a_failing_start_container_hook_fails_start() {
    let bundle = failing("startContainer");
    bundle.detached("create ID").code(0);
    let told =
        bundle.line("start ID").fails(1, "error running startContainer hook #1: exit status 3");
    assert!(told.err.contains("stderr: to-err"), "{told:?}");
    bundle.await_status("stopped");
}

/// The specification, version 1.3: the runtime stops the container.
#[test]
fn a_failing_poststart_hook_stops_the_container() {
    let bundle = failing("poststart");
    bundle.detached("create ID").code(0);
    bundle.line("start ID").fails(1, "error running poststart hook #1: exit status 3");
    bundle.await_status("stopped");
}

#[test]
fn delete_force_ends_a_start_that_waits_for_a_hook() {
    let bundle = hooked(&["sleep", "1000"], |_| {
        let script = "touch /waits; exec sleep 1000";
        json!({"startContainer": [
            {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]},
        ]})
    });
    bundle.detached("create ID").code(0);
    thread::scope(|scope| {
        scope.spawn(|| bundle.line("start ID"));
        let waits = bundle.rootfs().join("waits");
        eventually("the hook runs", || waits.exists().then_some(()));
        bundle.line("delete --force ID").code(0);
    });
    bundle.assert_gone();
}

#[test]
fn a_failing_poststop_hook_is_a_warning() {
    let bundle = failing("poststop");
    bundle.detached("run --detach ID").code(0);
    let told = bundle.line("delete --force ID").code(0);
    assert!(told.err.contains("error running poststop hook #1: exit status 3"), "{told:?}");
}

#[test]
fn time_runs_out() {
    for kind in ["createRuntime", "createContainer"] {
        let bundle = hooked(
            &["true"],
            |_| json!({kind: [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]}),
        );
        let words =
            format!("error running {kind} hook #0: hook ran past specified timeout of 1.0s");
        bundle.line("run ID").fails(1, &words);
        bundle.assert_gone();
    }
}

#[test]
fn a_hook_that_is_not_there() {
    for kind in ["createRuntime", "createContainer", "startContainer"] {
        let bundle = hooked(&["true"], |_| json!({kind: [{"path": "/no/hook"}]}));
        let words =
            format!("error running {kind} hook #0: fork/exec /no/hook: no such file or directory");
        bundle.line("run ID").fails(1, &words);
    }
}

#[test]
fn wrong_hooks_are_refused_at_their_place() {
    for (hook, place) in [
        (json!({"path": "relative"}), "/hooks/poststop/0/path"),
        (json!({"path": ""}), "/hooks/poststop/0/path"),
        (json!({"path": "/bin/true", "timeout": 0}), "/hooks/poststop/0/timeout"),
        (json!({"path": "/bin/true", "timeout": -1}), "/hooks/poststop/0/timeout"),
    ] {
        let bundle = hooked(&["true"], |_| json!({"poststop": [hook]}));
        bundle.line("run ID").fails(1, place);
        bundle.assert_gone();
    }
}

/// argv[0] is as given; a startContainer hook without an environment has the process's.
#[test]
fn arguments_and_environment() {
    let bundle = hooked(&["true"], |_| {
        let script = "env > /log; echo $0 $* >> /log; id >> /log";
        json!({"startContainer": [{"path": "/bin/busybox", "args": ["sh", "-c", script, "zero", "one"]}]})
    });
    let mut config: Value =
        serde_json::from_slice(&fs::read(bundle.path().join("config.json")).unwrap()).unwrap();
    config["process"]["env"] = json!(["PATH=/bin", "FROM=process"]);
    bundle.write(&config);
    bundle.line("run ID").code(0);
    let log = fs::read_to_string(bundle.rootfs().join("log")).unwrap();
    assert!(log.contains("FROM=process\n") && log.contains("HOME=/\n"), "{log}");
    assert!(log.contains("zero one\n") && log.contains("uid=0 gid=0"), "{log}");

    let bundle = hooked(&["true"], |_| {
        let script = "busybox env > /log";
        json!({"startContainer": [
            {"path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["FROM=hook", "PATH=/bin"]}
        ]})
    });
    bundle.line("run ID").code(0);
    let log = fs::read_to_string(bundle.rootfs().join("log")).unwrap();
    assert!(log.contains("FROM=hook\n") && !log.contains("HOME="), "{log}");
}

/// More output than a pipe holds, and a process that stays behind with the pipes open.
#[test]
fn a_talkative_hook_does_not_hang() {
    for kind in ["createRuntime", "createContainer"] {
        let bundle = hooked(&["true"], |_| {
            let script = "i=0; while [ $i -lt 5000 ]; do echo line-$i-0123456789012345678901234567890; \
                          i=$((i+1)); done; echo last >&2; exit 1";
            json!({kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]})
        });
        let told = bundle.line("run ID").fails(1, "stderr: last");
        assert!(told.err.contains("line-4999-"), "the end of the output");
        assert!(!told.err.contains("line-0-"), "not all of it");
    }
}

/// createContainer starts in the root file system, the hooks of the runtime's namespaces in the
/// bundle, and startContainer at the container's working directory.
#[test]
fn each_kind_starts_in_its_directory() {
    let kinds = ["createRuntime", "createContainer", "startContainer"];
    let bundle = hooked(&["sleep", "1000"], |_| {
        let hooks = kinds.map(|kind| {
            let args = ["sh", "-c", "echo $0 > \"where-$0\"", kind];
            (kind.to_owned(), json!([{"path": "/bin/sh", "args": args, "env": ["PATH=/bin"]}]))
        });
        Value::Object(hooks.into_iter().collect())
    });
    bundle.detached("run -d ID").code(0);
    let places = [bundle.path().to_owned(), bundle.rootfs(), bundle.rootfs()];
    for (kind, directory) in kinds.into_iter().zip(places) {
        let found = fs::read_to_string(directory.join(format!("where-{kind}")));
        assert_eq!(found.expect(kind).trim(), kind);
    }
    bundle.line("delete -f ID").code(0);
}
