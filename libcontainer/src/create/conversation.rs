//! What parent and child say to each other between the clone and the commit.
//!
//! The parent never waits blindly: it polls the control socket and the child's pidfd, so that a
//! child that was killed ends the wait.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::failure::{self, HookOutput};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{Program, RECORD_LENGTH, Record, RecordKind, Step, SyncPoint};
use crate::sys::{Errno, pidfd, socket};

/// How a conversation went on.
pub(crate) enum Heard {
    /// The child waits for an answer at this point.
    Reached { point: SyncPoint, detail: u32 },
    /// An intermediate process made init.
    Init { pid: u32 },
    /// The child closed its end: it executes its program, or has ended.
    Closed,
}

/// The parent's end.
pub(crate) struct Conversation<'a> {
    program: &'a Program,
    control: OwnedFd,
    console: Option<BorrowedFd<'a>>,
    output: HookOutput,
    /// Steps whose errors were tolerated.
    pub(crate) warnings: Vec<String>,
    /// Name of each step and the monotonic clock at its end, in nanoseconds.
    pub(crate) trace: Vec<(&'static str, u64)>,
    /// The last step or point that the child reported.
    last: u32,
}

impl<'a> Conversation<'a> {
    /// A conversation about a program; `console` gets the master of a terminal.
    pub(crate) fn new(
        program: &'a Program,
        control: OwnedFd,
        console: Option<BorrowedFd<'a>>,
    ) -> Self {
        Self {
            program,
            control,
            console,
            output: HookOutput::default(),
            warnings: Vec::new(),
            trace: Vec::new(),
            last: 0,
        }
    }

    /// Listens until there is something to do, or until the child's process has ended.
    pub(crate) fn listen(&mut self, child: BorrowedFd<'_>) -> Result<Heard> {
        loop {
            let [said, _] = pidfd::poll(
                [(Some(self.control.as_fd()), libc::POLLIN), (Some(child), libc::POLLIN)],
                None,
            )
            .map_err(|errno| failed("poll", errno))?;
            if said == 0 {
                // The child has ended. What it said before lies in the socket, so that nothing
                // there means that it said nothing.
                return Ok(Heard::Closed);
            }
            let mut packet = [0; RECORD_LENGTH];
            let received = socket::receive(self.control.as_fd(), &mut packet)
                .map_err(|errno| failed("read the control socket", errno))?;
            let Some((length, descriptors)) = received else { return Ok(Heard::Closed) };
            let Some(record) = packet.get(..length).and_then(Record::decode) else {
                let message = "the child sent a record that is none";
                return Err(Error::new(ErrorKind::Process, message));
            };
            if let Some(heard) = self.hear(&record, descriptors)? {
                return Ok(heard);
            }
        }
    }

    fn hear(&mut self, record: &Record, descriptors: Vec<OwnedFd>) -> Result<Option<Heard>> {
        self.last = record.step;
        match record.kind {
            RecordKind::Reached => {
                let point = SyncPoint::from_number(record.value).ok_or_else(|| {
                    Error::new(ErrorKind::Process, "the child reached a point that is none")
                })?;
                Ok(Some(Heard::Reached { point, detail: record.detail }))
            }
            RecordKind::Failed => Err(failure::step_error(self.program, record, &self.output)),
            RecordKind::Warned => {
                if let Some(step) = self.program.steps().get(record.step as usize) {
                    self.warnings.push(failure::warning(step, self.program, record));
                }
                Ok(None)
            }
            RecordKind::Traced => {
                if let Some(step) = self.program.steps().get(record.step as usize) {
                    self.trace.push((step.name(), record.value));
                }
                Ok(None)
            }
            RecordKind::Console => self.send_console(descriptors).map(|()| None),
            RecordKind::Init => Ok(Some(Heard::Init { pid: record.value as u32 })),
            RecordKind::Hook => {
                self.output.add(record);
                Ok(None)
            }
            RecordKind::Continue => {
                Err(Error::new(ErrorKind::Process, "the child said what only its parent says"))
            }
        }
    }

    fn send_console(&mut self, descriptors: Vec<OwnedFd>) -> Result<()> {
        let Some(master) = descriptors.into_iter().next() else {
            return Err(Error::new(ErrorKind::Process, "the child sent no terminal"));
        };
        if let Some(console) = self.console {
            // The name is what receivers show; the descriptor is what counts.
            socket::send(console, b"/dev/ptmx", &[master.as_fd()])
                .map_err(|errno| failed("send the terminal to the console socket", errno))?;
        }
        Ok(())
    }

    /// Lets the child go on, with descriptors for it.
    pub(crate) fn go_on(&self, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let packet = Record::new(RecordKind::Continue, 0).encode();
        match socket::send(self.control.as_fd(), &packet, descriptors) {
            // The child died: the next listening tells.
            Ok(()) | Err(Errno(libc::EPIPE | libc::ECONNRESET)) => Ok(()),
            Err(errno) => Err(failed("write the control socket", errno)),
        }
    }

    /// The step that the child reported last.
    pub(crate) fn last_step(&self) -> Option<&Step> {
        self.program.steps().get(self.last as usize)
    }

    /// The error for a child that ended without a word: which step was the last one heard of.
    pub(crate) fn ended(&self) -> Error {
        let step = self.program.steps().get(self.last as usize).map_or("", |step| step.name());
        let message = format!("the process ended without a word; its last step known is {step}");
        Error::new(ErrorKind::Process, message)
    }
}

fn failed(act: &str, errno: Errno) -> Error {
    Error::new(ErrorKind::System, format!("{act}: {errno}"))
}
