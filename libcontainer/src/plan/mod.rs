//! Decides: (Spec, Options, Host) become a [`Plan`]. Pure: no system call, no clock, no
//! environment. All defaults, all validation and all conversions happen here, once.

pub(crate) mod annotations;
mod capabilities;
mod cgroup_mount;
mod changes;
mod context;
mod create;
mod describe;
mod devices;
mod entry;
mod error;
mod exec;
mod hooks;
mod idmap;
mod labels;
mod masks;
mod mount_points;
mod mounts;
mod namespaces;
mod network;
mod options;
mod process;
mod rdt;
mod refused;
mod rlimits;
mod root;
mod scheduling;
mod seccomp;
mod sysctl;
mod user_namespace;

pub(crate) use crate::spec::NamespaceKind;
pub(crate) use changes::{Change, PlannedChange, plan_change};
pub(crate) use context::{Context, Options};
pub(crate) use create::plan_create;
pub(crate) use devices::plan_devices;
pub(crate) use error::PlanError;
pub(crate) use exec::{Running, plan_exec};
pub(crate) use hooks::hook_output_path;
pub(crate) use masks::plan_masks;
pub(crate) use mount_points::{MountKind, MountPoint, plan_device_paths, plan_mount_points};
pub(crate) use mounts::{plan_late_readonly, plan_mounts};
pub(crate) use namespaces::{Namespaces, plan_namespaces};
#[cfg(feature = "fuzzing")]
pub(crate) use options::MountOptions;
pub(crate) use options::known_options;
pub(crate) use process::ProcessSection;
pub(crate) use root::{plan_pivot, plan_readonly_root, plan_root};
pub(crate) use scheduling::{memory_policy_flags, memory_policy_modes};

use crate::protocol::{Program, Slot};
use crate::rdt::Group;
use crate::spec::{Hook, IdMapping, Resources};

/// What is to be done, as data: the parent's half in fields, the child's as a [`Program`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Which processes there are.
    pub(crate) shape: Shape,
    /// Program of the child. With [`Shape::Two`] an intermediate process executes it up to
    /// [`crate::protocol::Step::CloneInit`], reports init's pid and ends; init goes on with it.
    pub(crate) init: Program,
    /// `CLONE_NEW*` flags of the clone.
    pub(crate) clone_flags: u64,
    /// Slots for files of the container's cgroup into which the child writes `0`: the `tasks`
    /// of each v1 hierarchy, freezer last, and `cgroup.procs` where the kernel refuses
    /// CLONE_INTO_CGROUP. The parent fills as many as it needs, from the first on.
    pub(crate) cgroups: (Slot, u16),
    /// Descriptors that the parent opens before the clone, in the order of opening.
    pub(crate) descriptors: Vec<PlannedDescriptor>,
    /// A pid namespace that a scratch thread of the parent joins before it clones.
    pub(crate) pid_namespace: Option<NamespacePath>,
    /// What the parent does at [`crate::protocol::SyncPoint::Up`] to a new user namespace.
    pub(crate) mappings: Option<Mappings>,
    /// Written into the child's oom_score_adj: at [`crate::protocol::SyncPoint::Up`] where the
    /// program meets there, else at once after the clone.
    pub(crate) oom_score_adj: Option<i32>,
    /// Set on the child by prlimit at [`crate::protocol::SyncPoint::Limits`].
    pub(crate) rlimits: Vec<PlannedRlimit>,
    /// `linux.cgroupsPath` as written; the group is found by the host's layout.
    pub(crate) cgroups_path: Option<String>,
    /// Network devices that the parent moves at [`crate::protocol::SyncPoint::Network`].
    pub(crate) net_devices: Vec<PlannedNetDevice>,
    /// The class of service; joined at [`crate::protocol::SyncPoint::Up`].
    pub(crate) rdt: Option<Group>,
    /// Limits, already checked; set at [`crate::protocol::SyncPoint::Mounted`].
    pub(crate) resources: Resources,
    /// Hooks that the parent runs.
    pub(crate) hooks: PlannedHooks,
    /// Detached trees that the parent makes: id-mapped mounts, sources out of the child's reach.
    pub(crate) trees: Vec<PlannedTree>,
    /// Where the descriptor of the seccomp listener goes.
    pub(crate) listener: Option<PlannedListener>,
    /// Things that are wrong but not refused.
    pub(crate) warnings: Vec<String>,
}

/// Which processes make the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One child, no user namespace, or nothing but a new one.
    One,
    /// An intermediate child that joins or makes the user namespace and clones init.
    Two,
}

/// A descriptor that the parent opens before the clone and puts into a slot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedDescriptor {
    /// Where the child finds it.
    pub(crate) slot: Slot,
    /// What is opened.
    pub(crate) source: DescriptorSource,
    /// JSON pointer that it comes from.
    pub(crate) pointer: String,
}

/// What a planned descriptor refers to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DescriptorSource {
    /// A namespace, checked to be of the type of the `CLONE_NEW*` flag.
    Namespace(NamespacePath),
    /// A descriptor of the caller that is passed on under this number.
    Preserved(i32),
    /// A pidfd of the container's init, for exec.
    Init,
    /// A file of the host that is written to at its end, and made where it is missing.
    Append(String),
    /// The program of the host that runs the container's.
    Handler,
}

/// A namespace by path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamespacePath {
    /// Path in the runtime's mount namespace.
    pub(crate) path: String,
    /// `CLONE_NEW*` flag of the type that it must be of.
    pub(crate) kind: u64,
    /// JSON pointer of the entry.
    pub(crate) pointer: String,
}

/// Mappings of a new user namespace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mappings {
    /// Users.
    pub(crate) uids: Vec<IdMapping>,
    /// Groups.
    pub(crate) gids: Vec<IdMapping>,
    /// Whether setgroups is denied first, as the kernel demands of unprivileged writers.
    pub(crate) deny_setgroups: bool,
}

/// One resource limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedRlimit {
    /// `RLIMIT_*` number.
    pub(crate) resource: u32,
    /// Its name.
    pub(crate) name: String,
    /// Soft limit.
    pub(crate) soft: u64,
    /// Hard limit.
    pub(crate) hard: u64,
    /// JSON pointer of the entry.
    pub(crate) pointer: String,
}

/// A network device of the host that the container gets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedNetDevice {
    /// Its name on the host.
    pub(crate) name: String,
    /// Its name in the container; `%d` in it stands for the first number that is free.
    pub(crate) new_name: String,
    /// JSON pointer of the entry.
    pub(crate) pointer: String,
}

/// Hooks that the parent runs; those of the container's namespaces are steps of the child.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PlannedHooks {
    /// During create.
    pub(crate) prestart: Vec<Hook>,
    /// During create, after `prestart`.
    pub(crate) create_runtime: Vec<Hook>,
    /// After start.
    pub(crate) poststart: Vec<Hook>,
    /// After delete.
    pub(crate) poststop: Vec<Hook>,
}

/// How the ids of a tree are mapped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TreeMapping {
    /// Not at all: the tree is for a source that the container's user namespace cannot reach.
    Absent,
    /// By users and groups of its own.
    Own(Vec<IdMapping>, Vec<IdMapping>),
    /// By the container's own user namespace: the parent hands the tree over at
    /// [`crate::protocol::SyncPoint::Namespaces`].
    Container,
}

/// A detached mount tree that the parent prepares.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedTree {
    /// Where the child finds it.
    pub(crate) slot: Slot,
    /// Absolute source on the host.
    pub(crate) source: String,
    /// Whether mounts below the source belong to the tree.
    pub(crate) recursive_bind: bool,
    /// Whether the mapping concerns the mounts below, too.
    pub(crate) recursive_map: bool,
    /// How ids are mapped.
    pub(crate) mapping: TreeMapping,
    /// JSON pointer of the mount.
    pub(crate) pointer: String,
}

/// The seccomp agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedListener {
    /// Unix socket.
    pub(crate) path: String,
    /// Opaque data.
    pub(crate) metadata: String,
}

#[cfg(test)]
mod tests;
