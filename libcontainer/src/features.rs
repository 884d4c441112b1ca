//! What this release and this machine can do, as the verb `features` prints it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::host::Host;
use crate::plan::{annotations, known_options, memory_policy_flags, memory_policy_modes};
use crate::seccomp;
use crate::spec::known_capabilities;

/// The document of `features`:
/// <https://github.com/opencontainers/runtime-spec/blob/v1.3.0/features.md>.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Features {
    /// Oldest version of the specification that bundles may follow.
    pub oci_version_min: String,
    /// Newest one.
    pub oci_version_max: String,
    /// Kinds of hooks.
    pub hooks: Vec<String>,
    /// Mount options that are not handed to the file system.
    pub mount_options: Vec<String>,
    /// The Linux section.
    pub linux: LinuxFeatures,
    /// Facts about this implementation.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of config.json that change what the runtime does on the host.
    pub potentially_unsafe_config_annotations: Vec<String>,
}

/// The Linux section of [`Features`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LinuxFeatures {
    /// Kinds of namespaces.
    pub namespaces: Vec<String>,
    /// Capabilities by name.
    pub capabilities: Vec<String>,
    /// cgroup versions and drivers by name.
    pub cgroup: BTreeMap<&'static str, bool>,
    /// System call filters.
    pub seccomp: SeccompFeatures,
    /// AppArmor.
    pub apparmor: Enabled,
    /// SELinux.
    pub selinux: Enabled,
    /// Resource director technology.
    pub intel_rdt: IntelRdtFeatures,
    /// Memory policy.
    pub memory_policy: MemoryPolicyFeatures,
    /// Extensions of mounts.
    pub mount_extensions: MountExtensions,
    /// Moving network devices.
    pub net_devices: Enabled,
}

/// Whether something is compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Enabled {
    /// Whether it is.
    pub enabled: bool,
}

/// Resource director technology in [`Features`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IntelRdtFeatures {
    /// Whether it is carried out.
    pub enabled: bool,
    /// Whether `linux.intelRdt.schemata` is.
    pub schemata: bool,
    /// Whether `linux.intelRdt.enableMonitoring` is.
    pub monitoring: bool,
}

/// System call filters in [`Features`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SeccompFeatures {
    /// Whether filters are carried out.
    pub enabled: bool,
    /// Actions.
    pub actions: Vec<String>,
    /// Operators of conditions.
    pub operators: Vec<String>,
    /// Architectures.
    pub archs: Vec<String>,
    /// Flags that this release knows.
    pub known_flags: Vec<String>,
    /// Flags that this kernel knows as well.
    pub supported_flags: Vec<String>,
}

/// Memory policies in [`Features`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemoryPolicyFeatures {
    /// Modes.
    pub modes: Vec<String>,
    /// Flags.
    pub flags: Vec<String>,
}

/// Extensions of mounts in [`Features`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MountExtensions {
    /// id-mapped mounts.
    pub idmap: Enabled,
}

/// What this release can do on this machine.
pub fn features() -> Features {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Features {
        oci_version_min: "1.0.0".to_owned(),
        oci_version_max: "1.3.0".to_owned(),
        hooks: names(&[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ]),
        mount_options: names(&known_options()),
        linux: LinuxFeatures {
            namespaces: names(&["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]),
            capabilities: known_capabilities(u8::MAX).map(str::to_owned).collect(),
            cgroup: BTreeMap::from([
                ("v1", true),
                ("v2", true),
                ("systemd", cfg!(feature = "systemd")),
                ("systemdUser", cfg!(feature = "systemd")),
                ("rdma", true),
            ]),
            seccomp: SeccompFeatures {
                enabled: true,
                actions: names(&seccomp::action_names()),
                operators: names(&seccomp::operator_names()),
                archs: names(&seccomp::Arch::names()),
                known_flags: names(&seccomp::flag_names()),
                supported_flags: supported_flags(),
            },
            apparmor: Enabled { enabled: true },
            selinux: Enabled { enabled: true },
            intel_rdt: IntelRdtFeatures { enabled: true, schemata: true, monitoring: true },
            memory_policy: MemoryPolicyFeatures {
                modes: names(&memory_policy_modes()),
                flags: names(&memory_policy_flags()),
            },
            mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
            net_devices: Enabled { enabled: true },
        },
        annotations: BTreeMap::new(),
        potentially_unsafe_config_annotations: names(&annotations::UNSAFE),
    }
}

/// Filter flags that this kernel has: all but the youngest are older than any kernel that is
/// supported.
fn supported_flags() -> Vec<String> {
    let waits = Host::probe(false).is_ok_and(|host| host.kernel >= (5, 19));
    let known = seccomp::flag_names().into_iter();
    known
        .filter(|flag| waits || *flag != "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")
        .map(str::to_owned)
        .collect()
}
