//! bpf(2), as far as device programs of cgroups need it. For the parent.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::errno::{Errno, Result};
use super::raw::call;

const PROG_LOAD: usize = 5;
const PROG_ATTACH: usize = 8;
const PROG_DETACH: usize = 9;
const PROG_GET_FD_BY_ID: usize = 13;
const PROG_QUERY: usize = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 2;
const F_REPLACE: u32 = 4;

/// The most programs that a kernel lets one attach to a group.
const MOST_PROGRAMS: usize = 64;

/// `union bpf_attr` as words; every command reads a prefix and the rest must be zero. 128 bytes
/// hold what all commands here read and write: Linux 6.17 and later write `query.revision`,
/// whatever size they were told.
#[repr(C, align(8))]
struct Attributes([u32; 32]);

impl Attributes {
    fn new() -> Self {
        Attributes([0; 32])
    }

    fn word(mut self, index: usize, value: u32) -> Self {
        if let Some(word) = self.0.get_mut(index) {
            *word = value;
        }
        self
    }

    fn address<T>(self, index: usize, pointer: *const T) -> Self {
        let [low, high] = split(pointer as u64);
        self.word(index, low).word(index + 1, high)
    }

    fn descriptor(self, index: usize, fd: BorrowedFd<'_>) -> Self {
        self.word(index, fd.as_raw_fd().cast_unsigned())
    }
}

/// An address as the two words that it takes in memory.
fn split(address: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = address.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// Calls bpf(2) with the first `size` bytes of the attributes.
///
/// # Safety
/// Addresses in the attributes must be valid for what the command reads and writes there.
unsafe fn bpf(command: usize, attributes: &mut Attributes, size: usize) -> Result<usize> {
    // The verifier gives up with EAGAIN when a signal arrives; a profiler sends many.
    const TRIES: usize = 30;
    for _ in 0..TRIES {
        // SAFETY: the attributes are valid for reads and writes of 128 bytes, which is at least
        // `size` and all that the kernel writes; the addresses are the caller's promise.
        match unsafe { call!(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) } {
            Err(Errno(libc::EAGAIN | libc::EINTR)) => {}
            result => return result,
        }
    }
    Err(Errno(libc::EAGAIN))
}

fn owned(fd: usize) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it. Descriptors
    // of bpf(2) are close-on-exec.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// Loads a device program.
pub(crate) fn load_device_program(instructions: &[u64]) -> Result<OwnedFd> {
    let license = c"Apache";
    let count = u32::try_from(instructions.len()).map_err(|_| Errno(libc::E2BIG))?;
    let mut attributes = Attributes::new()
        .word(0, PROG_TYPE_CGROUP_DEVICE)
        .word(1, count)
        .address(2, instructions.as_ptr())
        .address(4, license.as_ptr());
    // SAFETY: the kernel reads `count` instructions of eight bytes and the license up to its NUL;
    // both outlive the call. No log is asked for.
    unsafe { bpf(PROG_LOAD, &mut attributes, 48) }.map(owned)
}

/// Attaches a device program to a group, in place of another one of it if given (Linux 5.6).
pub(crate) fn attach_device_program(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut attributes = Attributes::new()
        .descriptor(0, group)
        .descriptor(1, program)
        .word(2, CGROUP_DEVICE)
        .word(3, F_ALLOW_MULTI);
    let mut size = 16;
    if let Some(replaced) = replaced {
        attributes = attributes.word(3, F_ALLOW_MULTI | F_REPLACE).descriptor(4, replaced);
        size = 20;
    }
    // SAFETY: the command takes integers only.
    unsafe { bpf(PROG_ATTACH, &mut attributes, size) }.map(drop)
}

/// Detaches a device program from a group.
pub(crate) fn detach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attributes =
        Attributes::new().descriptor(0, group).descriptor(1, program).word(2, CGROUP_DEVICE);
    // SAFETY: the command takes integers only.
    unsafe { bpf(PROG_DETACH, &mut attributes, 16) }.map(drop)
}

/// The device programs that are attached to a group. Those that a security module hides are left
/// out: every further program only restricts.
pub(crate) fn attached_device_programs(group: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attributes = Attributes::new()
        .descriptor(0, group)
        .word(1, CGROUP_DEVICE)
        .address(4, ids.as_mut_ptr())
        .word(6, MOST_PROGRAMS as u32);
    // SAFETY: the kernel writes at most as many ids as word 6 says, which is the length of `ids`.
    unsafe { bpf(PROG_QUERY, &mut attributes, 64) }?;
    let count = attributes.0.get(6).copied().unwrap_or(0) as usize;
    let mut programs = Vec::with_capacity(count);
    for id in ids.iter().take(count) {
        let mut attributes = Attributes::new().word(0, *id);
        // SAFETY: the command takes an integer only.
        match unsafe { bpf(PROG_GET_FD_BY_ID, &mut attributes, 12) } {
            Ok(fd) => programs.push(owned(fd)),
            // Detached meanwhile, or hidden.
            Err(Errno(libc::ENOENT | libc::EPERM | libc::EACCES)) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(programs)
}
