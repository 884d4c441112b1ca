//! Device policies: as data, as a program, and in force.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::devices::{Access, DeviceMatch, Kind};
use super::super::program::compile;
use super::*;
use crate::spec::Device;

fn policy(rules: &str) -> DevicePolicy {
    let resources = resources(&format!(r#"{{"devices":{rules}}}"#));
    DevicePolicy::plan(&resources, &[]).unwrap()
}

/// What the kernel does with a program, as far as ours go: u32 registers and forward jumps.
fn run(policy: &DevicePolicy, kind: Kind, access: u8, major: u32, minor: u32) -> bool {
    let kind = match kind {
        Kind::Block => 1,
        Kind::Character => 2,
    };
    let context = [kind | u32::from(access) << 16, major, minor];
    let mut registers = [0_u32; 11];
    let program = compile(policy);
    let mut at = 0;
    loop {
        let [code, pair, o0, o1, v0, v1, v2, v3] = program[at].to_ne_bytes();
        let (target, source) = (usize::from(pair & 15), usize::from(pair >> 4));
        let offset = usize::try_from(i16::from_ne_bytes([o0, o1])).unwrap();
        let value = u32::from_ne_bytes([v0, v1, v2, v3]);
        at += 1;
        let jump = match code {
            0x61 => {
                registers[target] = context[offset / 4];
                false
            }
            0xb4 => {
                registers[target] = value;
                false
            }
            0xbc => {
                registers[target] = registers[source];
                false
            }
            0x54 => {
                registers[target] &= value;
                false
            }
            0x74 => {
                registers[target] >>= value;
                false
            }
            0x16 => registers[target] == value,
            0x56 => registers[target] != value,
            0x5e => registers[target] != registers[source],
            0x95 => return registers[0] == 1,
            other => panic!("unknown instruction {other:#x}"),
        };
        if jump {
            at += offset;
        }
    }
}

const M: u8 = 1;
const R: u8 = 2;
const W: u8 = 4;

#[test]
fn nothing_is_allowed_but_the_defaults() {
    for rules in ["[]", r#"[{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]"#] {
        let policy = policy(rules);
        assert!(!policy.allows);
        assert!(!run(&policy, Kind::Character, R, 1, 11), "kmsg");
        assert!(!run(&policy, Kind::Block, R, 7, 0), "loop");
        assert!(run(&policy, Kind::Character, R | W, 1, 3), "null");
        assert!(run(&policy, Kind::Character, R | W, 136, 77), "pts");
        assert!(run(&policy, Kind::Block, M, 7, 0), "mknod");
        assert!(!run(&policy, Kind::Block, M | R, 7, 0));
    }
}

#[test]
fn default_devices_that_config_redefines_are_left_out() {
    let device = Device { path: "/dev/null".to_owned(), ..Device::default() };
    let policy = DevicePolicy::plan(&Resources::default(), &[device]).unwrap();
    assert!(!run(&policy, Kind::Character, R, 1, 3));
    assert!(run(&policy, Kind::Character, R, 1, 5));
}

#[test]
fn rules_hold_in_their_order() {
    let deny_last = r#"[{"allow":true,"type":"c","major":10,"minor":3,"access":"rwm"},
        {"allow":false,"type":"c","major":10,"minor":3,"access":"w"}]"#;
    let policy_ = policy(deny_last);
    assert!(run(&policy_, Kind::Character, R, 10, 3));
    assert!(!run(&policy_, Kind::Character, W, 10, 3));
    assert!(!run(&policy_, Kind::Character, R | W, 10, 3));

    let black = r#"[{"allow":true,"access":"rwm"},
        {"allow":false,"type":"b","major":4294967295,"access":"w"}]"#;
    let policy_ = policy(black);
    assert!(policy_.allows);
    assert!(run(&policy_, Kind::Character, R | W, 9, 9));
    assert!(run(&policy_, Kind::Block, R, u32::MAX, 9));
    assert!(!run(&policy_, Kind::Block, R | W, u32::MAX, 9), "a part is denied, so all is");

    let with_type = r#"[{"allow":true,"type":"c","major":10,"minor":3,"access":"rwa"}]"#;
    assert!(run(&policy(with_type), Kind::Character, R | W, 10, 3));

    let all_then_none = r#"[{"allow":true,"access":"rwm"},{"allow":false,"access":"rwm"}]"#;
    assert_eq!(policy(all_then_none), policy("[]"));
}

#[test]
fn rules_that_are_refused() {
    let cases = [
        (r#"[{"allow":true,"type":"x"}]"#, "invalid cgroup device type"),
        (r#"[{"allow":true,"type":"c","access":"rx"}]"#, "invalid device access"),
        (r#"[{"allow":true,"type":"c","major":-2}]"#, "invalid device major number"),
        (r#"[{"allow":true,"type":"c","minor":4294967296}]"#, "invalid device minor number"),
        (
            r#"[{"allow":true,"type":"c","major":10},
                {"allow":false,"type":"c","major":10,"minor":3,"access":"r"}]"#,
            "hole",
        ),
    ];
    for (rules, words) in cases {
        let resources = resources(&format!(r#"{{"devices":{rules}}}"#));
        let error = DevicePolicy::plan(&resources, &[]).unwrap_err();
        assert!(error.message.contains(words), "{rules}: {error}");
        assert!(error.pointer.unwrap().starts_with("/linux/resources/devices/"));
    }
}

/// Every access of a small world is decided by the program as by the policy read literally.
#[test]
fn programs_decide_as_their_policies() {
    let numbers = [None, Some(1), Some(2)];
    let mut state = 7_u32;
    let mut random = |bound: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % bound
    };
    for _ in 0..300 {
        let mut policy = DevicePolicy { allows: random(2) == 1, ..DevicePolicy::default() };
        for _ in 0..random(5) {
            let kind = if random(2) == 0 { Kind::Block } else { Kind::Character };
            let major = numbers[random(3) as usize];
            let minor = numbers[random(3) as usize];
            let access = Access(u8::try_from(random(7) + 1).unwrap());
            policy.exceptions.insert(DeviceMatch { major, minor, kind }, access);
        }
        for kind in [Kind::Block, Kind::Character] {
            for (major, minor) in [(1, 1), (1, 2), (2, 1), (3, 3)] {
                for access in 1..8_u8 {
                    let excepted = policy.exceptions.iter().any(|(device, held)| {
                        device.kind == kind
                            && device.major.is_none_or(|number| number == major)
                            && device.minor.is_none_or(|number| number == minor)
                            && if policy.allows {
                                held.0 & access != 0
                            } else {
                                held.0 & access == access
                            }
                    });
                    let allowed = excepted != policy.allows;
                    let decided = run(&policy, kind, access, major, minor);
                    assert_eq!(decided, allowed, "{policy:?} {kind:?} {major}:{minor} {access}");
                }
            }
        }
    }
}

/// Whether a process in the groups can read from a device.
fn can_read(fixture: &Fixture, device: &Path) -> bool {
    assert!(device.metadata().unwrap().rdev() != 0);
    // The shell enters the groups by itself, reads one byte, and ends.
    let procs: Vec<String> = fixture
        .location
        .groups
        .iter()
        .map(|group| group.file("cgroup.procs").to_str().unwrap().to_owned())
        .collect();
    let script = format!(
        "device=$1; shift; for f; do echo $$ > \"$f\" || exit 7; done; \
         exec head -c1 \"$device\" > {}",
        "/proc/self/fd/1"
    );
    let status = Command::new("/bin/sh")
        .args(["-c", &script, "sh"])
        .arg(device)
        .args(procs)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap()
        .status;
    match status.code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rules_are_in_force() {
    let mut fixture = Fixture::new();
    fixture.create();
    let zero = Path::new("/dev/zero");
    let kmsg = Path::new("/dev/urandom");
    assert!(can_read(&fixture, kmsg));

    let strict = policy(r#"[{"allow":false,"access":"rwm"}]"#);
    let mut without_urandom = strict.clone();
    without_urandom.exceptions.retain(|device, _| device.minor != Some(9));
    apply(&fixture.location, &Resources::default(), Some(&without_urandom)).unwrap();
    assert!(can_read(&fixture, zero));
    assert!(!can_read(&fixture, kmsg));

    // An update replaces; nothing piles up.
    for _ in 0..3 {
        apply(&fixture.location, &Resources::default(), Some(&strict)).unwrap();
        assert!(can_read(&fixture, kmsg));
    }
    let everything = policy(r#"[{"allow":true,"access":"rwm"}]"#);
    apply(&fixture.location, &Resources::default(), Some(&everything)).unwrap();
    assert!(can_read(&fixture, kmsg));
    apply(&fixture.location, &Resources::default(), Some(&without_urandom)).unwrap();
    assert!(!can_read(&fixture, kmsg));
    fixture.reap();
}

#[test]
fn v2_has_one_program_after_many_updates() {
    use std::os::fd::AsFd;
    let fixture = Fixture::new();
    fixture.create();
    if !fixture.is_unified() {
        return;
    }
    let directory = fixture.location.v2().unwrap().directory();
    let group = std::fs::File::open(directory).unwrap();
    for rules in ["[]", r#"[{"allow":true,"access":"rwm"}]"#, "[]"] {
        apply(&fixture.location, &Resources::default(), Some(&policy(rules))).unwrap();
        assert_eq!(crate::sys::bpf::attached_device_programs(group.as_fd()).unwrap().len(), 1);
    }
}

#[test]
fn large_rule_sets_load() {
    let fixture = Fixture::new();
    fixture.create();
    let rules: Vec<String> = (0..300)
        .map(|minor| format!(r#"{{"allow":true,"type":"c","major":195,"minor":{minor}}}"#))
        .collect();
    let policy = policy(&format!("[{}]", rules.join(",")));
    apply(&fixture.location, &Resources::default(), Some(&policy)).unwrap();
}
