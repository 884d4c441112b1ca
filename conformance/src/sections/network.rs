//! config-linux.md, Network Devices. The devices are made in a network namespace of the case's
//! own, which is the runtime's for it.

use crate::bundle::Bundle;
use crate::case::Level::Must;
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, skipped};
use crate::scene::Scene;
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use std::process::Command;

pub(super) const CASES: &[Case] = &[
    case(
        "linux.net-devices.moved",
        Must,
        "config-linux.md, Network Devices: the device is in the container, and no longer outside",
        moved,
    ),
    case(
        "linux.net-devices.renamed",
        Must,
        "config-linux.md, Network Devices: name inside",
        renamed,
    ),
    case(
        "linux.net-devices.several",
        Must,
        "config-linux.md, Network Devices: every device of the object",
        several,
    ),
    case(
        "linux.net-devices.addresses",
        Must,
        "config-linux.md, Network Devices: permanent addresses of global scope are kept",
        addresses,
    ),
    case(
        "linux.net-devices.attributes",
        Must,
        "config-linux.md, Network Devices: attributes of the device are kept",
        attributes,
    ),
    case(
        "linux.net-devices.up",
        Must,
        "config-linux.md, Network Devices: the device is set up",
        up,
    ),
    case(
        "linux.net-devices.missing",
        Must,
        "config-linux.md, Network Devices: a device that is not there is an error",
        missing,
    ),
    case(
        "linux.net-devices.name-taken",
        Must,
        "config-linux.md, Network Devices: a name that exists in the container is an error",
        name_taken,
    ),
    case(
        "linux.net-devices.template",
        Must,
        "config-linux.md, Network Devices: with %d the kernel finds a name",
        template,
    ),
    case(
        "linux.net-devices.without-namespace",
        Must,
        "runtime.md, Create: without a network namespace of its own nothing can be moved",
        no_namespace,
    ),
];

/// A network namespace of this process with one end of a pair in it, under each of the names.
fn devices(scene: &Scene, names: &[&str]) -> Verdict {
    let features = scene.features()?;
    if features.pointer("/linux/netDevices/enabled") != Some(&Value::Bool(true)) {
        return skipped("the runtime's features do not say that it moves network devices");
    }
    unshare(CloneFlags::CLONE_NEWNET)?;
    for name in names {
        ip(&["link", "add", name, "type", "veth", "peer", "name", &format!("{name}p")])?;
    }
    Ok(())
}

/// iproute2 on the host.
fn ip(words: &[&str]) -> Result<String, Stop> {
    let Ok(output) = Command::new("ip").args(words).output() else {
        return skipped("ip of iproute2 is not installed");
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return skipped(format!("ip {}: {said}", words.join(" ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `ip` says inside the container's network namespace.
fn inside(pid: i32, words: &[&str]) -> Result<String, Stop> {
    let output = Command::new("nsenter")
        .args([&format!("--net=/proc/{pid}/ns/net"), "ip"])
        .args(words)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn with_devices<'s>(scene: &'s Scene, given: Value) -> Result<Bundle<'s>, Stop> {
    Ok(scene.bundle()?.namespace("network", None).set("/linux/netDevices", given))
}

/// Runs the container up to where its program holds, asks, and ends it: the devices go with it.
fn asked(scene: &Scene, given: Value, words: &[&str]) -> Result<String, Stop> {
    let container = with_devices(scene, given)?.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    inside(container.pid()?, words)
}

fn moved(scene: &Scene) -> Verdict {
    devices(scene, &["vc0"])?;
    let seen = asked(scene, json!({ "vc0": {} }), &["-br", "link", "show"])?;
    ensure!(seen.contains("vc0"), "devices inside: {seen}");
    let outside = ip(&["-br", "link", "show"])?;
    ensure!(
        !outside.lines().any(|line| line.starts_with("vc0@") || line.starts_with("vc0 ")),
        "devices outside: {outside}"
    );
    Ok(())
}

fn renamed(scene: &Scene) -> Verdict {
    devices(scene, &["vc0"])?;
    let seen = asked(scene, json!({ "vc0": { "name": "inner0" } }), &["-br", "link", "show"])?;
    ensure!(seen.contains("inner0") && !seen.contains("vc0@"), "devices inside: {seen}");
    Ok(())
}

fn several(scene: &Scene) -> Verdict {
    devices(scene, &["vc0", "vd0"])?;
    let given = json!({ "vc0": { "name": "one0" }, "vd0": {} });
    let seen = asked(scene, given, &["-br", "link", "show"])?;
    ensure!(seen.contains("one0") && seen.contains("vd0"), "devices inside: {seen}");
    Ok(())
}

fn addresses(scene: &Scene) -> Verdict {
    devices(scene, &["vc0"])?;
    ip(&["addr", "add", "192.0.2.7/24", "dev", "vc0"])?;
    ip(&["addr", "add", "2001:db8::7/64", "dev", "vc0", "nodad"])?;
    let seen =
        asked(scene, json!({ "vc0": { "name": "inner0" } }), &["addr", "show", "dev", "inner0"])?;
    for address in ["192.0.2.7/24", "2001:db8::7/64"] {
        ensure!(seen.contains(address), "{address} is missing: {seen}");
    }
    Ok(())
}

fn attributes(scene: &Scene) -> Verdict {
    devices(scene, &["vc0"])?;
    ip(&["link", "set", "vc0", "mtu", "1312", "address", "02:00:00:00:00:17"])?;
    let seen = asked(scene, json!({ "vc0": {} }), &["link", "show", "dev", "vc0"])?;
    ensure!(seen.contains("mtu 1312") && seen.contains("02:00:00:00:00:17"), "the device: {seen}");
    Ok(())
}

fn up(scene: &Scene) -> Verdict {
    devices(scene, &["vc0"])?;
    let seen = asked(scene, json!({ "vc0": {} }), &["link", "show", "dev", "vc0"])?;
    let flags = seen.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
    ensure!(flags.split(',').any(|flag| flag == "UP"), "flags: {flags}");
    Ok(())
}

fn missing(scene: &Scene) -> Verdict {
    devices(scene, &[])?;
    with_devices(scene, json!({ "nosuch0": {} }))?.refused().map(drop)
}

fn name_taken(scene: &Scene) -> Verdict {
    devices(scene, &["vc0"])?;
    with_devices(scene, json!({ "vc0": { "name": "lo" } }))?.refused()?;
    let outside = ip(&["-br", "link", "show"])?;
    ensure!(outside.contains("vc0"), "the device is no longer outside: {outside}");
    Ok(())
}

fn template(scene: &Scene) -> Verdict {
    devices(scene, &["vc0"])?;
    let seen = asked(scene, json!({ "vc0": { "name": "net%d" } }), &["-br", "link", "show"])?;
    ensure!(seen.contains("net0"), "devices inside: {seen}");
    Ok(())
}

fn no_namespace(scene: &Scene) -> Verdict {
    devices(scene, &["vc0"])?;
    let bundle = scene.bundle()?.without_namespace("network");
    bundle.set("/linux/netDevices", json!({ "vc0": {} })).refused()?;
    ensure_eq!(ip(&["-br", "link", "show"])?.contains("vc0"), true, "the device is still there");
    Ok(())
}
