//! `process.capabilities`: names to bits.

use super::{Context, PlanError, ProcessSection};
use crate::protocol::Step;

/// The kernel's capabilities in the order of their numbers.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Number of CAP_SETGID.
pub(crate) const SETGID: u8 = 6;
/// Number of CAP_SYS_ADMIN.
pub(crate) const SYS_ADMIN: u8 = 21;

/// The names that a kernel knows whose greatest capability is `last`.
pub(crate) fn known_capabilities(last: u8) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().take(usize::from(last) + 1)
}

/// The name of a capability.
pub(crate) fn capability_name(number: u32) -> &'static str {
    NAMES.get(number as usize).copied().unwrap_or("an unknown capability")
}

/// The sets as bits, one for each capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CapabilitySets {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) inheritable: u64,
    pub(crate) permitted: u64,
    pub(crate) ambient: u64,
}

impl CapabilitySets {
    /// Reads the sets. No object means no capabilities at all; names that this kernel does not
    /// know give a warning, as the specification demands. Nothing is added to the inheritable
    /// set (CVE-2022-29162).
    pub(crate) fn plan(ctx: &mut Context<'_>, section: ProcessSection<'_>) -> Self {
        let Some(capabilities) = &section.process.capabilities else {
            return Self::default();
        };
        let mut unknown = Vec::new();
        let last = ctx.host.last_capability;
        let mut read = |names: &[String]| bits(names, last, &mut unknown);
        let mut sets = Self {
            bounding: read(&capabilities.bounding),
            effective: read(&capabilities.effective),
            inheritable: read(&capabilities.inheritable),
            permitted: read(&capabilities.permitted),
            ambient: read(&capabilities.ambient),
        };
        if !unknown.is_empty() {
            ctx.warn(format!(
                "ignoring unknown or unavailable capabilities: [{}]",
                unknown.join(" ")
            ));
        }
        sets.drop_impossible_ambient(ctx);
        sets
    }

    /// The kernel raises an ambient capability only if it is permitted and inheritable.
    fn drop_impossible_ambient(&mut self, ctx: &mut Context<'_>) {
        let possible = self.permitted & self.inheritable;
        for number in 0..64 {
            if (self.ambient & !possible) >> number & 1 == 1 {
                ctx.warn(format!(
                    "can't raise ambient capability {}: operation not permitted",
                    capability_name(number)
                ));
            }
        }
        self.ambient &= possible;
    }
}

/// Takes from the bounding set, while this process still may.
pub(super) fn plan_bounding(
    ctx: &mut Context<'_>,
    section: ProcessSection<'_>,
    sets: CapabilitySets,
) -> Result<(), PlanError> {
    let last = u32::from(ctx.host.last_capability);
    ctx.push(
        Step::LimitBounding { kept: sets.bounding, last },
        section.at("/capabilities/bounding"),
    );
    Ok(())
}

/// Sets the other sets, after the change of user.
pub(super) fn plan_sets(ctx: &mut Context<'_>, section: ProcessSection<'_>, sets: CapabilitySets) {
    let CapabilitySets { effective, permitted, inheritable, ambient, .. } = sets;
    ctx.push(
        Step::SetCapabilities { effective, permitted, inheritable },
        section.at("/capabilities"),
    );
    ctx.push(Step::SetAmbient { set: ambient }, section.at("/capabilities/ambient"));
}

fn bits(names: &[String], last: u8, unknown: &mut Vec<String>) -> u64 {
    names.iter().fold(0, |bits, name| {
        match known_capabilities(last).position(|known| known == name) {
            Some(number) => bits | 1 << number,
            None => {
                if !unknown.contains(name) {
                    unknown.push(name.clone());
                }
                bits
            }
        }
    })
}
