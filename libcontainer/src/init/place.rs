//! Descriptors as paths, for mount(2).

use std::ffi::CStr;

use crate::sys::path::c_text;
use crate::sys::{Errno, mount, path, raw};

type Result<T> = std::result::Result<T, Errno>;

/// f_type of a procfs.
pub(super) const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// A path to a descriptor for mount(2). A directory is entered and called `.`; for the rest the
/// directory of the descriptors is entered, since an absolute path could meet what the container
/// mounted on /proc.
pub(super) struct DescriptorPath<'a> {
    pub(super) name: &'a CStr,
}

impl<'a> DescriptorPath<'a> {
    pub(super) fn enter(fd: i32, number: &'a mut [u8; 12]) -> Result<Self> {
        if path::stat(fd, c"")?.st_mode & libc::S_IFMT == libc::S_IFDIR {
            path::fchdir(fd)?;
            return Ok(Self { name: c"." });
        }
        Self::enter_descriptors(fd, number)
    }

    fn enter_descriptors(fd: i32, number: &'a mut [u8; 12]) -> Result<Self> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let directory = path::openat(libc::AT_FDCWD, c"/proc/self/fd", flags, 0)?;
        let entered = path::statfs(directory).and_then(|status| {
            if status.f_type != PROC_SUPER_MAGIC {
                return Err(Errno(libc::ENOTSUP));
            }
            path::fchdir(directory)
        });
        raw::close(directory);
        entered?;
        Ok(Self { name: decimal(fd, number)? })
    }

    /// Back to the root: the working directory is set later.
    pub(super) fn leave(self) {
        // The root can always be entered by the child that has just mounted below it.
        let _ = path::chdir(c"/");
    }
}

/// A descriptor's number as text.
fn decimal(number: i32, buffer: &mut [u8; 12]) -> Result<&CStr> {
    digits(number.unsigned_abs(), 10, buffer)
}

pub(super) fn octal(mode: u32, buffer: &mut [u8; 8]) -> Result<&CStr> {
    digits(mode, 8, buffer)
}

fn digits(number: u32, base: u32, buffer: &mut [u8]) -> Result<&CStr> {
    buffer.fill(0);
    let mut rest = number;
    let mut count = 1_usize;
    while rest >= base {
        rest = rest.checked_div(base).unwrap_or(0);
        count = count.saturating_add(1);
    }
    rest = number;
    for place in buffer.get_mut(..count).unwrap_or_default().iter_mut().rev() {
        *place = b'0'.wrapping_add(rest.checked_rem(base).unwrap_or(0) as u8);
        rest = rest.checked_div(base).unwrap_or(0);
    }
    c_text(buffer)
}

/// Binds one descriptor on another with mount(2).
pub(super) fn bind_descriptor(source: i32, target: i32, flags: u64) -> Result<()> {
    let (mut from, mut to) = ([0; 12], [0; 12]);
    let place = DescriptorPath::enter_descriptors(target, &mut to)?;
    let source = decimal(source, &mut from)?;
    let mounted = mount::mount(Some(source), place.name, None, flags, None);
    place.leave();
    mounted
}

/// Number of the mount that a descriptor is on, from its line in fdinfo.
pub(super) fn mount_id(fd: i32) -> Result<u64> {
    let mut number = [0; 12];
    let name = decimal(fd, &mut number)?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let directory = path::openat(libc::AT_FDCWD, c"/proc/self/fdinfo", flags, 0)?;
    let opened = path::openat(directory, name, libc::O_RDONLY | libc::O_CLOEXEC, 0);
    raw::close(directory);
    let file = opened?;
    let mut text = [0_u8; 256];
    let read = raw::read(file, &mut text);
    raw::close(file);
    let text = text.get(..read?).unwrap_or_default();
    let label = b"mnt_id:";
    let at = text.windows(label.len()).position(|window| window == label);
    let digits =
        at.and_then(|at| text.get(at.saturating_add(label.len())..)).ok_or(Errno(libc::EINVAL))?;
    let number = digits
        .iter()
        .skip_while(|byte| byte.is_ascii_whitespace())
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0_u64, |value, digit| {
            value.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0')))
        });
    Ok(number)
}
