//! Network devices of the host that a container gets: `linux.netDevices`.
//!
//! A device is taken down, moved and renamed in one request, given its addresses again, which the
//! kernel drops when a device changes its namespace, and set up. What was moved goes back when the
//! creation fails later. After the creation devices belong to the network namespace: the kernel
//! returns physical ones to the initial namespace when it ends, and destroys virtual ones.

mod netlink;

use std::os::fd::{AsFd, OwnedFd};

use netlink_packet_route::address::AddressMessage;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::PlannedNetDevice;
use crate::sys::Errno;
use netlink::{Fault, Link, Netlink};

/// Names that a template is tried with: more than a namespace holds.
const TEMPLATE_NUMBERS: u32 = 4096;

/// Devices on their way into a network namespace, and what it takes to bring them back.
pub(crate) struct Moved {
    here: Netlink,
    there: Netlink,
    home: OwnedFd,
    target: OwnedFd,
    /// How messages name the target.
    place: String,
    devices: Vec<Device>,
}

/// A device that was at least taken down.
struct Device {
    /// Name on the host.
    name: String,
    /// Name in the container's namespace.
    new_name: String,
    /// The container's namespace had another device with the host's name before.
    is_namesake: bool,
    was_up: bool,
    addresses: Vec<AddressMessage>,
}

impl Moved {
    /// Nothing yet: from `home`, the namespace of the calling thread, to `target`, which messages
    /// call `place`.
    pub(crate) fn new(home: OwnedFd, target: OwnedFd, place: String) -> Result<Self> {
        let failed =
            |errno: Errno| Error::new(ErrorKind::System, format!("open a netlink socket: {errno}"));
        let here = Netlink::open().map_err(failed)?;
        let there = Netlink::open_in(target.as_fd()).map_err(failed)?;
        Ok(Self { here, there, home, target, place, devices: Vec::new() })
    }

    /// Moves the devices.
    ///
    /// # Errors
    /// The first device that cannot be moved; those before it are in the namespace.
    pub(crate) fn move_all(&mut self, devices: &[PlannedNetDevice]) -> Result<()> {
        for device in devices {
            self.move_one(device).map_err(|message| {
                let message = format!(
                    "move netDevice {} to namespace {}: {message}",
                    device.name, self.place
                );
                Error::new(ErrorKind::System, message).at(&device.pointer)
            })?;
        }
        Ok(())
    }

    fn move_one(&mut self, planned: &PlannedNetDevice) -> std::result::Result<(), String> {
        let Self { here, there, place, .. } = self;
        let name = &planned.name;
        let link = here.link(name).map_err(|fault| {
            format!("link not found for interface {name} on runtime namespace: {fault}")
        })?;
        // Before it is taken down: the kernel drops addresses of IPv6 then.
        let addresses = here
            .addresses(link.index)
            .map_err(|fault| format!("fail to get ip addresses: {fault}"))?;
        let is_namesake = there.link(name).is_ok();
        let new_name = free_name(there, &planned.new_name).map_err(|fault| {
            format!("fail to move network device {name} to network namespace {place}: {fault}")
        })?;
        self.devices.push(Device {
            name: name.clone(),
            new_name: new_name.clone(),
            is_namesake,
            was_up: link.is_up,
            addresses: addresses.iter().filter(|address| is_kept(address)).cloned().collect(),
        });
        self.here
            .set_up(link.index, false)
            .map_err(|fault| format!("fail to set link down: {fault}"))?;
        self.here.transfer(link.index, &new_name, self.target.as_fd()).map_err(|fault| {
            let place = &self.place;
            format!("fail to move network device {name} to network namespace {place}: {fault}")
        })?;
        self.arrive(&new_name)
    }

    /// The device gets its addresses in the new namespace and is set up.
    fn arrive(&mut self, name: &str) -> std::result::Result<(), String> {
        let Self { there, place, devices, .. } = self;
        let link = there.link(name).map_err(|fault| {
            format!("link not found for interface {name} on namespace {place}: {fault}")
        })?;
        for address in devices.last().into_iter().flat_map(|device| &device.addresses) {
            there.add_address(link.index, address).map_err(|fault| {
                let address = netlink::shown(address);
                format!("fail to set up address {address} on namespace {place}: {fault}")
            })?;
        }
        there.set_up(link.index, true).map_err(|fault| {
            format!("fail to set up interface {name} on namespace {place}: {fault}")
        })
    }

    /// Brings everything back as it was. What cannot be undone is logged.
    pub(crate) fn undo(mut self) {
        while let Some(device) = self.devices.pop() {
            if let Err(fault) = self.undo_one(&device) {
                log::debug!("network device {} is not as it was: {fault}", device.name);
            }
        }
    }

    fn undo_one(&mut self, device: &Device) -> std::result::Result<(), Fault> {
        if self.here.link(&device.name).is_err() {
            let index = self.find_moved(device)?.index;
            self.there.set_up(index, false)?;
            self.there.transfer(index, &device.name, self.home.as_fd())?;
        }
        let link = self.here.link(&device.name)?;
        let present = self.here.addresses(link.index)?;
        for address in &device.addresses {
            if !present.iter().any(|other| netlink::is_same(address, other)) {
                self.here.add_address(link.index, address)?;
            }
        }
        if device.was_up { self.here.set_up(link.index, true) } else { Ok(()) }
    }

    /// The kernel moves first and renames afterwards: a request that failed in between leaves the
    /// device with its old name.
    fn find_moved(&mut self, device: &Device) -> std::result::Result<Link, Fault> {
        match self.there.link(&device.new_name) {
            Err(_) if !device.is_namesake => self.there.link(&device.name),
            result => result,
        }
    }
}

/// Only what is permanent and valid everywhere means something in another namespace.
fn is_kept(address: &AddressMessage) -> bool {
    netlink::is_permanent(address) && netlink::is_global(address)
}

/// The name itself unless it is taken, or the first free one of a template with `%d`. The kernel
/// would fill a template, too, but does not say with what.
fn free_name(there: &mut Netlink, name: &str) -> std::result::Result<String, Fault> {
    let Some((before, after)) = name.split_once("%d") else {
        return match there.link(name) {
            Ok(_) => Err(Fault::of(libc::EEXIST)),
            Err(fault) if fault.is(libc::ENODEV) => Ok(name.to_owned()),
            Err(fault) => Err(fault),
        };
    };
    for number in 0..TEMPLATE_NUMBERS {
        let candidate = format!("{before}{number}{after}");
        match there.link(&candidate) {
            Ok(_) => {}
            Err(fault) if fault.is(libc::ENODEV) => return Ok(candidate),
            Err(fault) => return Err(fault),
        }
    }
    Err(Fault::of(libc::ENFILE))
}
