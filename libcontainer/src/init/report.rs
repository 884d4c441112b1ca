//! What the child tells its parent, and how it waits for it.

use super::runner::{Child, Outcome};
use crate::protocol::{RECORD_LENGTH, Record, RecordKind, Slot, SyncPoint, TEXT_LENGTH};
use crate::sys::{Errno, raw};

/// Why a step failed: the kernel's answer, which of several things it concerned, and a few bytes
/// such as the end of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) errno: Errno,
    pub(crate) detail: u32,
    pub(crate) length: u32,
    pub(crate) text: [u8; TEXT_LENGTH],
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, detail: 0, length: 0, text: [0; TEXT_LENGTH] }
    }
}

impl Failure {
    /// Says which of several things failed.
    pub(crate) fn at(mut self, detail: u32) -> Self {
        self.detail = detail;
        self
    }

    /// Adds the last bytes of `text` (without a NUL at its end).
    pub(crate) fn with_text(mut self, text: &[u8]) -> Self {
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        let start = text.len().saturating_sub(TEXT_LENGTH);
        let tail = text.get(start..).unwrap_or_default();
        for (place, byte) in self.text.iter_mut().zip(tail) {
            *place = *byte;
        }
        self.length = tail.len() as u32;
        self
    }
}

/// Reports a failed step and ends the process.
pub(super) fn failed(child: &Child<'_>, failure: &Failure) -> ! {
    send(child, &record(child, RecordKind::Failed, failure));
    raw::exit_group(1)
}

/// Reports an error that the step tolerates by name.
pub(super) fn warned(child: &Child<'_>, failure: &Failure) {
    send(child, &record(child, RecordKind::Warned, failure));
}

/// Reports the end of a step.
pub(super) fn traced(child: &Child<'_>) {
    let mut record = Record::new(RecordKind::Traced, child.step);
    record.value = raw::monotonic();
    send(child, &record);
}

fn record(child: &Child<'_>, kind: RecordKind, failure: &Failure) -> Record {
    let mut record = Record::new(kind, child.step);
    record.errno = failure.errno.0;
    record.detail = failure.detail;
    record.length = failure.length;
    record.text = failure.text;
    record
}

/// Sends a record while there is a control socket, else writes it into the result FIFO: after the
/// commit the reader is `start`.
pub(super) fn send(child: &Child<'_>, record: &Record) {
    let packet = record.encode();
    if let Ok(control) = child.fd(Slot::CONTROL) {
        // A dead parent is noticed by the next wait; there is nobody else to tell. A seccomp
        // filter need not allow more than write.
        let _ =
            if child.filtered { raw::write(control, &packet) } else { raw::send(control, &packet) };
    } else if let Ok(result) = child.fd(Slot::RESULT) {
        let _ = raw::write(result, &packet);
    }
}

/// Tells the parent that `point` is reached (`detail` goes with it) and waits for its answer.
/// The parent's death ends the wait and the process: it holds as long as the container is not
/// committed.
pub(super) fn meet(child: &mut Child<'_>, point: SyncPoint, detail: u32) -> Outcome {
    let mut reached = Record::new(RecordKind::Reached, child.step);
    reached.value = point as u64;
    reached.detail = detail;
    send(child, &reached);
    if !child.filtered {
        wait_for_parent(child)?;
    }
    let control = child.fd(Slot::CONTROL)?;
    let mut packet = [0; RECORD_LENGTH];
    let length = raw::read(control, &mut packet)?;
    match packet.get(..length).and_then(Record::decode) {
        Some(Record { kind: RecordKind::Continue, .. }) => Ok(()),
        // The parent closed its end: it gave up or died.
        _ => raw::exit_group(1),
    }
}

/// Waits until the control socket is readable; ends the process when the creator dies.
pub(super) fn wait_for_parent(child: &Child<'_>) -> Outcome {
    let lease = child.fd(Slot::LEASE).unwrap_or(-1);
    let mut waited = [
        libc::pollfd { fd: child.fd(Slot::CONTROL)?, events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: lease, events: libc::POLLIN, revents: 0 },
    ];
    raw::poll(&mut waited)?;
    match waited {
        [control, _] if control.revents != 0 => Ok(()),
        _ => raw::exit_group(1),
    }
}
