//! Requests to the kernel about links and addresses (rtnetlink(7)), one at a time.
//!
//! Every answer is in the socket when the request returns, so that nothing here waits.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{
    DefaultNla, Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer, NlasIterator, Parseable,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::sys::{Errno, process};

/// Attribute of an acknowledgement: a sentence about the failure.
const NLMSGERR_ATTR_MSG: u16 = 1;

const NLMSG_HEADER: usize = 16;

/// Bytes of the longest packet that is read; the kernel's are at most half as long.
const PACKET: usize = 65536;

/// Listings of a table that changes again and again.
const ATTEMPTS: u32 = 10;

/// Flags of addresses that somebody has set; the kernel sets the others itself.
const CHOSEN_FLAGS: AddressFlags = AddressFlags::Nodad
    .union(AddressFlags::Homeaddress)
    .union(AddressFlags::Managetempaddr)
    .union(AddressFlags::Noprefixroute)
    .union(AddressFlags::Mcautojoin);

/// A refusal, with the kernel's own sentence where it gives one.
#[derive(Debug)]
pub(super) struct Fault {
    errno: Errno,
    sentence: String,
}

impl Fault {
    /// A refusal without a sentence.
    pub(super) fn of(errno: i32) -> Self {
        Self { errno: Errno(errno), sentence: String::new() }
    }

    /// Whether it is this one.
    pub(super) fn is(&self, errno: i32) -> bool {
        self.errno.0 == errno
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::of(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.errno)?;
        if self.sentence.is_empty() { Ok(()) } else { write!(formatter, " ({})", self.sentence) }
    }
}

type Result<T> = std::result::Result<T, Fault>;

/// What is known of a device.
pub(super) struct Link {
    /// Its number in its namespace.
    pub(super) index: u32,
    /// It is set up.
    pub(super) is_up: bool,
}

/// A socket for requests. It stays in the network namespace that it was opened in.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// In the namespace of the calling thread.
    pub(super) fn open() -> std::result::Result<Self, Errno> {
        let open = || {
            let socket = Socket::new(NETLINK_ROUTE)?;
            socket.set_non_blocking(true)?;
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            Ok(Self { socket, sequence: 0 })
        };
        open().map_err(|error: std::io::Error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// In another namespace, by a thread that joins it and ends.
    pub(super) fn open_in(namespace: BorrowedFd<'_>) -> std::result::Result<Self, Errno> {
        let in_thread = std::thread::scope(|scope| {
            let scratch = std::thread::Builder::new().spawn_scoped(scope, || {
                process::set_namespace(namespace, libc::CLONE_NEWNET as u64)?;
                Self::open()
            });
            scratch.ok().map(|thread| thread.join().unwrap_or(Err(Errno(libc::EIO))))
        });
        // The C library makes no thread where a filter answers EPERM to clone3.
        in_thread.unwrap_or_else(|| Self::open_there(namespace))
    }

    /// The calling thread goes to the namespace and comes back.
    fn open_there(namespace: BorrowedFd<'_>) -> std::result::Result<Self, Errno> {
        let kind = libc::CLONE_NEWNET as u64;
        let own = std::fs::File::open("/proc/thread-self/ns/net")
            .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::ENOENT)))?;
        process::set_namespace(namespace, kind)?;
        let opened = Self::open();
        process::set_namespace(own.as_fd(), kind)?;
        opened
    }

    /// Finds a device by its name.
    pub(super) fn link(&mut self, name: &str) -> Result<Link> {
        let attributes = [text(libc::IFLA_IFNAME, name)];
        let payload = link_payload(&LinkHeader::default(), &attributes);
        let answers = self.request(libc::RTM_GETLINK, NLM_F_ACK, &payload)?;
        let header = answers.first().and_then(|answer| LinkHeader::parse(answer).ok());
        let header = header.ok_or_else(|| Fault::of(libc::ENODEV))?;
        Ok(Link { index: header.index, is_up: header.flags.contains(LinkFlags::Up) })
    }

    /// Sets a device up or takes it down.
    pub(super) fn set_up(&mut self, index: u32, up: bool) -> Result<()> {
        let flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        let header = LinkHeader { index, flags, change_mask: LinkFlags::Up, ..Default::default() };
        self.request(libc::RTM_SETLINK, NLM_F_ACK, &link_payload(&header, &[])).map(drop)
    }

    /// Moves a device into another namespace and gives it a name there.
    pub(super) fn transfer(
        &mut self,
        index: u32,
        name: &str,
        namespace: BorrowedFd<'_>,
    ) -> Result<()> {
        let number = namespace.as_raw_fd().to_ne_bytes().to_vec();
        let attributes =
            [text(libc::IFLA_IFNAME, name), DefaultNla::new(libc::IFLA_NET_NS_FD, number)];
        let header = LinkHeader { index, ..Default::default() };
        self.request(libc::RTM_SETLINK, NLM_F_ACK, &link_payload(&header, &attributes)).map(drop)
    }

    /// The addresses of a device.
    pub(super) fn addresses(&mut self, index: u32) -> Result<Vec<AddressMessage>> {
        let header = AddressHeader::default();
        let mut payload = vec![0; header.buffer_len()];
        header.emit(&mut payload);
        for _ in 0..ATTEMPTS {
            match self.request(libc::RTM_GETADDR, NLM_F_DUMP, &payload) {
                Err(fault) if fault.is(libc::EINTR) => {}
                answers => {
                    let all = answers?.into_iter();
                    let parsed = all.filter_map(|answer| AddressMessage::parse(&answer).ok());
                    return Ok(parsed.filter(|address| address.header.index == index).collect());
                }
            }
        }
        Err(Fault::of(libc::EAGAIN))
    }

    /// Gives a device an address that another one has, or had.
    pub(super) fn add_address(&mut self, index: u32, address: &AddressMessage) -> Result<()> {
        let mut copy = AddressMessage::default();
        copy.header.family = address.header.family;
        copy.header.prefix_len = address.header.prefix_len;
        copy.header.scope = address.header.scope;
        copy.header.index = index;
        copy.attributes.extend(address.attributes.iter().filter_map(|attribute| match attribute {
            AddressAttribute::Address(_)
            | AddressAttribute::Local(_)
            | AddressAttribute::Broadcast(_)
            | AddressAttribute::RoutePriority(_) => Some(attribute.clone()),
            AddressAttribute::Flags(flags) => {
                Some(AddressAttribute::Flags(flags.intersection(CHOSEN_FLAGS)))
            }
            _ => None,
        }));
        let mut payload = vec![0; copy.buffer_len()];
        copy.emit(&mut payload);
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(libc::RTM_NEWADDR, flags, &payload).map(drop)
    }

    /// Sends one request; the payloads of its answers.
    fn request(&mut self, kind: u16, flags: u16, payload: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = NLMSG_HEADER + payload.len();
        let mut message = vec![0; NLMSG_HEADER];
        message.extend_from_slice(payload);
        let mut header = NetlinkBuffer::new(&mut message);
        header.set_length(u32::try_from(length).map_err(|_| Fault::of(libc::EMSGSIZE))?);
        header.set_message_type(kind);
        header.set_flags(flags | NLM_F_REQUEST);
        header.set_sequence_number(self.sequence);
        self.socket.send(&message, 0)?;
        let mut answers = Vec::new();
        let mut interrupted = false;
        loop {
            let mut packet = Vec::with_capacity(PACKET);
            self.socket.recv(&mut packet, 0)?;
            let mut rest = packet.as_slice();
            while let Some((answer, after)) = split_answer(rest) {
                rest = after;
                if answer.sequence_number() != self.sequence {
                    continue;
                }
                interrupted |= answer.flags() & NLM_F_DUMP_INTR != 0;
                match i32::from(answer.message_type()) {
                    libc::NLMSG_ERROR => return acknowledged(&answer).map(|()| answers),
                    libc::NLMSG_DONE if interrupted => return Err(Fault::of(libc::EINTR)),
                    libc::NLMSG_DONE => return Ok(answers),
                    _ => answers.push(answer.payload().to_vec()),
                }
            }
        }
    }
}

/// The first message of a packet, and what comes after it.
fn split_answer(packet: &[u8]) -> Option<(NetlinkBuffer<&[u8]>, &[u8])> {
    let length = NetlinkBuffer::new_checked(packet).ok()?.length() as usize;
    let (message, _) = packet.split_at_checked(length)?;
    let rest = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((NetlinkBuffer::new(message), rest))
}

/// An acknowledgement is an error number, 0 for success, and the header of the request. The
/// kernel's sentence may follow.
fn acknowledged(answer: &NetlinkBuffer<&[u8]>) -> Result<()> {
    let payload = answer.payload();
    let code = payload.first_chunk().map_or(-libc::EBADMSG, |bytes| i32::from_ne_bytes(*bytes));
    if code == 0 {
        return Ok(());
    }
    let mut fault = Fault::of(code.saturating_neg());
    if answer.flags() & NLM_F_ACK_TLVS != 0 {
        let attributes = payload.get(4 + NLMSG_HEADER..).unwrap_or_default();
        let sentence = NlasIterator::new(attributes)
            .filter_map(std::result::Result::ok)
            .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG);
        if let Some(sentence) = sentence {
            let text = String::from_utf8_lossy(sentence.value());
            fault.sentence = text.trim_end_matches('\0').to_owned();
        }
    }
    Err(fault)
}

fn text(kind: u16, text: &str) -> DefaultNla {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    DefaultNla::new(kind, bytes)
}

fn link_payload(header: &LinkHeader, attributes: &[DefaultNla]) -> Vec<u8> {
    let head = header.buffer_len();
    let mut payload = vec![0; head + attributes.buffer_len()];
    header.emit(&mut payload);
    if let Some(rest) = payload.get_mut(head..) {
        attributes.emit(rest);
    }
    payload
}

/// Somebody configured it; the others have limited lives.
pub(super) fn is_permanent(address: &AddressMessage) -> bool {
    let flags = address.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(flags.contains(AddressFlags::Permanent)),
        _ => None,
    });
    flags.unwrap_or_else(|| address.header.flags.contains(AddressHeaderFlags::Permanent))
}

/// It is valid everywhere: RT_SCOPE_UNIVERSE.
pub(super) fn is_global(address: &AddressMessage) -> bool {
    address.header.scope == AddressScope::Universe
}

/// The device's own end of an address. Point-to-point links name both.
fn local(address: &AddressMessage) -> Option<&IpAddr> {
    let local = address.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(address),
        _ => None,
    });
    local.or_else(|| {
        address.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(address),
            _ => None,
        })
    })
}

/// Whether two addresses are the same one.
pub(super) fn is_same(one: &AddressMessage, other: &AddressMessage) -> bool {
    one.header.prefix_len == other.header.prefix_len && local(one) == local(other)
}

/// An address as people write it.
pub(super) fn shown(address: &AddressMessage) -> String {
    match local(address) {
        Some(local) => format!("{local}/{}", address.header.prefix_len),
        None => "without a local end".to_owned(),
    }
}
