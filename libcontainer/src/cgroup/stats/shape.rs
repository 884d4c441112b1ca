//! Statistics as runc's `events` writes them: names, and what is left out when it is empty.
//!
//! Objects are always there, as in runc up to 1.3; its later releases leave out empty ones, which
//! readers of either take.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::rdt::IntelRdtStats;

/// What the kernel counted in a container's cgroups. Values of controllers that are not there
/// are zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Whether all of it was read from cgroup v2; the names of `memory.raw` depend on it. Not
    /// printed.
    #[serde(skip)]
    pub is_unified: bool,
    /// What the memory controller did when memory was short: `memory.events` on v2,
    /// `memory.oom_control` on v1. Not printed.
    #[serde(skip)]
    pub memory_events: BTreeMap<String, u64>,
    /// CPU time.
    pub cpu: CpuStats,
    /// CPUs and memory nodes (v1).
    pub cpuset: CpusetStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Number of tasks.
    pub pids: PidsStats,
    /// Block devices.
    #[serde(rename = "blkio")]
    pub block_io: BlockIoStats,
    /// Huge pages, by size such as `2MB`.
    pub hugetlb: BTreeMap<String, HugepageStats>,
    /// Intel RDT.
    pub intel_rdt: IntelRdtStats,
    /// Network interfaces on the host's side: runc counts those that it made itself, and a
    /// runtime makes none.
    pub network_interfaces: Option<Vec<NoInterface>>,
}

/// A network interface: there is no value of this type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum NoInterface {}

/// CPU time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CpuStats {
    /// Time used.
    pub usage: CpuUsage,
    /// Time that the limit took away.
    pub throttling: Throttling,
    /// Stalls (v2).
    #[serde(rename = "psi", skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// CPU time used, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CpuUsage {
    /// In total.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// On each CPU (v1).
    #[serde(rename = "percpu", skip_serializing_if = "Vec::is_empty")]
    pub per_cpu: Vec<u64>,
    /// On each CPU in the kernel (v1).
    #[serde(rename = "percpu_kernel", skip_serializing_if = "Vec::is_empty")]
    pub per_cpu_kernel: Vec<u64>,
    /// On each CPU outside the kernel (v1).
    #[serde(rename = "percpu_user", skip_serializing_if = "Vec::is_empty")]
    pub per_cpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// Outside the kernel.
    pub user: u64,
}

/// What the limit of CPU time did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Throttling {
    /// Periods in which tasks could run.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Periods in which the limit was reached.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Time for which tasks were stopped, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Pressure stall information: shares of time in which tasks waited for a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pressure {
    /// At least one task waited.
    pub some: PressureLine,
    /// All tasks waited.
    pub full: PressureLine,
}

/// One line of pressure stall information.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PressureLine {
    /// Percentage over 10 seconds.
    pub avg10: f64,
    /// Percentage over a minute.
    pub avg60: f64,
    /// Percentage over five minutes.
    pub avg300: f64,
    /// Total in microseconds.
    pub total: u64,
}

/// Settings of the cpuset controller (v1).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CpusetStats {
    /// CPUs on which tasks may run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// `cpuset.cpu_exclusive`.
    pub cpu_exclusive: u64,
    /// Memory nodes that tasks may use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// `cpuset.mem_hardwall`.
    pub mem_hardwall: u64,
    /// `cpuset.mem_exclusive`.
    pub mem_exclusive: u64,
    /// `cpuset.memory_migrate`.
    pub memory_migrate: u64,
    /// `cpuset.memory_spread_page`.
    pub memory_spread_page: u64,
    /// `cpuset.memory_spread_slab`.
    pub memory_spread_slab: u64,
    /// `cpuset.memory_pressure`.
    pub memory_pressure: u64,
    /// `cpuset.sched_load_balance`.
    pub sched_load_balance: u64,
    /// `cpuset.sched_relax_domain_level`.
    pub sched_relax_domain_level: i64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together.
    pub swap: MemoryEntry,
    /// Memory of the kernel (v1).
    pub kernel: MemoryEntry,
    /// Memory of TCP buffers (v1).
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// All values of `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Stalls (v2).
    #[serde(rename = "psi", skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// One kind of memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemoryEntry {
    /// Limit; the largest number for none on v2, a very large one on v1.
    pub limit: u64,
    /// Used now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Most that was used.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit (v1).
    pub failcnt: u64,
}

/// Number of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PidsStats {
    /// Tasks now.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// Limit; 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BlockIoStats {
    /// Bytes transferred.
    #[serde(rename = "ioServiceBytesRecursive", skip_serializing_if = "Vec::is_empty")]
    pub service_bytes: Vec<BlockIoEntry>,
    /// Operations.
    #[serde(rename = "ioServicedRecursive", skip_serializing_if = "Vec::is_empty")]
    pub serviced: Vec<BlockIoEntry>,
    /// Operations in the queue (v1, debugging kernels).
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub queued: Vec<BlockIoEntry>,
    /// Time of service in nanoseconds (v1, debugging kernels).
    #[serde(rename = "ioServiceTimeRecursive", skip_serializing_if = "Vec::is_empty")]
    pub service_time: Vec<BlockIoEntry>,
    /// Time of waiting in nanoseconds (v1, debugging kernels).
    #[serde(rename = "ioWaitTimeRecursive", skip_serializing_if = "Vec::is_empty")]
    pub wait_time: Vec<BlockIoEntry>,
    /// Operations that were joined to others (v1, debugging kernels).
    #[serde(rename = "ioMergedRecursive", skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<BlockIoEntry>,
    /// Time of the disk in milliseconds (v1, debugging kernels).
    #[serde(rename = "ioTimeRecursive", skip_serializing_if = "Vec::is_empty")]
    pub time: Vec<BlockIoEntry>,
    /// Sectors transferred (v1, debugging kernels).
    #[serde(rename = "sectorsRecursive", skip_serializing_if = "Vec::is_empty")]
    pub sectors: Vec<BlockIoEntry>,
    /// Stalls (v2).
    #[serde(rename = "psi", skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// A value of one block device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BlockIoEntry {
    /// Major number.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Minor number.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// Operation such as `Read`; empty for values that do not tell them apart.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// Value.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HugepageStats {
    /// Bytes used now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Most bytes that were used (v1).
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
