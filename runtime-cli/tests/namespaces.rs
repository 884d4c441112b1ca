//! Namespaces: new, joined and shared, with and without a user namespace.
#![allow(missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Bundle, Told, copy_program};

/// Kind, and its name below /proc/PID/ns.
const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

const LIST: &str = "for n in pid net mnt ipc uts user cgroup time; do \
                    echo $n $(readlink /proc/self/ns/$n); done";

fn listed(told: &Told) -> BTreeMap<String, String> {
    told.out
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, inode)| (name.to_owned(), inode.to_owned()))
        .collect()
}

fn of_process(pid: u64) -> BTreeMap<String, String> {
    KINDS
        .iter()
        .map(|(_, name)| {
            let inode = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
            ((*name).to_owned(), inode.to_string_lossy().into_owned())
        })
        .collect()
}

fn own() -> BTreeMap<String, String> {
    of_process(std::process::id().into())
}

/// Every id is another one of the host.
const FIRST: u32 = 200_000;

fn mapping() -> Value {
    json!([{"containerID": 0, "hostID": FIRST, "size": 65536}])
}

fn with_namespaces(args: &[&str], namespaces: Value) -> Bundle {
    let bundle = Bundle::with(args, |config| {
        let kinds: Vec<&Value> =
            namespaces.as_array().unwrap().iter().map(|entry| &entry["type"]).collect();
        let has = |kind: &str| kinds.iter().any(|known| **known == kind);
        if !has("uts") {
            config.as_object_mut().unwrap().remove("hostname");
        }
        let new_user = namespaces
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["type"] == "user" && entry.get("path").is_none());
        if new_user {
            config["linux"]["uidMappings"] = mapping();
            config["linux"]["gidMappings"] = mapping();
        }
        config["linux"]["namespaces"] = namespaces;
    });
    // Root of a user namespace is a stranger here.
    fs::set_permissions(bundle.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    own_tree(&bundle.rootfs());
    bundle
}

fn own_tree(directory: &Path) {
    chown(directory, Some(FIRST), Some(FIRST)).unwrap();
    for name in ["dev", "etc", "proc", "sys", "tmp"] {
        chown(directory.join(name), Some(FIRST), Some(FIRST)).unwrap();
    }
}

/// A running container to join.
fn running(namespaces: Value) -> (Bundle, u64) {
    let bundle = with_namespaces(&["sleep", "1000"], namespaces);
    bundle.detached("run --detach ID").code(0);
    let state = bundle.state();
    assert_eq!(state["status"], "running", "{state}: {}", bundle.output());
    (bundle, state["pid"].as_u64().unwrap())
}

fn entry(kind: &str) -> Value {
    json!({"type": kind})
}

fn joined(kind: &str, pid: u64) -> Value {
    let name = KINDS.iter().find(|(known, _)| *known == kind).unwrap().1;
    json!({"type": kind, "path": format!("/proc/{pid}/ns/{name}")})
}

fn run(namespaces: Value) -> BTreeMap<String, String> {
    listed(&with_namespaces(&["sh", "-c", LIST], namespaces).line("run ID").code(0))
}

#[test]
fn each_is_new_or_the_callers() {
    let own = own();
    for (kind, name) in KINDS.iter().filter(|(kind, _)| !matches!(*kind, "mount" | "pid")) {
        let seen = run(json!([entry("mount"), entry("pid"), entry(kind)]));
        for (other, inode) in &seen {
            let new = [name, "mnt", "pid"].contains(&other.as_str());
            // A user namespace owns the others, which then are new or joined.
            assert_eq!(*inode != own[other], new, "{other} with {kind}");
        }
    }
}

#[test]
fn all_at_once() {
    let own = own();
    let seen = run(KINDS.iter().map(|(kind, _)| entry(kind)).collect());
    assert_eq!(seen.len(), KINDS.len());
    for (name, inode) in seen {
        assert_ne!(inode, own[&name], "{name}");
    }
}

#[test]
fn each_can_be_joined() {
    let all: Value =
        KINDS.iter().filter(|(kind, _)| *kind != "user").map(|(kind, _)| entry(kind)).collect();
    let (_first, pid) = running(all);
    let theirs = of_process(pid);
    for (kind, name) in KINDS.iter().filter(|(kind, _)| !matches!(*kind, "user" | "mount")) {
        let mut namespaces = vec![entry("mount"), joined(kind, pid)];
        if *kind != "pid" {
            namespaces.push(entry("pid"));
        }
        let seen = run(namespaces.into());
        assert_eq!(seen[*name], theirs[*name], "{kind}");
    }
    let together = ["pid", "network", "ipc", "uts", "cgroup", "time"].map(|kind| joined(kind, pid));
    let seen = run([&[entry("mount")][..], &together].concat().into());
    for (name, inode) in seen {
        assert_eq!(inode == theirs[&name], name != "mnt", "{name}");
    }
}

/// What a pod does: its containers join the namespaces of the first one, with a new or the same
/// user namespace.
#[test]
fn user_namespaces_and_joined_ones() {
    let (_host, host_pid) = running(json!([
        entry("mount"),
        entry("pid"),
        entry("network"),
        entry("ipc"),
        entry("uts")
    ]));
    let hosts = of_process(host_pid);
    // New user namespace, network of the host's user namespace.
    let seen = run(json!([
        entry("mount"),
        entry("pid"),
        entry("uts"),
        entry("user"),
        joined("network", host_pid),
        joined("ipc", host_pid)
    ]));
    assert_eq!((&seen["net"], &seen["ipc"]), (&hosts["net"], &hosts["ipc"]));
    assert_ne!(seen["user"], own()["user"]);

    let (_pod, pid) = running(json!([
        entry("mount"),
        entry("pid"),
        entry("network"),
        entry("ipc"),
        entry("uts"),
        entry("user")
    ]));
    let pod = of_process(pid);
    // The user namespace alone, with a new pid namespace, with joined ones of both owners.
    for namespaces in [
        json!([entry("mount"), joined("user", pid)]),
        json!([entry("mount"), entry("pid"), joined("user", pid)]),
        json!([entry("mount"), joined("pid", pid), joined("user", pid)]),
        json!([
            entry("mount"),
            entry("pid"),
            joined("user", pid),
            joined("network", pid),
            joined("ipc", pid),
            joined("uts", pid)
        ]),
        json!([entry("mount"), entry("pid"), joined("user", pid), joined("network", host_pid)]),
    ] {
        let seen = run(namespaces.clone());
        assert_eq!(seen["user"], pod["user"], "{namespaces}");
        let joins =
            |kind: &str, pid: u64| namespaces.as_array().unwrap().contains(&joined(kind, pid));
        assert_eq!(seen["net"] == pod["net"], joins("network", pid), "{namespaces}");
        assert_eq!(seen["net"] == hosts["net"], joins("network", host_pid), "{namespaces}");
        assert_eq!(seen["pid"] == pod["pid"], joins("pid", pid), "{namespaces}");
    }
}

#[test]
fn mappings_are_those_of_the_configuration() {
    let script = "cat /proc/self/uid_map; id; : > /tmp/made; busybox stat -c %u:%g /tmp/made; \
                  busybox stat -c %u /proc/self/ns";
    let namespaces = json!([
        entry("mount"),
        entry("pid"),
        entry("network"),
        entry("ipc"),
        entry("uts"),
        entry("user")
    ]);
    let bundle = with_namespaces(&["sh", "-c", script], namespaces.clone());
    let told = bundle.line("run ID").code(0);
    let first = told.out.lines().next().unwrap();
    let words: Vec<&str> = first.split_whitespace().collect();
    assert_eq!(words, ["0", "200000", "65536"]);
    assert!(told.out.contains("uid=0 gid=0"), "{told:?}");
    let made = fs::metadata(bundle.rootfs().join("tmp/made")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), FIRST);
    for (change, place) in [
        (json!([]), "/linux/uidMappings"),
        (json!([{"containerID": 1, "hostID": FIRST, "size": 1}]), "/linux/uidMappings"),
        (json!([{"containerID": 0, "hostID": FIRST, "size": 0}]), "/linux/uidMappings/0/size"),
    ] {
        let mut config = bundle.config(&["true"]);
        config["linux"]["namespaces"] = namespaces.clone();
        config["linux"]["gidMappings"] = mapping();
        config["linux"]["uidMappings"] = change;
        bundle.line("delete --force ID").code(0);
        bundle.write(&config);
        bundle.line("run ID").fails(1, place);
    }
}

/// A container that joins a user namespace says which one it expects.
#[test]
fn mappings_of_a_joined_user_namespace_are_checked() {
    let (_pod, pid) = running(json!([entry("mount"), entry("pid"), entry("user")]));
    for (host, code) in [(FIRST, 0), (FIRST + 1, 1)] {
        let namespaces = json!([entry("mount"), entry("pid"), joined("user", pid)]);
        let bundle = with_namespaces(&["true"], namespaces.clone());
        let mut config = bundle.config(&["true"]);
        config.as_object_mut().unwrap().remove("hostname");
        config["linux"]["namespaces"] = namespaces;
        for ids in ["uidMappings", "gidMappings"] {
            config["linux"][ids] = json!([{"containerID": 0, "hostID": host, "size": 65536}]);
        }
        bundle.write(&config);
        let told = bundle.line("run ID").code(code);
        assert_eq!(told.err.contains("/linux/uidMappings"), code != 0, "{told:?}");
    }
}

/// Made with the user namespace in one call, these would belong to nobody.
#[test]
fn what_a_user_namespace_owns_belongs_to_its_root() {
    let script = "busybox stat -c %u /dev/mqueue; busybox stat -c %u /sys/class/net/lo/mtu; \
                  busybox ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu";
    let namespaces = json!([
        entry("mount"),
        entry("pid"),
        entry("network"),
        entry("ipc"),
        entry("uts"),
        entry("user")
    ]);
    let bundle = with_namespaces(&["sh", "-c", script], namespaces.clone());
    let mut config = bundle.config(&["sh", "-c", script]);
    config["linux"]["namespaces"] = namespaces;
    config["linux"]["uidMappings"] = mapping();
    config["linux"]["gidMappings"] = mapping();
    config["process"]["capabilities"] = json!({
        "bounding": ["CAP_NET_ADMIN"], "permitted": ["CAP_NET_ADMIN"], "effective": ["CAP_NET_ADMIN"],
    });
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}));
    mounts.push(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
    bundle.write(&config);
    assert_eq!(bundle.line("run ID").code(0).out, "0\n0\n1400\n");
}

#[test]
fn clocks_of_a_time_namespace() {
    let script = "cat /proc/self/timens_offsets; cat /proc/uptime";
    for user in [false, true] {
        let mut namespaces = vec![entry("mount"), entry("pid"), entry("time")];
        if user {
            namespaces.push(entry("user"));
        }
        let bundle = with_namespaces(&["sh", "-c", script], namespaces.clone().into());
        let mut config = bundle.config(&["sh", "-c", script]);
        config.as_object_mut().unwrap().remove("hostname");
        config["linux"]["namespaces"] = namespaces.into();
        if user {
            config["linux"]["uidMappings"] = mapping();
            config["linux"]["gidMappings"] = mapping();
        }
        config["linux"]["timeOffsets"] = json!({
            "boottime": {"secs": 10_000_000, "nanosecs": 5}, "monotonic": {"secs": 7}
        });
        bundle.write(&config);
        let told = bundle.line("run ID").code(0);
        let words: Vec<&str> = told.out.split_whitespace().collect();
        assert_eq!(words[..6], ["monotonic", "7", "0", "boottime", "10000000", "5"], "{told:?}");
        let uptime: f64 = words[6].parse().unwrap();
        assert!(uptime > 10_000_000.0, "{told:?}");
    }
}

/// What file systems of groups are mounted with, which belongs to all of their mounts.
fn options_of_groups() -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ends = mounts.lines().filter_map(|line| line.split_once(" - cgroup2 "));
    ends.map(|(_, end)| end.split_whitespace().nth(1).unwrap().to_owned()).collect()
}

#[test]
fn groups_of_the_host_keep_their_options() {
    let before = options_of_groups();
    for own in [false, true] {
        let mut namespaces = vec![entry("mount"), entry("pid")];
        if own {
            namespaces.push(entry("cgroup"));
        }
        let bundle = Bundle::with(&["cat", "/sys/fs/cgroup/cgroup.procs"], |config| {
            config["linux"]["namespaces"] = json!(namespaces);
            config["mounts"].as_array_mut().unwrap().extend([
                json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}),
                json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                       "options": ["ro", "nosuid", "noexec", "nodev", "relatime"]}),
            ]);
        });
        bundle.line("run ID");
        assert_eq!(options_of_groups(), before, "with a namespace: {own}");
        bundle.assert_gone();
    }
}

#[test]
fn the_cgroup_namespace_begins_at_the_containers_group() {
    let namespaces = json!([entry("mount"), entry("pid"), entry("cgroup")]);
    let bundle = with_namespaces(&["cat", "/proc/self/cgroup"], namespaces);
    let told = bundle.line("run ID").code(0);
    assert!(!told.out.is_empty());
    for line in told.out.lines() {
        assert!(line.ends_with(":/") || line.contains("/../"), "{told:?}");
    }
    assert!(told.out.lines().any(|line| line.contains("memory:/") || line.starts_with("0::")));
}

#[test]
fn loopback_is_up_in_a_new_network() {
    let script =
        "busybox ip -o link show lo; busybox ping -c 1 -W 5 127.0.0.1 > /dev/null && echo yes";
    let bundle = Bundle::with(&["sh", "-c", script], |config| {
        config["process"]["capabilities"] = json!({
            "bounding": ["CAP_NET_RAW"], "permitted": ["CAP_NET_RAW"], "effective": ["CAP_NET_RAW"],
        });
    });
    let told = bundle.line("run ID").code(0);
    assert!(told.out.contains("UP") && told.out.ends_with("yes\n"), "{told:?}");
}

#[test]
fn wrong_namespaces_are_errors() {
    let pid = std::process::id();
    let wrong = format!("/proc/{pid}/ns/ipc");
    let mount = entry("mount");
    for (namespaces, words) in [
        (json!([mount, entry("pid"), entry("pid")]), "malformed spec file: duplicated ns {"),
        (json!([mount, {"type": "network"}, {"type": "network", "path": "/a"}]), "duplicated ns {"),
        (json!([mount, {"type": "net"}]), "/linux/namespaces/1/type"),
        (json!([mount, {"type": "network", "path": wrong}]), "/linux/namespaces/1/path"),
        (json!([mount, {"type": "network", "path": "/etc/passwd"}]), "/linux/namespaces/1/path"),
        (json!([mount, {"type": "network", "path": "relative"}]), "/linux/namespaces/1/path"),
        (json!([mount, {"type": "network", "path": "/nonexistent"}]), "no such file or directory"),
    ] {
        let bundle = with_namespaces(&["true"], namespaces);
        bundle.line("run ID").fails(1, words);
        bundle.assert_gone();
    }
}

#[test]
fn exec_joins_all_of_them() {
    for user in [false, true] {
        let kinds = KINDS.iter().filter(|(kind, _)| user || *kind != "user");
        let (bundle, pid) = running(kinds.map(|(kind, _)| entry(kind)).collect());
        let seen = listed(&bundle.husk(["exec", "ID", "sh", "-c", LIST]).code(0));
        let mut theirs = of_process(pid);
        if !user {
            theirs.insert("user".to_owned(), own()["user"].clone());
        }
        assert_eq!(seen, theirs, "user namespace: {user}");
        let told = bundle.husk(["exec", "ID", "id"]).code(0);
        assert!(told.out.starts_with("uid=0 gid=0"), "{told:?}");
    }
}

/// A network of the host's joined by a container with its own user namespace: no single setns
/// can join both.
#[test]
fn exec_joins_namespaces_of_two_owners() {
    let (_host, host_pid) = running(json!([entry("mount"), entry("pid"), entry("network")]));
    let (bundle, pid) = running(json!([
        entry("mount"),
        entry("pid"),
        entry("uts"),
        entry("user"),
        joined("network", host_pid)
    ]));
    let told = bundle.husk(["exec", "ID", "sh", "-c", LIST]);
    assert_eq!(told.code, Some(0), "{told:?}, {pid} said {:?}", bundle.output());
    assert_eq!(listed(&told), of_process(pid));
}

/// Without rights over the host the user namespace is joined first, and the process after the
/// next one is in the pid namespace.
#[test]
fn an_ordinary_user_executes() {
    const USER: &str = "12345";
    let script = "trap : TERM; while :; do sleep 1000; done";
    let namespaces = json!([
        entry("mount"),
        entry("pid"),
        entry("network"),
        entry("ipc"),
        entry("uts"),
        entry("user")
    ]);
    let bundle = with_namespaces(&["sh", "-c", script], namespaces.clone());
    let mut config = bundle.config(&["sh", "-c", script]);
    config["linux"]["namespaces"] = namespaces;
    for ids in ["uidMappings", "gidMappings"] {
        config["linux"][ids] = json!([{"containerID": 0, "hostID": 12345, "size": 1}]);
    }
    bundle.write(&config);
    let husk = bundle.command();
    let copy = bundle.path().join("husk");
    copy_program(husk.get_program(), &copy);
    let owned = Command::new("chown").args(["-R", "12345:12345"]).arg(bundle.path()).status();
    assert!(owned.unwrap().success());
    let as_user = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
        command.arg(&copy).args(husk.get_args()).args(arguments);
        let (out, err) = (bundle.path().join("user-out"), bundle.path().join("user-err"));
        command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
        let status = command.current_dir(bundle.path()).stdin(Stdio::null()).status().unwrap();
        let [out, err] = [out, err].map(|file| fs::read_to_string(file).unwrap());
        Told { code: status.code(), out, err }
    };
    as_user(&["run", "--detach", bundle.id()]).code(0);
    let pid = bundle.state()["pid"].as_u64().unwrap();
    let told = as_user(&["exec", bundle.id(), "sh", "-c", LIST]).code(0);
    assert_eq!(listed(&told), of_process(pid));
    as_user(&["exec", bundle.id(), "sh", "-c", "exit 7"]).code(7);
    as_user(&["delete", "--force", bundle.id()]).code(0);
}
