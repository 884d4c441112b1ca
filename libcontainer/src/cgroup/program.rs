//! A device policy as a program for `BPF_PROG_TYPE_CGROUP_DEVICE`.
//!
//! The kernel calls it with the access that is tried (`struct bpf_cgroup_dev_ctx`: type in the
//! low and access in the high half of the first word, then major, then minor) and allows it if
//! the program returns 1. An exception of an allowing policy denies an access if it denies any
//! part of it; one of a denying policy allows an access if it allows all of it.

use super::DevicePolicy;
use super::devices::{Access, DeviceMatch, Kind};

/// One instruction, `struct bpf_insn`.
pub(super) type Instruction = u64;

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// Free once everything was loaded.
const SCRATCH: u8 = 1;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const JUMP_UNLESS_EQUAL_REGISTER: u8 = 0x5e;
const JUMP_IF_EQUAL: u8 = 0x16;
const EXIT: u8 = 0x95;

fn instruction(code: u8, target: u8, source: u8, offset: i16, value: u32) -> Instruction {
    let registers =
        if cfg!(target_endian = "little") { target | source << 4 } else { target << 4 | source };
    let [offset_low, offset_high] = offset.to_ne_bytes();
    let [a, b, c, d] = value.to_ne_bytes();
    u64::from_ne_bytes([code, registers, offset_low, offset_high, a, b, c, d])
}

/// Compiles a policy. The numbers are compared as 32 bits (the jumps are of the 32-bit class,
/// Linux 5.1), so a major or minor above 2^31 is no negative one.
pub(super) fn compile(policy: &DevicePolicy) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD_WORD, TYPE, CONTEXT, 0, 0),
        instruction(AND, TYPE, 0, 0, 0xffff),
        instruction(LOAD_WORD, ACCESS, CONTEXT, 0, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for (device, access) in &policy.exceptions {
        append(&mut program, device, *access, !policy.allows);
    }
    decide(&mut program, policy.allows);
    program
}

fn decide(program: &mut Vec<Instruction>, allow: bool) {
    program.push(instruction(MOVE, RESULT, 0, 0, u32::from(allow)));
    program.push(instruction(EXIT, 0, 0, 0, 0));
}

/// Appends the tests of one exception; each that fails goes on behind them.
fn append(program: &mut Vec<Instruction>, device: &DeviceMatch, access: Access, allow: bool) {
    let kind = match device.kind {
        Kind::Block => 1,
        Kind::Character => 2,
    };
    let mut tests = vec![Test::Value(TYPE, kind)];
    if access != Access::ALL {
        tests.push(if allow { Test::Within(access) } else { Test::Touches(access) });
    }
    tests.extend(device.major.map(|major| Test::Value(MAJOR, major)));
    tests.extend(device.minor.map(|minor| Test::Value(MINOR, minor)));
    // Two instructions decide. Distances are counted from the instruction behind the jump.
    let mut left: i16 = tests.iter().map(Test::length).sum::<i16>() + 2;
    for test in &tests {
        left -= test.length();
        test.append(program, left);
    }
    decide(program, allow);
}

enum Test {
    /// The register has the value.
    Value(u8, u32),
    /// All of the access is part of this one.
    Within(Access),
    /// Some of the access is part of this one.
    Touches(Access),
}

impl Test {
    fn length(&self) -> i16 {
        match self {
            Test::Value(..) => 1,
            Test::Within(_) | Test::Touches(_) => 3,
        }
    }

    fn append(&self, program: &mut Vec<Instruction>, distance: i16) {
        match self {
            Test::Value(register, value) => {
                program.push(instruction(JUMP_UNLESS_EQUAL, *register, 0, distance, *value));
            }
            Test::Within(access) | Test::Touches(access) => {
                program.push(instruction(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0));
                program.push(instruction(AND, SCRATCH, 0, 0, u32::from(access.0)));
                program.push(match self {
                    Test::Touches(_) => instruction(JUMP_IF_EQUAL, SCRATCH, 0, distance, 0),
                    _ => instruction(JUMP_UNLESS_EQUAL_REGISTER, SCRATCH, ACCESS, distance, 0),
                });
            }
        }
    }
}
