//! Pseudo-terminals ("child" rules hold for all of this file).

use std::os::fd::{FromRawFd, OwnedFd};

use super::errno::Result;
use super::raw::call;

/// Unlocks the other end of a master.
pub(crate) fn unlock(master: i32) -> Result<()> {
    let locked = 0_i32;
    // SAFETY: the request reads one integer.
    unsafe { call!(libc::SYS_ioctl, master, libc::TIOCSPTLCK, std::ptr::from_ref(&locked)) }
        .map(drop)
}

/// Opens the other end of a master without a path, Linux 4.13.
pub(crate) fn open_peer(master: i32) -> Result<i32> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the request takes flags of open.
    unsafe { call!(libc::SYS_ioctl, master, libc::TIOCGPTPEER, flags) }.map(|fd| fd as i32)
}

/// Sets the size of a terminal, in characters.
pub(crate) fn set_size(terminal: i32, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads the structure.
    unsafe { call!(libc::SYS_ioctl, terminal, libc::TIOCSWINSZ, std::ptr::from_ref(&size)) }
        .map(drop)
}

/// Size of a terminal, rows and columns.
pub(crate) fn size(terminal: i32) -> Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request writes the structure.
    unsafe { call!(libc::SYS_ioctl, terminal, libc::TIOCGWINSZ, &raw mut size) }?;
    Ok((size.ws_row, size.ws_col))
}

/// Leaves newlines in the output of a terminal as they are, without a carriage return before.
pub(crate) fn keep_newlines(terminal: i32) -> Result<()> {
    // SAFETY: an all-zero termios is a valid value of integers; the kernel's structure is a prefix
    // of the C library's.
    let mut modes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes the kernel's part of the structure.
    unsafe { call!(libc::SYS_ioctl, terminal, libc::TCGETS, &raw mut modes) }?;
    modes.c_oflag &= !libc::ONLCR;
    // SAFETY: the request reads it.
    unsafe { call!(libc::SYS_ioctl, terminal, libc::TCSETS, &raw const modes) }.map(drop)
}

/// Owns a descriptor that [`open_peer`] returned. For the parent.
pub(crate) fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the caller has it from the kernel and gives it away.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Makes a terminal the controlling one of the session.
pub(crate) fn take_control(terminal: i32) -> Result<()> {
    // SAFETY: the request takes an integer.
    unsafe { call!(libc::SYS_ioctl, terminal, libc::TIOCSCTTY, 0) }.map(drop)
}

/// A control message with one descriptor, in the kernel's alignment.
#[repr(C, align(8))]
struct Rights {
    header: libc::cmsghdr,
    fd: i32,
    padding: i32,
}

/// Sends a packet and a descriptor with it.
pub(crate) fn send_descriptor(socket: i32, packet: &[u8], fd: i32) -> Result<()> {
    let length = size_of::<libc::cmsghdr>() + size_of::<i32>();
    let rights = Rights {
        header: libc::cmsghdr {
            cmsg_len: length,
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        },
        fd,
        padding: 0,
    };
    let vector = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
    let message: [usize; 7] = [
        0,
        0,
        std::ptr::from_ref(&vector) as usize,
        1,
        std::ptr::from_ref(&rights) as usize,
        size_of::<Rights>(),
        0,
    ];
    // SAFETY: the message, in the kernel's layout of seven words, describes the packet and the
    // control structure, which are valid for reads and outlive the call.
    unsafe { call!(libc::SYS_sendmsg, socket, message.as_ptr(), libc::MSG_NOSIGNAL) }.map(drop)
}
