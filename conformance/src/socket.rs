//! The other end of the sockets that runtimes send descriptors to.

use crate::case::{Stop, ensure, failed};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::Value;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a runtime may take to connect.
const PATIENCE: Duration = Duration::from_secs(15);

/// A listening stream socket.
pub(crate) struct Receiver {
    listener: UnixListener,
    pub(crate) path: PathBuf,
}

/// What came over one connection.
pub(crate) struct Received {
    /// Everything that was written, up to its end.
    pub(crate) text: String,
    /// Numbers of the descriptors, in this process, in the order of their arrival.
    pub(crate) descriptors: Vec<RawFd>,
}

impl Receiver {
    /// # Errors
    /// The socket cannot be made.
    pub(crate) fn new(directory: &Path, name: &str) -> Result<Receiver, Stop> {
        let path = directory.join(name);
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        Ok(Receiver { listener, path })
    }

    /// The next connection, read to its end, or to the first message that carries descriptors
    /// when the sender keeps it open.
    ///
    /// # Errors
    /// Failed when nobody connects.
    pub(crate) fn receive(&self) -> Result<Received, Stop> {
        match self.accept(PATIENCE)? {
            Some(stream) => read(&stream),
            None => failed("the runtime did not connect to the socket"),
        }
    }

    /// Whether somebody has connected that was not received yet.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn has_more(&self) -> Result<bool, Stop> {
        Ok(self.accept(Duration::ZERO)?.is_some())
    }

    fn accept(&self, patience: Duration) -> Result<Option<UnixStream>, Stop> {
        let deadline = Instant::now() + patience;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Ok(Some(stream)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return failed(format!("accept: {error}")),
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn read(stream: &UnixStream) -> Result<Received, Stop> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut received = Received { text: String::new(), descriptors: Vec::new() };
    loop {
        let mut bytes = [0; 65536];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!([RawFd; 8]);
        let message =
            recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(descriptors) = control {
                received.descriptors.extend(descriptors);
            }
        }
        let length = message.bytes;
        if length == 0 {
            return Ok(received);
        }
        received.text.push_str(&String::from_utf8_lossy(&bytes[..length]));
        if is_complete(&received) {
            return Ok(received);
        }
    }
}

/// A document of JSON, or the short name that comes with a terminal.
fn is_complete(received: &Received) -> bool {
    !received.descriptors.is_empty()
        && (serde_json::from_str::<Value>(&received.text).is_ok()
            || !received.text.starts_with('{'))
}

impl Received {
    /// The only descriptor.
    ///
    /// # Errors
    /// Failed when there is none, or more.
    pub(crate) fn descriptor(&self) -> Result<RawFd, Stop> {
        ensure!(self.descriptors.len() == 1, "{} descriptors came", self.descriptors.len());
        Ok(self.descriptors[0])
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        for descriptor in self.descriptors.drain(..) {
            if let Err(error) = nix::unistd::close(descriptor) {
                eprintln!("close {descriptor}: {error}");
            }
        }
    }
}

/// What a shell prints that has the descriptor as its standard input and output: descriptors that
/// arrive have no owner here, and a child inherits them.
///
/// # Errors
/// Failed when the shell fails.
pub(crate) fn ask(descriptor: RawFd, script: &str) -> Result<String, Stop> {
    let output = Command::new("timeout")
        .args(["20", "sh", "-c", &format!("exec <&{descriptor}; {script}")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
