//! Compiled filters against the profiles they come from.

mod against;
mod bpf;
mod direct;
mod libseccomp;
mod profiles;

use libcontainer::seccomp::{
    Arch, Filter, Reason, assembly, compile, differences, explain, is_absent, table,
};
use libcontainer::spec::{Seccomp, SyscallArgument, SyscallRule};

use profiles::Random;

fn profile(json: &str) -> Seccomp {
    serde_json::from_str(json).unwrap()
}

fn assert_as_written(
    name: &str,
    profile: &Seccomp,
    native: Arch,
    filter: &Filter,
    calls: &[bpf::Call],
) {
    bpf::check(&filter.program);
    let big_endian = direct::is_big_endian(native);
    let direct = direct::Direct::new(profile, native);
    for (at, call) in calls.iter().enumerate() {
        let (returned, _) = bpf::run(&filter.program, call, big_endian);
        let answers = direct.answers(call);
        assert!(
            answers.contains(&returned),
            "{name} on {native:?}: {call:x?} returns {returned:#x}, the profile says {answers:x?}\n{}",
            serde_json::to_string(profile).unwrap(),
        );
        // Each of these resolves the whole profile anew.
        if at % 509 == 0
            && let Some(arch) = Arch::all().find(|arch| arch.audit() == call.audit)
        {
            let decision = explain(profile, native, arch, call.number, call.args).unwrap();
            assert_eq!(
                decision.returned, returned,
                "{name} on {native:?}: {call:x?}: {decision:?}"
            );
        }
    }
}

#[test]
fn real_profiles_are_compiled_as_written() {
    let mut random = Random::new(1);
    for (name, profile) in profiles::real() {
        for native in profiles::same_order(Arch::native()) {
            let filter = compile(&profile, native).unwrap();
            let calls = profiles::calls(&profile, native, true, &mut random);
            assert_as_written(name, &profile, native, &filter, &calls);
        }
    }
}

#[test]
fn real_profiles_are_compiled_as_written_for_big_endian_machines() {
    let mut random = Random::new(2);
    for (name, mut profile) in profiles::real() {
        profile.architectures.clear();
        for native in profiles::same_order(Arch::S390x) {
            let filter = compile(&profile, native).unwrap();
            let calls = profiles::calls(&profile, native, true, &mut random);
            assert_as_written(name, &profile, native, &filter, &calls);
        }
    }
}

/// Names that profiles are made of: calls of all sorts, repeated so that rules meet.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "read",
        "write",
        "clone",
        "socket",
        "socketpair",
        "semget",
        "shmat",
        "personality",
        "socketcall",
        "ipc",
        "breakpoint",
        "set_tls",
        "seccomp",
        "mseal",
        "no_such_call",
        "setup",
    ]
    .map(String::from)
    .into();
    let docker = profiles::real().remove(0).1;
    names.extend(docker.syscalls.into_iter().flat_map(|rule| rule.names).step_by(7));
    names
}

#[test]
fn random_profiles_are_compiled_as_written() {
    let mut random = Random::new(3);
    let (names, all) = (names(), Arch::all().collect::<Vec<_>>());
    for round in 0..1500 {
        let native = if round % 3 == 0 { Arch::X86_64 } else { *random.pick(&all) };
        let others = profiles::same_order(native);
        let profile = profiles::random(&mut random, native, &others, &names);
        let filter = compile(&profile, native).unwrap();
        let calls = profiles::calls(&profile, native, false, &mut random);
        assert_as_written(&format!("profile {round}"), &profile, native, &filter, &calls);
    }
}

#[test]
fn the_filter_of_docker_is_short() {
    let docker = profiles::real().remove(0).1;
    let filter = compile(&docker, Arch::X86_64).unwrap();
    let calls = profiles::calls(&docker, Arch::X86_64, true, &mut Random::new(4));
    let longest = calls.iter().map(|call| bpf::run(&filter.program, call, false).1).max();
    println!("{} instructions, {longest:?} executed at most", filter.program.len());
    assert!(filter.program.len() < 320, "{} instructions", filter.program.len());
    assert!(longest <= Some(20), "{longest:?} executed");
}

#[test]
fn an_empty_profile_only_asks_for_the_architecture() {
    let filter = compile(&profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#), Arch::Aarch64).unwrap();
    assert_eq!(filter.program.len(), 4);
}

const ENOSYS: u32 = 0x0005_0000 | 38;

fn returned(json: &str, name: &str, args: [u64; 6]) -> u32 {
    let filter = compile(&profile(json), Arch::X86_64).unwrap();
    let number = Arch::X86_64.number(name).unwrap();
    bpf::run(&filter.program, &bpf::Call { number, audit: Arch::X86_64.audit(), args }, false).0
}

#[test]
fn actions_carry_their_data() {
    for (action, errno, word) in [
        ("SCMP_ACT_ERRNO", "13", 0x0005_000d_u32),
        ("SCMP_ACT_ERRNO", "null", 0x0005_0001),
        ("SCMP_ACT_TRACE", "777", 0x7ff0_0309),
        ("SCMP_ACT_TRACE", "null", 0x7ff0_0001),
        ("SCMP_ACT_KILL", "null", 0),
        ("SCMP_ACT_KILL_THREAD", "null", 0),
        ("SCMP_ACT_KILL_PROCESS", "null", 0x8000_0000),
        ("SCMP_ACT_TRAP", "null", 0x0003_0000),
        ("SCMP_ACT_LOG", "null", 0x7ffc_0000),
        ("SCMP_ACT_NOTIFY", "null", 0x7fc0_0000),
    ] {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {{"names":["openat"],"action":"{action}","errnoRet":{errno}}}]}}"#
        );
        assert_eq!(returned(&json, "openat", [0; 6]), word, "{action} {errno}");
        assert_eq!(returned(&json, "close", [0; 6]), 0x7fff_0000);
    }
}

#[test]
fn a_rule_without_conditions_beats_those_with() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["dup3"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
        {"names":["dup3"],"action":"SCMP_ACT_ERRNO","errnoRet":5},
        {"names":["dup3"],"action":"SCMP_ACT_KILL"}]}"#;
    assert_eq!(returned(json, "dup3", [1, 0, 0, 0, 0, 0]), 0x0005_0005);
}

#[test]
fn two_conditions_on_one_argument_are_two_rules() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["dup3"],"action":"SCMP_ACT_TRAP","args":[
            {"index":0,"value":10,"op":"SCMP_CMP_GT"},
            {"index":0,"value":5,"op":"SCMP_CMP_LT"},
            {"index":1,"value":7,"op":"SCMP_CMP_EQ"}]}]}"#;
    for (args, word) in
        [([11, 0], 0x3_0000), ([4, 0], 0x3_0000), ([7, 7], 0x3_0000), ([7, 0], 0x7fff_0000)]
    {
        assert_eq!(returned(json, "dup3", [args[0], args[1], 0, 0, 0, 0]), word, "{args:?}");
    }
}

#[test]
fn calls_newer_than_the_profile_are_not_there() {
    for (default, newer) in [
        ("SCMP_ACT_ERRNO", ENOSYS),
        ("SCMP_ACT_KILL", ENOSYS),
        ("SCMP_ACT_TRAP", ENOSYS),
        ("SCMP_ACT_LOG", 0x7ffc_0000),
        ("SCMP_ACT_TRACE", 0x7ff0_0001),
    ] {
        let json = format!(
            r#"{{"defaultAction":"{default}","syscalls":[{{"names":["statx"],"action":"SCMP_ACT_ALLOW"}}]}}"#
        );
        assert_eq!(returned(&json, "clone3", [0; 6]), newer, "{default}");
        assert_ne!(returned(&json, "read", [0; 6]), ENOSYS);
    }
}

#[test]
fn flags_are_bits() {
    let flags = |flags: &str, action: &str| {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW",{flags}
                "syscalls":[{{"names":["openat"],"action":"{action}"}}]}}"#
        );
        compile(&profile(&json), Arch::native()).map(|filter| (filter.flags, filter.needs_listener))
    };
    assert_eq!(flags("", "SCMP_ACT_TRAP"), Ok((4, false)));
    assert_eq!(flags(r#""flags":[],"#, "SCMP_ACT_TRAP"), Ok((0, false)));
    assert_eq!(flags(r#""flags":["SECCOMP_FILTER_FLAG_TSYNC"],"#, "SCMP_ACT_TRAP"), Ok((0, false)));
    let both = r#""flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_SPEC_ALLOW"],"#;
    assert_eq!(flags(both, "SCMP_ACT_NOTIFY"), Ok((2 | 4 | 8, true)));
    let killable = r#""flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],"#;
    assert_eq!(flags(killable, "SCMP_ACT_NOTIFY"), Ok((32 | 8, true)));
    assert_eq!(flags(killable, "SCMP_ACT_TRAP").unwrap_err().pointer, "/flags/0");
}

#[test]
fn mistakes_are_pointed_at() {
    for (json, message) in [
        (r#"{"defaultAction":"ALLOW"}"#, r#"/defaultAction: "ALLOW" is not an action of seccomp"#),
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            "/defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":65536}"#,
            "/defaultErrnoRet: 65536 does not fit in the 16 bits that SCMP_ACT_ERRNO carries",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","VAX"]}"#,
            r#"/architectures/1: "VAX" is not an architecture"#,
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_S390X"]}"#,
            "/architectures/0: SCMP_ARCH_S390X has another byte order than SCMP_ARCH_X86_64",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["NNP"]}"#,
            r#"/flags/0: "NNP" is not a flag of seccomp"#,
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "/syscalls/0/names/1: SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[""],"action":"SCMP_ACT_TRAP"}]}"#,
            "/syscalls/0/names/0: empty string is not a valid syscall",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP",
                "args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
            "/syscalls/0/args/0/index: syscalls only have up to 6 arguments, there is no 6",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP",
                "args":[{"index":5,"value":1,"op":"=="}]}]}"#,
            r#"/syscalls/0/args/0/op: "==" is not an operator of seccomp"#,
        ),
    ] {
        let error = compile(&profile(json), Arch::X86_64).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_profile_that_no_kernel_takes_is_an_error() {
    let mut long = profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    long.syscalls = (0..4000)
        .map(|value| SyscallRule {
            names: vec!["ioctl".into()],
            action: if value % 2 == 0 { "SCMP_ACT_TRAP" } else { "SCMP_ACT_LOG" }.into(),
            errno_ret: None,
            args: vec![SyscallArgument {
                index: 1,
                value: value * 3,
                value_two: 0,
                op: "SCMP_CMP_EQ".into(),
            }],
        })
        .collect();
    let error = compile(&long, Arch::X86_64).map(|filter| filter.program.len()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/syscalls: the filter is longer than the kernel's 4096 instructions"
    );
    long.syscalls.truncate(700);
    bpf::check(&compile(&long, Arch::X86_64).unwrap().program);
}

#[test]
fn what_is_said_in_vain_is_a_warning() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["read","no_such_call"],"action":"SCMP_ACT_TRAP"},
        {"names":["dup3"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
        {"names":["dup3"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#;
    let filter = compile(&profile(json), Arch::X86_64).unwrap();
    assert_eq!(
        filter.warnings,
        [
            "/syscalls/0/names/1: unknown syscall \"no_such_call\" ignored",
            "/syscalls/2: a rule with other action and the same conditions comes before",
        ]
    );
}

#[test]
fn an_errno_is_refused_where_the_action_carries_none() {
    let rule = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["read"],"action":"SCMP_ACT_TRAP","errnoRet":3}]}"#;
    let error = compile(&profile(rule), Arch::X86_64).unwrap_err();
    assert_eq!(error.to_string(), "/syscalls/0/errnoRet: SCMP_ACT_TRAP carries no errno");
    let default = r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":38}"#;
    let error = compile(&profile(default), Arch::X86_64).unwrap_err();
    assert_eq!(error.to_string(), "/defaultErrnoRet: SCMP_ACT_ALLOW carries no errno");
    let trace = r#"{"defaultAction":"SCMP_ACT_TRACE","defaultErrnoRet":38}"#;
    assert!(compile(&profile(trace), Arch::X86_64).is_ok());
}

#[test]
fn a_rule_names_a_call() {
    let rule = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["read"],"action":"SCMP_ACT_LOG"},{"names":[],"action":"SCMP_ACT_ERRNO"}]}"#;
    let error = compile(&profile(rule), Arch::X86_64).unwrap_err();
    assert_eq!(error.to_string(), "/syscalls/1/names: a rule without names of system calls");
}

#[test]
fn metadata_is_refused_without_a_listener() {
    let alone = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#;
    let error = compile(&profile(alone), Arch::X86_64).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/listenerMetadata: listenerMetadata is given without a listenerPath"
    );
}

#[test]
fn no_filter_is_asked_for_without_default_action_and_rules() {
    assert!(is_absent(&profile("{}")));
    assert!(!is_absent(&profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)));
    assert!(!is_absent(&profile(r#"{"syscalls":[{"names":["read"]}]}"#)));
}

#[test]
fn decisions_name_the_part_that_decides() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["openat"],"action":"SCMP_ACT_LOG","args":[{"index":2,"value":64,"valueTwo":64,"op":"SCMP_CMP_MASKED_EQ"}]},
        {"names":["read","openat2"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let profile = profile(json);
    let reason = |arch, number, flags| {
        let args = [0, 0, flags, 0, 0, 0];
        explain(&profile, Arch::X86_64, arch, number, args).unwrap().reason
    };
    assert_eq!(reason(Arch::X86_64, 257, 0x40), Reason::Rule(0));
    assert_eq!(reason(Arch::X86_64, 257, 0), Reason::Default);
    assert_eq!(reason(Arch::X86, 3, 0), Reason::Rule(1));
    assert_eq!(reason(Arch::X86_64, 438, 0), Reason::Newer { newest: 437 });
    assert_eq!(reason(Arch::Aarch64, 1, 0), Reason::Foreign);
    assert_eq!(reason(Arch::X32, 0x4000_0001, 0), Reason::Foreign);
    let setup = explain(&profile_of_s390x(), Arch::S390x, Arch::S390x, 0, [0; 6]).unwrap();
    assert_eq!(setup.reason, Reason::Setup);
}

fn profile_of_s390x() -> Seccomp {
    profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
    )
}

#[test]
fn assembly_is_what_the_kernels_assembler_reads() {
    let filter = compile(
        &profile(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":13,"args":[
            {"index":1,"value":6,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#,
        ),
        Arch::Aarch64,
    );
    assert_eq!(
        assembly(&filter.unwrap().program),
        "        ld [4]
        jeq #0xc00000b7, L2, L9
L2:     ld [0]
        jeq #0x3f, L4, L8
L4:     ld [24]
        and #0x6
        jeq #0x2, L7, L8
L7:     ret #0x5000d ; SCMP_ACT_ERRNO(13)
L8:     ret #0x7fff0000 ; SCMP_ACT_ALLOW
L9:     ret #0x0 ; SCMP_ACT_KILL_THREAD
"
    );
}

#[test]
fn tables_have_every_call_and_differences_only_those_that_differ() {
    let docker = profiles::real().remove(0).1;
    let entries = table(&docker, Arch::X86_64).unwrap();
    let openat = entries.iter().find(|of| of.name == "openat" && of.arch == Arch::X86_64).unwrap();
    assert_eq!(openat.answers.len(), 1);
    assert_eq!(openat.answers[0].action, "SCMP_ACT_ALLOW");
    let clone = entries.iter().find(|of| of.name == "clone" && of.arch == Arch::X86_64).unwrap();
    assert_eq!(clone.answers[0].conditions, "arg0 & 0x7e020000 == 0x0");
    assert_eq!(clone.answers[1].pointer, "/defaultAction");

    let mut other = docker.clone();
    other.syscalls.reverse();
    assert_eq!(differences([&docker, &other], Arch::X86_64), Ok(Vec::new()));
    other.syscalls.push(SyscallRule {
        names: vec!["reboot".into()],
        action: "SCMP_ACT_ALLOW".into(),
        ..SyscallRule::default()
    });
    let found = differences([&docker, &other], Arch::X86_64).unwrap();
    let names: Vec<_> = found.iter().map(|of| of.second.as_ref().map(|of| of.name)).collect();
    assert_eq!(names, [Some("reboot"); 3], "one for each architecture");
}

#[test]
fn no_profile_makes_the_compiler_panic() {
    let mut random = Random::new(5);
    let names = names();
    let all: Vec<Arch> = Arch::all().collect();
    let words = ["", "SCMP_ACT_ERRNO", "SCMP_CMP_EQ", "SCMP_ARCH_X32", "\u{0}", "SCMP_", "é"];
    let (mut compiled, mut refused) = (0, 0);
    for _ in 0..4000 {
        let native = *random.pick(&all);
        let mut profile = profiles::random(&mut random, native, &all, &names);
        for _ in 0..random.below(3) {
            let word = (*random.pick(&words)).to_owned();
            let number = *random.pick(&[0, 5, 6, 255, 256, 0xffff, 0x1_0000, u32::MAX]);
            match random.below(7) {
                0 => profile.default_action = word,
                1 => profile.default_errno_ret = Some(number),
                2 => profile.architectures.push(word),
                3 => profile.flags = Some(vec![word]),
                kind => {
                    let mut rule = profile.syscalls.pop().unwrap_or_default();
                    match kind {
                        4 => rule.action = word,
                        5 => rule.errno_ret = Some(number),
                        _ => rule.args.push(SyscallArgument {
                            index: number,
                            op: word,
                            ..SyscallArgument::default()
                        }),
                    }
                    profile.syscalls.push(rule);
                }
            }
        }
        match compile(&profile, native) {
            Ok(filter) => {
                bpf::check(&filter.program);
                assert!(table(&profile, native).is_ok());
                compiled += 1;
            }
            Err(error) => {
                assert!(error.pointer.starts_with('/'), "{error}");
                refused += 1;
            }
        }
    }
    assert!(compiled > 500 && refused > 500, "{compiled} compiled, {refused} refused");
}
