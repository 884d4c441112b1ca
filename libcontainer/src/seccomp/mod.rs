//! `linux.seccomp` of config.json as a filter for seccomp(2).
//!
//! [`compile`] is a pure function from a profile to a program of classic BPF. The program finds the
//! architecture, searches for the number of the call by halves and asks for the arguments only
//! where a rule has conditions. What is returned is what runc, with libseccomp, returns:
//! docs/seccomp.md states the rules and how they are tested.
//!
//! ```
//! use libcontainer::seccomp::{Arch, compile};
//! use libcontainer::spec::Seccomp;
//!
//! let profile: Seccomp = serde_json::from_str(
//!     r#"{"defaultAction": "SCMP_ACT_ALLOW",
//!         "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}"#,
//! )?;
//! let filter = compile(&profile, Arch::native())?;
//! assert!(filter.program.len() < 12);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod arch;
mod assembler;
mod condition;
mod explain;
mod listing;
mod policy;
mod tables;
mod tree;

pub use action::{action_names, action_text, flag_names, operator_names};
pub use arch::Arch;
pub use explain::{Decision, Reason, explain};
pub use listing::{Answer, Difference, Entry, assembly, differences, table};
pub use seccompiler::sock_filter;

use crate::spec;
use action::flag;
use policy::Policy;

/// The kernel takes no longer program (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

/// A program for seccomp(2), and how to install it.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Instructions of classic BPF, in the byte order of this machine.
    pub program: Vec<sock_filter>,
    /// `SECCOMP_FILTER_FLAG_*` for `SECCOMP_SET_MODE_FILTER`, `NEW_LISTENER` included where a rule
    /// notifies.
    pub flags: u32,
    /// Whether seccomp(2) answers with a descriptor that an agent must get.
    pub needs_listener: bool,
    /// What the profile says in vain, each with its JSON pointer.
    pub warnings: Vec<String>,
}

impl Filter {
    /// The program as it lies in memory, for `struct sock_fprog`.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let of = |instruction: &sock_filter| {
            bytes(instruction.code.to_ne_bytes(), instruction, instruction.k.to_ne_bytes())
        };
        self.program.iter().flat_map(of).collect()
    }

    /// The program as it lies in the memory of a machine of `arch`.
    #[must_use]
    pub fn bytes_for(&self, arch: Arch) -> Vec<u8> {
        let of = |instruction: &sock_filter| match arch.is_big_endian() {
            true => bytes(instruction.code.to_be_bytes(), instruction, instruction.k.to_be_bytes()),
            false => {
                bytes(instruction.code.to_le_bytes(), instruction, instruction.k.to_le_bytes())
            }
        };
        self.program.iter().flat_map(of).collect()
    }
}

fn bytes([c0, c1]: [u8; 2], of: &sock_filter, [k0, k1, k2, k3]: [u8; 4]) -> [u8; 8] {
    [c0, c1, of.jt, of.jf, k0, k1, k2, k3]
}

/// What is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct Error {
    /// JSON pointer of the value, relative to the seccomp object.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

impl Error {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    fn too_long(pointer: impl Into<String>) -> Self {
        let message =
            format!("the filter is longer than the kernel's {MAX_INSTRUCTIONS} instructions");
        Self::new(pointer, message)
    }
}

/// The names of all system calls that a profile can name, sorted.
pub fn call_names() -> impl Iterator<Item = &'static str> {
    tables::Name::all().map(tables::Name::as_str)
}

/// Whether the object asks for no filter at all: it has neither default action nor rules.
#[must_use]
pub fn is_absent(profile: &spec::Seccomp) -> bool {
    profile.default_action.is_empty() && profile.syscalls.is_empty()
}

/// Compiles a profile into the filter of a process on `native`.
///
/// # Errors
/// [`Error`] for names of actions, operators, architectures and flags that are not known, for
/// values out of range, for `SCMP_ACT_NOTIFY` as default action or on write(2), and for a profile
/// whose program the kernel would not take.
pub fn compile(profile: &spec::Seccomp, native: Arch) -> Result<Filter, Error> {
    let policy = Policy::resolve(profile, native)?;
    let flags = parse_flags(profile, policy.notifies)?;
    let program = tree::program(&policy)?;
    Ok(Filter { program, flags, needs_listener: policy.notifies, warnings: policy.warnings })
}

/// The first name of a profile that is no system call: its JSON pointer, relative to the seccomp
/// object, and the name.
pub(crate) fn unknown_call(profile: &spec::Seccomp) -> Option<(String, &str)> {
    profile.syscalls.iter().enumerate().find_map(|(index, rule)| {
        let mut names = rule.names.iter().enumerate();
        let (at, name) = names.find(|(_, name)| tables::Name::find(name).is_none())?;
        Some((format!("/syscalls/{index}/names/{at}"), name.as_str()))
    })
}

/// The flags of a profile for a filter that is not made of it.
pub(crate) fn known_flags(profile: &spec::Seccomp) -> Result<u32, Error> {
    parse_flags(profile, false)
}

fn parse_flags(profile: &spec::Seccomp, notifies: bool) -> Result<u32, Error> {
    let mut bits = if notifies { flag::NEW_LISTENER } else { 0 };
    let Some(flags) = &profile.flags else {
        // Without a word on flags the filter shall not make the processor slower.
        return Ok(bits | flag::SPEC_ALLOW);
    };
    for (index, name) in flags.iter().enumerate() {
        let pointer = || format!("/flags/{index}");
        let bit = action::parse_flag(name).map_err(|message| Error::new(pointer(), message))?;
        if bit == flag::WAIT_KILLABLE_RECV && !notifies {
            let message = format!("{name} needs a rule with SCMP_ACT_NOTIFY");
            return Err(Error::new(pointer(), message));
        }
        bits |= bit;
    }
    Ok(bits)
}
