//! Where a systemd listens.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A socket at which systemd can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A message bus, by the path of its socket.
    Bus(PathBuf),
    /// A message bus in the abstract name space.
    AbstractBus(Vec<u8>),
    /// systemd itself: it is there without a message bus.
    Direct(PathBuf),
}

impl Address {
    /// Whether it is systemd itself that listens.
    pub(super) fn is_direct(&self) -> bool {
        matches!(self, Address::Direct(_))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Bus(path) | Address::Direct(path) => write!(formatter, "{}", path.display()),
            Address::AbstractBus(name) => {
                write!(formatter, "unix:abstract={}", String::from_utf8_lossy(name))
            }
        }
    }
}

/// What the environment says about it.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// `DBUS_SYSTEM_BUS_ADDRESS` or `DBUS_SESSION_BUS_ADDRESS`.
    pub(super) bus: Option<OsString>,
    /// `XDG_RUNTIME_DIR`.
    pub(super) runtime_directory: Option<PathBuf>,
    /// The caller's user.
    pub(super) uid: u32,
}

impl Environment {
    /// Reads it.
    pub(super) fn read(user: bool) -> Self {
        let name = if user { "DBUS_SESSION_BUS_ADDRESS" } else { "DBUS_SYSTEM_BUS_ADDRESS" };
        Self {
            bus: std::env::var_os(name).filter(|address| !address.is_empty()),
            runtime_directory: std::env::var_os("XDG_RUNTIME_DIR")
                .map(PathBuf::from)
                .filter(|directory| directory.is_absolute()),
            uid: nix::unistd::geteuid().as_raw(),
        }
    }

    /// The sockets to be tried, in their order.
    pub(super) fn addresses(&self, user: bool) -> Vec<Address> {
        if let Some(given) = &self.bus {
            return parse(given.clone());
        }
        if !user {
            let mut addresses = vec![Address::Bus("/run/dbus/system_bus_socket".into())];
            // Nobody else may use it.
            if self.uid == 0 {
                addresses.push(Address::Direct("/run/systemd/private".into()));
            }
            return addresses;
        }
        let own = PathBuf::from(format!("/run/user/{}", self.uid));
        let directories: Vec<PathBuf> = match &self.runtime_directory {
            Some(given) if *given != own => vec![given.clone(), own],
            _ => vec![own],
        };
        let buses = directories.iter().map(|directory| Address::Bus(directory.join("bus")));
        let direct =
            directories.iter().map(|directory| Address::Direct(directory.join("systemd/private")));
        buses.chain(direct).collect()
    }
}

/// Reads an address of the D-Bus specification: `unix:path=/run/user/1000/bus,guid=...;...`. Other
/// transports than unix sockets are left out.
fn parse(text: OsString) -> Vec<Address> {
    let text = text.into_vec();
    text.split(|byte| *byte == b';').filter_map(parse_one).collect()
}

fn parse_one(text: &[u8]) -> Option<Address> {
    let keys = text.strip_prefix(b"unix:")?;
    keys.split(|byte| *byte == b',').find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (pair.get(..at)?, unescape(pair.get(at + 1..)?)?);
        match key {
            b"path" => Some(Address::Bus(OsString::from_vec(value).into())),
            b"abstract" => Some(Address::AbstractBus(value)),
            _ => None,
        }
    })
}

/// Undoes `%2f`; none for a `%` before anything else.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high << 4 | low).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(bus: Option<&str>, runtime: Option<&str>, uid: u32) -> Environment {
        Environment {
            bus: bus.map(OsString::from),
            runtime_directory: runtime.map(PathBuf::from),
            uid,
        }
    }

    fn shown(environment: &Environment, user: bool) -> Vec<String> {
        environment.addresses(user).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_system_has_a_bus_and_for_root_a_socket_of_its_own() {
        assert_eq!(
            shown(&environment(None, None, 0), false),
            ["/run/dbus/system_bus_socket", "/run/systemd/private"]
        );
        assert_eq!(shown(&environment(None, None, 1000), false), ["/run/dbus/system_bus_socket"]);
    }

    #[test]
    fn a_user_has_a_bus_below_the_runtime_directory() {
        assert_eq!(
            shown(&environment(None, None, 1000), true),
            ["/run/user/1000/bus", "/run/user/1000/systemd/private"]
        );
        // In a user namespace the directory is that of another number.
        assert_eq!(
            shown(&environment(None, Some("/run/user/1000"), 0), true),
            [
                "/run/user/1000/bus",
                "/run/user/0/bus",
                "/run/user/1000/systemd/private",
                "/run/user/0/systemd/private",
            ]
        );
    }

    #[test]
    fn the_environment_names_another() {
        for (text, expected) in [
            ("unix:path=/a/b,guid=1f", &["/a/b"][..]),
            ("tcp:host=x;unix:guid=1,path=/a%20b;unix:abstract=/x", &["/a b", "unix:abstract=/x"]),
            ("unix:path=/a%2", &[]),
            ("nothing", &[]),
        ] {
            assert_eq!(shown(&environment(Some(text), None, 0), false), expected, "{text}");
        }
    }
}
