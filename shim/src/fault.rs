//! Errors of the Task service: a code that containerd decides by, and words for people.

use std::fmt;

use containerd_shim_protos::ttrpc::{Code, Error, get_status};
use libcontainer::ErrorKind;

/// Result of a request.
pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// Why a request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    code: Code,
    message: String,
}

impl Fault {
    /// What the runc shim gives no code of its own: failures of the runtime, too.
    pub(crate) fn unknown(message: impl fmt::Display) -> Self {
        Self::new(Code::UNKNOWN, message)
    }

    pub(crate) fn not_found(message: impl fmt::Display) -> Self {
        Self::new(Code::NOT_FOUND, message)
    }

    pub(crate) fn already_exists(message: impl fmt::Display) -> Self {
        Self::new(Code::ALREADY_EXISTS, message)
    }

    pub(crate) fn precondition(message: impl fmt::Display) -> Self {
        Self::new(Code::FAILED_PRECONDITION, message)
    }

    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(Code::INVALID_ARGUMENT, message)
    }

    fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// A signal that did not arrive, in the words of the runc shim.
    pub(crate) fn of_kill(error: &libcontainer::Error) -> Self {
        match error.kind() {
            ErrorKind::NotRunning => Self::not_found("process already finished"),
            ErrorKind::NotFound => Self::not_found("no such container"),
            _ => Self::unknown(format_args!("unknown error after kill: {error}")),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl From<Fault> for Error {
    /// containerd 2 shows the words as they come, 1.x takes the kind's name off and adds it again.
    fn from(fault: Fault) -> Self {
        let message = match kind(fault.code) {
            Some(kind) => format!("{}: {kind}", fault.message),
            None => fault.message,
        };
        Self::RpcStatus(get_status(fault.code, message))
    }
}

/// What containerd calls a kind of errors, and callers look for.
fn kind(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::NOT_FOUND => "not found",
        Code::ALREADY_EXISTS => "already exists",
        Code::FAILED_PRECONDITION => "failed precondition",
        Code::INVALID_ARGUMENT => "invalid argument",
        Code::UNIMPLEMENTED => "not implemented",
        _ => return None,
    })
}
