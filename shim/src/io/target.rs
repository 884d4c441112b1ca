//! What the name of a stream means: a path, or a URI.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Where a stream leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Nowhere.
    Null,
    /// To something that is there: a FIFO, as containerd makes it, or another file.
    Path(PathBuf),
    /// To the end of a file, which is made if need be.
    File(PathBuf),
    /// To a program.
    Logger(Program),
}

/// A program that takes output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// Keys and values of the URI's query, in turns.
    pub(super) arguments: Vec<CString>,
    /// Whether it says that it is ready by a byte (`binary-v2`), and not by the end of the ready
    /// pipe alone, which its death causes as well.
    pub(super) says_ready: bool,
}

impl Target {
    /// Reads a name.
    ///
    /// # Errors
    /// The scheme is not known, or the URI is not well-formed.
    pub(super) fn parse(name: &str) -> io::Result<Self> {
        let refuse =
            |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {reason}"));
        if name.is_empty() || name == "/dev/null" {
            return Ok(Self::Null);
        }
        let Some((scheme, rest)) = split_scheme(name) else { return Ok(Self::Path(name.into())) };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = match path.strip_prefix("//") {
            Some(authority) => authority.find('/').and_then(|start| authority.get(start..)),
            None => Some(path),
        };
        let path = path.filter(|path| path.starts_with('/'));
        let path = path.ok_or_else(|| refuse("the URI has no absolute path"))?;
        let path =
            decode(path, false).ok_or_else(|| refuse("the URI's path is not well-formed"))?;
        let path = PathBuf::from(OsString::from_vec(path.into_bytes()));
        match scheme {
            "fifo" => Ok(Self::Path(path)),
            "file" => Ok(Self::File(path)),
            "binary" | "binary-v2" => {
                let arguments = parse_query(query)
                    .ok_or_else(|| refuse("the URI's query is not well-formed"))?;
                Ok(Self::Logger(Program { path, arguments, says_ready: scheme == "binary-v2" }))
            }
            _ => Err(refuse(
                "the URI's scheme is not known; known are fifo, file, binary and \
                             binary-v2",
            )),
        }
    }
}

fn split_scheme(name: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = name.split_once(':')?;
    let mut letters = scheme.chars();
    let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    is_scheme.then_some((scheme, rest))
}

/// Each key with its first value; a key without one gets an empty argument.
fn parse_query(query: &str) -> Option<Vec<CString>> {
    let mut arguments: Vec<CString> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key, true)?, decode(value, true)?);
        if !arguments.iter().step_by(2).any(|known| *known == key) {
            arguments.extend([key, value]);
        }
    }
    Some(arguments)
}

/// Takes the escapes out; `None` where one is broken, or is a NUL.
fn decode(text: &str, in_query: bool) -> Option<CString> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if in_query => b' ',
            other => other,
        });
    }
    CString::new(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logger(name: &str) -> Program {
        match Target::parse(name).unwrap() {
            Target::Logger(program) => program,
            other => panic!("{other:?}"),
        }
    }

    fn arguments(name: &str) -> Vec<String> {
        logger(name).arguments.into_iter().map(|text| text.into_string().unwrap()).collect()
    }

    #[test]
    fn names() {
        assert_eq!(Target::parse("").unwrap(), Target::Null);
        assert_eq!(Target::parse("/dev/null").unwrap(), Target::Null);
        assert_eq!(Target::parse("/run/a:b").unwrap(), Target::Path("/run/a:b".into()));
        assert_eq!(Target::parse("fifo:///run/f").unwrap(), Target::Path("/run/f".into()));
        assert_eq!(
            Target::parse("file:///var/log/a%20b.log").unwrap(),
            Target::File("/var/log/a b.log".into())
        );
        assert_eq!(Target::parse("file:/x#part").unwrap(), Target::File("/x".into()));
    }

    #[test]
    fn arguments_of_a_logger() {
        let program = logger("binary:///usr/bin/log");
        assert_eq!(program.path, PathBuf::from("/usr/bin/log"));
        assert!(program.arguments.is_empty() && !program.says_ready);
        assert!(logger("binary-v2:///usr/bin/log").says_ready);
        let given = arguments("binary:///l?path=%2Fvar%2Flog&debug&text=a+b&path=second");
        assert_eq!(given, ["path", "/var/log", "debug", "", "text", "a b"]);
    }

    #[test]
    fn refusals_name_the_uri() {
        for name in ["http://host/x", "file://host", "file:x", "file:///a%zz", "binary:///l?a=%00"]
        {
            let error = Target::parse(name).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{name}: the URI's ")) || error.contains("path"),
                "{error}"
            );
        }
    }
}
