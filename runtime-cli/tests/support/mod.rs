//! What the tests of the command line share.
#![allow(dead_code, reason = "every test program uses a part of it")]

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program under test, with a clean environment.
pub(crate) fn husk() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_husk"));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

/// The program under test with state below `root`.
pub(crate) fn husk_in(root: &Path) -> Command {
    let mut command = husk();
    command.arg("--root").arg(root.join("state"));
    command
}

/// What a finished program told.
#[derive(Debug)]
pub(crate) struct Told {
    /// Exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// Runs a command with these further arguments to its end.
pub(crate) fn told<S: AsRef<OsStr>>(
    command: &mut Command,
    arguments: impl IntoIterator<Item = S>,
) -> Told {
    let Output { status, stdout, stderr } = command.args(arguments).output().expect("run husk");
    Told {
        code: status.code(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// A temporary directory on a disk, where containers may have their root.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("husk-test-")
        .tempdir_in("/var/tmp")
        .expect("temporary directory")
}
