//! Classic BPF, written from its end: every jump goes forward, so what it jumps to is there
//! already.

use seccompiler::sock_filter;

use super::arch::Endian;

pub(super) mod op {
    pub(in crate::seccomp) const LOAD: u16 = 0x20;
    pub(in crate::seccomp) const AND: u16 = 0x54;
    pub(in crate::seccomp) const JUMP: u16 = 0x05;
    pub(in crate::seccomp) const JUMP_EQUAL: u16 = 0x15;
    pub(in crate::seccomp) const JUMP_GREATER: u16 = 0x25;
    pub(in crate::seccomp) const JUMP_GREATER_EQUAL: u16 = 0x35;
    pub(in crate::seccomp) const JUMP_SET: u16 = 0x45;
    pub(in crate::seccomp) const RETURN: u16 = 0x06;
}

/// Offset of the number in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
/// Offset of the architecture.
pub(super) const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// Offsets of the low and the high half of an argument.
pub(super) fn halves(arg: u8, endian: Endian) -> (u32, u32) {
    let at = ARGS + 8 * u32::from(arg);
    match endian {
        Endian::Little => (at, at + 4),
        Endian::Big => (at + 4, at),
    }
}

/// A place in the program, counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// How far a conditional jump reaches.
const REACH: usize = u8::MAX as usize;

#[derive(Default)]
pub(super) struct Assembler {
    /// The last instruction first.
    code: Vec<sock_filter>,
    /// The latest place of each return.
    returns: Vec<(u32, Label)>,
}

impl Assembler {
    /// A place that returns `action`: one within reach if there is one.
    pub(super) fn returning(&mut self, action: u32) -> Label {
        let next = self.code.len();
        let known = self.returns.iter_mut().find(|(returned, _)| *returned == action);
        match known {
            Some((_, label)) if next - label.0 <= REACH => *label,
            Some((_, label)) => {
                *label = Label(next);
                self.push(op::RETURN, 0, 0, action)
            }
            None => {
                self.returns.push((action, Label(next)));
                self.push(op::RETURN, 0, 0, action)
            }
        }
    }

    /// `if word OPERATION value { yes } else { no }`.
    pub(super) fn branch(&mut self, operation: u16, value: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let (mut yes, mut no) = (yes, no);
        loop {
            let next = self.code.len();
            if next - yes.0 > REACH + 1 {
                yes = self.nearer(yes);
            } else if next - no.0 > REACH + 1 {
                no = self.nearer(no);
            } else {
                let distance = |to: Label| (next - to.0 - 1) as u8;
                return self.push(operation, distance(yes), distance(no), value);
            }
        }
    }

    /// Loads a word and goes on at `then`.
    pub(super) fn load(&mut self, offset: u32, then: Label) -> Label {
        let then = self.following(then);
        debug_assert_eq!(then.0 + 1, self.code.len());
        self.push(op::LOAD, 0, 0, offset)
    }

    /// Keeps the bits of `mask` and goes on at `then`.
    pub(super) fn and(&mut self, mask: u32, then: Label) -> Label {
        let then = self.following(then);
        debug_assert_eq!(then.0 + 1, self.code.len());
        self.push(op::AND, 0, 0, mask)
    }

    /// The program that starts at `start`.
    pub(super) fn finish(mut self, start: Label) -> Vec<sock_filter> {
        self.following(start);
        self.code.reverse();
        self.code
    }

    /// `to`, or a jump to it where something else was written since.
    fn following(&mut self, to: Label) -> Label {
        if to.0 + 1 == self.code.len() { to } else { self.jump(to) }
    }

    fn nearer(&mut self, to: Label) -> Label {
        let far = &self.code[to.0];
        if far.code == op::RETURN { self.returning(far.k) } else { self.jump(to) }
    }

    fn jump(&mut self, to: Label) -> Label {
        // A program has far fewer instructions than 32 bits can count.
        let distance = (self.code.len() - to.0 - 1) as u32;
        self.push(op::JUMP, 0, 0, distance)
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.code.push(sock_filter { code, jt, jf, k });
        Label(self.code.len() - 1)
    }
}
