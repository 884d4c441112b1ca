//! What the tests of the command line share.
#![allow(dead_code, unused_imports, reason = "every test program uses a part of it")]

mod bundle;
mod leftovers;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use bundle::Bundle;

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

impl Told {
    /// Fails the test unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Fails the test unless the program failed with `code` and these words on standard error.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(words), "{words:?} in {self:?}");
        self
    }
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
    let builder = tempfile::Builder::new().prefix("husk-test-").tempdir_in("/var/tmp");
    builder.expect("temporary directory")
}

/// Looks until there is something to see. The deadline only ends a test that hangs.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        thread::sleep(Duration::from_millis(5));
    }
}
