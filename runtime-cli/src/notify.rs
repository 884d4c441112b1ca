//! NOTIFY_SOCKET: a container's word that it is ready goes to the host's service manager.
//!
//! Only that word: what else a container may say in sd_notify(3) (a main pid, descriptors to
//! store) is not for the host.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::Result;
use libcontainer::Container;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::pipe2;

use crate::call::Call;
use crate::text;

/// The socket of the host's service manager, where the caller has one.
pub(crate) fn host_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Between a container and the host's service manager.
pub(crate) struct Notify {
    container: UnixDatagram,
    host: UnixDatagram,
}

impl Notify {
    /// Listens to a container that is not started yet. A service manager that does not answer is
    /// only a warning: the variable may be inherited from long ago.
    ///
    /// # Errors
    /// The container's socket cannot be bound.
    pub(crate) fn listen(call: &Call<'_>, container: &Container) -> Result<Option<Self>> {
        let Some(path) = host_socket() else { return Ok(None) };
        let host = match connect(&path) {
            Ok(host) => host,
            Err(error) => {
                let what = format!("NOTIFY_SOCKET {} is not told anything", path.display());
                call.log.warn(text::tried(what, &error).to_string());
                return Ok(None);
            }
        };
        let Some(container) = container.bind_notify_socket()? else { return Ok(None) };
        container.set_nonblocking(true)?;
        Ok(Some(Self { container, host }))
    }

    /// The socket that says when [`Notify::pass_on`] has something to do.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }

    /// Reads what the container said, and passes it on when it is ready; `pid` is the main process
    /// of the service then. Returns whether it was.
    pub(crate) fn pass_on(&self, pid: u32) -> bool {
        let mut packet = [0; 4096];
        while let Ok(length) = self.container.recv(&mut packet) {
            let said = packet.get(..length).unwrap_or_default();
            if !said.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                continue;
            }
            for message in ["READY=1\n".to_owned(), format!("MAINPID={pid}\n")] {
                if let Err(error) = self.host.send(message.as_bytes()) {
                    log::debug!("NOTIFY_SOCKET: {error}");
                }
            }
            return true;
        }
        false
    }

    /// Waits until the container is ready or its process has ended, and then until the service
    /// manager has read that, because it asks who the sender is.
    ///
    /// # Errors
    /// What the kernel answered to poll(2).
    pub(crate) fn await_ready(self, container: &Container) -> Result<()> {
        let (Ok(pidfd), Some(pid)) = (container.init_pidfd(), container.pid()) else {
            return Ok(());
        };
        loop {
            let mut wanted =
                [self.as_fd(), pidfd.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut wanted, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(text::tried("poll", &errno.into())),
            }
            let ended = wanted[1].any().unwrap_or(true);
            if self.pass_on(pid) {
                return self.await_reader();
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// sd_notify_barrier(3): the service manager closes the descriptor that it gets.
    fn await_reader(self) -> Result<()> {
        const PATIENCE: u16 = 30_000;
        let failed = |errno: nix::errno::Errno| text::tried("NOTIFY_SOCKET", &errno.into());
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let rights = [writer.as_raw_fd()];
        let sent = sendmsg::<()>(
            self.host.as_raw_fd(),
            &[IoSlice::new(b"BARRIER=1")],
            &[ControlMessage::ScmRights(&rights)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
        drop(writer);
        if sent.is_ok() {
            let mut wanted = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
            poll(&mut wanted, PATIENCE).map_err(failed)?;
        }
        Ok(())
    }
}

/// Connects to a datagram socket; `@` stands for an abstract name.
fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match path.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => socket.connect(path)?,
    }
    Ok(socket)
}
