//! Places for messages: standard error, a file, syslog, the journal.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;

use crate::log::{Entry, Format};

/// Where syslog(3) sends datagrams.
const SYSLOG: &str = "/dev/log";

/// Where the journal takes datagrams: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Where messages go.
pub(crate) enum Place {
    Stderr,
    File(File),
    Syslog(UnixDatagram, String),
    Journal(UnixDatagram, String),
}

/// What `--log` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    File(&'a OsStr),
    Syslog(&'a OsStr),
    Journal(&'a OsStr),
}

impl<'a> Name<'a> {
    /// A path, or a word of these with a colon before what it is about.
    pub(crate) fn parse(word: &'a OsStr) -> Self {
        let after = |prefix: &str| word.as_bytes().strip_prefix(prefix.as_bytes());
        match (after("file:"), after("syslog:"), after("journald:")) {
            (Some(path), ..) => Self::File(OsStr::from_bytes(path)),
            (_, Some(tag), _) => Self::Syslog(OsStr::from_bytes(tag)),
            (_, _, Some(tag)) => Self::Journal(OsStr::from_bytes(tag)),
            _ => Self::File(word),
        }
    }

    /// The file or socket, for an error.
    pub(crate) fn path(&self) -> &'a OsStr {
        match self {
            Self::File(path) => path,
            Self::Syslog(_) => SYSLOG.as_ref(),
            Self::Journal(_) => JOURNAL.as_ref(),
        }
    }
}

impl Place {
    /// Opens a place; a file is made with mode 0644. `program` is the tag where none is named.
    ///
    /// # Errors
    /// What open(2) or connect(2) answered.
    pub(crate) fn open(name: Name<'_>, program: &str) -> io::Result<Self> {
        let connected = |path: &str| {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path).map(|()| socket)
        };
        let tagged = |tag: &OsStr| match tag.is_empty() {
            true => program.to_owned(),
            false => tag.to_string_lossy().into_owned(),
        };
        match name {
            Name::File(path) => {
                let mut options = OpenOptions::new();
                options.append(true).create(true).mode(0o644).open(path).map(Self::File)
            }
            Name::Syslog(tag) => Ok(Self::Syslog(connected(SYSLOG)?, tagged(tag))),
            Name::Journal(tag) => Ok(Self::Journal(connected(JOURNAL)?, tagged(tag))),
        }
    }

    /// Whether it is standard error.
    pub(crate) fn is_stderr(&self) -> bool {
        matches!(self, Self::Stderr)
    }

    /// Another handle of the same place; standard error where there is none.
    pub(crate) fn again(&self) -> Self {
        let copy = match self {
            Self::Stderr => None,
            Self::File(file) => file.try_clone().ok().map(Self::File),
            Self::Syslog(socket, tag) => {
                socket.try_clone().ok().map(|socket| Self::Syslog(socket, tag.clone()))
            }
            Self::Journal(socket, tag) => {
                socket.try_clone().ok().map(|socket| Self::Journal(socket, tag.clone()))
            }
        };
        copy.unwrap_or(Self::Stderr)
    }

    /// One write for the whole entry, so that those of several processes do not mix. What cannot
    /// be written goes to standard error; that this is closed or full must not become another
    /// failure.
    pub(crate) fn write(&self, entry: &Entry<'_>, format: Format) {
        let line = || format!("{}\n", entry.line(format));
        let written = match self {
            Self::Stderr => return print_stderr(&entry.line(format)),
            Self::File(file) => {
                let mut file = file;
                file.write_all(line().as_bytes())
            }
            Self::Syslog(socket, tag) => socket.send(&syslog(entry, tag)).map(drop),
            Self::Journal(socket, tag) => socket.send(&journal(entry, tag)).map(drop),
        };
        if written.is_err() {
            print_stderr(&entry.line(format));
        }
    }
}

/// Prints to standard error. That it is closed or full must not become another failure.
pub(crate) fn print_stderr(message: &str) {
    if io::stderr().write_all(format!("{message}\n").as_bytes()).is_err() {
        // There is no further place.
    }
}

/// Severities of syslog(3).
fn priority(level: &str) -> u8 {
    match level {
        "error" => 3,
        "warning" => 4,
        _ => 7,
    }
}

/// The form of syslog(3): priority with the facility of daemons, tag, process.
fn syslog(entry: &Entry<'_>, tag: &str) -> Vec<u8> {
    const DAEMON: u8 = 3 << 3;
    let priority = DAEMON | priority(entry.level);
    let message = entry.text();
    format!("<{priority}>{tag}[{}]: {message}", std::process::id()).into_bytes()
}

fn journal(entry: &Entry<'_>, tag: &str) -> Vec<u8> {
    let mut datagram = Vec::new();
    let mut add = |name: &str, value: &str| {
        datagram.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            datagram.push(b'\n');
            datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            datagram.push(b'=');
        }
        datagram.extend_from_slice(value.as_bytes());
        datagram.push(b'\n');
    };
    add("MESSAGE", entry.message);
    add("PRIORITY", &priority(entry.level).to_string());
    add("SYSLOG_IDENTIFIER", tag);
    for (name, value) in entry.fields {
        add(&name.to_uppercase(), value);
    }
    for (name, values) in entry.lists {
        values.iter().for_each(|value| add(&name.to_uppercase(), value));
    }
    datagram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_prefixes_of_crun() {
        let parse = |word: &'static str| Name::parse(OsStr::new(word));
        assert_eq!(parse("/x/log"), Name::File(OsStr::new("/x/log")));
        assert_eq!(parse("file:/x/log"), Name::File(OsStr::new("/x/log")));
        assert_eq!(parse("syslog:web"), Name::Syslog(OsStr::new("web")));
        assert_eq!(parse("journald:"), Name::Journal(OsStr::new("")));
    }

    #[test]
    fn syslog_and_the_journal_get_datagrams_in_their_forms() {
        let warnings = ["w 1".to_owned(), "w\n2".to_owned()];
        let entry = Entry {
            time: 0,
            level: "error",
            message: "it failed",
            fields: &[("hint", "do this")],
            lists: &[("warnings", &warnings)],
        };
        let received = |place: fn(UnixDatagram, String) -> Place| {
            let (ours, theirs) = UnixDatagram::pair().unwrap();
            place(theirs, "web".to_owned()).write(&entry, Format::Json);
            let mut buffer = [0; 512];
            let length = ours.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        let expected = format!(
            "<27>web[{}]: it failed hint=\"do this\" warnings=\"w 1; w\\n2\"",
            std::process::id()
        );
        assert_eq!(received(Place::Syslog), expected);
        assert_eq!(
            received(Place::Journal),
            "MESSAGE=it failed\nPRIORITY=3\nSYSLOG_IDENTIFIER=web\nHINT=do this\nWARNINGS=w 1\n\
             WARNINGS\n\u{3}\0\0\0\0\0\0\0w\n2\n"
        );
    }
}
