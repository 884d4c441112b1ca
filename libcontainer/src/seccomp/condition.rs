//! Conditions on arguments of a system call.

use super::action::Operator;
use super::arch::Width;

/// One comparison of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) arg: u8,
    pub(super) operator: Operator,
    pub(super) value: u64,
    /// The bits that are compared: all but for `MaskedEqual`.
    pub(super) mask: u64,
}

impl Condition {
    pub(super) fn equal(arg: u8, value: u64) -> Self {
        Self { arg, operator: Operator::Equal, value, mask: u64::MAX }
    }

    /// What remains of it where arguments are `width` wide: the low half of value and mask, and
    /// nothing at all of a mask without bits.
    pub(super) fn narrowed(self, width: Width) -> Option<Self> {
        let bits = match width {
            Width::Bits32 => u64::from(u32::MAX),
            Width::Bits64 => u64::MAX,
        };
        let mask = self.mask & bits;
        let narrowed = Self { value: self.value & mask, mask, ..self };
        (self.operator != Operator::MaskedEqual || mask != 0).then_some(narrowed)
    }

    /// Whether an argument meets it; only the bits of `mask` count.
    pub(super) fn holds(&self, argument: u64) -> bool {
        let argument = argument & self.mask;
        match self.operator {
            Operator::NotEqual => argument != self.value,
            Operator::Less => argument < self.value,
            Operator::LessOrEqual => argument <= self.value,
            Operator::Equal | Operator::MaskedEqual => argument == self.value,
            Operator::GreaterOrEqual => argument >= self.value,
            Operator::Greater => argument > self.value,
        }
    }
}

/// Conditions that must all hold for an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// In the order of the arguments, at most one for each.
    pub(super) conditions: Vec<Condition>,
    /// What the filter returns.
    pub(super) action: u32,
    /// Index in `syscalls`.
    pub(super) rule: usize,
}

impl Case {
    pub(super) fn holds(&self, args: &[u64; 6]) -> bool {
        self.conditions.iter().all(|condition| condition.holds(args[usize::from(condition.arg)]))
    }
}

/// The order in which libseccomp asks the cases of one call, which decides where several hold and
/// their actions differ: it keeps them as a tree with one comparison of a 32-bit word a node, and
/// asks on each level the higher arguments first, then (masked) equality, then upper bounds from
/// the lowest, then lower bounds from the highest. A case whose conditions begin those of another
/// hides it.
pub(super) fn sort_cases(cases: Vec<Case>, width: Width) -> Sorted {
    let mut sorted = Sorted { cases: Vec::with_capacity(cases.len()), hidden: Vec::new() };
    if cases.windows(2).all(|pair| pair[0].action == pair[1].action) {
        sorted.cases = cases;
        return sorted;
    }
    let mut tree = Vec::new();
    for case in cases {
        let path: Vec<Comparison> = case
            .conditions
            .iter()
            .flat_map(|condition| Comparison::of(condition, width))
            .flatten()
            .collect();
        insert(&mut tree, &path, case, &mut sorted.hidden);
    }
    collect(tree, &mut sorted.cases);
    for (index, case) in sorted.cases.iter().enumerate() {
        let hides = |before: &Case| {
            before.action != case.action && case.conditions.starts_with(&before.conditions)
        };
        if sorted.cases[..index].iter().any(hides) {
            sorted.hidden.push(case.rule);
        }
    }
    sorted
}

/// Cases in the order in which they are asked, and rules that another hides with another action.
pub(super) struct Sorted {
    pub(super) cases: Vec<Case>,
    pub(super) hidden: Vec<usize>,
}

/// One comparison of a word: `word & mask == value`, or greater.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Comparison {
    /// Argument and half: the high one counts first.
    word: u8,
    kind: Kind,
    value: u32,
    mask: u32,
    /// Of the condition it comes from.
    operator: Operator,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Equal,
    MaskedEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// The comparisons that a condition needs, in their order.
    fn of(condition: &Condition, width: Width) -> [Option<Self>; 3] {
        let at = |high: bool, kind| {
            let shift = if high { 32 } else { 0 };
            Some(Self {
                word: condition.arg << 1 | u8::from(high),
                kind,
                value: (condition.value >> shift) as u32,
                mask: (condition.mask >> shift) as u32,
                operator: condition.operator,
            })
        };
        let low = match condition.operator {
            Operator::Equal | Operator::NotEqual => Kind::Equal,
            Operator::MaskedEqual => Kind::MaskedEqual,
            Operator::Greater | Operator::LessOrEqual => Kind::Greater,
            Operator::GreaterOrEqual | Operator::Less => Kind::GreaterOrEqual,
        };
        match (width, low) {
            (Width::Bits32, _) => [at(false, low), None, None],
            (Width::Bits64, Kind::Equal | Kind::MaskedEqual) => {
                [at(true, low), at(false, low), None]
            }
            (Width::Bits64, Kind::Greater | Kind::GreaterOrEqual) => {
                [at(true, Kind::Greater), at(true, Kind::Equal), at(false, low)]
            }
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let key = |of: &Self| (of.word, of.value, of.mask);
        self.kind == other.kind && key(self) == key(other)
    }

    /// Whether `other` is asked before this one on the same level.
    fn yields_to(&self, other: &Self) -> bool {
        let rank = |operator| match operator {
            Operator::MaskedEqual | Operator::Equal | Operator::NotEqual => 3,
            Operator::LessOrEqual | Operator::Less => 2,
            Operator::GreaterOrEqual | Operator::Greater => 1,
        };
        let (mine, theirs) = (rank(self.operator), rank(other.operator));
        if (self.word, mine) != (other.word, theirs) {
            return (self.word, mine) < (other.word, theirs);
        }
        if mine == 2 { self.value > other.value } else { self.value < other.value }
    }
}

struct Node {
    comparison: Comparison,
    /// The case whose conditions end here.
    case: Option<Case>,
    below: Vec<Node>,
}

fn insert(level: &mut Vec<Node>, path: &[Comparison], case: Case, hidden: &mut Vec<usize>) {
    let Some((comparison, rest)) = path.split_first() else { return };
    let position = level
        .iter()
        .position(|node| {
            node.comparison.is_same(comparison) || node.comparison.yields_to(comparison)
        })
        .unwrap_or(level.len());
    let known = level.get(position).is_some_and(|node| node.comparison.is_same(comparison));
    if !known {
        let node = Node { comparison: *comparison, case: None, below: Vec::new() };
        level.insert(position, node);
    }
    let node = &mut level[position];
    if !rest.is_empty() {
        insert(&mut node.below, rest, case, hidden);
    } else if let Some(first) = &node.case
        && first.conditions == case.conditions
    {
        if first.action != case.action {
            hidden.push(case.rule);
        }
    } else if node.case.is_none() {
        node.case = Some(case);
    } else {
        // The two conditions end in one comparison with opposite answers: both cannot hold.
        node.below.push(Node { comparison: *comparison, case: Some(case), below: Vec::new() });
    }
}

fn collect(level: Vec<Node>, cases: &mut Vec<Case>) {
    for node in level {
        cases.extend(node.case);
        collect(node.below, cases);
    }
}
