//! Standard streams, terminals and other descriptors.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::scene::{COUNTER, IGNORE, Scene};
use crate::support::Receiver;

#[test]
fn standard_streams_are_connected_anew() {
    let script = "while read line; do echo said $line; done; echo end >&2";
    let Some(scene) = Scene::new(script, |_| {}) else { return };
    let pipes = || {
        let (stdin, to) = std::io::pipe().unwrap();
        let (out, stdout) = std::io::pipe().unwrap();
        let (err, stderr) = std::io::pipe().unwrap();
        ((stdin, stdout, stderr), to, out, err)
    };
    let ((stdin, stdout, stderr), to, out, err) = pipes();
    let mut command = scene.command();
    command.args(["run", "-d", scene.bundle.id()]).stdin(stdin).stdout(stdout).stderr(stderr);
    assert!(command.status().unwrap().success());
    drop(command);
    scene.checkpoint("");
    drop((to, out, err));

    let ((stdin, stdout, stderr), mut to, out, err) = pipes();
    let mut command = scene.command();
    command.args(["restore", "-d", "--image-path", "images"]);
    command.args(["--manage-cgroups-mode", "ignore", scene.bundle.id()]);
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    assert!(command.status().unwrap().success());
    drop(command);
    std::io::Write::write_all(&mut to, b"hello\n").unwrap();
    drop(to);
    let read = |pipe| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut { pipe }, &mut text).unwrap();
        text
    };
    assert_eq!((read(out), read(err)), ("said hello\n".to_owned(), "end\n".to_owned()));
    scene.bundle.await_status("stopped");
}

#[test]
fn a_terminal_comes_back() {
    let script = "while read line; do echo \"got $line\"; done";
    let Some(scene) = Scene::new(script, |config| config["process"]["terminal"] = json!(true))
    else {
        return;
    };
    let receiver = Receiver::at(scene.bundle.path().join("console"));
    let path = receiver.path().display().to_string();
    scene.line(&format!("run -d --console-socket {path} ID")).code(0);
    let (_, master) = receiver.received();
    scene.checkpoint("--shell-job");
    drop(master);
    scene
        .line("restore -d --image-path images ID")
        .fails(1, "cannot allocate tty if runc will detach without setting console socket");
    scene
        .line(&format!(
            "restore -d --shell-job --image-path images {IGNORE} --console-socket {path} ID"
        ))
        .code(0);
    let (_, master) = receiver.received();
    std::io::Write::write_all(&mut &master, b"hello\n").unwrap();
    let seen = eventually_read(&master, "got hello");
    assert!(seen.contains("got hello"), "{seen}");
}

fn eventually_read(master: &fs::File, wanted: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        let mut buffer = [0; 256];
        let length = std::io::Read::read(&mut &*master, &mut buffer).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    seen
}

/// A datagram socket whose other end is somebody else's, found again by its name.
#[test]
fn a_socket_that_leads_outside_is_connected_again() {
    let outside = crate::support::scratch();
    let place = outside.path().to_path_buf();
    let script = "while :; do echo tick >&0; sleep 0.02; done";
    let Some(scene) = Scene::new(script, |config| {
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": place, "source": place, "options": ["rbind", "rw"],
        }));
        // The socket is of the network in which this test made it.
        config["linux"]["namespaces"].as_array_mut().unwrap().remove(1);
    }) else {
        return;
    };
    let server = UnixDatagram::bind(outside.path().join("log")).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let client = UnixDatagram::unbound().unwrap();
    client.connect(outside.path().join("log")).unwrap();
    let mut command = scene.command();
    command.args(["run", "-d", scene.bundle.id()]).stdin(OwnedFd::from(client));
    let null = || std::process::Stdio::null();
    assert!(command.stdout(null()).stderr(null()).status().unwrap().success());
    drop(command);
    let mut text = [0; 16];
    server.recv(&mut text).unwrap();
    let told = scene.line(&format!("checkpoint --image-path refused {IGNORE} ID"));
    let told = told.fails(1, "criu failed: type DUMP errno");
    assert!(told.err.contains("--ext-unix-sk"), "{told:?}");
    scene.checkpoint("--ext-unix-sk");
    server.set_nonblocking(true).unwrap();
    while server.recv(&mut text).is_ok() {}
    server.set_nonblocking(false).unwrap();
    scene.restore("--ext-unix-sk");
    let length = server.recv(&mut text).unwrap();
    assert_eq!(&text[..length], b"tick\n");
}

#[test]
fn locks_of_files_are_held_again() {
    let script = format!("exec 9>/locked; flock -x 9 || exit; {COUNTER}");
    let Some(scene) = Scene::new(&script, |_| {}) else { return };
    scene.add_program("flock");
    let scene = scene.running();
    let held = || {
        let file = scene.bundle.rootfs().join("locked");
        let status = Command::new("flock").arg("-n").arg(file).arg("true").status();
        !status.unwrap().success()
    };
    assert!(held());
    let told = scene.line(&format!("checkpoint --image-path refused {IGNORE} ID"));
    let told = told.fails(1, "criu failed: type DUMP errno");
    assert!(told.err.contains("--file-locks"), "{told:?}");
    scene.checkpoint("--file-locks");
    assert!(!held());
    scene.restore("--file-locks");
    assert!(held());
    scene.counts_on();
}

/// A file that has lost its name, and has another one.
#[test]
fn an_unlinked_file_gets_a_name_again() {
    let script = format!("echo kept > /one; ln /one /two; exec 8</one; rm /one; {COUNTER}");
    let Some(scene) = Scene::new(&script, |_| {}) else { return };
    let scene = scene.running();
    let told = scene.line(&format!("checkpoint --image-path refused {IGNORE} ID"));
    let told = told.fails(1, "criu failed: type DUMP errno");
    assert!(told.err.contains("link-remap"), "{told:?}");
    scene.checkpoint("--link-remap");
    scene.restore("");
    scene.counts_on();
    let told = scene.line("exec ID cat /proc/1/fd/8").code(0);
    assert_eq!(told.out, "kept\n");
    let names = fs::read_dir(scene.bundle.rootfs()).unwrap().flatten();
    let left: Vec<_> = names
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.contains("link_remap"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
