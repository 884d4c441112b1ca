use containerd_shim_protos::{cgroups, cgroups_v2};
use libcontainer::stats::{BlockIoEntry, HugepageStats, Pressure};

use super::*;

fn entry(op: &str, value: u64) -> BlockIoEntry {
    let mut entry = BlockIoEntry::default();
    (entry.major, entry.minor, entry.op, entry.value) = (8, 16, op.to_owned(), value);
    entry
}

/// As a group of v1 with all controllers counts.
fn counted() -> Stats {
    let mut stats = Stats::default();
    (stats.cpu.usage.total, stats.cpu.usage.kernel, stats.cpu.usage.user) = (7000, 3000, 4000);
    stats.cpu.usage.per_cpu = vec![6000, 1000];
    stats.cpu.throttling.throttled_time = 9000;
    stats.cpu.throttling.periods = 5;
    for (key, value) in [
        ("total_inactive_file", 4096),
        ("hierarchical_memory_limit", 1 << 20),
        ("hierarchical_memsw_limit", 2 << 20),
        ("pgpgin", 11),
        ("total_pgmajfault", 12),
        ("inactive_file", 4097),
        ("anon", 8192),
        ("workingset_refault_file", 3),
        ("workingset_refault_anon", 4),
    ] {
        stats.memory.raw.insert(key.to_owned(), value);
    }
    (stats.memory.usage.usage, stats.memory.usage.limit) = (65536, 1 << 20);
    (stats.memory.swap.usage, stats.memory.swap.limit) = (65536 + 4096, 3 << 20);
    stats.memory.usage.max = 70000;
    stats.memory_events.insert("oom_kill".to_owned(), 2);
    (stats.pids.current, stats.pids.limit) = (3, 10);
    stats.block_io.service_bytes = vec![entry("Read", 512), entry("Write", 1024)];
    stats.block_io.serviced = vec![entry("Read", 1), entry("Write", 2)];
    let mut huge = HugepageStats::default();
    (huge.usage, huge.failcnt) = (2 << 20, 1);
    stats.hugetlb.insert("2MB".to_owned(), huge);
    stats
}

#[test]
fn of_v1() {
    let any = encode(&counted());
    assert_eq!(any.type_url, "io.containerd.cgroups.v1.Metrics");
    let told = cgroups::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
    assert_eq!(
        (told.cpu.usage.total, told.cpu.usage.kernel, told.cpu.usage.user),
        (7000, 3000, 4000)
    );
    assert_eq!(told.cpu.usage.per_cpu, [6000, 1000]);
    assert_eq!((told.cpu.throttling.periods, told.cpu.throttling.throttled_time), (5, 9000));
    let memory = &told.memory;
    assert_eq!((memory.total_inactive_file, memory.pg_pg_in), (4096, 11));
    assert_eq!((memory.hierarchical_swap_limit, memory.total_pg_maj_fault), (2 << 20, 12));
    assert_eq!((memory.usage.usage, memory.usage.limit, memory.usage.max), (65536, 1 << 20, 70000));
    assert!(memory.kernel.is_some() && memory.kernel_tcp.is_some());
    assert_eq!(told.memory_oom_control.oom_kill, 2);
    assert_eq!((told.pids.current, told.pids.limit), (3, 10));
    let bytes = &told.blkio.io_service_bytes_recursive;
    assert_eq!((bytes[1].op.as_str(), bytes[1].major, bytes[1].value), ("Write", 8, 1024));
    assert_eq!((told.hugetlb[0].pagesize.as_str(), told.hugetlb[0].failcnt), ("2MB", 1));
}

/// Readers look into the messages of controllers that are there without asking.
#[test]
fn of_v1_without_controllers() {
    let any = encode(&Stats::default());
    let told = cgroups::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
    assert!(told.memory.is_none() && told.pids.is_none() && told.memory_oom_control.is_none());
    assert!(told.cpu.usage.is_some() && told.cpu.throttling.is_some());
}

#[test]
fn of_v2() {
    let mut stats = counted();
    stats.is_unified = true;
    let mut pressure = Pressure::default();
    (pressure.some.avg10, pressure.full.total) = (1.5, 77);
    stats.memory.pressure = Some(pressure);
    let any = encode(&stats);
    assert_eq!(any.type_url, "io.containerd.cgroups.v2.Metrics");
    let told = cgroups_v2::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
    assert_eq!((told.cpu.usage_usec, told.cpu.throttled_usec), (7, 9));
    let memory = &told.memory;
    assert_eq!((memory.anon, memory.inactive_file, memory.workingset_refault), (8192, 4097, 7));
    assert_eq!((memory.usage, memory.usage_limit, memory.max_usage), (65536, 1 << 20, 70000));
    assert_eq!((memory.swap_usage, memory.swap_limit), (4096, 2 << 20));
    assert_eq!((memory.psi.some.avg10, memory.psi.full.total), (1.5, 77));
    assert!(told.cpu.psi.is_none());
    assert_eq!(told.memory_events.oom_kill, 2);
    assert_eq!(told.io.usage.len(), 1);
    let io = &told.io.usage[0];
    assert_eq!((io.major, io.minor), (8, 16));
    assert_eq!((io.rbytes, io.wbytes, io.rios, io.wios), (512, 1024, 1, 2));
    assert_eq!((told.pids.current, told.pids.limit), (3, 10));
}

#[test]
fn no_limits_on_v2() {
    let mut stats = Stats::default();
    stats.is_unified = true;
    (stats.memory.usage.limit, stats.memory.swap.limit) = (u64::MAX, u64::MAX);
    let any = encode(&stats);
    let told = cgroups_v2::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
    assert_eq!((told.memory.usage_limit, told.memory.swap_limit), (u64::MAX, u64::MAX));
    assert_eq!(told.pids.limit, u64::MAX);
}
