//! Protocol buffers, as far as the few messages to and from CRIU need them: numbers and lengths of
//! bytes, each after its field number. <https://protobuf.dev/programming-guides/encoding/>

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// A message that is being written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A field with a number; enumerations and booleans are numbers, too.
    pub(super) fn number(&mut self, field: u32, value: u64) -> &mut Self {
        self.varint(u64::from(field) << 3 | VARINT);
        self.varint(value);
        self
    }

    /// A field with a signed number: negative ones fill all 64 bits.
    pub(super) fn signed(&mut self, field: u32, value: i32) -> &mut Self {
        self.number(field, i64::from(value).cast_unsigned())
    }

    /// A field with a switch.
    pub(super) fn switch(&mut self, field: u32, on: bool) -> &mut Self {
        self.number(field, on.into())
    }

    /// A field with text.
    pub(super) fn text(&mut self, field: u32, value: &str) -> &mut Self {
        self.bytes(field, value.as_bytes())
    }

    /// A field with a message.
    pub(super) fn message(&mut self, field: u32, value: &Self) -> &mut Self {
        self.bytes(field, &value.0)
    }

    fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        self.varint(u64::from(field) << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// The bytes of the message.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A number.
    Number(u64),
    /// Text, or a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number, 0 for what is none.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }

    /// The number as it was before its sign was extended.
    pub(super) fn signed(self) -> i32 {
        self.number() as i32
    }

    /// The bytes, empty for a number.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Number(_) => &[],
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The text.
    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// The fields of a message in their order; `None` for bytes that are no message.
pub(super) fn fields(mut bytes: &[u8]) -> Option<Vec<(u32, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let field = u32::try_from(key >> 3).ok()?;
        match key & 7 {
            VARINT => fields.push((field, Value::Number(take_varint(&mut bytes)?))),
            BYTES => {
                let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                fields.push((field, Value::Bytes(take(&mut bytes, length)?)));
            }
            FIXED64 => drop(take(&mut bytes, 8)?),
            FIXED32 => drop(take(&mut bytes, 4)?),
            _ => return None,
        }
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the format's own description.
    #[test]
    fn bytes_are_those_of_the_format() {
        let mut message = Writer::default();
        message.number(1, 150).text(2, "testing");
        assert_eq!(message.as_bytes(), b"\x08\x96\x01\x12\x07testing");
        let mut outer = Writer::default();
        let mut inner = Writer::default();
        inner.number(1, 150);
        outer.message(3, &inner).switch(64, true);
        assert_eq!(outer.as_bytes(), b"\x1a\x03\x08\x96\x01\x80\x04\x01");
        let mut negative = Writer::default();
        negative.signed(1, -2);
        assert_eq!(negative.as_bytes(), b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    }

    #[test]
    fn what_is_written_is_read() {
        let mut message = Writer::default();
        message.number(7, u64::MAX).signed(8, -22).text(48, "é");
        let read = fields(message.as_bytes()).unwrap();
        let [(7, number), (8, signed), (48, text)] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((number.number(), signed.signed(), text.text()), (u64::MAX, -22, "é".into()));
        let fixed = b"\x09\x01\x02\x03\x04\x05\x06\x07\x08\x15\x01\x02\x03\x04\x18\x05";
        assert_eq!(fields(fixed), Some(vec![(3, Value::Number(5))]));
    }

    #[test]
    fn bytes_that_are_no_message_are_none() {
        for bytes in [
            b"\x08".as_slice(),
            b"\x12\x05abc",
            b"\x0b",
            b"\x09\x01",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(fields(bytes), None, "{bytes:?}");
        }
    }
}
