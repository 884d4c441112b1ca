//! Descriptors that arrive over a socket ("child" rules hold for all of this file).

use super::errno::{Errno, Result};
use super::raw::call;

/// A control message with room for one descriptor, in the kernel's alignment.
#[repr(C, align(8))]
struct Control {
    header: libc::cmsghdr,
    fd: i32,
    padding: i32,
}

/// Receives one packet and the one descriptor that came with it (close-on-exec); EBADMSG when
/// there was none.
pub(crate) fn receive_descriptor(socket: i32, packet: &mut [u8]) -> Result<(usize, i32)> {
    let mut control = Control {
        header: libc::cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 },
        fd: -1,
        padding: 0,
    };
    let mut vector = libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() };
    let mut message = KernelMessage {
        name: 0,
        name_length: 0,
        vectors: std::ptr::from_mut(&mut vector) as usize,
        vector_count: 1,
        control: std::ptr::from_mut(&mut control) as usize,
        control_length: size_of::<Control>(),
        flags: 0,
    };
    let length = loop {
        // SAFETY: the message describes the packet and the control structure, both valid for
        // writes of the lengths given, and outliving the call.
        let received = unsafe {
            call!(
                libc::SYS_recvmsg,
                socket,
                std::ptr::from_mut(&mut message),
                libc::MSG_CMSG_CLOEXEC
            )
        };
        match received {
            Err(Errno(libc::EINTR)) => continue,
            result => break result?,
        }
    };
    let is_rights = control.header.cmsg_level == libc::SOL_SOCKET
        && control.header.cmsg_type == libc::SCM_RIGHTS;
    if !is_rights || control.fd < 0 {
        return Err(Errno(libc::EBADMSG));
    }
    Ok((length, control.fd))
}

/// What recvmsg(2) takes from the kernel's point of view.
#[repr(C)]
struct KernelMessage {
    name: usize,
    name_length: usize,
    vectors: usize,
    vector_count: usize,
    control: usize,
    control_length: usize,
    flags: usize,
}
