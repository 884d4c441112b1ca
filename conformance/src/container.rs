//! A container that exists, and the outcome of one that has run.

use crate::case::{Stop, Verdict, ensure, failed};
use crate::probe;
use crate::runtime::{Answer, parse_json};
use crate::scene::Scene;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;
use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a case waits for something that has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a finished run printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) answer: Answer,
    /// One object for each operation of the probe.
    pub(crate) lines: Vec<Value>,
}

impl Ran {
    pub(crate) fn new(answer: Answer) -> Ran {
        let lines = Ran::new_lines(&answer);
        Ran { answer, lines }
    }

    pub(crate) fn new_lines(answer: &Answer) -> Vec<Value> {
        lines(&answer.stdout)
    }

    /// What the operation gave.
    ///
    /// # Errors
    /// Failed when it failed, or did not come to its turn.
    pub(crate) fn value(&self, index: usize) -> Result<Value, Stop> {
        let line = self.line(index)?;
        match line.get("value") {
            Some(value) => Ok(value.clone()),
            None => failed(format!("{}: {}", line["op"], line["error"])),
        }
    }

    /// The name of the operation's error, or "ok".
    ///
    /// # Errors
    /// Failed when the operation did not come to its turn.
    pub(crate) fn error(&self, index: usize) -> Result<&str, Stop> {
        Ok(self.line(index)?["error"].as_str().unwrap_or("ok"))
    }

    fn line(&self, index: usize) -> Result<&Value, Stop> {
        match self.lines.get(index) {
            Some(line) => Ok(line),
            None => {
                failed(format!("the program ended before operation {index}: {:?}", self.answer))
            }
        }
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A created container; deleted by force when the case forgets it.
pub(crate) struct Container<'s> {
    scene: &'s Scene,
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pid: Option<i32>,
    exists: Cell<bool>,
}

impl<'s> Container<'s> {
    pub(crate) fn new(
        scene: &'s Scene,
        id: String,
        bundle: PathBuf,
        pid: Option<i32>,
        exists: bool,
    ) -> Container<'s> {
        Container { scene, id, bundle, pid, exists: Cell::new(exists) }
    }

    /// The process id from the pid file.
    ///
    /// # Errors
    /// Failed when create wrote none.
    pub(crate) fn pid(&self) -> Result<i32, Stop> {
        match self.pid {
            Some(pid) => Ok(pid),
            None => failed("create wrote no pid file"),
        }
    }

    /// `VERB ID WORDS...`, whatever comes of it.
    ///
    /// # Errors
    /// The command cannot be started.
    pub(crate) fn attempt(&self, verb: &str, words: &[&str]) -> Result<Answer, Stop> {
        let mut args = vec![verb, self.id.as_str()];
        args.extend(words);
        self.scene.invoke(&args)
    }

    /// # Errors
    /// Failed when the runtime refuses.
    pub(crate) fn start(&self) -> Verdict {
        self.attempt("start", &[])?.expect_success("start")
    }

    /// # Errors
    /// Failed when the runtime refuses.
    pub(crate) fn kill(&self, signal: &str) -> Verdict {
        self.attempt("kill", &[signal])?.expect_success("kill")
    }

    /// # Errors
    /// Failed when the runtime refuses.
    pub(crate) fn delete(&self) -> Verdict {
        self.attempt("delete", &[])?.expect_success("delete")?;
        self.exists.set(false);
        Ok(())
    }

    /// # Errors
    /// Failed when the runtime refuses.
    pub(crate) fn delete_by_force(&self) -> Verdict {
        self.exists.set(false);
        self.scene.invoke(&["delete", "--force", &self.id])?.expect_success("delete --force")
    }

    /// # Errors
    /// Failed when the runtime refuses, or prints no JSON.
    pub(crate) fn state(&self) -> Result<Value, Stop> {
        let answer = self.attempt("state", &[])?;
        answer.expect_success("state")?;
        parse_json(&answer.stdout, "state")
    }

    /// # Errors
    /// As `state`.
    pub(crate) fn status(&self) -> Result<String, Stop> {
        Ok(self.state()?["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Operations of the probe in a second process.
    ///
    /// # Errors
    /// The command cannot be started.
    pub(crate) fn exec(&self, options: &[&str], operations: Value) -> Result<Ran, Stop> {
        let operations = operations.to_string();
        let mut args = vec!["exec"];
        args.extend(options);
        args.extend([self.id.as_str(), probe::PATH, probe::PART, &operations]);
        Ok(Ran::new(self.scene.invoke(&args)?))
    }

    /// What the program has printed so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        lines(&fs::read_to_string(self.bundle.join("out")).unwrap_or_default())
    }

    /// Waits until the program has printed that many lines.
    ///
    /// # Errors
    /// Failed when they do not come.
    pub(crate) fn wait_lines(&self, count: usize) -> Result<Vec<Value>, Stop> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines();
            if lines.len() >= count {
                return Ok(lines);
            }
            ensure!(
                Instant::now() < deadline,
                "the program printed {} lines of {count}",
                lines.len()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the container's process has ended, and collects it: this
    /// process inherited it from the runtime.
    ///
    /// # Errors
    /// Failed when it does not end.
    pub(crate) fn wait_end(&self) -> Result<WaitStatus, Stop> {
        let pid = Pid::from_raw(self.pid()?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {}
                Ok(status) => return Ok(status),
                Err(error) => {
                    return failed(format!("wait for the container's process {pid}: {error}"));
                }
            }
            ensure!(Instant::now() < deadline, "the container's process {pid} does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if self.exists.get()
            && let Err(Stop::Failed(why)) = self.delete_by_force()
        {
            eprintln!("delete --force {}: {why}", self.id);
        }
    }
}
