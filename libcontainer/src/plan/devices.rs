//! Device nodes and the links of /dev.

use super::mounts::{clean, provides_dev};
use super::{Context, PlanError};
use crate::protocol::mount::{Device as Number, Mode};
use crate::protocol::{Step, Text};
use crate::spec::Device;

/// Every container has these, whatever `linux.devices` says.
/// <https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#default-devices>
pub(super) const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
];

/// Links of /dev: name, target.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

const DEFAULT_MODE: u32 = 0o666;

/// Makes the devices and the links, unless the configuration brings a /dev of its own.
pub(crate) fn plan_devices(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    if provides_dev(ctx.spec) {
        return Ok(());
    }
    let devices = ctx.linux().map(|linux| linux.devices.as_slice()).unwrap_or_default();
    for (path, major, minor) in DEFAULT_DEVICES {
        if devices.iter().any(|device| clean(&device.path) == path) {
            continue;
        }
        let path = ctx.text(path, "/linux/devices")?;
        let (mode, device) =
            (Mode(libc::S_IFCHR | DEFAULT_MODE), Number(libc::makedev(major, minor)));
        ctx.push(Step::MakeDevice { path, mode, device, uid: 0, gid: 0 }, "");
    }
    for (index, device) in devices.iter().enumerate() {
        plan_device(ctx, device, &format!("/linux/devices/{index}"))?;
    }
    plan_links(ctx)
}

fn plan_device(ctx: &mut Context<'_>, device: &Device, pointer: &str) -> Result<(), PlanError> {
    if !device.path.starts_with('/') {
        let message = format!("device path {:?} is not an absolute path", device.path);
        return Err(PlanError::new(format!("{pointer}/path"), message));
    }
    let path = clean(&device.path);
    // The link to the container's own multiplexer takes its place.
    if path == "/dev/ptmx" {
        return Ok(());
    }
    if path == "/" {
        return Err(PlanError::new(
            format!("{pointer}/path"),
            "cannot make a device over the rootfs",
        ));
    }
    let (kind, number) = device_number(device, pointer)?;
    let mode = kind | (device.file_mode.unwrap_or(DEFAULT_MODE) & !libc::S_IFMT);
    let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
    for (field, id) in [("uid", uid), ("gid", gid)] {
        if id == u32::MAX {
            let message = format!("device {path}: {field} {id} is not valid");
            return Err(PlanError::new(format!("{pointer}/{field}"), message));
        }
    }
    let path = ctx.text(path, &format!("{pointer}/path"))?;
    ctx.push(
        Step::MakeDevice { path, mode: Mode(mode), device: Number(number), uid, gid },
        pointer,
    );
    Ok(())
}

/// The file type and the number.
fn device_number(device: &Device, pointer: &str) -> Result<(u32, u64), PlanError> {
    let kind = match device.kind.as_str() {
        "c" | "u" => libc::S_IFCHR,
        "b" => libc::S_IFBLK,
        "p" => return Ok((libc::S_IFIFO, 0)),
        other => {
            let message = format!("invalid device type: {other:?}");
            return Err(PlanError::new(format!("{pointer}/type"), message));
        }
    };
    let part = |name: &str, value: Option<i64>, limit: u32| {
        let complain = |complaint: String| {
            let message = format!("device {}: {complaint}", device.path);
            PlanError::new(format!("{pointer}/{name}"), message)
        };
        let value = value.ok_or_else(|| complain(format!("the {name} number is missing")))?;
        u32::try_from(value)
            .ok()
            .filter(|part| *part <= limit)
            .ok_or_else(|| complain(format!("invalid {name} number {value}")))
    };
    // The kernel keeps 12 bits of the major and 20 of the minor number.
    let major = part("major", device.major, (1 << 12) - 1)?;
    let minor = part("minor", device.minor, (1 << 20) - 1)?;
    Ok((kind, libc::makedev(major, minor)))
}

fn plan_links(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let directory = ctx.text("/dev", "/linux/devices")?;
    for (name, target) in LINKS {
        let (name, target): (Text, Text) = (ctx.text(name, "")?, ctx.text(target, "")?);
        ctx.push(Step::MakeLink { directory, name, target }, "");
    }
    ctx.push(Step::MakeCoreLink {}, "");
    ctx.push(Step::MakePtmx {}, "");
    Ok(())
}
