//! Whose containerd it is: 1.x or 2.x.
//!
//! Nothing that containerd says before 2.3 tells its version, and 1.x takes no answer in JSON. Its
//! program is named, though, and a Go program has a section that names the module it was built of.
//! Where that cannot be read the answer is the old one, which every version takes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MODULE: &[u8] = b"github.com/containerd/containerd/v2/";
const SECTION: &[u8] = b".go.buildinfo\0";

/// More sections than any program has.
const MOST_SECTIONS: u64 = 1024;

/// Whether the program is containerd 2.0 or later.
pub(crate) fn is_version_2(program: &Path) -> bool {
    File::open(program)
        .ok()
        .and_then(|file| build_information(&file))
        .is_some_and(|information| information.windows(MODULE.len()).any(|window| window == MODULE))
}

/// The beginning of the section with the module's name.
fn build_information(file: &File) -> Option<Vec<u8>> {
    let header = read(file, 0, 64)?;
    // ELF, 64 bits, the lower byte first.
    if header.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size) = (number(&header, 0x28, 8)?, number(&header, 0x3a, 2)?);
    let (count, names) = (number(&header, 0x3c, 2)?, number(&header, 0x3e, 2)?);
    if size != 64 || count > MOST_SECTIONS {
        return None;
    }
    let sections = read(file, table, count * size)?;
    let section = |index: u64| sections.get(usize::try_from(index * size).ok()?..);
    let names = number(section(names)?, 0x18, 8)?;
    (0..count).find_map(|index| {
        let section = section(index)?;
        let name = read(file, names + number(section, 0, 4)?, SECTION.len() as u64)?;
        if name != SECTION {
            return None;
        }
        read(file, number(section, 0x18, 8)?, number(section, 0x20, 8)?.min(512))
    })
}

fn read(file: &File, offset: u64, length: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let mut word = [0; 8];
    word.get_mut(..length)?.copy_from_slice(bytes.get(at..at + length)?);
    Some(u64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_go_program_is_not_version_2() {
        assert!(!is_version_2("/proc/self/exe".as_ref()));
        assert!(!is_version_2("/dev/null".as_ref()));
        assert!(!is_version_2("/nowhere".as_ref()));
    }

    /// The smallest file with such a section: header, name table, the section, two section headers.
    fn program(module: &str) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let names = file.len() as u64;
        file.extend_from_slice(b"\0.go.buildinfo\0");
        let information = file.len() as u64;
        file.extend_from_slice(
            format!("\u{ff} Go buildinf:path\t{module}/cmd/containerd").as_bytes(),
        );
        let length = file.len() as u64 - information;
        let table = file.len() as u64;
        for (name, offset, size) in [(0u32, names, 15), (1, information, length)] {
            let mut section = [0; 64];
            section[..4].copy_from_slice(&name.to_le_bytes());
            section[0x18..0x20].copy_from_slice(&offset.to_le_bytes());
            section[0x20..0x28].copy_from_slice(&size.to_le_bytes());
            file.extend_from_slice(&section);
        }
        file[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        file[0x3a..0x3c].copy_from_slice(&64u16.to_le_bytes());
        file[0x3c..0x3e].copy_from_slice(&2u16.to_le_bytes());
        file
    }

    #[test]
    fn the_module_path_tells_the_version() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("containerd");
        std::fs::write(&path, program("github.com/containerd/containerd/v2")).unwrap();
        assert!(is_version_2(&path));
        std::fs::write(&path, program("github.com/containerd/containerd")).unwrap();
        assert!(!is_version_2(&path));
    }

    #[test]
    fn a_cut_program_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("containerd");
        let whole = program("github.com/containerd/containerd/v2");
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(!is_version_2(&path), "{length}");
        }
    }
}
