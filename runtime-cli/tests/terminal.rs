//! Terminals and pidfds that husk hands to its caller.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};
use support::{Bundle, Receiver, Told, everything, resize, scratch};

/// What the process sees of its terminal.
const LOOK: &str = "busybox tty; busybox stty size; stat -c %t:%T /dev/console; \
                    stat -c %u:%g $(busybox tty); echo controlled > /dev/tty; \
                    for n in 0 1 2; do readlink /proc/$$/fd/$n; done; \
                    for n in 3 4 5 6 7 8 9 10 11 12 13 14; do [ -e /proc/$$/fd/$n ] && echo $n; done";

const SEEN: &str = "/dev/pts/0\n33 44\n88:0\n0:5\ncontrolled\n/dev/pts/0\n/dev/pts/0\n/dev/pts/0\n";

/// A bundle whose process has a terminal.
fn bundle(script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
    Bundle::with(&["sh", "-c", script], |config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({"height": 33, "width": 44});
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        }));
        change(config);
    })
}

fn receiver(bundle: &Bundle, name: &str) -> Receiver {
    Receiver::at(bundle.path().join(name))
}

/// Runs a line with `CONSOLE` in it for the path of a receiver.
fn line(bundle: &Bundle, receiver: &Receiver, line: &str) -> Told {
    bundle.line(&line.replace("CONSOLE", &receiver.path().display().to_string()))
}

#[test]
fn create_sends_the_terminal_and_start_uses_it() {
    let bundle = bundle(LOOK, |_| {});
    let receiver = receiver(&bundle, "console");
    line(&bundle, &receiver, "create --console-socket CONSOLE --pid-file pid ID").code(0);
    assert!(bundle.path().join("pid").exists());
    let (word, mut master) = receiver.received();
    assert_eq!(word, "/dev/ptmx");
    bundle.line("start ID").code(0);
    assert_eq!(everything(&mut master), SEEN);
}

#[test]
fn run_detached_sends_the_terminal() {
    let bundle = bundle(LOOK, |_| {});
    let receiver = receiver(&bundle, "console");
    line(&bundle, &receiver, "run -d --console-socket CONSOLE ID").code(0);
    assert_eq!(everything(&mut receiver.received().1), SEEN);
}

#[test]
fn a_terminal_belongs_to_the_user_in_the_containers_user_namespace() {
    let bundle = bundle(LOOK, |config| {
        config["process"]["user"] = json!({"uid": 1234, "gid": 1234});
        let mappings = json!([{"containerID": 0, "hostID": 300_000, "size": 65_536}]);
        config["linux"]["uidMappings"] = mappings.clone();
        config["linux"]["gidMappings"] = mappings;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    });
    fs::set_permissions(bundle.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let receiver = receiver(&bundle, "console");
    line(&bundle, &receiver, "run -d --console-socket CONSOLE ID").code(0);
    let seen = everything(&mut receiver.received().1);
    assert!(seen.starts_with("/dev/pts/0\n33 44\n88:0\n1234:5\ncontrolled\n"), "{seen}");
}

#[test]
fn exec_as_conmon_does_it() {
    let bundle = bundle("sleep 1000", |_| {});
    let first = receiver(&bundle, "first");
    line(&bundle, &first, "run -d --console-socket CONSOLE ID").code(0);
    let _console = first.received();
    let process = json!({
        "terminal": true, "args": ["sh", "-c", LOOK], "env": ["PATH=/bin"], "cwd": "/",
        "consoleSize": {"height": 5, "width": 6},
    });
    fs::write(bundle.path().join("process"), process.to_string()).unwrap();
    let receiver = receiver(&bundle, "console");
    let arguments = "exec --process process --console-socket CONSOLE --detach --pid-file pid ID";
    line(&bundle, &receiver, arguments).code(0);
    assert!(bundle.path().join("pid").exists());
    let (word, mut master) = receiver.received();
    assert_eq!(word, "/dev/ptmx");
    let seen = everything(&mut master);
    // /dev/console stays the first process's.
    assert!(seen.starts_with("/dev/pts/1\n5 6\n88:0\n0:5\ncontrolled\n/dev/pts/1\n"), "{seen}");
}

#[test]
fn input_reaches_the_process_and_resizing_is_seen() {
    let bundle = bundle("read word; echo got $word; read word; busybox stty size", |_| {});
    let receiver = receiver(&bundle, "console");
    line(&bundle, &receiver, "run -d --console-socket CONSOLE ID").code(0);
    let mut master = receiver.received().1;
    master.write_all(b"hello\n").unwrap();
    resize(&master, 12, 34);
    master.write_all(b"\n").unwrap();
    let seen = everything(&mut master);
    // The echo of the second line comes at any time.
    assert!(seen.contains("got hello\n") && seen.ends_with("12 34\n"), "{seen}");
}

#[test]
fn a_socket_path_may_be_longer_than_an_address() {
    let bundle = bundle(LOOK, |_| {});
    let long = bundle.path().join("d".repeat(200));
    fs::create_dir(&long).unwrap();
    // The listener is bound at a short name of the same directory.
    let short = scratch();
    let link = short.path().join("l");
    std::os::unix::fs::symlink(&long, &link).unwrap();
    let receiver = Receiver::at(link.join("s"));
    let path = long.join("s").display().to_string();
    bundle.husk(["run", "-d", "--console-socket", &path, "ID"]).code(0);
    assert_eq!(everything(&mut receiver.received().1), SEEN);
}

#[test]
fn a_missing_or_deaf_peer_is_an_error_and_leaves_nothing() {
    let missing = "connect: no such file or directory";
    let refused = "connect: connection refused";
    for (flag, words) in
        [("console-socket", "dial unix nobody: "), ("pidfd-socket", "dial unix nobody: ")]
    {
        let bundle = bundle("sleep 1000", |config| {
            config["process"]["terminal"] = json!(flag == "console-socket");
        });
        let path = bundle.path().join("nobody");
        for verb in ["create", "run -d"] {
            let arguments = format!("{verb} --{flag} nobody --pid-file pid ID");
            bundle.line(&arguments).fails(1, words).fails(1, missing);
        }
        drop(UnixListener::bind(&path).unwrap());
        bundle.line(&format!("create --{flag} nobody --pid-file pid ID")).fails(1, refused);
        assert!(!bundle.path().join("pid").exists());
        bundle.assert_gone();
    }
}

/// A peer that has accepted and closed: found out when the descriptor is sent. A hook keeps the
/// creation waiting until then.
#[test]
fn a_peer_that_hangs_up_is_an_error() {
    for (flag, words) in [
        ("console-socket", "send the terminal to the console socket: broken pipe"),
        ("pidfd-socket", "failed to send pidfd on socket: broken pipe"),
    ] {
        let gate = scratch();
        let gate = gate.path().join("gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let bundle = bundle("sleep 1000", |config| {
            config["process"]["terminal"] = json!(flag == "console-socket");
            config["hooks"] = json!({"createRuntime": [
                {"path": "/bin/busybox", "args": ["cat", gate]}
            ]});
        });
        let listener = UnixListener::bind(bundle.path().join("peer")).unwrap();
        let peer = std::thread::spawn(move || {
            drop(listener.accept().unwrap());
            fs::write(gate, "closed").unwrap();
        });
        let told = bundle.line(&format!("create --{flag} peer --pid-file pid ID"));
        peer.join().unwrap();
        told.fails(1, words);
        assert!(!bundle.path().join("pid").exists());
        bundle.assert_gone();
    }
}

#[test]
fn flags_that_do_not_go_together_are_refused_in_runcs_words() {
    let tty = "cannot allocate tty if runc will detach without setting console socket";
    let socket = "cannot use console socket if runc will not detach or allocate tty";
    for (terminal, arguments, code, words) in [
        (true, "create ID", 1, tty),
        (true, "run -d ID", 1, tty),
        (true, "run --console-socket x ID", 1, socket),
        (false, "create --console-socket x ID", 1, socket),
        (false, "run -d --console-socket x ID", 1, socket),
    ] {
        let bundle = bundle("true", |config| config["process"]["terminal"] = json!(terminal));
        bundle.line(arguments).fails(code, words);
        bundle.assert_gone();
    }
    let bundle = bundle("sleep 1000", |config| config["process"]["terminal"] = json!(false));
    bundle.line("run -d ID").code(0);
    for (arguments, words) in [
        ("exec -t -d --pid-file pid ID true", tty),
        ("exec -t --console-socket x --pid-file pid ID true", socket),
        ("exec -d --console-socket x --pid-file pid ID true", socket),
    ] {
        bundle.line(arguments).fails(255, words);
    }
    assert!(!bundle.path().join("pid").exists());
}

#[test]
fn pidfds_are_those_of_the_processes() {
    let bundle = bundle("sleep 1000", |config| config["process"]["terminal"] = json!(false));
    let receiver = receiver(&bundle, "pidfd");
    line(&bundle, &receiver, "create --pidfd-socket CONSOLE ID").code(0);
    let (word, init) = receiver.received();
    assert_eq!(word, "standard");
    assert_eq!(pid_of(&init), bundle.state()["pid"].as_u64().unwrap());
    bundle.line("start ID").code(0);
    let arguments = "exec -d --pid-file pid --pidfd-socket CONSOLE ID sleep 1000";
    line(&bundle, &receiver, arguments).code(0);
    let (word, further) = receiver.received();
    assert_eq!(word, "setns");
    let pid = fs::read_to_string(bundle.path().join("pid")).unwrap();
    assert_eq!(pid_of(&further), pid.parse::<u64>().unwrap());
    let arguments = "exec -d --pid-file none --pidfd-socket CONSOLE ID nothing-of-this-name";
    line(&bundle, &receiver, arguments).fails(255, "executable file not found");
    assert!(!bundle.path().join("none").exists());
}

/// Who would receive it is a question of create and run.
#[test]
fn a_plan_shows_the_terminal() {
    let bundle = bundle("true", |_| {});
    let told = bundle.line("plan ID").code(0);
    assert!(told.out.contains("Console uid=0 rows=33 columns=44"), "{told:?}");
}

/// As runc's: a caller that gives a created container up need not kill it.
#[test]
fn a_created_container_ends_on_the_signals_that_end_programs() {
    for signal in ["HUP", "INT", "QUIT", "TERM"] {
        let bundle = bundle("sleep 1000", |config| config["process"]["terminal"] = json!(false));
        bundle.line("create ID").code(0);
        bundle.line(&format!("kill ID {signal}")).code(0);
        bundle.await_status("stopped");
        bundle.line("start ID").fails(1, "cannot start a container that has stopped");
    }
    // The program has none of it.
    let bundle = bundle("sleep 1000", |config| config["process"]["terminal"] = json!(false));
    bundle.line("run -d ID").code(0);
    let status = fs::read_to_string(format!("/proc/{}/status", bundle.state()["pid"])).unwrap();
    assert!(status.contains("SigCgt:\t0000000000000000\n"), "{status}");
}

/// The process of a pidfd, as fdinfo has it.
fn pid_of(pidfd: &fs::File) -> u64 {
    let info = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = fs::read_to_string(info).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap();
    line.trim().parse().unwrap()
}
