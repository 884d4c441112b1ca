//! Hooks of the runtime's namespaces: ordinary programs of the host.

use std::ffi::CString;
use std::fs::File;
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result, kernel_words};
use crate::plan::annotations::{HOOKS_STDERR, HOOKS_STDOUT, pointer};
use crate::plan::hook_output_path;
use crate::spec::Hook;
use crate::state::Record;
use crate::sys::pidfd::{self, Ended};
use crate::sys::spawn::{self, Command, Report, Running};
use crate::sys::{Errno, process};

/// Bytes of each output stream that are kept for the error: the last ones.
const KEPT: usize = 4096;

/// What all hooks of one kind share.
pub(crate) struct Occasion<'a> {
    /// `createRuntime` and the like.
    pub(crate) kind: &'a str,
    /// The state document for their standard input.
    pub(crate) state: &'a [u8],
    /// Their working directory.
    pub(crate) directory: &'a Path,
    /// Where their standard output and error go; for the error's text where it is none.
    pub(crate) output: &'a Output,
    /// The container's process: its end is the end of a hook that goes on before its start.
    pub(crate) container: Option<BorrowedFd<'a>>,
}

/// Files that annotations name for what hooks write.
#[derive(Debug, Default)]
pub(crate) struct Output([Option<File>; 2]);

impl Output {
    /// Opens them, at their ends, and makes what is missing.
    pub(crate) fn open(record: &Record) -> Result<Self> {
        let open = |name: &str| {
            let Some(path) = record.annotations.get(name) else { return Ok(None) };
            let path = hook_output_path(path, &record.bundle.display().to_string());
            let failed = |error: Error| error.at(pointer(name));
            open_output(&path).map(|file| Some(File::from(file))).map_err(failed)
        };
        Ok(Self([open(HOOKS_STDOUT)?, open(HOOKS_STDERR)?]))
    }
}

/// Opens a file for what hooks write.
pub(super) fn open_output(path: &str) -> Result<OwnedFd> {
    let mut options = File::options();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOCTTY);
    options
        .open(path)
        .map(OwnedFd::from)
        .map_err(|error| Error::io(ErrorKind::System, "open", path, &error))
}

impl Occasion<'_> {
    /// Runs hooks in order; the first failure ends it.
    pub(crate) fn run_all(&self, hooks: &[Hook]) -> Result<()> {
        for (index, hook) in hooks.iter().enumerate() {
            self.run(index, hook)?;
        }
        Ok(())
    }

    /// Runs all hooks whatever becomes of them; the failures are returned.
    pub(crate) fn try_all(&self, hooks: &[Hook]) -> Vec<Error> {
        hooks.iter().enumerate().filter_map(|(index, hook)| self.run(index, hook).err()).collect()
    }

    fn run(&self, index: usize, hook: &Hook) -> Result<()> {
        execute(hook, self).map_err(|failure| {
            let message = format!("error running {} hook #{index}: {failure}", self.kind);
            Error::new(ErrorKind::Hook, message).at(format!("/hooks/{}/{index}", self.kind))
        })
    }
}

/// Executes one hook; the failure in words.
fn execute(hook: &Hook, occasion: &Occasion<'_>) -> std::result::Result<(), String> {
    let words = |errno: Errno| errno.to_string();
    let deadline = hook
        .timeout
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(|seconds| (Instant::now() + Duration::from_secs(seconds), seconds));
    // All of it is there before the hook begins: nobody has to write while it runs, and one that
    // does not read its input hurts nobody.
    let input = process::input_of(occasion.state).map_err(words)?;
    let (out, out_end) = std::io::pipe().map_err(|error| kernel_words(&error))?;
    let (error, error_end) = std::io::pipe().map_err(|error| kernel_words(&error))?;
    let [out_file, error_file] =
        occasion.output.0.each_ref().map(|file| file.as_ref().map(AsFd::as_fd));
    let path = c_string(hook.path.as_bytes())?;
    let arguments =
        if hook.args.is_empty() { std::slice::from_ref(&hook.path) } else { &hook.args };
    let command = Command {
        path: &path,
        arguments: &c_strings(arguments.iter().map(String::as_bytes))?,
        environment: &environment(hook)?,
        directory: Some(&c_string(occasion.directory.as_os_str().as_bytes())?),
        stdio: [
            input.as_fd(),
            out_file.unwrap_or(out_end.as_fd()),
            error_file.unwrap_or(error_end.as_fd()),
        ],
    };
    let running = spawn::spawn(&command).map_err(words)?;
    drop((input, out_end, error_end));
    let mut output = [Stream::new(out), Stream::new(error)];
    match watch(running, &mut output, deadline.map(|(at, _)| at), occasion.container) {
        Err(errno) => Err(words(errno)),
        Ok(None) => match deadline {
            Some((at, seconds)) if Instant::now() >= at => {
                Err(format!("hook ran past specified timeout of {seconds}.0s"))
            }
            _ => Err("the container's process ended meanwhile".to_owned()),
        },
        Ok(Some(Report::Ended(Ended::Exited(0)))) => Ok(()),
        Ok(Some(report)) => Err(describe(&hook.path, report, &output)),
    }
}

fn describe(path: &str, report: Report, [out, error]: &[Stream; 2]) -> String {
    let how = match report {
        Report::NotExecuted(errno) => return format!("fork/exec {path}: {errno}"),
        Report::Ended(Ended::Exited(code)) => format!("exit status {code}"),
        Report::Ended(Ended::Signaled(signal)) => format!("signal: {}", signal_words(signal)),
        Report::Ended(Ended::Unknown) => "its exit status is lost".to_owned(),
    };
    format!("{how}, stdout: {}, stderr: {}", out.text(), error.text())
}

/// Names of the signals that end hooks, in the words of Go.
pub(crate) fn signal_words(signal: i32) -> String {
    match signal {
        libc::SIGHUP => "hangup".to_owned(),
        libc::SIGINT => "interrupt".to_owned(),
        libc::SIGQUIT => "quit".to_owned(),
        libc::SIGILL => "illegal instruction".to_owned(),
        libc::SIGTRAP => "trace/breakpoint trap".to_owned(),
        libc::SIGABRT => "aborted".to_owned(),
        libc::SIGBUS => "bus error".to_owned(),
        libc::SIGFPE => "floating point exception".to_owned(),
        libc::SIGALRM => "alarm clock".to_owned(),
        libc::SIGSYS => "bad system call".to_owned(),
        libc::SIGKILL => "killed".to_owned(),
        libc::SIGSEGV => "segmentation fault".to_owned(),
        libc::SIGPIPE => "broken pipe".to_owned(),
        libc::SIGTERM => "terminated".to_owned(),
        other => format!("signal {other}"),
    }
}

/// Waits for the end of a hook while reading what it writes. `None` when its time is over or the
/// container's process has ended: it is killed then.
fn watch(
    running: Running,
    output: &mut [Stream; 2],
    deadline: Option<Instant>,
    container: Option<BorrowedFd<'_>>,
) -> std::result::Result<Option<Report>, Errno> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let [out, error] = &*output;
        let [ended, out_ready, error_ready, container_ended] = pidfd::poll(
            [
                (Some(running.status()), libc::POLLIN),
                (out.wanted(), libc::POLLIN),
                (error.wanted(), libc::POLLIN),
                (container, libc::POLLIN),
            ],
            left,
        )?;
        let [out, error] = output;
        if out_ready != 0 {
            out.read();
        }
        if error_ready != 0 {
            error.read();
        }
        if ended != 0 {
            // Processes that the hook left behind may hold the pipes open for ever: what lies in
            // them now is all.
            out.drain()?;
            error.drain()?;
            return running.report().map(Some);
        }
        let over = deadline.is_some_and(|at| Instant::now() >= at);
        if container_ended != 0 || over {
            running.kill()?;
            return Ok(None);
        }
    }
}

/// One output stream, of which the end is kept.
struct Stream {
    pipe: Option<PipeReader>,
    kept: Vec<u8>,
}

impl Stream {
    fn new(pipe: PipeReader) -> Self {
        Self { pipe: Some(pipe), kept: Vec::new() }
    }

    fn wanted(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; KEPT];
        match pipe.read(&mut buffer) {
            Ok(0) | Err(_) => self.pipe = None,
            Ok(length) => {
                self.kept.extend_from_slice(buffer.get(..length).unwrap_or_default());
                let surplus = self.kept.len().saturating_sub(KEPT);
                self.kept.drain(..surplus);
            }
        }
    }

    fn drain(&mut self) -> std::result::Result<(), Errno> {
        while let Some(pipe) = &self.pipe {
            let [ready] = pidfd::poll([(Some(pipe.as_fd()), libc::POLLIN)], Some(Duration::ZERO))?;
            if ready == 0 {
                return Ok(());
            }
            self.read();
        }
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

/// A hook without an environment of its own has ours, as with runc.
fn environment(hook: &Hook) -> std::result::Result<Vec<CString>, String> {
    if !hook.env.is_empty() {
        return c_strings(hook.env.iter().map(String::as_bytes));
    }
    let ours = std::env::vars_os().map(|(name, value)| {
        let mut entry = name.into_encoded_bytes();
        entry.push(b'=');
        entry.extend_from_slice(value.as_bytes());
        entry
    });
    c_strings(ours)
}

fn c_strings<T: Into<Vec<u8>>>(
    texts: impl Iterator<Item = T>,
) -> std::result::Result<Vec<CString>, String> {
    texts.map(c_string).collect()
}

fn c_string(text: impl Into<Vec<u8>>) -> std::result::Result<CString, String> {
    CString::new(text).map_err(|_| "a text contains a NUL byte".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Option<i64>) -> std::result::Result<(), String> {
        let hook = Hook {
            path: "/bin/sh".to_owned(),
            args: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
            timeout,
            ..Hook::default()
        };
        let occasion = Occasion {
            kind: "createRuntime",
            state: b"{\"id\":\"c1\"}",
            directory: Path::new("/"),
            output: &Output::default(),
            container: None,
        };
        occasion.run_all(&[hook]).map_err(|error| error.to_string())
    }

    #[test]
    fn hooks_get_the_state_and_only_three_descriptors() {
        shell("test \"$(cat)\" = '{\"id\":\"c1\"}'", None).unwrap();
        shell("for fd in /proc/self/fd/*; do case $fd in */[0-3]) ;; *) exit 7;; esac; done", None)
            .unwrap();
        shell("test \"$PWD\" = /", None).unwrap();
    }

    #[test]
    fn failures_have_the_words_of_runc() {
        for (script, expected) in [
            ("exit 1", "exit status 1, stdout: , stderr: "),
            ("echo a; echo b >&2; exit 3", "exit status 3, stdout: a\n, stderr: b\n"),
            ("kill -9 $$", "signal: killed, stdout: , stderr: "),
            ("kill -SYS $$", "signal: bad system call, stdout: , stderr: "),
        ] {
            let error = shell(script, None).unwrap_err();
            assert_eq!(error, format!("error running createRuntime hook #0: {expected}"));
        }
        let error = shell("echo started; exec sleep 100", Some(1)).unwrap_err();
        assert_eq!(
            error,
            "error running createRuntime hook #0: hook ran past specified timeout of 1.0s"
        );
    }

    #[test]
    fn what_hooks_leave_behind_does_not_hold_them() {
        shell("sleep 1000 & echo $! ; exit 0", None).unwrap();
        let error = shell("sleep 1000 & echo $! ; exit 5", None).unwrap_err();
        let pid = error.split("stdout: ").nth(1).unwrap().split('\n').next().unwrap();
        let pidfd = pidfd::open(pid.parse().unwrap()).unwrap();
        pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap();
    }

    #[test]
    fn long_output_is_cut_at_its_beginning() {
        let error =
            shell("head -c 300000 /dev/zero | tr '\\0' x; echo end; exit 1", None).unwrap_err();
        assert!(error.len() < KEPT + 200 && error.contains("xend\n"), "{}", error.len());
    }
}
