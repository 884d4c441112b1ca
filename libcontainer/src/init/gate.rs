//! Between created and running.

use super::runner::{Child, Outcome};
use crate::protocol::Slot;
use crate::sys::{Errno, raw};

/// The creator has committed: from now on it may end, and `start` is the one to report to.
pub(super) fn leave_creator(child: &mut Child<'_>) {
    child.drop_slot(Slot::CONTROL);
    child.drop_slot(Slot::LEASE);
}

/// One byte opens the gate. The FIFO is open for reading and writing, so that nobody's end makes
/// it report an end; once this descriptor is closed, `start` finds nobody waiting.
pub(super) fn await_start(child: &mut Child<'_>) -> Outcome {
    let mut byte = [0];
    match raw::read(child.fd(Slot::GO)?, &mut byte)? {
        1 => {
            child.drop_slot(Slot::GO);
            Ok(())
        }
        _ => Err(Errno(libc::EPIPE).into()),
    }
}
