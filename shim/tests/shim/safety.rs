//! Who may use the socket, and what is out of the containers' reach.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::support::Pod;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

#[test]
fn the_socket_is_for_its_owner_and_has_no_abstract_name() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |_| {});
    let address = pod.start_shim("a");
    let path = Path::new(address.strip_prefix("unix://").unwrap());
    assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700));
    let pid = pod.shim_pid();
    let inodes: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            let link = link.to_string_lossy().into_owned();
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    assert!(!inodes.is_empty());
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if inodes.iter().any(|inode| fields.get(6) == Some(&inode.as_str())) {
            assert!(!fields.get(7).is_some_and(|name| name.starts_with('@')), "{line}");
        }
    }
    pod.shut_down();
}

/// Sends the request Connect, and tells how many bytes of an answer come before the end.
const ASK: &str = "
import socket, struct, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
text = lambda field, value: bytes([field << 3 | 2, len(value)]) + value
request = text(1, b'containerd.task.v2.Task') + text(2, b'Connect')
try:
    peer.sendall(struct.pack('>IIBB', len(request), 1, 1, 0) + request)
    print(len(peer.recv(4096)))
except (BrokenPipeError, ConnectionResetError):
    print(0)
";

#[test]
fn other_users_are_refused_even_if_the_modes_allow_them() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |_| {});
    let address = pod.start_shim("a");
    let path = Path::new(address.strip_prefix("unix://").unwrap());
    for (path, mode) in [
        (pod.path(), 0o755),
        (&pod.path().join("s"), 0o755),
        (path.parent().unwrap(), 0o755),
        (path, 0o666),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let answer = |uid: u32| -> usize {
        let mut command = Command::new("/usr/bin/python3");
        let output = command.args(["-c", ASK]).arg(path).uid(uid).gid(uid).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    assert_eq!(answer(65534), 0);
    assert!(answer(0) > 0);
    pod.shut_down();
}

#[test]
fn the_program_is_out_of_reach_and_the_containers_signals_are_free() {
    let pod = Pod::new();
    // A shell would ignore signals of its own accord.
    let program = serde_json::json!(["sleep", "1000"]);
    pod.write_bundle("a", "", |config| config["process"]["args"] = program);
    pod.start_shim("a");
    let pid = pod.create("a");
    pod.start("a", "");
    let shim = pod.shim_pid();
    let program = format!("/proc/{shim}/exe");
    let opened = fs::File::options().write(true).open(&program);
    assert!(opened.is_err(), "the shim's program can be written");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("SigBlk:\t0000000000000000"), "{status}");
    assert!(status.contains("SigIgn:\t0000000000000000"), "{status}");
    // containerd is to outlive the shim.
    let score = |pid: &str| -> i32 {
        let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        text.trim().parse().unwrap()
    };
    assert_eq!(score(&shim.to_string()), (score("self") + 1).min(1000));
    pod.finish("a");
}
