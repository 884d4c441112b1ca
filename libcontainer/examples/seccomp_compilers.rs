//! Compiles a profile with husk's compiler and with seccompiler, tells how long that takes and
//! writes the programs: `seccomp_compilers PROFILE.json DIRECTORY`. See bench/seccomp.
//!
//! seccompiler has one action for all rules of a filter and one architecture: its filter has the
//! rules of the profile's first action on x86-64 only.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use libcontainer::seccomp::{Arch, compile};
use libcontainer::spec::{Seccomp, SyscallArgument};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

const ROUNDS: usize = 301;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, profile, directory] = arguments.as_slice() else {
        return Err("usage: seccomp_compilers PROFILE.json DIRECTORY".into());
    };
    let profile = Seccomp::parse(&std::fs::read(profile)?)?;
    let directory = Path::new(directory);

    let mut husk = Vec::new();
    let took = median(|| {
        husk = compile(&profile, Arch::X86_64)?.bytes();
        Ok(())
    })?;
    std::fs::write(directory.join("husk.bpf"), &husk)?;
    println!("husk {:.1}", took.as_secs_f64() * 1e6);

    let mut program = BpfProgram::new();
    let took = median(|| {
        program = with_seccompiler(&profile)?;
        Ok(())
    })?;
    let bytes = program.iter().flat_map(|of| {
        let [c0, c1] = of.code.to_ne_bytes();
        let [k0, k1, k2, k3] = of.k.to_ne_bytes();
        [c0, c1, of.jt, of.jf, k0, k1, k2, k3]
    });
    std::fs::write(directory.join("seccompiler.bpf"), bytes.collect::<Vec<u8>>())?;
    println!("seccompiler {:.1}", took.as_secs_f64() * 1e6);
    Ok(())
}

fn median(mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[ROUNDS / 2])
}

fn with_seccompiler(profile: &Seccomp) -> Result<BpfProgram, Box<dyn Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let action = profile.syscalls.first().map(|rule| &rule.action);
    for rule in profile.syscalls.iter().filter(|rule| Some(&rule.action) == action) {
        for number in rule.names.iter().filter_map(|name| Arch::X86_64.number(name)) {
            let of_call = rules.entry(i64::from(number)).or_default();
            if !rule.args.is_empty() {
                let conditions = rule.args.iter().map(condition).collect::<Result<_, _>>()?;
                of_call.push(SeccompRule::new(conditions)?);
            }
        }
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(1),
        SeccompAction::Allow,
        TargetArch::x86_64,
    )?;
    Ok(filter.try_into()?)
}

fn condition(of: &SyscallArgument) -> Result<SeccompCondition, Box<dyn Error>> {
    let operator = match of.op.as_str() {
        "SCMP_CMP_NE" => SeccompCmpOp::Ne,
        "SCMP_CMP_LT" => SeccompCmpOp::Lt,
        "SCMP_CMP_LE" => SeccompCmpOp::Le,
        "SCMP_CMP_GE" => SeccompCmpOp::Ge,
        "SCMP_CMP_GT" => SeccompCmpOp::Gt,
        "SCMP_CMP_MASKED_EQ" => SeccompCmpOp::MaskedEq(of.value),
        _ => SeccompCmpOp::Eq,
    };
    let value = if of.op == "SCMP_CMP_MASKED_EQ" { of.value_two } else { of.value };
    let index = u8::try_from(of.index)?;
    Ok(SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, value)?)
}
