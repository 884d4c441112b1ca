//! `features`: what this runtime can do, as the specification's features.md describes it.

use anyhow::Result;
use serde_json::{Value, json};

use crate::args::{Arity, Verb};
use crate::call::{Call, print};
use crate::version;

pub(crate) const VERB: Verb = Verb {
    name: "features",
    about: "show what this runtime can do, as JSON",
    operands: "",
    description: "The JSON is the Features structure of the runtime specification.",
    flags: &[],
    arity: Arity::Exactly(0),
    passes_rest: false,
    failure: 1,
    run,
};

fn run(_call: &Call<'_>) -> Result<u8> {
    print(&format!("{:#}\n", features()))?;
    Ok(0)
}

fn features() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": version::SPEC,
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
        ],
        "mountOptions": mount_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities(),
            "cgroup": {
                "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false,
            },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
                ],
                "archs": ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
                "knownFlags": [],
                "supportedFlags": [],
            },
            "apparmor": { "enabled": false },
            "selinux": { "enabled": false },
            "intelRdt": { "enabled": false, "schemata": false, "monitoring": false },
            "memoryPolicy": { "modes": [], "flags": [] },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": false },
        },
        "annotations": {
            "org.opencontainers.runc.checkpoint.enabled": "false",
            "com.github.husk-containers.husk.version": version::VERSION,
            "com.github.husk-containers.husk.commit": version::COMMIT,
        },
        "potentiallyUnsafeConfigAnnotations": [],
    })
}

fn mount_options() -> Vec<&'static str> {
    const OPTIONS: &str = "\
        async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand \
        noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime \
        nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount rexec ridmap \
        rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro \
        rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw \
        shared silent slave strictatime suid symfollow sync tmpcopyup unbindable";
    OPTIONS.split_whitespace().collect()
}

/// Every capability that Linux has, in the kernel's order.
fn capabilities() -> Vec<&'static str> {
    const NAMES: &str = "\
        CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID \
        CAP_SETUID CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST \
        CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO \
        CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE \
        CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE \
        CAP_AUDIT_CONTROL CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM \
        CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF CAP_CHECKPOINT_RESTORE";
    NAMES.split_whitespace().collect()
}
