//! config-linux.md: file systems, devices, sysctl, masked and read-only paths,
//! propagation, personality, memory policy, RDT.

use crate::case::Level::{Must, Should};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, skipped};
use crate::scene::Scene;
use serde_json::{Value, json};
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "linux.filesystems.default",
        Should,
        "config-linux.md, Default Filesystems: proc, sysfs, devpts and tmpfs in their places",
        filesystems,
    ),
    case(
        "linux.devices.default",
        Must,
        "config-linux.md, Default Devices: null, zero, full, random, urandom, tty and ptmx",
        default_devices,
    ),
    case(
        "linux.devices.default-usable",
        Must,
        "config-linux.md, Default Devices: they can be used by any user",
        default_usable,
    ),
    case(
        "linux.devices.configured",
        Must,
        "config-linux.md, Devices: type, numbers, mode and owner",
        configured,
    ),
    case("linux.devices.fifo", Must, "config-linux.md, Devices: type p", fifo),
    case(
        "linux.devices.outside-dev",
        Must,
        "config-linux.md, Devices: the path may be anywhere",
        outside_dev,
    ),
    case(
        "linux.devices.conflict",
        Must,
        "config-linux.md, Devices: another file at the path is an error",
        conflict,
    ),
    case(
        "linux.devices.same-exists",
        Should,
        "config-linux.md, Devices: the requested device at the path already is fine",
        same_exists,
    ),
    case(
        "linux.devices.unknown-type",
        Must,
        "config.md, Valid values: an unknown type is an error",
        unknown_device,
    ),
    case(
        "linux.devices.not-listed",
        Must,
        "config-linux.md, Devices: no access to other device nodes",
        not_listed,
    ),
    case(
        "linux.sysctl.network",
        Must,
        "config-linux.md, Sysctl: set in the container's namespace",
        sysctl_network,
    ),
    case(
        "linux.sysctl.ipc",
        Must,
        "config-linux.md, Sysctl: set in the container's namespace",
        sysctl_ipc,
    ),
    case(
        "linux.sysctl.unknown",
        Must,
        "runtime.md, Create: what cannot be applied is an error",
        sysctl_unknown,
    ),
    case("linux.masked.file", Must, "config-linux.md, Masked Paths: cannot be read", masked_file),
    case(
        "linux.masked.directory",
        Must,
        "config-linux.md, Masked Paths: shows nothing",
        masked_directory,
    ),
    case(
        "linux.masked.missing",
        Must,
        "config-linux.md, Masked Paths: a path that is not there is no error",
        masked_missing,
    ),
    case(
        "linux.readonly.file",
        Must,
        "config-linux.md, Readonly Paths: cannot be written",
        readonly_file,
    ),
    case(
        "linux.readonly.directory",
        Must,
        "config-linux.md, Readonly Paths: nothing below can be written",
        readonly_directory,
    ),
    case(
        "linux.readonly.missing",
        Must,
        "config-linux.md, Readonly Paths: a path that is not there is no error",
        readonly_missing,
    ),
    case(
        "linux.rootfs-propagation.values",
        Must,
        "config-linux.md, Rootfs Mount Propagation: the mode of the root",
        root_propagation,
    ),
    case(
        "linux.rootfs-propagation.host-unchanged",
        Must,
        "config-linux.md, Rootfs Mount Propagation: mounts inside do not reach the host",
        propagation_contained,
    ),
    case(
        "linux.personality.linux32",
        Must,
        "config-linux.md, Personality: LINUX32 is what uname tells",
        personality,
    ),
    case(
        "linux.personality.unknown",
        Must,
        "config.md, Valid values: an unknown domain is an error",
        personality_unknown,
    ),
    case(
        "linux.memory-policy.bind",
        Must,
        "config-linux.md, Memory policy: mode and nodes",
        memory_policy,
    ),
    case(
        "linux.memory-policy.unknown",
        Must,
        "config.md, Valid values: an unknown mode is an error",
        memory_policy_unknown,
    ),
    case(
        "linux.rdt.not-mounted",
        Must,
        "config-linux.md, IntelRdt: without a mounted resctrl it is an error",
        rdt,
    ),
];

fn filesystems(scene: &Scene) -> Verdict {
    let seen = scene
        .bundle()?
        .namespace("network", None)
        .mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        )
        .mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777"])
        .mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])
        .mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
        .report()?;
    let table = [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
    ];
    let mounts = seen["mounts"].as_array().cloned().unwrap_or_default();
    for (point, kind) in table {
        let found = mounts.iter().rev().find(|mount| mount["point"] == point);
        ensure!(found.is_some_and(|mount| mount["type"] == kind), "{point} is not a {kind}");
    }
    Ok(())
}

const DEFAULT: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

fn default_devices(scene: &Scene) -> Verdict {
    let mut operations: Vec<Value> =
        DEFAULT.iter().map(|(name, ..)| json!(["stat", format!("/dev/{name}")])).collect();
    operations.push(json!(["lstat", "/dev/ptmx"]));
    let ran = scene
        .bundle()?
        .mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"])
        .operations(json!(operations))
        .run()?;
    for (index, (name, major, minor)) in DEFAULT.iter().enumerate() {
        let seen = ran.value(index)?;
        ensure_eq!(seen["kind"], json!("char"), "/dev/{name}");
        ensure_eq!(
            (seen["major"].as_u64(), seen["minor"].as_u64()),
            (Some(*major), Some(*minor)),
            "numbers of /dev/{name}"
        );
    }
    let kind = ran.value(DEFAULT.len())?["kind"].clone();
    ensure!(kind == "symlink" || kind == "char", "/dev/ptmx is a {kind}");
    Ok(())
}

fn default_usable(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .operations(json!([
            ["write", "/dev/null", "x"],
            ["open", "/dev/zero", "rw"],
            ["write", "/dev/full", "x"],
            ["open", "/dev/random", "r"],
            ["open", "/dev/urandom", "r"],
        ]))
        .run()?;
    for (index, wanted) in ["ok", "ok", "ENOSPC", "ok", "ok"].iter().enumerate() {
        ensure_eq!(ran.error(index)?, *wanted, "operation {index}: {}", ran.lines[index]["op"]);
    }
    Ok(())
}

fn configured(scene: &Scene) -> Verdict {
    let device = json!({
        "type": "c", "path": "/dev/mine", "major": 1, "minor": 5,
        "fileMode": 0o640, "uid": 12, "gid": 34,
    });
    let block =
        json!({ "type": "b", "path": "/dev/block", "major": 7, "minor": 200, "fileMode": 0o600 });
    let ran = scene
        .bundle()?
        .push("/linux/devices", device)
        .push("/linux/devices", block)
        .operations(json!([["lstat", "/dev/mine"], ["lstat", "/dev/block"]]))
        .run()?;
    let seen = ran.value(0)?;
    ensure_eq!(seen["kind"], json!("char"), "kind");
    ensure_eq!((seen["major"].as_u64(), seen["minor"].as_u64()), (Some(1), Some(5)), "numbers");
    ensure_eq!(seen["mode"], json!(0o640), "mode");
    ensure_eq!((seen["uid"].as_u64(), seen["gid"].as_u64()), (Some(12), Some(34)), "owner");
    let block = ran.value(1)?;
    ensure_eq!(block["kind"], json!("block"), "kind of the block device");
    ensure_eq!(
        (block["major"].as_u64(), block["minor"].as_u64()),
        (Some(7), Some(200)),
        "numbers of the block device"
    );
    Ok(())
}

fn fifo(scene: &Scene) -> Verdict {
    let device = json!({ "type": "p", "path": "/dev/fifo", "fileMode": 0o622 });
    let ran = scene
        .bundle()?
        .push("/linux/devices", device)
        .operations(json!([["lstat", "/dev/fifo"]]))
        .run()?;
    ensure_eq!(ran.value(0)?["kind"], json!("fifo"), "kind");
    Ok(())
}

fn outside_dev(scene: &Scene) -> Verdict {
    let device = json!({ "type": "c", "path": "/some/where/null", "major": 1, "minor": 3 });
    let bundle = scene.bundle()?.push("/linux/devices", device);
    let ran = bundle.operations(json!([["lstat", "/some/where/null"]])).run()?;
    ensure_eq!(ran.value(0)?["kind"], json!("char"), "kind");
    Ok(())
}

fn conflict(scene: &Scene) -> Verdict {
    let device = json!({ "type": "c", "path": "/there", "major": 1, "minor": 3 });
    scene.bundle()?.file("/there", "a file")?.push("/linux/devices", device).refused().map(drop)
}

fn same_exists(scene: &Scene) -> Verdict {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let bundle = scene.bundle()?;
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&bundle.root().join("there"), SFlag::S_IFCHR, mode, makedev(1, 3))?;
    let device =
        json!({ "type": "c", "path": "/there", "major": 1, "minor": 3, "fileMode": 0o666 });
    let ran =
        bundle.push("/linux/devices", device).operations(json!([["lstat", "/there"]])).run()?;
    ensure_eq!(ran.value(0)?["kind"], json!("char"), "kind");
    Ok(())
}

fn unknown_device(scene: &Scene) -> Verdict {
    for kind in ["", "x", "char", "cc"] {
        let device = json!({ "type": kind, "path": "/dev/mine", "major": 1, "minor": 3 });
        scene.bundle()?.push("/linux/devices", device).refused()?;
    }
    Ok(())
}

/// 1:11 is the kernel's log, 10:200 tun: neither is a default device.
fn not_listed(scene: &Scene) -> Verdict {
    crate::cgroups::require_devices()?;
    let ran = scene
        .bundle()?
        .push("/linux/resources/devices", json!({ "allow": false, "access": "rwm" }))
        .operations(json!([["mknod", "/kmsg", "c", 1, 11], ["open", "/kmsg", "r"]]))
        .run()?;
    let (made, opened) = (ran.error(0)?, ran.error(1)?);
    ensure!(made == "EPERM" || opened == "EPERM", "mknod: {made}, open: {opened}");
    Ok(())
}

fn sysctl_network(scene: &Scene) -> Verdict {
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap_or_default();
    let ran = scene
        .bundle()?
        .namespace("network", None)
        .set("/linux/sysctl", json!({ "net.ipv4.ip_default_ttl": "33" }))
        .operations(json!([["read", "/proc/sys/net/ipv4/ip_default_ttl"]]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("33\n"), "value inside");
    ensure_eq!(
        fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap_or_default(),
        before,
        "value outside"
    );
    Ok(())
}

fn sysctl_ipc(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .set("/linux/sysctl", json!({ "kernel.msgmax": "9000", "fs.mqueue.msg_max": "20" }))
        .operations(json!([
            ["read", "/proc/sys/kernel/msgmax"],
            ["read", "/proc/sys/fs/mqueue/msg_max"]
        ]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("9000\n"), "kernel.msgmax");
    ensure_eq!(ran.value(1)?, json!("20\n"), "fs.mqueue.msg_max");
    Ok(())
}

fn sysctl_unknown(scene: &Scene) -> Verdict {
    scene
        .bundle()?
        .namespace("network", None)
        .set("/linux/sysctl", json!({ "net.no.such.key": "1" }))
        .refused_by_run()
        .map(drop)
}

fn masked_file(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .file("/secret", "secret")?
        .set("/linux/maskedPaths", json!(["/secret", "/proc/version"]))
        .operations(json!([["read", "/secret"], ["read", "/proc/version"]]))
        .run()?;
    for index in 0..2 {
        let nothing = ran.error(index)? != "ok" || ran.value(index)? == json!("");
        ensure!(nothing, "a masked file shows {}", ran.lines[index]);
    }
    Ok(())
}

fn masked_directory(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .file("/hidden/secret", "secret")?
        .set("/linux/maskedPaths", json!(["/hidden", "/proc/fs"]))
        .operations(json!([
            ["list", "/hidden"],
            ["read", "/hidden/secret"],
            ["create", "/hidden/new"]
        ]))
        .run()?;
    ensure!(
        ran.error(0)? != "ok" || ran.value(0)? == json!([]),
        "a masked directory shows {}",
        ran.lines[0]
    );
    ensure!(ran.error(1)? != "ok", "a file of a masked directory was read");
    ensure!(ran.error(2)? != "ok", "a file of a masked directory was made");
    Ok(())
}

fn masked_missing(scene: &Scene) -> Verdict {
    scene
        .bundle()?
        .set("/linux/maskedPaths", json!(["/not/there", "/proc/none"]))
        .report()
        .map(drop)
}

fn readonly_file(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .file("/plain", "text")?
        .set("/linux/readonlyPaths", json!(["/plain"]))
        .operations(json!([["write", "/plain", "x"], ["read", "/plain"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "EROFS", "write");
    ensure_eq!(ran.value(1)?, json!("text"), "content");
    Ok(())
}

fn readonly_directory(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .file("/folder/deep/plain", "text")?
        .set("/linux/readonlyPaths", json!(["/folder", "/proc/sys"]))
        .operations(json!([
            ["create", "/folder/new"],
            ["write", "/folder/deep/plain", "x"],
            ["write", "/proc/sys/kernel/msgmax", "8192"],
            ["create", "/elsewhere"],
        ]))
        .run()?;
    for (index, wanted) in ["EROFS", "EROFS", "EROFS", "ok"].iter().enumerate() {
        ensure_eq!(ran.error(index)?, *wanted, "{}", ran.lines[index]["op"]);
    }
    Ok(())
}

fn readonly_missing(scene: &Scene) -> Verdict {
    scene
        .bundle()?
        .set("/linux/readonlyPaths", json!(["/not/there", "/proc/none"]))
        .report()
        .map(drop)
}

fn root_propagation(scene: &Scene) -> Verdict {
    for (value, wanted) in
        [("shared", "shared:"), ("slave", "master:"), ("private", ""), ("unbindable", "unbindable")]
    {
        let seen = scene.bundle()?.set("/linux/rootfsPropagation", json!(value)).report()?;
        let mounts = seen["mounts"].as_array().cloned().unwrap_or_default();
        let root = mounts.iter().find(|mount| mount["point"] == "/").cloned().unwrap_or_default();
        let fields = root["propagation"].to_string();
        // A slave of a private mount is private.
        let fits = match value {
            "slave" => !fields.contains("shared:"),
            "private" => fields == "[]",
            _ => fields.contains(wanted),
        };
        ensure!(fits, "{value}: the root's propagation fields are {fields}");
    }
    Ok(())
}

fn propagation_contained(scene: &Scene) -> Verdict {
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    for value in ["private", "slave"] {
        let bundle =
            scene.bundle()?.folder("/inner")?.set("/linux/rootfsPropagation", json!(value));
        let bundle = bundle.mount("/tmp", "tmpfs", "tmpfs", &[]);
        bundle.report()?;
    }
    ensure_eq!(fs::read_to_string("/proc/self/mountinfo")?, before, "mounts of the host");
    Ok(())
}

/// Properties newer than the runtime are unknown ones to it.
pub(super) fn require_minor(scene: &Scene, property: &str, minor: u32) -> Result<(), Stop> {
    let features = scene.features()?;
    let max = features["ociVersionMax"].as_str().unwrap_or_default().to_owned();
    let known = max.split('.').nth(1).and_then(|text| text.parse::<u32>().ok());
    if known.unwrap_or_default() < minor {
        return skipped(format!("{property} came with 1.{minor}; the runtime knows {max}"));
    }
    Ok(())
}

fn personality(scene: &Scene) -> Verdict {
    require_minor(scene, "personality", 1)?;
    let seen =
        scene.bundle()?.set("/linux/personality", json!({ "domain": "LINUX32" })).report()?;
    ensure_eq!(seen["machine"], json!("i686"), "machine");
    let seen = scene.bundle()?.set("/linux/personality", json!({ "domain": "LINUX" })).report()?;
    ensure_eq!(seen["machine"], json!("x86_64"), "machine");
    Ok(())
}

fn personality_unknown(scene: &Scene) -> Verdict {
    require_minor(scene, "personality", 1)?;
    scene
        .bundle()?
        .set("/linux/personality", json!({ "domain": "NONSENSE" }))
        .refused_by_run()
        .map(drop)
}

fn memory_policy(scene: &Scene) -> Verdict {
    require_minor(scene, "memoryPolicy", 3)?;
    let policy = json!({ "mode": "MPOL_BIND", "nodes": "0" });
    let seen = scene.bundle()?.set("/linux/memoryPolicy", policy).report()?;
    let Some(text) = seen["numa_maps"].as_str() else {
        return skipped("the kernel has no numa_maps");
    };
    ensure!(text.contains(" bind:0 "), "numa_maps: {}", text.lines().next().unwrap_or_default());
    Ok(())
}

fn memory_policy_unknown(scene: &Scene) -> Verdict {
    require_minor(scene, "memoryPolicy", 3)?;
    let policy = json!({ "mode": "MPOL_NONSENSE", "nodes": "0" });
    scene.bundle()?.set("/linux/memoryPolicy", policy).refused_by_run().map(drop)
}

fn rdt(scene: &Scene) -> Verdict {
    if fs::read_to_string("/proc/self/mountinfo")?.contains(" - resctrl ") {
        return skipped("resctrl is mounted here");
    }
    scene.bundle()?.set("/linux/intelRdt", json!({ "closID": "conformance" })).refused().map(drop)
}
