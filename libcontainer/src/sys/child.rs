//! System calls of the child's life as a process ("child" rules hold for all of this file).

use super::errno::{Errno, Result};
use super::raw::{self, call};

/// prctl(2) for options whose arguments are integers.
pub(crate) fn prctl(option: i32, a: usize, b: usize, c: usize, d: usize) -> Result<usize> {
    // SAFETY: callers pass options that take integers only.
    unsafe { call!(libc::SYS_prctl, option, a, b, c, d) }
}

/// What rt_sigaction(2) takes from the kernel's point of view.
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

/// Sets a signal's default action where it is another.
pub(crate) fn default_signal(signal: i32) -> Result<()> {
    let action = KernelAction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    let size = size_of::<u64>();
    // SAFETY: the structure is valid for reads and in the kernel's layout (on aarch64 the kernel
    // has no restorer, and mask follows flags: there the third word is read as the mask, 0 too).
    unsafe { call!(libc::SYS_rt_sigaction, signal, std::ptr::from_ref(&action), 0, size) }.map(drop)
}

/// Ends the process with code 128 and the signal when it gets that signal, also where it is the
/// first process of a pid namespace, for which the default action does nothing.
pub(crate) fn end_on_signal(signal: i32) -> Result<()> {
    let handler = end as *const () as usize;
    // x86-64 delivers no signal without a place to return to, which is never used.
    #[cfg(target_arch = "x86_64")]
    let (flags, restorer) = (SA_RESTORER, handler);
    #[cfg(not(target_arch = "x86_64"))]
    let (flags, restorer) = (0, 0);
    let action = KernelAction { handler, flags, restorer, mask: 0 };
    let size = size_of::<u64>();
    // SAFETY: as for the default action; the handler takes the signal's number, touches no
    // memory of the program and does not return.
    unsafe { call!(libc::SYS_rt_sigaction, signal, std::ptr::from_ref(&action), 0, size) }.map(drop)
}

#[cfg(target_arch = "x86_64")]
const SA_RESTORER: usize = 0x0400_0000;

extern "C" fn end(signal: i32) -> ! {
    raw::exit_group(signal.wrapping_add(128))
}

/// Empties the mask of blocked signals.
pub(crate) fn unblock_signals() -> Result<()> {
    let mask = 0_u64;
    // SAFETY: the mask is valid for reads of eight bytes, which is the kernel's sigset size.
    unsafe { call!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, std::ptr::from_ref(&mask), 0, 8) }
        .map(drop)
}

/// Closes the open descriptors between two numbers, both included, for kernels without
/// close_range: by the table in /proc/self/fd, or one by one where that is not there.
pub(crate) fn close_listed(first: i32, last: i32) -> Result<()> {
    // SAFETY: the path is NUL-terminated.
    let directory = unsafe {
        call!(
            libc::SYS_openat,
            libc::AT_FDCWD,
            c"/proc/self/fd".as_ptr(),
            libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
            0
        )
    };
    match directory {
        Ok(directory) => {
            let result = close_entries(directory as i32, first, last);
            raw::close(directory as i32);
            result
        }
        Err(_) => {
            close_one_by_one(first, last);
            Ok(())
        }
    }
}

fn close_entries(directory: i32, first: i32, last: i32) -> Result<()> {
    let mut buffer = [0_u8; 2048];
    loop {
        // SAFETY: the buffer is valid for writes of its length.
        let length =
            unsafe { call!(libc::SYS_getdents64, directory, buffer.as_mut_ptr(), buffer.len()) }?;
        if length == 0 {
            return Ok(());
        }
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((entry, next)) = next_entry(rest) {
            if let Some(fd) = number(entry).and_then(|fd| i32::try_from(fd).ok())
                && fd >= first
                && fd <= last
                && fd != directory
            {
                raw::close(fd);
            }
            rest = next;
        }
    }
}

/// Splits the first record off a buffer of getdents64: its name, and what follows.
pub(crate) fn next_entry(buffer: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(*buffer.get(16..)?.first_chunk()?));
    let record = buffer.get(..length)?;
    let name = record.get(19..)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    Some((name.get(..end)?, buffer.get(length..)?))
}

/// A decimal number of digits alone.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(digit)
    })
}

fn close_one_by_one(first: i32, last: i32) {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid for writes; no new limit is passed.
    let known = unsafe {
        call!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, 0, std::ptr::from_mut(&mut limit))
    };
    let open_below = match known {
        Ok(_) => i32::try_from(limit.rlim_max).unwrap_or(1 << 20),
        Err(Errno(_)) => 1 << 20,
    };
    let mut fd = first;
    while fd <= last && fd < open_below {
        raw::close(fd);
        fd = fd.saturating_add(1);
    }
}
