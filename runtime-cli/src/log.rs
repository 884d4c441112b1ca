//! Where messages go: `--log`, or standard error.
//!
//! Callers decode this file: containerd takes the last object of level `error`, Podman the whole
//! file as one object. So a failure is exactly one line, and warnings that came before it are a
//! field of that line; after a success they are lines of their own. The same goes for debug
//! messages in a file of JSON; elsewhere nobody decodes them, and they are written at once.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

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

/// The sink of one run of the program.
pub(crate) struct Log {
    file: Option<File>,
    format: Format,
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
        Self { file: None, format, warnings: RefCell::default(), debug: Arc::default() }
    }

    /// A sink that appends to a file, which it creates with mode 0644.
    ///
    /// # Errors
    /// What open(2) answered.
    pub(crate) fn append(path: &OsStr, format: Format) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o644).open(path)?;
        Ok(Self { file: Some(file), ..Self::stderr(format) })
    }

    /// Sends the library's debug messages to this sink from now on.
    pub(crate) fn install_debug(&self) {
        let file = self.file.as_ref().and_then(|file| file.try_clone().ok());
        if file.is_some() && self.format == Format::Json {
            self.debug.hold();
        }
        let held = Arc::clone(&self.debug);
        let debug = Debug { file: file.map(Mutex::new), format: self.format, held };
        if log::set_boxed_logger(Box::new(debug)).is_ok() {
            log::set_max_level(log::LevelFilter::Debug);
        }
    }

    /// Remembers a warning until it is known whether the command succeeds.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.warnings.borrow_mut().push(message.into());
    }

    /// Writes what was remembered as lines of their own: the command succeeded, or a container's
    /// process runs.
    pub(crate) fn flush(&self) {
        for message in self.debug.release() {
            self.write(&line(self.format, message.time, "debug", &message.text, &[], &[]));
        }
        for warning in self.warnings.take() {
            self.write(&line(self.format, now(), "warning", &warning, &[], &[]));
        }
    }

    /// Writes the one line of a failure, with further fields, and the bare message to standard
    /// error when the line went to a file.
    pub(crate) fn error(&self, message: &str, fields: &[(&str, &str)]) {
        let warnings = self.warnings.take();
        let debug: Vec<String> =
            self.debug.release().into_iter().map(|message| message.text).collect();
        let lists = [("warnings", warnings.as_slice()), ("debug", debug.as_slice())];
        self.write(&line(self.format, now(), "error", message, fields, &lists));
        if self.file.is_some() {
            print_stderr(message);
        }
    }

    fn write(&self, line: &str) {
        write_to(self.file.as_ref(), line);
    }
}

/// Prints to standard error. That it is closed or full must not become another failure.
pub(crate) fn print_stderr(message: &str) {
    write_to(None, message);
}

/// One write for the whole line, so that lines of several processes do not mix in one file.
fn write_to(file: Option<&File>, line: &str) {
    let line = format!("{line}\n");
    let written = match file {
        Some(mut file) => file.write_all(line.as_bytes()),
        None => io::stderr().write_all(line.as_bytes()),
    };
    if written.is_err() && file.is_some() {
        // A full disk must not hide the message: the last resort is standard error.
        write_to(None, line.trim_end());
    }
}

/// Fields whose values are lists; empty ones are left out.
type Lists<'a> = [(&'a str, &'a [String])];

fn line(
    format: Format,
    time: u64,
    level: &str,
    message: &str,
    fields: &[(&str, &str)],
    lists: &Lists<'_>,
) -> String {
    let time = text::rfc3339(time);
    match format {
        Format::Json => json_line(&time, level, message, fields, lists),
        Format::Text => text_line(&time, level, message, fields, lists),
    }
}

fn json_line(
    time: &str,
    level: &str,
    message: &str,
    fields: &[(&str, &str)],
    lists: &Lists<'_>,
) -> String {
    let mut line = format!(r#"{{"level":"{level}","msg":{},"time":"{time}""#, json(message));
    for (name, value) in fields {
        line.push_str(&format!(r#","{name}":{}"#, json(value)));
    }
    for (name, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
        let list: Vec<String> = list.iter().map(|item| json(item)).collect();
        line.push_str(&format!(r#","{name}":[{}]"#, list.join(",")));
    }
    line.push('}');
    line
}

fn text_line(
    time: &str,
    level: &str,
    message: &str,
    fields: &[(&str, &str)],
    lists: &Lists<'_>,
) -> String {
    let mut line = format!("time=\"{time}\" level={level} msg={}", word(message));
    for (name, value) in fields {
        line.push_str(&format!(" {name}={}", word(value)));
    }
    for (name, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
        line.push_str(&format!(" {name}={}", word(&list.join("; "))));
    }
    line
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
    file: Option<Mutex<File>>,
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
        let Err(message) = self.held.take(message) else { return };
        let text = line(self.format, message.time, "debug", &message.text, &[], &[]);
        match self.file.as_ref().map(|file| file.lock()) {
            Some(Ok(file)) => write_to(Some(&file), &text),
            _ => write_to(None, &text),
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_are_what_logrus_writes() {
        let line = line(Format::Json, 0, "error", "a \"b\"\nc", &[], &[]);
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
        let json = line(Format::Json, 0, "error", "m", &fields, &lists);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["warnings"], serde_json::json!(["first", "second \"x\""]));
        assert_eq!(value.get("debug"), None);
        assert_eq!(value["pointer"], "/process/args");
        let text = line(Format::Text, 0, "error", "m", &fields, &lists);
        assert!(text.starts_with("time=\"1970-"));
        let end = r#" level=error msg=m pointer=/process/args warnings="first; second \"x\"""#;
        assert!(text.ends_with(end), "{text}");
    }
}
