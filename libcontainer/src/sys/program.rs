//! Programs: the container's own and the hooks that the child runs ("child" rules hold for all
//! of this file).

use std::ffi::CStr;

use super::errno::{Errno, Result};
use super::raw::{self, call};

/// Two arrays of pointers for execve, in memory of the caller.
pub(crate) struct Vectors<'a> {
    words: &'a mut [u8],
    used: usize,
    environment: usize,
}

const WORD: usize = size_of::<usize>();

impl<'a> Vectors<'a> {
    /// Empty vectors in `words`.
    pub(crate) fn new(words: &'a mut [u8]) -> Self {
        Self { words, used: 0, environment: 0 }
    }

    /// Appends a text. It must outlive the vectors' use: it lies in the child's block.
    pub(crate) fn push(&mut self, text: &CStr) -> Result<()> {
        self.append(text.as_ptr() as usize)
    }

    /// Ends the arguments; what follows is the environment.
    pub(crate) fn end_arguments(&mut self) -> Result<()> {
        self.append(0)?;
        self.environment = self.used;
        Ok(())
    }

    fn append(&mut self, address: usize) -> Result<()> {
        let place = self.words.get_mut(self.used..).and_then(|rest| rest.first_chunk_mut::<WORD>());
        *place.ok_or(Errno(libc::E2BIG))? = address.to_ne_bytes();
        self.used = self.used.saturating_add(WORD);
        Ok(())
    }

    /// execve(2). Returns only with an error.
    pub(crate) fn execute(&mut self, path: &CStr) -> Errno {
        let (arguments, environment) = match self.ends() {
            Ok(ends) => ends,
            Err(error) => return error,
        };
        // SAFETY: both arrays end with a null word, and their texts lie NUL-terminated in the
        // child's block, which `push`'s callers vouch for.
        match unsafe { call!(libc::SYS_execve, path.as_ptr(), arguments, environment) } {
            Ok(_) => Errno(libc::EINVAL),
            Err(error) => error,
        }
    }

    /// execveat(2) of a descriptor. Returns only with an error.
    pub(crate) fn execute_descriptor(&mut self, file: i32) -> Errno {
        let (arguments, environment) = match self.ends() {
            Ok(ends) => ends,
            Err(error) => return error,
        };
        let flags = libc::AT_EMPTY_PATH;
        // SAFETY: as in `execute`; the path is NUL-terminated and empty.
        let executed =
            unsafe { call!(libc::SYS_execveat, file, c"".as_ptr(), arguments, environment, flags) };
        match executed {
            Ok(_) => Errno(libc::EINVAL),
            Err(error) => error,
        }
    }

    /// Ends the environment: where the two arrays begin.
    fn ends(&mut self) -> Result<(*const u8, *const u8)> {
        self.append(0)?;
        self.used = self.used.saturating_sub(WORD);
        let environment = self.words.get(self.environment..).ok_or(Errno(libc::E2BIG))?;
        Ok((self.words.as_ptr(), environment.as_ptr()))
    }
}

/// Whether the effective user may execute a file: faccessat2(2), or before Linux 5.8 the mode's
/// bits.
pub(crate) fn check_executable(path: &CStr, mode: u32) -> Result<()> {
    let flags = libc::AT_EACCESS;
    // SAFETY: the path is NUL-terminated.
    let answer =
        unsafe { call!(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), libc::X_OK, flags) };
    match answer {
        Err(Errno(libc::ENOSYS | libc::EPERM)) if mode & 0o111 != 0 => Ok(()),
        Err(Errno(libc::ENOSYS | libc::EPERM)) => Err(Errno(libc::EACCES)),
        other => other.map(drop),
    }
}

/// stat(2) that follows links: mode.
pub(crate) fn mode_of(path: &CStr) -> Result<u32> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path is NUL-terminated, the structure is valid for writes, and all-zero bytes
    // are a valid value of it.
    unsafe {
        call!(libc::SYS_newfstatat, libc::AT_FDCWD, path.as_ptr(), status.as_mut_ptr(), 0)?;
        Ok(status.assume_init().st_mode)
    }
}

/// The calling process's pid in its own namespace.
pub(crate) fn own_pid() -> u32 {
    // SAFETY: getpid takes nothing.
    unsafe { raw::syscall6(libc::SYS_getpid, [0; 6]) as u32 }
}

/// Forks by clone(2), which profiles allow where they forbid clone3: 0 in the child, else its
/// pid; `pidfd` becomes a descriptor of the child.
pub(crate) fn fork(pidfd: &mut i32) -> Result<usize> {
    let flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: without CLONE_VM the child runs on copies; the kernel writes one integer through
    // the pointer, in the parent.
    unsafe { call!(libc::SYS_clone, flags, 0, std::ptr::from_mut(pidfd), 0, 0) }
}

/// How a child ended.
pub(crate) fn wait(pid: usize) -> Result<i32> {
    let mut status = 0_i32;
    loop {
        // SAFETY: the status is valid for writes; no usage is asked for.
        let waited = unsafe {
            call!(libc::SYS_wait4, pid, std::ptr::from_mut(&mut status), libc::__WALL, 0)
        };
        match waited {
            Err(Errno(libc::EINTR)) => continue,
            Err(error) => return Err(error),
            Ok(_) => return Ok(status),
        }
    }
}

/// kill(2).
pub(crate) fn kill(pid: usize, signal: i32) -> Result<()> {
    // SAFETY: kill takes integers.
    unsafe { call!(libc::SYS_kill, pid, signal) }.map(drop)
}

/// pipe2(2): reading end, writing end.
pub(crate) fn pipe(flags: i32) -> Result<[i32; 2]> {
    let mut ends = [-1; 2];
    // SAFETY: the array is valid for writes of two integers.
    unsafe { call!(libc::SYS_pipe2, ends.as_mut_ptr(), flags) }?;
    Ok(ends)
}

/// ppoll(2) with a time limit in nanoseconds; 0 descriptors ready means that it is over.
pub(crate) fn poll_for(descriptors: &mut [libc::pollfd], nanoseconds: u64) -> Result<usize> {
    // The raw call writes the rest of the time into it.
    let mut limit = libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as i64,
        tv_nsec: (nanoseconds % 1_000_000_000) as i64,
    };
    // SAFETY: the array is valid for reads and writes of its length, the limit for both, too.
    unsafe {
        call!(
            libc::SYS_ppoll,
            descriptors.as_mut_ptr(),
            descriptors.len(),
            std::ptr::from_mut(&mut limit),
            0,
            0
        )
    }
}

/// Makes room in a pipe, which has 64 KiB: F_SETPIPE_SZ of fcntl(2).
pub(crate) fn fit_pipe(pipe: i32, length: usize) -> Result<()> {
    const USUAL: usize = 65_536;
    if length <= USUAL { Ok(()) } else { raw::fcntl(pipe, libc::F_SETPIPE_SZ, length).map(drop) }
}

/// Copies what lies in one pipe into another one of its size: tee(2). It stays in the first.
pub(crate) fn copy_pipe(from: i32, to: i32) -> Result<()> {
    let size = raw::fcntl(from, libc::F_GETPIPE_SZ, 0)?;
    raw::fcntl(to, libc::F_SETPIPE_SZ, size)?;
    // SAFETY: tee takes integers.
    unsafe { call!(libc::SYS_tee, from, to, size, libc::SPLICE_F_NONBLOCK) }.map(drop)
}

/// memfd_create(2).
pub(crate) fn memory_file(name: &CStr) -> Result<i32> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(libc::SYS_memfd_create, name.as_ptr(), flags) }.map(|fd| fd as i32)
}

/// setsid(2).
pub(crate) fn start_session() -> Result<()> {
    // SAFETY: setsid takes nothing.
    unsafe { call!(libc::SYS_setsid) }.map(drop)
}

/// getcwd(2): the path with its NUL.
pub(crate) fn working_directory(buffer: &mut [u8]) -> Result<&[u8]> {
    // SAFETY: the buffer is valid for writes of its length.
    let length = unsafe { call!(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) }?;
    buffer.get(..length).ok_or(Errno(libc::ERANGE))
}
