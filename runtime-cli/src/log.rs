//! Where messages go: `--log`, or standard error.
//!
//! Callers decode this file: containerd takes the last object of level `error`, Podman the whole
//! file as one object. So a failure is exactly one line, and warnings that came before it are a
//! field of that line; after a success they are lines of their own.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;
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
}

impl Log {
    /// A sink on standard error.
    pub(crate) fn stderr(format: Format) -> Self {
        Self { file: None, format, warnings: RefCell::default() }
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
        let debug = Debug { file: file.map(Mutex::new), format: self.format };
        if log::set_boxed_logger(Box::new(debug)).is_ok() {
            log::set_max_level(log::LevelFilter::Debug);
        }
    }

    /// Remembers a warning until it is known whether the command succeeds.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.warnings.borrow_mut().push(message.into());
    }

    /// Writes the remembered warnings as lines of their own: the command succeeded.
    pub(crate) fn flush_warnings(&self) {
        for warning in self.warnings.take() {
            self.write(&line(self.format, "warning", &warning, &[], &[]));
        }
    }

    /// Writes the one line of a failure, with further fields, and the bare message to standard
    /// error when the line went to a file.
    pub(crate) fn error(&self, message: &str, fields: &[(&str, &str)]) {
        let warnings = self.warnings.take();
        self.write(&line(self.format, "error", message, fields, &warnings));
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

fn line(
    format: Format,
    level: &str,
    message: &str,
    fields: &[(&str, &str)],
    warnings: &[String],
) -> String {
    let time = text::rfc3339(now());
    match format {
        Format::Json => json_line(&time, level, message, fields, warnings),
        Format::Text => text_line(&time, level, message, fields, warnings),
    }
}

fn json_line(
    time: &str,
    level: &str,
    message: &str,
    fields: &[(&str, &str)],
    warnings: &[String],
) -> String {
    let mut line = format!(r#"{{"level":"{level}","msg":{},"time":"{time}""#, json(message));
    for (name, value) in fields {
        line.push_str(&format!(r#","{name}":{}"#, json(value)));
    }
    if !warnings.is_empty() {
        let warnings: Vec<String> = warnings.iter().map(|warning| json(warning)).collect();
        line.push_str(&format!(r#","warnings":[{}]"#, warnings.join(",")));
    }
    line.push('}');
    line
}

fn text_line(
    time: &str,
    level: &str,
    message: &str,
    fields: &[(&str, &str)],
    warnings: &[String],
) -> String {
    let mut line = format!("time=\"{time}\" level={level} msg={}", word(message));
    for (name, value) in fields {
        line.push_str(&format!(" {name}={}", word(value)));
    }
    if !warnings.is_empty() {
        line.push_str(&format!(" warnings={}", word(&warnings.join("; "))));
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
}

impl log::Log for Debug {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Debug
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = line(self.format, "debug", &record.args().to_string(), &[], &[]);
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
        let line = line(Format::Json, "error", "a \"b\"\nc", &[], &[]);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a \"b\"\nc");
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(value.as_object().unwrap().len(), 3);
    }

    #[test]
    fn fields_and_warnings_belong_to_the_line_of_the_failure() {
        let warnings = ["first".to_owned(), "second \"x\"".to_owned()];
        let fields = [("pointer", "/process/args")];
        let json = line(Format::Json, "error", "m", &fields, &warnings);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["warnings"], serde_json::json!(["first", "second \"x\""]));
        assert_eq!(value["pointer"], "/process/args");
        let text = line(Format::Text, "error", "m", &fields, &warnings);
        assert!(text.starts_with("time=\"20"));
        let end = r#" level=error msg=m pointer=/process/args warnings="first; second \"x\"""#;
        assert!(text.ends_with(end), "{text}");
    }
}
