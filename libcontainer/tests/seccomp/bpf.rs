//! An interpreter of the classic BPF that seccomp(2) takes.

use libcontainer::seccomp::sock_filter;

/// `struct seccomp_data`, without the instruction pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) audit: u32,
    pub(crate) args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32, big_endian: bool) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                let high = offset.is_multiple_of(8) == big_endian;
                if high { (arg >> 32) as u32 } else { arg as u32 }
            }
            _ => panic!("load of offset {offset}"),
        }
    }
}

/// What a program returns, and how many instructions that took.
///
/// Panics where the kernel would refuse the program.
pub(crate) fn run(program: &[sock_filter], call: &Call, big_endian: bool) -> (u32, usize) {
    let (mut at, mut accumulator, mut executed) = (0_usize, 0_u32, 0);
    loop {
        let instruction = &program[at];
        let k = instruction.k;
        let taken = match instruction.code {
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            0x45 => accumulator & k != 0,
            _ => false,
        };
        executed += 1;
        at += 1;
        match instruction.code {
            0x20 => accumulator = call.word(k, big_endian),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x06 => return (k, executed),
            0x15 | 0x25 | 0x35 | 0x45 => {
                at += usize::from(if taken { instruction.jt } else { instruction.jf });
            }
            code => panic!("instruction {code:#x} at {}", at - 1),
        }
    }
}

/// What the kernel demands of a program as a whole.
pub(crate) fn check(program: &[sock_filter]) {
    assert!(!program.is_empty() && program.len() <= 4096, "{} instructions", program.len());
    assert_eq!(program.last().map(|last| last.code), Some(0x06), "the last one returns");
    for (at, instruction) in program.iter().enumerate() {
        let after = at + 1;
        let farthest = match instruction.code {
            0x05 => after + instruction.k as usize,
            0x15 | 0x25 | 0x35 | 0x45 => after + usize::from(instruction.jt.max(instruction.jf)),
            0x20 | 0x54 => after,
            0x06 => at,
            code => panic!("instruction {code:#x} at {at}"),
        };
        assert!(farthest < program.len(), "jump at {at} leaves the program");
    }
}
