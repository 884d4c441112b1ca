//! Messages of one run of the program, and when they are written.
//!
//! Callers decode this file: containerd takes the last object of level `error`, Podman the whole
//! file as one object. So a failure is exactly one line, and warnings that came before it are a
//! field of that line; after a success they are lines of their own. The same goes for debug
//! messages in a file of JSON; elsewhere nobody decodes them, and they are written at once.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::place::{Place, print_stderr};
use crate::text;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="..." level=error msg="..."`
    Text,
    /// One JSON object.
    Json,
}

impl Format {
    /// Reads `--log-format`.
    pub(crate) fn parse(name: &OsStr) -> Option<Self> {
        match name.to_str()? {
            "text" | "" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What is written at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Least {
    /// Failures alone.
    Error,
    /// Warnings, too.
    Warning,
    /// Everything.
    Debug,
}

impl Least {
    /// Reads `--log-level`.
    pub(crate) fn parse(name: &OsStr) -> Option<Self> {
        match name.to_str()? {
            "error" => Some(Self::Error),
            "warning" | "" => Some(Self::Warning),
            "debug" => Some(Self::Debug),
            _ => None,
        }
    }
}

/// One message.
pub(crate) struct Entry<'a> {
    /// Seconds since the epoch.
    pub(crate) time: u64,
    pub(crate) level: &'static str,
    pub(crate) message: &'a str,
    pub(crate) fields: &'a [(&'a str, &'a str)],
    /// Fields whose values are lists; empty ones are left out.
    pub(crate) lists: &'a [(&'a str, &'a [String])],
}

/// The sink of one run of the program.
pub(crate) struct Log {
    place: Place,
    format: Format,
    least: Least,
    warnings: RefCell<Vec<String>>,
    debug: Arc<Held>,
}

/// Debug messages that wait for the end of the command.
#[derive(Default)]
struct Held(Mutex<Option<Vec<Message>>>);

struct Message {
    time: u64,
    text: String,
}

impl Held {
    fn hold(&self) {
        self.lock().get_or_insert_default();
    }

    /// The messages so far; those that follow are not held.
    fn release(&self) -> Vec<Message> {
        self.lock().take().unwrap_or_default()
    }

    /// Takes a message, or gives it back.
    fn take(&self, message: Message) -> Result<(), Message> {
        match self.lock().as_mut() {
            Some(messages) => messages.push(message),
            None => return Err(message),
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Message>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// A sink on standard error.
    pub(crate) fn stderr(format: Format) -> Self {
        Self::new(Place::Stderr, format, Least::Warning)
    }

    /// A sink on this place.
    pub(crate) fn new(place: Place, format: Format, least: Least) -> Self {
        Self { place, format, least, warnings: RefCell::default(), debug: Arc::default() }
    }

    /// Sends the library's debug messages to this sink from now on, if it wants them.
    pub(crate) fn install_debug(&self) -> bool {
        if self.least != Least::Debug {
            return false;
        }
        if matches!(self.place, Place::File(_)) && self.format == Format::Json {
            self.debug.hold();
        }
        let held = Arc::clone(&self.debug);
        let debug = Debug { place: Mutex::new(self.place.again()), format: self.format, held };
        let installed = log::set_boxed_logger(Box::new(debug)).is_ok();
        if installed {
            log::set_max_level(log::LevelFilter::Debug);
        }
        installed
    }

    /// Remembers a warning until it is known whether the command succeeds.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        if self.least >= Least::Warning {
            self.warnings.borrow_mut().push(message.into());
        }
    }

    /// Writes what was remembered as lines of their own: the command succeeded, or a container's
    /// process runs.
    pub(crate) fn flush(&self) {
        let write = |time, level, message: &str| {
            self.place.write(&Entry { time, level, message, fields: &[], lists: &[] }, self.format);
        };
        for message in self.debug.release() {
            write(message.time, "debug", &message.text);
        }
        for warning in self.warnings.take() {
            write(now(), "warning", &warning);
        }
    }

    /// Writes the one line of a failure, with further fields, and the bare message to standard
    /// error when the line went elsewhere.
    pub(crate) fn error(&self, message: &str, fields: &[(&str, &str)]) {
        let warnings = self.warnings.take();
        let debug: Vec<String> =
            self.debug.release().into_iter().map(|message| message.text).collect();
        let lists = [("warnings", warnings.as_slice()), ("debug", debug.as_slice())];
        let entry = Entry { time: now(), level: "error", message, fields, lists: &lists };
        self.place.write(&entry, self.format);
        if !self.place.is_stderr() {
            print_stderr(message);
        }
    }
}

impl Entry<'_> {
    /// The entry on one line.
    pub(crate) fn line(&self, format: Format) -> String {
        let time = text::rfc3339(self.time);
        match format {
            Format::Json => self.json_line(&time),
            Format::Text => {
                let (level, message) = (self.level, word(self.message));
                format!("time=\"{time}\" level={level} msg={message}{}", self.rest())
            }
        }
    }

    /// The message and its fields.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.message, self.rest())
    }

    fn json_line(&self, time: &str) -> String {
        let (level, message) = (self.level, json(self.message));
        let mut line = format!(r#"{{"level":"{level}","msg":{message},"time":"{time}""#);
        for (name, value) in self.fields {
            line.push_str(&format!(r#","{name}":{}"#, json(value)));
        }
        for (name, list) in self.lists.iter().filter(|(_, list)| !list.is_empty()) {
            let list: Vec<String> = list.iter().map(|item| json(item)).collect();
            line.push_str(&format!(r#","{name}":[{}]"#, list.join(",")));
        }
        line.push('}');
        line
    }

    fn rest(&self) -> String {
        let mut rest = String::new();
        for (name, value) in self.fields {
            rest.push_str(&format!(" {name}={}", word(value)));
        }
        for (name, list) in self.lists.iter().filter(|(_, list)| !list.is_empty()) {
            rest.push_str(&format!(" {name}={}", word(&list.join("; "))));
        }
        rest
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A bare word stays bare, as logrus writes it.
fn word(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if !text.is_empty() && text.bytes().all(bare) {
        return text.to_owned();
    }
    json(text)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The `log` facade of the library: its messages are debug and below.
struct Debug {
    place: Mutex<Place>,
    format: Format,
    held: Arc<Held>,
}

impl log::Log for Debug {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Debug
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = Message { time: now(), text: record.args().to_string() };
        let Err(Message { time, text }) = self.held.take(message) else { return };
        let entry = Entry { time, level: "debug", message: &text, fields: &[], lists: &[] };
        self.place.lock().unwrap_or_else(PoisonError::into_inner).write(&entry, self.format);
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(
        format: Format,
        message: &str,
        fields: &[(&str, &str)],
        lists: &[(&str, &[String])],
    ) -> String {
        Entry { time: 0, level: "error", message, fields, lists }.line(format)
    }

    #[test]
    fn json_lines_are_what_logrus_writes() {
        let line = line(Format::Json, "a \"b\"\nc", &[], &[]);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a \"b\"\nc");
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(value.as_object().unwrap().len(), 3);
    }

    #[test]
    fn fields_and_warnings_belong_to_the_line_of_the_failure() {
        let warnings = ["first".to_owned(), "second \"x\"".to_owned()];
        let lists = [("warnings", warnings.as_slice()), ("debug", &[])];
        let fields = [("pointer", "/process/args")];
        let json = line(Format::Json, "m", &fields, &lists);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["warnings"], serde_json::json!(["first", "second \"x\""]));
        assert_eq!(value.get("debug"), None);
        assert_eq!(value["pointer"], "/process/args");
        let text = line(Format::Text, "m", &fields, &lists);
        assert!(text.starts_with("time=\"1970-"));
        let end = r#" level=error msg=m pointer=/process/args warnings="first; second \"x\"""#;
        assert!(text.ends_with(end), "{text}");
    }
}
