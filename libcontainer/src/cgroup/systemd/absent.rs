//! What there is of the driver in a build without it.

use std::collections::BTreeMap;

use super::unit::Unit;
use crate::cgroup::create::Created;
use crate::cgroup::devices::DevicePolicy;
use crate::cgroup::{Error, Layout, Location, Result};
use crate::spec::Resources;

/// What a unit would be made of.
#[expect(dead_code, reason = "the driver would read it")]
pub(crate) struct Order<'a> {
    pub(crate) id: &'a str,
    pub(crate) resources: &'a Resources,
    pub(crate) devices: &'a DevicePolicy,
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

fn absent<T>() -> Result<T> {
    Err(Error::new("the systemd cgroup driver is not part of this build (feature \"systemd\")"))
}

pub(crate) fn locate(
    _layout: &Layout,
    path: Option<&str>,
    id: &str,
    rootless: bool,
    _annotations: &BTreeMap<String, String>,
) -> Result<Location> {
    Unit::parse(path, id, rootless)?;
    absent()
}

pub(crate) fn start(
    _layout: &Layout,
    _location: &Location,
    _order: &Order<'_>,
    _pid: u32,
) -> Result<Created> {
    absent()
}

pub(crate) fn rounded(resources: &Resources, _whole: &Resources) -> Resources {
    resources.clone()
}

pub(crate) fn update(_unit: &Unit, _resources: &Resources, _unified: bool) -> Result<()> {
    absent()
}

pub(crate) fn stop(_unit: &Unit) -> Result<()> {
    absent()
}

pub(crate) fn attach(_unit: &Unit, _subgroup: &str, _pid: u32) -> Result<()> {
    absent()
}
