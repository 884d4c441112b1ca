//! Our filters against those of libseccomp.
//!
//! They agree, but for what docs/seccomp.md names: calls that Debian's libseccomp has no numbers
//! for, and filters with several comparisons, not all of them for equality. There libseccomp compares a
//! word that it has not loaded, or refuses a rule.

use std::collections::BTreeSet;

use libcontainer::seccomp::{Arch, call_names, compile, sock_filter};
use libcontainer::spec::{Seccomp, SyscallRule};

use crate::bpf::{self, Call};
use crate::direct::{self, Direct};
use crate::libseccomp::{Libseccomp, Refusal};
use crate::profiles::{self, Random};

/// Calls newer than Debian's libseccomp, few that its tables have for other machines than ours, and
/// two that it takes for the same.
const NOT_COMMON: [&str; 25] = [
    "_llseek",
    "atomic_barrier",
    "atomic_cmpxchg_32",
    "file_getattr",
    "file_setattr",
    "getpagesize",
    "getxattrat",
    "listmount",
    "listns",
    "listxattrat",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "map_shadow_stack",
    "mseal",
    "open_tree_attr",
    "removexattrat",
    "riscv_hwprobe",
    "rseq_slice_yield",
    "setxattrat",
    "statmount",
    "switch_endian",
    "sys_debug_setcontext",
    "uprobe",
    "uretprobe",
];

/// Names whose numbers libseccomp has as we do on all architectures that it knows, and those
/// architectures.
fn common(lib: &mut Libseccomp) -> (BTreeSet<&'static str>, Vec<Arch>) {
    let names: Vec<&str> = call_names().collect();
    let resolved = lib.resolve(&names);
    let same = |name: &&str| {
        resolved.iter().all(|(arch, numbers)| match (numbers[*name], arch.number(name)) {
            (None, _) => false,
            // Negative: the architecture lacks the call, or another call carries it out.
            (Some(..0), ours) => ours.is_none() || direct::multiplexed(name, *arch).is_some(),
            (Some(theirs), ours) => ours.map(i64::from) == Some(theirs),
        })
    };
    // The script names calls by their numbers on this machine, which may be numbers that libseccomp
    // made up for calls of other machines.
    let native = resolved.iter().find(|(arch, _)| *arch == Arch::native()).unwrap();
    let unique = |name: &&str| {
        let number = native.1[*name];
        native.1.values().filter(|other| **other == number).count() == 1
    };
    let architectures = resolved.iter().map(|(arch, _)| *arch).collect();
    let same = |name: &&str| same(name) && unique(name);
    (names.into_iter().filter(same).collect(), architectures)
}

#[test]
fn numbers_are_those_of_libseccomp() {
    let (common, architectures) = common(&mut Libseccomp::start());
    let differing: Vec<&str> =
        call_names().filter(|name| !common.contains(name) && !NOT_COMMON.contains(name)).collect();
    assert!(differing.is_empty(), "{differing:?}");
    assert!(architectures.len() >= 19, "{architectures:?}");
}

/// A filter of ours and one of libseccomp, behind the ENOSYS that runc puts in front of it.
struct Pair<'a> {
    ours: Vec<sock_filter>,
    theirs: Vec<sock_filter>,
    direct: Direct<'a>,
    big_endian: bool,
    /// What the profile can return.
    actions: BTreeSet<u32>,
}

impl<'a> Pair<'a> {
    fn compile(lib: &mut Libseccomp, profile: &'a Seccomp, native: Arch) -> Result<Self, Refusal> {
        let ours = compile(profile, native).unwrap().program;
        let theirs = lib.compile(profile, native, 1)?;
        let rules = profile.syscalls.iter();
        let mut actions: BTreeSet<u32> =
            rules.map(|rule| direct::action(&rule.action, rule.errno_ret)).collect();
        actions.extend([direct::default_action(profile), direct::KILL_THREAD]);
        let direct = Direct::new(profile, native);
        Ok(Self { ours, theirs, direct, big_endian: direct::is_big_endian(native), actions })
    }

    fn ours(&self, call: &Call) -> u32 {
        bpf::run(&self.ours, call, self.big_endian).0
    }

    fn theirs(&self, call: &Call) -> u32 {
        if self.direct.newer(call) {
            return direct::ENOSYS;
        }
        let (returned, _) = bpf::run(&self.theirs, call, self.big_endian);
        // Writing for the other byte order libseccomp turns copies of a return round twice.
        match self.actions.contains(&returned) {
            true => returned,
            false => returned.swap_bytes(),
        }
    }
}

fn only(profile: &Seccomp, names: &BTreeSet<&str>) -> Seccomp {
    let mut profile = profile.clone();
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| names.contains(name.as_str()));
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
    profile
}

#[test]
fn real_profiles_are_compiled_as_libseccomp_does() {
    let lib = &mut Libseccomp::start();
    let (names, architectures) = common(lib);
    for (name, profile) in profiles::real() {
        let profile = only(&profile, &names);
        for native in [Arch::X86_64, Arch::Aarch64] {
            assert_same(lib, name, &profile, native);
        }
        let profile = Seccomp { architectures: Vec::new(), ..profile };
        for native in &architectures {
            assert_same(lib, name, &profile, *native);
        }
    }
}

fn assert_same(lib: &mut Libseccomp, name: &str, profile: &Seccomp, native: Arch) {
    let pair = Pair::compile(lib, profile, native).unwrap();
    for call in &profiles::calls(profile, native, true, &mut Random::new(11)) {
        assert_eq!(pair.ours(call), pair.theirs(call), "{name} on {native:?}: {call:x?}");
    }
}

/// Whether a filter has several comparisons, not all of them for equality.
fn is_intricate(profile: &Seccomp, native: Arch) -> bool {
    let mut args = profile.syscalls.iter().flat_map(|rule| &rule.args);
    args.clone().count() * direct::architectures(profile, native).len() > 1
        && args.any(|of| of.op != "SCMP_CMP_EQ")
}

#[derive(Debug, Default)]
struct Count {
    same: usize,
    refused: usize,
    /// libseccomp comes to no end.
    endless: usize,
    /// libseccomp returns what no rule that holds says: it compared the wrong word.
    lost: usize,
    /// Rules with different actions hold, and libseccomp takes another.
    other: usize,
}

#[test]
fn random_profiles_are_compiled_as_libseccomp_does() {
    let lib = &mut Libseccomp::start();
    let (names, architectures) = common(lib);
    let names: Vec<String> = names.into_iter().map(String::from).collect();
    let mut random = Random::new(12);
    let mut count = Count::default();
    for round in 0..4000 {
        let native = match round % 2 {
            0 => Arch::X86_64,
            _ => *random.pick(&architectures),
        };
        let mut others = profiles::same_order(native);
        others.retain(|arch| architectures.contains(arch));
        let few: Vec<String> = (0..40).map(|_| random.pick(&names).clone()).collect();
        let profile = profiles::random(&mut random, native, &others, &few);
        let pair = match Pair::compile(lib, &profile, native) {
            Ok(pair) => pair,
            Err(Refusal::Contradiction) => {
                assert!(has_mixed_rules(&profile), "profile {round} has no contradicting rules");
                count.refused += 1;
                continue;
            }
            Err(Refusal::Endless) => {
                count.endless += 1;
                continue;
            }
            Err(refusal) => panic!("profile {round}: {refusal:?}"),
        };
        let calls = profiles::calls(&profile, native, false, &mut random);
        let (mut lost, mut other) = (false, false);
        for call in &calls {
            let (ours, theirs) = (pair.ours(call), pair.theirs(call));
            if ours == theirs {
                continue;
            }
            let answers = pair.direct.answers(call);
            assert!(
                is_intricate(&profile, native) && answers.contains(&ours),
                "profile {round} on {native:?}: {call:x?}: ours {ours:x}, theirs {theirs:x}\n{}",
                serde_json::to_string(&profile).unwrap(),
            );
            lost |= !answers.contains(&theirs);
            other |= answers.contains(&theirs);
        }
        count.lost += usize::from(lost);
        count.other += usize::from(other);
        count.same += usize::from(!lost && !other);
    }
    println!("{count:?}");
    assert!(count.same > 3000 && count.other < 40 && count.endless < 8, "{count:?}");
}

/// Whether rules with conditions on one call have different actions. What socketcall(2) and ipc(2)
/// carry out always has a condition on the first argument.
fn has_mixed_rules(profile: &Seccomp) -> bool {
    let rules = profile.syscalls.iter().flat_map(|rule| {
        rule.names.iter().map(move |name| (rule, direct::multiplexed(name, Arch::X86), name))
    });
    let conditional: Vec<_> =
        rules.filter(|(rule, through, _)| !rule.args.is_empty() || through.is_some()).collect();
    let action = |rule: &SyscallRule| direct::action(&rule.action, rule.errno_ret);
    conditional.iter().any(|(rule, through, name)| {
        conditional.iter().any(|(other, other_through, other_name)| {
            let same_call = match (through, other_through) {
                (Some(one), Some(other)) => one.0 == other.0,
                _ => name == other_name,
            };
            same_call && action(rule) != action(other)
        })
    })
}
