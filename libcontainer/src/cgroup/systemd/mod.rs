//! Control groups by systemd: it makes the group of a transient unit, and knows the limits that it
//! carries itself, so that it does not take them back. All else is done by files, as without it.
//!
//! In the order of a container's life: [`locate`] decides the unit and its groups, [`start`] asks
//! for the unit with the container's process in it, [`update`] tells of changed limits, [`attach`]
//! brings a further process in where the kernel lets only systemd do that, and [`stop`] ends it.

mod unit;

#[cfg(not(feature = "systemd"))]
mod absent;
#[cfg(feature = "systemd")]
mod address;
#[cfg(feature = "systemd")]
mod annotations;
#[cfg(feature = "systemd")]
mod bus;
#[cfg(feature = "systemd")]
mod driver;
#[cfg(feature = "systemd")]
mod gvariant;
#[cfg(feature = "systemd")]
mod manager;
#[cfg(feature = "systemd")]
mod message;
#[cfg(feature = "systemd")]
mod properties;

#[cfg(not(feature = "systemd"))]
pub(crate) use absent::{Order, attach, locate, rounded, start, stop, update};
#[cfg(feature = "systemd")]
pub(crate) use driver::{Order, attach, locate, rounded, start, stop, update};
#[cfg(all(feature = "fuzzing", feature = "systemd"))]
pub(crate) use gvariant::parse as parse_gvariant;
pub(crate) use unit::Unit;
