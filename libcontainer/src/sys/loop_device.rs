//! Loop devices, see loop(4).

use std::os::fd::{AsRawFd, BorrowedFd};

use super::errno::Result;
use super::raw::call;

/// Nothing can be written.
pub(crate) const READ_ONLY: u32 = 1;
/// The device ends with its last user.
pub(crate) const AUTOCLEAR: u32 = 4;
/// Past the page cache of the file.
pub(crate) const DIRECT_IO: u32 = 16;

const LOOP_CTL_GET_FREE: usize = 0x4C82;
const LOOP_CONFIGURE: usize = 0x4C0A;

/// The kernel's struct loop_config, of which few fields are used.
#[repr(C)]
struct Config {
    file: u32,
    block_size: u32,
    device: u64,
    inode: u64,
    raw_device: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    file_name: [u8; 64],
    encryption_name: [u8; 64],
    encryption_key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Config>() == 304);

/// The number of a device that nobody uses, which somebody else may take before us.
pub(crate) fn free_number(control: BorrowedFd<'_>) -> Result<usize> {
    // SAFETY: the request takes no argument.
    unsafe { call!(libc::SYS_ioctl, control.as_raw_fd(), LOOP_CTL_GET_FREE, 0) }
}

/// Makes a device show a file, Linux 5.8. The name is for people.
pub(crate) fn configure(
    device: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    flags: u32,
    name: &[u8],
) -> Result<()> {
    let mut config = Config {
        file: file.as_raw_fd().cast_unsigned(),
        block_size: 0,
        device: 0,
        inode: 0,
        raw_device: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encryption: [0; 2],
        flags,
        file_name: [0; 64],
        encryption_name: [0; 64],
        encryption_key: [0; 32],
        init: [0; 2],
        reserved: [0; 8],
    };
    // A NUL stays at the end.
    let length = name.len().min(config.file_name.len() - 1);
    config.file_name[..length].copy_from_slice(&name[..length]);
    // SAFETY: the structure has the kernel's layout and is valid for reads.
    unsafe {
        call!(libc::SYS_ioctl, device.as_raw_fd(), LOOP_CONFIGURE, std::ptr::from_ref(&config))
    }
    .map(drop)
}
