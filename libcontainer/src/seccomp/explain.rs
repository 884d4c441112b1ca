//! What a profile decides on a call, and which part of it decided.

use std::fmt;

use super::action::ret;
use super::policy::{Policy, Verdict};
use super::tables::X32_BIT;
use super::{Arch, Error};
use crate::spec;

/// What is returned for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// `SECCOMP_RET_*` with its data: see [`super::action_text`].
    pub returned: u32,
    /// Why.
    pub reason: Reason,
}

/// The part of a profile that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A rule, by its index in `syscalls`.
    Rule(usize),
    /// No rule holds.
    Default,
    /// The number is above the highest that the profile names.
    Newer {
        /// That highest number.
        newest: u32,
    },
    /// Number 0 of S/390, which stands for all numbers that the kernel does not know.
    Setup,
    /// The profile does not name the architecture of the call, or the ABI of its number.
    Foreign,
}

impl Reason {
    /// JSON pointer of the part that decided, relative to the seccomp object.
    #[must_use]
    pub fn pointer(&self) -> String {
        match self {
            Self::Rule(index) => format!("/syscalls/{index}"),
            Self::Default => "/defaultAction".to_owned(),
            Self::Newer { .. } | Self::Setup => "/syscalls".to_owned(),
            Self::Foreign => "/architectures".to_owned(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(_) => f.write_str("a rule"),
            Self::Default => f.write_str("no rule holds"),
            Self::Newer { newest } => {
                write!(f, "newer than all calls of the profile, of which {newest} is the newest")
            }
            Self::Setup => f.write_str("stands for calls that the kernel does not know"),
            Self::Foreign => f.write_str("of an architecture that the profile does not name"),
        }
    }
}

/// Decides a call as the filter of [`super::compile`] does.
///
/// # Errors
/// As [`super::compile`].
///
/// ```
/// use libcontainer::seccomp::{Arch, Reason, explain};
/// use libcontainer::spec::Seccomp;
///
/// let profile = Seccomp::parse(
///     br#"{"defaultAction": "SCMP_ACT_ALLOW",
///          "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}"#,
/// )?;
/// let decision = explain(&profile, Arch::X86_64, Arch::X86_64, 169, [0; 6])?;
/// assert_eq!(decision.reason, Reason::Rule(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn explain(
    profile: &spec::Seccomp,
    native: Arch,
    arch: Arch,
    number: u32,
    args: [u64; 6],
) -> Result<Decision, Error> {
    Ok(Policy::resolve(profile, native)?.decide(arch, number, &args))
}

impl Policy {
    pub(super) fn decide(&self, arch: Arch, number: u32, args: &[u64; 6]) -> Decision {
        let by_default = Decision { returned: self.default, reason: Reason::Default };
        let foreign = Decision { returned: ret::KILL_THREAD, reason: Reason::Foreign };
        let newer = |reason| Decision { returned: ret::ENOSYS, reason };
        let machine = || self.modes.iter().filter(|mode| mode.arch.audit() == arch.audit());
        let mode = machine().find(|mode| mode.numbers(number));
        if let Some(mode) = mode
            && let Some(newest) = mode.newest.filter(|_| self.answers_newer)
        {
            if number == 0 && mode.zero_is_newer() {
                return newer(Reason::Setup);
            }
            if number > newest {
                return newer(Reason::Newer { newest });
            }
        }
        if machine().next().is_none() {
            return foreign;
        }
        let x32 = self.mode(Arch::X32).is_some();
        let x86_64 = self.mode(Arch::X86_64).is_some();
        if arch.audit() == Arch::X32.audit() {
            match number {
                u32::MAX if !x32 => return by_default,
                X32_BIT.. if !x32 => return foreign,
                ..X32_BIT if !x86_64 => return foreign,
                _ => {}
            }
        }
        match mode.and_then(|mode| mode.verdict(number)) {
            None => by_default,
            Some(Verdict::Always { action, rule }) => {
                Decision { returned: *action, reason: Reason::Rule(*rule) }
            }
            Some(Verdict::When(cases)) => {
                let case = cases.iter().find(|case| case.holds(args));
                case.map_or(by_default, |case| Decision {
                    returned: case.action,
                    reason: Reason::Rule(case.rule),
                })
            }
        }
    }
}
