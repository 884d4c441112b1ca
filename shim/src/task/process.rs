//! One process of a task: the container's own, or a further one.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use libcontainer::ExecProcess;
use libcontainer::spec::Process as Description;
use tokio::sync::watch;

use super::lock;
use crate::fault::{Fault, Result};
use crate::io::{Io, Streams};

/// Where in its life a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Made, or only asked for, and not started.
    Created,
    /// Being started.
    Starting,
    Running,
    /// Being frozen.
    Pausing,
    Paused,
    Stopped,
    Deleted,
}

/// How and when a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) status: u32,
    pub(crate) at: SystemTime,
}

/// A process, whoever waits for it, and its streams.
pub(crate) struct Process {
    /// What containerd calls it: the id of the container or of the execution.
    pub(crate) id: String,
    pub(crate) streams: Streams,
    inner: Mutex<Inner>,
    exit: watch::Sender<Option<Exit>>,
    /// Held while the process is started and until that is published: its end is told later.
    pub(super) starting: tokio::sync::Mutex<()>,
    /// Held while it is deleted.
    pub(super) deletion: tokio::sync::Mutex<()>,
}

struct Inner {
    phase: Phase,
    pid: u32,
    io: Option<Arc<Io>>,
    /// Closed before the streams were there: containerd's clients do that when theirs is at its
    /// end before the process is started.
    is_stdin_closed: bool,
    execution: Option<Arc<ExecProcess>>,
    /// What a further process is to execute, until it does.
    description: Option<Description>,
}

impl Process {
    pub(super) fn new(id: &str, streams: Streams) -> Self {
        Self {
            id: id.to_owned(),
            streams,
            inner: Mutex::new(Inner {
                phase: Phase::Created,
                pid: 0,
                io: None,
                is_stdin_closed: false,
                execution: None,
                description: None,
            }),
            exit: watch::Sender::new(None),
            starting: tokio::sync::Mutex::default(),
            deletion: tokio::sync::Mutex::default(),
        }
    }

    /// A further process that is to be executed so.
    pub(super) fn of(self, description: Description) -> Self {
        lock(&self.inner).description = Some(description);
        self
    }

    pub(super) fn take_description(&self) -> Option<Description> {
        lock(&self.inner).description.take()
    }

    pub(crate) fn phase(&self) -> Phase {
        lock(&self.inner).phase
    }

    /// Pid in the shim's pid namespace; 0 as long as there is none.
    pub(crate) fn pid(&self) -> u32 {
        lock(&self.inner).pid
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    pub(crate) fn io(&self) -> Option<Arc<Io>> {
        lock(&self.inner).io.clone()
    }

    /// Lets standard input end, now or as soon as it is there.
    pub(crate) fn close_stdin(&self) {
        let mut inner = lock(&self.inner);
        inner.is_stdin_closed = true;
        if let Some(io) = &inner.io {
            io.close_stdin();
        }
    }

    pub(super) fn execution(&self) -> Option<Arc<ExecProcess>> {
        lock(&self.inner).execution.clone()
    }

    /// Returns when the process has ended.
    pub(crate) async fn ended(&self) -> Result<Exit> {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await;
        ended.ok().and_then(|exit| *exit).ok_or_else(|| Fault::unknown("the process was forgotten"))
    }

    /// Goes from one phase to the next, or tells in which other one it is.
    pub(super) fn begin(&self, from: Phase, to: Phase) -> std::result::Result<(), Phase> {
        let mut inner = lock(&self.inner);
        if inner.phase != from {
            return Err(inner.phase);
        }
        inner.phase = to;
        Ok(())
    }

    /// Goes from one phase to the next, unless it has ended meanwhile.
    pub(super) fn settle(&self, from: Phase, to: Phase) {
        let mut inner = lock(&self.inner);
        if inner.phase == from {
            inner.phase = to;
        }
    }

    /// A process that is there, with its streams.
    pub(super) fn attach(&self, pid: u32, io: Io, execution: Option<Arc<ExecProcess>>) {
        let mut inner = lock(&self.inner);
        inner.pid = pid;
        if inner.is_stdin_closed {
            io.close_stdin();
        }
        inner.io = Some(Arc::new(io));
        inner.execution = execution;
    }

    /// Tells everybody who waits. A process ends once.
    pub(super) fn finish(&self, exit: Exit) {
        let mut inner = lock(&self.inner);
        if inner.phase != Phase::Deleted {
            inner.phase = Phase::Stopped;
        }
        // Its descriptor is of no use any more.
        inner.execution = None;
        if let Some(io) = &inner.io {
            io.process_ended();
        }
        drop(inner);
        self.exit.send_if_modified(|known| known.is_none() && known.replace(exit).is_none());
    }

    /// Its streams are closed by that.
    pub(super) fn forget(&self) {
        let mut inner = lock(&self.inner);
        inner.phase = Phase::Deleted;
        inner.io = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> Process {
        Process::new("p", Streams::default())
    }

    #[test]
    fn a_step_is_taken_once() {
        let process = process();
        assert_eq!(process.begin(Phase::Created, Phase::Starting), Ok(()));
        assert_eq!(process.begin(Phase::Created, Phase::Starting), Err(Phase::Starting));
    }

    #[test]
    fn the_first_end_counts() {
        let process = process();
        let exit = |status| Exit { status, at: SystemTime::UNIX_EPOCH };
        process.finish(exit(3));
        process.finish(exit(4));
        assert_eq!(process.exit(), Some(exit(3)));
        assert_eq!(process.phase(), Phase::Stopped);
    }
}
