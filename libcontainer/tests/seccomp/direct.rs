//! What a profile says about a call, read off the profile itself: slow, short and without anything
//! of the compiler but names, numbers and architectures.

use std::collections::BTreeMap;

use libcontainer::seccomp::Arch;
use libcontainer::spec::{Seccomp, SyscallArgument, SyscallRule};

use crate::bpf::Call;

pub(crate) const KILL_THREAD: u32 = 0;
pub(crate) const ENOSYS: u32 = 0x0005_0000 | 38;
pub(crate) const X32_BIT: u32 = 0x4000_0000;

const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];
const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

pub(crate) fn is_64bit(arch: Arch) -> bool {
    matches!(
        arch.name().trim_start_matches("SCMP_ARCH_"),
        "AARCH64"
            | "LOONGARCH64"
            | "MIPS64"
            | "MIPSEL64"
            | "PARISC64"
            | "PPC64"
            | "PPC64LE"
            | "RISCV64"
            | "S390X"
            | "X86_64"
    )
}

pub(crate) fn is_big_endian(arch: Arch) -> bool {
    arch.audit() & 0x4000_0000 == 0
}

fn multiplexes(arch: Arch) -> bool {
    matches!(
        arch.name().trim_start_matches("SCMP_ARCH_"),
        "X86"
            | "PPC"
            | "PPC64"
            | "PPC64LE"
            | "S390"
            | "S390X"
            | "MIPS"
            | "MIPSEL"
            | "M68K"
            | "SH"
            | "SHEB"
    )
}

/// The multiplexing call of `name` and its first argument.
pub(crate) fn multiplexed(name: &str, arch: Arch) -> Option<(u32, u64)> {
    if !multiplexes(arch) {
        return None;
    }
    if let Some(at) = SOCKETCALL.iter().position(|of| *of == name) {
        return Some((arch.number("socketcall")?, at as u64 + 1));
    }
    let (_, call) = IPC.iter().find(|(of, _)| *of == name)?;
    Some((arch.number("ipc")?, *call))
}

pub(crate) fn action(name: &str, data: Option<u32>) -> u32 {
    let data = data.unwrap_or(1);
    match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | data,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | data,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        other => panic!("{other}"),
    }
}

pub(crate) fn default_action(profile: &Seccomp) -> u32 {
    action(&profile.default_action, profile.default_errno_ret)
}

/// The architectures of the filter, the native one first.
pub(crate) fn architectures(profile: &Seccomp, native: Arch) -> Vec<Arch> {
    let mut all = vec![native];
    for arch in profile.architectures.iter().map(|name| Arch::from_name(name).unwrap()) {
        if !all.contains(&arch) {
            all.push(arch);
        }
    }
    all
}

/// A profile laid out by number.
pub(crate) struct Direct<'a> {
    default: u32,
    modes: Vec<Mode<'a>>,
}

struct Mode<'a> {
    arch: Arch,
    /// The newest call that the profile names.
    newest: u32,
    /// Rules of a number in their order, with the first argument of a multiplexed call.
    rules: BTreeMap<u32, Vec<(&'a SyscallRule, Option<u64>)>>,
}

impl<'a> Direct<'a> {
    pub(crate) fn new(profile: &'a Seccomp, native: Arch) -> Self {
        let default = default_action(profile);
        let modes = architectures(profile, native).into_iter();
        let modes = modes.map(|arch| Mode::new(profile, arch, default)).collect();
        Self { default, modes }
    }

    fn mode(&self, call: &Call) -> Option<&Mode<'a>> {
        self.modes.iter().find(|mode| {
            mode.arch.audit() == call.audit
                && match mode.arch {
                    Arch::X86_64 => call.number & X32_BIT == 0,
                    Arch::X32 => call.number & X32_BIT != 0,
                    _ => true,
                }
        })
    }

    /// ENOSYS for calls that are newer than the profile, as runc puts it in front of the filter.
    pub(crate) fn newer(&self, call: &Call) -> bool {
        if [0x7fff_0000, 0x7ffc_0000, 0x7ff0_0000].contains(&(self.default & 0xffff_0000)) {
            return false;
        }
        let Some(mode) = self.mode(call) else { return false };
        let setup = matches!(mode.arch, Arch::S390 | Arch::S390x) && call.number == 0;
        mode.newest != 0 && (call.number > mode.newest || setup)
    }

    /// The actions that the profile allows for: several only where rules with conditions and
    /// different actions hold together.
    pub(crate) fn answers(&self, call: &Call) -> Vec<u32> {
        if self.newer(call) {
            return vec![ENOSYS];
        }
        if self.modes.iter().all(|mode| mode.arch.audit() != call.audit) {
            return vec![KILL_THREAD];
        }
        let has = |arch| self.modes.iter().any(|mode| mode.arch == arch);
        if has(Arch::X86_64) && call.audit == Arch::X86_64.audit() && call.number >= X32_BIT {
            let skipped = call.number == u32::MAX;
            if !has(Arch::X32) {
                return vec![if skipped { self.default } else { KILL_THREAD }];
            }
        }
        let x32_only = has(Arch::X32) && !has(Arch::X86_64);
        if x32_only && call.audit == Arch::X32.audit() && call.number < X32_BIT {
            return vec![KILL_THREAD];
        }
        let rules =
            self.mode(call).and_then(|mode| Some((mode.arch, mode.rules.get(&call.number)?)));
        let Some((arch, rules)) = rules else { return vec![self.default] };
        let mut holding = Vec::new();
        for (rule, subcall) in rules {
            let action = action(&rule.action, rule.errno_ret);
            match matches(rule, *subcall, arch, call) {
                // A rule without conditions beats those with, also those before it.
                Match::Always => return vec![action],
                Match::Holds => holding.push(action),
                Match::No => {}
            }
        }
        if holding.is_empty() { vec![self.default] } else { holding }
    }
}

impl<'a> Mode<'a> {
    fn new(profile: &'a Seccomp, arch: Arch, default: u32) -> Self {
        let mut mode = Self { arch, newest: 0, rules: BTreeMap::new() };
        for rule in &profile.syscalls {
            let redundant = action(&rule.action, rule.errno_ret) == default;
            for name in &rule.names {
                let number = arch.number(name);
                let multiplexed = multiplexed(name, arch);
                if multiplexed.is_none() {
                    mode.newest = mode.newest.max(number.unwrap_or(0));
                }
                let through = multiplexed.map(|(number, subcall)| (number, Some(subcall)));
                let itself = number.map(|number| (number, None));
                for (number, subcall) in through.into_iter().chain(itself) {
                    if !redundant {
                        mode.rules.entry(number).or_default().push((rule, subcall));
                    }
                }
            }
        }
        mode
    }
}

enum Match {
    Always,
    Holds,
    No,
}

fn matches(rule: &SyscallRule, subcall: Option<u64>, arch: Arch, call: &Call) -> Match {
    let wide = is_64bit(arch);
    let conditions: Vec<&SyscallArgument> = rule.args.iter().collect();
    let repeats = conditions
        .iter()
        .enumerate()
        .any(|(at, of)| conditions[..at].iter().any(|other| other.index == of.index));
    let subcall_holds = subcall.is_none_or(|wanted| low(call.args[0], wide) == wanted);
    // Of a multiplexed call the first argument tells the call, and a mask without bits asks nothing.
    let tells_call = |of: &SyscallArgument| subcall.is_some() && of.index == 0;
    let asks = |of: &SyscallArgument| of.op != "SCMP_CMP_MASKED_EQ" || low(of.value, wide) != 0;
    let counts = |of: &SyscallArgument| asks(of) && !tells_call(of);
    let holds = |of: &SyscallArgument| !counts(of) || holds(of, wide, call);
    if repeats {
        if subcall.is_none() && conditions.iter().any(|of| !counts(of)) {
            return Match::Always;
        }
        return match subcall_holds && conditions.iter().any(|of| holds(of)) {
            true => Match::Holds,
            false => Match::No,
        };
    }
    if subcall.is_none() && !conditions.iter().any(|of| counts(of)) {
        return Match::Always;
    }
    match subcall_holds && conditions.iter().all(|of| holds(of)) {
        true => Match::Holds,
        false => Match::No,
    }
}

fn low(value: u64, wide: bool) -> u64 {
    if wide { value } else { u64::from(value as u32) }
}

fn holds(of: &SyscallArgument, wide: bool, call: &Call) -> bool {
    let argument = low(call.args[of.index as usize], wide);
    let value = low(of.value, wide);
    match of.op.as_str() {
        "SCMP_CMP_NE" => argument != value,
        "SCMP_CMP_LT" => argument < value,
        "SCMP_CMP_LE" => argument <= value,
        "SCMP_CMP_EQ" => argument == value,
        "SCMP_CMP_GE" => argument >= value,
        "SCMP_CMP_GT" => argument > value,
        "SCMP_CMP_MASKED_EQ" => argument & value == of.value_two & value,
        other => panic!("{other}"),
    }
}
