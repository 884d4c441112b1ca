//! Option strings of a mount, as runc reads them: flags of the mount, propagation, recursive
//! attributes, runtime options, and whatever else is for the file system.

use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_RELATIME, MOUNT_ATTR_STRICTATIME, MS_BIND, MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME,
    MS_MANDLOCK, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW,
    MS_POSIXACL, MS_PRIVATE, MS_RDONLY, MS_REC, MS_RELATIME, MS_REMOUNT, MS_SHARED, MS_SILENT,
    MS_SLAVE, MS_STRICTATIME, MS_SYNCHRONOUS, MS_UNBINDABLE,
};

/// What the options of one mount ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// `MS_*` flags.
    pub(crate) flags: u64,
    /// Flags that the options name as off; the last word on each holds.
    pub(crate) cleared: u64,
    /// Propagation types in order.
    pub(crate) propagation: Vec<u64>,
    /// `MOUNT_ATTR_*` to set on the mount and all below it.
    pub(crate) recursive_set: u64,
    /// `MOUNT_ATTR_*` to clear there.
    pub(crate) recursive_clear: u64,
    /// What is left for the file system.
    pub(crate) data: Vec<String>,
    /// `tmpcopyup`.
    pub(crate) copy_up: bool,
    /// `idmap` or `ridmap`.
    pub(crate) map: Option<MapScope>,
    /// What follows `idmap=`.
    pub(crate) map_text: Option<String>,
    /// Links at the ends of a bind mount.
    pub(crate) links: LinkRules,
}

/// What a bind mount does about links at its ends; without any it follows both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkRules {
    /// `copy-symlink`: a source that is a link is made again instead of mounted.
    pub(crate) copy: bool,
    /// `src-nofollow`: a source that is a link is mounted itself.
    pub(crate) keep_source: bool,
    /// `dest-nofollow`: such a link is mounted over a link at the destination.
    pub(crate) keep_destination: bool,
}

/// Which mounts an id mapping concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapScope {
    /// `idmap`: the mount itself.
    Mount,
    /// `ridmap`: all mounts below, too.
    Recursive,
}

/// Flags by name: the flag, and whether the name takes it away. crun has those of a whole file system
/// with an `r` as well: there is nothing below that they could not concern.
const FLAGS: &[(&str, u64, bool)] = &[
    ("acl", MS_POSIXACL, false),
    ("async", MS_SYNCHRONOUS, true),
    ("atime", MS_NOATIME, true),
    ("bind", MS_BIND, false),
    ("defaults", 0, false),
    ("dev", MS_NODEV, true),
    ("diratime", MS_NODIRATIME, true),
    ("dirsync", MS_DIRSYNC, false),
    ("exec", MS_NOEXEC, true),
    ("iversion", MS_I_VERSION, false),
    ("lazytime", MS_LAZYTIME, false),
    ("loud", MS_SILENT, true),
    ("mand", MS_MANDLOCK, false),
    ("noacl", MS_POSIXACL, true),
    ("noatime", MS_NOATIME, false),
    ("nodev", MS_NODEV, false),
    ("nodiratime", MS_NODIRATIME, false),
    ("noexec", MS_NOEXEC, false),
    ("noiversion", MS_I_VERSION, true),
    ("nolazytime", MS_LAZYTIME, true),
    ("nomand", MS_MANDLOCK, true),
    ("norelatime", MS_RELATIME, true),
    ("nostrictatime", MS_STRICTATIME, true),
    ("nosuid", MS_NOSUID, false),
    ("nosymfollow", MS_NOSYMFOLLOW, false),
    ("rbind", MS_BIND | MS_REC, false),
    ("relatime", MS_RELATIME, false),
    ("remount", MS_REMOUNT, false),
    ("ro", MS_RDONLY, false),
    ("rw", MS_RDONLY, true),
    ("silent", MS_SILENT, false),
    ("rasync", MS_SYNCHRONOUS, true),
    ("rdirsync", MS_DIRSYNC, false),
    ("rmand", MS_MANDLOCK, false),
    ("rnomand", MS_MANDLOCK, true),
    ("rsync", MS_SYNCHRONOUS, false),
    ("strictatime", MS_STRICTATIME, false),
    ("suid", MS_NOSUID, true),
    ("symfollow", MS_NOSYMFOLLOW, true),
    ("sync", MS_SYNCHRONOUS, false),
];

const PROPAGATION: &[(&str, u64)] = &[
    ("private", MS_PRIVATE),
    ("rprivate", MS_PRIVATE | MS_REC),
    ("rshared", MS_SHARED | MS_REC),
    ("rslave", MS_SLAVE | MS_REC),
    ("runbindable", MS_UNBINDABLE | MS_REC),
    ("shared", MS_SHARED),
    ("slave", MS_SLAVE),
    ("unbindable", MS_UNBINDABLE),
];

/// Recursive attributes by name: the attribute, and whether the name takes it away.
const RECURSIVE: &[(&str, u64, bool)] = &[
    ("ratime", MOUNT_ATTR_NOATIME, true),
    ("rdev", MOUNT_ATTR_NODEV, true),
    ("rdiratime", MOUNT_ATTR_NODIRATIME, true),
    ("rexec", MOUNT_ATTR_NOEXEC, true),
    ("rnoatime", MOUNT_ATTR_NOATIME, false),
    ("rnodev", MOUNT_ATTR_NODEV, false),
    ("rnodiratime", MOUNT_ATTR_NODIRATIME, false),
    ("rnoexec", MOUNT_ATTR_NOEXEC, false),
    ("rnorelatime", MOUNT_ATTR_RELATIME, true),
    ("rnostrictatime", MOUNT_ATTR_STRICTATIME, true),
    ("rnosuid", MOUNT_ATTR_NOSUID, false),
    ("rnosymfollow", MOUNT_ATTR_NOSYMFOLLOW, false),
    ("rrelatime", MOUNT_ATTR_RELATIME, false),
    ("rro", MOUNT_ATTR_RDONLY, false),
    ("rrw", MOUNT_ATTR_RDONLY, true),
    ("rstrictatime", MOUNT_ATTR_STRICTATIME, false),
    ("rsuid", MOUNT_ATTR_NOSUID, true),
    ("rsymfollow", MOUNT_ATTR_NOSYMFOLLOW, true),
];

/// Every option that is not for the file system, sorted: the `mountOptions` of `features`.
pub(crate) fn known_options() -> Vec<&'static str> {
    let mut names: Vec<_> = FLAGS.iter().map(|(name, ..)| *name).collect();
    names.extend(PROPAGATION.iter().map(|(name, _)| *name));
    names.extend(RECURSIVE.iter().map(|(name, ..)| *name));
    names.extend(["copy-symlink", "dest-nofollow", "idmap", "ridmap", "src-nofollow", "tmpcopyup"]);
    names.sort_unstable();
    names
}

/// The kernel's flags of a propagation type, as `linux.rootfsPropagation` names it.
pub(crate) fn propagation_flags(name: &str) -> Option<u64> {
    PROPAGATION.iter().find(|(known, _)| *known == name).map(|(_, flags)| *flags)
}

impl MountOptions {
    /// Reads the options of one mount. Unknown ones are the file system's.
    pub(crate) fn parse(options: &[String]) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    /// Whether this is a bind mount: that is for the options to say, never for the type.
    pub(crate) fn is_bind(&self) -> bool {
        self.flags & MS_BIND != 0
    }

    /// Whether mounts below the source are bound, too.
    pub(crate) fn is_recursive(&self) -> bool {
        self.flags & MS_REC != 0
    }

    /// Whether the options say anything about the flags of a bound mount: without a word it
    /// keeps those of its source.
    pub(crate) fn changes_flags(&self) -> bool {
        self.flags & !(MS_BIND | MS_REC | MS_REMOUNT) != 0 || self.cleared != 0
    }

    fn add(&mut self, option: &str) {
        if let Some((_, flag, clear)) = FLAGS.iter().find(|(name, ..)| *name == option) {
            self.set_flag(*flag, *clear);
        } else if let Some(flags) = propagation_flags(option) {
            self.propagation.push(flags);
        } else if let Some((_, attribute, clear)) =
            RECURSIVE.iter().find(|(name, ..)| *name == option)
        {
            self.set_attribute(*attribute, *clear);
        } else {
            match option {
                "tmpcopyup" => self.copy_up = true,
                "idmap" => self.map = Some(MapScope::Mount),
                "ridmap" => self.map = Some(MapScope::Recursive),
                "copy-symlink" => self.links.copy = true,
                "src-nofollow" => self.links.keep_source = true,
                "dest-nofollow" => self.links.keep_destination = true,
                "" => {}
                option => match option.strip_prefix("idmap=") {
                    Some(mappings) => {
                        self.map = Some(MapScope::Mount);
                        self.map_text = Some(mappings.to_owned());
                    }
                    None => self.data.push(option.to_owned()),
                },
            }
        }
    }

    fn set_flag(&mut self, flag: u64, clear: bool) {
        if clear {
            self.flags &= !flag;
            self.cleared |= flag;
        } else {
            self.flags |= flag;
            self.cleared &= !flag;
        }
    }

    /// How access times are kept is one value of several bits, so that any word on it replaces
    /// the value as a whole; relatime is its zero.
    fn set_attribute(&mut self, attribute: u64, clear: bool) {
        if attribute & !MOUNT_ATTR__ATIME == 0 {
            self.recursive_set &= !MOUNT_ATTR__ATIME;
            self.recursive_clear |= MOUNT_ATTR__ATIME;
            if !clear {
                self.recursive_set |= attribute;
            }
        } else if clear {
            self.recursive_set &= !attribute;
            self.recursive_clear |= attribute;
        } else {
            self.recursive_set |= attribute;
            self.recursive_clear &= !attribute;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> MountOptions {
        MountOptions::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_word_on_a_flag_holds() {
        let options = parse(&["ro", "nosuid", "rw"]);
        assert_eq!(options.flags, MS_NOSUID);
        assert_eq!(options.cleared, MS_RDONLY);
        let options = parse(&["rw", "ro"]);
        assert_eq!((options.flags, options.cleared), (MS_RDONLY, 0));
    }

    #[test]
    fn unknown_options_are_the_file_systems() {
        let options = parse(&["size=64k", "nosuid", "mode=755"]);
        assert_eq!(options.data, ["size=64k", "mode=755"]);
        assert_eq!(options.flags, MS_NOSUID);
    }

    #[test]
    fn propagation_keeps_its_order() {
        assert_eq!(parse(&["rslave", "shared"]).propagation, [MS_SLAVE | MS_REC, MS_SHARED]);
    }

    #[test]
    fn recursive_access_times_replace_each_other() {
        let options = parse(&["rstrictatime", "rnoatime", "rro"]);
        assert_eq!(options.recursive_set, MOUNT_ATTR_NOATIME | MOUNT_ATTR_RDONLY);
        assert_eq!(options.recursive_clear, MOUNT_ATTR__ATIME);
        let options = parse(&["rnoatime", "ratime"]);
        assert_eq!((options.recursive_set, options.recursive_clear), (0, MOUNT_ATTR__ATIME));
        let options = parse(&["rnodiratime", "rdiratime"]);
        assert_eq!(options.recursive_set, 0);
        assert_eq!(options.recursive_clear, MOUNT_ATTR_NODIRATIME);
    }

    #[test]
    fn every_option_of_the_specification_is_known() {
        let known = known_options();
        for option in "async atime bind defaults dev diratime dirsync exec iversion lazytime loud \
                       mand noatime nodev nodiratime noexec noiversion nolazytime nomand \
                       norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev \
                       rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec \
                       rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro \
                       rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared \
                       silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap \
                       ridmap"
            .split_whitespace()
        {
            assert!(known.contains(&option), "{option}");
        }
    }
}
