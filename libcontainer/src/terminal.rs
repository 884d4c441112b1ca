//! Terminals of containers, from the side of whoever receives them.
//!
//! ```no_run
//! # fn main() -> libcontainer::Result<()> {
//! # let mut options = libcontainer::CreateOptions::new("/run/example", "web", "/bundles/web");
//! let socket = libcontainer::terminal::ConsoleSocket::new()?;
//! options.console(socket.sender());
//! let container = libcontainer::Container::create(&options)?;
//! if let Some(terminal) = socket.receive()? {
//!     terminal.resize(libcontainer::terminal::Size { rows: 25, columns: 80 })?;
//! }
//! container.start()
//! # }
//! ```

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Errno, socket, terminal};

/// Size of a terminal, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

impl Size {
    /// The size of a terminal; `None` for what is none, or has none.
    pub fn of(terminal: BorrowedFd<'_>) -> Option<Self> {
        let (rows, columns) = terminal::size(terminal.as_raw_fd()).ok()?;
        (rows > 0 && columns > 0).then_some(Self { rows, columns })
    }
}

/// A console socket of the program's own: one end for the library, one to receive from.
#[derive(Debug)]
pub struct ConsoleSocket {
    receiver: OwnedFd,
    sender: OwnedFd,
}

impl ConsoleSocket {
    /// A connected pair.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn new() -> Result<Self> {
        let (receiver, sender) = socket::pair().map_err(|errno| failed("socketpair", errno))?;
        Ok(Self { receiver, sender })
    }

    /// The end for [`crate::CreateOptions::console`] and [`crate::ExecOptions::console`].
    pub fn sender(&self) -> BorrowedFd<'_> {
        self.sender.as_fd()
    }

    /// The terminal that a creation or execution which has returned sent; `None` where the
    /// process has none.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn receive(&self) -> Result<Option<Terminal>> {
        let mut word = [0; 64];
        let received = match socket::receive(self.receiver.as_fd(), &mut word) {
            Err(Errno(libc::EAGAIN)) => None,
            received => received.map_err(|errno| failed("receive the terminal", errno))?,
        };
        let descriptor = received.and_then(|(_, descriptors)| descriptors.into_iter().next());
        descriptor.map(Terminal::from_master).transpose()
    }
}

/// The master of a container's terminal. It keeps the other end open as well, so that it reports
/// no hang-up when the last program closes it: programs such as systemd close their terminal and
/// open it again later. So who reads it ends when the process has ended and nothing is left to
/// read, or calls [`Terminal::let_hang_up`] then and reads until EIO.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    peer: Mutex<Option<OwnedFd>>,
}

impl Terminal {
    /// The terminal of this master.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when it is none.
    pub fn from_master(master: OwnedFd) -> Result<Self> {
        let terminal = Self { master, peer: Mutex::new(None) };
        terminal.hold_open()?;
        Ok(terminal)
    }

    /// Opens the other end anew. That ends a hang-up, which vhangup(2) and the end of a session's
    /// leader cause although the other end is open.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn hold_open(&self) -> Result<()> {
        let peer = terminal::open_peer(self.master.as_raw_fd())
            .map_err(|errno| failed("open the other end of the terminal", errno))?;
        let mut held = self.peer.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(terminal::owned(peer));
        Ok(())
    }

    /// Closes the other end: reading answers EIO as soon as no process has it open and everything
    /// that was written to it is read.
    pub fn let_hang_up(&self) {
        let mut held = self.peer.lock().unwrap_or_else(PoisonError::into_inner);
        *held = None;
    }

    /// Gives it a size. The processes that it controls get SIGWINCH.
    ///
    /// # Errors
    /// [`ErrorKind::System`].
    pub fn resize(&self, size: Size) -> Result<()> {
        terminal::set_size(self.master.as_raw_fd(), size.rows, size.columns)
            .map_err(|errno| failed("resize the terminal", errno))
    }
}

impl AsFd for Terminal {
    /// The master.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

impl AsRawFd for Terminal {
    /// The master.
    fn as_raw_fd(&self) -> RawFd {
        self.master.as_raw_fd()
    }
}

fn failed(act: &str, errno: Errno) -> Error {
    Error::new(ErrorKind::System, format!("{act}: {errno}"))
}
