//! `mounts add` and `mounts remove`: a running container's mounts.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use support::{Bundle, Told};

fn change(bundle: &Bundle, what: &str, mounts: &Value) -> Told {
    let file = bundle.path().join("mounts.json");
    fs::write(&file, mounts.to_string()).unwrap();
    bundle.husk(["mounts", what, "ID", file.to_str().unwrap()])
}

fn inside(bundle: &Bundle, script: &str) -> String {
    let told = bundle.husk(["exec", "ID", "sh", "-c", script]);
    format!("{}{}", told.out, told.err)
}

fn started(bundle: &Bundle) {
    bundle.detached("create ID").code(0);
    bundle.line("start ID").code(0);
}

#[test]
fn directories_files_and_file_systems_come_and_go() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let source = bundle.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content\n").unwrap();
    started(&bundle);
    let mounts = json!([
        {"destination": "/new/directory", "source": "source", "options": ["bind", "ro"]},
        {"destination": "/new/file", "source": source.join("file"), "options": ["bind"]},
        {"destination": "/new/tmp", "type": "tmpfs", "source": "tmpfs",
         "options": ["size=64k", "nosuid", "mode=700"]},
        {"destination": "/new/proc", "type": "proc", "source": "proc"},
    ]);
    change(&bundle, "add", &mounts).code(0);
    assert_eq!(inside(&bundle, "cat /new/directory/file /new/file"), "content\ncontent\n");
    let refused = inside(&bundle, "echo x > /new/directory/other");
    assert!(refused.contains("Read-only file system"), "{refused}");
    assert_eq!(inside(&bundle, "echo more >> /new/file; cat /new/file"), "content\nmore\n");
    assert_eq!(inside(&bundle, "stat -c %a /new/tmp"), "700\n");
    assert_eq!(inside(&bundle, "readlink /new/proc/1/exe"), "/bin/busybox\n");
    let lines = inside(&bundle, "grep ' /new/' /proc/self/mountinfo");
    assert_eq!(lines.lines().count(), 4, "{lines}");
    assert!(lines.lines().any(|line| line.contains("nosuid") && line.contains("size=64k")));
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!host.contains("/new/"), "{host}");

    change(&bundle, "remove", &mounts).code(0);
    assert_eq!(inside(&bundle, "grep -c ' /new/' /proc/self/mountinfo"), "0\n");
    change(&bundle, "remove", &json!([{"destination": "/new/tmp"}])).fails(1, "it is no mount");
    bundle.line("kill ID KILL").code(0);
    bundle.await_status("stopped");
    change(&bundle, "add", &mounts).fails(1, "container not running");
}

#[test]
fn destinations_stay_inside_the_root() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let outside = bundle.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, bundle.rootfs().join("absolute")).unwrap();
    symlink("../../../../../..", bundle.rootfs().join("tmp/upwards")).unwrap();
    started(&bundle);
    let mount = |destination: &str| json!([{"destination": destination, "type": "tmpfs", "source": "tmpfs"}]);
    change(&bundle, "add", &mount("/absolute/x")).code(0);
    change(&bundle, "add", &mount("/tmp/upwards/made")).code(0);
    assert!(!outside.join("x").exists());
    let mounted = inside(&bundle, "grep tmpfs /proc/self/mountinfo");
    let inner = format!(" {}/x ", outside.display());
    assert!(mounted.contains(&inner) && mounted.contains(" /made "), "{mounted}");
    change(&bundle, "remove", &mount("/tmp/upwards/made")).code(0);
    // A link of the container is never followed to what it names.
    change(&bundle, "remove", &mount("/absolute")).fails(1, "it is no mount");
}

#[test]
fn a_container_with_its_own_users_gets_mounts_from_outside() {
    let bundle = Bundle::with(&["sleep", "1000"], |config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        for ids in ["uidMappings", "gidMappings"] {
            config["linux"][ids] = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        }
    });
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(bundle.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Root of the container may make no directories in a root file system of somebody else.
    for name in ["plain", "fresh"] {
        fs::create_dir(bundle.rootfs().join(name)).unwrap();
    }
    let source = bundle.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content\n").unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o700)).unwrap();
    started(&bundle);
    let mounts = json!([
        {"destination": "/plain", "source": &source, "options": ["bind", "ro"]},
        {"destination": "/fresh", "type": "tmpfs", "source": "tmpfs"},
    ]);
    change(&bundle, "add", &mounts).code(0);
    assert_eq!(inside(&bundle, "stat -c %u /plain; stat -c %u /fresh"), "65534\n0\n");
    change(&bundle, "remove", &mounts).code(0);
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    started(&bundle);
    for (mount, words) in [
        (json!({"destination": "/", "type": "tmpfs"}), "cannot be replaced"),
        (json!({"destination": "/proc", "type": "proc"}), "cannot be replaced"),
        (json!({"destination": "/proc/self", "type": "tmpfs"}), "it is inside /proc"),
        (json!({"destination": "/x", "type": "cgroup"}), "belong to the creation"),
        (
            json!({"destination": "/x", "source": "/nonexistent", "options": ["bind"]}),
            "open /nonexistent: no such file or directory",
        ),
    ] {
        let told = change(&bundle, "add", &json!([mount])).fails(1, words);
        assert!(told.err.contains("/0"), "{told:?}");
    }
    change(&bundle, "add", &json!({"destination": "/x"})).fails(1, "expected a sequence");
    change(&bundle, "move", &json!([])).fails(1, "unknown command \\\"move\\\"");
    bundle.husk(["mounts", "add", "ID"]).fails(1, "requires exactly 3 argument(s)");
    bundle.husk(["mounts", "add", "ID", "/nonexistent"]).fails(1, "no such file or directory");
}
