//! What this machine can do and what this program may do, as plain data. A plan is made of it; a
//! step never trusts it for security but checks on the descriptor that it acts on.

mod probe;

pub(crate) use probe::namespace_inode;

use crate::rdt::Resctrl;

/// Facts about the machine and the calling program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Version of the kernel: major, minor.
    pub(crate) kernel: (u32, u32),
    /// Effective user id of the caller.
    pub(crate) uid: u32,
    /// Effective group id of the caller.
    pub(crate) gid: u32,
    /// Effective capabilities of the caller, one bit each.
    pub(crate) capabilities: u64,
    /// Greatest capability that the kernel knows: /proc/sys/kernel/cap_last_cap.
    pub(crate) last_capability: u8,
    /// The caller's user namespace is not the initial one.
    pub(crate) in_user_namespace: bool,
    /// The caller's user namespace forbids setgroups(2), and all those below it do.
    pub(crate) setgroups_denied: bool,
    /// Which kinds of namespaces the kernel has, `CLONE_NEW*` flags: /proc/self/ns.
    pub(crate) namespaces: u64,
    /// Inodes of the caller's own namespaces by `CLONE_NEW*` flag.
    pub(crate) namespace_inodes: Vec<(u64, u64)>,
    /// Paths in the configuration that lead to the caller's own namespaces, where it matters.
    pub(crate) own_namespaces: Vec<String>,
    /// The resctrl file system, where the configuration asks for one.
    pub(crate) resctrl: Option<Resctrl>,
    /// AppArmor is enabled: /sys/module/apparmor/parameters/enabled.
    pub(crate) apparmor: bool,
    /// SELinux is enabled: a selinuxfs is mounted, and the kernel has a policy.
    pub(crate) selinux: bool,
    /// id-mapped mounts and recursive attributes: mount_setattr(2), Linux 5.12.
    pub(crate) mount_setattr: bool,
    /// The mount API with descriptors: open_tree(2), fsopen(2), move_mount(2), Linux 5.2.
    pub(crate) mount_api: bool,
    /// What a mount of type `cgroup` shows the container: one entry for each hierarchy that is
    /// mounted here.
    pub(crate) cgroup_mounts: Vec<CgroupMount>,
    /// Where whole procfs and sysfs file systems are mounted, outermost first: MS_MOVE leaves
    /// them within reach of the container.
    pub(crate) full_kernel_mounts: Vec<String>,
}

/// One hierarchy of cgroups as the container shall see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupMount {
    /// Directory below the mount, `cpu,cpuacct` for example; empty for a machine with cgroup v2
    /// alone.
    pub(crate) name: String,
    /// The hierarchy is cgroup v2.
    pub(crate) unified: bool,
    /// Options that choose a v1 hierarchy: `cpu,cpuacct`, `name=systemd`.
    pub(crate) options: String,
    /// Where the hierarchy is mounted on the host.
    pub(crate) mount_point: String,
    /// Absolute path on the host of the container's group.
    pub(crate) group: String,
    /// Other names of the directory: `cpu` and `cpuacct`.
    pub(crate) links: Vec<String>,
}

impl Host {
    /// Whether the caller has a capability.
    pub(crate) fn has_capability(&self, number: u8) -> bool {
        self.capabilities.checked_shr(number.into()).is_some_and(|bits| bits & 1 == 1)
    }

    /// A machine of known properties: golden plans are made for it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn fixed() -> Self {
        Self {
            kernel: (6, 18),
            uid: 0,
            gid: 0,
            capabilities: (1 << 41) - 1,
            last_capability: 40,
            in_user_namespace: false,
            setgroups_denied: false,
            namespaces: crate::spec::NamespaceKind::ALL.iter().map(|kind| kind.flag()).sum(),
            namespace_inodes: Vec::new(),
            own_namespaces: Vec::new(),
            resctrl: Some(Resctrl {
                root: "/sys/fs/resctrl".into(),
                shares_cache: true,
                shares_bandwidth: true,
            }),
            apparmor: false,
            selinux: false,
            mount_setattr: true,
            mount_api: true,
            cgroup_mounts: Vec::new(),
            full_kernel_mounts: vec!["/proc".to_owned(), "/sys".to_owned()],
        }
    }
}
