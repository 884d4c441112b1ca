//! The life of containers, as callers lead it through the command line.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{Bundle, eventually};

const FOREVER: &str = "trap : TERM; while :; do sleep 1000 & wait $!; done";

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

#[test]
fn create_start_stop_delete() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("create --pid-file pid ID").code(0);
    // The pid file is there when create returns: containerd reads it at once.
    let pid: u32 = fs::read_to_string(bundle.path().join("pid")).unwrap().parse().unwrap();
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"], pid);
    assert_eq!(state["id"], bundle.id());
    assert_eq!(state["ociVersion"], "1.3.0");
    assert_eq!(state["bundle"], bundle.path().to_str().unwrap());
    assert_eq!(state["rootfs"], bundle.rootfs().to_str().unwrap());
    assert_eq!(state["owner"], "");
    assert!(state["created"].as_str().unwrap().ends_with('Z'));

    bundle.line("start ID").code(0);
    assert_eq!(bundle.state()["status"], "running");
    assert_eq!(bundle.state()["pid"], pid);
    bundle.line("start ID").fails(1, "cannot start an already running container");
    let words = format!("cannot delete container {} that is not stopped: running", bundle.id());
    bundle.line("delete ID").fails(1, &words);

    bundle.line("kill ID KILL").code(0);
    let state = bundle.await_status("stopped");
    assert_eq!(state["pid"], 0);
    bundle.line("start ID").fails(1, "cannot start a container that has stopped");
    bundle.line("kill ID").fails(1, "container not running");
    bundle.line("kill --all ID 9").code(0);
    bundle.line("exec ID true").fails(255, "cannot exec in a stopped container");
    bundle.line("delete ID").code(0);
    bundle.assert_gone();
    bundle.line("delete ID").fails(1, "container does not exist");
    bundle.line("delete --force ID").code(0);
}

#[test]
fn what_does_not_exist_is_said_so() {
    let bundle = Bundle::new(&["true"]);
    for verb in ["create", "run"] {
        let words = "chdir /nonexistent: no such file or directory";
        bundle.line(&format!("{verb} --bundle /nonexistent ID")).fails(1, words);
        let words = "JSON specification file config.json not found";
        bundle.line(&format!("{verb} -b rootfs ID")).fails(1, words);
    }
    for line in ["state ID", "start ID", "kill ID", "delete ID", "pause ID", "resume ID", "ps ID"] {
        bundle.line(line).fails(1, "container does not exist");
    }
    bundle.line("exec ID true").fails(255, "exec failed: container does not exist");
}

#[test]
fn ids_are_checked_before_anything_is_done() {
    let bundle = Bundle::new(&["true"]);
    for id in ["../x", "a/b", ".", "..", "a b", "ä", "a\n"] {
        for verb in ["create", "run", "state", "delete"] {
            bundle.husk([verb, id]).fails(1, "invalid container ID format");
        }
    }
    bundle.husk(["create", ""]).fails(1, "container id cannot be empty");
}

#[test]
fn an_id_is_taken_until_it_is_deleted() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("create ID").code(0);
    for verb in ["create", "run"] {
        let words = format!("husk {verb} failed: container with given ID already exists");
        bundle.detached(&format!("{verb} ID")).fails(1, &words);
    }
    assert_eq!(bundle.state()["status"], "created");
    bundle.line("delete --force ID").code(0);
    bundle.assert_gone();
    bundle.detached("create ID").code(0);
}

#[test]
fn run_ends_with_the_code_of_the_process() {
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("exit 42", 42), ("exit 255", 255)] {
        let bundle = Bundle::script(script);
        bundle.line("run ID").code(code);
        bundle.assert_gone();
    }
}

#[test]
fn run_passes_streams_on() {
    let bundle = Bundle::script("read line; echo \"out $line\"; echo err >&2");
    let mut command = bundle.command();
    command.args(["run", bundle.id()]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"line\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out line\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn run_ends_with_128_and_the_signal_that_ended_the_process() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let mut command = bundle.command();
    let mut child = command.args(["run", "--pid-file", "pid", bundle.id()]).spawn().unwrap();
    eventually("running", || {
        bundle.path().join("pid").exists().then_some(())?;
        (bundle.state()["status"] == "running").then_some(())
    });
    bundle.line("kill ID 9").code(0);
    assert_eq!(child.wait().unwrap().code(), Some(128 + 9));
    bundle.assert_gone();
}

#[test]
fn run_in_the_foreground_passes_signals_on() {
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGWINCH, "WINCH"),
    ] {
        let script = format!(
            "trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 1000 & wait $!; done"
        );
        let bundle = Bundle::script(&script);
        let mut command = bundle.command();
        let errors = bundle.path().join("err");
        command.stdout(Stdio::piped()).stderr(fs::File::create(&errors).unwrap());
        let mut child = command.args(["run", bundle.id()]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().as_deref(), Some("ready"));
        kill(pid(&child), signal).unwrap();
        let line = lines.next();
        let code = child.wait().unwrap().code();
        let errors = fs::read_to_string(errors).unwrap();
        let expected = (Some(format!("got {name}")), Some(7));
        assert_eq!((line, code), expected, "{errors}");
    }
}

#[test]
fn keep_leaves_a_stopped_container() {
    let bundle = Bundle::script("exit 5");
    bundle.line("run --keep ID").code(5);
    assert_eq!(bundle.state()["status"], "stopped");
    bundle.line("delete ID").code(0);
}

#[test]
fn detached_run_leaves_the_container_running() {
    let bundle = Bundle::script(FOREVER);
    bundle.detached("run --detach --pid-file pid ID").code(0);
    let state = bundle.state();
    assert_eq!(state["status"], "running");
    assert_eq!(fs::read_to_string(bundle.path().join("pid")).unwrap(), state["pid"].to_string());
    bundle.line("kill ID 0").code(0);
    bundle.line("kill ID SIGKILL").code(0);
    bundle.await_status("stopped");
}

#[test]
fn kill_takes_names_and_numbers() {
    for signal in ["9", "KILL", "SIGKILL", "sigkill", "kill"] {
        let bundle = Bundle::new(&["sleep", "1000"]);
        bundle.detached("run -d ID").code(0);
        bundle.line(&format!("kill ID {signal}")).code(0);
        bundle.await_status("stopped");
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("run -d ID").code(0);
    for signal in ["BOGUS", "65", "-1"] {
        bundle
            .line(&format!("kill ID {signal}"))
            .fails(1, &format!("unknown signal \\\"{signal}\\\""));
    }
}

#[test]
fn kill_sends_sigterm_when_not_told() {
    let bundle = Bundle::script(
        "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 1000 & wait $!; done",
    );
    bundle.detached("run -d ID").code(0);
    eventually("ready", || bundle.output().contains("ready").then_some(()));
    bundle.line("kill ID").code(0);
    bundle.await_status("stopped");
    assert_eq!(bundle.output(), "ready\nbye\n");
}

/// The kernel spares the first process of a pid namespace from these while they have no handler.
#[test]
fn signals_that_end_programs_end_a_created_container() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    for signal in ["HUP", "INT", "QUIT", "TERM"] {
        bundle.detached("create ID").code(0);
        bundle.line(&format!("kill ID {signal}")).code(0);
        bundle.await_status("stopped");
        bundle.line("start ID").fails(1, "cannot start a container that has stopped");
        bundle.line("delete ID").code(0);
    }
}

#[test]
fn a_created_container_can_be_deleted() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("create ID").code(0);
    bundle.line("delete ID").code(0);
    bundle.assert_gone();
}

#[test]
fn strictly_only_a_stopped_container_is_deleted() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("create ID").code(0);
    bundle.line("--strict delete ID").fails(1, "that is not stopped: created");
    assert_eq!(bundle.state()["status"], "created");
    bundle.line("--strict delete -f ID").code(0);
    bundle.assert_gone();
}

#[test]
fn force_delete_kills() {
    let bundle = Bundle::script(FOREVER);
    bundle.detached("run -d ID").code(0);
    bundle.line("delete -f ID").code(0);
    bundle.assert_gone();
}

#[test]
fn the_end_of_a_container_ends_its_output() {
    let bundle = Bundle::script("echo said; read line");
    let mut command = bundle.command();
    command.args(["run", "--detach", bundle.id()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(child.stdin.take());
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(output, "said\n");
}

#[test]
fn exec_returns_the_code_of_its_process() {
    let bundle = Bundle::script(FOREVER);
    bundle.detached("run -d ID").code(0);
    for code in [0, 3, 42] {
        bundle.husk(["exec", "ID", "sh", "-c", &format!("exit {code}")]).code(code);
    }
    bundle.husk(["exec", "ID", "sh", "-c", "kill -9 $$"]).code(128 + 9);
}

#[test]
fn exec_has_the_process_of_the_container_and_what_flags_change() {
    let bundle = Bundle::script(FOREVER);
    fs::create_dir(bundle.rootfs().join("work")).unwrap();
    bundle.detached("run -d ID").code(0);
    let told = bundle.husk(["exec", "ID", "env"]).code(0);
    assert!(told.out.contains(&format!("HUSK_TEST_ID={}\n", bundle.id())), "{told:?}");
    let told = bundle.husk(["exec", "-e", "A=1", "--env", "B=x y", "ID", "env"]).code(0);
    assert!(told.out.contains("A=1\n") && told.out.contains("B=x y\n"), "{told:?}");
    assert_eq!(bundle.line("exec --cwd /work ID pwd").code(0).out, "/work\n");
    assert_eq!(bundle.line("exec -u 1000:1001 -g 5 -g 6 ID id").code(0).out, {
        "uid=1000 gid=1001 groups=5,6\n"
    });
    assert_eq!(bundle.line("exec --user 7 ID id").code(0).out, "uid=7 gid=0\n");
    for user in ["root", "1:", "1x", "4294967295"] {
        bundle.husk(["exec", "--user", user, "ID", "true"]).fails(255, "parsing");
    }
    let status = bundle.husk(["exec", "--cap", "CAP_CHOWN", "ID", "cat", "/proc/self/status"]);
    let status = status.code(0).out;
    assert!(status.contains("CapBnd:\t0000000000000021\n"), "{status}");
    assert!(status.contains("CapEff:\t0000000000000021\n"), "{status}");
    assert!(status.contains("NoNewPrivs:\t0\n"), "{status}");
    let status = bundle.husk(["exec", "--no-new-privs", "ID", "cat", "/proc/self/status"]);
    assert!(status.code(0).out.contains("NoNewPrivs:\t1\n"));
}

#[test]
fn exec_takes_flags_only_before_the_id() {
    let bundle = Bundle::script(FOREVER);
    bundle.detached("run -d ID").code(0);
    let told = bundle.husk(["exec", "ID", "echo", "-d", "--cwd", "--", "-e"]).code(0);
    assert_eq!(told.out, "-d --cwd -- -e\n");
}

#[test]
fn exec_takes_a_process_from_a_file() {
    let bundle = Bundle::script(FOREVER);
    bundle.detached("run -d ID").code(0);
    let process = json!({
        "args": ["sh", "-c", "echo $X; pwd; id -u"], "env": ["X=y", "PATH=/bin"], "cwd": "/tmp",
        "user": { "uid": 9, "gid": 9 },
    });
    fs::write(bundle.path().join("process.json"), process.to_string()).unwrap();
    assert_eq!(bundle.line("exec --process process.json ID").code(0).out, "y\n/tmp\n9\n");
    bundle
        .line("exec -p missing.json ID")
        .fails(255, "open missing.json: no such file or directory");
    fs::write(bundle.path().join("broken.json"), r#"{"args": 7}"#).unwrap();
    bundle.line("exec -p broken.json ID").fails(255, "/args");
}

#[test]
fn exec_detached_writes_its_pid() {
    let bundle = Bundle::script(FOREVER);
    bundle.detached("run -d ID").code(0);
    bundle.detached("exec --detach --pid-file exec-pid ID sleep 1000").code(0);
    let pid: u32 = fs::read_to_string(bundle.path().join("exec-pid")).unwrap().parse().unwrap();
    let told = bundle.line("ps --format json ID").code(0);
    let pids: Vec<u32> = serde_json::from_str(&told.out).unwrap();
    assert!(pids.contains(&pid), "{pid} in {pids:?}");
}

#[test]
fn an_exec_that_fails_ends_with_255_and_writes_no_pid_file() {
    let bundle = Bundle::script(FOREVER);
    fs::write(bundle.rootfs().join("plain"), "text").unwrap();
    bundle.detached("run -d ID").code(0);
    for (arguments, words) in [
        ("ID nosuch", r#"exec: \"nosuch\": executable file not found in $PATH"#),
        ("ID /nosuch", r#"exec: \"/nosuch\": stat /nosuch: no such file or directory"#),
        ("ID /plain", "permission denied"),
        ("ID", "args must not be empty"),
    ] {
        let told = bundle.line(&format!("exec --pid-file exec-pid {arguments}"));
        told.fails(255, words).fails(255, "exec failed: ");
        assert!(!bundle.path().join("exec-pid").exists(), "{arguments}");
    }
}

#[test]
fn programs_that_are_not_there_fail_create_in_the_words_of_docker() {
    let bundle = Bundle::new(&["nosuchcmd"]);
    bundle.line("create ID").fails(1, r#"exec: \"nosuchcmd\": executable file not found in $PATH"#);
    bundle.assert_gone();
    bundle.line("run ID").fails(1, "husk run failed: ");
    bundle.assert_gone();
    let bundle = Bundle::new(&["/nosuchcmd"]);
    let words = r#"exec: \"/nosuchcmd\": stat /nosuchcmd: no such file or directory"#;
    bundle.line("run ID").fails(1, words);
    let bundle = Bundle::new(&["/etc"]);
    bundle.line("run ID").fails(1, "/etc");
}

#[test]
fn list_as_table_as_json_and_as_ids() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    std::fs::create_dir(bundle.path().join("state")).unwrap();
    assert_eq!(bundle.line("list -f json").code(0).out, "null\n");
    assert_eq!(
        bundle.line("list").code(0).out,
        "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    );
    assert_eq!(bundle.line("list -q").code(0).out, "");
    bundle.detached("create ID").code(0);
    let listed: Value =
        serde_json::from_str(&bundle.line("list --format=json").code(0).out).unwrap();
    let mut state = bundle.state();
    state["owner"] = "root".into();
    assert_eq!(listed, json!([state]));
    assert_eq!(bundle.line("list --quiet").code(0).out, format!("{}\n", bundle.id()));
    let table = bundle.line("list").code(0).out;
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], [bundle.id(), &state["pid"].to_string(), "created"]);
    bundle.line("list -f yaml").fails(1, "invalid format option");
}

#[test]
fn list_wants_the_root_that_is_named() {
    let bundle = Bundle::new(&["true"]);
    let missing = bundle.path().join("missing");
    let mut command = std::process::Command::new(support::program());
    let output = command.arg("--root").arg(&missing).arg("list").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = format!("open {}: no such file or directory", missing.display());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&words));
    assert!(!missing.exists());
}

#[test]
fn list_names_broken_entries_and_goes_on() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("create ID").code(0);
    let broken = bundle.path().join("state/broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("state.json"), "{").unwrap();
    let told = bundle.line("list -q").code(0);
    assert_eq!(told.out, format!("{}\n", bundle.id()));
    assert!(told.err.contains("load container broken: "), "{told:?}");
    fs::remove_dir_all(broken).unwrap();
}

#[test]
fn ps_shows_the_processes_of_the_container_only() {
    let bundle = Bundle::script("sleep 1000 & sleep 1000 & wait");
    bundle.detached("run -d ID").code(0);
    let pids: Vec<u64> = eventually("three processes", || {
        let told = bundle.line("ps -f json ID").code(0);
        serde_json::from_str(&told.out).ok().filter(|pids: &Vec<u64>| pids.len() == 3)
    });
    assert!(pids.contains(&bundle.state()["pid"].as_u64().unwrap()));
    let table = bundle.line("ps ID").code(0).out;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.lines().next().unwrap().contains("PID"));
    let table = bundle.line("ps ID -e -o pid,comm").code(0).out;
    assert_eq!(table.lines().filter(|line| line.contains("sleep")).count(), 2, "{table}");
    bundle.line("ps ID -e -o comm").fails(1, "PID");
    bundle.line("ps -f yaml ID").fails(1, "invalid format option");
}

#[test]
fn pause_and_resume() {
    let bundle = Bundle::script(FOREVER);
    bundle.detached("run -d ID").code(0);
    bundle.line("resume ID").fails(1, "container not paused");
    bundle.line("pause ID").code(0);
    assert_eq!(bundle.state()["status"], "paused");
    bundle.line("exec ID true").fails(255, "cannot exec in a paused container");
    bundle.line("resume ID").code(0);
    assert_eq!(bundle.state()["status"], "running");
    bundle.line("exec ID true").code(0);
    bundle.line("pause ID").code(0);
    bundle.line("delete --force ID").code(0);
    bundle.assert_gone();
    let bundle = Bundle::new(&["true"]);
    bundle.line("run --keep ID").code(0);
    bundle.line("pause ID").fails(1, "container not running");
}

#[test]
fn a_process_gets_no_descriptor_but_its_streams() {
    let bundle = Bundle::script("ls /proc/self/fd");
    // 3 is the directory that ls reads.
    assert_eq!(bundle.line("run ID").code(0).out, "0\n1\n2\n3\n");
}

#[test]
fn a_process_starts_with_default_signals() {
    let bundle = Bundle::new(&["cat", "/proc/self/status"]);
    let status = bundle.line("run ID").code(0).out;
    for line in ["SigBlk:\t0000000000000000\n", "SigIgn:\t0000000000000000\n"] {
        assert!(status.contains(line), "{status}");
    }
}

/// Runs husk by a shell that opens descriptors first.
fn with_descriptors(bundle: &Bundle, script: &str) -> support::Told {
    let mut shell = std::process::Command::new("/bin/sh");
    shell.current_dir(bundle.path()).stdin(Stdio::null());
    let script = format!("{script} \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(support::program()).arg("--root");
    shell.arg(bundle.path().join("state")).args(["run"]);
    support::told(&mut shell, ["--preserve-fds=1", bundle.id()])
}

#[test]
fn preserved_descriptors_are_passed_on() {
    let bundle = Bundle::script("cat <&3; ls /proc/self/fd");
    fs::write(bundle.path().join("passed"), "from the file\n").unwrap();
    let told = with_descriptors(&bundle, "exec 3<passed; exec").code(0);
    assert_eq!(told.out, "from the file\n0\n1\n2\n3\n4\n");
    bundle.line("run --preserve-fds 1 ID").fails(1, "descriptor 3 is not open");
    bundle.line("run --preserve-fds=-1 ID").fails(1, "--preserve-fds -1");
}

#[test]
fn listen_fds_come_first_and_are_counted() {
    let bundle = Bundle::script("echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4");
    fs::write(bundle.path().join("a"), "listen\n").unwrap();
    fs::write(bundle.path().join("b"), "preserved\n").unwrap();
    let script = "exec 3<a 4<b; export LISTEN_FDS=1 LISTEN_PID=$$; exec";
    let told = with_descriptors(&bundle, script).code(0);
    assert_eq!(told.out, "1 1\nlisten\npreserved\n");
}

#[test]
fn a_failure_is_one_object_in_the_log_with_its_warnings() {
    let bundle = Bundle::with(&["nosuchcmd"], |config| {
        config["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_NEVER_HEARD_OF"]);
    });
    let told = bundle.line("--log log --log-format json run ID").code(1);
    let object: Value =
        serde_json::from_str(&fs::read_to_string(bundle.path().join("log")).unwrap()).unwrap();
    assert_eq!(object["level"], "error");
    let warnings = object["warnings"].as_array().expect("warnings").clone();
    assert!(warnings.iter().any(|warning| warning.to_string().contains("CAP_NEVER_HEARD_OF")));
    assert_eq!(format!("{}\n", object["msg"].as_str().unwrap()), told.err);
    assert!(told.err.starts_with("husk run failed: "), "{}", told.err);
}

#[test]
fn warnings_are_lines_after_a_success() {
    let bundle = Bundle::with(&["true"], |config| {
        config["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_NEVER_HEARD_OF"]);
    });
    bundle.line("--log log --log-format json run ID").code(0);
    let log = fs::read_to_string(bundle.path().join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line["level"] == "warning"), "{log}");
    assert!(log.contains("CAP_NEVER_HEARD_OF"), "{log}");
}

#[test]
fn plan_shows_the_steps_and_does_nothing() {
    let bundle = Bundle::new(&["true"]);
    let told = bundle.line("plan ID").code(0);
    assert!(told.out.contains("mount"), "{}", told.out);
    assert!(!bundle.path().join("state").exists());
    let broken = Bundle::with(&[], |_| {});
    broken.line("plan ID").fails(1, "args must not be empty");
}

#[test]
fn a_caller_that_ignores_sigchld_changes_nothing() {
    let bundle = Bundle::script("grep SigIgn /proc/self/status; exit 9");
    let mut shell = std::process::Command::new("/usr/bin/python3");
    let script = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); \
                  os.execv(sys.argv[1], sys.argv[1:])";
    shell.current_dir(bundle.path()).args(["-c", script]).arg(support::program());
    shell.arg("--root").arg(bundle.path().join("state"));
    let told = support::told(&mut shell, ["run", bundle.id()]).code(9);
    assert_eq!(told.out, "SigIgn:\t0000000000000000\n");
}

#[test]
fn exec_in_the_foreground_passes_signals_on() {
    let bundle = Bundle::script(FOREVER);
    bundle.detached("run -d ID").code(0);
    let script = "trap 'echo got; exit 7' USR1; echo ready; while :; do sleep 1000 & wait $!; done";
    let mut command = bundle.command();
    command.args(["exec", bundle.id(), "sh", "-c", script]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    kill(pid(&child), Signal::SIGUSR1).unwrap();
    assert_eq!(lines.next().as_deref(), Some("got"));
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn without_a_pid_namespace_of_its_own_kill_and_delete_reach_every_process() {
    let shared = |config: &mut Value| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    };
    let bundle = Bundle::with(&["sh", "-c", "sleep 1000 & sleep 1000 & wait"], shared);
    bundle.detached("run -d ID").code(0);
    let count = |count: usize| {
        let told = bundle.line("ps -f json ID");
        // No processes are null.
        let pids = serde_json::from_str::<Option<Vec<u32>>>(&told.out).ok()?;
        (pids.unwrap_or_default().len() == count).then_some(())
    };
    eventually("three processes", || count(3));
    bundle.line("kill ID KILL").code(0);
    eventually("no process", || count(0));
    bundle.await_status("stopped");
    bundle.line("delete ID").code(0);
    bundle.assert_gone();
    // The first process has ended, the others have not.
    let bundle = Bundle::with(&["sh", "-c", "sleep 1000 & exit"], shared);
    bundle.detached("run -d ID").code(0);
    bundle.await_status("stopped");
    bundle.line("delete --force ID").code(0);
    bundle.assert_gone();
}

#[test]
fn paused_containers_take_a_process_when_told_to() {
    let bundle = Bundle::script("sleep 1000 & echo ready; wait");
    bundle.detached("run -d ID").code(0);
    eventually("ready", || bundle.output().contains("ready").then_some(()));
    bundle.line("pause ID").code(0);
    // It waits for the container to be resumed.
    let mut command = bundle.command();
    command.args(["exec", "--ignore-paused", bundle.id(), "sh", "-c", "exit 6"]);
    let mut child = command.spawn().unwrap();
    eventually("a further process", || {
        let told = bundle.line("ps -f json ID");
        serde_json::from_str::<Vec<u32>>(&told.out).ok().filter(|pids| pids.len() > 2)
    });
    bundle.line("resume ID").code(0);
    assert_eq!(child.wait().unwrap().code(), Some(6));
}

#[test]
fn two_creations_of_one_id_leave_one_container() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let null = || fs::File::options().read(true).write(true).open("/dev/null").unwrap();
    let mut children: Vec<Child> = (0..4)
        .map(|_| {
            let mut command = bundle.command();
            command.args(["create", bundle.id()]).stdout(null()).stderr(null());
            command.spawn().unwrap()
        })
        .collect();
    let codes: Vec<_> = children.iter_mut().map(|child| child.wait().unwrap().code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(bundle.state()["status"], "created");
}
