//! `linux.resources`.

use std::collections::BTreeMap;

use super::object::object;

object! {
    /// Limits and device rules.
    Resources {
        /// Device rules, in order.
        devices: Vec<DeviceRule> = "devices",
        /// Memory.
        memory: Option<Memory> = "memory",
        /// CPU time and placement.
        cpu: Option<Cpu> = "cpu",
        /// Number of tasks.
        pids: Option<Pids> = "pids",
        /// Block devices.
        block_io: Option<BlockIo> = "blockIO",
        /// Huge pages.
        hugepage_limits: Vec<HugepageLimit> = "hugepageLimits",
        /// Network classes.
        network: Option<Network> = "network",
        /// RDMA, by device.
        rdma: BTreeMap<String, Rdma> = "rdma",
        /// Files of cgroup v2 and the values written into them.
        unified: BTreeMap<String, String> = "unified",
    }
}

object! {
    /// One entry of `linux.resources.devices`.
    DeviceRule {
        /// Whether access is allowed.
        allow: bool = "allow",
        /// a, c or b; all when empty.
        kind: String = "type",
        /// Major number; all when absent or -1.
        major: Option<i64> = "major",
        /// Minor number; all when absent or -1.
        minor: Option<i64> = "minor",
        /// Letters of r, w and m; all when empty.
        access: String = "access",
    }
}

object! {
    /// `linux.resources.memory`; bytes, -1 for no limit.
    Memory {
        /// Limit.
        limit: Option<i64> = "limit",
        /// Soft limit.
        reservation: Option<i64> = "reservation",
        /// Limit of memory and swap together.
        swap: Option<i64> = "swap",
        /// Kernel memory: of no effect since Linux 5.16.
        kernel: Option<i64> = "kernel",
        /// Kernel memory of TCP buffers.
        kernel_tcp: Option<i64> = "kernelTCP",
        /// Swappiness, 0 to 100.
        swappiness: Option<u64> = "swappiness",
        /// Whether tasks wait instead of being killed when memory runs out (v1).
        disable_oom_killer: Option<bool> = "disableOOMKiller",
        /// Whether memory of sub-cgroups counts (v1).
        use_hierarchy: Option<bool> = "useHierarchy",
        /// Whether a limit below the present usage is refused.
        check_before_update: Option<bool> = "checkBeforeUpdate",
    }
}

object! {
    /// `linux.resources.cpu`; times in microseconds.
    Cpu {
        /// Relative weight, 2 to 262144.
        shares: Option<u64> = "shares",
        /// CPU time in each period; -1 for no limit.
        quota: Option<i64> = "quota",
        /// Unused quota that may be saved up.
        burst: Option<u64> = "burst",
        /// Length of a period.
        period: Option<u64> = "period",
        /// Real-time CPU time in each real-time period.
        realtime_runtime: Option<i64> = "realtimeRuntime",
        /// Length of a real-time period.
        realtime_period: Option<u64> = "realtimePeriod",
        /// CPUs, such as `0-3,7`.
        cpus: String = "cpus",
        /// Memory nodes, such as `0-1`.
        mems: String = "mems",
        /// 1 for SCHED_IDLE behaviour of the group.
        idle: Option<i64> = "idle",
    }
}

object! {
    /// `linux.resources.pids`.
    Pids {
        /// Number of tasks; -1 for no limit.
        limit: Option<i64> = "limit",
    }
}

object! {
    /// `linux.resources.blockIO`.
    BlockIo {
        /// Relative weight, 10 to 1000.
        weight: Option<u16> = "weight",
        /// Relative weight of the group's own tasks (v1).
        leaf_weight: Option<u16> = "leafWeight",
        /// Weights by device.
        weight_device: Vec<WeightDevice> = "weightDevice",
        /// Bytes read a second, by device.
        throttle_read_bps_device: Vec<ThrottleDevice> = "throttleReadBpsDevice",
        /// Bytes written a second, by device.
        throttle_write_bps_device: Vec<ThrottleDevice> = "throttleWriteBpsDevice",
        /// Reads a second, by device.
        throttle_read_iops_device: Vec<ThrottleDevice> = "throttleReadIOPSDevice",
        /// Writes a second, by device.
        throttle_write_iops_device: Vec<ThrottleDevice> = "throttleWriteIOPSDevice",
    }
}

object! {
    /// Weight of one block device.
    WeightDevice {
        /// Major number.
        major: i64 = "major",
        /// Minor number.
        minor: i64 = "minor",
        /// Relative weight, 10 to 1000.
        weight: Option<u16> = "weight",
        /// Relative weight of the group's own tasks.
        leaf_weight: Option<u16> = "leafWeight",
    }
}

object! {
    /// Rate of one block device.
    ThrottleDevice {
        /// Major number.
        major: i64 = "major",
        /// Minor number.
        minor: i64 = "minor",
        /// Bytes or operations a second.
        rate: u64 = "rate",
    }
}

object! {
    /// Limit of one size of huge pages.
    HugepageLimit {
        /// Size such as `2MB`.
        page_size: String = "pageSize",
        /// Bytes.
        limit: u64 = "limit",
    }
}

object! {
    /// `linux.resources.network` (v1).
    Network {
        /// Class of net_cls.
        class_id: Option<u32> = "classID",
        /// Priorities of net_prio.
        priorities: Vec<InterfacePriority> = "priorities",
    }
}

object! {
    /// Priority of one network interface.
    InterfacePriority {
        /// Interface.
        name: String = "name",
        /// Priority.
        priority: u32 = "priority",
    }
}

object! {
    /// Limits of one RDMA device.
    Rdma {
        /// Handles.
        hca_handles: Option<u32> = "hcaHandles",
        /// Objects.
        hca_objects: Option<u32> = "hcaObjects",
    }
}
