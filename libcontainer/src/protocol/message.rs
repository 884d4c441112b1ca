//! Records on the control socket (SOCK_SEQPACKET, one record a packet) and on the result FIFO.

/// Bytes of free text in a record.
pub(crate) const TEXT_LENGTH: usize = 64;

/// Bytes of a record on the wire.
pub(crate) const RECORD_LENGTH: usize = 28 + TEXT_LENGTH;

/// What a record says.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// Child: a point is reached (`value` is the [`super::SyncPoint`]; for `Listener`, `detail`
    /// is the descriptor's number in the child).
    Reached = 1,
    /// Child: step `step` failed with `errno`; `detail` and `text` as the step defines.
    Failed = 2,
    /// Child: an error of step `step` is tolerated, with the reason in the step's definition.
    Warned = 3,
    /// Child: step `step` ended; `value` is the nanoseconds of the monotonic clock.
    Traced = 4,
    /// Child: the console's master goes with this packet.
    Console = 5,
    /// Intermediate child: `value` is the pid of init in the runtime's pid namespace.
    Init = 6,
    /// Child: a hook ended or failed; as its step defines.
    Hook = 7,
    /// Parent: go on.
    Continue = 16,
}

/// One fixed-size record, native endian: both ends are one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// What it says.
    pub(crate) kind: RecordKind,
    /// Index of the step.
    pub(crate) step: u32,
    /// Error number, 0 for none.
    pub(crate) errno: i32,
    /// Which of several: candidate, mount, component.
    pub(crate) detail: u32,
    /// A value as the kind defines.
    pub(crate) value: u64,
    /// Used bytes of `text`.
    pub(crate) length: u32,
    /// A few bytes: the end of a path, a sentence of the kernel.
    pub(crate) text: [u8; TEXT_LENGTH],
}

impl Record {
    /// A record without text.
    pub(crate) const fn new(kind: RecordKind, step: u32) -> Self {
        Self { kind, step, errno: 0, detail: 0, value: 0, length: 0, text: [0; TEXT_LENGTH] }
    }

    /// The bytes of the packet. Part of the child: no panic, no allocation.
    pub(crate) fn encode(&self) -> [u8; RECORD_LENGTH] {
        let mut packet = [0; RECORD_LENGTH];
        let head = (self.kind as u32)
            .to_ne_bytes()
            .into_iter()
            .chain(self.step.to_ne_bytes())
            .chain(self.errno.to_ne_bytes())
            .chain(self.detail.to_ne_bytes())
            .chain(self.value.to_ne_bytes())
            .chain(self.length.to_ne_bytes())
            .chain(self.text);
        for (place, byte) in packet.iter_mut().zip(head) {
            *place = byte;
        }
        packet
    }

    /// Reads a packet; `None` for one of another size or kind.
    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let packet: &[u8; RECORD_LENGTH] = packet.try_into().ok()?;
        let word = |at: usize| -> Option<[u8; 4]> { packet.get(at..)?.first_chunk().copied() };
        Some(Self {
            kind: RecordKind::from_number(u32::from_ne_bytes(word(0)?))?,
            step: u32::from_ne_bytes(word(4)?),
            errno: i32::from_ne_bytes(word(8)?),
            detail: u32::from_ne_bytes(word(12)?),
            value: u64::from_ne_bytes(*packet.get(16..)?.first_chunk()?),
            length: u32::from_ne_bytes(word(24)?).min(TEXT_LENGTH as u32),
            text: *packet.get(28..)?.first_chunk()?,
        })
    }

    /// The used bytes of `text`.
    pub(crate) fn text(&self) -> &[u8] {
        self.text.get(..self.length as usize).unwrap_or_default()
    }
}

impl RecordKind {
    fn from_number(number: u32) -> Option<Self> {
        [
            Self::Reached,
            Self::Failed,
            Self::Warned,
            Self::Traced,
            Self::Console,
            Self::Init,
            Self::Hook,
            Self::Continue,
        ]
        .into_iter()
        .find(|kind| *kind as u32 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_the_wire() {
        let mut record = Record::new(RecordKind::Failed, 7);
        record.errno = libc::ENOENT;
        record.detail = u32::MAX;
        record.value = u64::MAX - 1;
        record.length = 3;
        record.text[..3].copy_from_slice(b"abc");
        let decoded = Record::decode(&record.encode()).unwrap();
        assert_eq!(decoded, record);
        assert_eq!(decoded.text(), b"abc");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        assert_eq!(Record::decode(b""), None);
        assert_eq!(Record::decode(&[0; RECORD_LENGTH]), None);
        assert_eq!(Record::decode(&[1; RECORD_LENGTH + 1]), None);
    }
}
