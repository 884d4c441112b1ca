//! Which devices a container may use: rules as a policy, and the policy into the kernel.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use super::{Error, Group, Location, Result, check, file, program};
use crate::spec::{Device, DeviceRule, Resources};
use crate::sys::bpf;

/// The default and its exceptions: what v1 keeps in the kernel, and what our program for v2
/// decides by. Without any rule everything is denied (GHSA-g54h-m393-cpwq).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DevicePolicy {
    /// Whether a device that no exception names is allowed.
    pub(super) allows: bool,
    /// Devices for which the opposite of the default holds.
    pub(super) exceptions: BTreeMap<DeviceMatch, Access>,
}

/// Devices that a rule speaks of. Absent numbers stand for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DeviceMatch {
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) kind: Kind,
}

/// Kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Block,
    Character,
}

/// Set of mknod, read and write, with the kernel's bits (`BPF_DEVCG_ACC_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access(pub(super) u8);

impl Access {
    pub(super) const ALL: Access = Access(7);
    const LETTERS: [(char, u8); 3] = [('r', 2), ('w', 4), ('m', 1)];

    fn parse(letters: &str) -> Option<Access> {
        // runc reads over the type `a` among the letters.
        letters.chars().filter(|letter| *letter != 'a').try_fold(Access(0), |access, letter| {
            let (_, bit) = Self::LETTERS.iter().find(|(known, _)| *known == letter)?;
            Some(Access(access.0 | bit))
        })
    }

    pub(super) fn letters(self) -> String {
        let has = |(letter, bit): &(char, u8)| (self.0 & bit != 0).then_some(*letter);
        Self::LETTERS.iter().filter_map(has).collect()
    }

    fn without(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// One write to `devices.allow` or `devices.deny`.
#[derive(Clone, Debug, PartialEq)]
struct Change {
    allow: bool,
    line: String,
}

/// Devices that every container may use, after the rules of its own. Path, major, minor. (mknod
/// is allowed for all devices: making a node gives no access to what it stands for.)
const DEFAULT_DEVICES: [(&str, u32, Option<u32>); 9] = [
    ("/dev/null", 1, Some(3)),
    ("/dev/random", 1, Some(8)),
    ("/dev/full", 1, Some(7)),
    ("/dev/tty", 5, Some(0)),
    ("/dev/zero", 1, Some(5)),
    ("/dev/urandom", 1, Some(9)),
    // Terminals, /dev/ptmx, and /dev/net/tun, without which many VPN containers would fail.
    ("", 136, None),
    ("", 5, Some(2)),
    ("", 10, Some(200)),
];

impl DevicePolicy {
    /// Decides the policy: the rules in their order, then the default devices but those whose
    /// path `linux.devices` gives to another device.
    ///
    /// # Errors
    /// A rule that is none, or that cgroups cannot express, with its JSON pointer.
    pub(crate) fn plan(resources: &Resources, devices: &[Device]) -> Result<DevicePolicy> {
        let mut policy = DevicePolicy::default();
        for (index, rule) in resources.devices.iter().enumerate() {
            let pointer = format!("/linux/resources/devices/{index}");
            policy.add_rule(rule).map_err(|words| Error::at(pointer, words))?;
        }
        for kind in [Kind::Character, Kind::Block] {
            policy.allow(DeviceMatch { major: None, minor: None, kind }, Access(1))?;
        }
        for (path, major, minor) in DEFAULT_DEVICES {
            if path.is_empty() || devices.iter().all(|device| device.path != path) {
                let device = DeviceMatch { major: Some(major), minor, kind: Kind::Character };
                policy.allow(device, Access::ALL)?;
            }
        }
        Ok(policy)
    }

    fn allow(&mut self, device: DeviceMatch, access: Access) -> Result<()> {
        self.add(true, device, access).map_err(|words| Error::at("/linux/resources/devices", words))
    }

    fn add_rule(&mut self, rule: &DeviceRule) -> std::result::Result<(), String> {
        let access = match rule.access.as_str() {
            "" => Access::ALL,
            letters => Access::parse(letters)
                .ok_or_else(|| format!("invalid device access {letters:?}"))?,
        };
        let kind = match rule.kind.as_str() {
            "" | "a" => None,
            "c" => Some(Kind::Character),
            "b" => Some(Kind::Block),
            other => return Err(format!("invalid cgroup device type {other:?}")),
        };
        let number = |name: &str, value: Option<i64>| match value {
            None | Some(-1) => Ok(None),
            Some(value) => u32::try_from(value)
                .map(Some)
                .map_err(|_| format!("invalid device {name} number {value}")),
        };
        let major = number("major", rule.major)?;
        let minor = number("minor", rule.minor)?;
        match kind {
            // The kernel takes "all types" as "all devices" and forgets what went before.
            None => {
                *self = DevicePolicy { allows: rule.allow, exceptions: BTreeMap::new() };
                Ok(())
            }
            Some(kind) => self.add(rule.allow, DeviceMatch { major, minor, kind }, access),
        }
    }

    fn add(
        &mut self,
        allow: bool,
        device: DeviceMatch,
        access: Access,
    ) -> std::result::Result<(), String> {
        if allow != self.allows {
            let present = self.exceptions.entry(device).or_insert(Access(0));
            present.0 |= access.0;
            return Ok(());
        }
        self.refuse_hole(device, access)?;
        if let Some(present) = self.exceptions.get_mut(&device) {
            *present = present.without(access);
            if present.is_empty() {
                self.exceptions.remove(&device);
            }
        }
        Ok(())
    }

    /// A part cannot be taken out of a wider exception: v1 would silently ignore it.
    fn refuse_hole(&self, device: DeviceMatch, access: Access) -> std::result::Result<(), String> {
        let DeviceMatch { major, minor, kind } = device;
        let wider = [(None, minor), (major, None), (None, None)]
            .map(|(major, minor)| DeviceMatch { major, minor, kind });
        for wide in wider.iter().filter(|wide| **wide != device) {
            let overlaps = self.exceptions.get(wide).is_some_and(|held| held.0 & access.0 != 0);
            if overlaps {
                return Err(format!(
                    "device rule {:?} not supported: it would punch a hole into the wider rule {:?}",
                    line(device, access),
                    line(*wide, self.exceptions.get(wide).copied().unwrap_or(access)),
                ));
            }
        }
        Ok(())
    }

    /// Reads `devices.list`. The exceptions of a policy that allows by default are not in it.
    fn parse_list(text: &str) -> Option<DevicePolicy> {
        let mut policy = DevicePolicy::default();
        for entry in text.lines().filter(|entry| !entry.is_empty()) {
            let mut fields = entry.split([' ', ':']);
            let kind = match fields.next()? {
                "a" => return Some(DevicePolicy { allows: true, exceptions: BTreeMap::new() }),
                "b" => Kind::Block,
                "c" => Kind::Character,
                _ => return None,
            };
            let mut number = || match fields.next()? {
                "*" => Some(None),
                number => number.parse().ok().map(Some),
            };
            let device = DeviceMatch { major: number()?, minor: number()?, kind };
            policy.exceptions.insert(device, Access::parse(fields.next()?)?);
        }
        Some(policy)
    }

    /// The fewest writes that lead from this policy to another, so that an update takes no
    /// access away in between that both allow.
    fn changes_to(&self, target: &DevicePolicy) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut push = |allow, line| changes.push(Change { allow, line });
        let nothing = BTreeMap::new();
        // The exceptions of a default that allows cannot be read, so it always starts anew.
        let held = if self.allows || self.allows != target.allows {
            push(target.allows, "a *:* rwm".to_owned());
            &nothing
        } else {
            &self.exceptions
        };
        for (device, access) in held {
            let kept = target.exceptions.get(device).copied().unwrap_or(Access(0));
            let dropped = access.without(kept);
            if !dropped.is_empty() {
                push(target.allows, line(*device, dropped));
            }
        }
        for (device, access) in &target.exceptions {
            let gained = access.without(held.get(device).copied().unwrap_or(Access(0)));
            if !gained.is_empty() {
                push(!target.allows, line(*device, gained));
            }
        }
        changes
    }
}

fn line(device: DeviceMatch, access: Access) -> String {
    let kind = match device.kind {
        Kind::Block => 'b',
        Kind::Character => 'c',
    };
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    format!("{kind} {}:{} {}", number(device.major), number(device.minor), access.letters())
}

const POINTER: &str = "/linux/resources/devices";

/// Puts the policy into force.
pub(super) fn apply(location: &Location, policy: &DevicePolicy) -> Result<()> {
    let applied = match (location.v1("devices"), location.v2()) {
        (Some(group), _) => apply_v1(group, policy),
        (None, Some(group)) => apply_v2(group, policy),
        (None, None) => Err(check::not_joined(location, "devices", POINTER)),
    };
    applied.map_err(|error| error.pointing(POINTER))
}

fn apply_v1(group: &Group, policy: &DevicePolicy) -> Result<()> {
    let present = read_list(group)?;
    let changes = present.changes_to(policy);
    for allow in [false, true] {
        // Within one kind of change the order is free, and a default that denies comes first.
        if changes.iter().all(|change| change.allow != allow) {
            continue;
        }
        let path = group.file(if allow { "devices.allow" } else { "devices.deny" });
        let file = file::open_write(&path)?;
        for change in changes.iter().filter(|change| change.allow == allow) {
            file::write_open(&file, &path, &change.line)?;
        }
    }
    let reached = read_list(group)?;
    let holds = if policy.allows { reached.allows } else { reached == *policy };
    if holds {
        Ok(())
    } else {
        Err(Error::new(format!(
            "{} does not hold the wanted rules",
            group.file("devices.list").display()
        )))
    }
}

fn read_list(group: &Group) -> Result<DevicePolicy> {
    let path = group.file("devices.list");
    let text = file::read(&path)?;
    DevicePolicy::parse_list(&text)
        .ok_or_else(|| Error::new(format!("{} has an unknown form", path.display())))
}

/// Attaches a program in place of those that are there. With one of them, which is the rule, the
/// kernel exchanges them atomically (5.6); else ours comes first and the others leave then, so
/// that there is no moment without rules.
fn apply_v2(group: &Group, policy: &DevicePolicy) -> Result<()> {
    let directory = group.directory();
    let tried = |words: &'static str| {
        let directory = &directory;
        move |errno: crate::sys::Errno| Error::kernel(words, directory, &errno.into())
    };
    let target = file::open_group(&directory)?;
    let old = bpf::attached_device_programs(target.as_fd())
        .map_err(tried("list the device programs of"))?;
    let program = bpf::load_device_program(&program::compile(policy))
        .map_err(tried("load a device program (is RLIMIT_MEMLOCK too low?) for"))?;
    let (target, program) = (target.as_fd(), program.as_fd());
    if let [only] = old.as_slice() {
        match bpf::attach_device_program(target, program, Some(only.as_fd())) {
            // A kernel that knows no replacement.
            Err(crate::sys::Errno(libc::EINVAL)) => {}
            result => return result.map_err(tried("replace the device program of")),
        }
    }
    bpf::attach_device_program(target, program, None)
        .map_err(tried("attach a device program to"))?;
    for program in &old {
        bpf::detach_device_program(target, program.as_fd())
            .map_err(tried("detach the old device program of"))?;
    }
    Ok(())
}
