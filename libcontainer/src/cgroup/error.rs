//! What can go wrong with a cgroup.

use std::path::Path;

use crate::sys::Errno;

/// Result of this module.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A failure: what was tried on what, and the kernel's words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    /// JSON pointer of the value in config.json that it comes from.
    pub(crate) pointer: Option<String>,
    /// The sentence for the user.
    pub(crate) message: String,
    /// The kernel's answer, if it was the kernel that refused.
    pub(crate) errno: Option<i32>,
    /// What the user may do about it.
    pub(crate) hint: Option<&'static str>,
}

impl Error {
    /// A refusal of ours.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Error { pointer: None, message: message.into(), errno: None, hint: None }
    }

    /// A refusal of ours of one value.
    pub(crate) fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Error { pointer: Some(pointer.into()), message: message.into(), errno: None, hint: None }
    }

    /// A refusal of the kernel.
    pub(super) fn kernel(tried: &str, path: &Path, error: &std::io::Error) -> Self {
        let errno = error.raw_os_error();
        let words = match errno {
            Some(number) => Errno(number).to_string(),
            None => error.to_string(),
        };
        let message = format!("{tried} {}: {words}", path.display());
        Error { pointer: None, message, errno, hint: None }
    }

    /// Names the value that led here.
    pub(super) fn pointing(mut self, pointer: &str) -> Self {
        self.pointer.get_or_insert_with(|| pointer.to_owned());
        self
    }

    /// Says what the user may do about it.
    #[cfg(feature = "systemd")]
    pub(super) fn hinting(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Puts words before the sentence.
    pub(super) fn context(mut self, words: &str) -> Self {
        self.message = format!("{words}: {}", self.message);
        self
    }

    /// Whether the kernel answered with this error number.
    pub(crate) fn is(&self, errno: i32) -> bool {
        self.errno == Some(errno)
    }

    /// Whether the group or file is not there (any more).
    pub(super) fn is_gone(&self) -> bool {
        self.is(libc::ENOENT) || self.is(libc::ENODEV)
    }

    /// Whether the caller lacks a right.
    pub(super) fn is_permission(&self) -> bool {
        self.is(libc::EPERM) || self.is(libc::EACCES) || self.is(libc::EROFS)
    }
}
