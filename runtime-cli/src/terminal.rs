//! A terminal in the foreground: what happens to it is done between the container's terminal and
//! the one that this command was started in.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::Result;
use libcontainer::terminal::{ConsoleSocket, Size, Terminal};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::isatty;

use crate::text;

/// A terminal that a process of a container is going to have, with this command at its other end.
pub(crate) struct Awaited {
    socket: ConsoleSocket,
    own: Option<OwnedFd>,
}

impl Awaited {
    /// To be called before the process is made.
    ///
    /// # Errors
    /// What the kernel answered to socketpair(2).
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { socket: ConsoleSocket::new()?, own: find_own() })
    }

    /// Where the library sends it.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.sender()
    }

    /// Size of the terminal that this command was started in.
    pub(crate) fn size(&self) -> Option<Size> {
        self.own.as_ref().and_then(|own| Size::of(own.as_fd()))
    }

    /// Connects the terminal that has come to this command's standard input and output.
    ///
    /// # Errors
    /// It has not come.
    pub(crate) fn attach(&self) -> Result<Relay> {
        let terminal = self.socket.receive()?;
        let terminal = terminal.ok_or_else(|| anyhow::anyhow!("the terminal has not come"))?;
        Relay::new(terminal, self.own.as_ref().map(OwnedFd::try_clone).transpose()?)
    }
}

/// The terminal that this command was started in: its streams may lead elsewhere.
fn find_own() -> Option<OwnedFd> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [stderr.as_fd(), stdout.as_fd(), stdin.as_fd()] {
        if isatty(stream).unwrap_or(false) {
            return stream.try_clone_to_owned().ok();
        }
    }
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
    File::options().read(true).custom_flags(flags).open("/dev/tty").ok().map(OwnedFd::from)
}

/// Standard input as it was before this command made it raw. Given back when dropped.
struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Sends every key to the container, those that would make signals as well. Only where the
    /// keys come from a terminal: else nobody could interrupt. Output is translated as before.
    fn enter(terminal: BorrowedFd<'_>) -> Option<Self> {
        let before = tcgetattr(terminal).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        raw.output_flags = before.output_flags;
        tcsetattr(terminal, SetArg::TCSANOW, &raw).ok()?;
        Some(Self { terminal: terminal.try_clone_to_owned().ok()?, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Err(errno) = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before) {
            log::debug!("the terminal's modes are not restored: {errno}");
        }
    }
}

/// Bytes on their way: read only when all of those before are written, so that a slow reader
/// slows its writer down.
#[derive(Default)]
struct Bytes {
    buffer: Vec<u8>,
    written: usize,
}

/// What a descriptor that was read or written without waiting said.
enum Said {
    More,
    NotNow,
    End,
}

impl Bytes {
    fn is_empty(&self) -> bool {
        self.written == self.buffer.len()
    }

    fn read(&mut self, mut from: &File) -> Said {
        const MOST: usize = 16 * 1024;
        self.buffer.resize(MOST, 0);
        let read = from.read(&mut self.buffer);
        self.written = 0;
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Said::End,
            Ok(_) => Said::More,
            Err(error) => said(&error),
        }
    }

    /// Writes at most `most` bytes at a time.
    fn write(&mut self, mut to: &File, most: usize) -> Said {
        let rest = self.buffer.get(self.written..).unwrap_or_default();
        match to.write(rest.get(..most).unwrap_or(rest)) {
            Ok(0) => Said::NotNow,
            Ok(length) => {
                self.written += length;
                Said::More
            }
            Err(error) => said(&error),
        }
    }
}

fn said(error: &io::Error) -> Said {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Said::NotNow,
        _ => Said::End,
    }
}

/// Copies between a container's terminal and standard input and output.
pub(crate) struct Relay {
    terminal: Option<(Terminal, File)>,
    own: Option<OwnedFd>,
    input: Option<File>,
    output: File,
    to_terminal: Bytes,
    to_output: Bytes,
    _raw: Option<RawMode>,
}

/// A pipe takes as much at once without waiting when poll(2) says that it takes something.
const SMALLEST_ROOM: usize = 4096;

/// More than the kernel keeps of a terminal's output: what is read beyond this after the end of a
/// process was written by others that still have the terminal.
const MOST_LEFT: usize = 1 << 20;

impl Relay {
    fn new(terminal: Terminal, own: Option<OwnedFd>) -> Result<Self> {
        let master = File::from(terminal.as_fd().try_clone_to_owned()?);
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|errno| text::tried("set the terminal non-blocking", &errno.into()))?;
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let relay = Self {
            terminal: Some((terminal, master)),
            own,
            input: Some(without_waiting(stdin.as_fd(), true)?),
            output: without_waiting(stdout.as_fd(), false)?,
            to_terminal: Bytes::default(),
            to_output: Bytes::default(),
            _raw: RawMode::enter(stdin.as_fd()),
        };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of the own one.
    pub(crate) fn resize(&self) {
        let size = self.own.as_ref().and_then(|own| Size::of(own.as_fd()));
        if let (Some((terminal, _)), Some(size)) = (&self.terminal, size)
            && let Err(error) = terminal.resize(size)
        {
            log::debug!("{error}");
        }
    }

    /// What it waits for: the container's terminal, input, output.
    pub(crate) fn wanted(&self) -> [Option<(BorrowedFd<'_>, PollFlags)>; 3] {
        let Some((_, master)) = &self.terminal else { return [None, None, None] };
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, self.to_output.is_empty());
        wanted.set(PollFlags::POLLOUT, !self.to_terminal.is_empty());
        let input = self.input.as_ref().filter(|_| self.to_terminal.is_empty());
        [
            (!wanted.is_empty()).then_some((master.as_fd(), wanted)),
            input.map(|input| (input.as_fd(), PollFlags::POLLIN)),
            (!self.to_output.is_empty()).then_some((self.output.as_fd(), PollFlags::POLLOUT)),
        ]
    }

    /// Copies what can be copied without waiting; `ready` is as [`Relay::wanted`].
    pub(crate) fn copy(&mut self, ready: [bool; 3]) {
        let [terminal, input, output] = ready;
        if input
            && let Some(input) = &self.input
            && matches!(self.to_terminal.read(input), Said::End)
        {
            self.input = None;
        }
        if let Some((_, master)) = &self.terminal {
            if (terminal || input)
                && !self.to_terminal.is_empty()
                && matches!(self.to_terminal.write(master, usize::MAX), Said::End)
            {
                self.to_terminal = Bytes::default();
                self.input = None;
            }
            if terminal && self.to_output.is_empty() {
                self.to_output.read(master);
            }
        }
        if output {
            self.write_output();
        }
    }

    /// Nobody reads any more: the processes of the terminal are told by its hang-up.
    fn write_output(&mut self) {
        if matches!(self.to_output.write(&self.output, SMALLEST_ROOM), Said::End) {
            self.terminal = None;
            self.input = None;
            self.to_output = Bytes::default();
        }
    }

    /// Reads what is left in the terminal after the end of its process. Returns whether there is
    /// something to be written; to be called again when it is.
    pub(crate) fn drain(&mut self, drained: &mut usize) -> bool {
        self.input = None;
        self.to_terminal = Bytes::default();
        if self.to_output.is_empty()
            && *drained < MOST_LEFT
            && let Some((_, master)) = &self.terminal
        {
            self.to_output.read(master);
            *drained += self.to_output.buffer.len();
        }
        !self.to_output.is_empty()
    }
}

/// A stream that reading or writing does not wait for. Its flags are also those of whoever shares
/// it (the shell), so that a terminal is opened anew; of others poll(2) tells enough.
fn without_waiting(stream: BorrowedFd<'_>, read: bool) -> Result<File> {
    if isatty(stream).unwrap_or(false) {
        let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let opened = File::options().read(read).write(!read).custom_flags(flags).open(path);
        if let Ok(opened) = opened {
            return Ok(opened);
        }
    }
    Ok(File::from(stream.try_clone_to_owned()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_again_only_when_all_are_written() {
        let (reader, writer) =
            nix::unistd::pipe().map(|(r, w)| (File::from(r), File::from(w))).unwrap();
        (&writer).write_all(b"abc").unwrap();
        let mut bytes = Bytes::default();
        assert!(bytes.is_empty());
        assert!(matches!(bytes.read(&reader), Said::More));
        let (end, sink) = nix::unistd::pipe().map(|(r, w)| (File::from(r), File::from(w))).unwrap();
        assert!(matches!(bytes.write(&sink, 2), Said::More));
        assert!(!bytes.is_empty());
        assert!(matches!(bytes.write(&sink, 2), Said::More));
        assert!(bytes.is_empty());
        drop(sink);
        assert_eq!(io::read_to_string(end).unwrap(), "abc");
        drop(writer);
        assert!(matches!(bytes.read(&reader), Said::End));
    }
}
