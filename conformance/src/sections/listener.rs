//! config-linux.md, Seccomp: listenerPath and the container process state; actions that need more
//! than a look at one call.

use super::seccomp::{USED, USED_BY_RUNTIMES, filtered, rule};
use crate::case::Level::{Caller, Must};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq};
use crate::scene::Scene;
use crate::socket::{Received, Receiver};
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    case(
        "seccomp.listener.state",
        Must,
        "config-linux.md, The Container Process State: ociVersion, pid and the state",
        state,
    ),
    case(
        "seccomp.listener.descriptor",
        Must,
        "config-linux.md, Seccomp listenerPath: seccompFd among fds, and one descriptor",
        descriptor,
    ),
    case(
        "seccomp.listener.metadata",
        Must,
        "config-linux.md, Seccomp listenerMetadata: sent as metadata",
        metadata,
    ),
    case(
        "seccomp.listener.one-state",
        Must,
        "config-linux.md, Seccomp listenerPath: one state for a connection, which is closed then",
        one_state,
    ),
    case(
        "seccomp.listener.nobody",
        Must,
        "config-linux.md, Seccomp listenerPath: a socket that cannot be reached is an error",
        nobody,
    ),
    case(
        "seccomp.listener.ignored",
        Must,
        "config-linux.md, Seccomp listenerPath: ignored when no action notifies",
        ignored,
    ),
    case(
        "seccomp.listener.missing-path",
        Must,
        "runtime.md, Create: SCMP_ACT_NOTIFY without a listener cannot be applied",
        no_path,
    ),
    case("seccomp.action.trap", Must, "config-linux.md, Seccomp: SCMP_ACT_TRAP", trap),
    case(
        "seccomp.action.trace",
        Must,
        "config-linux.md, Seccomp: SCMP_ACT_TRACE, ENOSYS without a tracer",
        trace,
    ),
    case(
        "seccomp.action.kill-whole-process",
        Must,
        "config-linux.md, Seccomp: SCMP_ACT_KILL_PROCESS ends all threads",
        kill_whole,
    ),
    case(
        "seccomp.action.kill-one-thread",
        Must,
        "config-linux.md, Seccomp: SCMP_ACT_KILL_THREAD ends one thread",
        kill_thread,
    ),
    case(
        "seccomp.names.empty",
        Must,
        "config-linux.md, Seccomp: names has at least one entry",
        empty_names,
    ),
    case("seccomp.args.index", Must, "config.md, Valid values: a call has six arguments", index),
    case(
        "seccomp.flags.unknown",
        Must,
        "config.md, Valid values: an unknown flag is an error",
        unknown_flag,
    ),
    case(
        "seccomp.default-action.required",
        Must,
        "config-linux.md, Seccomp: defaultAction is required",
        no_default,
    ),
    case("seccomp.of-exec", Caller, "exec's process runs under the container's filter", exec),
    case(
        "callers.seccomp.newer-calls",
        Caller,
        "calls newer than the profile answer ENOSYS, so that the C library goes on without them",
        newer,
    ),
    case(
        "callers.seccomp.same-argument",
        Caller,
        "two conditions on one argument are alternatives, as Docker's profile expects",
        same_argument,
    ),
    case(
        "callers.seccomp.children",
        Caller,
        "the filter holds for the program's children",
        children,
    ),
];

fn refusing(call: &str, action: &str) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(&[call], action)] })
}

/// A container whose mkdir notifies, created; and what the agent got.
fn notified(scene: &Scene, extra: Value) -> Result<(Received, Value, i32), Stop> {
    let receiver = Receiver::new(&scene.directory, "agent")?;
    let mut seccomp = refusing("mkdir", "SCMP_ACT_NOTIFY");
    seccomp["listenerPath"] = json!(receiver.path);
    for (key, value) in extra.as_object().into_iter().flatten() {
        seccomp[key] = value.clone();
    }
    let bundle =
        filtered(scene, seccomp)?.set("/annotations", json!({ "com.example.key": "value" }));
    let container = bundle.operations(json!([["hold"]])).create()?;
    let received = receiver.receive()?;
    let state: Value = serde_json::from_str(&received.text)?;
    ensure!(!receiver.has_more()?, "a second connection was made");
    Ok((received, state, container.pid()?))
}

fn state(scene: &Scene) -> Verdict {
    let (_received, sent, pid) = notified(scene, json!({}))?;
    ensure!(sent["ociVersion"].is_string(), "ociVersion: {sent}");
    ensure_eq!(sent["pid"], json!(pid), "pid");
    let state = &sent["state"];
    for key in ["ociVersion", "id", "status", "bundle"] {
        ensure!(state[key].is_string(), "{key} of the state: {state}");
    }
    ensure_eq!(state["status"], json!("creating"), "status");
    ensure_eq!(state["annotations"]["com.example.key"], json!("value"), "annotation");
    Ok(())
}

fn descriptor(scene: &Scene) -> Verdict {
    let (received, sent, _) = notified(scene, json!({}))?;
    ensure_eq!(sent["fds"], json!(["seccompFd"]), "fds");
    let number = received.descriptor()?;
    let target = std::fs::read_link(format!("/proc/self/fd/{number}"))?;
    ensure!(target.to_string_lossy().contains("seccomp"), "the descriptor is {}", target.display());
    Ok(())
}

fn metadata(scene: &Scene) -> Verdict {
    let text = "MKNOD=/dev/null;\"quoted\"";
    let (_received, sent, _) = notified(scene, json!({ "listenerMetadata": text }))?;
    ensure_eq!(sent["metadata"], json!(text), "metadata");
    Ok(())
}

/// The receiver reads to the end of the connection or of the document; what came must be one.
fn one_state(scene: &Scene) -> Verdict {
    let (received, _, _) = notified(scene, json!({}))?;
    let documents = serde_json::Deserializer::from_str(&received.text).into_iter::<Value>().count();
    ensure_eq!(documents, 1, "documents over the connection");
    Ok(())
}

fn nobody(scene: &Scene) -> Verdict {
    let mut seccomp = refusing("mkdir", "SCMP_ACT_NOTIFY");
    seccomp["listenerPath"] = json!(scene.directory.join("nobody"));
    filtered(scene, seccomp)?.refused_by_run().map(drop)
}

fn ignored(scene: &Scene) -> Verdict {
    let mut seccomp = refusing("mkdir", "SCMP_ACT_ERRNO");
    seccomp["listenerPath"] = json!(scene.directory.join("nobody"));
    let ran = filtered(scene, seccomp)?.operations(json!([["call", "mkdir"]])).run()?;
    ensure_eq!(ran.error(0)?, "EPERM", "mkdir");
    Ok(())
}

fn no_path(scene: &Scene) -> Verdict {
    filtered(scene, refusing("mkdir", "SCMP_ACT_NOTIFY"))?.refused_by_run().map(drop)
}

fn trap(scene: &Scene) -> Verdict {
    let operations = json!([["echo", "before"], ["call", "sethostname"], ["echo", "after"]]);
    let ran =
        filtered(scene, refusing("sethostname", "SCMP_ACT_TRAP"))?.operations(operations).run()?;
    ensure_eq!(ran.lines.len(), 1, "lines of the program");
    ensure_eq!(ran.answer.code, 128 + 31, "exit code");
    Ok(())
}

fn trace(scene: &Scene) -> Verdict {
    let bundle = filtered(scene, refusing("mkdir", "SCMP_ACT_TRACE"))?;
    let ran = bundle.operations(json!([["call", "mkdir"]])).run()?;
    ensure_eq!(ran.error(0)?, "ENOSYS", "mkdir");
    Ok(())
}

fn kill_whole(scene: &Scene) -> Verdict {
    let operations =
        json!([["echo", "before"], ["thread", "call", "sethostname"], ["echo", "after"]]);
    let bundle = filtered(scene, refusing("sethostname", "SCMP_ACT_KILL_PROCESS"))?;
    let ran = bundle.operations(operations).run()?;
    ensure_eq!(ran.lines.len(), 1, "lines of the program");
    ensure_eq!(ran.answer.code, 128 + 31, "exit code");
    Ok(())
}

/// The thread that calls is the only one here: what it leaves is a process without threads.
fn kill_thread(scene: &Scene) -> Verdict {
    let operations = json!([["echo", "before"], ["call", "sethostname"], ["echo", "after"]]);
    for action in ["SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL"] {
        let bundle = filtered(scene, refusing("sethostname", action))?;
        let ran = bundle.operations(operations.clone()).run()?;
        ensure_eq!(ran.lines.len(), 1, "lines of the program with {action}");
    }
    Ok(())
}

fn empty_names(scene: &Scene) -> Verdict {
    let seccomp =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(&[], "SCMP_ACT_ERRNO")] });
    filtered(scene, seccomp)?.refused_by_run().map(drop)
}

fn index(scene: &Scene) -> Verdict {
    for index in [6, 7, 100] {
        let mut refused = rule(&["mkdir"], "SCMP_ACT_ERRNO");
        refused["args"] = json!([{ "index": index, "value": 0, "op": "SCMP_CMP_EQ" }]);
        let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused] });
        filtered(scene, seccomp)?.refused_by_run()?;
    }
    Ok(())
}

fn unknown_flag(scene: &Scene) -> Verdict {
    let mut seccomp = refusing("mkdir", "SCMP_ACT_ERRNO");
    seccomp["flags"] = json!(["SECCOMP_FILTER_FLAG_NONSENSE"]);
    filtered(scene, seccomp)?.refused_by_run().map(drop)
}

fn no_default(scene: &Scene) -> Verdict {
    let seccomp = json!({ "syscalls": [rule(&["mkdir"], "SCMP_ACT_ERRNO")] });
    filtered(scene, seccomp)?.refused_by_run().map(drop)
}

fn exec(scene: &Scene) -> Verdict {
    let bundle = filtered(scene, refusing("mkdir", "SCMP_ACT_ERRNO"))?;
    let container = bundle.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    let ran = container.exec(&[], json!([["call", "mkdir"], ["call", "sched_yield"]]))?;
    ensure_eq!((ran.error(0)?, ran.error(1)?), ("EPERM", "ok"), "mkdir and sched_yield of exec");
    Ok(())
}

/// faccessat2 has number 439 everywhere; the profile names nothing from there on. The C library
/// does without it where the kernel does not know it, and gives up where it is forbidden.
fn newer(scene: &Scene) -> Verdict {
    let used = USED.iter().filter(|name| **name != "faccessat2");
    let mut names: Vec<&str> = used.chain(USED_BY_RUNTIMES).copied().collect();
    names.push("faccessat");
    let seccomp =
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule(&names, "SCMP_ACT_ALLOW")] });
    let ran = filtered(scene, seccomp)?
        .operations(json!([["call", "faccessat2"], ["call", "mkdir"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "ok", "faccessat2, which the C library does without");
    ensure_eq!(ran.error(1)?, "EPERM", "mkdir, which is older than the profile");
    Ok(())
}

fn same_argument(scene: &Scene) -> Verdict {
    let mut refused = rule(&["lseek"], "SCMP_ACT_ERRNO");
    refused["args"] = json!([
        { "index": 1, "value": 10, "op": "SCMP_CMP_EQ" },
        { "index": 1, "value": 20, "op": "SCMP_CMP_EQ" },
    ]);
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused] });
    let operations = json!([["call", "lseek", 10], ["call", "lseek", 20], ["call", "lseek", 30]]);
    let ran = filtered(scene, seccomp)?.operations(operations).run()?;
    ensure_eq!((ran.error(0)?, ran.error(1)?, ran.error(2)?), ("EPERM", "EPERM", "ok"), "lseek");
    Ok(())
}

fn children(scene: &Scene) -> Verdict {
    let bundle = filtered(scene, refusing("mkdir", "SCMP_ACT_ERRNO"))?;
    let child = json!([["exec", "/probe", "__probe", r#"[["call","mkdir"]]"#]]);
    let seen = bundle.operations(child).run()?.value(0)?;
    ensure!(seen["stdout"].to_string().contains("EPERM"), "the child said: {}", seen["stdout"]);
    Ok(())
}
