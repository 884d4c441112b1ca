//! Programs that take output (`binary://`). They read the pipes themselves; what is done here is
//! to start them, to notice their end, and to end them.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, pipe2};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::target::Program;
use super::terminal::set_nonblocking;
use super::{Context, copy, failed, fifo, is_set};

/// How long a logger may take to say that it is ready.
pub(super) const READY_LIMIT: Duration = Duration::from_secs(10);

/// How long a logger may take to end after SIGTERM.
const END_LIMIT: Duration = Duration::from_secs(12);

/// How long a logger that has read everything may take to end by itself.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// A logger that is ready.
pub(super) struct Logger {
    name: String,
    child: Child,
    /// What it reads, standard output and error: kept so that its end breaks no pipe of the
    /// container's.
    ends: Arc<[OwnedFd; 2]>,
}

/// A program that was started and not waited for.
struct Child {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    is_reaped: bool,
}

impl Logger {
    /// Starts a logger on the reading ends of two pipes, and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be executed, is not ready within `limit`, or ended before.
    pub(super) async fn start(
        program: Program,
        context: &Context,
        ends: [OwnedFd; 2],
        limit: Duration,
    ) -> io::Result<Self> {
        let name = program.path.display().to_string();
        let says_ready = program.says_ready;
        let environment = environment(context)?;
        let ends = Arc::new(ends);
        let given = Arc::clone(&ends);
        let spawned =
            tokio::task::spawn_blocking(move || spawn(&program, &environment, &given)).await?;
        let (child, ready) =
            spawned.map_err(|error| failed(format_args!("execute the logger {name}"), &error))?;
        let refuse = |reason: &str| Err(io::Error::other(format!("the logger {name} {reason}")));
        match tokio::time::timeout(limit, read_ready(ready)).await {
            Err(_) => refuse(&format!("was not ready after {} s", limit.as_secs_f32())),
            Ok(Err(error)) => {
                Err(failed(format_args!("wait until the logger {name} is ready"), &error))
            }
            Ok(Ok(false)) if says_ready => refuse("ended without saying that it is ready"),
            Ok(Ok(_)) => Ok(Self { name, child, ends }),
        }
    }

    /// What it reads.
    pub(super) fn ends(&self) -> Arc<[OwnedFd; 2]> {
        Arc::clone(&self.ends)
    }

    /// Waits for its end. When it ends before the container, the container's output is thrown
    /// away; when it is told to stop, it gets SIGTERM and some time.
    pub(super) async fn tend(mut self, mut stop: watch::Receiver<bool>) {
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = is_set(&mut stop) => return self.end().await,
        };
        let status = describe(&status);
        if let Err(error) = discard(&self.ends, &format!("{} {status}", self.name)).await {
            log::warn!("read in the place of the logger {}: {}", self.name, super::words(&error));
        }
    }

    async fn end(mut self) {
        // It was not waited for, so that the pid is its own.
        if kill(self.child.pid, Signal::SIGTERM).is_ok()
            && tokio::time::timeout(END_LIMIT, self.child.wait()).await.is_err()
        {
            log::warn!(
                "the logger {} has not ended {} s after SIGTERM: it is killed",
                self.name,
                END_LIMIT.as_secs()
            );
        }
    }
}

/// Returns when a logger has read everything that the container has written, and had time to end.
pub(super) async fn is_through(ends: Arc<[OwnedFd; 2]>) {
    const FIRST_LOOK: Duration = Duration::from_millis(1);
    const LONGEST_PAUSE: Duration = Duration::from_millis(50);
    let is_at_end = |end: &OwnedFd| {
        fifo::now(end.as_fd(), PollFlags::POLLIN) & (PollFlags::POLLIN | PollFlags::POLLHUP)
            == PollFlags::POLLHUP
    };
    let mut pause = FIRST_LOOK;
    while !ends.iter().all(is_at_end) {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    tokio::time::sleep(LEAVE_LIMIT).await;
}

fn environment(context: &Context) -> io::Result<[CString; 2]> {
    let variable = |name: &str, value: &str| CString::new(format!("{name}={value}"));
    let id = if context.exec_id.is_empty() { &context.id } else { &context.exec_id };
    Ok([variable("CONTAINER_ID", id)?, variable("CONTAINER_NAMESPACE", &context.namespace)?])
}

/// Executes it with the pipes as descriptors 3 and 4, and 5 to say that it is ready: by a byte,
/// or by closing it.
fn spawn(
    program: &Program,
    environment: &[CString],
    ends: &[OwnedFd; 2],
) -> io::Result<(Child, OwnedFd)> {
    let (ready, says_ready) = pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(&ready)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let null = OwnedFd::from(null);
    let given = [&null, &null, &null, &ends[0], &ends[1], &says_ready];
    // Copies that lie above the places, so that none is overwritten before it is in its own.
    let mut copies = Vec::new();
    for descriptor in given {
        copies.push(above_places(descriptor)?);
    }
    let mut actions = PosixSpawnFileActions::init()?;
    for (place, copy) in (0..).zip(&copies) {
        actions.add_dup2(copy.as_raw_fd(), place)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let path = CString::new(program.path.as_os_str().as_bytes())?;
    let arguments: Vec<&CStr> =
        std::iter::once(path.as_c_str()).chain(program.arguments.iter().map(|a| &**a)).collect();
    let pid = posix_spawn(path.as_c_str(), &actions, &attributes, &arguments, environment)?;
    Ok((Child::new(pid)?, ready))
}

/// A duplicate that is not passed on, above the six places of a logger.
fn above_places(descriptor: &OwnedFd) -> io::Result<OwnedFd> {
    const PLACES: i32 = 6;
    let mut below = Vec::new();
    loop {
        let copy = descriptor.try_clone()?;
        if copy.as_raw_fd() >= PLACES {
            return Ok(copy);
        }
        below.push(copy);
    }
}

/// Whether it said that it is ready by a byte; false when it closed the pipe without one.
async fn read_ready(ready: OwnedFd) -> io::Result<bool> {
    let ready = copy::readable(File::from(ready))?;
    loop {
        let mut guard = ready.readable().await?;
        let mut byte = [0];
        if let Ok(read) = guard.try_io(|ready| ready.get_ref().read(&mut byte)) {
            return Ok(read? > 0);
        }
    }
}

impl Child {
    fn new(pid: Pid) -> io::Result<Self> {
        let opened = libcontainer::process::open(pid.as_raw().unsigned_abs());
        let registered = opened.map_err(io::Error::other).and_then(copy::readable);
        match registered {
            Ok(pidfd) => Ok(Self { pid, pidfd, is_reaped: false }),
            Err(error) => {
                kill(pid, Signal::SIGKILL)?;
                waitid(Id::Pid(pid), WaitPidFlag::WEXITED)?;
                Err(error)
            }
        }
    }

    async fn wait(&mut self) -> io::Result<WaitStatus> {
        let _ended = self.pidfd.readable().await?;
        let status = waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED)?;
        self.is_reaped = true;
        Ok(status)
    }
}

impl Drop for Child {
    /// Kills it when it was not waited for. What is killed ends without delay, unless the kernel
    /// itself hangs: then the runtime's thread must not wait with it.
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        let killed = kill(self.pid, Signal::SIGKILL);
        let pid = self.pid;
        let waited = self.pidfd.as_fd().try_clone_to_owned().map(|pidfd| {
            std::thread::spawn(move || waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED))
        });
        if killed.is_err() || waited.is_err() {
            log::warn!("kill the logger {pid}: it may go on");
        }
    }
}

fn describe(status: &io::Result<WaitStatus>) -> String {
    match status {
        Ok(WaitStatus::Exited(_, code)) => format!("ended with exit status {code}"),
        Ok(WaitStatus::Signaled(_, signal, _)) => format!("was ended by {}", signal.as_str()),
        Ok(other) => format!("is in state {other:?}"),
        Err(error) => format!("cannot be waited for ({})", super::words(error)),
    }
}

/// Reads in the place of a logger that is gone.
async fn discard(ends: &[OwnedFd; 2], what_happened: &str) -> io::Result<()> {
    let noticed = AtomicBool::new(false);
    let notice = || {
        if !noticed.swap(true, Ordering::Relaxed) {
            log::warn!("the logger {what_happened}: output of its container is lost");
        }
    };
    let [stdout, stderr] = ends;
    let (stdout, stderr) = (stdout.try_clone()?, stderr.try_clone()?);
    set_nonblocking(&stdout)?;
    set_nonblocking(&stderr)?;
    let (stdout, stderr) = (copy::readable(stdout)?, copy::readable(stderr)?);
    tokio::try_join!(copy::discard_all(&stdout, notice), copy::discard_all(&stderr, notice))?;
    Ok(())
}
