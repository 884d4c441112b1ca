//! From a resolved profile to a program: the architecture, then a binary search for the number,
//! then the conditions.
//!
//! Numbers with the same outcome that follow each other are one range, so the search is as deep as
//! the logarithm of the changes of outcome, not of the number of rules.

use seccompiler::sock_filter;

use super::action::{Operator, ret};
use super::arch::{Arch, Endian, Width};
use super::assembler::{ARCH, Assembler, Label, NUMBER, halves, op};
use super::condition::{Case, Condition};
use super::policy::{Mode, Policy, Verdict};
use super::tables::X32_BIT;
use super::{Error, MAX_INSTRUCTIONS};

/// Writes the program of a policy.
pub(super) fn program(policy: &Policy) -> Result<Vec<sock_filter>, Error> {
    let mut writer = Writer {
        assembler: Assembler::default(),
        default: policy.default,
        endian: policy.modes.first().map_or(Endian::Little, |mode| mode.arch.endian()),
    };
    // Calls of an architecture that the profile does not name.
    let mut start = writer.assembler.returning(ret::KILL_THREAD);
    // The native architecture comes last and so nearest to the start.
    for machine in machines(policy).into_iter().rev() {
        let calls = writer.outcome(&Outcome::Word(NUMBER, calls_of(policy, &machine)));
        let audit = machine[0].arch.audit();
        start = writer.assembler.branch(op::JUMP_EQUAL, audit, calls, start);
    }
    let start = writer.assembler.load(ARCH, start);
    let program = writer.assembler.finish(start);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(Error::too_long("/syscalls"));
    }
    Ok(program)
}

/// The modes by what the kernel calls their architecture: x86-64 and x32 are one.
fn machines(policy: &Policy) -> Vec<Vec<&Mode>> {
    let mut machines: Vec<Vec<&Mode>> = Vec::new();
    for mode in &policy.modes {
        match machines.iter_mut().find(|of| of[0].arch.audit() == mode.arch.audit()) {
            Some(machine) => machine.push(mode),
            None => machines.push(vec![mode]),
        }
    }
    machines
}

/// What happens with a range of values: numbers of calls, or words of an argument.
#[derive(Clone, Debug)]
enum Outcome<'a> {
    Return(u32),
    /// The first case that holds, else the default.
    Cases(&'a [Case], Width),
    /// Another word decides: the offset of it and what its values lead to.
    Word(u32, Vec<Range<'a>>),
}

impl Outcome<'_> {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Return(one), Self::Return(other)) => one == other,
            (Self::Cases(one, width), Self::Cases(other, other_width)) => {
                let same = |(one, other): (&Case, &Case)| {
                    one.action == other.action && one.conditions == other.conditions
                };
                width == other_width && one.len() == other.len() && one.iter().zip(*other).all(same)
            }
            _ => false,
        }
    }

    /// Instructions on the longest way to the return, about.
    fn depth(&self) -> u32 {
        match self {
            Self::Return(_) => 0,
            Self::Cases(cases, _) if compares_one_argument(cases) => 4 + cases.len().ilog2(),
            Self::Cases(cases, _) => {
                cases.iter().map(|case| 3 * case.conditions.len() as u32).sum()
            }
            Self::Word(_, ranges) => 2 + ranges.len().max(1).ilog2(),
        }
    }
}

/// The values from `first` to the next range.
#[derive(Clone, Debug)]
struct Range<'a> {
    first: u32,
    outcome: Outcome<'a>,
}

/// Outcomes of consecutive values, equal neighbours merged.
#[derive(Default)]
struct Ranges<'a>(Vec<Range<'a>>);

impl<'a> Ranges<'a> {
    /// From `first` on it is `outcome`.
    fn set(&mut self, first: u32, outcome: Outcome<'a>) {
        while self.0.last().is_some_and(|last| last.first >= first) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| !last.outcome.is(&outcome)) {
            self.0.push(Range { first, outcome });
        }
    }
}

/// The outcome of every number of a machine.
fn calls_of<'a>(policy: &Policy, machine: &[&'a Mode]) -> Vec<Range<'a>> {
    let mut ranges = Ranges(Vec::with_capacity(256));
    let mode = |arch| machine.iter().find(|mode| mode.arch == arch);
    if let Some(only) = machine.iter().find(|mode| !matches!(mode.arch, Arch::X86_64 | Arch::X32)) {
        set_mode(&mut ranges, policy, only, 0);
        return ranges.0;
    }
    let (x86_64, x32) = (mode(Arch::X86_64), mode(Arch::X32));
    let newer =
        |mode: Option<&&Mode>| policy.answers_newer && mode.is_some_and(|of| of.newest.is_some());
    let unknown = Outcome::Return(match x32 {
        Some(_) => policy.default,
        None => ret::KILL_THREAD,
    });
    match x86_64 {
        Some(mode) => set_mode(&mut ranges, policy, mode, 0),
        None => ranges.set(0, Outcome::Return(ret::KILL_THREAD)),
    }
    ranges.set(X32_BIT, unknown.clone());
    if let Some(mode) = x32 {
        set_mode(&mut ranges, policy, mode, X32_BIT);
    }
    // Bit 30 tells which ABI a number is of, also above all numbers in use.
    if newer(x86_64) != newer(x32) || x32.is_none() {
        let above = if newer(x86_64) { Outcome::Return(ret::ENOSYS) } else { unknown.clone() };
        ranges.set(2 * X32_BIT, above);
        let above = if newer(x32) { Outcome::Return(ret::ENOSYS) } else { unknown };
        ranges.set(3 * X32_BIT, above);
    }
    if x32.is_none() {
        // A tracer sets the number -1 to skip a call: it is no call of x32.
        ranges.set(u32::MAX, Outcome::Return(policy.default));
    }
    ranges.0
}

/// The outcomes of the numbers of an architecture, which start at `start`.
fn set_mode<'a>(ranges: &mut Ranges<'a>, policy: &Policy, mode: &'a Mode, start: u32) {
    let newest = mode.newest.filter(|_| policy.answers_newer);
    ranges.set(start, Outcome::Return(policy.default));
    for (number, verdict) in &mode.calls {
        let outcome = match verdict {
            Verdict::Always { action, .. } => Outcome::Return(*action),
            Verdict::When(cases) => Outcome::Cases(cases, mode.arch.width()),
        };
        ranges.set(*number, outcome);
        if let Some(next) = number.checked_add(1) {
            ranges.set(next, Outcome::Return(policy.default));
        }
    }
    if let Some(newer) = newest.and_then(|newest| newest.checked_add(1)) {
        ranges.set(newer, Outcome::Return(ret::ENOSYS));
    }
    if newest.is_some() && mode.zero_is_newer() {
        let after = ranges.0.iter().rposition(|range| range.first <= 1).unwrap_or(0);
        ranges.0[after].first = 1;
        ranges.0.splice(..after, [Range { first: 0, outcome: Outcome::Return(ret::ENOSYS) }]);
    }
}

struct Writer {
    assembler: Assembler,
    default: u32,
    endian: Endian,
}

impl Writer {
    /// A search for the range of the loaded word, `end` being the first value after the ranges.
    fn search(&mut self, ranges: &[Range], end: Option<u32>) -> Label {
        let [first, rest @ ..] = ranges else {
            return self.assembler.returning(self.default);
        };
        if rest.is_empty() {
            return self.outcome(&first.outcome);
        }
        if let Some(usual) = usual_outcome(ranges, end) {
            let mut label = self.outcome(usual);
            for range in ranges.iter().rev().filter(|range| !range.outcome.is(usual)) {
                let exception = self.outcome(&range.outcome);
                label = self.assembler.branch(op::JUMP_EQUAL, range.first, exception, label);
            }
            return label;
        }
        let (below, above) = ranges.split_at(middle(ranges));
        let value = above[0].first;
        let above = self.search(above, end);
        let below = self.search(below, Some(value));
        self.assembler.branch(op::JUMP_GREATER_EQUAL, value, above, below)
    }

    fn outcome(&mut self, outcome: &Outcome) -> Label {
        match outcome {
            Outcome::Return(action) => self.assembler.returning(*action),
            Outcome::Cases(cases, width) if compares_one_argument(cases) => {
                let by_value = by_value(cases, self.default, *width, self.endian);
                self.outcome(&by_value)
            }
            Outcome::Cases(cases, width) => self.cases(cases, *width),
            Outcome::Word(offset, ranges) => {
                let label = self.search(ranges, None);
                if ranges.len() < 2 {
                    return label;
                }
                self.assembler.load(*offset, label)
            }
        }
    }

    /// One case after the other, then the default.
    fn cases(&mut self, cases: &[Case], width: Width) -> Label {
        let mut otherwise = self.assembler.returning(self.default);
        for case in cases.iter().rev() {
            let mut label = self.assembler.returning(case.action);
            for condition in case.conditions.iter().rev() {
                label = self.condition(condition, width, label, otherwise);
            }
            otherwise = label;
        }
        otherwise
    }

    fn condition(&mut self, of: &Condition, width: Width, yes: Label, no: Label) -> Label {
        let (low, high) = halves(of.arg, self.endian);
        let value = [of.value as u32, (of.value >> 32) as u32];
        let mask = [of.mask as u32, (of.mask >> 32) as u32];
        let (operation, yes, no) = match of.operator {
            Operator::Equal | Operator::MaskedEqual => (op::JUMP_EQUAL, yes, no),
            Operator::NotEqual => (op::JUMP_EQUAL, no, yes),
            Operator::Greater => (op::JUMP_GREATER, yes, no),
            Operator::LessOrEqual => (op::JUMP_GREATER, no, yes),
            Operator::GreaterOrEqual => (op::JUMP_GREATER_EQUAL, yes, no),
            Operator::Less => (op::JUMP_GREATER_EQUAL, no, yes),
        };
        let mut label = yes;
        if mask[0] != 0 {
            label = self.word(low, (operation, value[0], mask[0]), yes, no);
        }
        if width == Width::Bits32 || mask[1] == 0 {
            return label;
        }
        if operation == op::JUMP_EQUAL {
            return self.word(high, (operation, value[1], mask[1]), label, no);
        }
        // With equal high words the low ones decide.
        let label = self.assembler.branch(op::JUMP_EQUAL, value[1], label, no);
        let label = self.assembler.branch(op::JUMP_GREATER, value[1], yes, label);
        self.assembler.load(high, label)
    }

    fn word(&mut self, offset: u32, test: (u16, u32, u32), yes: Label, no: Label) -> Label {
        let label = match test {
            (operation, value, u32::MAX) => self.assembler.branch(operation, value, yes, no),
            (_, 0, mask) => self.assembler.branch(op::JUMP_SET, mask, no, yes),
            (operation, value, mask) => {
                let label = self.assembler.branch(operation, value, yes, no);
                self.assembler.and(mask, label)
            }
        };
        self.assembler.load(offset, label)
    }
}

/// The outcome of all but a few single values, which are cheaper asked for one by one than
/// searched.
fn usual_outcome<'a, 'b>(ranges: &'a [Range<'b>], end: Option<u32>) -> Option<&'a Outcome<'b>> {
    if !(3..=7).contains(&ranges.len()) {
        return None;
    }
    let single = |at: usize| {
        let next = ranges.get(at + 1).map(|next| next.first).or(end);
        next == ranges[at].first.checked_add(1)
    };
    ranges[..2].iter().map(|range| &range.outcome).find(|usual| {
        let mut exceptions = (0..ranges.len()).filter(|at| !ranges[*at].outcome.is(usual));
        exceptions.clone().count() <= 3 && exceptions.all(single)
    })
}

/// Where to split so that both halves weigh about the same, a deep outcome counting as much as a
/// search of its depth: the deepest way is then as short as it can be, give or take one.
fn middle(ranges: &[Range]) -> usize {
    let weight = |range: &Range| 1_u64 << range.outcome.depth().min(20);
    let total: u64 = ranges.iter().map(weight).sum();
    let mut below = 0;
    for (at, range) in ranges.iter().enumerate() {
        let with = below + weight(range);
        if 2 * with >= total {
            let middle = if 2 * with - total < total - 2 * below { at + 1 } else { at };
            return middle.clamp(1, ranges.len() - 1);
        }
        below = with;
    }
    ranges.len() / 2
}

/// Whether each case is one comparison, all of the same argument and without masks.
fn compares_one_argument(cases: &[Case]) -> bool {
    let arg = |case: &Case| match case.conditions.as_slice() {
        [condition] if condition.operator != Operator::MaskedEqual => Some(condition.arg),
        _ => None,
    };
    match cases {
        [first, _, ..] => arg(first).is_some() && cases.iter().all(|case| arg(case) == arg(first)),
        _ => false,
    }
}

/// Cases that compare one argument, as ranges of its value.
fn by_value(cases: &[Case], default: u32, width: Width, endian: Endian) -> Outcome<'static> {
    let conditions = || cases.iter().flat_map(|case| case.conditions.first());
    let (low, high) = halves(conditions().next().map_or(0, |condition| condition.arg), endian);
    let mut bounds = vec![0];
    for condition in conditions() {
        bounds.push(condition.value);
        bounds.extend(condition.value.checked_add(1));
    }
    bounds.sort_unstable();
    bounds.dedup();
    let action = |value: u64| {
        let case = cases.iter().find(|case| case.conditions.iter().all(|of| of.holds(value)));
        case.map_or(default, |case| case.action)
    };
    let mut by_high = Ranges::default();
    for bounds in bounds.chunk_by(|one, other| one >> 32 == other >> 32) {
        let high = (bounds[0] >> 32) as u32;
        let mut by_low = Ranges::default();
        if let Some(before) = bounds[0].checked_sub(1) {
            by_low.set(0, Outcome::Return(action(before)));
        }
        for bound in bounds {
            by_low.set(*bound as u32, Outcome::Return(action(*bound)));
        }
        let last = by_low.0.last().map(|range| range.outcome.clone());
        by_high.set(
            high,
            match by_low.0.as_slice() {
                [only] => only.outcome.clone(),
                _ => Outcome::Word(low, by_low.0),
            },
        );
        if let (Some(next), Some(last)) = (high.checked_add(1), last) {
            by_high.set(next, last);
        }
    }
    match (width, by_high.0.first()) {
        (Width::Bits32, Some(low_words)) => low_words.outcome.clone(),
        _ => Outcome::Word(high, by_high.0),
    }
}
