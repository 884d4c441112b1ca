//! The runtime under test, and what it answers to one command.

use crate::case::{Stop, failed};
use crate::fault;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A runtime binary with a state directory of its own.
pub(crate) struct Runtime {
    binary: PathBuf,
    root: PathBuf,
    /// The words that come before it: a program that takes calls away.
    before: Vec<OsString>,
    /// Arguments that every command gets.
    arguments: Vec<OsString>,
}

/// How one command of the runtime ended.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Exit code; 128 + signal when the runtime was killed.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What was added to the `--log` file.
    pub(crate) log: String,
}

impl Answer {
    pub(crate) fn succeeded(&self) -> bool {
        self.code == 0
    }

    /// Everything in which an error may be told.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stderr, self.log)
    }

    /// # Errors
    /// Failed when the command did not succeed.
    pub(crate) fn expect_success(&self, what: &str) -> Result<(), Stop> {
        if self.succeeded() {
            return Ok(());
        }
        failed(format!("{what}: exit code {}: {}", self.code, self.text().trim_end()))
    }

    /// # Errors
    /// Failed when the command succeeded, or was killed by a signal.
    pub(crate) fn expect_failure(&self, what: &str) -> Result<(), Stop> {
        if self.code != 0 && self.code <= 128 || self.code == 255 {
            return Ok(());
        }
        failed(format!(
            "{what}: exit code {}, wanted an error: {}",
            self.code,
            self.text().trim_end()
        ))
    }
}

impl Runtime {
    /// # Errors
    /// The state directory is not below the suite's own directory: a runtime
    /// that deletes by force can destroy whatever it is given as root.
    pub(crate) fn new(
        binary: &Path,
        place: &Path,
        faults: &OsStr,
        probe: &Path,
        arguments: &[OsString],
    ) -> Result<Runtime, Stop> {
        let root = place.join("state");
        fs::create_dir(&root)?;
        let root = fs::canonicalize(&root)?;
        let own = fs::canonicalize(place)?;
        let deep_enough = own.components().count() > 3;
        if !deep_enough || !root.starts_with(&own) || root == own {
            return failed(format!("{}: not below the suite's own directory", root.display()));
        }
        let before = match faults.is_empty() {
            true => Vec::new(),
            false => vec![probe.into(), fault::PART.into(), faults.to_owned()],
        };
        Ok(Runtime { binary: binary.to_owned(), root, before, arguments: arguments.to_vec() })
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The runtime without any argument yet.
    fn bare(&self) -> Command {
        match self.before.split_first() {
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        }
    }

    /// The global options and `args`, not yet started; stdin is /dev/null.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, log: &Path, args: &[S]) -> Command {
        let mut command = self.bare();
        command.arg("--root").arg(&self.root).arg("--log").arg(log);
        command
            .args(["--log-format", "json"])
            .args(&self.arguments)
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs a prepared command to its end. Files take its output: a pipe would
    /// stay open in the container.
    ///
    /// # Errors
    /// The command cannot be started, or its output not be read.
    pub(crate) fn finish(
        &self,
        mut command: Command,
        log: &Path,
        out: &Path,
    ) -> Result<Answer, Stop> {
        let err = out.with_extension("err");
        let logged = fs::read(log).map(|text| text.len()).unwrap_or_default();
        let status = command.stdout(File::create(out)?).stderr(File::create(&err)?).status();
        let status = match status {
            Ok(status) => status,
            Err(error) => return failed(format!("start {}: {error}", self.binary.display())),
        };
        let log = fs::read(log).unwrap_or_default();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or_default();
        Ok(Answer {
            code: status.code().unwrap_or(128 + signal),
            stdout: String::from_utf8_lossy(&fs::read(out)?).into_owned(),
            stderr: String::from_utf8_lossy(&fs::read(&err)?).into_owned(),
            log: String::from_utf8_lossy(&log[logged..]).into_owned(),
        })
    }
}

/// The JSON that a command printed.
///
/// # Errors
/// Failed when it is not JSON.
pub(crate) fn parse_json(text: &str, what: &str) -> Result<Value, Stop> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) => failed(format!("{what}: not JSON ({error}): {text}")),
    }
}
