//! Names and numbers of system calls.
//!
//! `numbers.rs` is written by tools/seccomp-tables. The names are one string and the numbers are
//! 16 bits wide: neither holds a pointer, so a static PIE has nothing to relocate at its start and
//! pages are read only for the architectures of the profile.

mod numbers;

use super::arch::{Arch, Table};
use numbers::{ABSENT, COUNT, MULTIPLEXED, NAMES, OF_IPC, STARTS};

/// Private calls of 32-bit ARM start here; the table holds them as 0xf000 and up.
const ARM_PRIVATE: u32 = 0x0f_0000;
const ARM_PRIVATE_STORED: u16 = 0xf000;
/// Set in the numbers of x32's calls.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// A name that some architecture knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name(u16);

/// The call through which old architectures carry out several others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Multiplexer {
    /// socketcall(2).
    Socketcall,
    /// ipc(2).
    Ipc,
}

impl Name {
    /// Looks a name up.
    pub(super) fn find(name: &str) -> Option<Self> {
        let (mut low, mut high) = (0, COUNT);
        while low < high {
            let middle = low.midpoint(high);
            match text(middle).cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return u16::try_from(middle).ok().map(Name),
            }
        }
        None
    }

    /// Every name.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..COUNT).filter_map(|index| u16::try_from(index).ok()).map(Name)
    }

    /// The name itself.
    pub(super) fn as_str(self) -> &'static str {
        text(usize::from(self.0))
    }

    /// The number of the call on `arch`, `None` where the architecture lacks it.
    pub(super) fn number(self, arch: Arch) -> Option<u32> {
        let table = match arch.table() {
            Table::X86_64 => &numbers::X86_64,
            Table::X32 => &numbers::X32,
            Table::X86 => &numbers::X86,
            Table::Arm => &numbers::ARM,
            Table::Aarch64 => &numbers::AARCH64,
            Table::Riscv64 => &numbers::RISCV64,
            Table::Loongarch64 => &numbers::LOONGARCH64,
            Table::Ppc => &numbers::PPC,
            Table::Ppc64 => &numbers::PPC64,
            Table::S390 => &numbers::S390,
            Table::S390x => &numbers::S390X,
            Table::Mips => &numbers::MIPS,
            Table::Mips64 => &numbers::MIPS64,
            Table::Mips64n32 => &numbers::MIPS64N32,
            Table::Parisc => &numbers::PARISC,
            Table::Parisc64 => &numbers::PARISC64,
            Table::M68k => &numbers::M68K,
            Table::Sh => &numbers::SH,
        };
        match (table[usize::from(self.0)], arch) {
            (ABSENT, _) => None,
            (number, Arch::X32) => Some(u32::from(number) | X32_BIT),
            (number, Arch::Arm) if number >= ARM_PRIVATE_STORED => {
                Some(ARM_PRIVATE | u32::from(number & !ARM_PRIVATE_STORED))
            }
            (number, _) => Some(u32::from(number)),
        }
    }

    /// The call that carries this one out on architectures which multiplex, with its first
    /// argument.
    pub(super) fn multiplexed(self) -> Option<(Multiplexer, u32)> {
        match MULTIPLEXED[usize::from(self.0)] {
            0 => None,
            call if call & OF_IPC != 0 => Some((Multiplexer::Ipc, u32::from(call & !OF_IPC))),
            call => Some((Multiplexer::Socketcall, u32::from(call))),
        }
    }
}

fn text(index: usize) -> &'static str {
    &NAMES[usize::from(STARTS[index])..usize::from(STARTS[index + 1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        for name in Name::all() {
            assert_eq!(Name::find(name.as_str()), Some(name));
        }
        for unknown in ["", "a", "zzz", "writevv", "openat\0", "Write"] {
            assert_eq!(Name::find(unknown), None);
        }
    }

    #[test]
    fn numbers_are_those_of_the_kernel() {
        let number = |name, arch| Name::find(name).and_then(|name: Name| name.number(arch));
        assert_eq!(number("openat", Arch::X86_64), Some(257));
        assert_eq!(number("openat", Arch::X32), Some(X32_BIT | 257));
        assert_eq!(number("execve", Arch::X32), Some(X32_BIT | 520));
        assert_eq!(number("openat", Arch::Aarch64), Some(56));
        assert_eq!(number("open", Arch::Aarch64), None);
        assert_eq!(number("set_tls", Arch::Arm), Some(0xf_0005));
        assert_eq!(number("openat", Arch::Mips64n32), Some(6251));
        assert_eq!(number("file_setattr", Arch::Mips), Some(4469));
        assert_eq!(number("listns", Arch::S390), None);
        assert_eq!(number("send", Arch::X86), None);
    }

    #[test]
    fn numbers_of_the_running_architecture_are_those_of_its_headers() {
        for (name, number) in [
            ("read", libc::SYS_read),
            ("seccomp", libc::SYS_seccomp),
            ("clone3", libc::SYS_clone3),
            ("mseal", libc::SYS_mseal),
        ] {
            let found = Name::find(name).and_then(|name| name.number(Arch::native()));
            assert_eq!(found.map(libc::c_long::from), Some(number), "{name}");
        }
    }
}
