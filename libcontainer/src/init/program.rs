//! Which file is executed, and its execution.

use std::ffi::CStr;

use super::report::Failure;
use super::runner::{Child, Outcome};
use crate::protocol::{Reserve, Slot, Texts, text_at};
use crate::sys::Errno;
use crate::sys::path::c_text;
use crate::sys::program::{Vectors, check_executable, mode_of};

/// Chooses among the candidates as the container's user: after the change of user, because what
/// root may execute says nothing.
pub(super) fn find(
    child: &mut Child<'_>,
    candidates: Texts,
    bare: bool,
    chosen: Reserve,
) -> Outcome {
    let mut last = Failure::from(Errno(libc::ENOENT));
    for index in 0..candidates.count {
        match check(c_text(child.text_of(candidates, index)?)?) {
            Ok(()) => {
                let range = child.reserved_range(chosen)?;
                let place = child.reserved.get_mut(range).ok_or(Errno(libc::EFAULT))?;
                let word = place.first_chunk_mut::<4>().ok_or(Errno(libc::EFAULT))?;
                *word = index.to_ne_bytes();
                return Ok(());
            }
            // As callers know it, everything unusable in PATH counts as absent.
            Err(_) if bare => {}
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// `detail` is 1 where the file is there but cannot be executed.
fn check(path: &CStr) -> Outcome {
    let mode = mode_of(path)?;
    match mode & libc::S_IFMT {
        libc::S_IFDIR => Err(Failure::from(Errno(libc::EISDIR)).at(1)),
        libc::S_IFREG => check_executable(path, mode).map_err(|errno| Failure::from(errno).at(1)),
        _ => Err(Failure::from(Errno(libc::EACCES)).at(1)),
    }
}

/// Becomes the chosen file. `detail` of a failure is the candidate, `text` its path: `start`, which
/// hears of it, has no program.
pub(super) fn execute(
    child: &mut Child<'_>,
    candidates: Texts,
    chosen: Reserve,
    args: Texts,
    env: Texts,
    home: Reserve,
    vector: Reserve,
) -> Outcome {
    let range = child.reserved_range(chosen)?;
    let word = child.reserved.get(range).and_then(|place| place.first_chunk::<4>());
    let index = word.map_or(0, |word| u32::from_ne_bytes(*word));
    let path = c_text(child.text_of(candidates, index)?)?;
    let errno = become_program(child, path, args, env, home, vector)?;
    Err(Failure::from(errno).at(index).with_text(path.to_bytes()))
}

/// Becomes a file of the host by its descriptor, which the execution closes.
pub(super) fn execute_handler(
    child: &mut Child<'_>,
    handler: Slot,
    args: Texts,
    env: Texts,
    home: Reserve,
    vector: Reserve,
) -> Outcome {
    let file = child.fd(handler)?;
    let name = child.text_of(args, 0)?;
    let errno =
        with_vectors(child, args, env, home, vector, |vectors| vectors.execute_descriptor(file))?;
    Err(Failure::from(errno).with_text(c_text(name)?.to_bytes()))
}

/// execve; returns its error.
pub(super) fn become_program(
    child: &mut Child<'_>,
    path: &CStr,
    args: Texts,
    env: Texts,
    home: Reserve,
    vector: Reserve,
) -> Result<Errno, Failure> {
    with_vectors(child, args, env, home, vector, |vectors| vectors.execute(path))
}

fn with_vectors(
    child: &mut Child<'_>,
    args: Texts,
    env: Texts,
    home: Reserve,
    vector: Reserve,
    execute: impl FnOnce(&mut Vectors<'_>) -> Errno,
) -> Result<Errno, Failure> {
    let data = child.data;
    let home = child.reserved_range(home)?;
    let vector = child.reserved_range(vector)?;
    // `vector` is reserved after `home`: the texts of one and the words of the other are apart.
    let (before, rest) =
        child.reserved.split_at_mut_checked(vector.start).ok_or(Errno(libc::EFAULT))?;
    let words = rest.get_mut(..vector.len()).ok_or(Errno(libc::EFAULT))?;
    let mut vectors = Vectors::new(words);
    for index in 0..args.count {
        vectors.push(text(data, args, index)?)?;
    }
    vectors.end_arguments()?;
    for index in 0..env.count {
        vectors.push(text(data, env, index)?)?;
    }
    if !home.is_empty() {
        vectors.push(c_text(before.get(home).ok_or(Errno(libc::EFAULT))?)?)?;
    }
    Ok(execute(&mut vectors))
}

fn text(data: &[u8], texts: Texts, index: u32) -> Result<&CStr, Failure> {
    let text = text_at(data, texts, index).ok_or(Errno(libc::EFAULT))?;
    Ok(c_text(data.get(text.offset as usize..).unwrap_or_default())?)
}
