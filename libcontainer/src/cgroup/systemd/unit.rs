//! Names: of the unit that holds a container, of its slice, and of their groups.

use serde::{Deserialize, Serialize};

use crate::cgroup::{Error, Result};

const POINTER: &str = "/linux/cgroupsPath";

/// Longest name of a unit, `UNIT_NAME_MAX` of systemd.
const LONGEST: usize = 255;

/// The unit that holds a container. Part of state.json.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Name with its type: a scope, or a slice.
    pub(crate) name: String,
    /// Slice in which it is.
    pub(crate) slice: String,
    /// Whether it is the user's systemd that has it, not the system's.
    #[serde(default)]
    pub(crate) user: bool,
    /// Group below that of the unit in which the container is; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) subgroup: String,
    /// Inode numbers of its groups, in their order, which no later groups have: one of that name
    /// with another number is not the container's. None before the unit was started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) numbers: Vec<u64>,
}

impl Unit {
    /// Reads `slice:prefix:name`, the form of `linux.cgroupsPath` under systemd. Without a path the
    /// unit is `runc-ID.scope`, and without a slice that is `system.slice`, or `user.slice` of the
    /// user's systemd: engines and monitoring look for those names.
    ///
    /// # Errors
    /// A path of another form, or names that systemd does not take.
    pub(crate) fn parse(path: Option<&str>, id: &str, user: bool) -> Result<Unit> {
        let default = format!(":runc:{id}");
        let path = path.unwrap_or(&default);
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts.as_slice() else {
            return Err(Error::at(
                POINTER,
                format!(
                    "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd \
                     cgroups, got {path:?} instead"
                ),
            ));
        };
        let slice = match *slice {
            "" if user => "user.slice",
            "" => "system.slice",
            slice => slice,
        };
        expand_slice(slice)?;
        let name = match name.ends_with(".slice") {
            true => (*name).to_owned(),
            false => format!("{}-{}.scope", escape(prefix), escape(name)),
        };
        check_name(&name)?;
        if name.ends_with(".slice") {
            expand_slice(&name)?;
        }
        Ok(Unit {
            name,
            slice: slice.to_owned(),
            user,
            subgroup: String::new(),
            numbers: Vec::new(),
        })
    }

    /// Whether it is a slice: that holds processes, but systemd puts none into it.
    pub(crate) fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// Path of its group below that of its systemd: clean, relative.
    ///
    /// # Errors
    /// A name that is none; a state file may have been changed.
    #[cfg_attr(not(feature = "systemd"), allow(dead_code, reason = "its driver is left out"))]
    pub(in crate::cgroup) fn path(&self) -> Result<String> {
        check_name(&self.name)?;
        // A slice lies where its own name says, whatever it is wanted by.
        if self.is_slice() {
            return expand_slice(&self.name);
        }
        let slice = expand_slice(&self.slice)?;
        let name = escape_group(&self.name);
        Ok(if slice.is_empty() { name } else { format!("{slice}/{name}") })
    }
}

/// What systemd takes in a name; the rest it wants as `\xNN`. The separators of types, instances
/// and slices stay as they are.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.' | b'\\' | b'@')
}

/// Ids may have a `+`, which no unit may.
fn escape(name: &str) -> String {
    name.bytes().fold(String::new(), |mut escaped, byte| {
        match is_plain(byte) {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("\\x{byte:02x}")),
        }
        escaped
    })
}

fn check_name(name: &str) -> Result<()> {
    let refuse = |words: &str| Err(Error::at(POINTER, format!("unit name {name:?} {words}")));
    if !name.bytes().all(is_plain) {
        return refuse("has characters that systemd does not take");
    }
    if name.len() > LONGEST {
        return refuse("is longer than 255 bytes");
    }
    if name.starts_with('.') {
        return refuse("begins with a dot");
    }
    Ok(())
}

/// The groups of a slice: `a-b.slice` lies in `a.slice`. The top slice `-.slice` has no group of
/// its own.
fn expand_slice(slice: &str) -> Result<String> {
    let invalid = || Error::at(POINTER, format!("invalid slice name: {slice}"));
    let name = slice.strip_suffix(".slice").filter(|name| !name.is_empty()).ok_or_else(invalid)?;
    if name == "-" {
        return Ok(String::new());
    }
    if !slice.bytes().all(is_plain) || slice.len() > LONGEST || slice.starts_with('.') {
        return Err(invalid());
    }
    let mut groups = Vec::new();
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return Err(invalid());
        }
        prefix.push_str(part);
        groups.push(escape_group(&format!("{prefix}.slice")));
        prefix.push('-');
    }
    Ok(groups.join("/"))
}

/// A unit's group has its name, unless the kernel or a controller could mean that name: systemd
/// then puts a `_` before it.
fn escape_group(name: &str) -> String {
    const CONTROLLERS: [&str; 15] = [
        "cpu",
        "cpuacct",
        "cpuset",
        "io",
        "blkio",
        "memory",
        "devices",
        "pids",
        "bpf-firewall",
        "bpf-devices",
        "bpf-foreign",
        "bpf-socket-bind",
        "bpf-restrict-network-interfaces",
        "bpf-bind-network-interface",
        "cgroup",
    ];
    let meant = name.starts_with(['_', '.'])
        || CONTROLLERS
            .iter()
            .any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')));
    if meant { format!("_{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Unit {
        Unit::parse(Some(path), "c1", false).unwrap()
    }

    #[test]
    fn the_form_is_slice_prefix_name() {
        let unit = parse("machine.slice:libpod:abc");
        assert_eq!(
            (unit.name.as_str(), unit.slice.as_str()),
            ("libpod-abc.scope", "machine.slice")
        );
        assert_eq!(unit.path().unwrap(), "machine.slice/libpod-abc.scope");
        for path in ["/a/b", "a.slice:b", "a.slice:b:c:d", ""] {
            let error = Unit::parse(Some(path), "c1", false).unwrap_err();
            assert!(error.to_string().contains("\"slice:prefix:name\""), "{error}");
            assert_eq!(error.pointer.as_deref(), Some("/linux/cgroupsPath"));
        }
    }

    #[test]
    fn without_a_path_the_unit_is_named_by_the_id() {
        let unit = Unit::parse(None, "web.1", false).unwrap();
        assert_eq!(unit.path().unwrap(), "system.slice/runc-web.1.scope");
        let unit = Unit::parse(None, "web.1", true).unwrap();
        assert_eq!(unit.path().unwrap(), "user.slice/runc-web.1.scope");
        assert_eq!(parse("::x").name, "-x.scope");
    }

    #[test]
    fn slices_lie_in_each_other() {
        for (slice, path) in [
            ("-.slice", ""),
            ("system.slice", "system.slice"),
            ("a-b.slice", "a.slice/a-b.slice"),
            (
                "kubepods-besteffort-pod9e7b_1.slice",
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod9e7b_1.slice",
            ),
            ("memory.x.slice", "_memory.x.slice"),
        ] {
            assert_eq!(expand_slice(slice).unwrap(), path, "{slice}");
        }
        for slice in [
            "",
            ".slice",
            "a",
            "a.scope",
            "/a.slice",
            "a/b.slice",
            "--.slice",
            "-a.slice",
            "a-.slice",
            "a--b.slice",
            "..slice",
            "a b.slice",
            "a\n.slice",
        ] {
            let error = expand_slice(slice).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid slice name: {slice}"));
        }
        assert_eq!(parse("-.slice:p:n").path().unwrap(), "p-n.scope");
    }

    #[test]
    fn a_slice_may_be_the_unit() {
        let unit = parse("a.slice:ignored:b-c.slice");
        assert!(unit.is_slice());
        assert_eq!(unit.name, "b-c.slice");
        assert_eq!(unit.path().unwrap(), "b.slice/b-c.slice");
    }

    #[test]
    fn what_no_unit_may_have_is_escaped_or_refused() {
        assert_eq!(Unit::parse(None, "a+b", false).unwrap().name, "runc-a\\x2bb.scope");
        assert_eq!(parse(":a b:c/d").name, "a\\x20b-c\\x2fd.scope");
        assert_eq!(parse(":_x:y").path().unwrap(), "system.slice/__x-y.scope");
        assert_eq!(parse(":memory.x:y").path().unwrap(), "system.slice/_memory.x-y.scope");
        let long = format!(":p:{}", "x".repeat(300));
        assert!(Unit::parse(Some(&long), "c1", false).is_err());
        for path in ["a/../b.slice:p:n", "a.slice:p:../x.slice", ":p:/etc.slice", ":.x:y"] {
            assert!(Unit::parse(Some(path), "c1", false).is_err(), "{path}");
        }
        // A state file of somebody else's making.
        let unit = Unit {
            name: "../../x.scope".to_owned(),
            slice: "system.slice".to_owned(),
            user: false,
            subgroup: String::new(),
            numbers: Vec::new(),
        };
        assert!(unit.path().is_err());
    }
}
