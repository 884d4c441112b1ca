//! Metrics of cgroup v2.

use containerd_shim_protos::cgroups_v2::metrics::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PSIData, PSIStats,
    PidsStat,
};
use containerd_shim_protos::protobuf::MessageField;
use libcontainer::stats::{self, Stats};

pub(super) fn metrics(stats: &Stats) -> Metrics {
    let hugetlb = stats.hugetlb.iter().map(|(pagesize, entry)| HugeTlbStat {
        current: entry.usage,
        max: u64::MAX,
        pagesize: pagesize.clone(),
        failcnt: entry.failcnt,
        ..HugeTlbStat::default()
    });
    Metrics {
        pids: Some(PidsStat {
            current: stats.pids.current,
            limit: if stats.pids.limit == 0 { u64::MAX } else { stats.pids.limit },
            ..PidsStat::default()
        })
        .into(),
        cpu: Some(cpu(&stats.cpu)).into(),
        memory: Some(memory(&stats.memory)).into(),
        io: Some(io(&stats.block_io)).into(),
        hugetlb: hugetlb.collect(),
        memory_events: Some(memory_events(stats)).into(),
        ..Metrics::default()
    }
}

fn cpu(cpu: &stats::CpuStats) -> CPUStat {
    CPUStat {
        usage_usec: cpu.usage.total / 1000,
        user_usec: cpu.usage.user / 1000,
        system_usec: cpu.usage.kernel / 1000,
        nr_periods: cpu.throttling.periods,
        nr_throttled: cpu.throttling.throttled_periods,
        throttled_usec: cpu.throttling.throttled_time / 1000,
        psi: pressure(cpu.pressure.as_ref()),
        ..CPUStat::default()
    }
}

fn memory(memory: &stats::MemoryStats) -> MemoryStat {
    let raw = |key: &str| memory.raw.get(key).copied().unwrap_or(0);
    // Swap is counted together with memory by the runtime, and alone by these readers.
    let swap_limit = match memory.swap.limit {
        u64::MAX => u64::MAX,
        limit => limit.saturating_sub(memory.usage.limit),
    };
    MemoryStat {
        anon: raw("anon"),
        file: raw("file"),
        kernel_stack: raw("kernel_stack"),
        slab: raw("slab"),
        sock: raw("sock"),
        shmem: raw("shmem"),
        file_mapped: raw("file_mapped"),
        file_dirty: raw("file_dirty"),
        file_writeback: raw("file_writeback"),
        anon_thp: raw("anon_thp"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        slab_reclaimable: raw("slab_reclaimable"),
        slab_unreclaimable: raw("slab_unreclaimable"),
        pgfault: raw("pgfault"),
        pgmajfault: raw("pgmajfault"),
        // Told for both kinds of pages since Linux 5.9.
        workingset_refault: raw("workingset_refault")
            + raw("workingset_refault_anon")
            + raw("workingset_refault_file"),
        workingset_activate: raw("workingset_activate")
            + raw("workingset_activate_anon")
            + raw("workingset_activate_file"),
        workingset_nodereclaim: raw("workingset_nodereclaim"),
        pgrefill: raw("pgrefill"),
        pgscan: raw("pgscan"),
        pgsteal: raw("pgsteal"),
        pgactivate: raw("pgactivate"),
        pgdeactivate: raw("pgdeactivate"),
        pglazyfree: raw("pglazyfree"),
        pglazyfreed: raw("pglazyfreed"),
        thp_fault_alloc: raw("thp_fault_alloc"),
        thp_collapse_alloc: raw("thp_collapse_alloc"),
        usage: memory.usage.usage,
        usage_limit: memory.usage.limit,
        swap_usage: memory.swap.usage.saturating_sub(memory.usage.usage),
        swap_limit,
        max_usage: memory.usage.max,
        psi: pressure(memory.pressure.as_ref()),
        ..MemoryStat::default()
    }
}

fn memory_events(stats: &Stats) -> MemoryEvents {
    let counter = |key: &str| stats.memory_events.get(key).copied().unwrap_or(0);
    MemoryEvents {
        low: counter("low"),
        high: counter("high"),
        max: counter("max"),
        oom: counter("oom"),
        oom_kill: counter("oom_kill"),
        oom_group_kill: counter("oom_group_kill"),
        ..MemoryEvents::default()
    }
}

/// One entry for each device, whose counters are spread over lists.
fn io(stats: &stats::BlockIoStats) -> IOStat {
    let mut usage: Vec<IOEntry> = Vec::new();
    for (list, is_bytes) in [(&stats.service_bytes, true), (&stats.serviced, false)] {
        for counted in list {
            let known =
                |entry: &IOEntry| (entry.major, entry.minor) == (counted.major, counted.minor);
            let at = usage.iter().position(known).unwrap_or_else(|| {
                let (major, minor) = (counted.major, counted.minor);
                usage.push(IOEntry { major, minor, ..IOEntry::default() });
                usage.len() - 1
            });
            let entry = &mut usage[at];
            match (counted.op.as_str(), is_bytes) {
                ("Read", true) => entry.rbytes = counted.value,
                ("Write", true) => entry.wbytes = counted.value,
                ("Read", false) => entry.rios = counted.value,
                ("Write", false) => entry.wios = counted.value,
                _ => {}
            }
        }
    }
    IOStat { usage, psi: pressure(stats.pressure.as_ref()), ..IOStat::default() }
}

fn pressure(pressure: Option<&stats::Pressure>) -> MessageField<PSIStats> {
    let line = |line: &stats::PressureLine| -> MessageField<PSIData> {
        let stats::PressureLine { avg10, avg60, avg300, total, .. } = *line;
        Some(PSIData { avg10, avg60, avg300, total, ..PSIData::default() }).into()
    };
    let stats = pressure.map(|pressure| PSIStats {
        some: line(&pressure.some),
        full: line(&pressure.full),
        ..PSIStats::default()
    });
    stats.into()
}
