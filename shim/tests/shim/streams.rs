//! Output and input of containers, through the FIFOs that containerd would make.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use containerd_shim_protos::api;
use containerd_shim_protos::ttrpc;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::support::{Pod, context, eventually};

const KILLED: u32 = 137;

/// A new FIFO beside a container's bundle.
fn fifo(pod: &Pod, name: &str) -> String {
    let path = pod.path().join(name);
    mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    path.display().to_string()
}

/// Reads a FIFO on a thread until its end.
fn reader(path: &str) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    thread::spawn(move || sender.send(fs::read(path).unwrap()).unwrap());
    receiver
}

#[track_caller]
fn received(reader: &Receiver<Vec<u8>>) -> Vec<u8> {
    eventually("the end of a FIFO", || reader.try_recv().ok())
}

/// Creates a container with these streams.
fn create(pod: &Pod, short: &str, stdin: &str, stdout: &str, terminal: bool) {
    let request = api::CreateTaskRequest {
        stdin: stdin.into(),
        stdout: stdout.into(),
        terminal,
        ..pod.create_request(short)
    };
    pod.client().create(context(), &request).expect("create");
}

/// Asks for a further process with these streams, and does not start it.
fn exec(pod: &Pod, exec: &str, args: &[&str], stdin: &str, stdout: &str, terminal: bool) {
    let process = json!({
        "terminal": terminal, "args": args, "cwd": "/", "env": ["PATH=/bin"],
        "user": { "uid": 0, "gid": 0 },
    });
    let spec = containerd_shim_protos::protobuf::well_known_types::any::Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
        value: process.to_string().into_bytes(),
        ..Default::default()
    };
    let request = api::ExecProcessRequest {
        id: pod.id("a"),
        exec_id: exec.into(),
        stdin: stdin.into(),
        stdout: stdout.into(),
        terminal,
        spec: Some(spec).into(),
        ..Default::default()
    };
    pod.client().exec(context(), &request).expect("exec");
}

/// Writes a program by another process: a child that is forked meanwhile would hold it open.
fn program(pod: &Pod, name: &str, text: &str) -> String {
    let path = pod.path().join(name).display().to_string();
    let script = "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"";
    let status = Command::new("sh").args(["-c", script, "sh", text, &path]).status().unwrap();
    assert!(status.success());
    path
}

fn close_stdin(pod: &Pod, exec: &str) {
    let request = api::CloseIORequest {
        id: pod.id("a"),
        exec_id: exec.into(),
        stdin: true,
        ..Default::default()
    };
    pod.client().close_io(context(), &request).expect("close");
}

fn resize(pod: &Pod, exec: &str, width: u32, height: u32) -> ttrpc::Result<()> {
    let request = api::ResizePtyRequest {
        id: pod.id("a"),
        exec_id: exec.into(),
        width,
        height,
        ..Default::default()
    };
    pod.client().resize_pty(context(), &request).map(drop)
}

/// Bytes without a pattern.
fn random(length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open("/dev/urandom").unwrap().take(length).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A tool of the host is the judge.
fn checksum(path: &PathBuf) -> String {
    let told = Command::new("sha256sum").arg(path).output().unwrap();
    assert!(told.status.success());
    String::from_utf8(told.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn a_hundred_mebibytes_arrive_although_the_container_exits_at_once() {
    let pod = Pod::new();
    pod.write_bundle("a", "exec cat /bytes", |_| {});
    let source = pod.bundle("a").join("rootfs/bytes");
    fs::write(&source, random(100 << 20)).unwrap();
    pod.start_shim("a");
    let output = fifo(&pod, "output");
    let reader = reader(&output);
    create(&pod, "a", "", &output, false);
    pod.start("a", "");
    assert_eq!(pod.wait("a", "").exit_status, 0);
    // As containerd's client does, the end of the output is waited for before the deletion.
    let arrived = pod.path().join("arrived");
    fs::write(&arrived, received(&reader)).unwrap();
    assert_eq!(checksum(&arrived), checksum(&source));
    pod.delete("a", "").unwrap();
}

#[test]
fn input_reaches_the_container_until_it_is_closed() {
    let pod = Pod::new();
    pod.write_bundle("a", "cat; echo end; exit 3", |_| {});
    pod.start_shim("a");
    let (input, output) = (fifo(&pod, "input"), fifo(&pod, "output"));
    let reader = reader(&output);
    create(&pod, "a", &input, &output, false);
    pod.start("a", "");
    let mut writer = File::options().write(true).open(&input).unwrap();
    writer.write_all(b"words\n").unwrap();
    close_stdin(&pod, "");
    writer.write_all(b"more\n").unwrap();
    drop(writer);
    assert_eq!(pod.wait("a", "").exit_status, 3);
    assert_eq!(received(&reader), b"words\nmore\nend\n");
    pod.delete("a", "").unwrap();
}

#[test]
fn input_that_is_closed_before_the_start_ends() {
    let pod = Pod::new();
    pod.run("a", "sleep 1000");
    let (input, output) = (fifo(&pod, "input"), fifo(&pod, "output"));
    let reader = reader(&output);
    exec(&pod, "x", &["cat"], &input, &output, false);
    // containerd's client has the FIFO open before it asks for the process.
    let mut both_ends = File::options().read(true).write(true).open(&input).unwrap();
    both_ends.write_all(b"through\n").unwrap();
    close_stdin(&pod, "x");
    pod.start("a", "x");
    drop(both_ends);
    assert_eq!(pod.wait("a", "x").exit_status, 0);
    assert_eq!(received(&reader), b"through\n");
    pod.delete("a", "x").unwrap();
    pod.finish("a");
}

#[test]
fn a_reader_that_stopped_delays_nobody_else() {
    let pod = Pod::new();
    pod.write_bundle("a", "exec cat /dev/zero", |_| {});
    pod.start_shim("a");
    let output = fifo(&pod, "output");
    let stopped = File::options().read(true).write(true).open(&output).unwrap();
    create(&pod, "a", "", &output, false);
    pod.start("a", "");
    for name in ["x", "y", "z"] {
        let echoed = fifo(&pod, name);
        let reader = reader(&echoed);
        exec(&pod, name, &["echo", "here"], "", &echoed, false);
        pod.start("a", name);
        assert_eq!(received(&reader), b"here\n");
        assert_eq!(pod.wait("a", name).exit_status, 0);
        pod.delete("a", name).unwrap();
    }
    pod.kill("a", "", libc::SIGKILL).unwrap();
    assert_eq!(pod.wait("a", "").exit_status, KILLED);
    // What was under way is there when the reader comes back.
    let reader = reader(&output);
    drop(stopped);
    assert!(received(&reader).len() >= 64 * 1024);
    pod.delete("a", "").unwrap();
}

#[test]
fn a_logger_that_is_not_ready_delays_nobody_else() {
    let pod = Pod::new();
    pod.run("other", "sleep 1000");
    pod.write_bundle("a", "echo out; echo err >&2; > /written; sleep 1000", |_| {});
    let text = "#!/bin/sh\ncd \"$2\"\n> waiting\nuntil [ -e free ]; do sleep 0.02; done\n\
                exec 5>&-\ncat <&3 > logged &\ncat <&4 > logged-too\nwait\n\
                echo $CONTAINER_ID > done\n";
    let logger = program(&pod, "logger", text);
    let uri = format!("binary://{logger}?directory={}", pod.path().display());
    thread::scope(|scope| {
        let created = scope.spawn(|| create(&pod, "a", "", &uri, false));
        let waiting = pod.path().join("waiting");
        eventually("the logger waits", || waiting.exists().then_some(()));
        pod.finish("other");
        assert!(!created.is_finished(), "the creation waits for the logger");
        fs::write(pod.path().join("free"), "").unwrap();
        created.join().unwrap();
    });
    pod.start("a", "");
    let read = |name: &str| fs::read_to_string(pod.path().join(name)).unwrap_or_default();
    let written = pod.bundle("a").join("rootfs/written");
    eventually("output", || written.exists().then_some(()));
    pod.finish("a");
    // The deletion waits until the logger has taken everything.
    assert_eq!((read("logged"), read("logged-too")), ("out\n".into(), "err\n".into()));
    assert_eq!(read("done").trim(), pod.id("a"));
}

#[test]
fn a_logger_that_dies_costs_the_container_its_output_alone() {
    let pod = Pod::new();
    let script = "echo one; until [ -e /free ]; do sleep 0.02; done; cat /bytes; exit 4";
    pod.write_bundle("a", script, |_| {});
    let rootfs = pod.bundle("a").join("rootfs");
    fs::write(rootfs.join("bytes"), vec![b'x'; 1 << 20]).unwrap();
    pod.start_shim("a");
    let text = "#!/bin/sh\nexec 5>&-\nread line <&3\n> \"$2/dead\"\n";
    let logger = program(&pod, "logger", text);
    let uri = format!("binary://{logger}?directory={}", pod.path().display());
    create(&pod, "a", "", &uri, false);
    pod.start("a", "");
    let dead = pod.path().join("dead");
    eventually("the logger's death", || dead.exists().then_some(()));
    fs::write(rootfs.join("free"), "").unwrap();
    assert_eq!(pod.wait("a", "").exit_status, 4);
    pod.delete("a", "").unwrap();
}

#[test]
fn a_terminal_is_resized_and_its_last_bytes_arrive() {
    let pod = Pod::new();
    pod.write_bundle("a", "while :; do stty size; read line || exit 1; done", |config| {
        config["process"]["terminal"] = json!(true);
        let devpts = json!({
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
        });
        config["mounts"].as_array_mut().unwrap().push(devpts);
    });
    pod.start_shim("a");
    let (input, output) = (fifo(&pod, "input"), fifo(&pod, "output"));
    let reader = reader(&output);
    create(&pod, "a", &input, &output, true);
    resize(&pod, "", 132, 43).unwrap();
    pod.start("a", "");
    let mut keys = File::options().write(true).open(&input).unwrap();
    keys.write_all(b"once more\n\x04").unwrap();
    assert_eq!(pod.wait("a", "").exit_status, 1);
    let text = String::from_utf8(received(&reader)).unwrap();
    assert_eq!(text.matches("43 132\r\n").count(), 2, "{text:?}");
    pod.delete("a", "").unwrap();
}

#[test]
fn terminals_that_are_resized_and_closed_early_leave_nothing() {
    let pod = Pod::new();
    pod.write_bundle("a", "exec sleep 1000", |config| {
        let devpts = json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts" });
        config["mounts"].as_array_mut().unwrap().push(devpts);
    });
    pod.start_shim("a");
    pod.create("a");
    pod.start("a", "");
    let output = fifo(&pod, "output");
    let shim = pod.shim_pid();
    let mut before = 0;
    for round in 0..40 {
        for name in ["x", "y"] {
            exec(&pod, name, &["sleep", "1000"], "", &output, true);
            pod.start("a", name);
        }
        resize(&pod, "x", 80, 25).unwrap();
        resize(&pod, "y", 81, 26).unwrap();
        for name in ["x", "y"] {
            pod.kill("a", name, libc::SIGKILL).unwrap();
            assert_eq!(pod.wait("a", name).exit_status, KILLED);
            pod.delete("a", name).unwrap();
        }
        if round == 5 {
            before = descriptors(shim);
        }
    }
    // Connections of the test itself come and go.
    eventually("as few descriptors as before", || (descriptors(shim) <= before).then_some(()));
    pod.finish("a");
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}
