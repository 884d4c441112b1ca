//! Filters and profiles as text: for operators.

use seccompiler::sock_filter;

use super::action::{Operator, action_text, ret};
use super::arch::Width;
use super::assembler::op;
use super::condition::{Case, Condition};
use super::policy::{Mode, Policy, Verdict};
use super::tables::Name;
use super::{Arch, Error, Reason};
use crate::spec;

/// The name of the entry for numbers above those of the profile.
const NEWER: &str = "newer";

/// A program in the language of the kernel's bpf_asm, one instruction a line. Places that are
/// jumped to have labels, and what is returned is a comment in the words of a profile.
///
/// ```
/// use libcontainer::seccomp::{assembly, sock_filter};
/// let allow = sock_filter { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 };
/// assert_eq!(assembly(&[allow]), "        ret #0x7fff0000 ; SCMP_ACT_ALLOW\n");
/// ```
#[must_use]
pub fn assembly(program: &[sock_filter]) -> String {
    let mut targets = vec![false; program.len() + 1];
    let mut mark = |target: usize| {
        if let Some(target) = targets.get_mut(target) {
            *target = true;
        }
    };
    for (at, instruction) in program.iter().enumerate() {
        let after = |distance: usize| at + 1 + distance;
        match instruction.code {
            op::JUMP => mark(after(instruction.k as usize)),
            op::JUMP_EQUAL | op::JUMP_GREATER | op::JUMP_GREATER_EQUAL | op::JUMP_SET => {
                mark(after(usize::from(instruction.jt)));
                mark(after(usize::from(instruction.jf)));
            }
            _ => {}
        }
    }
    let mut text = String::new();
    for (at, instruction) in program.iter().enumerate() {
        let label = if targets[at] { format!("L{at}:") } else { String::new() };
        let line = line(at, instruction);
        text.push_str(&format!("{label:8}{line}\n"));
    }
    text
}

fn line(at: usize, instruction: &sock_filter) -> String {
    let k = instruction.k;
    let yes = at + 1 + usize::from(instruction.jt);
    let no = at + 1 + usize::from(instruction.jf);
    match instruction.code {
        op::LOAD => format!("ld [{k}]"),
        op::AND => format!("and #{k:#x}"),
        op::JUMP => format!("ja L{}", at + 1 + k as usize),
        op::JUMP_EQUAL => format!("jeq #{k:#x}, L{yes}, L{no}"),
        op::JUMP_GREATER => format!("jgt #{k:#x}, L{yes}, L{no}"),
        op::JUMP_GREATER_EQUAL => format!("jge #{k:#x}, L{yes}, L{no}"),
        op::JUMP_SET => format!("jset #{k:#x}, L{yes}, L{no}"),
        op::RETURN => format!("ret #{k:#x} ; {}", action_text(k)),
        code => format!("; {code:#x} {} {} {k:#x}", instruction.jt, instruction.jf),
    }
}

/// What a profile says on one call of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The architecture.
    pub arch: Arch,
    /// The number of the call, of `newer` the lowest.
    pub number: u32,
    /// The name of the call; `newer` for all numbers above those of the profile.
    pub name: &'static str,
    /// What is returned, in the order in which it is asked. The last one has no conditions.
    pub answers: Vec<Answer>,
}

/// What is returned for a call under conditions.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Conditions, such as `arg0 == 0x1 && arg2 & 0x6 == 0x6`; empty for none.
    pub conditions: String,
    /// The action, such as `SCMP_ACT_ERRNO(38)`.
    pub action: String,
    /// JSON pointer of the part of the profile that says so, relative to the seccomp object.
    pub pointer: String,
}

/// Where it is said does not tell answers apart.
impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        (&self.conditions, &self.action) == (&other.conditions, &other.action)
    }
}

impl Eq for Answer {}

impl Entry {
    /// One line for each answer: architecture, number, name, action, pointer, conditions.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let arch = self.arch.short_name();
        for answer in &self.answers {
            let line = format!(
                "{arch:11} {:>10} {:28} {:22} {:16} {}",
                self.number, self.name, answer.action, answer.pointer, answer.conditions
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// What a profile says on every call of its architectures.
///
/// # Errors
/// As [`super::compile`].
pub fn table(profile: &spec::Seccomp, native: Arch) -> Result<Vec<Entry>, Error> {
    let policy = Policy::resolve(profile, native)?;
    Ok(policy.modes.iter().flat_map(|mode| entries(&policy, mode)).collect())
}

fn entries(policy: &Policy, mode: &Mode) -> Vec<Entry> {
    let mut calls: Vec<(u32, &'static str)> =
        Name::all().filter_map(|name| Some((name.number(mode.arch)?, name.as_str()))).collect();
    calls.sort_unstable();
    let entry = |number, name| {
        let answers = answers(policy, mode, number);
        Entry { arch: mode.arch, number, name, answers }
    };
    let above = calls.last().map_or(0, |(number, _)| *number);
    let newest = mode.newest.filter(|_| policy.answers_newer).unwrap_or(above);
    let mut entries: Vec<Entry> =
        calls.iter().map(|(number, name)| entry(*number, *name)).collect();
    entries.push(entry(newest.saturating_add(1), NEWER));
    entries
}

fn answers(policy: &Policy, mode: &Mode, number: u32) -> Vec<Answer> {
    let answer = |action, reason: Reason, conditions: &[Condition]| Answer {
        conditions: conditions_text(conditions, mode.arch.width()),
        action: action_text(action),
        pointer: reason.pointer(),
    };
    let newest = mode.newest.filter(|_| policy.answers_newer);
    let by_default = || answer(policy.default, Reason::Default, &[]);
    match (newest, mode.verdict(number)) {
        (Some(newest), _) if number > newest => {
            vec![answer(ret::ENOSYS, Reason::Newer { newest }, &[])]
        }
        (Some(_), _) if number == 0 && mode.zero_is_newer() => {
            vec![answer(ret::ENOSYS, Reason::Setup, &[])]
        }
        (_, None) => vec![by_default()],
        (_, Some(Verdict::Always { action, rule })) => {
            vec![answer(*action, Reason::Rule(*rule), &[])]
        }
        (_, Some(Verdict::When(cases))) => {
            let of = |case: &Case| answer(case.action, Reason::Rule(case.rule), &case.conditions);
            cases.iter().map(of).chain([by_default()]).collect()
        }
    }
}

fn conditions_text(conditions: &[Condition], width: Width) -> String {
    let texts: Vec<String> = conditions
        .iter()
        .map(|condition| {
            let (arg, value, mask) = (condition.arg, condition.value, condition.mask);
            let operator = match condition.operator {
                Operator::NotEqual => "!=",
                Operator::Less => "<",
                Operator::LessOrEqual => "<=",
                Operator::Equal | Operator::MaskedEqual => "==",
                Operator::GreaterOrEqual => ">=",
                Operator::Greater => ">",
            };
            let whole = match width {
                Width::Bits32 => mask == u64::from(u32::MAX),
                Width::Bits64 => mask == u64::MAX,
            };
            let masked = if whole { String::new() } else { format!(" & {mask:#x}") };
            format!("arg{arg}{masked} {operator} {value:#x}")
        })
        .collect();
    texts.join(" && ")
}

/// A call on which two profiles say different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What the first profile says; `None` if it does not name the architecture.
    pub first: Option<Entry>,
    /// What the second one says.
    pub second: Option<Entry>,
}

/// What is asked for a call, sorted where the order does not matter.
fn asked(entry: &Entry) -> Vec<&Answer> {
    let mut answers: Vec<&Answer> = entry.answers.iter().collect();
    if let [conditional @ .., _] = answers.as_mut_slice()
        && conditional.windows(2).all(|pair| pair[0].action == pair[1].action)
    {
        conditional.sort_by_key(|answer| &answer.conditions);
    }
    answers
}

/// The calls on which two profiles say different things, by architecture and number. Rules that say
/// the same in another order or elsewhere in the profile make no difference.
///
/// # Errors
/// As [`super::compile`], with 0 or 1 for the profile that is at fault.
pub fn differences(
    profiles: [&spec::Seccomp; 2],
    native: Arch,
) -> Result<Vec<Difference>, (usize, Error)> {
    let first = table(profiles[0], native).map_err(|error| (0, error))?;
    let second = table(profiles[1], native).map_err(|error| (1, error))?;
    let key = |entry: &Entry| (entry.arch, entry.name);
    let counterpart = |entries: &[Entry], entry: &Entry| {
        entries.iter().find(|other| key(other) == key(entry)).cloned()
    };
    let mut differences = Vec::new();
    for entry in &first {
        let other = counterpart(&second, entry);
        let same = other.as_ref().is_some_and(|other| {
            asked(other) == asked(entry) && (entry.name != NEWER || other.number == entry.number)
        });
        if !same {
            differences.push(Difference { first: Some(entry.clone()), second: other });
        }
    }
    for entry in second.into_iter().filter(|entry| counterpart(&first, entry).is_none()) {
        differences.push(Difference { first: None, second: Some(entry) });
    }
    Ok(differences)
}
