//! One connection to a systemd, for one operation. Nothing waits beyond the operation's deadline,
//! and nothing of it stays in the calling process: no thread, no descriptor.

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::Serialize;
use zbus::wire::DynamicType;

use super::address::{Address, Environment};
use super::message::{Kind, Message, Target, encode};
use crate::cgroup::{Error, Result};
use crate::sys::Errno;

/// The message bus itself.
const BUS: Target<'_> = Target {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

const WITHOUT_SYSTEMD: &str = "where systemd does not run, let the engine make cgroups by files \
                               (cgroupfs)";

/// A connection.
pub(super) struct Bus {
    stream: UnixStream,
    /// What errors call it.
    name: String,
    direct: bool,
    deadline: Instant,
    patience: Duration,
    serial: u32,
    received: Vec<u8>,
    /// Signals that came while a reply was waited for.
    signals: Vec<Message>,
}

/// What a call is answered with.
pub(super) type Answer = std::result::Result<Message, CallError>;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// An answer, but one that refuses: the error's name and its words.
    Refused {
        name: String,
        words: String,
    },
    Failed(Error),
}

impl CallError {
    /// Whether it is the error of this name, without the interface before it.
    pub(super) fn is(&self, wanted: &str) -> bool {
        matches!(self, CallError::Refused { name, .. }
            if name.rsplit('.').next() == Some(wanted))
    }

    /// As an error for the user, of what was asked for.
    pub(super) fn into_error(self, bus: &Bus, asked: &str) -> Error {
        match self {
            CallError::Refused { name, words } => {
                Error::new(format!("{asked}: systemd answered on {}: {words} ({name})", bus.name))
            }
            CallError::Failed(error) => error.context(asked),
        }
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        CallError::Failed(error)
    }
}

impl Bus {
    /// Connects to the system's systemd, or to the user's.
    ///
    /// # Errors
    /// No socket is there, or whoever has it does not answer within `patience`.
    pub(super) fn connect(user: bool, patience: Duration) -> Result<Bus> {
        Self::connect_to(&Environment::read(user).addresses(user), user, patience)
    }

    fn connect_to(addresses: &[Address], user: bool, patience: Duration) -> Result<Bus> {
        let whose = if user { "user" } else { "system" };
        let deadline = Instant::now() + patience;
        let mut tried = Vec::new();
        for address in addresses {
            let kind = if address.is_direct() { "systemd's own socket" } else { "bus" };
            let name = format!("the {whose} {kind} ({address})");
            match open(address, deadline) {
                Ok(stream) => {
                    let mut bus = Bus {
                        stream,
                        name,
                        direct: address.is_direct(),
                        deadline,
                        patience,
                        serial: 0,
                        received: Vec::new(),
                        signals: Vec::new(),
                    };
                    bus.introduce()?;
                    return Ok(bus);
                }
                // Nobody is there: the next one may be.
                Err(Errno(errno @ (libc::ENOENT | libc::ECONNREFUSED | libc::ENOTDIR))) => {
                    tried.push(format!("connect {address}: {}", Errno(errno)));
                }
                Err(errno) => {
                    return Err(Error::new(format!(
                        "cannot reach systemd: connect to {name}: {errno}"
                    ))
                    .hinting(WITHOUT_SYSTEMD));
                }
            }
        }
        if tried.is_empty() {
            tried.push(format!("the address of the {whose} bus names no unix socket"));
        }
        Err(Error::new(format!("cannot reach systemd: {}", tried.join("; ")))
            .hinting(WITHOUT_SYSTEMD))
    }

    /// Authenticates, by the credentials that the kernel tells: in a user namespace our own number
    /// is none that the other side knows. All at once, to spare round trips.
    fn introduce(&mut self) -> Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", "authenticate")?;
        let mut answers = 0;
        while answers < 2 {
            let line = self.read_line("authenticate")?;
            match (answers, line.split(' ').next()) {
                (0, Some("DATA")) | (1, Some("OK")) => answers += 1,
                _ => {
                    return Err(Error::new(format!(
                        "{} does not let us in: it answered {line:?}",
                        self.name
                    )));
                }
            }
        }
        if !self.direct {
            self.call(BUS, "Hello", &()).map_err(|error| error.into_error(self, "say hello"))?;
        }
        Ok(())
    }

    /// Asks the bus for signals; a direct peer sends them unasked.
    ///
    /// # Errors
    /// The bus refuses, or does not answer.
    pub(super) fn subscribe(&mut self, rule: &str) -> Result<()> {
        if self.direct {
            return Ok(());
        }
        self.call(BUS, "AddMatch", &rule)
            .map(drop)
            .map_err(|error| error.into_error(self, "ask for signals"))
    }

    /// Calls a method and waits for the answer.
    ///
    /// # Errors
    /// The answer is a refusal, or there is none.
    pub(super) fn call<B: Serialize + DynamicType>(
        &mut self,
        target: Target<'_>,
        member: &str,
        body: &B,
    ) -> Answer {
        self.serial += 1;
        let serial = self.serial;
        let bytes = encode(serial, target, member, body, self.direct)
            .map_err(|error| Error::new(format!("write a message of D-Bus: {error}")))?;
        self.send(&bytes, member)?;
        loop {
            let message = self.receive(member)?;
            match message.kind {
                Kind::Reply if message.reply_serial == Some(serial) => return Ok(message),
                Kind::Error if message.reply_serial == Some(serial) => {
                    let words = message.body::<String>().unwrap_or_default();
                    return Err(CallError::Refused { name: message.error, words });
                }
                Kind::Signal => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// The next signal; those first that came meanwhile.
    ///
    /// # Errors
    /// None came in time.
    pub(super) fn next_signal(&mut self, awaited: &str) -> Result<Message> {
        if !self.signals.is_empty() {
            return Ok(self.signals.remove(0));
        }
        loop {
            let message = self.receive(awaited)?;
            if message.kind == Kind::Signal {
                return Ok(message);
            }
        }
    }

    fn receive(&mut self, awaited: &str) -> Result<Message> {
        loop {
            let taken = Message::take(&mut self.received)
                .map_err(|words| Error::new(format!("{} sent nonsense: {words}", self.name)))?;
            match taken {
                Some(message) => return Ok(message),
                None => self.read_more(awaited)?,
            }
        }
    }

    fn read_line(&mut self, awaited: &str) -> Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let rest = self.received.split_off(end + 2);
                let line = std::mem::replace(&mut self.received, rest);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.received.len() > 4096 {
                return Err(Error::new(format!("{} is no message bus", self.name)));
            }
            self.read_more(awaited)?;
        }
    }

    fn read_more(&mut self, awaited: &str) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match std::io::Read::read(&mut &self.stream, &mut buffer) {
                Ok(0) => {
                    return Err(Error::new(format!("{} closed the connection", self.name)));
                }
                Ok(length) => {
                    self.received.extend(buffer.iter().take(length));
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLIN, awaited)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken("read from", &error)),
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8], asked: &str) -> Result<()> {
        while !bytes.is_empty() {
            let flags = nix::sys::socket::MsgFlags::MSG_NOSIGNAL;
            match nix::sys::socket::send(self.stream.as_raw_fd(), bytes, flags) {
                Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
                Err(nix::errno::Errno::EAGAIN) => self.wait(PollFlags::POLLOUT, asked)?,
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(self.broken("write to", &errno.into())),
            }
        }
        Ok(())
    }

    fn wait(&self, events: PollFlags, awaited: &str) -> Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(format!(
                "systemd did not answer on {} within {:?} (asked: {awaited})",
                self.name, self.patience
            ))
            .hinting("systemd may be overloaded or stopped: see systemctl list-jobs"));
        }
        // Rounded up, so that the last wait does not end just before the deadline, again and again.
        let left = left + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.stream.as_fd(), events)], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(self.broken("poll", &errno.into())),
        }
    }

    fn broken(&self, act: &str, error: &std::io::Error) -> Error {
        Error::new(format!("{act} {}: {}", self.name, crate::error::kernel_words(error)))
    }
}

/// Connects without waiting: where the other side takes no connections, the queue of a socket can
/// be full.
fn open(address: &Address, deadline: Instant) -> std::result::Result<UnixStream, Errno> {
    let name = match address {
        Address::Bus(path) | Address::Direct(path) => UnixAddr::new(path)?,
        Address::AbstractBus(name) => UnixAddr::new_abstract(name)?,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    loop {
        match connect(stream.as_raw_fd(), &name) {
            Ok(()) => return Ok(UnixStream::from(stream)),
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::EAGAIN) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}
