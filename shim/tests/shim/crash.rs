//! What is left of a shim that is gone.

use std::fs;

use containerd_shim_protos::api::DeleteResponse;
use containerd_shim_protos::protobuf::Message;

use crate::support::{Pod, ended, eventually, kill, output};

#[test]
fn delete_removes_what_a_killed_shim_left() {
    let pod = Pod::new();
    let pid = pod.run("a", "sleep 1000");
    pod.exec("a", "x", "sleep 1000").unwrap();
    let exec = pod.start("a", "x");
    let shim = pod.shim_pid();
    kill(shim);
    eventually("the shim ends", || ended(shim).then_some(()));
    assert!(!ended(pid), "a container outlives its shim");
    let output = output(&mut pod.command("a", "delete"), b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let response = DeleteResponse::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!((response.pid, response.exit_status), (pid, 137));
    assert!(response.exited_at.seconds > 0);
    for pid in [pid, exec] {
        eventually("its processes end", || ended(pid).then_some(()));
    }
    assert!(fs::read_dir(pod.state()).unwrap().next().is_none());
    assert!(!pod.path().join("s/husk").exists(), "nothing stays of the socket");
    // The next one serves the same pod.
    pod.start_shim("a");
    pod.create("a");
    pod.start("a", "");
    pod.finish("a");
    pod.shut_down();
}

#[test]
fn delete_without_container_is_no_error() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |_| {});
    let output = output(&mut pod.command("a", "delete"), b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let response = DeleteResponse::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!((response.pid, response.exit_status), (0, 137));
}

#[test]
fn a_terminated_shim_leaves_its_containers() {
    let pod = Pod::new();
    let pid = pod.run("a", "sleep 1000");
    let shim = pod.shim_pid();
    let signaled = nix::unistd::Pid::from_raw(shim.cast_signed());
    nix::sys::signal::kill(signaled, nix::sys::signal::Signal::SIGTERM).unwrap();
    eventually("the shim ends", || ended(shim).then_some(()));
    assert!(!ended(pid));
}
