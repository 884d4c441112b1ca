//! Mounts as a container sees them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::Container;

/// The mounts of a container, as its own mountinfo shows them: point, options and the rest.
struct Mounts(Vec<(String, String)>);

impl Mounts {
    fn of(outcome: &str) -> Mounts {
        let lines = outcome.lines().filter(|line| line.contains(" - "));
        Mounts(
            lines
                .map(|line| {
                    let point = line.split(' ').nth(4).expect("mount point").to_owned();
                    (point, line.split(' ').skip(5).collect::<Vec<_>>().join(" "))
                })
                .collect(),
        )
    }

    /// What is mounted last at a point.
    #[track_caller]
    fn at(&self, point: &str) -> &str {
        let found = self.0.iter().rev().find(|(known, _)| known == point);
        &found.unwrap_or_else(|| panic!("nothing at {point}: {:?}", self.0)).1
    }

    #[track_caller]
    fn assert_options(&self, point: &str, options: &[&str]) {
        let line = self.at(point);
        let found: Vec<&str> = line.split(' ').next().expect("options").split(',').collect();
        for option in options {
            match option.strip_prefix('!') {
                Some(absent) => assert!(!found.contains(&absent), "{point}: {line}"),
                None => assert!(found.contains(option), "{point}: {option} in {line}"),
            }
        }
    }
}

fn bind(destination: &str, source: &Path, options: &[&str]) -> Value {
    json!({ "destination": destination, "source": source, "type": "bind", "options": options })
}

fn user_namespace(container: &mut Container) {
    let range = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    container.config["linux"]["namespaces"]
        .as_array_mut()
        .expect("namespaces")
        .push(json!({ "type": "user" }));
    container.config["linux"]["uidMappings"] = range.clone();
    container.config["linux"]["gidMappings"] = range;
    fs::set_permissions(container.dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let rootfs = container.path("rootfs");
    chown(&rootfs, Some(100_000), Some(100_000)).expect("chown");
    for entry in fs::read_dir(&rootfs).expect("rootfs") {
        chown(entry.expect("entry").path(), Some(100_000), Some(100_000)).expect("chown");
    }
}

#[test]
fn options_of_mounts_hold() {
    let mut container = Container::shell("cat /proc/self/mountinfo; cat /deep/er/file; ls /data");
    let data = container.path("data");
    fs::create_dir_all(data.join("inside")).expect("data");
    fs::write(container.path("file"), "from a file\n").expect("file");
    container.mount(bind("/data", Path::new("data"), &["bind"]));
    container.mount(bind("/ro", &data, &["rbind", "ro", "nosuid", "nodev", "noexec", "noatime"]));
    container.mount(bind("/deep/er/file", &container.path("file"), &["bind", "ro"]));
    container.mount(bind("/slave", &data, &["rbind", "rslave", "unbindable"]));
    container.mount(bind("/shared", &data, &["rbind", "rshared"]));
    container.mount(bind("/rro", &data, &["rbind", "rro", "rnodiratime"]));
    container.mount(bind("/strict", &data, &["bind", "strictatime", "nosymfollow"]));
    container.mount(
        json!({ "destination": "/small", "type": "tmpfs", "source": "small", "options": ["ro", "size=64k", "mode=0711"] }),
    );
    let outcome = container.run().succeeded();
    let mounts = Mounts::of(&outcome.stdout);
    mounts.assert_options("/data", &["rw"]);
    mounts.assert_options("/ro", &["ro", "nosuid", "nodev", "noexec", "noatime"]);
    mounts.assert_options("/deep/er/file", &["ro"]);
    mounts.assert_options("/rro", &["ro", "nodiratime"]);
    mounts.assert_options("/strict", &["!relatime", "!noatime", "nosymfollow"]);
    mounts.assert_options("/small", &["ro"]);
    assert!(mounts.at("/small").contains("size=64k"));
    assert!(mounts.at("/slave").contains("unbindable"));
    assert!(mounts.at("/shared").contains("shared:"));
    assert!(outcome.stdout.contains("from a file") && outcome.stdout.contains("inside"));
}

#[test]
fn ids_of_mounts_are_mapped() {
    for own in [true, false] {
        let mut container = Container::shell("stat -c '%u:%g' /data/file; ls -ln /data");
        let data = container.path("data");
        fs::create_dir(&data).expect("data");
        fs::write(data.join("file"), "").expect("file");
        // A file of id 3 of the mapping, which ids on the disk begin at 5000 or at 0.
        let disk = if own { 5003 } else { 3 };
        chown(data.join("file"), Some(disk), Some(disk)).expect("chown");
        let mut mount = bind("/data", &data, &["rbind", "idmap"]);
        if own {
            let range = json!([{ "containerID": 5000, "hostID": 0, "size": 10 }]);
            mount["uidMappings"] = range.clone();
            mount["gidMappings"] = range;
        } else {
            user_namespace(&mut container);
        }
        container.mount(mount);
        let outcome = container.run().succeeded();
        assert_eq!(outcome.stdout.lines().next(), Some("3:3"), "{}", outcome.stdout);
    }
}

#[test]
fn a_user_namespace_has_its_mounts_and_devices() {
    let mut container = Container::shell(
        "cat /proc/self/mountinfo; echo x >/dev/null && stat -c '%n %t:%T' /dev/null /proc/keys; \
         stat -c '%n %u' /dev /dev/mqueue /sys/class/net/lo/mtu",
    );
    user_namespace(&mut container);
    container.mount(
        json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] }),
    );
    let outcome = container.run().succeeded();
    let mounts = Mounts::of(&outcome.stdout);
    for point in ["/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys", "/dev/null"] {
        mounts.at(point);
    }
    for line in
        ["/dev/null 1:3", "/proc/keys 1:3", "/dev 0", "/dev/mqueue 0", "/sys/class/net/lo/mtu 0"]
    {
        assert!(outcome.stdout.lines().any(|known| known == line), "{line}: {}", outcome.stdout);
    }
}

#[test]
fn a_user_namespace_on_the_hosts_network_sees_the_hosts_sysfs_read_only() {
    let mut container = Container::shell("cat /proc/self/mountinfo; ls /sys/class/net/lo/mtu");
    user_namespace(&mut container);
    container.config["linux"]["namespaces"]
        .as_array_mut()
        .expect("namespaces")
        .retain(|namespace| namespace["type"] != "network");
    let outcome = container.run().succeeded();
    Mounts::of(&outcome.stdout).assert_options("/sys", &["ro", "nosuid", "nodev", "noexec"]);
}

#[test]
fn cgroups_are_shown() {
    for namespace in [true, false] {
        let mut container =
            Container::shell("cat /proc/self/mountinfo; ls /sys/fs/cgroup; touch /sys/fs/cgroup/x");
        if namespace {
            container.config["linux"]["namespaces"]
                .as_array_mut()
                .expect("namespaces")
                .push(json!({ "type": "cgroup" }));
        }
        container.mount(
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }),
        );
        let outcome = container.run();
        assert_eq!(outcome.code(), 1, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
        let mounts = Mounts::of(&outcome.stdout);
        let groups: Vec<_> =
            mounts.0.iter().filter(|(_, line)| line.contains("- cgroup")).collect();
        assert!(!groups.is_empty(), "{}", outcome.stdout);
        for (point, _) in &groups {
            assert!(point.starts_with("/sys/fs/cgroup"), "{point}");
            mounts.assert_options(point, &["ro", "nosuid", "nodev", "noexec"]);
        }
    }
}

#[test]
fn a_moved_root_is_a_root() {
    let container = Container::shell("cat /proc/self/mountinfo; ls /");
    let outcome = container.call(&["run", "--no-pivot", &container.id]).succeeded();
    let mounts = Mounts::of(&outcome.stdout);
    mounts.assert_options("/sys", &["ro"]);
    assert!(outcome.stdout.lines().any(|line| line == "bin"), "{}", outcome.stdout);
    assert!(!outcome.stdout.lines().any(|line| line == "var"), "{}", outcome.stdout);
}

#[test]
fn content_is_copied_up() {
    let mut container = Container::shell("cat /etc/deep/file; touch /etc/new; stat -c %a /etc");
    let etc = container.path("rootfs/etc");
    fs::create_dir(etc.join("deep")).expect("deep");
    fs::write(etc.join("deep/file"), "below\n").expect("file");
    fs::set_permissions(&etc, fs::Permissions::from_mode(0o751)).expect("chmod");
    container.mount(
        json!({ "destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] }),
    );
    let outcome = container.run().succeeded();
    assert_eq!(outcome.stdout, "below\n751\n");
    assert!(!etc.join("new").exists());
}

#[test]
fn failures_of_mounts_are_told_in_known_words() {
    type Change = fn(&Container);
    let cases: [(Value, &str, Change); 7] = [
        (
            json!({ "destination": "/m", "source": "/nonexistent/src", "options": ["bind"] }),
            "failed to fulfil mount request: open /nonexistent/src: no such file or directory",
            |_| {},
        ),
        (
            json!({ "destination": "/mnt/x", "type": "x", "source": "x" }),
            "error mounting \"x\" to rootfs at \"/mnt/x\": mount src=x, dst=/mnt/x, dstFd=/proc/thread-self/fd/",
            |_| {},
        ),
        (
            json!({ "destination": "/mnt/x", "type": "x", "source": "x" }),
            ": no such device",
            |_| {},
        ),
        (
            json!({ "destination": "/etc/made", "source": "/etc", "options": ["bind"] }),
            ": not a directory",
            |container| fs::write(container.path("rootfs/etc/made"), "").expect("file"),
        ),
        (
            json!({ "destination": "/proc/sys", "source": "/etc", "options": ["bind"] }),
            "\"/proc/sys\" cannot be mounted because it is inside /proc",
            |_| {},
        ),
        (
            json!({ "destination": "/innocent", "source": "/etc", "options": ["bind"] }),
            "\"/innocent\" cannot be mounted because it is inside /proc",
            |container| symlink("/proc/sys", container.path("rootfs/innocent")).expect("link"),
        ),
        (
            json!({ "destination": "/elsewhere", "type": "proc", "source": "proc" }),
            "filesystem \"proc\" must be mounted on ordinary directory",
            |container| symlink("/etc", container.path("rootfs/elsewhere")).expect("link"),
        ),
    ];
    for (mount, words, change) in cases {
        let mut container = Container::shell("true");
        change(&container);
        container.mount(mount);
        let outcome = container.run();
        assert_eq!(outcome.code(), 1, "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains(&words.replace('"', "\\\"")),
            "{words}: {}",
            outcome.stderr
        );
        assert_eq!(container.left_behind(), Vec::<String>::new());
    }
}

#[test]
fn sources_out_of_reach_of_a_user_namespace_come_from_the_parent() {
    for (options, flag) in [(&["rbind"][..], "rw"), (&["rbind", "ro", "nosuid"], "ro")] {
        let mut container =
            Container::shell("cat /proc/self/mountinfo; cat /data/file /etc/name; ls /data");
        user_namespace(&mut container);
        let hidden = container.path("hidden");
        fs::create_dir_all(hidden.join("data")).expect("data");
        fs::write(hidden.join("data/file"), "out of reach\n").expect("file");
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).expect("chmod");
        container.mount(bind("/data", &hidden.join("data"), options));
        container.mount(bind("/etc/name", &hidden.join("data/file"), &["bind"]));
        let outcome = container.run().succeeded();
        assert_eq!(outcome.stdout.matches("out of reach").count(), 2, "{}", outcome.stdout);
        Mounts::of(&outcome.stdout).assert_options("/data", &[flag]);
        let host = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert!(!host.contains(container.dir.path().to_str().expect("path")));
    }
}

/// What an entry takes from the container's own root file system includes what entries before it
/// mounted there, with and without a user namespace.
#[test]
fn an_entry_sees_the_mounts_before_it() {
    for in_user_namespace in [false, true] {
        let mut container = Container::shell("cat /copy/deep/file");
        let data = container.path("data");
        let deep = container.path("deep");
        for directory in [&data, &data.join("deep"), &deep] {
            fs::create_dir_all(directory).expect("directory");
        }
        fs::write(deep.join("file"), "mounted before\n").expect("file");
        container.mount(bind("/seen", &data, &["rbind"]));
        container.mount(bind("/seen/deep", &deep, &["rbind"]));
        let within = container.path("rootfs").join("seen");
        container.mount(bind("/copy", &within, &["rbind"]));
        if in_user_namespace {
            user_namespace(&mut container);
        }
        let outcome = container.run();
        assert_eq!(outcome.stdout.trim(), "mounted before", "{}", outcome.stderr);
    }
}

/// As mount(8) and runc have it: without a word that sets an access time the source's stays, and
/// one word replaces all.
#[test]
fn access_times_stay_unless_one_is_set() {
    let mut container = Container::shell("cat /proc/self/mountinfo");
    let data = container.path("data");
    fs::create_dir_all(&data).expect("data");
    container.mount(bind("/source", &data, &["bind", "noatime", "nodiratime"]));
    let source = container.path("rootfs").join("source");
    let cases: [(&str, &[&str], &[&str]); 5] = [
        ("/plain", &["bind", "ro"], &["noatime", "nodiratime"]),
        ("/atime", &["bind", "atime"], &["noatime", "nodiratime"]),
        ("/norelatime", &["bind", "norelatime", "diratime"], &["noatime", "nodiratime"]),
        ("/relatime", &["bind", "relatime"], &["relatime", "!noatime", "!nodiratime"]),
        ("/strict", &["bind", "strictatime"], &["!relatime", "!noatime", "!nodiratime"]),
    ];
    for (destination, options, _) in cases {
        container.mount(bind(destination, &source, options));
    }
    let outcome = container.run();
    let mounts = Mounts::of(&outcome.stdout);
    for (destination, _, found) in cases {
        mounts.assert_options(destination, found);
    }
}
