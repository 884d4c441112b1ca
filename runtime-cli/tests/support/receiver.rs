//! A listening socket that gets descriptors, as callers of a runtime have it.

use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// A listening socket in a directory.
pub(crate) struct Receiver {
    listener: UnixListener,
    path: PathBuf,
}

impl Receiver {
    /// Listens at `path`.
    pub(crate) fn at(path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).expect("bind");
        Self { listener, path }
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What a runtime that has ended sent: the word of the message and the descriptor.
    #[track_caller]
    pub(crate) fn received(&self) -> (String, File) {
        self.listener.set_nonblocking(true).expect("set_nonblocking");
        let (stream, _) = self.listener.accept().expect("a runtime has connected");
        let mut word = [0; 4096];
        let mut control = nix::cmsg_space!([RawFd; 4]);
        let mut vector = [IoSliceMut::new(&mut word)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut vector, Some(&mut control), flags);
        let message = message.expect("a message");
        let length = message.bytes;
        let rights: Vec<_> = message.cmsgs().expect("control messages").collect();
        let [ControlMessageOwned::ScmRights(descriptors)] = &rights[..] else {
            panic!("{rights:?}")
        };
        let [descriptor] = descriptors[..] else { panic!("{descriptors:?}") };
        let descriptor = File::from(owned(descriptor));
        (String::from_utf8(word[..length].to_vec()).expect("a word"), descriptor)
    }
}

#[allow(unsafe_code, reason = "the standard library has no other way to own a received number")]
fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// All that comes from a terminal until its other end is closed, which EIO says.
#[track_caller]
pub(crate) fn everything(master: &mut File) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match master.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&buffer[..length]),
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(text).expect("text").replace('\r', "")
}

/// Gives a terminal a size, in characters.
#[track_caller]
pub(crate) fn resize(master: &File, rows: u16, columns: u16) {
    let size = [rows, columns].map(|number| number.to_string());
    let status = Command::new("stty")
        .args(["rows", &size[0], "cols", &size[1]])
        .stdin(master.try_clone().expect("clone"))
        .status();
    assert!(status.expect("stty").success());
}
