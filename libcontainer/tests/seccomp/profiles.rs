//! Profiles to test with: real ones and random ones, and the calls that tell filters apart.

use libcontainer::seccomp::Arch;
use libcontainer::spec::{Seccomp, SyscallArgument, SyscallRule};

use crate::bpf::Call;
use crate::direct::{X32_BIT, architectures};

/// The profiles of test data, with their names.
pub(crate) fn real() -> Vec<(&'static str, Seccomp)> {
    [
        ("docker", include_str!("../data/seccomp/docker.json")),
        ("podman", include_str!("../data/seccomp/podman.json")),
        ("containerd", include_str!("../data/seccomp/containerd.json")),
        ("systemd-like", include_str!("../data/seccomp/systemd-like.json")),
    ]
    .map(|(name, json)| (name, serde_json::from_str(json).unwrap()))
    .into()
}

/// xorshift64*: the same numbers in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

const ACTIONS: [(&str, bool); 8] = [
    ("SCMP_ACT_ALLOW", false),
    ("SCMP_ACT_ERRNO", true),
    ("SCMP_ACT_KILL_PROCESS", false),
    ("SCMP_ACT_KILL", false),
    ("SCMP_ACT_TRAP", false),
    ("SCMP_ACT_TRACE", true),
    ("SCMP_ACT_LOG", false),
    ("SCMP_ACT_NOTIFY", false),
];

fn action(random: &mut Random, with_notify: bool) -> (String, Option<u32>) {
    let (name, data) = random.pick(&ACTIONS[..if with_notify { 8 } else { 7 }]);
    let errno = (*data && random.chance(70)).then(|| random.below(140) as u32);
    ((*name).to_owned(), errno)
}

fn value(random: &mut Random) -> u64 {
    let small = random.below(9) as u64;
    match random.below(6) {
        0..=2 => small,
        3 => 1 << random.below(64),
        4 => (small << 32) | random.below(5) as u64,
        _ => u64::MAX - small,
    }
}

fn conditions(random: &mut Random) -> Vec<SyscallArgument> {
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let count = if random.chance(50) { 0 } else { 1 + random.below(3) };
    (0..count)
        .map(|_| SyscallArgument {
            index: if random.chance(60) { 0 } else { random.below(6) as u32 },
            value: value(random),
            value_two: value(random),
            op: format!("SCMP_CMP_{}", random.pick(&operators)),
        })
        .collect()
}

/// A profile of a few rules on `names`, which repeat. `mixed`: rules with conditions on one call
/// may have different actions.
pub(crate) fn random(
    random: &mut Random,
    native: Arch,
    others: &[Arch],
    names: &[String],
) -> Seccomp {
    let mixed = random.chance(50);
    let (default_action, default_errno_ret) = action(random, false);
    let few: Vec<&String> = (0..1 + random.below(12)).map(|_| random.pick(names)).collect();
    let conditional = action(random, true);
    let rules = (0..random.below(24)).map(|_| {
        let args = conditions(random);
        let (action, errno_ret) = match args.is_empty() || mixed {
            true => action(random, true),
            false => conditional.clone(),
        };
        let mut chosen: Vec<String> = (0..1 + random.below(4))
            .map(|_| {
                if random.chance(60) {
                    (*random.pick(&few)).clone()
                } else {
                    random.pick(names).clone()
                }
            })
            .collect();
        if action == "SCMP_ACT_NOTIFY" {
            chosen.retain(|name| name != "write");
        }
        if chosen.is_empty() {
            chosen.push("read".to_owned());
        }
        SyscallRule { names: chosen, action, errno_ret, args }
    });
    let syscalls = rules.collect();
    let mut architectures = Vec::new();
    if random.chance(50) {
        architectures.push(native.name().to_owned());
    }
    for _ in 0..random.below(3) {
        architectures.push(random.pick(others).name().to_owned());
    }
    Seccomp { default_action, default_errno_ret, architectures, syscalls, ..Seccomp::default() }
}

/// Architectures with the byte order of `native`.
pub(crate) fn same_order(native: Arch) -> Vec<Arch> {
    let big = crate::direct::is_big_endian(native);
    Arch::all().filter(|arch| crate::direct::is_big_endian(*arch) == big).collect()
}

/// Numbers where filters can differ: every one that some table has, what lies around the numbers
/// of the profile, and the ends of the ranges.
pub(crate) fn numbers(profile: &Seccomp, native: Arch, all: bool) -> Vec<u32> {
    let mut numbers = vec![0, 1, X32_BIT - 1, X32_BIT, X32_BIT + 1, 0x7fff_ffff, 0x8000_0000];
    numbers.extend([u32::MAX - 1, u32::MAX]);
    if all {
        for base in [0, X32_BIT, 4000, 5000, 6000, 0x0f_0000] {
            numbers.extend(base..=base + 600);
        }
    }
    let architectures = architectures(profile, native);
    for arch in &architectures {
        let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
        let multiplexers = ["socketcall", "ipc"].into_iter();
        for name in names.map(String::as_str).chain(multiplexers) {
            let Some(number) = arch.number(name) else { continue };
            numbers.extend([number.wrapping_sub(1), number, number + 1]);
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Arguments around the values of the conditions.
pub(crate) fn arguments(profile: &Seccomp, random: &mut Random, count: usize) -> Vec<[u64; 6]> {
    let mut values = vec![0, 1, 2, u64::MAX, 1 << 32, u64::from(u32::MAX)];
    for of in profile.syscalls.iter().flat_map(|rule| &rule.args) {
        for value in [of.value, of.value_two, of.value & of.value_two, of.value | of.value_two] {
            values.extend([value.wrapping_sub(1), value, value.wrapping_add(1)]);
            values.extend([value ^ (1 << 32), value & u64::from(u32::MAX), value << 32, !value]);
        }
    }
    values.sort_unstable();
    values.dedup();
    let mut arguments = vec![[0; 6], [u64::MAX; 6], [1, 2, 3, 4, 5, 6]];
    // Each value in every place, so that single conditions meet all their boundaries.
    arguments.extend(values.iter().take(count).map(|value| [*value; 6]));
    for _ in 0..count {
        arguments.push(std::array::from_fn(|_| *random.pick(&values)));
    }
    // The first argument of multiplexing calls.
    for subcall in 1..=24 {
        arguments.push([subcall, *random.pick(&values), *random.pick(&values), 0, 0, 0]);
    }
    arguments
}

/// The calls of all numbers on all architectures of the profile and one that it does not name.
/// Only numbers that a rule with conditions is about are asked with all arguments.
pub(crate) fn calls(profile: &Seccomp, native: Arch, all: bool, random: &mut Random) -> Vec<Call> {
    let arguments = arguments(profile, random, if all { 64 } else { 24 });
    let mut audits: Vec<u32> =
        architectures(profile, native).iter().map(|arch| arch.audit()).collect();
    audits.push(0x1234_5678);
    audits.sort_unstable();
    audits.dedup();
    let mut conditional = Vec::new();
    for arch in architectures(profile, native) {
        for rule in profile.syscalls.iter().filter(|rule| !rule.args.is_empty()) {
            conditional.extend(rule.names.iter().filter_map(|name| arch.number(name)));
        }
        conditional.extend(["socketcall", "ipc"].iter().filter_map(|name| arch.number(name)));
    }
    conditional.sort_unstable();
    let mut calls = Vec::new();
    for number in numbers(profile, native, all) {
        let many = conditional.binary_search(&number).is_ok();
        for audit in &audits {
            let arguments = if many { arguments.as_slice() } else { &arguments[..2] };
            calls.extend(arguments.iter().map(|args| Call { number, audit: *audit, args: *args }));
        }
    }
    calls
}
