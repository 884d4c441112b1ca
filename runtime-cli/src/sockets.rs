//! Sockets of the caller that get descriptors: `--console-socket` and `--pidfd-socket`.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};

use crate::args::Flags;
use crate::text;

/// What the caller wants to be sent.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    console: Option<OwnedFd>,
    pidfd: Option<OwnedFd>,
}

impl Sockets {
    /// Connects to the sockets that the flags name, for a process with or without a terminal that
    /// is left running or not.
    ///
    /// # Errors
    /// The flags do not go together, in the words that runc has for it, or nobody listens.
    pub(crate) fn connect(flags: &Flags<'_>, terminal: bool, detached: bool) -> Result<Self> {
        let given = |name| flags.text(name).filter(|path| !path.is_empty());
        let console = given("console-socket");
        if detached && terminal && console.is_none() {
            bail!("cannot allocate tty if runc will detach without setting console socket");
        }
        if console.is_some() && !(detached && terminal) {
            bail!("cannot use console socket if runc will not detach or allocate tty");
        }
        Ok(Self {
            console: console.map(connect).transpose()?,
            pidfd: given("pidfd-socket").map(connect).transpose()?,
        })
    }

    /// Gets the master of the terminal.
    pub(crate) fn console(&self) -> Option<BorrowedFd<'_>> {
        self.console.as_ref().map(AsFd::as_fd)
    }

    /// Gets a pidfd of the process.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }
}

/// Connects to a listening stream socket. Does not wait where too many others wait already.
fn connect(path: &OsStr) -> Result<OwnedFd> {
    let failed = |error: io::Error| {
        text::tried(format_args!("dial unix {}: connect", path.display()), &error)
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(|errno| failed(errno.into()))?;
    let connected = match path.as_bytes() {
        [b'@', name @ ..] => UnixAddr::new_abstract(name)
            .and_then(|address| socket::connect(socket.as_raw_fd(), &address)),
        _ => connect_to(&socket, path),
    };
    connected.map_err(|errno| failed(errno.into()))?;
    Ok(socket)
}

fn connect_to(socket: &OwnedFd, path: &OsStr) -> nix::Result<()> {
    match UnixAddr::new(path) {
        Err(Errno::ENAMETOOLONG) => {}
        address => return socket::connect(socket.as_raw_fd(), &address?),
    }
    // An address holds 107 bytes. The kernel takes the socket's descriptor as well.
    let opened = File::options().read(true).custom_flags(libc::O_PATH).open(path);
    let opened = opened
        .map_err(|error| error.raw_os_error().map_or(Errno::ENAMETOOLONG, Errno::from_raw))?;
    let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path.as_str())?)
}
