//! Descriptors that are waited for until they can be read.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor, which `descriptor` keeps open.
#[expect(deprecated, reason = "what replaces it is unsafe, for types that change their descriptor")]
pub(crate) fn watch<T: AsRawFd>(descriptor: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
