//! Filters in the kernel: what processes of containers get for their calls.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::{Bundle, Told};

/// Puts a program of tests/probe into the root file system.
fn compile(bundle: &Bundle, name: &str) {
    let compile = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/probe/compile");
    let mut command = Command::new(compile);
    command.arg(name).arg(bundle.rootfs().join("bin").join(name));
    assert!(command.status().expect("a compiler").success());
}

/// Runs the probe's calls in a container with a profile.
fn probe(profile: &Value, no_new_privileges: bool, calls: &[&str]) -> Told {
    let args = [&["probe"], calls].concat();
    let bundle = Bundle::with(&args, |config| {
        config["linux"]["seccomp"] = profile.clone();
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
    });
    compile(&bundle, "probe");
    bundle.line("run ID")
}

fn answers(told: Told) -> Vec<i64> {
    let told = told.code(0);
    told.out.lines().map(|line| line.parse().unwrap()).collect()
}

fn rule(action: &str, errno: Option<u32>) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["getpgid"], "action": action, "errnoRet": errno }],
    })
}

const GETPGID: &str = "121,0";
const SIGSYS: i32 = 31;

#[test]
fn errno_answers_with_its_errno_with_and_without_new_privileges() {
    for no_new_privileges in [false, true] {
        let told = probe(&rule("SCMP_ACT_ERRNO", Some(77)), no_new_privileges, &[GETPGID, "39"]);
        let answers = answers(told);
        assert_eq!(answers[0], -77);
        assert!(answers[1] > 0, "getpid is not filtered: {answers:?}");
    }
    assert_eq!(answers(probe(&rule("SCMP_ACT_ERRNO", None), true, &[GETPGID])), [-1]);
}

#[test]
fn trace_without_a_tracer_is_enosys() {
    assert_eq!(answers(probe(&rule("SCMP_ACT_TRACE", Some(7)), true, &[GETPGID])), [-38]);
}

#[test]
fn log_lets_the_call_through() {
    assert!(answers(probe(&rule("SCMP_ACT_LOG", None), true, &[GETPGID]))[0] >= 0);
}

#[test]
fn killing_actions_end_the_process_by_sigsys() {
    for action in
        ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"]
    {
        let told = probe(&rule(action, None), true, &["39", GETPGID, "39"]).code(128 + SIGSYS);
        assert_eq!(told.out.lines().count(), 1, "{action}: {told:?}");
    }
}

#[test]
fn conditions_are_on_all_64_bits_of_an_argument() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{
            "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
            "args": [{ "index": 2, "value": 0x1_0000_0005_u64, "op": "SCMP_CMP_GE" }],
        }],
    });
    let calls = ["140,0,0,0x100000004", "140,0,0,0x100000005", "140,0,0,0x200000000", "140,0,0,7"];
    let answers = answers(probe(&profile, true, &calls));
    let filtered: Vec<bool> = answers.iter().map(|answer| *answer == -77).collect();
    assert_eq!(filtered, [false, true, true, false]);
}

fn docker() -> Value {
    serde_json::from_str(include_str!("../../libcontainer/tests/data/seccomp/docker.json")).unwrap()
}

#[test]
fn dockers_profile_answers_as_dockers_users_expect() {
    // clone3, io_uring_setup, a number newer than the profile, an unknown personality, x32's getpid.
    let calls = ["435,0,0", "425,1,0", "600", "135,0x1234", "0x40000027", "39"];
    let answers = answers(probe(&docker(), true, &calls));
    assert_eq!(answers[..4], [-38, -1, -38, -1], "{answers:?}");
    assert!(answers[5] > 0);
}

#[test]
fn programs_of_32_bits_work_with_dockers_profile() {
    let bundle = Bundle::with(&["probe32"], |config| config["linux"]["seccomp"] = docker());
    compile(&bundle, "probe32");
    bundle.line("run ID").code(0);
}

#[test]
fn processes_of_exec_are_filtered() {
    let bundle = Bundle::with(&["sleep", "1000"], |config| {
        config["linux"]["seccomp"] = rule("SCMP_ACT_ERRNO", Some(77));
    });
    compile(&bundle, "probe");
    bundle.detached("run --detach ID").code(0);
    let told = bundle.husk(["exec", "ID", "probe", GETPGID]);
    assert_eq!(answers(told), [-77]);
}

/// A seccomp agent: takes one listener and answers each notification in its way.
const AGENT: &str = r#"
import fcntl, json, os, signal, socket, struct, sys, time
RECV, SEND, ADDFD = 0xC0502100, 0xC0182101, 0x40182103
path, way = sys.argv[1:]
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind(path)
server.listen()
print("ready", flush=True)
connection, _ = server.accept()
state, (listener, *more), _, _ = socket.recv_fds(connection, 65536, 8)
print(state.decode(), flush=True)
assert not more, more
if way == "die":
    sys.exit()
while True:
    notification = bytearray(80)
    try:
        fcntl.ioctl(listener, RECV, notification)
    except FileNotFoundError:  # the process is gone
        break
    cookie, pid = struct.unpack_from("QI", notification)
    if way == "open":
        source, content = os.pipe()
        os.write(content, b"from the agent\n")
        os.close(content)
        fcntl.ioctl(listener, ADDFD, struct.pack("QIIII", cookie, 2, source, 0, 0))
        os.close(source)
        continue
    if way == "signal":
        os.kill(pid, signal.SIGUSR1)
        pending = 0
        for _ in range(3000):
            status = open(f"/proc/{pid}/status").read().split()
            pending = int(status[status.index("ShdPnd:") + 1], 16)
            if pending:
                break
            time.sleep(0.01)
    fcntl.ioctl(listener, SEND, struct.pack("QqiI", cookie, 4242, 0, 0))
"#;

struct Agent {
    process: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Agent {
    fn start(socket: &Path, way: &str) -> Self {
        let mut process = Command::new("python3")
            .args(["-c", AGENT])
            .arg(socket)
            .arg(way)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3: tools/setup installs it");
        let lines = BufReader::new(process.stdout.take().unwrap());
        let mut agent = Self { process, lines };
        assert_eq!(agent.line(), "ready\n");
        agent
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("the agent ends");
    }
}

fn notifying(call: &str, args: &[&str], socket: &str, flags: &[&str]) -> Bundle {
    Bundle::with(args, |config| {
        config["process"]["noNewPrivileges"] = json!(true);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "flags": flags,
            "listenerPath": socket,
            "listenerMetadata": "what the agent knows",
            "syscalls": [{ "names": [call], "action": "SCMP_ACT_NOTIFY" }],
        });
    })
}

#[test]
fn an_agent_answers_openat_with_a_descriptor_of_its_own() {
    let directory = support::scratch();
    let socket = directory.path().join("agent");
    let mut agent = Agent::start(&socket, "open");
    let bundle = notifying("openat", &["cat", "/no/such/file"], socket.to_str().unwrap(), &[]);
    let told = bundle.line("run ID").code(0);
    assert_eq!(told.out, "from the agent\n");
    let state: Value = serde_json::from_str(&agent.line()).unwrap();
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["metadata"], "what the agent knows");
    assert!(state["pid"].as_i64() > Some(0), "{state}");
    assert_eq!(state["state"]["id"], bundle.id());
    assert_eq!(state["state"]["status"], "creating");
    assert_eq!(state["state"]["bundle"], bundle.path().to_str().unwrap());
}

#[test]
fn without_its_agent_a_notifying_call_is_enosys() {
    let directory = support::scratch();
    let socket = directory.path().join("agent");
    let _agent = Agent::start(&socket, "die");
    let bundle = notifying("getpgid", &["probe", GETPGID], socket.to_str().unwrap(), &[]);
    compile(&bundle, "probe");
    assert_eq!(answers(bundle.line("run ID")), [-38]);
}

#[test]
fn signals_do_not_interrupt_a_call_that_waits_killable() {
    let directory = support::scratch();
    let socket = directory.path().join("agent");
    let _agent = Agent::start(&socket, "signal");
    let flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"];
    let bundle = notifying("getpgid", &["probe", GETPGID], socket.to_str().unwrap(), &flags);
    compile(&bundle, "probe");
    assert_eq!(answers(bundle.line("run ID")), [4242]);
}

#[test]
fn a_missing_agent_is_an_error_of_create() {
    let directory = support::scratch();
    let socket = directory.path().join("agent");
    let socket = socket.to_str().unwrap();
    let bundle = notifying("getpgid", &["true"], socket, &[]);
    bundle.line("run ID").fails(1, socket);
}
