//! What mount steps carry beside paths: rules for the destination, and which part of a mount
//! failed.

use super::{Program, Show};

/// What holds for the destination of a mount, as bits of a step's `rules`.
pub(crate) mod rule {
    /// The destination and everything above it are directories, not links: procfs and sysfs
    /// elsewhere than where they were asked for would let the image choose what the runtime
    /// writes to (CVE-2019-19921, CVE-2023-27561).
    pub(crate) const ORDINARY_DIRECTORY: u32 = 1 << 0;
    /// The destination may lie inside a procfs: it is one of the files that are known to be safe.
    pub(crate) const INSIDE_PROC: u32 = 1 << 1;
    /// The destination is /proc: only a procfs may be bound there (CVE-2019-16884).
    pub(crate) const SOURCE_IS_PROC: u32 = 1 << 2;
    /// The directory below is copied into the new file system.
    pub(crate) const COPY_UP: u32 = 1 << 3;
    /// The new file system's root has the mode of the directory below.
    pub(crate) const INHERIT_MODE: u32 = 1 << 4;
    /// The destination is the container's root.
    pub(crate) const OVER_ROOT: u32 = 1 << 5;
    /// Only mount(2) can do it: an option or a flag that the mount API does not take.
    pub(crate) const CLASSIC: u32 = 1 << 6;
    /// The mount's flags are changed, as the options ask for.
    pub(crate) const CHANGE_FLAGS: u32 = 1 << 7;
    /// Flags that the options do not name stay as they are: `remount` is among the options.
    pub(crate) const KEEP_FLAGS: u32 = 1 << 8;
    /// A bound file is the character or block device of the step.
    pub(crate) const SOURCE_IS_DEVICE: u32 = 1 << 9;
    /// A source that is a link is made again at the destination, and nothing is mounted.
    pub(crate) const COPY_LINK: u32 = 1 << 10;
    /// A source that is a link is bound itself.
    pub(crate) const SOURCE_LINK: u32 = 1 << 11;
    /// Such a link covers a link at the destination.
    pub(crate) const DESTINATION_LINK: u32 = 1 << 12;
}

/// `MS_*` flags of a mount.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u64);

/// Rules for a mount, see [`rule`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules(pub(crate) u32);

/// A device number as `makedev` gives it; 0 for none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device(pub(crate) u64);

/// Type and permissions of a node.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode(pub(crate) u32);

const RULE_NAMES: [(u32, &str); 13] = [
    (rule::ORDINARY_DIRECTORY, "ordinary-directory"),
    (rule::INSIDE_PROC, "inside-proc"),
    (rule::SOURCE_IS_PROC, "source-is-proc"),
    (rule::COPY_UP, "copy-up"),
    (rule::INHERIT_MODE, "inherit-mode"),
    (rule::OVER_ROOT, "over-root"),
    (rule::CLASSIC, "classic"),
    (rule::CHANGE_FLAGS, "change-flags"),
    (rule::KEEP_FLAGS, "keep-flags"),
    (rule::SOURCE_IS_DEVICE, "source-is-device"),
    (rule::COPY_LINK, "copy-link"),
    (rule::SOURCE_LINK, "source-link"),
    (rule::DESTINATION_LINK, "destination-link"),
];

const FLAG_NAMES: [(u64, &str); 22] = [
    (libc::MS_RDONLY, "MS_RDONLY"),
    (libc::MS_NOSUID, "MS_NOSUID"),
    (libc::MS_NODEV, "MS_NODEV"),
    (libc::MS_NOEXEC, "MS_NOEXEC"),
    (libc::MS_SYNCHRONOUS, "MS_SYNCHRONOUS"),
    (libc::MS_REMOUNT, "MS_REMOUNT"),
    (libc::MS_MANDLOCK, "MS_MANDLOCK"),
    (libc::MS_DIRSYNC, "MS_DIRSYNC"),
    (libc::MS_NOSYMFOLLOW, "MS_NOSYMFOLLOW"),
    (libc::MS_NOATIME, "MS_NOATIME"),
    (libc::MS_NODIRATIME, "MS_NODIRATIME"),
    (libc::MS_BIND, "MS_BIND"),
    (libc::MS_REC, "MS_REC"),
    (libc::MS_SILENT, "MS_SILENT"),
    (libc::MS_UNBINDABLE, "MS_UNBINDABLE"),
    (libc::MS_PRIVATE, "MS_PRIVATE"),
    (libc::MS_SLAVE, "MS_SLAVE"),
    (libc::MS_SHARED, "MS_SHARED"),
    (libc::MS_RELATIME, "MS_RELATIME"),
    (libc::MS_I_VERSION, "MS_I_VERSION"),
    (libc::MS_STRICTATIME, "MS_STRICTATIME"),
    (libc::MS_LAZYTIME, "MS_LAZYTIME"),
];

/// Flags by their names in the kernel, what has none as a number.
pub(crate) fn flag_names(flags: u64) -> String {
    let known = FLAG_NAMES.iter().filter(|(flag, _)| flags & flag != 0);
    let mut names: Vec<String> = known.map(|(_, name)| (*name).to_owned()).collect();
    let rest = FLAG_NAMES.iter().fold(flags, |rest, (flag, _)| rest & !flag);
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names.join("|")
}

impl Show for Flags {
    fn show(&self, _: &Program) -> String {
        if self.0 == 0 { "none".to_owned() } else { flag_names(self.0) }
    }
}

impl Show for Rules {
    fn show(&self, _: &Program) -> String {
        let names = RULE_NAMES.iter().filter(|(rule, _)| self.0 & rule != 0);
        let names: Vec<&str> = names.map(|(_, name)| *name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join("|") }
    }
}

impl Show for Device {
    fn show(&self, _: &Program) -> String {
        match self.0 {
            0 => "none".to_owned(),
            device => format!("{}:{}", libc::major(device), libc::minor(device)),
        }
    }
}

impl Show for Mode {
    fn show(&self, _: &Program) -> String {
        format!("{:o}", self.0)
    }
}

/// Which part of a step on mounts failed: the low byte of the record's `detail`. The rest of
/// `detail` is the descriptor of the destination, where there was one.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The act itself.
    Mount = 0,
    /// Opening the source.
    Source = 1,
    /// Opening or making the destination.
    Destination = 2,
    /// The destination is not an ordinary directory.
    NotOrdinary = 3,
    /// The destination lies inside a procfs.
    InsideProc = 4,
    /// What should cover /proc is no procfs.
    NotProc = 5,
    /// Setting the mount's flags.
    Flags = 6,
    /// Copying the directory below; `text` is the name of the entry.
    CopyUp = 7,
    /// The destination changed between mounting and reopening it.
    Moved = 8,
    /// What is there is of another type or has another device number.
    OtherDevice = 9,
    /// The owner or the mode of a new node.
    Attributes = 10,
}

impl Part {
    const ALL: [Part; 11] = [
        Self::Mount,
        Self::Source,
        Self::Destination,
        Self::NotOrdinary,
        Self::InsideProc,
        Self::NotProc,
        Self::Flags,
        Self::CopyUp,
        Self::Moved,
        Self::OtherDevice,
        Self::Attributes,
    ];

    /// The part and the destination's descriptor of a record's `detail`.
    pub(crate) fn of(detail: u32) -> (Self, Option<u32>) {
        let part = Self::ALL.into_iter().find(|part| *part as u32 == detail & 0xff);
        let fd = detail >> 8;
        (part.unwrap_or(Self::Mount), (fd != 0).then_some(fd))
    }

    /// A record's `detail`.
    pub(crate) const fn detail(self, fd: i32) -> u32 {
        let fd = if fd > 0 { fd as u32 } else { 0 };
        (self as u32) | (fd << 8)
    }
}

/// `MOUNT_ATTR_*` of the `MS_*` flags that belong to a mount rather than to its file system.
pub(crate) const fn attributes(flags: u64) -> u64 {
    let mut attributes = 0;
    let mut index = 0;
    while index < MOUNT_FLAGS.len() {
        let (flag, attribute) = MOUNT_FLAGS[index];
        if flags & flag != 0 {
            attributes |= attribute;
        }
        index += 1;
    }
    attributes
}

/// Flags of one mount, as mount(2) and mount_setattr(2) call them. relatime is the absence of
/// the other two kinds.
const MOUNT_FLAGS: [(u64, u64); 8] = [
    (libc::MS_RDONLY, libc::MOUNT_ATTR_RDONLY),
    (libc::MS_NOSUID, libc::MOUNT_ATTR_NOSUID),
    (libc::MS_NODEV, libc::MOUNT_ATTR_NODEV),
    (libc::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC),
    (libc::MS_NOATIME, libc::MOUNT_ATTR_NOATIME),
    (libc::MS_STRICTATIME, libc::MOUNT_ATTR_STRICTATIME),
    (libc::MS_NODIRATIME, libc::MOUNT_ATTR_NODIRATIME),
    (libc::MS_NOSYMFOLLOW, libc::MOUNT_ATTR_NOSYMFOLLOW),
];

/// The flags that choose how access times are kept.
pub(crate) const ATIME_FLAGS: u64 =
    libc::MS_NOATIME | libc::MS_RELATIME | libc::MS_STRICTATIME | libc::MS_NODIRATIME;

/// Flags that a less privileged mount namespace cannot take away from an inherited mount.
pub(crate) const LOCKABLE_FLAGS: u64 = libc::MS_RDONLY
    | libc::MS_NODEV
    | libc::MS_NOEXEC
    | libc::MS_NOSUID
    | libc::MS_NOATIME
    | libc::MS_RELATIME
    | libc::MS_STRICTATIME
    | libc::MS_NODIRATIME;
