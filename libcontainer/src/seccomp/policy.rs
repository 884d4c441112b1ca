//! A profile with its names resolved: what is returned for each call of each architecture.

use super::action::{self, ret};
use super::arch::{Arch, Table};
use super::condition::{Case, Condition, sort_cases};
use super::tables::{Name, X32_BIT};
use super::{Error, MAX_INSTRUCTIONS};
use crate::spec;

/// A resolved profile.
pub(super) struct Policy {
    /// What is returned for calls without a rule.
    pub(super) default: u32,
    /// Whether calls newer than the profile get ENOSYS.
    pub(super) answers_newer: bool,
    /// The native architecture first, then those of the profile in its order.
    pub(super) modes: Vec<Mode>,
    /// Whether a rule notifies.
    pub(super) notifies: bool,
    pub(super) warnings: Vec<String>,
}

/// The calls of one architecture.
pub(super) struct Mode {
    pub(super) arch: Arch,
    /// The highest number that the profile names.
    pub(super) newest: Option<u32>,
    /// Calls with another verdict than the default, by number.
    pub(super) calls: Vec<(u32, Verdict)>,
}

/// What the rules say on one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A rule without conditions.
    Always { action: u32, rule: usize },
    /// The first case that holds, else the default.
    When(Vec<Case>),
}

/// A rule of the profile.
struct Rule {
    action: u32,
    names: Vec<Name>,
    /// Any of these lists of conditions; none for a rule without conditions.
    alternatives: Vec<Vec<Condition>>,
}

impl Policy {
    pub(super) fn resolve(profile: &spec::Seccomp, native: Arch) -> Result<Self, Error> {
        let default = action::parse_action(&profile.default_action, profile.default_errno_ret)
            .map_err(|message| {
                let known = action::parse_action(&profile.default_action, None).is_ok();
                Error::new(if known { "/defaultErrnoRet" } else { "/defaultAction" }, message)
            })?;
        if default == ret::NOTIFY {
            return Err(Error::new(
                "/defaultAction",
                "SCMP_ACT_NOTIFY cannot be used as default action",
            ));
        }
        if !profile.listener_metadata.is_empty() && profile.listener_path.is_empty() {
            let message = "listenerMetadata is given without a listenerPath";
            return Err(Error::new("/listenerMetadata", message));
        }
        let architectures = parse_architectures(profile, native)?;
        let mut warnings = Vec::new();
        let mut rules = Vec::with_capacity(profile.syscalls.len());
        for (index, rule) in profile.syscalls.iter().enumerate() {
            rules.push(parse_rule(rule, index, &mut warnings)?);
        }
        let notifies = rules.iter().any(|rule| rule.action == ret::NOTIFY);
        let modes = architectures
            .into_iter()
            .map(|arch| Mode::resolve(arch, &rules, default, &mut warnings))
            .collect::<Result<_, _>>()?;
        // Allowing actions leave the answer to the kernel, and a tracer that gets TRACE can give
        // its own.
        let answers_newer =
            !matches!(default & ret::ACTION_MASK, ret::ALLOW | ret::LOG | ret::TRACE);
        Ok(Self { default, answers_newer, modes, notifies, warnings })
    }

    pub(super) fn mode(&self, arch: Arch) -> Option<&Mode> {
        self.modes.iter().find(|mode| mode.arch == arch)
    }
}

/// The native architecture and those of the profile, each once.
fn parse_architectures(profile: &spec::Seccomp, native: Arch) -> Result<Vec<Arch>, Error> {
    let mut architectures = vec![native];
    for (index, name) in profile.architectures.iter().enumerate() {
        let pointer = || format!("/architectures/{index}");
        let arch = Arch::from_name(name)
            .ok_or_else(|| Error::new(pointer(), format!("{name:?} is not an architecture")))?;
        if arch.endian() != native.endian() {
            let message = format!("{name} has another byte order than {}", native.name());
            return Err(Error::new(pointer(), message));
        }
        if !architectures.contains(&arch) {
            architectures.push(arch);
        }
    }
    Ok(architectures)
}

fn parse_rule(
    rule: &spec::SyscallRule,
    index: usize,
    warnings: &mut Vec<String>,
) -> Result<Rule, Error> {
    let action = action::parse_action(&rule.action, rule.errno_ret).map_err(|message| {
        let known = action::parse_action(&rule.action, None).is_ok();
        let key = if known { "errnoRet" } else { "action" };
        Error::new(format!("/syscalls/{index}/{key}"), message)
    })?;
    if rule.names.is_empty() {
        let message = "a rule without names of system calls";
        return Err(Error::new(format!("/syscalls/{index}/names"), message));
    }
    let mut names = Vec::with_capacity(rule.names.len());
    for (at, name) in rule.names.iter().enumerate() {
        let pointer = || format!("/syscalls/{index}/names/{at}");
        if name.is_empty() {
            return Err(Error::new(pointer(), "empty string is not a valid syscall"));
        }
        // The filter is in force before the number of the listener is written to the parent.
        if action == ret::NOTIFY && name == "write" {
            let message = "SCMP_ACT_NOTIFY cannot be used for the write syscall";
            return Err(Error::new(pointer(), message));
        }
        match Name::find(name) {
            Some(name) => names.push(name),
            None => warnings.push(format!("{}: unknown syscall {name:?} ignored", pointer())),
        }
    }
    Ok(Rule { action, names, alternatives: parse_conditions(rule, index)? })
}

/// The conditions of a rule: all must hold, unless two are on one argument: then each is a rule of
/// its own.
fn parse_conditions(rule: &spec::SyscallRule, index: usize) -> Result<Vec<Vec<Condition>>, Error> {
    let mut conditions = Vec::with_capacity(rule.args.len());
    for (at, argument) in rule.args.iter().enumerate() {
        let pointer = |key| format!("/syscalls/{index}/args/{at}/{key}");
        let operator = action::parse_operator(&argument.op)
            .map_err(|message| Error::new(pointer("op"), message))?;
        let arg = match argument.index {
            index @ 0..=5 => index as u8,
            index => {
                let message = format!("syscalls only have up to 6 arguments, there is no {index}");
                return Err(Error::new(pointer("index"), message));
            }
        };
        conditions.push(match operator {
            action::Operator::MaskedEqual => {
                Condition { arg, operator, value: argument.value_two, mask: argument.value }
            }
            _ => Condition { arg, operator, value: argument.value, mask: u64::MAX },
        });
    }
    let repeats = (1..conditions.len())
        .any(|at| conditions[..at].iter().any(|other| other.arg == conditions[at].arg));
    if repeats {
        return Ok(conditions.into_iter().map(|condition| vec![condition]).collect());
    }
    conditions.sort_by_key(|condition| condition.arg);
    Ok(if conditions.is_empty() { Vec::new() } else { vec![conditions] })
}

/// A rule that applies to a number, by the index of the rule; with the first argument of a
/// multiplexing call.
struct Applied {
    number: u32,
    rule: u32,
    subcall: Option<u32>,
}

impl Mode {
    fn resolve(
        arch: Arch,
        rules: &[Rule],
        default: u32,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let mut newest = None;
        let mut applied = Vec::with_capacity(512);
        for (rule, index) in rules.iter().zip(0..) {
            for name in &rule.names {
                let number = name.number(arch);
                let multiplexed =
                    name.multiplexed().and_then(|(call, arg)| Some((arch.multiplexer(call)?, arg)));
                if multiplexed.is_none() {
                    newest = newest.max(number);
                }
                // As libseccomp has it, a rule with the default action does not exist.
                if rule.action == default {
                    continue;
                }
                if let Some((number, subcall)) = multiplexed {
                    applied.push(Applied { number, rule: index, subcall: Some(subcall) });
                }
                if let Some(number) = number {
                    applied.push(Applied { number, rule: index, subcall: None });
                }
            }
        }
        applied.sort_by_key(|applied| applied.number);
        let calls = applied
            .chunk_by(|left, right| left.number == right.number)
            .map(|applied| Ok((applied[0].number, Verdict::of(applied, rules, arch, warnings)?)))
            .collect::<Result<_, Error>>()?;
        // As in runc a call with the number 0 does not count as the newest.
        Ok(Self { arch, newest: newest.filter(|newest| *newest != 0), calls })
    }

    /// The verdict of the rules on a number, `None` where there is no rule.
    pub(super) fn verdict(&self, number: u32) -> Option<&Verdict> {
        let found = self.calls.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.calls[found].1)
    }

    /// Whether the numbers of this architecture include this one: x86-64 and x32 share the range.
    pub(super) fn numbers(&self, number: u32) -> bool {
        match self.arch {
            Arch::X86_64 => number & X32_BIT == 0,
            Arch::X32 => number & X32_BIT != 0,
            _ => true,
        }
    }

    /// setup(2) of S/390, number 0: the kernel puts a number above 255 that it does not know in
    /// its place.
    pub(super) fn zero_is_newer(&self) -> bool {
        matches!(self.arch.table(), Table::S390 | Table::S390x) && self.newest.is_some()
    }
}

impl Verdict {
    /// The first rule without conditions decides, else all with conditions together.
    fn of(
        applied: &[Applied],
        rules: &[Rule],
        arch: Arch,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let mut cases = Vec::new();
        for applied in applied {
            let index = applied.rule as usize;
            let rule = &rules[index];
            let always = Self::Always { action: rule.action, rule: index };
            if rule.alternatives.is_empty() && applied.subcall.is_none() {
                return Ok(always);
            }
            let unconditional = [Vec::new()];
            let alternatives = match rule.alternatives.as_slice() {
                [] => unconditional.as_slice(),
                alternatives => alternatives,
            };
            for conditions in alternatives {
                let conditions = applicable(conditions, applied.subcall, arch);
                if conditions.is_empty() {
                    return Ok(always);
                }
                if cases.len() == MAX_INSTRUCTIONS {
                    return Err(Error::too_long(format!("/syscalls/{index}")));
                }
                cases.push(Case { conditions, action: rule.action, rule: index });
            }
        }
        let sorted = sort_cases(cases, arch.width());
        for rule in sorted.hidden {
            let warning = format!(
                "/syscalls/{rule}: a rule with other action and the same conditions comes before"
            );
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        Ok(Self::When(sorted.cases))
    }
}

/// Conditions of a rule as they apply to an architecture. Of a call that another carries out, the
/// first argument tells which call it is.
fn applicable(conditions: &[Condition], subcall: Option<u32>, arch: Arch) -> Vec<Condition> {
    subcall
        .map(|call| Condition::equal(0, u64::from(call)))
        .into_iter()
        .chain(conditions.iter().copied().filter(|of| subcall.is_none() || of.arg != 0))
        .filter_map(|condition| condition.narrowed(arch.width()))
        .collect()
}
