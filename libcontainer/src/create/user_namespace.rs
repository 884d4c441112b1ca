//! Mappings of a new user namespace, written from outside.

use std::ffi::CString;
use std::os::fd::AsFd;

use crate::error::{Error, ErrorKind, Result, kernel_words};
use crate::plan::Mappings;
use crate::spec::IdMapping;
use crate::sys::Errno;
use crate::sys::pidfd::{self, Ended};
use crate::sys::spawn::{self, Command, Report};

/// Writes the mappings of a process's user namespace, by newuidmap(1) and newgidmap(1) where our
/// rights do not suffice.
pub(super) fn write_mappings(pid: u32, mappings: &Mappings) -> Result<()> {
    if mappings.deny_setgroups {
        let path = format!("/proc/{pid}/setgroups");
        match std::fs::write(&path, "deny") {
            Ok(()) => {}
            // Linux before 3.19 has no such file.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(Error::io(ErrorKind::System, "write", path, &error)),
        }
    }
    write_map(pid, "gid_map", "/linux/gidMappings", &mappings.gids, "newgidmap")?;
    write_map(pid, "uid_map", "/linux/uidMappings", &mappings.uids, "newuidmap")
}

fn write_map(
    pid: u32,
    name: &str,
    pointer: &str,
    mappings: &[IdMapping],
    program: &str,
) -> Result<()> {
    let path = format!("/proc/{pid}/{name}");
    let lines: String = mappings
        .iter()
        .map(|range| format!("{} {} {}\n", range.container_id, range.host_id, range.size))
        .collect();
    match std::fs::write(&path, lines) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            run_mapper(program, pid, mappings).map_err(|why| {
                let message = format!("write {name}: {}; {why}", kernel_words(&error));
                Error::new(ErrorKind::System, message).at(pointer).with_hint(
                    "ordinary users may map other ids than their own if /etc/subuid and \
                     /etc/subgid give them ranges and newuidmap(1) is installed",
                )
            })
        }
        Err(error) => Err(Error::io(ErrorKind::System, "write", name, &error).at(pointer)),
    }
}

/// Runs newuidmap or newgidmap, as found in PATH; the failure in words.
fn run_mapper(program: &str, pid: u32, mappings: &[IdMapping]) -> std::result::Result<(), String> {
    let path = find(program).ok_or_else(|| format!("{program} is not installed"))?;
    let numbers = mappings
        .iter()
        .flat_map(|range| [range.container_id, range.host_id, range.size])
        .map(|number| number.to_string());
    let arguments: Vec<CString> = [program.to_owned(), pid.to_string()]
        .into_iter()
        .chain(numbers)
        .map(|argument| CString::new(argument).map_err(|error| error.to_string()))
        .collect::<std::result::Result<_, _>>()?;
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| kernel_words(&error))?;
    let (mut reader, writer) = std::io::pipe().map_err(|error| kernel_words(&error))?;
    let command = Command {
        path: &path,
        arguments: &arguments,
        environment: &[],
        directory: None,
        stdio: [null.as_fd(), null.as_fd(), writer.as_fd()],
    };
    let words = |errno: Errno| format!("{program}: {errno}");
    let running = spawn::spawn(&command).map_err(words)?;
    drop(writer);
    pidfd::poll([(Some(running.status()), libc::POLLIN)], None).map_err(words)?;
    match running.report().map_err(words)? {
        Report::Ended(Ended::Exited(0)) => Ok(()),
        Report::NotExecuted(errno) => Err(words(errno)),
        Report::Ended(_) => {
            let mut said = String::new();
            // A few lines, which the ended program has left in the pipe.
            std::io::Read::read_to_string(&mut reader, &mut said)
                .map_err(|error| kernel_words(&error))?;
            Err(format!("{program} failed: {}", said.trim()))
        }
    }
}

fn find(program: &str) -> Option<CString> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .and_then(|found| CString::new(found.into_os_string().into_encoded_bytes()).ok())
}
