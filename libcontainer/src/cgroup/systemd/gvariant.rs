//! Values in the text form of GVariant, as annotations give them: `uint64 5`, `'x'`, `['a', 'b']`.

use zbus::wire::{Array, Signature};
use zbus::{ObjectPath, Structure, Variant};

/// How deep values may lie in each other.
const DEEPEST: u32 = 8;

/// Reads one value. What the text leaves open is a 32-bit integer, a double, or a string.
///
/// # Errors
/// What is wrong, and at which byte.
pub(crate) fn parse(text: &str) -> Result<Variant<'static>, String> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(None, 0)?;
    parser.skip_blanks();
    match parser.rest().is_empty() {
        true => Ok(value),
        false => Err(parser.wrong("one value ends here")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Parsed = Result<Variant<'static>, String>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong(&self, words: &str) -> String {
        format!("{words} (byte {} of {:?})", self.at, self.text)
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_blanks();
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        self.skip_blanks();
        let rest = self.rest();
        let length = rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// One value; of a known type where an annotation or the elements before it said so.
    fn value(&mut self, wanted: Option<&Signature>, depth: u32) -> Parsed {
        if depth > DEEPEST {
            return Err(self.wrong("values lie too deep in each other"));
        }
        match self.peek() {
            None => Err(self.wrong("a value is missing")),
            Some('@') => self.annotated(depth),
            Some('\'' | '"') => {
                let text = self.string()?;
                self.typed_string(text, wanted)
            }
            Some('[') => self.array(wanted, depth),
            Some('(') => self.structure(wanted, depth),
            Some('<') => self.variant(depth),
            Some(letter) if letter.is_ascii_digit() || matches!(letter, '-' | '+' | '.') => {
                self.number(wanted)
            }
            Some(letter) if letter.is_ascii_alphabetic() => self.keyword(wanted, depth),
            Some(_) => Err(self.wrong("no value begins so")),
        }
    }

    /// `@as []`.
    fn annotated(&mut self, depth: u32) -> Parsed {
        self.take('@');
        let word = self.word(|letter| !letter.is_whitespace());
        let signature =
            Signature::try_from(word).map_err(|_| self.wrong(&format!("{word:?} is no type")))?;
        let value = self.value(Some(&signature), depth + 1)?;
        match *value.value_signature() == signature {
            true => Ok(value),
            false => Err(self.wrong(&format!("the value is none of type {word:?}"))),
        }
    }

    /// `true`, `false`, or the name of a type before a value.
    fn keyword(&mut self, wanted: Option<&Signature>, depth: u32) -> Parsed {
        let word = self.word(|letter| letter.is_ascii_alphanumeric());
        let signature = match word {
            "true" => return Ok(Variant::Bool(true)),
            "false" => return Ok(Variant::Bool(false)),
            "inf" | "nan" => return self.double(word),
            "boolean" => Signature::Bool,
            "byte" => Signature::U8,
            "int16" => Signature::I16,
            "uint16" => Signature::U16,
            "int32" => Signature::I32,
            "uint32" => Signature::U32,
            "int64" => Signature::I64,
            "uint64" => Signature::U64,
            "double" => Signature::F64,
            "string" => Signature::Str,
            "objectpath" => Signature::ObjectPath,
            _ => return Err(self.wrong(&format!("unknown word {word:?}"))),
        };
        if wanted.is_some_and(|wanted| *wanted != signature) {
            return Err(self.wrong("values of an array are of one type"));
        }
        let value = self.value(Some(&signature), depth + 1)?;
        match *value.value_signature() == signature {
            true => Ok(value),
            false => Err(self.wrong(&format!("the value is no {word}"))),
        }
    }

    fn number(&mut self, wanted: Option<&Signature>) -> Parsed {
        let word = self.word(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
        let is_double = |word: &str| {
            !word.contains(['x', 'X']) && word.contains(['.', 'e', 'E']) || word.ends_with("inf")
        };
        match wanted {
            Some(Signature::F64) => return self.double(word),
            None if is_double(word) => return self.double(word),
            _ => {}
        }
        let number =
            parse_integer(word).ok_or_else(|| self.wrong(&format!("{word:?} is no number")))?;
        let range = || self.wrong(&format!("{word} does not fit its type"));
        macro_rules! fit {
            ($variant:ident) => {
                number.try_into().map(Variant::$variant).map_err(|_| range())
            };
        }
        match wanted {
            None | Some(Signature::I32) => fit!(I32),
            Some(Signature::U8) => fit!(U8),
            Some(Signature::I16) => fit!(I16),
            Some(Signature::U16) => fit!(U16),
            Some(Signature::U32) => fit!(U32),
            Some(Signature::I64) => fit!(I64),
            Some(Signature::U64) => fit!(U64),
            Some(_) => Err(self.wrong("a number is not what belongs here")),
        }
    }

    fn double(&self, word: &str) -> Parsed {
        match word.parse() {
            Ok(number) => Ok(Variant::F64(number)),
            Err(_) => Err(self.wrong(&format!("{word:?} is no number"))),
        }
    }

    fn typed_string(&self, text: String, wanted: Option<&Signature>) -> Parsed {
        match wanted {
            None | Some(Signature::Str) => Ok(Variant::new(text)),
            Some(Signature::ObjectPath) => ObjectPath::try_from(text)
                .map(Variant::ObjectPath)
                .map_err(|_| self.wrong("this is no object path")),
            Some(_) => Err(self.wrong("a string is not what belongs here")),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let mut letters = self.rest().char_indices();
        let Some((_, quote)) = letters.next() else {
            return Err(self.wrong("a string is missing"));
        };
        let unended = |parser: &Self| parser.wrong("the string does not end");
        while let Some((at, letter)) = letters.next() {
            match letter {
                _ if letter == quote => {
                    self.at += at + quote.len_utf8();
                    return Ok(text);
                }
                '\0' => return Err(self.wrong("a string has no NUL")),
                '\\' => {
                    let (_, escaped) = letters.next().ok_or_else(|| unended(self))?;
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'a' => '\x07',
                        'b' => '\x08',
                        'f' => '\x0c',
                        'v' => '\x0b',
                        'u' => code_point(&mut letters, 4).ok_or_else(|| unended(self))?,
                        'U' => code_point(&mut letters, 8).ok_or_else(|| unended(self))?,
                        other => other,
                    });
                }
                letter => text.push(letter),
            }
        }
        Err(unended(self))
    }

    fn array(&mut self, wanted: Option<&Signature>, depth: u32) -> Parsed {
        let element = match wanted {
            None => None,
            Some(Signature::Array(element)) => Some(element.signature().clone()),
            Some(_) => return Err(self.wrong("an array is not what belongs here")),
        };
        let elements = self.list('[', ']', depth, |parser, first: Option<&Variant<'_>>| {
            let known = element.clone();
            let signature = known.or_else(|| first.map(|first| first.value_signature().clone()));
            parser.value(signature.as_ref(), depth + 1)
        })?;
        let signature = element
            .or_else(|| elements.first().map(|first| first.value_signature().clone()))
            .ok_or_else(|| self.wrong("the type of an empty array is unknown: write @as []"))?;
        let mut array = Array::new(&signature);
        for value in elements {
            array.append(value).map_err(|_| self.wrong("values of an array are of one type"))?;
        }
        Ok(Variant::Array(array))
    }

    fn structure(&mut self, wanted: Option<&Signature>, depth: u32) -> Parsed {
        let fields: Option<Vec<Signature>> = match wanted {
            None => None,
            Some(Signature::Structure(fields)) => Some(fields.iter().cloned().collect()),
            Some(_) => return Err(self.wrong("a tuple is not what belongs here")),
        };
        let mut index = 0;
        let values = self.list('(', ')', depth, |parser, _| {
            let wanted = fields.as_ref().and_then(|fields| fields.get(index));
            index += 1;
            parser.value(wanted, depth + 1)
        })?;
        let builder = values
            .into_iter()
            .fold(Structure::builder(), |builder, value| builder.append_field(value));
        builder.build().map(Variant::Structure).map_err(|_| self.wrong("a tuple has a field"))
    }

    /// `<5>`: the value of a variant.
    fn variant(&mut self, depth: u32) -> Parsed {
        self.take('<');
        let value = self.value(None, depth + 1)?;
        match self.take('>') {
            true => Ok(Variant::Variant(Box::new(value))),
            false => Err(self.wrong("the variant does not end")),
        }
    }

    fn list(
        &mut self,
        open: char,
        close: char,
        depth: u32,
        mut element: impl FnMut(&mut Self, Option<&Variant<'static>>) -> Parsed,
    ) -> Result<Vec<Variant<'static>>, String> {
        if depth >= DEEPEST {
            return Err(self.wrong("values lie too deep in each other"));
        }
        self.take(open);
        let mut values: Vec<Variant<'static>> = Vec::new();
        while !self.take(close) {
            values.push(element(self, values.first())?);
            if !self.take(',') && self.peek() != Some(close) {
                return Err(self.wrong(&format!("{close:?} or a comma is missing")));
            }
        }
        Ok(values)
    }
}

/// Decimal, 0x or octal with a leading 0, with a sign.
fn parse_integer(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let number = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    let signless = digits.starts_with(|letter: char| letter.is_ascii_digit());
    let number = i128::from(number.ok().filter(|_| signless)?);
    Some(if negative { -number } else { number })
}

fn code_point(letters: &mut std::str::CharIndices<'_>, digits: usize) -> Option<char> {
    let mut code = 0;
    for _ in 0..digits {
        code = code << 4 | letters.next()?.1.to_digit(16)?;
    }
    char::from_u32(code).filter(|letter| *letter != '\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(text: &str) -> String {
        parse(text).unwrap().value_signature().to_string()
    }

    #[test]
    fn simple_values() {
        assert_eq!(parse("true"), Ok(Variant::Bool(true)));
        assert_eq!(parse(" -5 "), Ok(Variant::I32(-5)));
        assert_eq!(parse("0x10"), Ok(Variant::I32(16)));
        assert_eq!(parse("uint64 18446744073709551615"), Ok(Variant::U64(u64::MAX)));
        assert_eq!(parse("int64 -9223372036854775808"), Ok(Variant::I64(i64::MIN)));
        assert_eq!(parse("byte 0xff"), Ok(Variant::U8(255)));
        assert_eq!(parse("1.5"), Ok(Variant::F64(1.5)));
        assert_eq!(parse("double 3"), Ok(Variant::F64(3.0)));
        assert_eq!(parse("'inactive-or-failed'"), Ok(Variant::new("inactive-or-failed")));
        assert_eq!(parse(r#""a'\"\n\u00e4""#), Ok(Variant::new("a'\"\nä")));
        assert_eq!(parse("@t 7"), Ok(Variant::U64(7)));
    }

    #[test]
    fn containers() {
        let array = parse("['a.service', 'b.service']").unwrap();
        let names: Vec<String> = array.try_into().unwrap();
        assert_eq!(names, ["a.service", "b.service"]);
        assert_eq!(signature("@as []"), "as");
        assert_eq!(signature("[uint64 1, 2]"), "at");
        assert_eq!(signature("('a', uint32 5, true)"), "(sub)");
        assert_eq!(signature("[('a', 1), ('b', 2)]"), "a(si)");
        assert_eq!(signature("@a(sa(st)) [('a', [('b', 2)])]"), "a(sa(st))");
        assert_eq!(signature("<'x'>"), "v");
        assert_eq!(signature("[[1], [2, 3]]"), "aai");
    }

    #[test]
    fn what_is_no_value() {
        for text in [
            "",
            "x",
            "'a",
            "'a\\",
            "[",
            "[]",
            "[1, 'a']",
            "[1 2]",
            "(1",
            "()",
            "1 2",
            "uint32 -1",
            "byte 256",
            "2147483648",
            "@ 1",
            "@as 1",
            "@zz 1",
            "1e",
            "--1",
            "0x",
            "uint64 'a'",
            "<1",
            "'\\u00'",
            "'\\ud800'",
            "@as [1]",
            "string 5",
            "ä",
            "-",
            "{'a': 1}",
            "'\\u0000'",
        ] {
            assert!(parse(text).is_err(), "{text:?} is {:?}", parse(text));
        }
        assert!(parse(&"[".repeat(10_000)).is_err());
        assert!(parse(&"uint32 ".repeat(10_000)).is_err());
        assert!(parse(&"<".repeat(10_000)).is_err());
        assert!(parse(&format!("@{}i 1", "a".repeat(300))).is_err());
    }
}
