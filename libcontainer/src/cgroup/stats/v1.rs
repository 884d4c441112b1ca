//! Statistics of v1 and hybrids.

use super::super::{Group, Location, Result};
use super::{
    BlockIoEntry, BlockIoStats, CpuUsage, CpusetStats, MemoryEntry, MemoryStats, PidsStats, Stats,
    Throttling, malformed, number, number_or_zero, parse_number, table, text,
};

/// Length of a tick of USER_HZ, which is 100 on all architectures, in nanoseconds.
const TICK: u64 = 10_000_000;

pub(super) fn read(location: &Location, stats: &mut Stats) -> Result<()> {
    if let Some(group) = location.v1("cpuacct") {
        stats.cpu.usage = cpu_usage(group)?;
    }
    if let Some(group) = location.v1("cpu") {
        stats.cpu.throttling = throttling(group)?;
    }
    if let Some(group) = location.v1("cpuset") {
        stats.cpuset = cpuset(group)?;
    }
    if let Some(group) = location.v1("memory") {
        stats.memory = memory(group)?;
        stats.memory_events = table(group, "memory.oom_control")?;
    }
    if let Some(group) = location.v1("pids") {
        stats.pids = pids(group)?;
    }
    if let Some(group) = location.v1("blkio") {
        stats.block_io = block_io(group)?;
    }
    Ok(())
}

fn cpu_usage(group: &Group) -> Result<CpuUsage> {
    let ticks = table(group, "cpuacct.stat")?;
    let time = |key: &str| ticks.get(key).copied().unwrap_or(0).saturating_mul(TICK);
    let (per_cpu_kernel, per_cpu_user) = per_cpu_modes(group)?;
    Ok(CpuUsage {
        total: number_or_zero(group, "cpuacct.usage")?,
        per_cpu: numbers(group, "cpuacct.usage_percpu")?,
        per_cpu_kernel,
        per_cpu_user,
        kernel: time("system"),
        user: time("user"),
    })
}

fn numbers(group: &Group, name: &str) -> Result<Vec<u64>> {
    let text = text(group, name)?.unwrap_or_default();
    let numbers: Option<_> = text.split_whitespace().map(parse_number).collect();
    numbers.ok_or_else(|| malformed(group, name, &text))
}

/// Below the heading `cpu user system` a line for each CPU.
fn per_cpu_modes(group: &Group) -> Result<(Vec<u64>, Vec<u64>)> {
    const NAME: &str = "cpuacct.usage_all";
    let text = text(group, NAME)?.unwrap_or_default();
    let modes = text.lines().skip(1).map(|line| {
        let mut fields = line.split(' ').skip(1).map(parse_number);
        let (user, kernel) = (fields.next()??, fields.next()??);
        Some((kernel, user))
    });
    let modes: Option<Vec<_>> = modes.collect();
    Ok(modes.ok_or_else(|| malformed(group, NAME, &text))?.into_iter().unzip())
}

fn throttling(group: &Group) -> Result<Throttling> {
    let counters = table(group, "cpu.stat")?;
    let counter = |key: &str| counters.get(key).copied().unwrap_or(0);
    Ok(Throttling {
        periods: counter("nr_periods"),
        throttled_periods: counter("nr_throttled"),
        throttled_time: counter("throttled_time"),
    })
}

fn cpuset(group: &Group) -> Result<CpusetStats> {
    let setting = |name: &str| number_or_zero(group, &format!("cpuset.{name}"));
    Ok(CpusetStats {
        cpus: list(group, "cpuset.cpus")?,
        cpu_exclusive: setting("cpu_exclusive")?,
        mems: list(group, "cpuset.mems")?,
        mem_hardwall: setting("mem_hardwall")?,
        mem_exclusive: setting("mem_exclusive")?,
        memory_migrate: setting("memory_migrate")?,
        memory_spread_page: setting("memory_spread_page")?,
        memory_spread_slab: setting("memory_spread_slab")?,
        memory_pressure: setting("memory_pressure")?,
        sched_load_balance: setting("sched_load_balance")?,
        sched_relax_domain_level: relax_domain_level(group)?,
    })
}

/// -1 for the system's default.
fn relax_domain_level(group: &Group) -> Result<i64> {
    const NAME: &str = "cpuset.sched_relax_domain_level";
    let Some(text) = text(group, NAME)? else { return Ok(0) };
    text.trim().parse().map_err(|_| malformed(group, NAME, &text))
}

/// A list such as `0-3,7`, spelled out.
fn list(group: &Group, name: &str) -> Result<Vec<u16>> {
    let text = text(group, name)?.unwrap_or_default();
    parse_list(text.trim()).ok_or_else(|| malformed(group, name, &text))
}

fn parse_list(text: &str) -> Option<Vec<u16>> {
    let mut found = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        found.extend(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?);
    }
    Some(found)
}

fn memory(group: &Group) -> Result<MemoryStats> {
    let raw = table(group, "memory.stat")?;
    Ok(MemoryStats {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: memory_entry(group, "memory")?,
        swap: memory_entry(group, "memory.memsw")?,
        kernel: memory_entry(group, "memory.kmem")?,
        kernel_tcp: memory_entry(group, "memory.kmem.tcp")?,
        raw,
        pressure: None,
    })
}

fn memory_entry(group: &Group, prefix: &str) -> Result<MemoryEntry> {
    let Some(usage) = number(group, &format!("{prefix}.usage_in_bytes"))? else {
        return Ok(MemoryEntry::default());
    };
    Ok(MemoryEntry {
        usage,
        max: number_or_zero(group, &format!("{prefix}.max_usage_in_bytes"))?,
        failcnt: number_or_zero(group, &format!("{prefix}.failcnt"))?,
        limit: number_or_zero(group, &format!("{prefix}.limit_in_bytes"))?,
    })
}

/// Of v2 as well: the controller's files are the same.
pub(super) fn pids(group: &Group) -> Result<PidsStats> {
    let limit = number_or_zero(group, "pids.max")?;
    let limit = if limit == u64::MAX { 0 } else { limit };
    Ok(PidsStats { current: number_or_zero(group, "pids.current")?, limit })
}

/// Which files there are depends on the I/O scheduler and on the kernel: the first set that
/// counts operations is taken.
fn block_io(group: &Group) -> Result<BlockIoStats> {
    for prefix in ["blkio.bfq", "blkio", "blkio.throttle"] {
        let entries = |name: &str| entries(group, &format!("{prefix}.{name}_recursive"));
        let stats = BlockIoStats {
            service_bytes: entries("io_service_bytes")?,
            serviced: entries("io_serviced")?,
            queued: entries("io_queued")?,
            service_time: entries("io_service_time")?,
            wait_time: entries("io_wait_time")?,
            merged: entries("io_merged")?,
            time: entries("time")?,
            sectors: entries("sectors")?,
            pressure: None,
        };
        if !stats.serviced.is_empty() {
            return Ok(stats);
        }
    }
    // Before Linux 5.4 this set did not include the groups below.
    Ok(BlockIoStats {
        service_bytes: entries(group, "blkio.throttle.io_service_bytes")?,
        serviced: entries(group, "blkio.throttle.io_serviced")?,
        ..BlockIoStats::default()
    })
}

fn entries(group: &Group, name: &str) -> Result<Vec<BlockIoEntry>> {
    let text = text(group, name)?.unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with("Total"));
    let entries: Option<_> = lines.map(entry).collect();
    entries.ok_or_else(|| malformed(group, name, &text))
}

/// `8:0 Read 4096` or `8:0 4096`.
fn entry(line: &str) -> Option<BlockIoEntry> {
    let mut fields = line.split_whitespace();
    let (major, minor) = fields.next()?.split_once(':')?;
    let (op, value) = match (fields.next()?, fields.next()) {
        (op, Some(value)) => (op, value),
        (value, None) => ("", value),
    };
    Some(BlockIoEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        op: op.to_owned(),
        value: parse_number(value)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_spelled_out() {
        assert_eq!(parse_list("0-3,7"), Some(vec![0, 1, 2, 3, 7]));
        assert_eq!(parse_list(""), Some(vec![]));
        assert_eq!(parse_list("0-x"), None);
        assert_eq!(parse_list("70000"), None);
    }

    #[test]
    fn entries_with_and_without_operations() {
        let read = entry("8:16 Read 4096").unwrap();
        assert_eq!((read.major, read.minor, read.op.as_str(), read.value), (8, 16, "Read", 4096));
        let plain = entry("8:16 512").unwrap();
        assert_eq!((plain.op.as_str(), plain.value), ("", 512));
        assert_eq!(entry("8:16"), None);
        assert_eq!(entry("x Read 1"), None);
    }
}
