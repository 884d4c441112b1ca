//! What of `linux.resources` can be refused without asking the kernel.

use super::{Error, Hierarchy, Layout, Location, Mode, Result, convert};
use crate::spec::{BlockIo, Cpu, Memory, Resources};

const ROOT: &str = "/linux/resources";

/// Checks values, and that the controllers that they need are there. Returns warnings.
///
/// # Errors
/// The first value that cannot be honoured, with its JSON pointer.
pub(crate) fn check(resources: &Resources, layout: &Layout) -> Result<Vec<String>> {
    let unified = layout.mode == Mode::Unified;
    let mut warnings = Vec::new();
    check_unified(resources, unified)?;
    if let Some(memory) = &resources.memory {
        check_memory(memory, unified, &mut warnings)?;
    }
    if let Some(cpu) = &resources.cpu {
        check_cpu(cpu, unified)?;
    }
    if let Some(block_io) = &resources.block_io {
        check_block_io(block_io, unified)?;
    }
    // Podman until 5.4 and CRI-O until 1.28 mean no limit by it.
    if resources.pids.as_ref().is_some_and(|pids| pids.limit == Some(0)) {
        let words = "a limit of 0 lets the container start no other process; -1 is no limit";
        warnings.push(format!("{words} (at {})", pointer("pids/limit")));
    }
    check_names(resources)?;
    for (controller, pointer) in needed(resources, unified) {
        if layout.controller(controller).is_none() {
            return Err(absent(controller, &pointer));
        }
    }
    Ok(warnings)
}

/// A limit whose controller is not there: runc's words, and the name.
pub(super) fn absent(controller: &str, pointer: &str) -> Error {
    Error::at(
        pointer,
        format!(
            "cannot set {controller} limit: container could not join or create cgroup: \
             controller {controller} not available"
        ),
    )
}

/// A limit whose group is missing; an ordinary user could not have it.
pub(super) fn not_joined(location: &Location, controller: &str, pointer: &str) -> Error {
    if location.rootless {
        return Error::at(
            pointer,
            format!("cannot set {controller} limit: container could not join or create cgroup"),
        );
    }
    absent(controller, pointer)
}

fn pointer(path: &str) -> String {
    format!("{ROOT}/{path}")
}

fn check_unified(resources: &Resources, unified: bool) -> Result<()> {
    if !unified && !resources.unified.is_empty() {
        return Err(Error::at(
            pointer("unified"),
            "invalid configuration: cannot use unified on cgroup v1",
        ));
    }
    for key in resources.unified.keys() {
        let refuse = |words: &str| {
            Err(Error::at(
                crate::pointer::below(&pointer("unified"), key),
                format!("unified resource {key:?} {words}"),
            ))
        };
        if key.contains('/') || key.contains('\0') {
            return refuse("must be a file name (no slashes)");
        }
        if !key.contains('.') || key.starts_with('.') || key.ends_with('.') {
            return refuse("must be in the form CONTROLLER.PARAMETER");
        }
        // These act on processes, the runtime's own among them, and limit nothing.
        if matches!(
            key.as_str(),
            "cgroup.procs" | "cgroup.threads" | "cgroup.kill" | "cgroup.freeze" | "cgroup.type"
        ) {
            return refuse("is no limit");
        }
    }
    Ok(())
}

fn check_memory(memory: &Memory, unified: bool, warnings: &mut Vec<String>) -> Result<()> {
    let limit = memory.limit.unwrap_or(0);
    let swap = memory.swap.unwrap_or(0);
    for (name, value) in
        [("limit", memory.limit), ("reservation", memory.reservation), ("swap", memory.swap)]
    {
        if let Some(value) = value.filter(|value| *value < -1) {
            return Err(Error::at(
                pointer(&format!("memory/{name}")),
                format!("invalid memory {name} value: {value}"),
            ));
        }
    }
    if memory.kernel.is_some() || memory.kernel_tcp.is_some() {
        warnings.push("Kernel memory settings are ignored and will be removed".to_owned());
    }
    if let Some(value) = memory.swappiness {
        if unified {
            return Err(Error::at(
                pointer("memory/swappiness"),
                "cannot set memory swappiness: cgroup v2 has none",
            ));
        }
        if value > 100 {
            return Err(Error::at(
                pointer("memory/swappiness"),
                format!("invalid memory swappiness value: {value} (valid range is 0-100)"),
            ));
        }
    }
    if unified {
        if memory.disable_oom_killer == Some(true) {
            return Err(Error::at(
                pointer("memory/disableOOMKiller"),
                "cannot disable the OOM killer: cgroup v2 has no switch for it",
            ));
        }
        convert::swap(swap, limit).map_err(|words| Error::at(pointer("memory/swap"), words))?;
    }
    if unified && memory.use_hierarchy == Some(false) {
        warnings.push("memory of sub-cgroups always counts on cgroup v2".to_owned());
    }
    Ok(())
}

fn check_cpu(cpu: &Cpu, unified: bool) -> Result<()> {
    if let Some(idle) = cpu.idle.filter(|idle| !matches!(idle, 0 | 1)) {
        return Err(Error::at(pointer("cpu/idle"), format!("invalid cpu idle value: {idle}")));
    }
    if unified {
        let real_time = [
            ("realtimeRuntime", cpu.realtime_runtime.is_some_and(|value| value != 0)),
            ("realtimePeriod", cpu.realtime_period.is_some_and(|value| value != 0)),
        ];
        if let Some((name, _)) = real_time.iter().find(|(_, given)| *given) {
            return Err(Error::at(
                pointer(&format!("cpu/{name}")),
                "cannot set real-time limits: cgroup v2 has none",
            ));
        }
    } else {
        // The kernel would silently take the nearest value.
        match cpu.shares {
            Some(262_145..) => {
                return Err(Error::at(
                    pointer("cpu/shares"),
                    "the maximum allowed cpu-shares is 262144",
                ));
            }
            Some(1) => {
                return Err(Error::at(
                    pointer("cpu/shares"),
                    "the minimum allowed cpu-shares is 2",
                ));
            }
            _ => {}
        }
    }
    for (name, list) in [("cpus", &cpu.cpus), ("mems", &cpu.mems)] {
        let known = |byte: u8| byte.is_ascii_digit() || matches!(byte, b',' | b'-' | b' ' | b'\n');
        if !list.bytes().all(known) {
            return Err(Error::at(
                pointer(&format!("cpu/{name}")),
                format!("invalid list {list:?}"),
            ));
        }
    }
    Ok(())
}

fn check_block_io(block_io: &BlockIo, unified: bool) -> Result<()> {
    let check = |path: String, weight: Option<u16>| match weight {
        Some(weight @ (1..10 | 1001..)) => Err(Error::at(
            pointer(&path),
            format!("invalid blkio weight value: {weight} (valid range is 10-1000)"),
        )),
        _ => Ok(()),
    };
    let leaf = |path: String, weight: Option<u16>| match weight {
        Some(1..) if unified => {
            Err(Error::at(pointer(&path), "cannot set a leaf weight: cgroup v2 has none"))
        }
        weight => check(path, weight),
    };
    check("blockIO/weight".to_owned(), block_io.weight)?;
    leaf("blockIO/leafWeight".to_owned(), block_io.leaf_weight)?;
    for (index, device) in block_io.weight_device.iter().enumerate() {
        check(format!("blockIO/weightDevice/{index}/weight"), device.weight)?;
        leaf(format!("blockIO/weightDevice/{index}/leafWeight"), device.leaf_weight)?;
    }
    Ok(())
}

/// Names that become part of a file's name or of a line.
fn check_names(resources: &Resources) -> Result<()> {
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        let number = ["KB", "MB", "GB"].iter().find_map(|u| limit.page_size.strip_suffix(u));
        if !number.is_some_and(|number| number.parse::<u32>().is_ok_and(|number| number > 0)) {
            return Err(Error::at(
                pointer(&format!("hugepageLimits/{index}/pageSize")),
                format!("invalid page size {:?}", limit.page_size),
            ));
        }
    }
    let is_word = |name: &str| {
        !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    for (index, priority) in resources.network.iter().flat_map(|n| &n.priorities).enumerate() {
        if !is_word(&priority.name) {
            return Err(Error::at(
                pointer(&format!("network/priorities/{index}/name")),
                format!("invalid interface {:?}", priority.name),
            ));
        }
    }
    if let Some(name) = resources.rdma.keys().find(|name| !is_word(name)) {
        let pointer = crate::pointer::below(&pointer("rdma"), name);
        return Err(Error::at(pointer, format!("invalid RDMA device {name:?}")));
    }
    Ok(())
}

/// The controllers that are needed, each with the value that needs it.
fn needed(resources: &Resources, unified: bool) -> Vec<(&'static str, String)> {
    let mut needed = Vec::new();
    let mut need = |controller: &'static str, path: &str, given: bool| {
        if given {
            needed.push((controller, pointer(path)));
        }
    };
    if let Some(memory) = &resources.memory {
        let set = |value: Option<i64>| value.is_some_and(|value| value != 0);
        need("memory", "memory/limit", set(memory.limit));
        need("memory", "memory/reservation", set(memory.reservation));
        need("memory", "memory/swap", set(memory.swap));
        need("memory", "memory/swappiness", memory.swappiness.is_some());
        need("memory", "memory/disableOOMKiller", memory.disable_oom_killer == Some(true));
    }
    if let Some(cpu) = &resources.cpu {
        need("cpu", "cpu/shares", cpu.shares.is_some_and(|value| value != 0));
        need("cpu", "cpu/quota", cpu.quota.is_some_and(|value| value != 0));
        need("cpu", "cpu/period", cpu.period.is_some_and(|value| value != 0));
        need("cpu", "cpu/burst", cpu.burst.is_some());
        need("cpu", "cpu/idle", cpu.idle.is_some());
        need("cpu", "cpu/realtimeRuntime", cpu.realtime_runtime.is_some_and(|value| value != 0));
        need("cpu", "cpu/realtimePeriod", cpu.realtime_period.is_some_and(|value| value != 0));
        need("cpuset", "cpu/cpus", !cpu.cpus.is_empty());
        need("cpuset", "cpu/mems", !cpu.mems.is_empty());
    }
    need("pids", "pids/limit", resources.pids.as_ref().is_some_and(|pids| pids.limit.is_some()));
    let io = if unified { "io" } else { "blkio" };
    need(io, "blockIO", resources.block_io.as_ref().is_some_and(sets_io));
    need("hugetlb", "hugepageLimits/0", !resources.hugepage_limits.is_empty());
    if let Some(network) = &resources.network {
        need("net_cls", "network/classID", network.class_id.is_some_and(|class| class != 0));
        need("net_prio", "network/priorities/0", !network.priorities.is_empty());
    }
    need("rdma", "rdma", !resources.rdma.is_empty());
    needed
}

/// Whether there is anything to set. A weight of 0 is none: Docker writes it so.
pub(super) fn sets_io(block_io: &BlockIo) -> bool {
    let given = |weight: Option<u16>| weight.is_some_and(|weight| weight != 0);
    let throttles = [
        &block_io.throttle_read_bps_device,
        &block_io.throttle_write_bps_device,
        &block_io.throttle_read_iops_device,
        &block_io.throttle_write_iops_device,
    ];
    given(block_io.weight)
        || given(block_io.leaf_weight)
        || block_io.weight_device.iter().any(|d| given(d.weight) || given(d.leaf_weight))
        || throttles.iter().any(|devices| !devices.is_empty())
}

/// Whether a limit needs a v2 controller that one of the hierarchies has.
pub(super) fn needs_controllers<'a>(
    resources: &Resources,
    mut hierarchies: impl Iterator<Item = &'a Hierarchy>,
) -> bool {
    let needed = needed(resources, true);
    hierarchies.any(|hierarchy| {
        needed.iter().any(|(name, _)| hierarchy.controllers.iter().any(|held| held == name))
    })
}

/// Whether a limit needs a v2 controller that threaded groups lack.
pub(super) fn needs_domain(resources: &Resources) -> bool {
    needed(resources, true)
        .iter()
        .any(|(controller, _)| matches!(*controller, "memory" | "io" | "hugetlb"))
}
