//! The runtime is killed, stopped or frozen in the middle of its work, at every call that it makes.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Bundle, eventually, program};

const STRACE: &str = "/usr/bin/strace";

/// `husk VERB... ID` under strace with these options.
fn traced(bundle: &Bundle, options: &[String], verb: &[&str]) -> Command {
    let mut command = Command::new(STRACE);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(bundle.path())
        .args(["-qq", "-o"])
        .arg(bundle.path().join("trace"))
        .args(options)
        .arg(program())
        .arg("--root")
        .arg(bundle.path().join("state"))
        .args(verb)
        .arg(bundle.id())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Each call of a traced program: its name, and how many calls of that name there were before,
/// itself counted.
fn calls(bundle: &Bundle) -> Vec<(String, u32)> {
    let trace = fs::read_to_string(bundle.path().join("trace")).expect("trace");
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let names = trace.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name);
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .map(|name| {
            let count = counts.entry(name).or_default();
            *count += 1;
            (name.to_owned(), *count)
        })
        .collect()
}

/// The calls of a whole creation, from the first one that changes something on.
fn calls_of_creation(bundle: &Bundle) -> Vec<(String, u32)> {
    assert!(traced(bundle, &[], &["create"]).status().expect("strace").success());
    bundle.line("delete --force ID").code(0);
    bundle.assert_gone();
    let calls = calls(bundle);
    let first = calls.iter().position(|(name, _)| name == "mkdir").expect("it makes a directory");
    calls[first..].to_vec()
}

fn injection(name: &str, count: u32, signal: &str) -> Vec<String> {
    vec!["-e".to_owned(), format!("inject={name}:signal={signal}:when={count}")]
}

#[test]
fn creator_killed_at_any_call_leaves_what_delete_force_clears() {
    let bundle = Bundle::with(&["sleep", "1000"], |config| {
        config["process"]["rlimits"] =
            serde_json::json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 64 }]);
        config["hooks"] = serde_json::json!({ "createRuntime": [{ "path": "/bin/true" }] });
    });
    let calls = calls_of_creation(&bundle);
    assert!(calls.len() > 100, "{calls:?}");
    let mut killed = 0;
    for (name, count) in &calls {
        let status = traced(&bundle, &injection(name, *count, "KILL"), &["create"])
            .status()
            .expect("strace");
        killed += u32::from(!status.success());
        let told = bundle.line("delete --force ID");
        assert_eq!(told.code, Some(0), "killed at {name} #{count}: {told:?}");
        bundle.assert_gone();
    }
    // Some calls may be made one time less: a wait that has nothing to wait for.
    assert!(killed as usize > calls.len() * 9 / 10, "{killed} of {}", calls.len());
}

#[test]
fn child_of_a_killed_creator_ends_by_itself() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let answers = calls_of_creation(&bundle)
        .into_iter()
        .filter(|(name, _)| name == "sendmsg")
        .collect::<Vec<_>>();
    assert!(!answers.is_empty());
    for (name, count) in answers {
        let status = traced(&bundle, &injection(&name, count, "KILL"), &["create"])
            .status()
            .expect("strace");
        assert!(!status.success());
        eventually("the child has ended", || {
            let state = bundle.line("state ID").code(0);
            state.out.contains("\"status\": \"stopped\"").then_some(())
        });
        bundle.line("start ID").fails(1, "cannot start a container that has stopped");
        bundle.line("delete ID").code(0);
        bundle.assert_gone();
    }
}

/// The program that strace runs, once strace says that it is stopped.
fn stopped_tracee(bundle: &Bundle, strace: &Child) -> Pid {
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    eventually("the runtime is stopped", || {
        let trace = fs::read_to_string(bundle.path().join("trace")).ok()?;
        trace.contains("--- stopped by SIGSTOP ---").then_some(())?;
        let children = fs::read_to_string(&children).ok()?;
        Some(Pid::from_raw(children.split_whitespace().next()?.parse().ok()?))
    })
}

#[test]
fn creator_stopped_at_any_answer_goes_on_later_or_not_at_all() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let answers = calls_of_creation(&bundle)
        .into_iter()
        .filter(|(name, _)| name == "sendmsg")
        .collect::<Vec<_>>();
    let last = answers.last().cloned();
    for (name, count) in answers {
        // The signal arrives when the call is done, and the last answer is the commit.
        let committed = Some((name.clone(), count)) == last;
        for goes_on in [true, false] {
            fs::remove_file(bundle.path().join("trace")).expect("the last trace");
            let mut strace = traced(&bundle, &injection(&name, count, "STOP"), &["create"])
                .spawn()
                .expect("strace");
            let runtime = stopped_tracee(&bundle, &strace);
            let state = bundle.state();
            assert!(
                ["creating", "created"].contains(&state["status"].as_str().unwrap()),
                "{state}"
            );
            let signal = if goes_on { Signal::SIGCONT } else { Signal::SIGKILL };
            kill(runtime, signal).expect("kill");
            let status = strace.wait().expect("wait");
            if goes_on {
                assert!(status.success(), "{status:?}");
                assert_eq!(bundle.state()["status"], "created");
            } else {
                bundle.await_status(if committed { "created" } else { "stopped" });
            }
            bundle.line("delete --force ID").code(0);
            bundle.assert_gone();
        }
    }
}

#[test]
fn child_killed_in_any_moment_fails_the_creation_and_leaves_nothing() {
    for kind in ["prestart", "createRuntime"] {
        let bundle = Bundle::with(&["sleep", "1000"], |config| {
            let script = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); kill -9 $pid; sleep 1000";
            config["hooks"] = serde_json::json!({
                kind: [{ "path": "/bin/sh", "args": ["sh", "-c", script] }]
            });
        });
        bundle.detached("create ID").fails(1, "the container's process ended");
        bundle.assert_gone();
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    for _ in 0..20 {
        let mut create = bundle.command();
        let mut create = create
            .args(["create", bundle.id()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("create");
        let record = bundle.path().join("state").join(bundle.id()).join("state.json");
        let init = eventually("the child is recorded", || {
            let record: serde_json::Value =
                serde_json::from_slice(&fs::read(&record).ok()?).ok()?;
            record["init"]["pid"].as_i64()
        });
        kill(Pid::from_raw(init as i32), Signal::SIGKILL).expect("the child is not yet reaped");
        if create.wait().expect("wait").success() {
            bundle.await_status("stopped");
            bundle.line("delete ID").code(0);
        }
        bundle.assert_gone();
    }
}

#[test]
fn exec_into_a_paused_container_waits_and_can_be_killed() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("run --detach ID").code(0);
    bundle.line("pause ID").code(0);
    let exec = || {
        let mut command = bundle.command();
        command
            .args(["exec", "--ignore-paused", bundle.id(), "sh", "-c", "exit 7"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("exec")
    };
    let joined = |more: usize| {
        eventually("the process has joined the cgroup", || {
            let pids: Vec<u32> =
                serde_json::from_str(&bundle.line("ps --format json ID").code(0).out).ok()?;
            (pids.len() == 1 + more).then_some(())
        });
    };
    let mut killed = exec();
    joined(1);
    assert!(killed.try_wait().expect("wait").is_none(), "it waits");
    killed.kill().expect("kill");
    killed.wait().expect("wait");
    let mut patient = exec();
    joined(2);
    assert!(patient.try_wait().expect("wait").is_none(), "it waits");
    bundle.line("resume ID").code(0);
    assert_eq!(patient.wait().expect("wait").code(), Some(7));
    joined(0);

    bundle.line("pause ID").code(0);
    let mut left = exec();
    joined(1);
    bundle.line("delete --force ID").code(0);
    bundle.assert_gone();
    assert_ne!(left.wait().expect("wait").code(), Some(7));
}

/// What a child may not do before it executes a program: allocate, or take a lock that another
/// thread of its creator may have held.
const FORBIDDEN: [&str; 6] = ["futex", "brk", "mmap", "mremap", "munmap", "madvise"];

/// Runs husk under strace and returns, for each process that the runtime cloned and that executed
/// a program, the program and the calls before.
fn calls_of_children(bundle: &Bundle, verb: &[&str], after: &[&str]) -> Vec<(String, Vec<String>)> {
    let traced = traced(bundle, &["-ff".to_owned()], verb).args(after).status().expect("strace");
    assert!(traced.success(), "{verb:?}");
    let mut children = Vec::new();
    for entry in fs::read_dir(bundle.path()).expect("bundle").flatten() {
        if !entry.file_name().to_string_lossy().starts_with("trace.") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).expect("trace");
        fs::remove_file(entry.path()).expect("trace");
        // The runtime itself begins with the execve of strace.
        let lines: Vec<&str> = text.lines().collect();
        let executed = lines
            .iter()
            .position(|line| line.starts_with("execve(") && line.ends_with("= 0"))
            .filter(|index| *index > 0);
        if let Some(index) = executed {
            let calls = lines[..index].iter().map(|line| (*line).to_owned()).collect();
            children.push((lines[index].to_owned(), calls));
        }
    }
    children
}

#[test]
fn children_neither_allocate_nor_lock_before_they_execute() {
    let hook = serde_json::json!([{ "path": "/bin/true" }]);
    let traced = Bundle::with(&["true"], |config| {
        config["hooks"] = serde_json::json!({
            "createRuntime": hook, "createContainer": hook, "startContainer": hook
        });
    });
    let mut children = calls_of_children(&traced, &["run"], &[]);
    assert_eq!(children.len(), 4, "three hooks and init: {children:#?}");
    let running = Bundle::new(&["sleep", "1000"]);
    running.detached("run --detach ID").code(0);
    let executed = calls_of_children(&running, &["exec"], &["true"]);
    assert_eq!(executed.len(), 1, "{executed:#?}");
    children.extend(executed);
    for (program, calls) in children {
        let forbidden =
            |call: &&String| FORBIDDEN.iter().any(|name| call.starts_with(&format!("{name}(")));
        let found: Vec<_> = calls.iter().filter(forbidden).collect();
        assert!(found.is_empty(), "before {program}: {found:?}");
    }
}
