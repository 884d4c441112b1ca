//! The kernel's error numbers.

use std::fmt;

/// An error number as a system call returned it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

/// Result of one system call.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

impl Errno {
    /// Splits the value that a raw system call returned.
    #[inline]
    pub(crate) const fn check(value: isize) -> Result<usize> {
        if value < 0 && value >= -4095 { Err(Errno(-(value as i32))) } else { Ok(value as usize) }
    }
}

impl fmt::Display for Errno {
    /// The kernel's sentence in lower case, as Go's runtimes print it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&crate::protocol::answer(self.0))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", nix::errno::Errno::from_raw(self.0))
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        std::io::Error::from_raw_os_error(errno.0)
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Self {
        Errno(errno as i32)
    }
}
