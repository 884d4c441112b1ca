//! Options of a mount, in words of mount(8).

use containerd_shim_protos::api::Mount;
use libcontainer::spec::IdMapping;
use nix::mount::MsFlags;

/// Options that are not handed to the file system, with the flags that they set or take away.
const FLAGS: &[(&str, bool, MsFlags)] = &[
    ("async", false, MsFlags::MS_SYNCHRONOUS),
    ("atime", false, MsFlags::MS_NOATIME),
    ("bind", true, MsFlags::MS_BIND),
    ("defaults", true, MsFlags::empty()),
    ("dev", false, MsFlags::MS_NODEV),
    ("diratime", false, MsFlags::MS_NODIRATIME),
    ("dirsync", true, MsFlags::MS_DIRSYNC),
    ("exec", false, MsFlags::MS_NOEXEC),
    ("mand", true, MsFlags::MS_MANDLOCK),
    ("noatime", true, MsFlags::MS_NOATIME),
    ("nodev", true, MsFlags::MS_NODEV),
    ("nodiratime", true, MsFlags::MS_NODIRATIME),
    ("noexec", true, MsFlags::MS_NOEXEC),
    ("nomand", false, MsFlags::MS_MANDLOCK),
    ("norelatime", false, MsFlags::MS_RELATIME),
    ("nostrictatime", false, MsFlags::MS_STRICTATIME),
    ("nosuid", true, MsFlags::MS_NOSUID),
    ("rbind", true, MsFlags::MS_BIND.union(MsFlags::MS_REC)),
    ("relatime", true, MsFlags::MS_RELATIME),
    ("remount", true, MsFlags::MS_REMOUNT),
    ("ro", true, MsFlags::MS_RDONLY),
    ("rw", false, MsFlags::MS_RDONLY),
    ("strictatime", true, MsFlags::MS_STRICTATIME),
    ("suid", false, MsFlags::MS_NOSUID),
    ("sync", true, MsFlags::MS_SYNCHRONOUS),
];

/// Options that take a call of their own, in the order of calls the last one holds.
const PROPAGATION: &[(&str, MsFlags)] = &[
    ("private", MsFlags::MS_PRIVATE),
    ("rprivate", MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
    ("shared", MsFlags::MS_SHARED),
    ("rshared", MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
    ("slave", MsFlags::MS_SLAVE),
    ("rslave", MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
    ("unbindable", MsFlags::MS_UNBINDABLE),
    ("runbindable", MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
];

/// Options of a mount.
#[derive(Debug, PartialEq)]
pub(super) struct Options {
    pub(super) flags: MsFlags,
    /// Empty for what the kernel chooses.
    pub(super) propagation: MsFlags,
    /// For the file system.
    pub(super) data: Vec<String>,
    pub(super) ids: Option<Ids>,
    /// The source is an image of a file system.
    pub(super) image: Option<Image>,
}

/// How an image is to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Image {
    /// Past the page cache of its file.
    pub(super) direct: bool,
}

/// Mappings of the ids on the disk to those of the host.
#[derive(Debug, PartialEq)]
pub(super) struct Ids {
    pub(super) uids: Vec<IdMapping>,
    pub(super) gids: Vec<IdMapping>,
}

impl Options {
    pub(super) fn parse(mount: &Mount) -> Result<Self, String> {
        let (mut flags, mut propagation) = (MsFlags::empty(), MsFlags::empty());
        if mount.type_ == "bind" {
            flags |= MsFlags::MS_BIND;
        }
        let (mut uids, mut gids, mut data, mut image) = (None, None, Vec::new(), false);
        for option in &mount.options {
            let option = option.as_str();
            if let Some((_, sets, flag)) = FLAGS.iter().find(|(name, ..)| *name == option) {
                flags.set(*flag, *sets);
            } else if let Some((_, kind)) = PROPAGATION.iter().find(|(name, _)| *name == option) {
                propagation = *kind;
            } else if let Some(list) = option.strip_prefix("uidmap=") {
                uids = Some(parse_ids(list).ok_or_else(|| not_understood(option))?);
            } else if let Some(list) = option.strip_prefix("gidmap=") {
                gids = Some(parse_ids(list).ok_or_else(|| not_understood(option))?);
            } else if option == "loop" {
                image = true;
            } else if option.starts_with("X-containerd.") {
                return Err(format!(
                    "option {option:?} is for containerd's mount manager, which has not taken it"
                ));
            } else {
                data.push(option.to_owned());
            }
        }
        let ids = match (uids, gids) {
            (Some(uids), Some(gids)) => Some(Ids { uids, gids }),
            (None, None) => None,
            _ => return Err("uidmap and gidmap must be given together".to_owned()),
        };
        // An option of the loop device and not of the file system.
        let count = data.len();
        data.retain(|option| !image || option != "direct-io");
        let direct = count != data.len();
        let image = image.then_some(Image { direct });
        Ok(Self { flags, propagation, data, ids, image })
    }
}

fn not_understood(option: &str) -> String {
    format!("option {option:?} is not understood: FROM:TO:COUNT[,...] is expected")
}

/// `0:100000:65536,65536:200000:1`
fn parse_ids(list: &str) -> Option<Vec<IdMapping>> {
    list.split(',')
        .map(|range| {
            let mut numbers = range.split(':').map(|number| number.parse::<u32>().ok());
            let range = IdMapping {
                container_id: numbers.next()??,
                host_id: numbers.next()??,
                size: numbers.next()??,
            };
            numbers.next().is_none().then_some(range)
        })
        .collect()
}
