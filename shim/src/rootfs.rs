//! Mounts of a task's root file system, in the shim's mount namespace.
//!
//! A snapshotter says what they are, in words of mount(8): mostly one overlay, or a bind mount.

mod options;
mod overlay;
mod unmount;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use containerd_shim_protos::api::Mount;
use libcontainer::{DetachedMount, LoopDevice};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MsFlags, mount as mount_call};
use nix::sys::stat::Mode;
use nix::sys::statfs::statfs;

use options::{Ids, Options};
use unmount::detach;
pub(crate) use unmount::unmount;

/// mount(2) copies one page of options, the last byte of which is a NUL.
const LONGEST_DATA: usize = 4095;

/// Mounts what a Create request names at `target`, which is made if need be. Nothing stays mounted
/// when one of the mounts fails.
///
/// # Errors
/// What was to be mounted where, and the kernel's words.
pub(crate) fn mount(mounts: &[Mount], target: &Path) -> Result<(), String> {
    if mounts.is_empty() {
        return Ok(());
    }
    match DirBuilder::new().mode(0o711).create(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(format!("mkdir {}: {}", target.display(), words_of(&error)));
        }
        _ => {}
    }
    let mut made = Vec::new();
    for mount in mounts {
        match place_of(mount, target).and_then(|place| mount_one(mount, &place).map(|()| place)) {
            Ok(place) => made.push(place),
            Err(error) => {
                made.iter().rev().for_each(|place| undo(place));
                return Err(error);
            }
        }
    }
    Ok(())
}

fn undo(place: &Path) {
    if let Err(errno) = detach(place) {
        log::warn!("{} stays mounted: {}", place.display(), words(errno));
    }
}

/// Where a mount goes: `target`, or a place below it that no link leads out of.
fn place_of(mount: &Mount, target: &Path) -> Result<PathBuf, String> {
    if mount.target.is_empty() {
        return Ok(target.to_owned());
    }
    let failed = |errno| format!("open {} in {}: {}", mount.target, target.display(), words(errno));
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = open(target, flags, Mode::empty()).map_err(failed)?;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let place = openat2(&root, mount.target.as_str(), how).map_err(failed)?;
    let link = format!("/proc/thread-self/fd/{}", place.as_raw_fd());
    fs::read_link(&link).map_err(|error| format!("readlink {link}: {}", words_of(&error)))
}

fn mount_one(mount: &Mount, place: &Path) -> Result<(), String> {
    if let Some((helper, kind)) = fuse_helper(&mount.type_) {
        return run_helper(helper, kind, mount, place);
    }
    let options = Options::parse(mount).map_err(|error| failed(mount, place, &error))?;
    match &options.ids {
        Some(ids) if mount.type_ == "overlay" => overlay::mount_mapped(mount, &options, ids, place)
            .map_err(|error| failed(mount, place, &error)),
        _ => {
            attach(mount, &options, place).map_err(|error| failed(mount, place, &error))?;
            finish(&options, place).map_err(|error| {
                undo(place);
                failed(mount, place, &error)
            })
        }
    }
}

fn failed(mount: &Mount, place: &Path, error: &str) -> String {
    format!("mount {} ({}) on {}: {error}", mount.source, mount.type_, place.display())
}

/// The first call of mount(2), of which some options take no notice.
fn attach(mount: &Mount, options: &Options, place: &Path) -> Result<(), String> {
    let data = options.data.join(",");
    if options.flags.contains(MsFlags::MS_REMOUNT) && data.is_empty() {
        return Ok(());
    }
    // It lives on with the mount.
    let device = match options.image {
        Some(image) => {
            let read_only = options.flags.contains(MsFlags::MS_RDONLY);
            let device = LoopDevice::attach(mount.source.as_ref(), read_only, image.direct);
            Some(device.map_err(|error| error.to_string())?)
        }
        None => None,
    };
    let source = device.as_ref().map_or(mount.source.as_ref(), LoopDevice::path);
    let call = |data: &str| {
        let data = Some(data).filter(|data| !data.is_empty());
        mount_call(Some(source), place, Some(mount.type_.as_str()), options.flags, data)
            .map_err(|errno| explained(errno, mount, &options.data))
    };
    if data.len() <= LONGEST_DATA {
        return call(&data);
    }
    match overlay::shorten(mount, &options.data) {
        Some((base, shorter)) if shorter.len() <= LONGEST_DATA => {
            overlay::in_directory(&base, || call(&shorter))
        }
        shorter => {
            let shortest = shorter.map_or(data.len(), |(_, shorter)| shorter.len());
            Err(format!(
                "the options have {shortest} bytes at their shortest, and the kernel takes \
                 {LONGEST_DATA}: too many layers"
            ))
        }
    }
}

/// What mount(2) does in further calls: propagation, read-only bind mounts, id mappings.
fn finish(options: &Options, place: &Path) -> Result<(), String> {
    let change =
        |flags: MsFlags| mount_call(None::<&str>, place, None::<&str>, flags, None::<&str>);
    if !options.propagation.is_empty() {
        change(options.propagation)
            .map_err(|errno| format!("change the propagation: {}", words(errno)))?;
    }
    let read_only_bind = MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    if options.flags.contains(read_only_bind) {
        let flags = options.flags | MsFlags::MS_REMOUNT;
        let flags = match change(flags) {
            // In a user namespace the flags of the host's mount are locked and must be repeated.
            Err(Errno::EPERM) => change(flags | present_flags(place)),
            result => result,
        };
        flags.map_err(|errno| format!("make it read-only: {}", words(errno)))?;
    }
    match &options.ids {
        Some(ids) => replace_mapped(ids, place).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

fn present_flags(place: &Path) -> MsFlags {
    let Ok(status) = statfs(place) else { return MsFlags::empty() };
    let present = MsFlags::from_bits_truncate(status.flags().bits());
    let locked = MsFlags::MS_RDONLY
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NOATIME
        | MsFlags::MS_NODIRATIME
        | MsFlags::MS_RELATIME;
    present & locked
}

/// Puts a copy with mapped ids in the place of a mount.
fn replace_mapped(ids: &Ids, place: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let copy = DetachedMount::copy_of(place, true)?;
    copy.map_ids(&ids.uids, &ids.gids)?;
    detach(place)?;
    Ok(copy.attach(place)?)
}

/// The kernel's words, and which directory is missing where that is the reason.
fn explained(errno: Errno, mount: &Mount, data: &[String]) -> String {
    let words = words(errno);
    if errno != Errno::ENOENT {
        return words;
    }
    let named = match mount.type_.as_str() {
        "overlay" => overlay::directories(data),
        _ => vec![mount.source.as_str()],
    };
    let missing = named.iter().find(|path| path.starts_with('/') && !Path::new(path).exists());
    match missing {
        Some(path) => format!("{words}: {path}"),
        None => words,
    }
}

/// `fuse.KIND` and `fuse3.KIND` are mounted by programs.
fn fuse_helper(kind: &str) -> Option<(&'static str, &str)> {
    if let Some(kind) = kind.strip_prefix("fuse3.") {
        return Some(("mount.fuse3", kind));
    }
    kind.strip_prefix("fuse.").map(|kind| ("mount.fuse", kind))
}

fn run_helper(helper: &str, kind: &str, mount: &Mount, place: &Path) -> Result<(), String> {
    let mut command = Command::new(helper);
    command.arg(&mount.source).arg(place);
    for option in &mount.options {
        command.args(["-o", option]);
    }
    command.arg("-t").arg(OsStr::new(kind));
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let error = format!("{helper}: {}: {}", output.status, said.trim());
            Err(failed(mount, place, &error))
        }
        Err(error) => Err(failed(mount, place, &format!("{helper}: {}", words_of(&error)))),
    }
}

/// The kernel's words in lower case.
fn words(errno: Errno) -> String {
    let words = errno.desc();
    let mut letters = words.chars();
    match (letters.next(), letters.next()) {
        // Not "RPC", and not "I/O".
        (Some(first), Some(second)) if second.is_lowercase() => {
            format!("{}{second}{}", first.to_ascii_lowercase(), letters.as_str())
        }
        _ => words.to_owned(),
    }
}

fn words_of(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |errno| words(Errno::from_raw(errno)))
}

#[cfg(test)]
mod tests;
