//! The program behind every hook: appends one line of JSON to a log that says
//! who it is, what it read on stdin and where it runs.

use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::process::ExitCode;

/// The hidden first argument.
pub(crate) const PART: &str = "__hook";

/// `LOG NAME [exit CODE | hold | end-by-signal]`
pub(crate) fn play(args: Vec<OsString>) -> ExitCode {
    let text = |index: usize| {
        args.get(index).map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default()
    };
    match append(&text(0), &text(1)) {
        Ok(()) => {}
        Err(error) => {
            eprintln!("hook: {}: {error}", text(0));
            return ExitCode::from(121);
        }
    }
    match text(2).as_str() {
        "exit" => {
            eprintln!("hook {} fails as it was told", text(1));
            ExitCode::from(text(3).parse().unwrap_or(1))
        }
        "end-by-signal" => {
            let own = nix::unistd::getpid();
            nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL).ok();
            ExitCode::FAILURE
        }
        "hold" => loop {
            std::thread::park();
        },
        _ => ExitCode::SUCCESS,
    }
}

/// Numbers of the open descriptors but the one that reads the list.
fn descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    // The list itself, by whatever number the process has in that /proc.
    let is_list = |to: std::path::PathBuf| to.starts_with("/proc") && to.ends_with("fd");
    entries
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| !is_list(to)))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn append(log: &str, name: &str) -> std::io::Result<()> {
    // Before the first map: the library opens /dev/urandom for it where getrandom is refused.
    let descriptors = descriptors();
    let mut stdin = String::new();
    std::io::stdin().read_to_string(&mut stdin)?;
    let state: Value = serde_json::from_str(&stdin).unwrap_or(Value::Null);
    let link = |name: &str| {
        std::fs::read_link(name).ok().map(|target| target.to_string_lossy().into_owned())
    };
    let line = json!({
        "hook": name,
        "state": state,
        "stdin": stdin,
        "environment": std::env::vars().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        "arguments": std::env::args().collect::<Vec<_>>(),
        "mount_namespace": link("/proc/self/ns/mnt"),
        "pid_namespace": link("/proc/self/ns/pid"),
        "uts_namespace": link("/proc/self/ns/uts"),
        "cwd": std::env::current_dir().ok().map(|path| path.to_string_lossy().into_owned()),
        // The same directory seen from inside and from outside of the root.
        "sees_probe_at_root": std::fs::metadata(crate::probe::PATH).is_ok(),
        "descriptors": descriptors,
        "has_proc": std::fs::metadata("/proc/self").is_ok(),
    });
    let mut file = OpenOptions::new().append(true).create(true).open(log)?;
    writeln!(file, "{line}")
}
