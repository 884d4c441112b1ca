//! config-linux.md, Control groups: further limits, and whom a group belongs to.

use super::cgroup::{MEGABYTE, RARE, denied, held, limited, rule, with_node};
use crate::case::Level::{Caller, May, Must, Should};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, skipped};
use crate::cgroups;
use crate::scene::Scene;
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

pub(super) const CASES: &[Case] = &[
    case(
        "cgroup.memory.swap",
        Must,
        "config-linux.md, Memory: swap is the limit of memory and swap",
        swap,
    ),
    case("cgroup.memory.swappiness", Must, "config-linux.md, Memory: swappiness", swappiness),
    case("cgroup.memory.oom-killer", Must, "config-linux.md, Memory: disableOOMKiller", oom_killer),
    case(
        "cgroup.memory.swap-below-limit",
        Must,
        "runtime.md, Create: memory and swap below memory cannot be applied",
        swap_below,
    ),
    case(
        "cgroup.memory.check-before-update",
        May,
        "config-linux.md, Memory: checkBeforeUpdate refuses a limit below the usage",
        check_update,
    ),
    case("cgroup.cpu.burst", Must, "config-linux.md, CPU: burst", burst),
    case("cgroup.cpu.idle", Must, "config-linux.md, CPU: idle", idle),
    case("cgroup.cpu.period-alone", Must, "config-linux.md, CPU: period without a quota", period),
    case(
        "cgroup.cpu.quota-unlimited",
        Must,
        "config-linux.md, CPU: a negative quota is none",
        no_quota,
    ),
    case(
        "cgroup.cpu.shares-values",
        Must,
        "config-linux.md, CPU: shares, smallest and largest",
        shares,
    ),
    case(
        "cgroup.cpu.mems-invalid",
        Must,
        "runtime.md, Create: a memory node that is not there",
        mems_invalid,
    ),
    case("cgroup.pids.unlimited", Must, "config-linux.md, PIDs: -1 is no limit", pids_unlimited),
    case("cgroup.pids.zero", Should, "config-linux.md, PIDs: 0 is a valid limit", pids_zero),
    case(
        "cgroup.block-io.throttle",
        Must,
        "config-linux.md, Block IO: the four throttles of a device",
        throttle,
    ),
    case(
        "cgroup.hugepages.unknown-size",
        Must,
        "runtime.md, Create: a page size that the kernel lacks is an error",
        page_size,
    ),
    case(
        "cgroup.devices.type-unset",
        Must,
        "config-linux.md, Allowed Device list: no type means all",
        all_types,
    ),
    case(
        "cgroup.devices.wildcard",
        Must,
        "config-linux.md, Allowed Device list: no minor means all",
        wildcard,
    ),
    case(
        "cgroup.devices.of-exec",
        Caller,
        "exec's process is under the same device rules",
        devices_exec,
    ),
    case(
        "cgroup.unified.unknown-key",
        Must,
        "config-linux.md, Unified: what the runtime does not know is written all the same",
        unified_unknown,
    ),
    case(
        "cgroup.unified.no-file",
        Must,
        "config-linux.md, Unified: a file that is not there is an error",
        unified_no_file,
    ),
    case(
        "cgroup.ownership.kept",
        Should,
        "config-linux.md, Cgroup ownership: without a writable mount the owner is not changed",
        owner_kept,
    ),
    case(
        "cgroup.ownership.given",
        Should,
        "config-linux.md, Cgroup ownership: with a writable mount of cgroup v2 the group is the user's",
        owner_given,
    ),
    case(
        "cgroup.path.occupied",
        May,
        "config-linux.md, Control groups: a group in which others are may be refused",
        occupied,
    ),
    case(
        "cgroup.path.shared-parent",
        Must,
        "config-linux.md, Cgroups Path: two containers below one parent",
        shared_parent,
    ),
    case("cgroup.update.kept", Caller, "update of one limit leaves the others", update_keeps),
    case("callers.update.flags", Caller, "update by flags, sizes with a unit", update_flags),
    case(
        "callers.update.refused",
        Caller,
        "an update that fails leaves the limits of before",
        update_refused,
    ),
];

fn swap(scene: &Scene) -> Verdict {
    let memory = json!({ "limit": 32 * MEGABYTE, "swap": 48 * MEGABYTE });
    let (_container, place) = limited(scene, "memory", "memory", memory)?;
    if place.version == 1 && !place.directory.join("memory.memsw.limit_in_bytes").exists() {
        return skipped("the kernel does not account for swap");
    }
    let wanted = if place.version == 1 { 48 * MEGABYTE } else { 16 * MEGABYTE };
    ensure_eq!(
        place.read("memory.memsw.limit_in_bytes", "memory.swap.max")?,
        wanted.to_string(),
        "swap"
    );
    Ok(())
}

/// A property of v1 alone.
fn require_v1(controller: &str) -> Result<(), Stop> {
    match cgroups::controller(std::process::id() as i32, controller)?.version {
        1 => Ok(()),
        _ => skipped(format!("{controller} of cgroup v2 has no such file")),
    }
}

fn swappiness(scene: &Scene) -> Verdict {
    require_v1("memory")?;
    let (_container, place) = limited(scene, "memory", "memory/swappiness", json!(37))?;
    ensure_eq!(place.read("memory.swappiness", "")?, "37", "swappiness");
    Ok(())
}

fn oom_killer(scene: &Scene) -> Verdict {
    require_v1("memory")?;
    let memory = json!({ "limit": 64 * MEGABYTE, "disableOOMKiller": true });
    let (_container, place) = limited(scene, "memory", "memory", memory)?;
    let seen = place.read("memory.oom_control", "")?;
    ensure!(seen.contains("oom_kill_disable 1"), "oom_control: {seen}");
    Ok(())
}

fn swap_below(scene: &Scene) -> Verdict {
    cgroups::require("memory")?;
    let memory = json!({ "limit": 64 * MEGABYTE, "swap": 32 * MEGABYTE });
    scene.bundle()?.set("/linux/resources/memory", memory).refused().map(drop)
}

fn check_update(scene: &Scene) -> Verdict {
    super::linux::require_minor(scene, "checkBeforeUpdate", 1)?;
    cgroups::require("memory")?;
    let memory = json!({ "limit": 128 * MEGABYTE });
    let bundle = scene.bundle()?.set("/linux/resources/memory", memory);
    let container = bundle.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    let file = scene.directory.join("resources.json");
    fs::write(
        &file,
        json!({ "memory": { "limit": 4096, "checkBeforeUpdate": true } }).to_string(),
    )?;
    let answer = container_update(scene, &container.id, &["--resources", &file.to_string_lossy()])?;
    answer.expect_failure("an update below the usage")?;
    ensure_eq!(container.status()?, "running", "status");
    Ok(())
}

fn container_update(
    scene: &Scene,
    id: &str,
    words: &[&str],
) -> Result<crate::runtime::Answer, Stop> {
    let mut args = vec!["update"];
    args.extend(words);
    args.push(id);
    scene.invoke(&args)
}

fn burst(scene: &Scene) -> Verdict {
    super::linux::require_minor(scene, "burst", 1)?;
    let own = cgroups::controller(std::process::id() as i32, "cpu")?;
    let name = if own.version == 1 { "cpu.cfs_burst_us" } else { "cpu.max.burst" };
    if own.version == 1 && !own.directory.join(name).exists() {
        return skipped("the kernel has no burst");
    }
    let cpu = json!({ "quota": 50_000, "period": 100_000, "burst": 20_000 });
    let (_container, place) = limited(scene, "cpu", "cpu", cpu)?;
    ensure_eq!(place.read(name, name)?, "20000", "burst");
    Ok(())
}

fn idle(scene: &Scene) -> Verdict {
    super::linux::require_minor(scene, "idle", 1)?;
    let (container, place) = limited(scene, "cpu", "cpu/idle", json!(1))?;
    if !place.directory.join("cpu.idle").exists() {
        return skipped("the kernel has no cpu.idle");
    }
    ensure_eq!(place.read("cpu.idle", "cpu.idle")?, "1", "idle");
    drop(container);
    Ok(())
}

fn period(scene: &Scene) -> Verdict {
    let (_container, place) = limited(scene, "cpu", "cpu/period", json!(60_000))?;
    if place.version == 1 {
        ensure_eq!(place.read("cpu.cfs_period_us", "")?, "60000", "period");
        ensure_eq!(place.read("cpu.cfs_quota_us", "")?, "-1", "quota");
    } else {
        ensure_eq!(place.read("", "cpu.max")?, "max 60000", "quota and period");
    }
    Ok(())
}

fn no_quota(scene: &Scene) -> Verdict {
    let (_container, place) = limited(scene, "cpu", "cpu/quota", json!(-1))?;
    let seen = place.read("cpu.cfs_quota_us", "cpu.max")?;
    ensure!(seen == "-1" || seen.starts_with("max"), "quota: {seen}");
    Ok(())
}

fn shares(scene: &Scene) -> Verdict {
    for (shares, weight) in [(2, "1"), (262_144, "10000")] {
        let (container, place) = limited(scene, "cpu", "cpu/shares", json!(shares))?;
        let wanted = if place.version == 1 { shares.to_string() } else { weight.to_owned() };
        ensure_eq!(place.read("cpu.shares", "cpu.weight")?, wanted, "shares or weight");
        drop(container);
    }
    Ok(())
}

fn mems_invalid(scene: &Scene) -> Verdict {
    cgroups::require("cpuset")?;
    for mems in ["900", "nonsense"] {
        scene.bundle()?.set("/linux/resources/cpu", json!({ "mems": mems })).refused()?;
    }
    Ok(())
}

fn pids_unlimited(scene: &Scene) -> Verdict {
    let (_container, place) = limited(scene, "pids", "pids/limit", json!(-1))?;
    ensure_eq!(place.read("pids.max", "pids.max")?, "max", "limit");
    Ok(())
}

/// Some runtimes write 1 instead, which is the same to a process that is in the group already.
fn pids_zero(scene: &Scene) -> Verdict {
    cgroups::require("pids")?;
    let bundle = scene.bundle()?.set("/linux/resources/pids/limit", json!(0));
    let (answer, container) = bundle.operations(json!([["hold"]])).try_create()?;
    if answer.succeeded() {
        let place = cgroups::controller(container.pid()?, "pids")?;
        let seen = place.read("pids.max", "pids.max")?;
        ensure!(seen == "0" || seen == "1", "limit: {seen}");
    } else {
        // No process may come into a group of that limit.
        ensure!(
            answer.text().contains("pids") || answer.text().contains("cgroup"),
            "create: {}",
            answer.text()
        );
    }
    Ok(())
}

/// A whole device that throttles can be set on.
fn block_device() -> Result<(u64, u64), Stop> {
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let numbers = fs::read_to_string(entry.path().join("dev")).unwrap_or_default();
        if let Some((major, minor)) = numbers.trim().split_once(':') {
            return Ok((major.parse()?, minor.parse()?));
        }
    }
    skipped("this machine has no block device")
}

fn throttle(scene: &Scene) -> Verdict {
    let own = ["blkio", "io"].into_iter().find(|name| cgroups::require(name).is_ok());
    let Some(controller) = own else { return skipped("no mounted hierarchy has blkio or io") };
    let (major, minor) = block_device()?;
    let one = |rate: u64| json!([{ "major": major, "minor": minor, "rate": rate }]);
    let limits = json!({
        "throttleReadBpsDevice": one(1_048_576), "throttleWriteBpsDevice": one(2_097_152),
        "throttleReadIOPSDevice": one(100), "throttleWriteIOPSDevice": one(200),
    });
    let container = held(scene.bundle()?.set("/linux/resources/blockIO", limits))?;
    let place = cgroups::controller(container.pid()?, controller)?;
    if place.version == 1 {
        for (file, rate) in [
            ("read_bps", "1048576"),
            ("write_bps", "2097152"),
            ("read_iops", "100"),
            ("write_iops", "200"),
        ] {
            let seen = place.read(&format!("blkio.throttle.{file}_device"), "")?;
            ensure_eq!(seen, format!("{major}:{minor} {rate}"), "{file}");
        }
    } else {
        let seen = place.read("", "io.max")?;
        let wanted = format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=100 wiops=200");
        ensure_eq!(seen, wanted, "io.max");
    }
    Ok(())
}

fn page_size(scene: &Scene) -> Verdict {
    cgroups::require("hugetlb")?;
    let limits = json!([{ "pageSize": "3MB", "limit": MEGABYTE }]);
    scene.bundle()?.set("/linux/resources/hugepageLimits", limits).refused().map(drop)
}

fn all_types(scene: &Scene) -> Verdict {
    cgroups::require_devices()?;
    for (allow, refused) in [(true, false), (false, true)] {
        let rules = json!([{ "allow": allow, "access": "rwm" }]);
        let bundle = with_node(scene.bundle()?)?.set("/linux/resources/devices", rules);
        let ran =
            bundle.operations(json!([["open", "/rare", "rw"], ["open", "/block", "r"]])).run()?;
        ensure_eq!(
            (denied(&ran, 0)?, denied(&ran, 1)?),
            (refused, refused),
            "refused with allow {allow}"
        );
    }
    Ok(())
}

fn wildcard(scene: &Scene) -> Verdict {
    cgroups::require_devices()?;
    let all = json!({ "allow": false, "access": "rwm" });
    for (major, refused) in [(RARE.0, false), (RARE.0 + 1, true)] {
        let one = json!({ "allow": true, "type": "c", "major": major, "access": "rwm" });
        let bundle = with_node(scene.bundle()?)?.set("/linux/resources/devices", json!([all, one]));
        let ran = bundle.operations(json!([["open", "/rare", "rw"]])).run()?;
        ensure_eq!(denied(&ran, 0)?, refused, "refused with all minors of {major}");
    }
    Ok(())
}

fn devices_exec(scene: &Scene) -> Verdict {
    cgroups::require_devices()?;
    let rules = json!([{ "allow": false, "access": "rwm" }, rule(true, "c", RARE.0, RARE.1, "r")]);
    let container = held(with_node(scene.bundle()?)?.set("/linux/resources/devices", rules))?;
    let ran = container.exec(
        &[],
        json!([["open", "/rare", "r"], ["open", "/rare", "w"], ["open", "/block", "r"]]),
    )?;
    ensure_eq!(
        (denied(&ran, 0)?, denied(&ran, 1)?, denied(&ran, 2)?),
        (false, true, true),
        "refused"
    );
    Ok(())
}

/// The group of the process on v2.
fn unified_group(pid: i32) -> Result<PathBuf, Stop> {
    let unified = cgroups::hierarchies().into_iter().find(|each| each.controllers.is_empty());
    let Some(unified) = unified else { return skipped("no cgroup v2 is mounted") };
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    Ok(unified.point.join(path.trim_start_matches('/')))
}

fn require_unified() -> Verdict {
    if cgroups::hierarchies().iter().any(|each| !each.controllers.is_empty()) {
        return skipped("v1 hierarchies are mounted, where unified has no meaning");
    }
    unified_group(std::process::id() as i32).map(drop)
}

fn unified_unknown(scene: &Scene) -> Verdict {
    require_unified()?;
    let unified = json!({ "cgroup.max.descendants": "7", "cgroup.max.depth": "3" });
    let container = held(scene.bundle()?.set("/linux/resources/unified", unified))?;
    let group = unified_group(container.pid()?)?;
    for (name, wanted) in [("cgroup.max.descendants", "7"), ("cgroup.max.depth", "3")] {
        ensure_eq!(fs::read_to_string(group.join(name))?.trim(), wanted, "{name}");
    }
    Ok(())
}

fn unified_no_file(scene: &Scene) -> Verdict {
    require_unified()?;
    scene
        .bundle()?
        .set("/linux/resources/unified", json!({ "cgroup.nonsense": "1" }))
        .refused()
        .map(drop)
}

const CGROUP: [&str; 3] = ["nosuid", "noexec", "nodev"];

fn owner_kept(scene: &Scene) -> Verdict {
    for writable in [false, true] {
        let v1 = cgroups::hierarchies().iter().any(|each| !each.controllers.is_empty());
        // On v1 the owner stays root's whatever is mounted.
        if writable && !v1 {
            continue;
        }
        let options = [&CGROUP[..], if writable { &[] } else { &["ro"] }].concat();
        let bundle = scene
            .bundle()?
            .namespace("cgroup", None)
            .namespace("network", None)
            .mount("/sys", "sysfs", "sysfs", &["ro"])
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &options)
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
        let container = held(bundle)?;
        for group in cgroups::groups_named(&container.id) {
            ensure_eq!(fs::metadata(&group)?.uid(), 0, "owner of {}", group.display());
        }
    }
    Ok(())
}

fn owner_given(scene: &Scene) -> Verdict {
    require_unified()?;
    let bundle = scene
        .bundle()?
        .user_namespace()?
        .namespace("cgroup", None)
        .namespace("network", None)
        .mount("/sys", "sysfs", "sysfs", &["ro"])
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &CGROUP);
    let container = held(bundle)?;
    let group = unified_group(container.pid()?)?;
    let owner = |path: PathBuf| fs::metadata(path).map(|found| found.uid());
    ensure_eq!(owner(group.clone())?, 100_000, "owner of the group");
    ensure_eq!(owner(group.join("cgroup.procs"))?, 100_000, "owner of cgroup.procs");
    ensure_eq!(owner(group.join("cgroup.freeze"))?, 0, "owner of cgroup.freeze");
    Ok(())
}

fn occupied(scene: &Scene) -> Verdict {
    let first = held(scene.bundle()?)?;
    let path = format!("/{}", first.id);
    scene.bundle()?.set("/linux/cgroupsPath", json!(path)).refused()?;
    ensure_eq!(first.status()?, "running", "status of the container that is there");
    Ok(())
}

fn shared_parent(scene: &Scene) -> Verdict {
    let top = format!("/{}-parent", scene.mark);
    let make = |name: &str| -> Result<_, Stop> {
        held(scene.bundle()?.set("/linux/cgroupsPath", json!(format!("{top}/{name}"))))
    };
    let (one, two) = (make("one")?, make("two")?);
    one.kill("KILL")?;
    one.wait_end()?;
    one.delete()?;
    ensure_eq!(two.status()?, "running", "status of the other");
    two.kill("KILL")?;
    two.wait_end()?;
    two.delete()?;
    for group in cgroups::groups_named(&format!("{}-parent", scene.mark)) {
        // One directory may be listed twice: by a link, and where a hierarchy has two controllers.
        if group.exists() {
            cgroups::remove(&group)?;
        }
    }
    Ok(())
}

fn update_keeps(scene: &Scene) -> Verdict {
    cgroups::require("pids")?;
    let resources =
        json!({ "pids": { "limit": 44 }, "cpu": { "quota": 30_000, "period": 60_000 } });
    let container = held(scene.bundle()?.set("/linux/resources", resources))?;
    container_update(scene, &container.id, &["--pids-limit", "45"])?.expect_success("update")?;
    let place = cgroups::controller(container.pid()?, "pids")?;
    ensure_eq!(place.read("pids.max", "pids.max")?, "45", "limit of processes");
    let place = cgroups::controller(container.pid()?, "cpu")?;
    let seen = place.read("cpu.cfs_quota_us", "cpu.max")?;
    ensure!(seen == "30000" || seen == "30000 60000", "quota: {seen}");
    Ok(())
}

fn update_flags(scene: &Scene) -> Verdict {
    cgroups::require("memory")?;
    let container = held(scene.bundle()?)?;
    let words = [
        "--memory",
        "64m",
        "--memory-reservation",
        "32M",
        "--cpu-quota",
        "40000",
        "--cpu-period",
        "50000",
        "--cpu-share",
        "512",
    ];
    container_update(scene, &container.id, &words)?.expect_success("update")?;
    let place = cgroups::controller(container.pid()?, "memory")?;
    ensure_eq!(
        place.read("memory.limit_in_bytes", "memory.max")?,
        (64 * MEGABYTE).to_string(),
        "limit"
    );
    ensure_eq!(
        place.read("memory.soft_limit_in_bytes", "memory.low")?,
        (32 * MEGABYTE).to_string(),
        "reservation"
    );
    let place = cgroups::controller(container.pid()?, "cpu")?;
    let seen = place.read("cpu.cfs_quota_us", "cpu.max")?;
    ensure!(seen == "40000" || seen == "40000 50000", "quota: {seen}");
    Ok(())
}

fn update_refused(scene: &Scene) -> Verdict {
    cgroups::require("pids")?;
    cgroups::require("cpuset")?;
    let container = held(scene.bundle()?.set("/linux/resources/pids/limit", json!(51)))?;
    let answer = container_update(scene, &container.id, &["--cpuset-cpus", "90000"])?;
    answer.expect_failure("an update to a CPU that is not there")?;
    let place = cgroups::controller(container.pid()?, "pids")?;
    ensure_eq!(place.read("pids.max", "pids.max")?, "51", "limit of processes");
    ensure_eq!(container.status()?, "running", "status");
    Ok(())
}
