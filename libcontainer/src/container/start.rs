//! From created to running.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{Container, Status};
use crate::create::hooks::{Occasion, Output};
use crate::create::{HookOutput, HookState};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{RECORD_LENGTH, RecordKind};
use crate::state::{Gate, LiveProcess};
use crate::sys::{Errno, pidfd, raw};

impl Container {
    /// Executes the program of a created container and runs the poststart hooks.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] unless it is created; [`ErrorKind::Process`] and
    /// [`ErrorKind::Hook`] for a program that cannot be executed or a hook that fails: the
    /// container is stopped then.
    pub fn start(&self) -> Result<()> {
        let _lock = self.directory.lock(Duration::ZERO)?;
        let (status, init) = self.probe()?;
        let wrong = |message: &str| Err(Error::new(ErrorKind::WrongStatus, message));
        let (init, gate) = match (status, init) {
            (Status::Created, Some(init)) => match self.directory.open_gate()? {
                Some(gate) => (init, gate),
                None => return wrong("cannot start an already running container"),
            },
            (Status::Stopped, _) => return wrong("cannot start a container that has stopped"),
            (Status::Creating, _) => {
                return wrong("cannot start a container that is being created");
            }
            _ => return wrong("cannot start an already running container"),
        };
        open(&gate, init.pidfd.as_fd())?;
        self.await_execution(&gate, &init)?;
        self.run_poststart(&init)
    }

    /// The gate's result says what became of the process: an error, or the end of the FIFO, which
    /// it closes by executing its program.
    fn await_execution(&self, gate: &Gate, init: &LiveProcess) -> Result<()> {
        let mut output = HookOutput::default();
        loop {
            let [said, ended] = pidfd::poll(
                [
                    (Some(gate.result.as_fd()), libc::POLLIN),
                    (Some(init.pidfd.as_fd()), libc::POLLIN),
                ],
                None,
            )
            .map_err(|errno| failed("poll", errno))?;
            if said & libc::POLLIN == 0 {
                // Hung up: executed. A process that ended and said nothing had executed its
                // program, or was killed, which its status tells.
                if said != 0 || ended != 0 {
                    return Ok(());
                }
                continue;
            }
            let mut packet = [0; RECORD_LENGTH];
            let length = match raw::read(gate.result.as_raw_fd(), &mut packet) {
                Ok(length) => length,
                Err(Errno(libc::EAGAIN)) => continue,
                Err(errno) => return Err(failed("read the result of the start", errno)),
            };
            if length == 0 {
                return Ok(());
            }
            let record = packet.get(..length).and_then(crate::protocol::Record::decode);
            let Some(record) = record else {
                let message = "the container's process sent a record that is none";
                return Err(Error::new(ErrorKind::Process, message));
            };
            match record.kind {
                RecordKind::Hook => output.add(&record),
                RecordKind::Failed => return Err(self.start_error(&record, &output)),
                _ => {}
            }
        }
    }

    /// After the gate come the startContainer hooks and the execution.
    fn start_error(&self, record: &crate::protocol::Record, output: &HookOutput) -> Error {
        let spec = match self.directory.load_spec() {
            Ok(spec) => spec,
            Err(error) => return error,
        };
        let hooks = spec.hooks.map(|hooks| hooks.start_container).unwrap_or_default();
        let index = record.step.saturating_sub(self.record.first_late_step);
        if let Some(hook) = hooks.get(index as usize) {
            let timeout = hook.timeout.and_then(|timeout| u64::try_from(timeout).ok());
            let sentence =
                output.sentence("startContainer", index, &hook.path, timeout.unwrap_or(0), record);
            return Error::new(ErrorKind::Hook, sentence)
                .at(format!("/hooks/startContainer/{index}"));
        }
        let path = String::from_utf8_lossy(record.text()).into_owned();
        let message = format!("exec {path}: {}", Errno(record.errno));
        Error::new(ErrorKind::Process, message).at("/process/args")
    }

    /// A failing hook stops the container.
    fn run_poststart(&self, init: &LiveProcess) -> Result<()> {
        if !self.record.has_late_hooks {
            return Ok(());
        }
        let hooks = self.directory.load_spec()?.hooks.map(|hooks| hooks.poststart);
        let state = HookState::new(&self.record, Status::Running, init.pid).to_json()?;
        let output = Output::open(&self.record).inspect_err(|_| self.stop(init))?;
        let occasion = Occasion {
            kind: "poststart",
            state: &state,
            directory: &self.record.bundle,
            output: &output,
            container: None,
        };
        occasion.run_all(&hooks.unwrap_or_default()).inspect_err(|_| self.stop(init))
    }

    fn stop(&self, init: &LiveProcess) {
        let killed = match &self.record.cgroup {
            Some(location) => crate::cgroup::kill_all(location).map_err(|error| error.to_string()),
            None => pidfd::send_signal(init.pidfd.as_fd(), libc::SIGKILL)
                .map_err(|errno| errno.to_string()),
        };
        if let Err(why) = killed {
            log::debug!("{} is not stopped after a failed hook: {why}", self.id());
        }
    }
}

/// One byte. The reader is alive: it was there when the FIFO was opened; if it ends now, its
/// pidfd says so.
fn open(gate: &Gate, init: BorrowedFd<'_>) -> Result<()> {
    match raw::write(gate.go.as_raw_fd(), &[1]) {
        Ok(_) => Ok(()),
        Err(Errno(libc::EPIPE)) if pidfd::has_ended(init) == Ok(true) => {
            Err(Error::new(ErrorKind::WrongStatus, "cannot start a container that has stopped"))
        }
        Err(errno) => Err(failed("write the start gate", errno)),
    }
}

fn failed(act: &str, errno: Errno) -> Error {
    Error::new(ErrorKind::System, format!("{act}: {errno}"))
}
