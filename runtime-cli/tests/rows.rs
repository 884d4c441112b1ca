//! What runtime-spec and the field's runtimes have beyond the other tests, one thing a test.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::{chown, symlink};

use serde_json::{Value, json};
use support::cgroups::{group, has_controller, is_v1};
use support::{Bundle, told};

fn configured(args: &[&str], pointer: &str, value: Value) -> Bundle {
    Bundle::with(args, |config| {
        let (above, name) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(above).unwrap()[name] = value;
    })
}

fn running(pointer: &str, value: Value) -> Bundle {
    let bundle = configured(&["sleep", "1000"], pointer, value);
    bundle.detached("run -d ID").code(0);
    bundle
}

/// `exec` of a process of these values.
#[track_caller]
fn exec(bundle: &Bundle, script: &str, more: &Value) -> String {
    let mut process = json!({ "args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"] });
    for (name, value) in more.as_object().unwrap() {
        process[name] = value.clone();
    }
    let file = bundle.path().join("process.json");
    fs::write(file, process.to_string()).unwrap();
    bundle.line("exec --process process.json ID").code(0).out
}

#[test]
fn schedulers_with_and_without_rights() {
    let deadline = json!({
        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 2_000_000, "period": 3_000_000
    });
    let bundle = configured(&["cat", "/proc/self/stat"], "/process/scheduler", deadline);
    let told = bundle.line("run ID").code(0);
    // Field 41 is the policy: 6 is SCHED_DEADLINE.
    assert_eq!(told.out.split_whitespace().nth(40), Some("6"), "{told:?}");
    let bundle = configured(
        &["true"],
        "/process/scheduler",
        json!({ "policy": "SCHED_IDLE", "runtime": 5 }),
    );
    bundle.line("run ID").fails(1, "can only be specified for SchedDeadline policy");
}

#[test]
fn the_mask_of_an_exec_is_its_own() {
    let bundle = running("/process/user/umask", json!(0o77));
    let mask = |user: Value| exec(&bundle, "umask", &json!({ "user": user }));
    assert_eq!(mask(json!({ "uid": 0, "gid": 0, "umask": 0o27 })), "0027\n");
    let file = bundle.path().join("process.json");
    fs::remove_file(file).unwrap();
    assert_eq!(bundle.husk(["exec", "ID", "sh", "-c", "umask"]).code(0).out, "0077\n");
}

#[test]
fn exec_has_the_personality_and_the_memory_policy() {
    let bundle = Bundle::with(&["sleep", "1000"], |config| {
        config["linux"]["personality"] = json!({ "domain": "LINUX32" });
        config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" });
    });
    bundle.detached("run -d ID").code(0);
    let script = "cat /proc/self/personality /proc/self/numa_maps";
    let told = bundle.husk(["exec", "ID", "sh", "-c", script]).code(0);
    assert!(told.out.starts_with("00000008\n"), "{told:?}");
    assert!(told.out.contains(" interleave:0 "), "{told:?}");
}

#[test]
fn ids_are_mapped_on_tmpfs_and_refused_with_a_name() {
    let source = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(source.path().join("file"), "").unwrap();
    chown(source.path().join("file"), Some(5003), Some(5003)).unwrap();
    let range = json!([{ "containerID": 5000, "hostID": 0, "size": 10 }]);
    let mount = |source: &str| {
        let range = range.clone();
        Bundle::with(&["stat", "-c", "%u:%g", "/tmp/file"], |config| {
            config["mounts"].as_array_mut().unwrap().push(json!({
                "destination": "/tmp", "source": source, "options": ["bind"],
                "uidMappings": range, "gidMappings": range,
            }));
        })
    };
    let told = mount(source.path().to_str().unwrap()).line("run ID");
    if maps_ids_on_tmpfs() {
        assert_eq!(told.code(0).out, "3:3\n");
    } else {
        told.fails(1, "tmpfs, the file system of the source, may have none");
    }
    let told =
        mount("/proc/sys").line("run ID").fails(1, "failed to set MOUNT_ATTR_IDMAP on /proc/sys");
    assert!(told.err.contains("proc, the file system of the source, may have none"), "{told:?}");
}

/// Linux has it from 6.3 on.
fn maps_ids_on_tmpfs() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 3)
}

#[test]
fn huge_pages_are_limited() {
    let limits = |bytes: u64| json!([{ "pageSize": "2MB", "limit": bytes }]);
    let anywhere = has_controller("hugetlb")
        || fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers")
            .is_ok_and(|list| list.split_whitespace().any(|name| name == "hugetlb"));
    if !anywhere {
        let bundle =
            configured(&["true"], "/linux/resources", json!({ "hugepageLimits": limits(0) }));
        bundle.line("run ID").fails(1, "controller hugetlb not available");
        return;
    }
    let value = |bundle: &Bundle, name: &str| {
        let pid = u32::try_from(bundle.state()["pid"].as_u64().unwrap()).unwrap();
        if is_v1("hugetlb") {
            let name = name.replace(".max", ".limit_in_bytes");
            return fs::read_to_string(group(pid, "hugetlb").join(name)).unwrap();
        }
        let path = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let path = path.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
        let hybrid = std::path::Path::new("/sys/fs/cgroup/unified").join(&path);
        let pure = std::path::Path::new("/sys/fs/cgroup").join(&path);
        let directory = if hybrid.exists() { hybrid } else { pure };
        fs::read_to_string(directory.join(name)).unwrap()
    };
    let bundle = running("/linux/resources", json!({ "hugepageLimits": limits(4 << 20) }));
    assert_eq!(value(&bundle, "hugetlb.2MB.max"), "4194304\n");
    assert_eq!(value(&bundle, "hugetlb.2MB.rsvd.max"), "4194304\n");
    // A limit that comes later finds its controller as well.
    let bundle = running("/linux/resources", json!({}));
    let file = bundle.path().join("limits.json");
    fs::write(file, json!({ "hugepageLimits": limits(2 << 20) }).to_string()).unwrap();
    bundle.line("update --resources limits.json ID").code(0);
    assert_eq!(value(&bundle, "hugetlb.2MB.max"), "2097152\n");
}

#[test]
fn too_little_memory_is_named() {
    if !has_controller("memory") {
        return eprintln!("skipped: nothing limits memory here");
    }
    let bundle = Bundle::with(&["true"], |config| {
        let limit = 8 << 20;
        config["linux"]["resources"] = json!({ "memory": { "limit": limit, "swap": limit } });
        // It runs in the container's group before its program does.
        config["hooks"] = json!({ "createContainer": [
            { "path": "/bin/busybox", "args": ["busybox", "tail", "/dev/zero"] }
        ] });
    });
    let words = "container init was OOM-killed (memory limit too low?)";
    bundle.line("run ID").fails(1, words);
    bundle.assert_gone();
}

/// Who acts as root of a user namespace, and not under root's name, has state where the user's is.
#[test]
fn root_of_a_user_namespace_keeps_state_with_the_user() {
    let runtime_dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let mark = "left-by-somebody";
    let left = runtime_dir.path().join("husk").join(mark);
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("state.json"), "{}").unwrap();
    for (user, is_there) in [(None, true), (Some("anna"), true), (Some("root"), false)] {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user"]).arg(support::program());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("XDG_RUNTIME_DIR", runtime_dir.path());
        command.envs(user.map(|user| ("USER", user)));
        let told = told(&mut command, ["list"]).code(0);
        assert_eq!(told.err.contains(mark), is_there, "{user:?}: {told:?}");
    }
}

/// A bundle with a link beside its root file system, and one mount of it.
fn linked(args: &[&str], destination: &str, options: Value) -> Bundle {
    Bundle::with(args, |config| {
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": destination, "source": "link", "options": options,
        }));
    })
}

#[test]
fn links_are_copied_instead_of_mounted() {
    let look = [
        "sh",
        "-c",
        "readlink /etc/place; readlink /tmp/a/b; grep -c /etc/place /proc/self/mountinfo",
    ];
    for destination in ["/etc/place", "/tmp/a/b"] {
        let options = json!(["bind", "copy-symlink", "rprivate", "ro"]);
        let bundle = linked(&look, destination, options);
        symlink("/some/where", bundle.path().join("link")).unwrap();
        assert_eq!(bundle.line("run ID").code(1).out, "/some/where\n0\n");
        // The link of the first time is the one that was asked for.
        assert_eq!(bundle.line("run ID").code(1).out, "/some/where\n0\n");
        let place = bundle.rootfs().join(&destination[1..]);
        fs::remove_file(&place).unwrap();
        symlink("/else/where", &place).unwrap();
        bundle.line("run ID").fails(1, "file exists");
        assert_eq!(fs::read_link(&place).unwrap().to_str(), Some("/else/where"));
    }
    // What is no link is mounted.
    let bundle = linked(&["cat", "/etc/place"], "/etc/place", json!(["bind", "copy-symlink"]));
    fs::write(bundle.path().join("link"), "a file\n").unwrap();
    assert_eq!(bundle.line("run ID").code(0).out, "a file\n");
    let both = json!(["bind", "copy-symlink", "src-nofollow"]);
    linked(&["true"], "/etc/place", both)
        .line("run ID")
        .fails(1, "invalid mount /etc/place: copy-symlink");
}

#[test]
fn links_are_mounted_themselves() {
    let options = json!(["bind", "src-nofollow", "dest-nofollow"]);
    let bundle = linked(&["readlink", "/etc/place"], "/etc/place", options);
    symlink("/some/where", bundle.path().join("link")).unwrap();
    symlink("/else/where", bundle.rootfs().join("etc/place")).unwrap();
    assert_eq!(bundle.line("run ID").code(0).out, "/some/where\n");
    assert_eq!(
        fs::read_link(bundle.rootfs().join("etc/place")).unwrap().to_str(),
        Some("/else/where")
    );
    // Without the second option the destination's link is followed, inside the root.
    let bundle = linked(&["readlink", "/tmp/there"], "/etc/place", json!(["bind", "src-nofollow"]));
    symlink("/some/where", bundle.path().join("link")).unwrap();
    symlink("/tmp/there", bundle.rootfs().join("etc/place")).unwrap();
    fs::write(bundle.rootfs().join("tmp/there"), "").unwrap();
    assert_eq!(bundle.line("run ID").code(0).out, "/some/where\n");
}

#[test]
fn mappings_may_stand_behind_the_option() {
    let source = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(source.path().join("file"), "").unwrap();
    chown(source.path().join("file"), Some(5003), Some(6004)).unwrap();
    let mount = |option: &str| {
        Bundle::with(&["stat", "-c", "%u:%g", "/tmp/file"], |config| {
            config["mounts"].as_array_mut().unwrap().push(json!({
                "destination": "/tmp", "source": source.path(), "options": ["rbind", option],
            }));
        })
    };
    let told = mount("idmap=uids=5000-0-10;gids=1-1-2#6000-20-10").line("run ID").code(0);
    assert_eq!(told.out, "3:24\n", "{told:?}");
    mount("idmap=uids=5000-0").line("run ID").fails(1, "invalid mapping specified");
    mount("idmap=uids=5000-0-10")
        .line("run ID")
        .fails(1, "id-mapped mounts must have both uid and gid mappings specified");
}

#[test]
fn flags_of_a_whole_file_system_may_be_named_recursively() {
    let bundle = Bundle::with(&["grep", " /tmp ", "/proc/self/mountinfo"], |config| {
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/tmp", "source": "tmpfs", "type": "tmpfs",
            "options": ["rsync", "rdirsync", "rmand", "rnomand"],
        }));
    });
    let told = bundle.line("run ID").code(0);
    assert!(told.out.contains("sync,dirsync"), "{told:?}");
}
