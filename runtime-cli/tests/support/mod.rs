//! What the tests of the command line share.
#![allow(dead_code, unused_imports, reason = "every test program uses a part of it")]

pub(crate) mod apparmor;
mod bundle;
pub(crate) mod cgroups;
mod leftovers;
mod programs;
mod receiver;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use bundle::Bundle;
pub(crate) use programs::{copy_program, write_program};
pub(crate) use receiver::{Receiver, everything, resize};

/// Path of the program under test; `HUSK_TEST_BINARY` names another runtime to try the tests
/// themselves on.
pub(crate) fn program() -> PathBuf {
    let named = std::env::var_os("HUSK_TEST_BINARY").map(PathBuf::from);
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_husk").into())
}

/// The program under test, with a clean environment.
pub(crate) fn husk() -> Command {
    let mut command = Command::new(program());
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

/// Runs a command with these further arguments to its end. Its output goes to files: a process
/// that it leaves behind may hold the streams open.
pub(crate) fn told<S: AsRef<OsStr>>(
    command: &mut Command,
    arguments: impl IntoIterator<Item = S>,
) -> Told {
    let files = tempfile::tempdir().expect("temporary directory");
    let (out, err) = (files.path().join("out"), files.path().join("err"));
    told_in(command.args(arguments), &out, &err)
}

/// Runs a command to its end with its output in these files.
pub(crate) fn told_in(command: &mut Command, out: &Path, err: &Path) -> Told {
    let file = |path| File::create(path).expect("output file");
    let mut child = command.stdout(file(out)).stderr(file(err)).spawn().expect("run the program");
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break Some(status);
        }
        if begin.elapsed() > DEADLINE {
            child.kill().expect("kill");
            child.wait().expect("wait");
            break None;
        }
        thread::sleep(Duration::from_millis(1));
    };
    let read = |path| String::from_utf8_lossy(&fs::read(path).expect("output")).into_owned();
    let told =
        Told { code: status.and_then(|status| status.code()), out: read(out), err: read(err) };
    assert!(status.is_some(), "it did not end: {command:?}: {told:?}");
    told
}

/// A temporary directory on a disk, where containers may have their root.
pub(crate) fn scratch() -> tempfile::TempDir {
    let builder = tempfile::Builder::new().prefix("husk-test-").tempdir_in("/var/tmp");
    builder.expect("temporary directory")
}

/// Only ends a test that hangs.
const DEADLINE: Duration = Duration::from_secs(90);

/// Looks until there is something to see.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < DEADLINE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Directory of a CRIU that works here.
pub(crate) fn criu() -> Option<PathBuf> {
    let cache = std::env::var_os("HUSK_TEST_CACHE").filter(|cache| !cache.is_empty());
    let directory = Path::new(&cache.unwrap_or("/var/tmp/husk-test".into())).join("criu/bin");
    let found = directory.join("criu").exists() && directory.join("../complete").exists();
    if !found {
        eprintln!("skipped: no criu: tests/criu/obtain gets one");
    }
    found.then_some(directory)
}
