//! config-linux.md, Control groups: where the container is, and its limits,
//! read back from the host.

use crate::bundle::Bundle;
use crate::case::Level::{Must, Should};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, skipped};
use crate::cgroups::{self, Controller};
use crate::container::Container;
use crate::scene::Scene;
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    case(
        "cgroup.path.absolute",
        Must,
        "config-linux.md, Cgroups Path: an absolute path is below the mount point",
        absolute,
    ),
    case(
        "cgroup.path.nested",
        Must,
        "config-linux.md, Cgroups Path: directories above are made",
        nested,
    ),
    case(
        "cgroup.path.relative",
        Must,
        "config-linux.md, Cgroups Path: the same relative path is the same place",
        relative,
    ),
    case(
        "cgroup.path.absent",
        Must,
        "config-linux.md, Cgroups Path: the runtime chooses, and cleans up",
        absent,
    ),
    case(
        "cgroup.path.removed",
        Must,
        "runtime.md, Delete: the groups that create made are removed",
        removed,
    ),
    case(
        "cgroup.devices.default-denied",
        Must,
        "config-linux.md, Allowed Device list: entries are applied in the listed order",
        devices_order,
    ),
    case(
        "cgroup.devices.allow-read-only",
        Must,
        "config-linux.md, Allowed Device list: access",
        devices_access,
    ),
    case("cgroup.devices.block", Must, "config-linux.md, Allowed Device list: type", devices_type),
    case("cgroup.memory.limit", Must, "config-linux.md, Memory: limit", memory_limit),
    case(
        "cgroup.memory.reservation",
        Must,
        "config-linux.md, Memory: reservation",
        memory_reservation,
    ),
    case(
        "cgroup.memory.unlimited",
        Must,
        "config-linux.md, Memory: -1 takes the limit away",
        memory_unlimited,
    ),
    case(
        "cgroup.memory.enforced",
        Must,
        "config-linux.md, Memory: more than the limit is not to be had",
        memory_enforced,
    ),
    case("cgroup.cpu.shares", Must, "config-linux.md, CPU: shares", cpu_shares),
    case("cgroup.cpu.quota", Must, "config-linux.md, CPU: quota and period", cpu_quota),
    case("cgroup.cpu.cpuset", Must, "config-linux.md, CPU: cpus and mems", cpuset),
    case(
        "cgroup.cpu.cpuset-seen-inside",
        Must,
        "config-linux.md, CPU: the process may use the cpus of the list",
        cpuset_inside,
    ),
    case(
        "cgroup.cpu.cpuset-invalid",
        Must,
        "runtime.md, Create: what cannot be applied is an error",
        cpuset_invalid,
    ),
    case("cgroup.pids.limit", Must, "config-linux.md, PIDs: limit", pids_limit),
    case(
        "cgroup.pids.enforced",
        Must,
        "config-linux.md, PIDs: no more processes than the limit",
        pids_enforced,
    ),
    case("cgroup.hugepages.limit", Must, "config-linux.md, Huge page limits: limit", hugepages),
    case(
        "cgroup.unified.unknown-controller",
        Must,
        "config-linux.md, Unified: a controller that is not there is an error",
        unified_unknown,
    ),
    case(
        "cgroup.mount.own-group",
        Should,
        "config.md, Mounts: a mount of type cgroup shows the container's groups",
        cgroup_mount,
    ),
];

pub(super) fn held<'s>(bundle: Bundle<'s>) -> Result<Container<'s>, Stop> {
    let container = bundle.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    Ok(container)
}

/// A container with the resources, and its place in the controller.
pub(super) fn limited<'s>(
    scene: &'s Scene,
    controller: &str,
    pointer: &str,
    value: Value,
) -> Result<(Container<'s>, Controller), Stop> {
    cgroups::require(controller)?;
    let container = held(scene.bundle()?.set(&format!("/linux/resources/{pointer}"), value))?;
    let place = cgroups::controller(container.pid()?, controller)?;
    Ok((container, place))
}

/// A controller that the runtime certainly uses on v1; the v2 group otherwise.
fn any_controller() -> &'static str {
    if cgroups::require("memory").is_ok() { "memory" } else { "" }
}

fn place(container: &Container<'_>) -> Result<String, Stop> {
    let wanted = any_controller();
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    let line = text.lines().find(|line| match line.split(':').nth(1) {
        Some(names) => names.split(',').any(|name| name == wanted),
        None => false,
    });
    let line = match line {
        Some(line) => line,
        None => text.lines().last().unwrap_or_default(),
    };
    Ok(line.splitn(3, ':').nth(2).unwrap_or_default().to_owned())
}

fn absolute(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    let path = format!("/{}", bundle.id);
    let container = held(bundle)?;
    ensure_eq!(place(&container)?, path, "group of the process");
    Ok(())
}

fn nested(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    let path = format!("/{}/a/b", bundle.id);
    let top = format!("/{}", bundle.id);
    let container = held(bundle.set("/linux/cgroupsPath", json!(path)))?;
    ensure_eq!(place(&container)?, path, "group of the process");
    container.kill("KILL")?;
    container.wait_end()?;
    container.delete()?;
    // Whether directories above the group are removed is left open.
    for hierarchy in cgroups::hierarchies() {
        let top = hierarchy.point.join(top.trim_start_matches('/'));
        ensure!(!top.join("a/b").exists(), "{} is left", top.join("a/b").display());
        if top.exists() {
            cgroups::remove(&top)?;
        }
    }
    Ok(())
}

fn relative(scene: &Scene) -> Verdict {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let bundle =
            scene.bundle()?.set("/linux/cgroupsPath", json!(format!("{}-same", scene.mark)));
        let container = held(bundle)?;
        seen.push(place(&container)?);
        container.kill("KILL")?;
        container.wait_end()?;
        container.delete()?;
    }
    ensure!(seen[0].ends_with(&format!("{}-same", scene.mark)), "group: {}", seen[0]);
    ensure_eq!(seen[0], seen[1], "group the second time");
    Ok(())
}

fn absent(scene: &Scene) -> Verdict {
    let container = held(scene.bundle()?.remove("/linux/cgroupsPath"))?;
    container.kill("KILL")?;
    container.wait_end()?;
    container.delete()
}

fn removed(scene: &Scene) -> Verdict {
    let container = held(scene.bundle()?)?;
    ensure!(
        !cgroups::groups_named(&container.id).is_empty(),
        "no group carries the name of cgroupsPath"
    );
    container.kill("KILL")?;
    container.wait_end()?;
    container.delete()?;
    let left = cgroups::groups_named(&container.id);
    ensure!(left.is_empty(), "groups after delete: {left:?}");
    Ok(())
}

pub(super) fn rule(allow: bool, kind: &str, major: u64, minor: u64, access: &str) -> Value {
    json!({ "allow": allow, "type": kind, "major": major, "minor": minor, "access": access })
}

/// 10:229 (fuse) is nobody's default device, and opening it needs no
/// capability. Without its driver an allowed open fails, but not by EPERM.
pub(super) const RARE: (u64, u64) = (10, 229);

/// Runtimes may let containers make nodes of any device: the nodes lie in the
/// bundle, and only opening them is looked at.
pub(super) fn with_node(bundle: Bundle<'_>) -> Result<Bundle<'_>, Stop> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&bundle.root().join("rare"), SFlag::S_IFCHR, mode, makedev(RARE.0, RARE.1))?;
    mknod(&bundle.root().join("block"), SFlag::S_IFBLK, mode, makedev(7, 77))?;
    Ok(bundle)
}

pub(super) fn denied(ran: &crate::container::Ran, index: usize) -> Result<bool, Stop> {
    Ok(ran.error(index)? == "EPERM")
}

fn devices_order(scene: &Scene) -> Verdict {
    cgroups::require_devices()?;
    let all = json!({ "allow": false, "access": "rwm" });
    let one = rule(true, "c", RARE.0, RARE.1, "rwm");
    let no = rule(false, "c", RARE.0, RARE.1, "rwm");
    let table = [(json!([all, one]), false), (json!([all, one, no]), true), (json!([all]), true)];
    for (rules, wanted) in table {
        let bundle = with_node(scene.bundle()?)?.set("/linux/resources/devices", rules.clone());
        let ran = bundle.operations(json!([["open", "/rare", "rw"]])).run()?;
        ensure_eq!(denied(&ran, 0)?, wanted, "open refused with {rules}");
    }
    Ok(())
}

fn devices_access(scene: &Scene) -> Verdict {
    cgroups::require_devices()?;
    for (access, refused) in [("r", [false, true, true]), ("w", [true, false, true])] {
        let one = rule(true, "c", RARE.0, RARE.1, access);
        let rules = json!([{ "allow": false, "access": "rwm" }, one]);
        let ran = with_node(scene.bundle()?)?
            .set("/linux/resources/devices", rules)
            .operations(json!([
                ["open", "/rare", "r"],
                ["open", "/rare", "w"],
                ["open", "/rare", "rw"]
            ]))
            .run()?;
        for (index, refused) in refused.iter().enumerate() {
            ensure_eq!(
                denied(&ran, index)?,
                *refused,
                "refused with {access}: {}",
                ran.lines[index]["op"]
            );
        }
    }
    Ok(())
}

fn devices_type(scene: &Scene) -> Verdict {
    cgroups::require_devices()?;
    for (kind, refused) in [("b", false), ("c", true)] {
        let rules = json!([{ "allow": false, "access": "rwm" }, rule(true, kind, 7, 77, "rwm")]);
        let bundle = with_node(scene.bundle()?)?.set("/linux/resources/devices", rules);
        let ran = bundle.operations(json!([["open", "/block", "r"]])).run()?;
        ensure_eq!(denied(&ran, 0)?, refused, "open refused with a rule of type {kind}");
    }
    Ok(())
}

pub(super) const MEGABYTE: u64 = 1 << 20;

fn memory_limit(scene: &Scene) -> Verdict {
    let (_container, place) = limited(scene, "memory", "memory/limit", json!(64 * MEGABYTE))?;
    ensure_eq!(
        place.read("memory.limit_in_bytes", "memory.max")?,
        (64 * MEGABYTE).to_string(),
        "limit"
    );
    Ok(())
}

fn memory_reservation(scene: &Scene) -> Verdict {
    let (_container, place) = limited(scene, "memory", "memory/reservation", json!(32 * MEGABYTE))?;
    ensure_eq!(
        place.read("memory.soft_limit_in_bytes", "memory.low")?,
        (32 * MEGABYTE).to_string(),
        "reservation"
    );
    Ok(())
}

fn memory_unlimited(scene: &Scene) -> Verdict {
    let (_container, place) = limited(scene, "memory", "memory/limit", json!(-1))?;
    let seen = place.read("memory.limit_in_bytes", "memory.max")?;
    let huge = seen == "max" || seen.parse::<u64>().is_ok_and(|bytes| bytes > 1 << 60);
    ensure!(huge, "limit: {seen}");
    Ok(())
}

fn memory_enforced(scene: &Scene) -> Verdict {
    cgroups::require("memory")?;
    let bundle = scene
        .bundle()?
        .set("/linux/resources/memory", json!({ "limit": 48 * MEGABYTE, "swap": 48 * MEGABYTE }))
        .operations(json!([["echo", "before"], ["allocate", 256 * MEGABYTE], ["echo", "after"]]));
    let ran = bundle.run()?;
    ensure_eq!(ran.lines.len(), 1, "lines of the program");
    ensure_eq!(ran.answer.code, 137, "exit code");
    Ok(())
}

fn cpu_shares(scene: &Scene) -> Verdict {
    let (_container, place) = limited(scene, "cpu", "cpu/shares", json!(512))?;
    let seen = place.read("cpu.shares", "cpu.weight")?;
    // Two formulas from shares to weight are in use: linear and logarithmic.
    let fits =
        if place.version == 1 { seen == "512" } else { ["20", "59"].contains(&seen.as_str()) };
    ensure!(fits, "shares or weight: {seen}");
    Ok(())
}

fn cpu_quota(scene: &Scene) -> Verdict {
    let cpu = json!({ "quota": 20_000, "period": 50_000 });
    let (_container, place) = limited(scene, "cpu", "cpu", cpu)?;
    if place.version == 1 {
        ensure_eq!(place.read("cpu.cfs_quota_us", "")?, "20000", "quota");
        ensure_eq!(place.read("cpu.cfs_period_us", "")?, "50000", "period");
    } else {
        ensure_eq!(place.read("", "cpu.max")?, "20000 50000", "quota and period");
    }
    Ok(())
}

fn cpuset(scene: &Scene) -> Verdict {
    let (_container, place) = limited(scene, "cpuset", "cpu", json!({ "cpus": "0", "mems": "0" }))?;
    ensure_eq!(place.read("cpuset.cpus", "cpuset.cpus")?, "0", "cpus");
    ensure_eq!(place.read("cpuset.mems", "cpuset.mems")?, "0", "mems");
    Ok(())
}

fn cpuset_inside(scene: &Scene) -> Verdict {
    cgroups::require("cpuset")?;
    let seen = scene.bundle()?.set("/linux/resources/cpu", json!({ "cpus": "0" })).report()?;
    ensure_eq!(seen["cpus"], json!("0"), "Cpus_allowed_list");
    Ok(())
}

fn cpuset_invalid(scene: &Scene) -> Verdict {
    cgroups::require("cpuset")?;
    for cpus in ["100000", "nonsense"] {
        scene.bundle()?.set("/linux/resources/cpu", json!({ "cpus": cpus })).refused()?;
    }
    Ok(())
}

fn pids_limit(scene: &Scene) -> Verdict {
    let (_container, place) = limited(scene, "pids", "pids/limit", json!(17))?;
    ensure_eq!(place.read("pids.max", "pids.max")?, "17", "limit");
    Ok(())
}

fn pids_enforced(scene: &Scene) -> Verdict {
    cgroups::require("pids")?;
    let bundle = scene.bundle()?.set("/linux/resources/pids/limit", json!(10));
    let ran = bundle.operations(json!([["spawn", 20]])).run()?;
    let seen = ran.value(0)?;
    ensure!(seen["started"].as_u64().is_some_and(|count| count < 10), "processes: {seen}");
    ensure_eq!(seen["refused"], json!("EAGAIN"), "error of the one too many");
    Ok(())
}

fn hugepages(scene: &Scene) -> Verdict {
    cgroups::require("hugetlb")?;
    let own = cgroups::controller(std::process::id() as i32, "hugetlb")?;
    if own.version == 2 && cgroups::hierarchies().iter().any(|each| !each.controllers.is_empty()) {
        return skipped("hugetlb is on the unified side of a hybrid host");
    }
    let limits = json!([{ "pageSize": "2MB", "limit": 4 * MEGABYTE }]);
    let container = held(scene.bundle()?.set("/linux/resources/hugepageLimits", limits))?;
    let place = cgroups::controller(container.pid()?, "hugetlb")?;
    let seen = place.read("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max")?;
    ensure_eq!(seen, (4 * MEGABYTE).to_string(), "limit");
    Ok(())
}

fn unified_unknown(scene: &Scene) -> Verdict {
    let unified = json!({ "nonsense.max": "1" });
    scene.bundle()?.set("/linux/resources/unified", unified).refused().map(drop)
}

fn cgroup_mount(scene: &Scene) -> Verdict {
    let v1 =
        cgroups::controller(std::process::id() as i32, "memory").is_ok_and(|own| own.version == 1);
    let inner = if v1 { "/sys/fs/cgroup/memory/new" } else { "/sys/fs/cgroup/new" };
    let bundle = scene
        .bundle()?
        .namespace("network", None)
        .namespace("cgroup", None)
        .mount("/sys", "sysfs", "sysfs", &["ro"])
        .mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        );
    let ran = bundle
        .operations(json!([["report"], ["list", "/sys/fs/cgroup"], ["mkdir", inner]]))
        .run()?;
    let names = ran.value(1)?;
    ensure!(names.as_array().is_some_and(|names| !names.is_empty()), "/sys/fs/cgroup is empty");
    ensure!(ran.error(2)? != "ok", "a directory was made in a read-only cgroup mount");
    Ok(())
}
