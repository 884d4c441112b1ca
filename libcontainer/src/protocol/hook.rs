//! How a hook that the child ran failed: `detail` of the record where `errno` is 0. Without these
//! bits it is the exit status. The hook's output comes before it, in records of
//! [`super::RecordKind::Hook`] whose `detail` is the stream.

/// A signal ended it; the low byte is its number.
pub(crate) const SIGNALLED: u32 = 0x100;

/// Its time was over.
pub(crate) const TIMED_OUT: u32 = 0x200;
