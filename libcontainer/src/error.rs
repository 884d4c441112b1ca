//! What a failed operation tells its caller.

use std::fmt;

/// Result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation failed: a [kind](ErrorKind) for programs and one sentence for people.
///
/// The sentence says what was tried on what and what the kernel answered. Texts that callers of
/// OCI runtimes look for ("container does not exist", "executable file not found in $PATH") are
/// part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    message: String,
    pointer: Option<String>,
    hint: Option<String>,
    warnings: Vec<String>,
}

/// What kind of failure it is. New kinds may come; the meaning of these stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The id of the container is not one.
    InvalidId,
    /// An option of the caller makes no sense, alone or with others.
    InvalidOption,
    /// config.json or the process description is unreadable, wrong, or asks for something that
    /// this release does not do.
    InvalidConfig,
    /// There is no such container.
    NotFound,
    /// The id is taken.
    AlreadyExists,
    /// The container's status does not allow it.
    WrongStatus,
    /// The container runs no process.
    NotRunning,
    /// Another operation on the same container is going on.
    Busy,
    /// The kernel or the machine lacks what the configuration asks for.
    Unsupported,
    /// The program that calls the library could be overwritten from inside the container
    /// (CVE-2019-5736); see [`crate::protect_self`].
    Unprotected,
    /// The calling program discards the exit status of its children, and this kernel keeps it
    /// nowhere else.
    HostReapsChildren,
    /// The container's process could not be set up or executed.
    Process,
    /// A hook failed.
    Hook,
    /// CRIU could not write or read the state of a container.
    Checkpoint,
    /// The memory limit is too low for the container's process to start.
    OutOfMemory,
    /// The recorded state cannot be read or written.
    State,
    /// The kernel or the file system refused an operation.
    System,
}

impl Error {
    /// An error of a kind with its sentence.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            inner: Box::new(Inner {
                kind,
                message,
                pointer: None,
                hint: None,
                warnings: Vec::new(),
            }),
        }
    }

    /// A refusal of the kernel: what was tried on what.
    pub(crate) fn io(
        kind: ErrorKind,
        act: &str,
        object: impl fmt::Display,
        error: &std::io::Error,
    ) -> Self {
        Self::new(kind, format!("{act} {object}: {}", kernel_words(error)))
    }

    /// Says where in the configuration the failure comes from.
    pub(crate) fn at(mut self, pointer: impl Into<String>) -> Self {
        self.inner.pointer = Some(pointer.into()).filter(|pointer| !pointer.is_empty());
        self
    }

    /// Says what the user may do about it.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Puts `context` and a colon before the sentence.
    pub(crate) fn within(mut self, context: &str) -> Self {
        self.inner.message = format!("{context}: {}", self.inner.message);
        self
    }

    /// Puts this behind the sentence.
    pub(crate) fn followed_by(mut self, more: &str) -> Self {
        self.inner.message.push_str(more);
        self
    }

    /// Keeps what was wrong and not refused before the failure.
    pub(crate) fn after(mut self, mut warnings: Vec<String>) -> Self {
        warnings.append(&mut self.inner.warnings);
        self.inner.warnings = warnings;
        self
    }

    /// The kind, for programs.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// JSON pointer (RFC 6901) of the value in config.json that the failure comes from.
    pub fn pointer(&self) -> Option<&str> {
        self.inner.pointer.as_deref()
    }

    /// What was wrong and not refused before the operation failed.
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }
}

/// The kernel's words, in lower case and without Rust's "(os error N)".
pub(crate) fn kernel_words(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => crate::sys::Errno(number).to_string(),
        None => error.to_string(),
    }
}

impl From<crate::cgroup::Error> for Error {
    fn from(error: crate::cgroup::Error) -> Self {
        let kind = match error.pointer {
            Some(_) => ErrorKind::InvalidConfig,
            None => ErrorKind::System,
        };
        let converted = Self::new(kind, error.message).at(error.pointer.unwrap_or_default());
        match error.hint {
            Some(hint) => converted.with_hint(hint),
            None => converted,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.inner.message)
    }
}

impl std::error::Error for Error {}
