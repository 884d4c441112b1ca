//! Architectures that a profile can name.

use super::tables::{Multiplexer, Name};

/// An architecture, or a mode of one with its own numbers of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM (EABI).
    Arm,
    /// LoongArch, 64 bits.
    Loongarch64,
    /// Motorola 68000.
    M68k,
    /// MIPS o32, big endian.
    Mips,
    /// MIPS n64, big endian.
    Mips64,
    /// MIPS n32, big endian.
    Mips64n32,
    /// MIPS o32, little endian.
    Mipsel,
    /// MIPS n64, little endian.
    Mipsel64,
    /// MIPS n32, little endian.
    Mipsel64n32,
    /// PA-RISC, 32 bits.
    Parisc,
    /// PA-RISC, 64 bits.
    Parisc64,
    /// PowerPC, 32 bits.
    Ppc,
    /// PowerPC, 64 bits, big endian.
    Ppc64,
    /// PowerPC, 64 bits, little endian.
    Ppc64le,
    /// RISC-V, 64 bits.
    Riscv64,
    /// S/390, 31 bits.
    S390,
    /// S/390, 64 bits.
    S390x,
    /// SuperH, little endian.
    Sh,
    /// SuperH, big endian.
    Sheb,
    /// x86-64's mode with 32-bit pointers.
    X32,
    /// x86, 32 bits.
    X86,
    /// x86-64.
    X86_64,
}

/// The column of numbers that an architecture uses: byte orders share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    X86_64,
    X32,
    X86,
    Arm,
    Aarch64,
    Riscv64,
    Loongarch64,
    Ppc,
    Ppc64,
    S390,
    S390x,
    Mips,
    Mips64,
    Mips64n32,
    Parisc,
    Parisc64,
    M68k,
    Sh,
}

/// Width of the arguments that conditions compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Bits32,
    Bits64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endian {
    Little,
    Big,
}

const PREFIX: &str = "SCMP_ARCH_";

/// Bits of `AUDIT_ARCH_*` beside the ELF machine (include/uapi/linux/audit.h).
const AUDIT_64BIT: u32 = 0x8000_0000;
const AUDIT_LITTLE: u32 = 0x4000_0000;
const AUDIT_N32: u32 = 0x2000_0000;

struct Facts {
    arch: Arch,
    name: &'static str,
    machine: u32,
    table: Table,
    width: Width,
    endian: Endian,
}

const fn facts(
    name: &'static str,
    arch: Arch,
    table: Table,
    machine: u32,
    width: Width,
    endian: Endian,
) -> Facts {
    Facts { arch, name, machine, table, width, endian }
}

use Endian::{Big, Little};
use Width::{Bits32, Bits64};

/// In the order of the variants.
#[rustfmt::skip]
static FACTS: [Facts; 23] = [
    facts("SCMP_ARCH_AARCH64", Arch::Aarch64, Table::Aarch64, 183, Bits64, Little),
    facts("SCMP_ARCH_ARM", Arch::Arm, Table::Arm, 40, Bits32, Little),
    facts("SCMP_ARCH_LOONGARCH64", Arch::Loongarch64, Table::Loongarch64, 258, Bits64, Little),
    facts("SCMP_ARCH_M68K", Arch::M68k, Table::M68k, 4, Bits32, Big),
    facts("SCMP_ARCH_MIPS", Arch::Mips, Table::Mips, 8, Bits32, Big),
    facts("SCMP_ARCH_MIPS64", Arch::Mips64, Table::Mips64, 8, Bits64, Big),
    facts("SCMP_ARCH_MIPS64N32", Arch::Mips64n32, Table::Mips64n32, 8, Bits32, Big),
    facts("SCMP_ARCH_MIPSEL", Arch::Mipsel, Table::Mips, 8, Bits32, Little),
    facts("SCMP_ARCH_MIPSEL64", Arch::Mipsel64, Table::Mips64, 8, Bits64, Little),
    facts("SCMP_ARCH_MIPSEL64N32", Arch::Mipsel64n32, Table::Mips64n32, 8, Bits32, Little),
    facts("SCMP_ARCH_PARISC", Arch::Parisc, Table::Parisc, 15, Bits32, Big),
    facts("SCMP_ARCH_PARISC64", Arch::Parisc64, Table::Parisc64, 15, Bits64, Big),
    facts("SCMP_ARCH_PPC", Arch::Ppc, Table::Ppc, 20, Bits32, Big),
    facts("SCMP_ARCH_PPC64", Arch::Ppc64, Table::Ppc64, 21, Bits64, Big),
    facts("SCMP_ARCH_PPC64LE", Arch::Ppc64le, Table::Ppc64, 21, Bits64, Little),
    facts("SCMP_ARCH_RISCV64", Arch::Riscv64, Table::Riscv64, 243, Bits64, Little),
    facts("SCMP_ARCH_S390", Arch::S390, Table::S390, 22, Bits32, Big),
    facts("SCMP_ARCH_S390X", Arch::S390x, Table::S390x, 22, Bits64, Big),
    facts("SCMP_ARCH_SH", Arch::Sh, Table::Sh, 42, Bits32, Little),
    facts("SCMP_ARCH_SHEB", Arch::Sheb, Table::Sh, 42, Bits32, Big),
    facts("SCMP_ARCH_X32", Arch::X32, Table::X32, 62, Bits32, Little),
    facts("SCMP_ARCH_X86", Arch::X86, Table::X86, 3, Bits32, Little),
    facts("SCMP_ARCH_X86_64", Arch::X86_64, Table::X86_64, 62, Bits64, Little),
];

impl Arch {
    /// The architecture that this program was built for.
    #[must_use]
    pub const fn native() -> Self {
        cfg_select! {
            target_arch = "x86_64" => { Self::X86_64 }
            target_arch = "x86" => { Self::X86 }
            target_arch = "aarch64" => { Self::Aarch64 }
            target_arch = "arm" => { Self::Arm }
            target_arch = "riscv64" => { Self::Riscv64 }
            target_arch = "loongarch64" => { Self::Loongarch64 }
            target_arch = "s390x" => { Self::S390x }
            all(target_arch = "powerpc64", target_endian = "little") => { Self::Ppc64le }
            target_arch = "powerpc64" => { Self::Ppc64 }
        }
    }

    /// Reads a name of the specification, such as `SCMP_ARCH_X86_64`.
    ///
    /// ```
    /// use libcontainer::seccomp::Arch;
    /// assert_eq!(Arch::from_name("SCMP_ARCH_S390X"), Some(Arch::S390x));
    /// assert_eq!(Arch::from_name("s390x"), None);
    /// assert_eq!(Arch::from_short_name("s390x"), Some(Arch::S390x));
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|arch| arch.name() == name)
    }

    /// Reads a name as [`Arch::short_name`] writes it.
    #[must_use]
    pub fn from_short_name(name: &str) -> Option<Self> {
        Self::all().find(|arch| arch.short_name() == name)
    }

    /// The name in the specification, such as `SCMP_ARCH_X86_64`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The name without its prefix and in lower case, such as `x86_64`.
    #[must_use]
    pub fn short_name(self) -> String {
        self.name().trim_start_matches(PREFIX).to_lowercase()
    }

    /// The names of all architectures, sorted.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        Self::all().map(Self::name).collect()
    }

    /// Every architecture.
    pub fn all() -> impl Iterator<Item = Self> {
        FACTS.iter().map(|facts| facts.arch)
    }

    /// `AUDIT_ARCH_*`: what the kernel tells a filter. x32 has the value of x86-64.
    #[must_use]
    pub fn audit(self) -> u32 {
        let facts = self.facts();
        let wide = match self {
            Self::X32 | Self::Mips64n32 | Self::Mipsel64n32 => true,
            _ => facts.width == Bits64,
        };
        facts.machine
            | if wide { AUDIT_64BIT } else { 0 }
            | if facts.endian == Little { AUDIT_LITTLE } else { 0 }
            | if facts.table == Table::Mips64n32 { AUDIT_N32 } else { 0 }
    }

    /// The number of a system call, `None` where the architecture lacks it. x32's numbers have bit
    /// 30 set, those of MIPS include the base of the ABI.
    ///
    /// ```
    /// use libcontainer::seccomp::Arch;
    /// assert_eq!(Arch::Aarch64.number("openat"), Some(56));
    /// assert_eq!(Arch::Aarch64.number("open"), None);
    /// ```
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        Name::find(name)?.number(self)
    }

    pub(super) fn table(self) -> Table {
        self.facts().table
    }

    pub(super) fn width(self) -> Width {
        self.facts().width
    }

    /// Whether words are stored with their high byte first.
    #[must_use]
    pub fn is_big_endian(self) -> bool {
        self.endian() == Endian::Big
    }

    pub(super) fn endian(self) -> Endian {
        self.facts().endian
    }

    /// The number of socketcall(2) or ipc(2) where those carry out other calls.
    pub(super) fn multiplexer(self, multiplexer: Multiplexer) -> Option<u32> {
        let base = match self.table() {
            Table::X86 | Table::Ppc | Table::Ppc64 | Table::S390 | Table::S390x => 0,
            Table::M68k | Table::Sh => 0,
            Table::Mips => 4000,
            _ => return None,
        };
        Some(match multiplexer {
            Multiplexer::Socketcall => base + 102,
            Multiplexer::Ipc => base + 117,
        })
    }

    fn facts(self) -> &'static Facts {
        &FACTS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_in_the_order_of_the_variants_and_names_sorted() {
        for arch in Arch::all() {
            assert_eq!(arch.facts().arch, arch);
            assert_eq!(Arch::from_name(arch.name()), Some(arch));
        }
        assert!(Arch::names().is_sorted());
    }

    #[test]
    fn audit_values_are_those_of_the_kernel() {
        for (arch, value) in [
            (Arch::X86_64, 0xc000_003e_u32),
            (Arch::X32, 0xc000_003e),
            (Arch::X86, 0x4000_0003),
            (Arch::Aarch64, 0xc000_00b7),
            (Arch::Arm, 0x4000_0028),
            (Arch::Mips, 8),
            (Arch::Mipsel, 0x4000_0008),
            (Arch::Mips64, 0x8000_0008),
            (Arch::Mips64n32, 0xa000_0008),
            (Arch::Mipsel64n32, 0xe000_0008),
            (Arch::Ppc64le, 0xc000_0015),
            (Arch::S390, 0x16),
            (Arch::S390x, 0x8000_0016),
            (Arch::Riscv64, 0xc000_00f3),
            (Arch::Loongarch64, 0xc000_0102),
            (Arch::Sheb, 42),
        ] {
            assert_eq!(arch.audit(), value, "{}", arch.name());
        }
    }

    #[test]
    fn multiplexers_have_the_numbers_of_the_table() {
        for arch in Arch::all() {
            for (multiplexer, name) in
                [(Multiplexer::Socketcall, "socketcall"), (Multiplexer::Ipc, "ipc")]
            {
                if let Some(number) = arch.multiplexer(multiplexer) {
                    assert_eq!(arch.number(name), Some(number), "{}", arch.name());
                }
            }
        }
    }
}
