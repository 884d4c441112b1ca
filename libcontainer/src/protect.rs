//! Keeps containers from writing to the file of the program that starts them (CVE-2019-5736).
//!
//! From the clone to execve, /proc/PID/exe of the container's process names the file of this
//! program; a payload may be a link to it, or a script that names it. So the file must be out of
//! reach of everything that a container can do: a read-only clone of its mount that is attached
//! nowhere, sealed memory, a file with fs-verity, or a file system that cannot be written at all.
//! A read-only mount of the host is not enough: it can be remounted.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result, kernel_words};
use crate::plan::Mappings;
use crate::spec::IdMapping;
use crate::sys::process;

const SELF: &str = "/proc/self/exe";

/// Makes sure that no container can reach the file of the running program: executes the program
/// again from a clone or a copy that cannot be written, once. Call it first in `main`, before
/// anything is opened and before any thread is started: what the program has done so far is done
/// again. Returns at once in a protected program.
///
/// [`std::env::current_exe`] says nothing useful afterwards.
///
/// # Errors
/// [`ErrorKind::Unprotected`] when neither a clone nor a copy can be made.
pub fn protect_self() -> Result<()> {
    if is_protected() {
        return Ok(());
    }
    let file = File::open(SELF).map_err(|error| unprotected(&kernel_words(&error)))?;
    let arguments = c_strings(std::env::args_os().map(|argument| argument.into_encoded_bytes()))?;
    let environment = c_strings(std::env::vars_os().map(|(name, value)| {
        let mut entry = name.into_encoded_bytes();
        entry.push(b'=');
        entry.extend_from_slice(value.as_bytes());
        entry
    }))?;
    if let Ok(clone) = process::read_only_clone(file.as_fd()) {
        let errno = process::execute(clone.as_fd(), &arguments, &environment);
        log::debug!("the program is not executed from a clone of its mount: {errno}");
    }
    let content = std::fs::read(SELF).map_err(|error| unprotected(&kernel_words(&error)))?;
    let copy = process::sealed_memory(c"husk", &content, true)
        .map_err(|errno| unprotected(&errno.to_string()))?;
    Err(unprotected(&process::execute(copy.as_fd(), &arguments, &environment).to_string()))
}

fn c_strings(texts: impl Iterator<Item = Vec<u8>>) -> Result<Vec<CString>> {
    texts.map(|text| CString::new(text).map_err(|error| unprotected(&error.to_string()))).collect()
}

fn unprotected(why: &str) -> Error {
    let message = format!("the program cannot be protected from its containers: {why}");
    Error::new(ErrorKind::Unprotected, message)
}

/// Refuses to start a process of a container that could write to this program's file. Ids that
/// the container's user namespace does not map cannot write to a file that only its owner may
/// write.
pub(crate) fn check(mappings: Option<&Mappings>) -> Result<()> {
    if is_protected() || mappings.is_some_and(is_out_of_reach) {
        return Ok(());
    }
    let message = "the file of this program could be overwritten from inside the container \
                   (CVE-2019-5736): libcontainer::protect_self() was not called";
    Err(Error::new(ErrorKind::Unprotected, message).with_hint(
        "call protect_self() first in main, or accept the risk with \
         accept_unprotected_program(true)",
    ))
}

/// What /proc/self/exe is does not change while the program runs.
pub(crate) fn is_protected() -> bool {
    static PROTECTED: OnceLock<bool> = OnceLock::new();
    *PROTECTED.get_or_init(|| {
        File::open(SELF).is_ok_and(|file| {
            process::is_sealed(file.as_fd())
                || process::is_unwritable(file.as_fd())
                || (is_detached() && process::is_read_only(file.as_fd()))
        })
    })
}

/// A file that is the root of its mount and is reached through no other has the path "/". Nobody
/// can remount such a mount, nor make another of it.
fn is_detached() -> bool {
    std::fs::read_link(SELF).is_ok_and(|path| path == Path::new("/"))
}

/// Whether no id of these mappings can write to the file of the running program.
pub(crate) fn is_out_of_reach(mappings: &Mappings) -> bool {
    let Ok(file) = File::open(SELF) else { return false };
    let Ok(metadata) = file.metadata() else { return false };
    let maps = |ranges: &[IdMapping], id: u32| {
        ranges
            .iter()
            .any(|range| id.checked_sub(range.host_id).is_some_and(|offset| offset < range.size))
    };
    let others_write = metadata.mode() & 0o022 != 0;
    !maps(&mappings.uids, metadata.uid())
        && !maps(&mappings.gids, metadata.gid())
        && !others_write
        && !process::has_acl(file.as_fd())
}
