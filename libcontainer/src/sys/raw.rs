//! System calls by their number, for parent and child ("child" rules hold for all of this file).
//!
//! The architecture lies in `syscall6` alone.

use super::errno::{Errno, Result};

/// Executes a system call.
///
/// # Safety
/// The arguments must be what the system call `number` expects: pointers valid for what the
/// kernel reads or writes through them. Callers are the wrappers of `sys` alone.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn syscall6(number: libc::c_long, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let value: isize;
    // SAFETY: the instruction clobbers rcx and r11 and nothing else of ours; memory is only
    // touched through the arguments, which the caller vouches for.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => value,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    value
}

/// Executes a system call.
///
/// # Safety
/// As for x86_64.
#[cfg(target_arch = "aarch64")]
#[inline]
pub(crate) unsafe fn syscall6(number: libc::c_long, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let value: isize;
    // SAFETY: svc preserves all registers but x0; memory is only touched through the arguments,
    // which the caller vouches for.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number, inlateout("x0") a => value,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    value
}

/// A checked system call with up to six arguments.
///
/// # Safety
/// As [`syscall6`].
macro_rules! call {
    ($number:expr $(, $arg:expr)* $(,)?) => {
        $crate::sys::raw::checked($number, &[$($arg as usize),*])
    };
}
pub(crate) use call;

/// See [`call`].
///
/// # Safety
/// As [`syscall6`].
#[inline]
pub(crate) unsafe fn checked(number: libc::c_long, args: &[usize]) -> Result<usize> {
    let mut all = [0; 6];
    for (slot, value) in all.iter_mut().zip(args) {
        *slot = *value;
    }
    // SAFETY: forwarded to the caller.
    Errno::check(unsafe { syscall6(number, all) })
}

/// Ends the calling process at once: no handlers, no buffers.
pub(crate) fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: exit_group takes an integer and does not return.
        unsafe { syscall6(libc::SYS_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    }
}

/// Closes a descriptor. The kernel releases it even when it reports an error.
pub(crate) fn close(fd: i32) {
    // SAFETY: close takes an integer; the child owns its descriptor table.
    unsafe { syscall6(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// dup3(2); `flags` is 0 or `O_CLOEXEC`.
pub(crate) fn dup3(old: i32, new: i32, flags: i32) -> Result<()> {
    // SAFETY: dup3 takes integers.
    unsafe { call!(libc::SYS_dup3, old, new, flags) }.map(drop)
}

/// fcntl(2) for commands whose argument is an integer.
pub(crate) fn fcntl(fd: i32, command: i32, argument: usize) -> Result<usize> {
    // SAFETY: the callers use F_GETFD, F_SETFD, F_GETFL and F_SETFL, which take integers.
    unsafe { call!(libc::SYS_fcntl, fd, command, argument) }
}

/// close_range(2), Linux 5.9.
pub(crate) fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    // SAFETY: close_range takes integers; what it closes is the caller's own table.
    unsafe { call!(libc::SYS_close_range, first, last, flags) }.map(drop)
}

/// read(2), repeated when a signal interrupts it.
pub(crate) fn read(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    loop {
        // SAFETY: the buffer is valid for writes of its length.
        match unsafe { call!(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len()) } {
            Err(Errno(libc::EINTR)) => continue,
            result => return result,
        }
    }
}

/// write(2), repeated when a signal interrupts it.
pub(crate) fn write(fd: i32, buffer: &[u8]) -> Result<usize> {
    loop {
        // SAFETY: the buffer is valid for reads of its length.
        match unsafe { call!(libc::SYS_write, fd, buffer.as_ptr(), buffer.len()) } {
            Err(Errno(libc::EINTR)) => continue,
            result => return result,
        }
    }
}

/// send(2) on a connected socket with `MSG_NOSIGNAL`.
pub(crate) fn send(fd: i32, buffer: &[u8]) -> Result<usize> {
    loop {
        // SAFETY: the buffer is valid for reads of its length; no address is passed.
        let sent = unsafe {
            call!(libc::SYS_sendto, fd, buffer.as_ptr(), buffer.len(), libc::MSG_NOSIGNAL, 0, 0)
        };
        match sent {
            Err(Errno(libc::EINTR)) => continue,
            result => return result,
        }
    }
}

/// ppoll(2) without a time limit and without a signal mask.
pub(crate) fn poll(descriptors: &mut [libc::pollfd]) -> Result<usize> {
    loop {
        // SAFETY: the array is valid for reads and writes of its length; no timeout, no mask.
        let ready =
            unsafe { call!(libc::SYS_ppoll, descriptors.as_mut_ptr(), descriptors.len(), 0, 0, 0) };
        match ready {
            Err(Errno(libc::EINTR)) => continue,
            result => return result,
        }
    }
}

/// Nanoseconds of the monotonic clock.
pub(crate) fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid for writes. The raw call is slower than the vDSO and safe
    // in the child.
    let result = unsafe {
        call!(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, std::ptr::from_mut(&mut now))
    };
    match result {
        Ok(_) => (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64),
        Err(_) => 0,
    }
}
