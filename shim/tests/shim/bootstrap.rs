//! What each containerd says to `start`, and reads back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::oci;
use serde_json::Value;

use crate::support::{Pod, eventually, kill, one_shim, output, processes, program};

/// A containerd before 2.3 names no directory for the socket: it is the machine's, covered by a
/// file system that only this shim sees.
fn start_in_namespace(pod: &Pod, containerd: &Path) -> String {
    let start = pod.command("a", "start");
    let words: Vec<_> = start.get_args().map(|word| word.to_os_string()).collect();
    let words: Vec<_> = words
        .into_iter()
        .map(|word| if word == "/nonexistent" { containerd.into() } else { word })
        .collect();
    let script = "mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(start.get_program())
        .args(words)
        .current_dir(pod.bundle("a"));
    let mut options = pod.options();
    let ignored = oci::Options { binary_name: "runc".to_owned(), ..Default::default() };
    options.value.extend(ignored.write_to_bytes().unwrap());
    let output = output(&mut command, &options.write_to_bytes().unwrap());
    // containerd reads both together.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    let shim = one_shim(pod);
    let address = fs::read_to_string(pod.bundle("a").join("address")).unwrap();
    let path = address.strip_prefix("unix://").unwrap();
    assert!(path.starts_with("/run/containerd/s/"), "{path}");
    let seen = format!("/proc/{shim}/root{path}");
    assert!(Path::new(&seen).exists());
    std::os::unix::net::UnixStream::connect(&seen).expect("it listens");
    kill(shim);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&address), "{text}");
    text
}

#[test]
fn containerd_1_reads_the_address() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |_| {});
    let told = start_in_namespace(&pod, "/nonexistent".as_ref());
    assert!(told.starts_with("unix:///run/containerd/s/"), "{told}");
    assert!(told.len() < 107, "{told}");
}

#[test]
fn containerd_2_reads_json() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |_| {});
    let containerd = pod.path().join("containerd");
    fs::write(&containerd, go_program()).unwrap();
    let told: Value = serde_json::from_str(&start_in_namespace(&pod, &containerd)).unwrap();
    assert_eq!((&told["version"], &told["protocol"]), (&3.into(), &"ttrpc".into()));
}

/// As much of a program as names its module.
fn go_program() -> Vec<u8> {
    let mut file = vec![0; 64];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file.extend_from_slice(b"\0.go.buildinfo\0");
    let module = b"path\tgithub.com/containerd/containerd/v2/cmd/containerd";
    file.extend_from_slice(module);
    let table = file.len() as u64;
    for (name, offset, size) in [(0u32, 64u64, 15u64), (1, 79, module.len() as u64)] {
        let mut section = [0; 64];
        section[..4].copy_from_slice(&name.to_le_bytes());
        section[0x18..0x20].copy_from_slice(&offset.to_le_bytes());
        section[0x20..0x28].copy_from_slice(&size.to_le_bytes());
        file.extend_from_slice(&section);
    }
    file[0x28..0x30].copy_from_slice(&table.to_le_bytes());
    file[0x3a..0x3c].copy_from_slice(&64u16.to_le_bytes());
    file[0x3c..0x3e].copy_from_slice(&2u16.to_le_bytes());
    file
}

#[test]
fn wrong_calls_are_refused_and_print_no_address() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |_| {});
    for words in [
        &["-id", "a", "start"][..],
        &["-namespace", "n", "start"],
        &["-namespace", "../n", "-id", "a", "start"],
        &["-namespace", "n", "-id", "a", "nonsense"],
        &["-namespace", "n", "-id", "a"],
        &["-nonsense"],
    ] {
        let output = output(program().args(words).current_dir(pod.path()), b"");
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(output.stdout.is_empty(), "containerd would take it for the address");
        assert!(!output.stderr.is_empty(), "{words:?}");
    }
    eventually("no shim is left", || processes(&pod.id(""), "-address").is_empty().then_some(()));
}

#[test]
fn the_version_is_the_packages() {
    let output = output(program().arg("-v"), b"");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
}

/// A group of its own that is removed in the end.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Self {
        // A hierarchy of v1, where there are such.
        let top = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
        let top = top.into_iter().find(|top| top.join("cgroup.procs").exists()).unwrap();
        fs::create_dir(top.join(name)).unwrap();
        Self(top.join(name))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What was killed in it may take a moment.
        eventually("the group is empty", || fs::remove_dir(&self.0).ok());
    }
}

fn start_in_group(pod: &Pod, group: &str) -> std::process::Output {
    let mut options = pod.options();
    let wanted = oci::Options { shim_cgroup: group.to_owned(), ..Default::default() };
    options.value.extend(wanted.write_to_bytes().unwrap());
    output(&mut pod.command("a", "start"), &options.write_to_bytes().unwrap())
}

#[test]
fn the_shim_lives_in_the_cgroup_of_its_options() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |_| {});
    let name = pod.id("group");
    let absent = start_in_group(&pod, &format!("/{name}"));
    let told = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(!absent.status.success() && absent.stdout.is_empty(), "{told}");
    assert!(told.contains(&format!("failed to join cgroup /{name}")), "{told}");
    eventually("no shim is left", || processes(&pod.id(""), "-address").is_empty().then_some(()));
    let group = Group::new(&name);
    let started = start_in_group(&pod, &format!("/{name}"));
    assert!(started.status.success(), "{started:?}");
    let shim = one_shim(&pod);
    let members = fs::read_to_string(group.0.join("cgroup.procs")).unwrap();
    assert_eq!(members.trim(), shim.to_string());
    kill(shim);
}
