//! What engines make of this runtime's words, exit codes and files: each caller's own way to decide,
//! written down here, is asked about what husk says.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Bundle, cgroups, eventually, husk, told};

/// What Docker's daemon makes of the message of a failed start: the exit code of `docker run`.
fn docker_code(message: &str) -> i32 {
    let text = message.to_lowercase();
    let has = |words: &str| text.contains(words);
    if has("executable file not found") || has("no such file or directory") {
        127
    } else if has("permission denied") || has("is a directory") {
        126
    } else if has("not a directory") {
        127
    } else {
        128
    }
}

/// What Podman makes of the message of a failed start or exec.
#[derive(Debug, PartialEq)]
enum Podman {
    Permission,
    NotFound,
    Attribute,
    Other,
}

fn podman_kind(message: &str) -> Podman {
    let text = message.to_lowercase();
    let has = |words: &str| text.contains(words);
    let attribute = || {
        let quoted = message.split('`').nth(1).unwrap_or_default();
        let file = quoted.starts_with("/proc/") && quoted.contains("/attr/");
        file && (quoted.ends_with("/exec") || quoted.ends_with("/current"))
    };
    if has("permission denied") || has("operation not permitted") {
        Podman::Permission
    } else if has("executable file not found in")
        || has("no such file or directory")
        || has("open executable")
    {
        Podman::NotFound
    } else if attribute() {
        Podman::Attribute
    } else {
        Podman::Other
    }
}

/// What Podman's exit code of an exec session is.
fn podman_exec_code(message: &str) -> i32 {
    let known = ["not found", "executable path is empty", "no such file"];
    if known.iter().any(|words| message.contains(words)) { 127 } else { 126 }
}

/// What containerd's shim makes of a failed kill.
fn containerd_kill(message: &str) -> &'static str {
    if message.contains("os: process already finished")
        || message.contains("container not running")
        || message.to_lowercase().contains("no such process")
    {
        "process already finished"
    } else if message.contains("does not exist") {
        "no such container"
    } else {
        "unknown error after kill"
    }
}

/// The last object of level error in a stream of them, as containerd's shim looks for it.
fn last_error(log: &str) -> Option<Value> {
    let objects = serde_json::Deserializer::from_str(log).into_iter::<Value>();
    objects.map(|object| object.expect("JSON")).filter(|object| object["level"] == "error").last()
}

/// Fails the test unless this is a time as RFC 3339 has it.
fn assert_rfc3339(time: &Value) {
    let time = time.as_str().expect("a time");
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00Z");
}

/// Runs `husk GLOBALS ARGUMENTS`, which has to fail with `code`. The whole log is one object, as Podman
/// decodes it, and says what standard error says. Returns the message.
#[track_caller]
fn failure(bundle: &Bundle, globals: &[&str], arguments: &[&str], code: i32) -> String {
    let log = bundle.path().join("failure.json");
    let mut words = vec!["--log", "failure.json", "--log-format", "json"];
    words.extend(globals);
    words.extend(arguments);
    let told = bundle.husk(words).code(code);
    let text = fs::read_to_string(&log).expect("log");
    fs::remove_file(&log).expect("log");
    assert_eq!(text.lines().count(), 1, "{text}");
    let object: Value = serde_json::from_str(&text).expect("one object");
    assert_eq!(object["level"], "error");
    assert_rfc3339(&object["time"]);
    let message = object["msg"].as_str().expect("msg").to_owned();
    assert_eq!(told.err, format!("{message}\n"));
    message
}

#[track_caller]
fn assert_words(message: &str, words: &str) {
    assert!(message.contains(words), "{words:?} in {message:?}");
}

fn running(args: &[&str]) -> Bundle {
    let bundle = Bundle::new(args);
    bundle.detached("run -d ID").code(0);
    bundle
}

fn stopped() -> Bundle {
    let bundle = running(&["true"]);
    bundle.await_status("stopped");
    bundle
}

const FOREVER: &[&str] = &["sleep", "1000"];

#[test]
fn containerd_takes_the_last_error_of_a_stream() {
    let bundle = Bundle::with(FOREVER, |config| {
        config["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_UNHEARD_OF"]);
    });
    let log = ["--log", "log", "--log-format", "json"];
    let run = |words: &[&str]| {
        let words: Vec<&str> = log.iter().chain(words).copied().collect();
        let mut command = bundle.command();
        told(command.args(words.iter().map(|w| if *w == "ID" { bundle.id() } else { w })), [""; 0])
    };
    run(&["create", "ID"]).code(0);
    run(&["exec", "ID", "nosuch"]).code(255);
    run(&["create", "ID"]).code(1);
    run(&["state", "ID"]).code(0);
    let text = fs::read_to_string(bundle.path().join("log")).unwrap();
    let error = last_error(&text).expect("an error");
    assert_words(error["msg"].as_str().unwrap(), "container with given ID already exists");
    assert_rfc3339(&error["time"]);
    assert!(text.lines().count() >= 3, "a warning and two failures: {text}");
}

#[test]
fn podman_decodes_the_whole_log_whatever_came_before_the_failure() {
    let bundle = Bundle::with(&["nosuch"], |config| {
        let sets = &mut config["process"]["capabilities"];
        sets["bounding"] = json!(["CAP_KILL", "CAP_UNHEARD_OF"]);
        sets["ambient"] = json!(["CAP_KILL"]);
    });
    for globals in [&[][..], &["--debug"][..]] {
        let log = bundle.path().join("log");
        let mut words = vec!["--log", "log", "--log-format", "json"];
        words.extend(globals);
        for verb in ["create", "run"] {
            let told = bundle.husk(words.iter().copied().chain([verb, "ID"])).code(1);
            let text = fs::read_to_string(&log).unwrap();
            fs::remove_file(&log).unwrap();
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            let object: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(object["level"], "error");
            assert_words(object["msg"].as_str().unwrap(), "executable file not found in $PATH");
            let warnings = object["warnings"].to_string();
            assert_words(&warnings, "CAP_UNHEARD_OF");
            assert_words(&warnings, "can't raise ambient capability CAP_KILL: ");
            assert_eq!(object.get("debug").is_some(), !globals.is_empty(), "{text}");
            assert_eq!(told.err.lines().count(), 1, "{told:?}");
        }
    }
}

#[test]
fn debug_messages_are_lines_of_their_own_after_a_success() {
    let bundle = Bundle::new(FOREVER);
    for (log, format, debug) in
        [("json", "json", r#"{"level":"debug","msg":""#), ("text", "text", " level=debug msg=")]
    {
        let line = format!("--debug --log {log} --log-format {format} create ID");
        bundle.detached(&line).code(0);
        assert_eq!(fs::read_to_string(bundle.path().join("err")).unwrap(), "");
        let text = fs::read_to_string(bundle.path().join(log)).unwrap();
        assert!(text.lines().count() >= 3, "{text}");
        assert!(text.lines().all(|line| line.contains(debug)), "{text}");
        for words in [
            "nsexec container setup",
            "child process in init()",
            "init: closing the pipe to signal",
        ] {
            assert_words(&text, words);
        }
        bundle.line("delete --force ID").code(0);
    }
    // Without a file nobody decodes them: they come at once, before the failure's line.
    let told = bundle.line("--debug --log-format json state ID").code(1);
    let levels: Vec<Value> =
        told.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    assert_eq!(levels.first().unwrap()["level"], "debug");
    assert_eq!(levels.last().unwrap()["level"], "error");
}

#[test]
fn a_failed_kill_is_understood() {
    let bundle = stopped();
    for arguments in [&["kill", "ID", "9"][..], &["kill", "ID", "TERM"], &["kill", "ID", "0"]] {
        let message = failure(&bundle, &[], arguments, 1);
        assert_eq!(containerd_kill(&message), "process already finished");
        // CRI-O looks for this one of runc's.
        assert_words(&message, "container not running");
    }
    let message = failure(&bundle, &[], &["kill", "no-such-container", "9"], 1);
    assert_eq!(containerd_kill(&message), "no such container");
    bundle.line("kill --all ID 9").code(0);
    bundle.line("kill -a ID KILL").code(0);
}

#[test]
fn what_does_not_exist_is_nothing_to_delete() {
    let bundle = Bundle::new(FOREVER);
    for verb in ["delete", "state", "start", "pause", "resume", "update", "ps", "events"] {
        assert_words(&failure(&bundle, &[], &[verb, "nosuch"], 1), "container does not exist");
    }
    let message = failure(&bundle, &[], &["exec", "nosuch", "true"], 255);
    assert_words(&message, "exec failed: container does not exist");
    bundle.line("delete --force nosuch").code(0);
    bundle.line("delete -f nosuch").code(0);
}

/// Command lines of go-runc, as containerd's shim writes them.
#[test]
fn go_runc() {
    let bundle = Bundle::new(FOREVER);
    let path = bundle.path().to_str().unwrap();
    let globals = ["--debug", "--log", "log.json", "--log-format", "json", "--rootless=false"];
    let run = |words: &[&str]| {
        let words: Vec<&str> = globals.iter().chain(words).copied().collect();
        let mut command = bundle.command();
        command.args(words.iter().map(|word| if *word == "ID" { bundle.id() } else { word }));
        support::told_in(&mut command, &bundle.path().join("out"), &bundle.path().join("err"))
    };
    std::fs::create_dir(bundle.path().join("state")).unwrap();
    let list = run(&["list", "--format=json"]).code(0);
    assert_eq!(list.out, "null\n");
    let create =
        ["create", "--bundle", path, "--pid-file", "pid", "--no-pivot", "--no-new-keyring"];
    run(&[&create[..], &["ID"]].concat()).code(0);
    let pid: u64 = fs::read_to_string(bundle.path().join("pid")).unwrap().parse().unwrap();
    run(&["start", "ID"]).code(0);
    let state: Value = serde_json::from_str(&run(&["state", "ID"]).code(0).out).unwrap();
    assert_eq!((&state["pid"], &state["status"]), (&json!(pid), &json!("running")));
    let process = json!({"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"]});
    fs::write(bundle.path().join("process.json"), process.to_string()).unwrap();
    let exec = ["exec", "--process", "process.json", "--detach", "--pid-file", "exec.pid", "ID"];
    run(&exec).code(0);
    let second: u64 = fs::read_to_string(bundle.path().join("exec.pid")).unwrap().parse().unwrap();
    let mut pids: Vec<u64> =
        serde_json::from_str(&run(&["ps", "--format", "json", "ID"]).code(0).out).unwrap();
    pids.sort_unstable();
    let mut expected = vec![pid, second];
    expected.sort_unstable();
    assert_eq!(pids, expected);
    let top = run(&["ps", "--format", "table", "ID", "-o", "pid,comm"]).code(0);
    assert_eq!(top.out.matches("sleep").count(), 2, "{top:?}");
    let stats: Value =
        serde_json::from_str(&run(&["events", "--stats", "ID"]).code(0).out).unwrap();
    assert_eq!(stats["type"], "stats");
    run(&["pause", "ID"]).code(0);
    run(&["resume", "ID"]).code(0);
    let mut update = bundle.command();
    fs::write(bundle.path().join("resources.json"), "{}").unwrap();
    update.stdin(fs::File::open(bundle.path().join("resources.json")).unwrap());
    told(&mut update, ["update", "--resources=-", bundle.id()]).code(0);
    run(&["kill", "--all", "ID", "9"]).code(0);
    bundle.await_status("stopped");
    run(&["delete", "ID"]).code(0);
    run(&["delete", "--force", "ID"]).code(0);
    // With one dash; it fails for want of images or of criu, not for how it is spelled.
    let restore =
        ["restore", "--image-path", "/x", "--detach", "-no-subreaper", "-bundle", path, "ID"];
    assert_words(&run(&restore).code(1).err, "husk restore failed: ");
}

#[test]
fn events_come_at_go_runcs_interval() {
    let bundle = running(FOREVER);
    let mut command = bundle.command();
    command.args(["events", "--interval=1s", bundle.id()]);
    let out = bundle.path().join("events");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let words = format!(r#"{{"type":"stats","id":"{}","data":{{"#, bundle.id());
    eventually("statistics", || fs::read_to_string(&out).ok().filter(|text| text.contains(&words)));
    bundle.line("kill ID KILL").code(0);
    assert_eq!(child.wait().unwrap().code(), Some(0), "it ends with the container");
}

/// conmon's and CRI-O's: flags of the program before the verb, an exec always by a file, the bundle's
/// path with one letter, empty values.
#[test]
fn conmon_and_cri_o() {
    let bundle = Bundle::new(FOREVER);
    let path = bundle.path().to_str().unwrap();
    let line = "--rootless=auto --log=log --log-format=json create --bundle";
    let mut words: Vec<&str> = line.split(' ').collect();
    words.extend([path, "--pid-file", "pid", "--console-socket", "", "ID"]);
    let mut command = bundle.command();
    command.args(words.iter().map(|word| if *word == "ID" { bundle.id() } else { word }));
    support::told_in(&mut command, &bundle.path().join("out"), &bundle.path().join("err")).code(0);
    bundle.line("--rootless true start ID").code(0);
    let process = json!({"args": ["sh", "-c", "exit 41"], "cwd": "/", "env": ["PATH=/bin"]});
    fs::write(bundle.path().join("process.json"), process.to_string()).unwrap();
    for line in [
        "exec --process process.json --pid-file=one ID",
        "exec -process=process.json -pid-file one ID",
        "exec -p process.json --pid-file one ID",
    ] {
        bundle.line(line).code(41);
        assert!(fs::read_to_string(bundle.path().join("one")).unwrap().parse::<u32>().is_ok());
        fs::remove_file(bundle.path().join("one")).unwrap();
    }
    bundle.line("--rootless=maybe create other").fails(1, "--rootless is not true, false or auto");
    bundle.line("--rootless=1 list --format json").code(0);
    // Known flags also after what they belong to, those of the program too.
    let state = bundle.path().join("state");
    let mut list = support::husk();
    let told = told(&mut list, ["list", "-q", "--root", state.to_str().unwrap()]).code(0);
    assert_eq!(told.out, format!("{}\n", bundle.id()));
    bundle.line("kill ID 9 --all").code(0);
    bundle.await_status("stopped");
    bundle.line("delete ID --force").code(0);
}

/// Whether an exec's process was executed is told by the pid file alone.
#[test]
fn conmon_finds_no_pid_file_after_a_failure() {
    let bundle = running(FOREVER);
    support::write_program(bundle.rootfs().join("run.sh"), "#!/no/interpreter\n", 0o755);
    for (arguments, words) in [
        (&["ID", "nosuch"][..], "executable file not found in $PATH"),
        (&["ID", "/run.sh"], "exec /run.sh: no such file or directory"),
        (&["--cwd", "/missing", "ID", "true"], "no such file or directory"),
        (&["--cgroup", "..", "ID", "true"], "bad sub cgroup path"),
        (&["--user", "name", "ID", "true"], "uid"),
        (&["--process", "missing.json", "ID"], "open missing.json"),
        (&["--apparmor", "profile", "ID", "true"], "apparmor"),
        (&["--process-label", "label", "ID", "true"], "selinux"),
    ] {
        let exec = [&["exec", "--pid-file", "pid"], arguments].concat();
        assert_words(&failure(&bundle, &[], &exec, 255), words);
        assert!(!bundle.path().join("pid").exists(), "{arguments:?}");
    }
    let nowhere = ["exec", "--pid-file", "/nowhere/pid", "ID", "true"];
    assert_words(&failure(&bundle, &[], &nowhere, 255), "no such file or directory");
}

/// conmon looks for the cgroup of a container's process once the pid file is there.
#[test]
fn the_process_stays_in_the_cgroup_that_conmon_finds() {
    let bundle = Bundle::new(FOREVER);
    bundle.detached("create --pid-file pid ID").code(0);
    let pid = fs::read_to_string(bundle.path().join("pid")).unwrap();
    let groups = || fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let created = groups();
    assert!(created.contains(bundle.id()), "{created}");
    bundle.line("start ID").code(0);
    assert_eq!(groups(), created);
}

/// Programs that cannot be executed: the exit codes of `docker run` and `podman run`.
#[test]
fn exit_codes_of_engines_for_programs_that_are_not_there() {
    let prepare = |bundle: &Bundle| {
        fs::write(bundle.rootfs().join("plain"), "text").unwrap();
        symlink("nowhere", bundle.rootfs().join("dangling")).unwrap();
    };
    let execs = running(FOREVER);
    prepare(&execs);
    for (program, docker, podman, exec_code) in [
        ("nosuch", 127, Podman::NotFound, 127),
        ("/nosuch", 127, Podman::NotFound, 127),
        ("/dangling", 127, Podman::NotFound, 127),
        ("", 127, Podman::NotFound, 127),
        ("/plain", 126, Podman::Permission, 126),
        ("/etc", 126, Podman::Other, 126),
        ("/dev/null", 126, Podman::Permission, 126),
        ("/plain/below", 127, Podman::Other, 126),
    ] {
        let bundle = Bundle::new(&[program]);
        prepare(&bundle);
        for verb in ["create", "run"] {
            let message = failure(&bundle, &[], &[verb, "ID"], 1);
            assert_eq!(docker_code(&message), docker, "{message}");
            assert_eq!(podman_kind(&message), podman, "{message}");
            assert_words(
                &message,
                &format!("husk {verb} failed: unable to start container process: "),
            );
            assert_words(&message, "error during container init: exec: ");
        }
        let message = failure(&execs, &[], &["exec", "ID", program], 255);
        assert_eq!(docker_code(&message), docker, "{message}");
        assert_eq!(podman_exec_code(&message), exec_code, "{message}");
        assert_words(&message, "exec failed: unable to start container process: exec: ");
    }
    // Podman's own tests and CRI-O's have these words.
    let message = failure(&execs, &[], &["exec", "ID", ""], 255);
    assert_words(&message, r#"exec: "": executable file not found in $PATH"#);
    assert_words(&failure(&execs, &[], &["exec", "ID", "nosuch"], 255), "not found");
    // Toolbx and distrobox: a directory that is missing, with 127.
    let message = failure(&execs, &[], &["exec", "--cwd", "/nodir", "ID", "true"], 255);
    let words = r#"chdir to cwd ("/nodir") set in config.json failed: no such file or directory"#;
    assert_words(&message, words);
    assert_eq!(podman_exec_code(&message), 127);
}

#[test]
fn exit_codes_of_engines_for_mounts() {
    let with_mount = |mount: Value| {
        Bundle::with(&["true"], |config| config["mounts"].as_array_mut().unwrap().push(mount))
    };
    let bind = |from: &str, to: &str| json!({"destination": to, "type": "bind", "source": from, "options": ["bind"]});
    let missing = with_mount(bind("/nonexistent/source", "/mnt"));
    let message = failure(&missing, &[], &["run", "ID"], 1);
    assert_words(
        &message,
        "failed to fulfil mount request: open /nonexistent/source: no such file",
    );
    assert_eq!(docker_code(&message), 127);
    let onto_file = with_mount(bind("/usr", "/file"));
    fs::write(onto_file.rootfs().join("file"), "").unwrap();
    let message = failure(&onto_file, &[], &["run", "ID"], 1);
    assert_words(&message, "not a directory");
    assert_eq!(docker_code(&message), 127);
    let unknown = json!({"destination": "/mnt", "type": "nosuchfs", "source": "x"});
    let message = failure(&with_mount(unknown), &[], &["run", "ID"], 1);
    assert_words(&message, r#"error mounting "x" to rootfs at "/mnt""#);
    assert_words(&message, "no such device");
}

/// Which of Podman's errors labels become. The kernel of most test machines has neither module.
#[test]
fn labels_that_cannot_be_set() {
    let lsm = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    for (field, value, module, words) in [
        ("apparmorProfile", "nosuch-profile", "apparmor", "apparmor"),
        ("selinuxLabel", "nosuch-label", "selinux", "selinux label is specified in config, but "),
    ] {
        let bundle = Bundle::with(&["true"], |config| config["process"][field] = value.into());
        let message = failure(&bundle, &[], &["run", "ID"], 1);
        if lsm.contains(module) {
            assert_eq!(podman_kind(&message), Podman::NotFound, "{message}");
        } else {
            assert_words(&message, words);
            assert_words(&message, "not supported");
            assert_eq!(podman_kind(&message), Podman::Other, "{message}");
        }
    }
}

/// CRI-O takes `state` for its own state, and any failure of it for a stopped container.
#[test]
fn cri_o_reads_the_state() {
    let bundle = Bundle::new(FOREVER);
    bundle.detached("create ID").code(0);
    for status in ["created", "running", "paused", "stopped"] {
        match status {
            "running" => bundle.line("start ID").code(0),
            "paused" => bundle.line("pause ID").code(0),
            "stopped" => bundle.line("kill ID KILL").code(0),
            _ => bundle.line("state ID").code(0),
        };
        let state = bundle.await_status(status);
        for name in ["ociVersion", "id", "bundle", "rootfs", "created", "owner"] {
            assert!(state[name].is_string(), "{name} in {state}");
        }
        assert_eq!(state["owner"], "");
        assert_eq!(state["pid"].as_u64().unwrap() == 0, status == "stopped", "{state}");
    }
    assert_eq!(bundle.line("ps --format json ID").code(0).out, "null\n");
}

/// What Podman, CRI-O, containerd and the kubelet look for, and nothing of the wrong kind.
#[test]
fn features_are_those_that_engines_ask_for() {
    let features: Value =
        serde_json::from_str(&told(&mut husk(), ["features"]).code(0).out).unwrap();
    let has = |pointer: &str, item: &str| {
        let list = features.pointer(pointer).and_then(Value::as_array);
        list.unwrap_or_else(|| panic!("{pointer} in {features}")).contains(&item.into())
    };
    for name in ["/ociVersionMin", "/ociVersionMax"] {
        assert!(features.pointer(name).is_some_and(Value::is_string), "{name}");
    }
    // Recursively read-only volumes; Kubernetes' user namespaces need both of the next two.
    assert!(has("/mountOptions", "rro"));
    assert!(has("/linux/namespaces", "user"));
    assert_eq!(features.pointer("/linux/mountExtensions/idmap/enabled"), Some(&json!(true)));
    for kind in ["cgroup", "ipc", "mount", "network", "pid", "time", "uts"] {
        assert!(has("/linux/namespaces", kind), "{kind}");
    }
    let hooks = "prestart createRuntime createContainer startContainer poststart poststop";
    assert!(hooks.split(' ').all(|hook| has("/hooks", hook)));
    for (pointer, enabled) in [
        ("/linux/cgroup/v1", true),
        ("/linux/cgroup/v2", true),
        ("/linux/cgroup/systemd", true),
        ("/linux/cgroup/systemdUser", true),
        ("/linux/seccomp/enabled", true),
        ("/linux/netDevices/enabled", true),
        ("/linux/apparmor/enabled", true),
        ("/linux/selinux/enabled", true),
        ("/linux/intelRdt/enabled", true),
    ] {
        assert_eq!(features.pointer(pointer), Some(&json!(enabled)), "{pointer}");
    }
    for (pointer, item) in [
        ("/linux/capabilities", "CAP_CHECKPOINT_RESTORE"),
        ("/linux/seccomp/actions", "SCMP_ACT_NOTIFY"),
        ("/linux/seccomp/knownFlags", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
    ] {
        assert!(has(pointer, item), "{item}");
    }
    // Podman and CRI-O ask this before they offer checkpoints.
    assert_eq!(features["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "true");
    assert!(features["potentiallyUnsafeConfigAnnotations"].is_array());
}

/// The wrapper of nvidia executes the runtime with the arguments that it got.
#[test]
fn nvidias_wrapper_hands_the_arguments_on() {
    for flag in ["--bundle", "-b", "-bundle"] {
        let bundle = Bundle::new(FOREVER);
        let mut wrapped = Command::new("/bin/sh");
        wrapped.args(["-c", "exec \"$@\"", "sh"]).arg(support::program()).arg("--root");
        wrapped.arg(bundle.path().join("state")).args(["create", flag]);
        wrapped.arg(bundle.path()).arg(bundle.id()).stdin(Stdio::null());
        support::told_in(&mut wrapped, &bundle.path().join("out"), &bundle.path().join("err"))
            .code(0);
    }
}

/// Other texts that were seen from runc, and that people and scripts know.
#[test]
fn texts_of_runc() {
    let bundle = running(FOREVER);
    let id = bundle.id();
    for (arguments, code, words) in [
        (&["create", "ID"][..], 1, "husk create failed: container with given ID already exists"),
        (&["create", "a/b"], 1, "invalid container ID format"),
        (&["create", ""], 1, "container id cannot be empty"),
        (&["start", "ID"], 1, "cannot start an already running container"),
        (&["resume", "ID"], 1, "container not paused"),
        (&["kill", "ID", "BOGUS"], 1, "unknown signal \"BOGUS\""),
        (
            &["exec", "ID", "nosuchcmd"],
            255,
            r#"exec: "nosuchcmd": executable file not found in $PATH"#,
        ),
        (
            &["exec", "ID", "/nosuch"],
            255,
            r#"exec: "/nosuch": stat /nosuch: no such file or directory"#,
        ),
        (&["exec", "--cgroup", "whaaat:/", "ID", "true"], 255, "unknown controller whaaat"),
        (&["events", "--interval", "0s", "ID"], 1, "duration interval must be greater than 0"),
        (&["ps", "--format", "yaml", "ID"], 1, "invalid format option"),
        (&["list", "--format", "yaml"], 1, "invalid format option"),
        (&["update", "--memory", "lots", "ID"], 1, "invalid value for memory"),
        (&["update", "--resources", "nofile", "ID"], 1, "open nofile: no such file or directory"),
    ] {
        assert_words(&failure(&bundle, &[], arguments, code), words);
    }
    let message = failure(&bundle, &[], &["delete", "ID"], 1);
    assert_eq!(message, format!("cannot delete container {id} that is not stopped: running"));
    bundle.line("pause ID").code(0);
    let message = failure(&bundle, &[], &["exec", "ID", "true"], 255);
    let words = "exec failed: cannot exec in a paused container (use --ignore-paused to override)";
    assert_eq!(message, words);
    assert_eq!(failure(&bundle, &[], &["pause", "ID"], 1), "container not running");
    bundle.line("resume ID").code(0);
    bundle.line("kill ID KILL").code(0);
    bundle.await_status("stopped");
    for (arguments, code, words) in [
        (&["start", "ID"][..], 1, "cannot start a container that has stopped"),
        (&["pause", "ID"], 1, "container not running"),
        (&["update", "--pids-limit", "7", "ID"], 1, "container not running"),
        (&["exec", "ID", "true"], 255, "exec failed: cannot exec in a stopped container"),
        (&["events", "--stats", "ID"], 1, &format!("container with id {id} is not running")),
    ] {
        assert_words(&failure(&bundle, &[], arguments, code), words);
    }
}

/// Texts about config.json, which runc's callers know.
#[test]
fn texts_of_runc_about_the_configuration() {
    let changed = |pointer: &str, value: Value| {
        Bundle::with(&["true"], |config| {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap()[name] = value;
        })
    };
    let pids = json!([{"type": "pid"}, {"type": "pid"}, {"type": "mount"}]);
    let hook = |args: Value| json!({"path": "/bin/busybox", "args": args});
    let hooks = json!({"createRuntime": [hook(json!(["true"])), hook(json!(["false"]))]});
    for (pointer, value, words) in [
        (
            "/linux/sysctl",
            json!({"kernel.panic": "7"}),
            r#"sysctl "kernel.panic" is not in a separate kernel namespace"#,
        ),
        ("/linux/namespaces", pids, "duplicated ns"),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1}]),
            "wrong rlimit value: RLIMIT_BOGUS",
        ),
        ("/process/args", json!([]), "args must not be empty"),
        ("/process/cwd", json!("relative"), "Cwd must be an absolute path"),
        ("/hooks", hooks, "error running createRuntime hook #1: exit status 1, stdout: , stderr: "),
        (
            "/hooks",
            json!({"startContainer": [hook(json!(["false"]))]}),
            "error running startContainer hook #0: exit status 1",
        ),
        (
            "/hooks",
            json!({"createRuntime": [{"path": "/bin/busybox", "args": ["sleep", "90"], "timeout": 1}]}),
            "hook ran past specified timeout of 1.0s",
        ),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_WRONG"}), "invalid memory policy mode"),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["BAD"]}),
            "invalid memory policy flag",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "x"}),
            "invalid memory policy node",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/nowhere"}),
            "SCMP_ACT_NOTIFY cannot be used",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere/agent",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}),
            "failed to connect with seccomp agent",
        ),
    ] {
        let bundle = changed(pointer, value);
        assert_words(&failure(&bundle, &[], &["run", "ID"], 1), words);
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if cgroups::has_controller("cpuset") && cpus > 1 {
        let bundle = Bundle::with(&["true"], |config| {
            config["process"]["scheduler"] = json!({"policy": "SCHED_DEADLINE", "runtime": 42_000,
                "deadline": 1_000_000, "period": 1_000_000});
            config["linux"]["resources"] = json!({"cpu": {"cpus": "0"}});
        });
        let words = "process scheduler can't be used together with AllowedCPUs";
        assert_words(&failure(&bundle, &[], &["run", "ID"], 1), words);
    }
}

/// Limits, as runc's own tests look for the words.
#[test]
fn texts_of_runc_about_limits() {
    if !cgroups::has_controller("memory") {
        eprintln!("skipped: no memory controller");
        return;
    }
    let bundle = Bundle::with(FOREVER, |config| {
        config["linux"]["resources"] =
            json!({"memory": {"limit": 64 << 20, "checkBeforeUpdate": true}});
    });
    bundle.detached("run -d ID").code(0);
    let low = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}});
    fs::write(bundle.path().join("low.json"), low.to_string()).unwrap();
    let message = failure(&bundle, &[], &["update", "--resources", "low.json", "ID"], 1);
    assert_words(&message, "rejecting memory limit");
}

/// Callers give the flag to every verb, also for containers that were made without systemd.
#[test]
fn verbs_take_the_flag_of_the_systemd_driver() {
    let bundle = running(FOREVER);
    for line in
        ["state ID", "list", "exec ID true", "pause ID", "resume ID", "kill ID 0", "features"]
    {
        bundle.line(&format!("--systemd-cgroup {line}")).code(0);
    }
    bundle.line("--systemd-cgroup delete --force ID").code(0);
}

/// Exit codes that scripts rely on.
#[test]
fn exit_codes() {
    let bundle = Bundle::script("exit 42");
    bundle.line("run ID").code(42);
    let bundle = running(FOREVER);
    bundle.husk(["exec", "ID", "sh", "-c", "exit 3"]).code(3);
    bundle.husk(["exec", "ID", "sh", "-c", "kill -9 $$"]).code(137);
    bundle.line("exec nosuch true").code(255);
    bundle.line("kill ID 0").code(0);
    bundle.line("no-such-verb").fails(3, "No help topic for 'no-such-verb'");
    bundle.line("list --no-such-flag").code(1);
    bundle.line("state").code(1);
}
