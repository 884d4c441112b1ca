//! Messages of D-Bus, by the wire format of zbus.

use serde::ser::{Serialize, SerializeStruct, Serializer};
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{DynamicType, LE, to_bytes};
use zbus::{ObjectPath, Signature, Type, Variant};

/// Longest message that is read; the specification allows 128 MiB, and systemd's answers to our
/// questions have some hundred bytes.
const LONGEST: usize = 1 << 20;

/// Bytes from whose content the length of a message follows.
const START: usize = 16;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Byte order, type, flags, version, length of the body, serial, fields.
type Header<V> = (u8, u8, u8, u8, u32, u32, Vec<(u8, V)>);

/// A field's value. The types of a body are a row; a signature in a variant would be written as
/// that of a structure, in parentheses.
enum Field<'a> {
    Value(Variant<'a>),
    Row(String),
}

impl Type for Field<'_> {
    const SIGNATURE: &'static Signature = &Signature::Variant;
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Field::Value(value) => value.serialize(serializer),
            Field::Row(types) => {
                let mut variant = serializer.serialize_struct("Variant", 2)?;
                variant.serialize_field("signature", &Signature::Signature)?;
                variant.serialize_field("value", types)?;
                variant.end()
            }
        }
    }
}

/// Type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Reply,
    Error,
    Signal,
    Other,
}

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
}

/// A call in bytes. `direct` is for a peer that is no bus: there are no destinations.
pub(super) fn encode<B: Serialize + DynamicType>(
    serial: u32,
    target: Target<'_>,
    member: &str,
    body: &B,
    direct: bool,
) -> Result<Vec<u8>, zbus::Error> {
    let body_signature = body.signature();
    let body = to_bytes(Context::new(LE, 0), body)?;
    let mut fields = vec![
        (PATH, Field::Value(Variant::ObjectPath(ObjectPath::try_from(target.path)?))),
        (INTERFACE, Field::Value(Variant::new(target.interface))),
        (MEMBER, Field::Value(Variant::new(member))),
    ];
    if !direct {
        fields.push((DESTINATION, Field::Value(Variant::new(target.destination))));
    }
    if body_signature != Signature::Unit {
        fields.push((SIGNATURE, Field::Row(body_signature.to_string_no_parens())));
    }
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let header: Header<Field<'_>> = (b'l', 1, 0, 1, length, serial, fields);
    let mut bytes = to_bytes(Context::new(LE, 0), &header)?.to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// A received message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) reply_serial: Option<u32>,
    pub(super) interface: String,
    pub(super) member: String,
    pub(super) error: String,
    body: Data<'static, 'static>,
}

impl Message {
    /// Takes the first message of what was received; none while it is not complete.
    ///
    /// # Errors
    /// These are no messages.
    pub(super) fn take(bytes: &mut Vec<u8>) -> Result<Option<Message>, String> {
        let Some(length) = length_of(bytes)? else { return Ok(None) };
        if bytes.len() < length.whole {
            return Ok(None);
        }
        let rest = bytes.split_off(length.whole);
        let message = std::mem::replace(bytes, rest);
        Self::decode(message, &length).map(Some).map_err(|error| error.to_string())
    }

    fn decode(bytes: Vec<u8>, length: &Length) -> Result<Message, zbus::Error> {
        let data = Data::new(bytes, Context::new(length.endian, 0));
        let (header, _): (Header<Variant<'_>>, usize) = data.deserialize()?;
        let mut message = Message {
            kind: match header.1 {
                2 => Kind::Reply,
                3 => Kind::Error,
                4 => Kind::Signal,
                _ => Kind::Other,
            },
            reply_serial: None,
            interface: String::new(),
            member: String::new(),
            error: String::new(),
            body: Data::new(
                data.bytes().get(length.head..).unwrap_or_default().to_vec(),
                Context::new(length.endian, 0),
            ),
        };
        for (code, value) in &header.6 {
            match (*code, value) {
                (REPLY_SERIAL, Variant::U32(serial)) => message.reply_serial = Some(*serial),
                (INTERFACE, Variant::Str(text)) => message.interface = text.to_string(),
                (MEMBER, Variant::Str(text)) => message.member = text.to_string(),
                (ERROR_NAME, Variant::Str(text)) => message.error = text.to_string(),
                _ => {}
            }
        }
        Ok(message)
    }

    /// The body, of a type that the caller knows.
    ///
    /// # Errors
    /// It is of another type.
    pub(super) fn body<'a, T: serde::Deserialize<'a> + Type>(&'a self) -> Result<T, zbus::Error> {
        self.body.deserialize().map(|(body, _)| body)
    }
}

struct Length {
    endian: zbus::wire::Endian,
    /// With fields and padding.
    head: usize,
    whole: usize,
}

fn length_of(bytes: &[u8]) -> Result<Option<Length>, String> {
    let Some(start) = bytes.get(..START) else { return Ok(None) };
    let little = match start.first() {
        Some(b'l') => true,
        Some(b'B') => false,
        _ => return Err("this is no message of D-Bus".to_owned()),
    };
    let number = |at: usize| {
        let bytes: [u8; 4] = start.get(at..at + 4)?.try_into().ok()?;
        let number = if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        usize::try_from(number).ok().filter(|number| *number <= LONGEST)
    };
    let (Some(body), Some(fields)) = (number(4), number(12)) else {
        return Err("a message of D-Bus is too long".to_owned());
    };
    let head = (START + fields).next_multiple_of(8);
    let endian = if little { zbus::wire::Endian::Little } else { zbus::wire::Endian::Big };
    Ok(Some(Length { endian, head, whole: head + body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'_> =
        Target { destination: "org.example.A", path: "/org/example/a", interface: "org.example.B" };

    /// The reply to the call with serial 7, as a little-endian peer sends it.
    fn reply(kind: u8, body: &str) -> Vec<u8> {
        let encoded = to_bytes(Context::new(LE, 0), &body).unwrap();
        let fields = vec![
            (REPLY_SERIAL, Variant::U32(7)),
            (ERROR_NAME, Variant::new("org.example.Error")),
            (SIGNATURE, Variant::Signature(Signature::Str)),
        ];
        let header: Header<Variant<'_>> = (b'l', kind, 1, 1, encoded.len() as u32, 1, fields);
        let mut bytes = to_bytes(Context::new(LE, 0), &header).unwrap().to_vec();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend_from_slice(&encoded);
        bytes
    }

    #[test]
    fn a_call_has_its_fields_and_its_body() {
        let bytes = encode(7, TARGET, "Do", &("x", 5_u32), false).unwrap();
        assert_eq!(&bytes[..4], b"l\x01\x00\x01");
        assert_eq!(bytes[4..8], [12, 0, 0, 0]);
        assert_eq!(bytes[8..12], [7, 0, 0, 0]);
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.ends_with(&[1, 0, 0, 0, b'x', 0, 0, 0, 5, 0, 0, 0]));
        let contains = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|at| at == part);
        assert!(contains(&bytes, b"\x01g\0\x02su\0"));
        assert!(contains(&bytes, b"org.example.A\0"));
        let direct = encode(7, TARGET, "Do", &(), true).unwrap();
        assert!(!contains(&direct, b"org.example.A\0"));
        assert_eq!(direct[4..8], [0; 4]);
        assert_eq!(direct.len() % 8, 0);
    }

    #[test]
    fn messages_are_taken_one_by_one() {
        let mut bytes = reply(2, "first");
        bytes.extend(reply(3, "second"));
        let last = bytes.pop().unwrap();
        let first = Message::take(&mut bytes).unwrap().unwrap();
        assert_eq!((first.kind, first.reply_serial), (Kind::Reply, Some(7)));
        assert_eq!(first.body::<String>().unwrap(), "first");
        assert!(first.body::<(u32, u64, u64)>().is_err());
        assert!(Message::take(&mut bytes).unwrap().is_none());
        bytes.push(last);
        let second = Message::take(&mut bytes).unwrap().unwrap();
        assert_eq!((second.kind, second.error.as_str()), (Kind::Error, "org.example.Error"));
        assert!(bytes.is_empty());
    }

    #[test]
    fn what_is_no_message_is_told() {
        assert!(Message::take(&mut b"HTTP/1.1 400 Bad Request".to_vec()).is_err());
        let mut long = reply(2, "x");
        long[7] = 0x7f;
        assert!(Message::take(&mut long).unwrap_err().contains("too long"));
        let good = reply(2, "x");
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut wrong = good.clone();
                wrong[at] = value;
                // No panic, whatever a peer sends.
                if let Ok(Some(message)) = Message::take(&mut wrong) {
                    drop(message.body::<String>());
                }
            }
        }
    }
}
