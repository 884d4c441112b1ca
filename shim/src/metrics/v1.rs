//! Metrics of cgroup v1 and hybrids.

use containerd_shim_protos::cgroups::metrics::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl,
    MemoryStat, Metrics, PidsStat, Throttle,
};
use containerd_shim_protos::protobuf::MessageField;
use libcontainer::stats::{self, Stats};

/// Messages of controllers that count nothing are left out; those that are there are complete,
/// because their readers look into them without asking.
pub(super) fn metrics(stats: &Stats) -> Metrics {
    let hugetlb = stats.hugetlb.iter().map(|(pagesize, entry)| HugetlbStat {
        usage: entry.usage,
        max: entry.max,
        failcnt: entry.failcnt,
        pagesize: pagesize.clone(),
        ..HugetlbStat::default()
    });
    let has_memory = !stats.memory.raw.is_empty();
    Metrics {
        hugetlb: hugetlb.collect(),
        pids: pids(&stats.pids),
        cpu: Some(cpu(&stats.cpu)).into(),
        memory: has_memory.then(|| memory(&stats.memory)).into(),
        blkio: Some(block_io(&stats.block_io)).into(),
        memory_oom_control: has_memory.then(|| oom_control(stats)).into(),
        ..Metrics::default()
    }
}

fn pids(pids: &stats::PidsStats) -> MessageField<PidsStat> {
    // A container that runs has a process.
    let stat = (pids.current != 0 || pids.limit != 0).then(|| PidsStat {
        current: pids.current,
        limit: pids.limit,
        ..PidsStat::default()
    });
    stat.into()
}

fn cpu(cpu: &stats::CpuStats) -> CPUStat {
    CPUStat {
        usage: Some(CPUUsage {
            total: cpu.usage.total,
            kernel: cpu.usage.kernel,
            user: cpu.usage.user,
            per_cpu: cpu.usage.per_cpu.clone(),
            ..CPUUsage::default()
        })
        .into(),
        throttling: Some(Throttle {
            periods: cpu.throttling.periods,
            throttled_periods: cpu.throttling.throttled_periods,
            throttled_time: cpu.throttling.throttled_time,
            ..Throttle::default()
        })
        .into(),
        ..CPUStat::default()
    }
}

fn memory(memory: &stats::MemoryStats) -> MemoryStat {
    let raw = |key: &str| memory.raw.get(key).copied().unwrap_or(0);
    MemoryStat {
        cache: raw("cache"),
        rss: raw("rss"),
        rss_huge: raw("rss_huge"),
        mapped_file: raw("mapped_file"),
        dirty: raw("dirty"),
        writeback: raw("writeback"),
        pg_pg_in: raw("pgpgin"),
        pg_pg_out: raw("pgpgout"),
        pg_fault: raw("pgfault"),
        pg_maj_fault: raw("pgmajfault"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        hierarchical_memory_limit: raw("hierarchical_memory_limit"),
        hierarchical_swap_limit: raw("hierarchical_memsw_limit"),
        total_cache: raw("total_cache"),
        total_rss: raw("total_rss"),
        total_rss_huge: raw("total_rss_huge"),
        total_mapped_file: raw("total_mapped_file"),
        total_dirty: raw("total_dirty"),
        total_writeback: raw("total_writeback"),
        total_pg_pg_in: raw("total_pgpgin"),
        total_pg_pg_out: raw("total_pgpgout"),
        total_pg_fault: raw("total_pgfault"),
        total_pg_maj_fault: raw("total_pgmajfault"),
        total_inactive_anon: raw("total_inactive_anon"),
        total_active_anon: raw("total_active_anon"),
        total_inactive_file: raw("total_inactive_file"),
        total_active_file: raw("total_active_file"),
        total_unevictable: raw("total_unevictable"),
        usage: entry(&memory.usage),
        swap: entry(&memory.swap),
        kernel: entry(&memory.kernel),
        kernel_tcp: entry(&memory.kernel_tcp),
        ..MemoryStat::default()
    }
}

fn entry(entry: &stats::MemoryEntry) -> MessageField<MemoryEntry> {
    let stats::MemoryEntry { limit, usage, max, failcnt, .. } = *entry;
    Some(MemoryEntry { limit, usage, max, failcnt, ..MemoryEntry::default() }).into()
}

fn oom_control(stats: &Stats) -> MemoryOomControl {
    let counter = |key: &str| stats.memory_events.get(key).copied().unwrap_or(0);
    MemoryOomControl {
        oom_kill_disable: counter("oom_kill_disable"),
        under_oom: counter("under_oom"),
        oom_kill: counter("oom_kill"),
        ..MemoryOomControl::default()
    }
}

fn block_io(stats: &stats::BlockIoStats) -> BlkIOStat {
    BlkIOStat {
        io_service_bytes_recursive: entries(&stats.service_bytes),
        io_serviced_recursive: entries(&stats.serviced),
        io_queued_recursive: entries(&stats.queued),
        io_service_time_recursive: entries(&stats.service_time),
        io_wait_time_recursive: entries(&stats.wait_time),
        io_merged_recursive: entries(&stats.merged),
        io_time_recursive: entries(&stats.time),
        sectors_recursive: entries(&stats.sectors),
        ..BlkIOStat::default()
    }
}

fn entries(entries: &[stats::BlockIoEntry]) -> Vec<BlkIOEntry> {
    let entry = |entry: &stats::BlockIoEntry| BlkIOEntry {
        op: entry.op.clone(),
        device: device(entry.major, entry.minor),
        major: entry.major,
        minor: entry.minor,
        value: entry.value,
        ..BlkIOEntry::default()
    };
    entries.iter().map(entry).collect()
}

/// Path of a block device, as the kernel names it; empty where it names none.
fn device(major: u64, minor: u64) -> String {
    let uevent = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent"));
    let uevent = uevent.unwrap_or_default();
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map_or_else(String::new, |name| format!("/dev/{name}"))
}
