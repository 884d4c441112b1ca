//! One container's process exchanges files of a shared directory while another one is started
//! (CVE-2021-30465, CVE-2024-45310, CVE-2025-31133, CVE-2025-52881).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::Container;

/// Containers that are started against the racer.
const STARTS: usize = 25;

/// A process that exchanges two names without pause; ended when dropped.
struct Racer(Child);

impl Racer {
    fn start(a: &Path, b: &Path) -> Racer {
        // busybox's mv has no exchange; a few lines of Python do what an attacker's program does.
        let program = "import ctypes, sys\n\
                       libc = ctypes.CDLL(None)\n\
                       a, b = sys.argv[1].encode(), sys.argv[2].encode()\n\
                       while True:\n    libc.renameat2(-100, a, -100, b, 2)\n";
        let mut command = Command::new("python3");
        command.args(["-c", program]).arg(a).arg(b).stdin(Stdio::null());
        Racer(command.spawn().expect("python3"))
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.0.kill().expect("kill the racer");
        self.0.wait().expect("wait for the racer");
    }
}

/// Waits until both kinds of files were seen at a path.
fn wait_for_exchange(path: &Path) {
    let is_link = || fs::symlink_metadata(path).expect("exchanged").is_symlink();
    crate::support::eventually("an exchange", is_link);
    crate::support::eventually("another exchange", || !is_link());
}

#[test]
fn nothing_is_mounted_or_made_outside() {
    let mut container = Container::shell("cat /proc/self/mountinfo; ls /marker /volume/*/marker");
    let outside = container.path("outside");
    fs::create_dir(&outside).expect("outside");
    fs::write(outside.join("marker"), "").expect("marker");
    fs::create_dir_all(container.path("volume/a")).expect("volume");
    symlink(&outside, container.path("volume/b")).expect("link");
    container.mount(json!({ "destination": "/volume", "source": "volume", "options": ["bind"] }));
    for index in 0..8 {
        container.mount(
            json!({ "destination": format!("/volume/a/{index}/made"), "type": "tmpfs", "source": "tmpfs" }),
        );
    }
    container.config["linux"]["maskedPaths"] = json!(["/volume/a/0", "/proc/keys"]);
    container.config["linux"]["readonlyPaths"] = json!(["/volume/a/1"]);
    container.config["linux"]["devices"] =
        json!([{ "path": "/volume/a/null", "type": "c", "major": 1, "minor": 3 }]);
    container.config["process"]["cwd"] = json!("/volume/a/work");
    let racer = Racer::start(&container.path("volume/a"), &container.path("volume/b"));
    wait_for_exchange(&container.path("volume/a"));
    for _ in 0..STARTS {
        // Whether it starts depends on the race; what it sees does not.
        let outcome = container.run();
        assert!(!outcome.stdout.contains("marker"), "{}", outcome.stdout);
        let names: Vec<_> = fs::read_dir(&outside)
            .expect("outside")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        assert_eq!(names, ["marker"], "{}", outcome.stderr);
    }
    drop(racer);
    assert_eq!(container.left_behind(), Vec::<String>::new());
}

#[test]
fn a_mask_is_the_null_device_whatever_dev_null_is() {
    let mut container = Container::shell("stat -c 'type %t:%T' /masked; cat /masked");
    fs::write(container.path("rootfs/masked"), "secret").expect("masked");
    fs::write(container.path("rootfs/tmp/target"), "target").expect("target");
    fs::create_dir(container.path("devices")).expect("devices");
    let null = container.path("devices/null");
    let made = Command::new("mknod").arg(&null).args(["c", "1", "3"]).status().expect("mknod");
    assert!(made.success());
    symlink("/tmp/target", container.path("devices/link")).expect("link");
    container.config["mounts"]
        .as_array_mut()
        .expect("mounts")
        .retain(|mount| !mount["destination"].as_str().expect("path").starts_with("/dev"));
    container.mount(json!({ "destination": "/dev", "source": "devices", "options": ["bind"] }));
    container.config["linux"]["maskedPaths"] = json!(["/masked"]);
    let racer = Racer::start(&null, &container.path("devices/link"));
    wait_for_exchange(&null);
    for _ in 0..STARTS {
        let outcome = container.run();
        match outcome.code() {
            0 => assert_eq!(outcome.stdout, "type 1:3\n"),
            _ => assert!(!outcome.stdout.contains("target"), "{}", outcome.stdout),
        }
    }
    drop(racer);
    assert_eq!(container.left_behind(), Vec::<String>::new());
}
