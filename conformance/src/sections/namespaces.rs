//! config-linux.md: namespaces, user namespace mappings, time offsets.

use crate::case::Level::{Must, Should};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, skipped};
use crate::container::Container;
use crate::scene::Scene;
use serde_json::{Value, json};
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "namespaces.new.each-type",
        Must,
        "config-linux.md, Namespaces: without a path the namespace is new",
        new,
    ),
    case(
        "namespaces.new.cgroup",
        Should,
        "config-linux.md, Namespaces: cgroup namespaces",
        new_cgroup,
    ),
    case("namespaces.new.time", Should, "config-linux.md, Namespaces: time namespaces", new_time),
    case("namespaces.new.user", Should, "config-linux.md, Namespaces: user namespaces", new_user),
    case(
        "namespaces.absent.inherited",
        Must,
        "config-linux.md, Namespaces: what is not listed is the runtime's",
        inherited,
    ),
    case(
        "namespaces.path.joined",
        Must,
        "config-linux.md, Namespaces: the process is placed in the namespace at path",
        joined,
    ),
    case(
        "namespaces.path.pid",
        Must,
        "config-linux.md, Namespaces: the pid namespace at path",
        joined_pid,
    ),
    case(
        "namespaces.path.relative",
        Must,
        "config-linux.md, Namespaces: path has to be absolute",
        path_relative,
    ),
    case(
        "namespaces.path.missing",
        Must,
        "runtime.md, Create: what cannot be applied is an error",
        path_missing,
    ),
    case(
        "namespaces.path.wrong-type",
        Must,
        "config-linux.md, Namespaces: a path of another type is an error",
        path_wrong_type,
    ),
    case(
        "namespaces.path.not-a-namespace",
        Must,
        "config-linux.md, Namespaces: a path that is no namespace is an error",
        path_plain,
    ),
    case(
        "namespaces.type.duplicate",
        Must,
        "config-linux.md, Namespaces: a type given twice is an error",
        duplicate,
    ),
    case(
        "namespaces.type.unknown",
        Must,
        "config.md, Valid values: an unknown type is an error",
        unknown,
    ),
    case(
        "namespaces.pid.first",
        Must,
        "config-linux.md, Namespaces: in a new pid namespace only the container's processes",
        pid_one,
    ),
    case(
        "namespaces.network.only-loopback",
        Must,
        "config-linux.md, Namespaces: a new network namespace has its own stack",
        network,
    ),
    case(
        "user.mappings.exact",
        Must,
        "config-linux.md, User namespace mappings: the maps of the process",
        mappings,
    ),
    case(
        "user.mappings.several",
        Must,
        "config-linux.md, User namespace mappings: several entries",
        mappings_several,
    ),
    case(
        "user.mappings.root-owns-devices",
        Must,
        "config-linux.md, Default devices: also in a user namespace",
        user_devices,
    ),
    case(
        "user.ids.in-namespace",
        Must,
        "config.md, POSIX-platform User: ids are those of the container's namespace",
        user_ids,
    ),
    case(
        "time.offsets.set",
        Must,
        "config-linux.md, Offset for time namespace: the offsets of the process",
        time_offsets,
    ),
];

const TYPES: [(&str, &str); 5] =
    [("pid", "pid"), ("network", "net"), ("mount", "mnt"), ("ipc", "ipc"), ("uts", "uts")];

fn own(name: &str) -> Result<Value, Stop> {
    match fs::read_link(format!("/proc/self/ns/{name}")) {
        Ok(link) => Ok(json!(link.to_string_lossy())),
        Err(_) => skipped(format!("the kernel has no {name} namespaces")),
    }
}

fn new(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.namespace("network", None).report()?;
    for (kind, name) in TYPES {
        ensure!(seen["namespaces"][name].is_string(), "no {kind} namespace in the report");
        ensure!(seen["namespaces"][name] != own(name)?, "the {kind} namespace is the runtime's");
    }
    Ok(())
}

fn new_cgroup(scene: &Scene) -> Verdict {
    let before = own("cgroup")?;
    let seen = scene.bundle()?.namespace("cgroup", None).report()?;
    ensure!(seen["namespaces"]["cgroup"] != before, "the cgroup namespace is the runtime's");
    let own_group = seen["cgroup"].as_str().unwrap_or_default();
    // The unified hierarchy may carry nothing that the runtime uses.
    let line = own_group.lines().find(|line| line.contains(":pids:") || line.contains(":memory:"));
    ensure!(
        line.is_none_or(|line| line.ends_with(":/")),
        "the container's group is not its root: {own_group}"
    );
    Ok(())
}

fn require_type(scene: &Scene, kind: &str) -> Verdict {
    scene.require_feature("/linux/namespaces", kind)
}

fn new_time(scene: &Scene) -> Verdict {
    require_type(scene, "time")?;
    let before = own("time")?;
    let seen = scene.bundle()?.namespace("time", None).report()?;
    ensure!(seen["namespaces"]["time"] != before, "the time namespace is the runtime's");
    Ok(())
}

fn new_user(scene: &Scene) -> Verdict {
    let before = own("user")?;
    let seen = scene.bundle()?.user_namespace()?.report()?;
    ensure!(seen["namespaces"]["user"] != before, "the user namespace is the runtime's");
    Ok(())
}

fn inherited(scene: &Scene) -> Verdict {
    for (kind, name) in TYPES.iter().chain(&[("cgroup", "cgroup"), ("user", "user")]) {
        // Without a mount namespace of its own a container would change the
        // runtime's mounts; runtimes may refuse it.
        if *kind == "mount" {
            continue;
        }
        let bundle = scene.bundle()?.without_namespace(kind);
        let seen =
            if *kind == "pid" { bundle.without_namespace("ipc") } else { bundle }.report()?;
        ensure_eq!(seen["namespaces"][name], own(name)?, "{kind} namespace that is not listed");
    }
    Ok(())
}

fn holder<'s>(scene: &'s Scene) -> Result<Container<'s>, Stop> {
    let holder = scene
        .bundle()?
        .namespace("network", None)
        .operations(json!([["report"], ["hold"]]))
        .start()?;
    holder.wait_lines(2)?;
    Ok(holder)
}

fn joined(scene: &Scene) -> Verdict {
    let holder = holder(scene)?;
    let pid = holder.pid()?;
    let held = holder.lines()[0]["value"]["namespaces"].clone();
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        let path = format!("/proc/{pid}/ns/{name}");
        let seen = scene.bundle()?.namespace(kind, Some(&path)).report()?;
        ensure_eq!(seen["namespaces"][name], held[name], "{kind} namespace at {path}");
    }
    Ok(())
}

fn joined_pid(scene: &Scene) -> Verdict {
    let holder = holder(scene)?;
    let held = holder.lines()[0]["value"]["namespaces"]["pid"].clone();
    let path = format!("/proc/{}/ns/pid", holder.pid()?);
    let seen = scene.bundle()?.namespace("pid", Some(&path)).report()?;
    ensure_eq!(seen["namespaces"]["pid"], held, "pid namespace at {path}");
    ensure!(seen["pid"] != json!(1), "pid 1 of a joined namespace");
    Ok(())
}

fn path_relative(scene: &Scene) -> Verdict {
    scene.bundle()?.namespace("uts", Some("proc/self/ns/uts")).refused().map(drop)
}

fn path_missing(scene: &Scene) -> Verdict {
    scene.bundle()?.namespace("uts", Some("/nonexistent/ns")).refused().map(drop)
}

fn path_wrong_type(scene: &Scene) -> Verdict {
    for (kind, path) in [
        ("uts", "/proc/self/ns/ipc"),
        ("ipc", "/proc/self/ns/net"),
        ("network", "/proc/self/ns/uts"),
    ] {
        scene.bundle()?.namespace(kind, Some(path)).refused()?;
    }
    Ok(())
}

fn path_plain(scene: &Scene) -> Verdict {
    for path in ["/dev/null", "/proc/self/status", "/proc"] {
        scene.bundle()?.namespace("uts", Some(path)).refused()?;
    }
    Ok(())
}

fn duplicate(scene: &Scene) -> Verdict {
    for kind in ["pid", "mount", "uts", "ipc"] {
        scene.bundle()?.push("/linux/namespaces", json!({ "type": kind })).refused()?;
    }
    Ok(())
}

fn unknown(scene: &Scene) -> Verdict {
    for kind in ["", "net", "PID", "mnt", "nonsense"] {
        scene.bundle()?.push("/linux/namespaces", json!({ "type": kind })).refused()?;
    }
    Ok(())
}

fn pid_one(scene: &Scene) -> Verdict {
    let ran = scene.bundle()?.operations(json!([["report"], ["list", "/proc"]])).run()?;
    ensure_eq!(ran.value(0)?["pid"], json!(1), "pid of the program");
    let names = ran.value(1)?;
    let pids: Vec<&str> = names
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    ensure_eq!(pids, ["1"], "processes in /proc");
    Ok(())
}

fn network(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.namespace("network", None).report()?;
    let text = seen["interfaces"].as_str().unwrap_or_default().to_owned();
    let foreign: Vec<&str> = text
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .map(str::trim)
        // Fallback devices of tunnel modules appear in every namespace.
        .filter(|name| {
            ![
                "lo", "tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0",
                "ip6_vti0", "ip6gre0",
            ]
            .contains(name)
        })
        .collect();
    ensure!(foreign.is_empty(), "interfaces in a new network namespace: {foreign:?}");
    Ok(())
}

fn map_of(report: &Value, name: &str) -> Vec<Vec<u64>> {
    let text = report[name].as_str().unwrap_or_default();
    text.lines()
        .map(|line| line.split_whitespace().filter_map(|field| field.parse().ok()).collect())
        .collect()
}

fn mappings(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.user_namespace()?.report()?;
    ensure_eq!(map_of(&seen, "uid_map"), [[0, 100_000, 65536]], "uid_map");
    ensure_eq!(map_of(&seen, "gid_map"), [[0, 100_000, 65536]], "gid_map");
    Ok(())
}

fn mappings_several(scene: &Scene) -> Verdict {
    let uids = json!([
        { "containerID": 0, "hostID": 100_000, "size": 1000 },
        { "containerID": 5000, "hostID": 300_000, "size": 10 },
    ]);
    let seen = scene.bundle()?.user_namespace()?.set("/linux/uidMappings", uids).report()?;
    ensure_eq!(map_of(&seen, "uid_map"), [[0, 100_000, 1000], [5000, 300_000, 10]], "uid_map");
    ensure_eq!(map_of(&seen, "gid_map"), [[0, 100_000, 65536]], "gid_map");
    Ok(())
}

fn user_devices(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .user_namespace()?
        .operations(json!([
            ["open", "/dev/null", "rw"],
            ["open", "/dev/zero", "r"],
            ["lstat", "/dev/null"]
        ]))
        .run()?;
    ensure_eq!((ran.error(0)?, ran.error(1)?), ("ok", "ok"), "opening /dev/null and /dev/zero");
    ensure_eq!(ran.value(2)?["kind"], json!("char"), "/dev/null");
    Ok(())
}

fn user_ids(scene: &Scene) -> Verdict {
    let user = json!({ "uid": 1000, "gid": 2000, "additionalGids": [3000] });
    let bundle = scene.bundle()?.user_namespace()?.set("/process/user", user);
    let container = bundle.operations(json!([["report"], ["hold"]])).start()?;
    let seen = container.wait_lines(2)?[0]["value"].clone();
    ensure_eq!(seen["uid"], json!([1000, 1000, 1000, 1000]), "uids inside");
    ensure_eq!(seen["gid"], json!([2000, 2000, 2000, 2000]), "gids inside");
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
    ensure!(status.contains("Uid:\t101000\t101000"), "uids outside: {status}");
    ensure!(status.contains("Gid:\t102000\t102000"), "gids outside: {status}");
    Ok(())
}

fn time_offsets(scene: &Scene) -> Verdict {
    require_type(scene, "time")?;
    let offsets =
        json!({ "monotonic": { "secs": 1000, "nanosecs": 5 }, "boottime": { "secs": 2000 } });
    let seen =
        scene.bundle()?.namespace("time", None).set("/linux/timeOffsets", offsets).report()?;
    let text = seen["time_offsets"].as_str().unwrap_or_default().to_owned();
    let fields: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure_eq!(fields, [["monotonic", "1000", "5"], ["boottime", "2000", "0"]], "timens_offsets");
    Ok(())
}
