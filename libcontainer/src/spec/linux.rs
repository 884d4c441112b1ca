//! `linux`, without resources and seccomp.

use std::collections::BTreeMap;

use super::object::object;
use super::{IdMapping, Resources, Seccomp};

object! {
    /// The Linux section.
    Linux {
        /// Namespaces to create or join.
        namespaces: Vec<Namespace> = "namespaces",
        /// User id mappings of a new user namespace.
        uid_mappings: Vec<IdMapping> = "uidMappings",
        /// Group id mappings of a new user namespace.
        gid_mappings: Vec<IdMapping> = "gidMappings",
        /// Clock offsets of a new time namespace, by `monotonic` and `boottime`.
        time_offsets: BTreeMap<String, TimeOffset> = "timeOffsets",
        /// Devices to create.
        devices: Vec<Device> = "devices",
        /// Host network devices to move into the container, by their host name.
        net_devices: BTreeMap<String, NetDevice> = "netDevices",
        /// Path of the container's cgroup.
        cgroups_path: String = "cgroupsPath",
        /// Limits.
        resources: Option<Resources> = "resources",
        /// Propagation of the root mount: shared, slave, private or unbindable.
        rootfs_propagation: String = "rootfsPropagation",
        /// System call filter.
        seccomp: Option<Seccomp> = "seccomp",
        /// Kernel parameters to set.
        sysctl: BTreeMap<String, String> = "sysctl",
        /// Paths that are hidden.
        masked_paths: Vec<String> = "maskedPaths",
        /// Paths that are read-only.
        readonly_paths: Vec<String> = "readonlyPaths",
        /// SELinux context of the mounts.
        mount_label: String = "mountLabel",
        /// Resource director technology.
        intel_rdt: Option<IntelRdt> = "intelRdt",
        /// Execution domain.
        personality: Option<Personality> = "personality",
        /// Memory policy, see set_mempolicy(2).
        memory_policy: Option<MemoryPolicy> = "memoryPolicy",
    }
}

object! {
    /// One entry of `linux.namespaces`.
    Namespace {
        /// pid, network, mount, ipc, uts, user, cgroup or time.
        kind: String = "type",
        /// Absolute path of a namespace to join; a new one when empty.
        path: String = "path",
    }
}

object! {
    /// One entry of `linux.timeOffsets`.
    TimeOffset {
        /// Seconds.
        secs: i64 = "secs",
        /// Nanoseconds.
        nanosecs: u32 = "nanosecs",
    }
}

object! {
    /// One entry of `linux.devices`.
    Device {
        /// c, b, u or p.
        kind: String = "type",
        /// Absolute path inside the container.
        path: String = "path",
        /// Major number; required but for p.
        major: Option<i64> = "major",
        /// Minor number; required but for p.
        minor: Option<i64> = "minor",
        /// Permission bits.
        file_mode: Option<u32> = "fileMode",
        /// Owner inside the container.
        uid: Option<u32> = "uid",
        /// Group inside the container.
        gid: Option<u32> = "gid",
    }
}

object! {
    /// One entry of `linux.netDevices`.
    NetDevice {
        /// Name inside the container; the host's when empty.
        name: String = "name",
    }
}

object! {
    /// `linux.intelRdt`.
    IntelRdt {
        /// Class of service.
        clos_id: String = "closID",
        /// Lines of the schemata file.
        schemata: Vec<String> = "schemata",
        /// Schema for the L3 cache.
        l3_cache_schema: String = "l3CacheSchema",
        /// Schema for memory bandwidth.
        mem_bw_schema: String = "memBwSchema",
        /// Whether a monitoring group is made.
        enable_monitoring: bool = "enableMonitoring",
        /// Deprecated: cache monitoring.
        enable_cmt: bool = "enableCMT",
        /// Deprecated: bandwidth monitoring.
        enable_mbm: bool = "enableMBM",
    }
}

object! {
    /// `linux.personality`, see personality(2).
    Personality {
        /// LINUX or LINUX32.
        domain: String = "domain",
        /// Additional flags: none is defined by the specification.
        flags: Vec<String> = "flags",
    }
}

object! {
    /// `linux.memoryPolicy`, see set_mempolicy(2).
    MemoryPolicy {
        /// Mode such as `MPOL_INTERLEAVE`.
        mode: String = "mode",
        /// NUMA nodes, such as `0-1`.
        nodes: String = "nodes",
        /// Flags such as `MPOL_F_STATIC_NODES`.
        flags: Vec<String> = "flags",
    }
}
