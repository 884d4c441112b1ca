//! Everything that the child finds open: one number for each slot of its program.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::hooks::open_output;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{DescriptorSource, NamespacePath, PlannedDescriptor};
use crate::protocol::Slot;
use crate::spec::NamespaceKind;
use crate::sys::{Errno, process};

/// The child's descriptors. They lie above the numbers that the process will have, so that
/// putting those in their places overwrites nothing.
pub(crate) struct Descriptors {
    lowest: i32,
    slots: Vec<i32>,
    owned: Vec<OwnedFd>,
}

impl Descriptors {
    /// Empty slots for a process that gets `preserved` descriptors beside 0 to 2.
    pub(crate) fn new(slot_count: usize, preserved: u32) -> Self {
        let lowest = i32::try_from(preserved).unwrap_or(i32::MAX / 2).saturating_add(3);
        Self { lowest, slots: vec![-1; slot_count], owned: Vec::new() }
    }

    /// The numbers by slot, -1 for empty ones.
    pub(crate) fn slots(&self) -> &[i32] {
        &self.slots
    }

    /// Fills a slot.
    pub(crate) fn put(&mut self, slot: Slot, fd: OwnedFd) -> Result<()> {
        let fd = if fd.as_raw_fd() < self.lowest {
            process::duplicate_above(fd.as_fd(), self.lowest).map_err(|e| failed("duplicate", e))?
        } else {
            fd
        };
        self.set(slot, fd.as_raw_fd());
        self.owned.push(fd);
        Ok(())
    }

    fn set(&mut self, slot: Slot, fd: i32) {
        if let Some(place) = self.slots.get_mut(usize::from(slot.0)) {
            *place = fd;
        }
    }

    /// Fills a slot with a descriptor of the caller, which lives longer than the clone. One that
    /// is in its final place already, or high enough, needs no duplicate; but no number fills two
    /// slots, because the child moves each.
    fn lend(&mut self, slot: Slot, fd: BorrowedFd<'_>, place: i32) -> Result<()> {
        let number = fd.as_raw_fd();
        if number == place || (number >= self.lowest && !self.slots.contains(&number)) {
            self.set(slot, number);
            return Ok(());
        }
        let copy = process::duplicate_above(fd, self.lowest).map_err(|e| failed("duplicate", e))?;
        self.put(slot, copy)
    }

    /// The standard descriptors; /dev/null until the console is there when none are given.
    pub(crate) fn put_stdio(&mut self, stdio: Option<[BorrowedFd<'_>; 3]>) -> Result<()> {
        let slots = [Slot::STDIN, Slot::STDOUT, Slot::STDERR];
        match stdio {
            Some(given) => {
                for ((place, slot), fd) in (0_i32..).zip(slots).zip(given) {
                    self.lend(slot, fd, place)?;
                }
            }
            None => {
                for slot in slots {
                    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
                    self.put(slot, open_path("/dev/null", flags)?)?;
                }
            }
        }
        Ok(())
    }

    /// Opens what the plan asks for.
    pub(crate) fn open_planned(
        &mut self,
        planned: &[PlannedDescriptor],
        lent: Lent<'_>,
    ) -> Result<()> {
        for PlannedDescriptor { slot, source, pointer } in planned {
            let fd = match source {
                DescriptorSource::Namespace(namespace) => open_namespace(namespace),
                DescriptorSource::Preserved(number) => {
                    process::duplicate_number(*number, self.lowest).map_err(|errno| {
                        let message = format!(
                            "file descriptor {number} shall be preserved, but is not open: {errno}"
                        );
                        Error::new(ErrorKind::InvalidOption, message)
                    })
                }
                DescriptorSource::Append(path) => open_output(path),
                DescriptorSource::Init => self.duplicate(lent.init),
                DescriptorSource::Handler => self.duplicate(lent.handler),
            };
            self.put(*slot, fd.map_err(|error| error.at(pointer))?)?;
        }
        Ok(())
    }

    fn duplicate(&self, lent: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
        let lent = lent.ok_or_else(|| {
            Error::new(ErrorKind::Process, "the plan asks for a descriptor that nobody has")
        })?;
        process::duplicate_above(lent, self.lowest).map_err(|errno| failed("duplicate", errno))
    }
}

/// Descriptors that a plan may ask for and that are open already.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lent<'a> {
    /// The container's process, for a further one.
    pub(crate) init: Option<BorrowedFd<'a>>,
    /// The handler's program.
    pub(crate) handler: Option<BorrowedFd<'a>>,
}

/// Opens a namespace, refusing a path to anything else and a namespace of another type.
pub(crate) fn open_namespace(namespace: &NamespacePath) -> Result<OwnedFd> {
    let path = &namespace.path;
    let fd = open_path(path, OFlag::O_RDONLY)?;
    let kind = process::namespace_kind(fd.as_fd())
        .map_err(|_| Error::new(ErrorKind::InvalidConfig, format!("{path} is no namespace")))?;
    if kind == namespace.kind {
        return Ok(fd);
    }
    let name = |flag: u64| {
        NamespaceKind::ALL
            .into_iter()
            .find(|kind| kind.flag() == flag)
            .map_or("other", |k| k.name())
    };
    let message =
        format!("{path} is a namespace of type {}, not {}", name(kind), name(namespace.kind));
    Err(Error::new(ErrorKind::InvalidConfig, message))
}

/// Opens a path of the runtime's mount namespace.
pub(crate) fn open_path(path: &str, flags: OFlag) -> Result<OwnedFd> {
    open(path, flags | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| {
        Error::new(ErrorKind::System, format!("open {path}: {}", Errno::from(errno)))
    })
}

fn failed(act: &str, errno: Errno) -> Error {
    Error::new(ErrorKind::System, format!("{act}: {errno}"))
}
