//! Facts of the kernel that the order of steps rests on, and kernels or filters that lack calls.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Container, finish, runtime};

fn with_user_namespace(container: &mut Container) {
    container.config["linux"]["namespaces"]
        .as_array_mut()
        .expect("namespaces")
        .push(json!({ "type": "user" }));
    for mappings in ["uidMappings", "gidMappings"] {
        container.config["linux"][mappings] =
            json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
    }
    container.config["linux"].as_object_mut().expect("linux").remove("resources");
    let owned = Command::new("chown")
        .args(["-R", "100000:100000"])
        .arg(container.path("rootfs"))
        .status()
        .expect("chown");
    assert!(owned.success());
    let open = Command::new("chmod").arg("755").arg(container.dir.path()).status().expect("chmod");
    assert!(open.success());
}

fn add_capabilities(container: &mut Container, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        let set = container.config["process"]["capabilities"][set].as_array_mut().expect("set");
        set.extend(names.iter().map(|name| json!(name)));
    }
}

#[test]
fn root_of_a_user_namespace_owns_its_kernel_file_systems() {
    let mut container = Container::shell(
        "stat -c %u /dev/mqueue /sys/class/net/lo/mtu /proc/sys/kernel/hostname /dev/pts",
    );
    with_user_namespace(&mut container);
    container.mount(json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] }));
    // Files of kernel.* belong to the user namespace of the machine; all others to the container's root.
    assert_eq!(
        container.run().succeeded().stdout.split_whitespace().collect::<Vec<_>>(),
        ["0", "0", "65534", "0"]
    );
}

#[test]
fn read_only_of_the_host_stays_in_a_user_namespace() {
    let script = "mount -o remount,bind,rw /tmp/locked && echo unlocked; touch /tmp/locked/file && echo written; true";
    let mut container = Container::shell(script);
    with_user_namespace(&mut container);
    add_capabilities(&mut container, &["CAP_SYS_ADMIN"]);
    let source = container.path("source");
    fs::create_dir(&source).expect("directory");
    container
        .mount(json!({ "destination": "/tmp/locked", "source": source, "options": ["rbind"] }));
    let inner = container.command(&["run", &container.id]);
    let script = format!(
        "mount -t tmpfs -o mode=1777 tmpfs {0} && mount -o remount,bind,ro {0} && exec \"$@\"",
        source.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--", "/bin/bash", "-c", &script, "bash"]);
    command
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(container.dir.path())
        .stdin(Stdio::null());
    let outcome = finish(command).succeeded();
    assert_eq!(outcome.stdout, "", "{}", outcome.stderr);
}

#[test]
fn offsets_of_a_time_namespace_hold_for_run_and_exec() {
    let mut container = Container::shell("cat /proc/self/timens_offsets; sleep 1000");
    container.config["linux"]["namespaces"]
        .as_array_mut()
        .expect("namespaces")
        .push(json!({ "type": "time" }));
    container.config["linux"]["timeOffsets"] =
        json!({ "boottime": { "secs": 50_000_000, "nanosecs": 7 }, "monotonic": { "secs": 1 } });
    container.create_and_start();
    let uptime = container.exec("cat /proc/uptime").succeeded().stdout;
    let seconds: f64 =
        uptime.split_whitespace().next().and_then(|s| s.parse().ok()).expect("uptime");
    assert!(seconds > 50_000_000.0, "{uptime}");
    let offsets = container.exec("cat /proc/self/timens_offsets").succeeded().stdout;
    let words: Vec<&str> = offsets.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "1", "0", "boottime", "50000000", "7"]);
}

#[test]
fn calls_that_a_filter_refuses_have_another_way() {
    let newer = [
        "clone3",
        "openat2",
        "open_tree",
        "move_mount",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
        "close_range",
        "faccessat2",
        "pidfd_open",
    ];
    for (errno, name) in [(38, "ENOSYS"), (1, "EPERM")] {
        let mut inner = Container::shell("echo nested; readlink /proc/self/ns/pid");
        inner.config["root"]["path"] = json!("rootfs");
        drop(inner.command(&["run", "written"]));
        crate::programs::copy_program(runtime(), inner.path("husk"));

        let mut outer = Container::shell("");
        outer.config["process"]["args"] =
            json!(["/inner/husk", "--root", "/inner/state", "run", "--bundle", "/inner", inner.id]);
        outer.config["process"]["noNewPrivileges"] = json!(false);
        outer.config["linux"]["maskedPaths"] = json!([]);
        outer.config["linux"]["readonlyPaths"] = json!([]);
        outer.config["linux"]["resources"] =
            json!({ "devices": [{ "allow": true, "access": "rwm" }] });
        outer.config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": newer, "action": "SCMP_ACT_ERRNO", "errnoRet": errno }]
        });
        let every: Vec<Value> = all_capabilities();
        for set in ["bounding", "effective", "permitted"] {
            outer.config["process"]["capabilities"][set] = json!(every);
        }
        outer.config["mounts"]
            .as_array_mut()
            .expect("mounts")
            .retain(|m| m["destination"] != "/sys");
        outer.mount(
            json!({ "destination": "/sys", "source": "/sys", "options": ["rbind", "rprivate"] }),
        );
        outer.mount(json!({ "destination": "/inner", "source": inner.dir.path(), "options": ["rbind", "rprivate"] }));
        let outcome = outer.run();
        assert_eq!(outcome.code(), 0, "{name}: {}", outcome.stderr);
        assert!(outcome.stdout.starts_with("nested\npid:["), "{name}: {}", outcome.stdout);
        assert_eq!(inner.left_behind(), Vec::<String>::new(), "{name}");
    }
}

/// Names of the capabilities that this process has.
fn all_capabilities() -> Vec<Value> {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let bits = status.lines().find_map(|l| l.strip_prefix("CapEff:")).expect("CapEff").trim();
    let bits = u64::from_str_radix(bits, 16).expect("hexadecimal");
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    let held = NAMES.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
    held.map(|(_, name)| json!(format!("CAP_{name}"))).collect()
}
