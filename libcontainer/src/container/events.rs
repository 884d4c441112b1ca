//! What happens in a container that lives: statistics, and lack of memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::{Container, Status};
use crate::cgroup::{self, OomWatch, Stats};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::pidfd;

/// Something that happened in a container.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The interval has passed: what the kernel has counted so far.
    Stats(Box<Stats>),
    /// Memory ran out.
    OutOfMemory,
}

/// The events of a container until its process ends. Each step waits for the next one.
///
/// ```no_run
/// use std::time::Duration;
///
/// use libcontainer::{Container, Event};
///
/// let container = Container::open("/run/example".as_ref(), "web")?;
/// for event in container.events(Some(Duration::from_secs(5)))? {
///     match event? {
///         Event::Stats(stats) => println!("{} bytes", stats.memory.usage.usage),
///         Event::OutOfMemory => println!("out of memory"),
///         _ => {}
///     }
/// }
/// # Ok::<(), libcontainer::Error>(())
/// ```
#[derive(Debug)]
pub struct Events<'a> {
    container: &'a Container,
    process: OwnedFd,
    watch: Option<OomWatch>,
    interval: Option<Duration>,
    due: Option<Instant>,
    warnings: Vec<String>,
    has_ended: bool,
}

/// Tells that memory ran out in a container, to programs with an event loop of their own.
///
/// The descriptor becomes readable when [`MemoryWatch::has_occurred`] should be asked, which never
/// waits. It may be asked at any time: a lack that ended the container's process is known before
/// the process's end is.
#[derive(Debug)]
pub struct MemoryWatch(OomWatch);

impl MemoryWatch {
    /// Whether memory ran out since the last call. A group that is gone tells nothing more.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn has_occurred(&mut self) -> Result<bool> {
        Ok(self.0.has_occurred()?)
    }
}

impl AsFd for MemoryWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Container {
    /// Watches for lack of memory from now on; `None` where no controller counts memory.
    ///
    /// # Errors
    /// [`ErrorKind::System`] for what the kernel answered.
    pub fn watch_memory(&self) -> Result<Option<MemoryWatch>> {
        let Some(location) = &self.record.cgroup else { return Ok(None) };
        Ok(OomWatch::new(location)?.map(MemoryWatch))
    }

    /// What the kernel has counted so far in the container's cgroups.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] for a stopped container, and [`ErrorKind::System`].
    pub fn stats(&self) -> Result<Stats> {
        self.live_process()?;
        self.count()
    }

    fn count(&self) -> Result<Stats> {
        let mut stats = cgroup::stats(self.location()?)?;
        if let Some(group) = &self.record.rdt {
            stats.intel_rdt = group.stats()?;
        }
        Ok(stats)
    }

    /// The events from now on: lack of memory, and statistics each time `interval` has passed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] for an interval of no length, else as [`Container::stats`].
    pub fn events(&self, interval: Option<Duration>) -> Result<Events<'_>> {
        if interval.is_some_and(|interval| interval.is_zero()) {
            let message = "duration interval must be greater than 0";
            return Err(Error::new(ErrorKind::InvalidOption, message));
        }
        let process = self.live_process()?;
        let watch = OomWatch::new(self.location()?)?;
        let mut warnings = Vec::new();
        if watch.is_none() {
            warnings.push("no controller counts memory: its lack will not be told".to_owned());
        }
        let due = interval.map(|interval| Instant::now() + interval);
        Ok(Events { container: self, process, watch, interval, due, warnings, has_ended: false })
    }

    fn live_process(&self) -> Result<OwnedFd> {
        match self.probe()? {
            (Status::Created | Status::Running | Status::Paused, Some(init)) => Ok(init.pidfd),
            _ => {
                let message = format!("container with id {} is not running", self.id());
                Err(Error::new(ErrorKind::NotRunning, message))
            }
        }
    }
}

impl Events<'_> {
    /// What was wrong and not refused.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The next event; `None` at the end.
    fn wait(&mut self) -> Result<Option<Event>> {
        loop {
            let timeout = self.due.map(|due| due.saturating_duration_since(Instant::now()));
            let watch = self.watch.as_ref().map(AsFd::as_fd);
            let [ended, _] = pidfd::poll(
                [(Some(self.process.as_fd()), libc::POLLIN), (watch, libc::POLLIN)],
                timeout,
            )
            .map_err(|errno| {
                Error::new(ErrorKind::System, format!("poll a container's events: {errno}"))
            })?;
            // Before the end: what killed the process is told first.
            if let Some(watch) = &mut self.watch
                && watch.has_occurred()?
            {
                return Ok(Some(Event::OutOfMemory));
            }
            if ended != 0 {
                return Ok(None);
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                self.due = self.interval.map(|interval| Instant::now() + interval);
                return self.measure();
            }
        }
    }

    fn measure(&self) -> Result<Option<Event>> {
        match self.container.count() {
            Ok(stats) => Ok(Some(Event::Stats(Box::new(stats)))),
            // The groups go when the container is deleted.
            Err(_) if pidfd::has_ended(self.process.as_fd()) == Ok(true) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Event>;

    /// Waits for the next event. There are none after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let event = self.wait().transpose();
        self.has_ended = !matches!(event, Some(Ok(_)));
        event
    }
}
