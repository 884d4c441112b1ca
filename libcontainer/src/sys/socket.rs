//! The control socket and descriptors that travel through sockets.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::errno::{Errno, Result};
use super::raw::call;

/// Descriptors that one packet may carry to us.
const MOST_DESCRIPTORS: usize = 16;

/// A connected pair of packet sockets.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1_i32; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array is valid for writes of two integers; the descriptors are fresh.
    unsafe {
        call!(libc::SYS_socketpair, libc::AF_UNIX, kind, 0, pair.as_mut_ptr())?;
        Ok((OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])))
    }
}

/// Room for the control messages of [`MOST_DESCRIPTORS`], aligned as the kernel wants them.
#[repr(C, align(8))]
struct Control([u8; CONTROL_LENGTH]);

const CONTROL_LENGTH: usize = 16 + MOST_DESCRIPTORS * 4;

/// Receives one packet with the descriptors that go with it; `None` at the end of the stream,
/// and `Some(0)` bytes never.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<Option<(usize, Vec<OwnedFd>)>> {
    let mut control = Control([0; CONTROL_LENGTH]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: an all-zero msghdr is a valid value of integers and null pointers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LENGTH;
    let length = loop {
        // SAFETY: the message refers to buffers of ours that outlive the call.
        match unsafe {
            call!(
                libc::SYS_recvmsg,
                socket.as_raw_fd(),
                &raw mut message,
                libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT
            )
        } {
            Err(Errno(libc::EINTR)) => continue,
            Err(Errno(libc::ECONNRESET)) => return Ok(None),
            result => break result?,
        }
    };
    // SAFETY: the kernel filled `message` and the control buffer.
    let descriptors = unsafe { received_descriptors(&message) };
    Ok((length > 0).then_some((length, descriptors)))
}

/// # Safety
/// `message` must have been filled by recvmsg, its control buffer alive, and this the only
/// reading of its descriptors.
unsafe fn received_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the macros walk the control buffer that the kernel filled; each descriptor in an
    // SCM_RIGHTS message is ours alone from the reception on.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let length = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<i32>();
                for index in 0..length / size_of::<i32>() {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    descriptors
}

/// Sends bytes and up to [`MOST_DESCRIPTORS`] descriptors, without SIGPIPE.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<()> {
    let mut control = Control([0; CONTROL_LENGTH]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is a valid value of integers and null pointers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        let descriptors = descriptors.get(..MOST_DESCRIPTORS).unwrap_or(descriptors);
        let length = size_of_val(descriptors) as u32;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN are arithmetic; the buffer has room for the header and
        // MOST_DESCRIPTORS integers, and is aligned for them.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(length) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(length) as usize;
            let data = libc::CMSG_DATA(header).cast::<i32>();
            for (index, descriptor) in descriptors.iter().enumerate() {
                data.add(index).write_unaligned(descriptor.as_raw_fd());
            }
        }
    }
    loop {
        // SAFETY: the message refers to buffers of ours that outlive the call.
        match unsafe {
            call!(libc::SYS_sendmsg, socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
        } {
            Err(Errno(libc::EINTR)) => continue,
            result => return result.map(drop),
        }
    }
}

/// Says that nothing more will be sent.
pub(crate) fn shut_down(socket: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: shutdown takes integers.
    match unsafe { call!(libc::SYS_shutdown, socket.as_raw_fd(), libc::SHUT_WR) } {
        Err(Errno(libc::ENOTCONN)) => Ok(()),
        result => result.map(drop),
    }
}
