//! What the kernel counted and tells about lack of memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{Error, Group, Location, Result, file};

/// How many processes the kernel killed for lack of memory. None where it does not say.
pub(crate) fn oom_kills(location: &Location) -> Option<u64> {
    let path = match (location.v1("memory"), location.v2()) {
        (Some(group), _) => group.file("memory.oom_control"),
        (None, Some(group)) => group.file("memory.events"),
        (None, None) => return None,
    };
    parse_oom_kills(&file::read(&path).ok()?)
}

fn parse_oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

/// Watches a container's groups for lack of memory.
#[derive(Debug)]
pub(crate) enum OomWatch {
    /// v1 signals an eventfd.
    V1 {
        /// It counts signals.
        eventfd: EventFd,
        /// A file of the group, to see whether that is still there.
        witness: PathBuf,
    },
    /// v2 changes a file of counters.
    V2 {
        /// It tells of changes.
        inotify: Inotify,
        /// The file.
        path: PathBuf,
        /// Kills seen so far.
        seen: u64,
    },
}

impl OomWatch {
    /// Begins to watch. `None` where no controller counts memory.
    ///
    /// # Errors
    /// What the kernel answered.
    pub(crate) fn new(location: &Location) -> Result<Option<Self>> {
        match (location.v1("memory"), location.v2()) {
            (Some(group), _) => Self::v1(group).map(Some),
            (None, Some(group)) => Self::v2(group),
            (None, None) => Ok(None),
        }
    }

    fn v1(group: &Group) -> Result<Self> {
        let eventfd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| failed("eventfd", errno))?;
        let control = file::open_read(&group.file("memory.oom_control"))?;
        let witness = group.file("cgroup.event_control");
        let request = format!("{} {}", eventfd.as_raw_fd(), control.as_raw_fd());
        file::write(&witness, &request)?;
        Ok(Self::V1 { eventfd, witness })
    }

    fn v2(group: &Group) -> Result<Option<Self>> {
        let path = group.file("memory.events");
        let events = match file::open_read(&path) {
            Err(error) if error.is_gone() => return Ok(None),
            result => result?,
        };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|errno| failed("inotify_init1", errno))?;
        // By descriptor: the very file that was opened.
        let opened = format!("/proc/thread-self/fd/{}", events.as_raw_fd());
        inotify
            .add_watch(opened.as_str(), AddWatchFlags::IN_MODIFY)
            .map_err(|errno| failed(&format!("inotify_add_watch {}", path.display()), errno))?;
        let seen = parse_oom_kills(&file::read(&path)?).unwrap_or(0);
        Ok(Some(Self::V2 { inotify, path, seen }))
    }

    /// Whether memory ran out since the last call.
    ///
    /// # Errors
    /// What the kernel answered.
    pub(crate) fn has_occurred(&mut self) -> Result<bool> {
        match self {
            Self::V1 { eventfd, witness } => match eventfd.read() {
                // The removal of the group is a signal as well.
                Ok(signals) => Ok(signals > u64::from(!witness.exists())),
                Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
                Err(errno) => Err(failed("read an eventfd", errno)),
            },
            Self::V2 { inotify, path, seen } => {
                match inotify.read_events() {
                    Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(errno) => return Err(failed("read inotify events", errno)),
                }
                let kills = match file::read(path) {
                    Ok(text) => parse_oom_kills(&text).unwrap_or(0),
                    Err(error) if error.is_gone() => *seen,
                    Err(error) => return Err(error),
                };
                let has_occurred = kills > *seen;
                *seen = kills;
                Ok(has_occurred)
            }
        }
    }
}

impl AsFd for OomWatch {
    /// Readable when [`OomWatch::has_occurred`] should be asked.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::V1 { eventfd, .. } => eventfd.as_fd(),
            Self::V2 { inotify, .. } => inotify.as_fd(),
        }
    }
}

fn failed(act: &str, errno: Errno) -> Error {
    Error::new(format!("{act}: {}", crate::sys::Errno::from(errno)))
}
