//! Programs that tests put into root file systems.
//!
//! The file is never open for writing in the test's own process: a child that another thread
//! forks at that moment would hold it open, and executing it would be answered ETXTBSY.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Copies a program, with its mode.
pub(crate) fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let (from, to) = (from.as_ref(), to.as_ref());
    let status = Command::new("cp").arg("--").args([from, to]).status().expect("cp is there");
    assert!(status.success(), "cp {} {}", from.display(), to.display());
}

/// Writes a program of a few words.
pub(crate) fn write_program(path: impl AsRef<Path>, text: &str, mode: u32) {
    let script = "printf %s \"$1\" > \"$2\" && chmod \"$3\" \"$2\"";
    let words = ["-c", script, "sh", text].map(OsStr::new);
    let mut command = Command::new("sh");
    command.args(words).arg(path.as_ref()).arg(format!("{mode:o}")).stdin(Stdio::null());
    assert!(command.status().expect("sh is there").success(), "{}", path.as_ref().display());
}
