//! `process.capabilities`: names to bits.

use super::{Context, PlanError, ProcessSection};
use crate::protocol::Step;
use crate::spec::{capability_name, known_capabilities};

/// Number of CAP_SETGID.
pub(crate) const SETGID: u8 = 6;
/// Number of CAP_SYS_PTRACE.
pub(crate) const SYS_PTRACE: u8 = 19;
/// Number of CAP_SYS_ADMIN.
pub(crate) const SYS_ADMIN: u8 = 21;

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
