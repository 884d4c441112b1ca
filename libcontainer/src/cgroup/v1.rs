//! Limits on cgroup v1 and on hybrids.

use super::{Error, Group, Location, Result, check, convert, file};
use crate::spec::{BlockIo, Cpu, Memory, Network, Resources};

/// Sets all limits.
pub(super) fn apply(location: &Location, resources: &Resources) -> Result<()> {
    if let Some(cpu) = &resources.cpu {
        apply_cpuset(location, cpu)?;
    }
    if let Some(memory) = &resources.memory {
        apply_memory(location, memory)?;
    }
    if let Some(cpu) = &resources.cpu {
        apply_cpu(location, cpu)?;
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        let pointer = "/linux/resources/pids/limit";
        write(group(location, "pids", pointer)?, "pids.max", &convert::pids(limit), pointer)?;
    }
    if let Some(block_io) = &resources.block_io {
        apply_block_io(location, block_io)?;
    }
    super::v2::apply_hugepages(location, resources)?;
    if let Some(network) = &resources.network {
        apply_network(location, network)?;
    }
    super::v2::apply_rdma(location, resources)
}

fn group<'a>(location: &'a Location, controller: &str, pointer: &str) -> Result<&'a Group> {
    location.v1(controller).ok_or_else(|| check::not_joined(location, controller, pointer))
}

fn write(group: &Group, name: &str, value: &str, pointer: &str) -> Result<()> {
    file::write(&group.file(name), value).map_err(|error| error.pointing(pointer))
}

fn apply_cpuset(location: &Location, cpu: &Cpu) -> Result<()> {
    let lists = [
        ("cpuset.cpus", &cpu.cpus, "/linux/resources/cpu/cpus"),
        ("cpuset.mems", &cpu.mems, "/linux/resources/cpu/mems"),
    ];
    for (name, list, pointer) in lists {
        if !list.is_empty() {
            write(group(location, "cpuset", pointer)?, name, list, pointer)?;
        }
    }
    Ok(())
}

fn apply_memory(location: &Location, memory: &Memory) -> Result<()> {
    const POINTER: &str = "/linux/resources/memory";
    let limit = memory.limit.unwrap_or(0);
    let reservation = memory.reservation.unwrap_or(0);
    let swap = memory.swap.unwrap_or(0);
    let sets = limit != 0
        || swap != 0
        || reservation != 0
        || memory.disable_oom_killer == Some(true)
        || memory.swappiness.is_some();
    if !sets {
        return Ok(());
    }
    let group = group(location, "memory", &format!("{POINTER}/limit"))?;
    if memory.use_hierarchy == Some(true) {
        // Kernels from 5.11 on know no other way and have the file for show.
        let path = group.file("memory.use_hierarchy");
        if file::read(&path).is_ok_and(|present| present.trim() == "0") {
            file::write(&path, "1").map_err(|e| e.pointing(&format!("{POINTER}/useHierarchy")))?;
        }
    }
    apply_memory_and_swap(group, limit, swap)?;
    if reservation != 0 {
        let pointer = format!("{POINTER}/reservation");
        write(group, "memory.soft_limit_in_bytes", &reservation.to_string(), &pointer)?;
    }
    if memory.disable_oom_killer == Some(true) {
        write(group, "memory.oom_control", "1", &format!("{POINTER}/disableOOMKiller"))?;
    }
    if let Some(swappiness) = memory.swappiness {
        let pointer = format!("{POINTER}/swappiness");
        write(group, "memory.swappiness", &swappiness.to_string(), &pointer)?;
    }
    Ok(())
}

/// The kernel demands memory <= memory+swap after each single write, so the order depends on
/// whether the limits rise or fall.
fn apply_memory_and_swap(group: &Group, limit: i64, swap: i64) -> Result<()> {
    if limit == -1 && swap == 0 {
        match write_swap(group, -1) {
            // No swap accounting: nothing to lift.
            Err(error) if error.is(libc::ENOENT) => {}
            result => result?,
        }
        return write_memory(group, -1);
    }
    let rises = limit != 0 && swap != 0 && {
        let present = file::read_number(&group.file("memory.limit_in_bytes"))?;
        swap == -1 || present < swap.cast_unsigned()
    };
    if rises {
        write_swap(group, swap)?;
        write_memory(group, limit)
    } else {
        write_memory(group, limit)?;
        write_swap(group, swap)
    }
}

fn write_swap(group: &Group, swap: i64) -> Result<()> {
    if swap == 0 {
        return Ok(());
    }
    let pointer = "/linux/resources/memory/swap";
    write(group, "memory.memsw.limit_in_bytes", &swap.to_string(), pointer)
}

fn write_memory(group: &Group, limit: i64) -> Result<()> {
    const POINTER: &str = "/linux/resources/memory/limit";
    if limit == 0 {
        return Ok(());
    }
    match write(group, "memory.limit_in_bytes", &limit.to_string(), POINTER) {
        Err(error) if error.is(libc::EBUSY) => {
            let usage = file::read_number(&group.file("memory.usage_in_bytes"))?;
            let peak = file::read_number(&group.file("memory.max_usage_in_bytes"))?;
            let message = format!(
                "unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})"
            );
            Err(Error { message, ..error })
        }
        result => result,
    }
}

fn apply_cpu(location: &Location, cpu: &Cpu) -> Result<()> {
    let given = |value: Option<u64>| value.filter(|value| *value != 0);
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let runtime = cpu.realtime_runtime.filter(|runtime| *runtime != 0);
    let Some(name) = first_cpu_value(cpu) else { return Ok(()) };
    let group = group(location, "cpu", &format!("/linux/resources/cpu/{name}"))?;
    apply_pair(
        group,
        given(cpu.realtime_period).map(|value| Value {
            name: "cpu.rt_period_us",
            value: value.to_string(),
            pointer: "/linux/resources/cpu/realtimePeriod",
        }),
        runtime.map(|value| Value {
            name: "cpu.rt_runtime_us",
            value: value.to_string(),
            pointer: "/linux/resources/cpu/realtimeRuntime",
        }),
    )?;
    if let Some(idle) = cpu.idle {
        write(group, "cpu.idle", &idle.to_string(), "/linux/resources/cpu/idle")?;
    }
    if let Some(shares) = given(cpu.shares) {
        let pointer = "/linux/resources/cpu/shares";
        write(group, "cpu.shares", &shares.to_string(), pointer)
            .map_err(|error| explain_idle(cpu, error))?;
    }
    apply_quota(group, cpu, quota)
}

/// The key of the first value that needs the cpu controller.
fn first_cpu_value(cpu: &Cpu) -> Option<&'static str> {
    [
        ("shares", cpu.shares.is_some_and(|value| value != 0)),
        ("quota", cpu.quota.is_some_and(|value| value != 0)),
        ("period", cpu.period.is_some_and(|value| value != 0)),
        ("burst", cpu.burst.is_some()),
        ("idle", cpu.idle.is_some()),
        ("realtimeRuntime", cpu.realtime_runtime.is_some_and(|value| value != 0)),
        ("realtimePeriod", cpu.realtime_period.is_some_and(|value| value != 0)),
    ]
    .iter()
    .find(|(_, given)| *given)
    .map(|(name, _)| *name)
}

/// An idle group has no weight of its own.
pub(super) fn explain_idle(cpu: &Cpu, error: Error) -> Error {
    if cpu.idle == Some(1) && error.is(libc::EINVAL) {
        error.context("unable to apply both cpu shares and cpu idle")
    } else {
        error
    }
}

/// One value, the file that takes it and where it stands in config.json.
struct Value {
    name: &'static str,
    value: String,
    pointer: &'static str,
}

impl Value {
    fn write(&self, group: &Group) -> Result<()> {
        write(group, self.name, &self.value, self.pointer)
    }
}

/// Writes two values that the kernel checks against each other and against the parent's: the
/// first one may fit only after the second was written.
fn apply_pair(group: &Group, first: Option<Value>, second: Option<Value>) -> Result<()> {
    let mut postponed = None;
    if let Some(first) = first {
        match first.write(group) {
            Err(error) if error.is(libc::EINVAL) && second.is_some() => postponed = Some(first),
            result => result?,
        }
    }
    if let Some(second) = second {
        second.write(group)?;
    }
    postponed.map_or(Ok(()), |first| first.write(group))
}

fn apply_quota(group: &Group, cpu: &Cpu, quota: Option<i64>) -> Result<()> {
    let period = cpu.period.filter(|period| *period != 0).map(|period| Value {
        name: "cpu.cfs_period_us",
        value: period.to_string(),
        pointer: "/linux/resources/cpu/period",
    });
    let quota = quota.map(|quota| Value {
        name: "cpu.cfs_quota_us",
        value: quota.to_string(),
        pointer: "/linux/resources/cpu/quota",
    });
    let burst = cpu.burst.map(|burst| Value {
        name: "cpu.cfs_burst_us",
        value: burst.to_string(),
        pointer: "/linux/resources/cpu/burst",
    });
    // A burst above the quota is refused, and so is a quota below the burst.
    let mut postponed = None;
    if let Some(burst) = burst {
        match burst.write(group) {
            Err(error) if error.is(libc::EINVAL) && quota.is_some() => postponed = Some(burst),
            result => result?,
        }
    }
    apply_pair(group, period, quota)?;
    postponed.map_or(Ok(()), |burst| burst.write(group))
}

fn apply_block_io(location: &Location, block_io: &BlockIo) -> Result<()> {
    const POINTER: &str = "/linux/resources/blockIO";
    if !check::sets_io(block_io) {
        return Ok(());
    }
    let group = group(location, "blkio", POINTER)?;
    let weights = block_io.weight.is_some() || !block_io.weight_device.is_empty();
    let prefix = match weights && !group.file("blkio.weight").exists() {
        true => "blkio.bfq.weight",
        false => "blkio.weight",
    };
    let given = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    if let Some(weight) = given(block_io.weight) {
        write(group, prefix, &weight.to_string(), &format!("{POINTER}/weight"))?;
    }
    if let Some(weight) = given(block_io.leaf_weight) {
        let pointer = format!("{POINTER}/leafWeight");
        write(group, "blkio.leaf_weight", &weight.to_string(), &pointer)?;
    }
    for (index, device) in block_io.weight_device.iter().enumerate() {
        let pointer = format!("{POINTER}/weightDevice/{index}");
        let line = |weight: u16| format!("{}:{} {weight}", device.major, device.minor);
        if let Some(weight) = given(device.weight) {
            write(group, &format!("{prefix}_device"), &line(weight), &pointer)?;
        }
        if let Some(weight) = given(device.leaf_weight) {
            write(group, "blkio.leaf_weight_device", &line(weight), &pointer)?;
        }
    }
    let throttles = [
        ("read_bps", "throttleReadBpsDevice", &block_io.throttle_read_bps_device),
        ("write_bps", "throttleWriteBpsDevice", &block_io.throttle_write_bps_device),
        ("read_iops", "throttleReadIOPSDevice", &block_io.throttle_read_iops_device),
        ("write_iops", "throttleWriteIOPSDevice", &block_io.throttle_write_iops_device),
    ];
    for (name, key, devices) in throttles {
        for (index, device) in devices.iter().enumerate() {
            let line = format!("{}:{} {}", device.major, device.minor, device.rate);
            let file = format!("blkio.throttle.{name}_device");
            write(group, &file, &line, &format!("{POINTER}/{key}/{index}"))?;
        }
    }
    Ok(())
}

fn apply_network(location: &Location, network: &Network) -> Result<()> {
    if let Some(class) = network.class_id.filter(|class| *class != 0) {
        let pointer = "/linux/resources/network/classID";
        let group = group(location, "net_cls", pointer)?;
        write(group, "net_cls.classid", &class.to_string(), pointer)?;
    }
    for (index, priority) in network.priorities.iter().enumerate() {
        let pointer = format!("/linux/resources/network/priorities/{index}");
        let line = format!("{} {}", priority.name, priority.priority);
        let group = group(location, "net_prio", &pointer)?;
        write(group, "net_prio.ifpriomap", &line, &pointer)?;
    }
    Ok(())
}
