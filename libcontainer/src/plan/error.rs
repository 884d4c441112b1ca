//! Why a configuration cannot be planned.

use crate::protocol::DataError;

/// What is wrong with which value of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct PlanError {
    /// JSON pointer of the value; empty where an option of the caller is to blame.
    pub(crate) pointer: String,
    /// The complaint, in the words that callers know.
    pub(crate) message: String,
    /// What the user may do about it.
    pub(crate) hint: Option<String>,
}

impl PlanError {
    /// A complaint about the value at `pointer`.
    pub(crate) fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into(), hint: None }
    }

    /// Adds what the user may do about it.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A text of the configuration that the kernel cannot take.
    pub(crate) fn data(pointer: &str, error: DataError) -> Self {
        Self::new(pointer, format!("invalid value at {pointer}: {error}"))
    }
}
