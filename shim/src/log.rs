//! The shim's own log, written to the FIFO that containerd reads.
//!
//! The FIFO is open for reading as well, and never waited for: without a reader messages stay in
//! it for the next containerd, and are lost when it is full. A shim never waits for its log.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use log::{Level, LevelFilter, Log, Metadata, Record};

/// Name of the FIFO in the working directory.
const FIFO: &str = "log";

struct Logger {
    debug: bool,
}

/// Has messages of this program go to the FIFO from now on, and what is written to standard error
/// as well. They stay on standard error where there is no FIFO.
pub(crate) fn start(debug: bool) -> Result<()> {
    if let Some(fifo) = open(FIFO.as_ref())? {
        nix::unistd::dup2_stderr(fifo).context("make the log the standard error")?;
    }
    log::set_boxed_logger(Box::new(Logger { debug })).map_err(anyhow::Error::msg)?;
    log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
    Ok(())
}

fn open(path: &Path) -> Result<Option<File>> {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Ok(None);
    }
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    options.open(path).map(Some).with_context(|| format!("open {}", path.display()))
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // A client that goes away is an error to the protocol's library only.
        self.debug || !metadata.target().starts_with("ttrpc")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = line(record.level(), &record.args().to_string());
        // A log that takes nothing more is nobody's failure.
        drop(std::io::stderr().write(line.as_bytes()));
    }

    fn flush(&self) {}
}

/// In the form of containerd's own messages.
fn line(level: Level, message: &str) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    };
    format!("level={level} msg={message:?} runtime=io.containerd.husk.v1\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let line = line(Level::Warn, "two\nlines \"quoted\"");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.starts_with("level=warning msg=\"two\\nlines \\\"quoted\\\"\""), "{line}");
    }

    #[test]
    fn a_log_without_reader_takes_no_time_and_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FIFO);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut fifo = open(&path).unwrap().expect("it is a FIFO");
        let written = (0..10_000).map(|_| fifo.write(b"a message\n"));
        let last = written.last().expect("many").unwrap_err();
        assert_eq!(last.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_is_no_fifo_is_no_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FIFO);
        assert!(open(&path).unwrap().is_none());
        std::fs::write(&path, "").unwrap();
        assert!(open(&path).unwrap().is_none());
    }
}
