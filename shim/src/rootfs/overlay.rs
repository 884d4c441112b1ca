//! Overlays: more layers than the options have room for, and layers with mapped ids.

use std::path::{Path, PathBuf};

use containerd_shim_protos::api::Mount;
use libcontainer::DetachedMount;
use nix::mount::{MsFlags, mount as mount_call};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::chdir;

use super::options::{Ids, Options};
use super::{LONGEST_DATA, explained, words};

const LOWER: &str = "lowerdir=";

/// The options with lower directories relative to one that is common to them, and that one. None
/// where there is none.
///
/// Relative paths serve on every kernel. The parameter `lowerdir+` of fsconfig(2), of Linux 6.8,
/// has no limit of all layers together, but takes paths of 255 bytes at most.
pub(super) fn shorten(mount: &Mount, data: &[String]) -> Option<(PathBuf, String)> {
    if mount.type_ != "overlay" {
        return None;
    }
    let (base, relative) = relative(data)?;
    Some((base, with_lower(data, &relative)))
}

fn with_lower(data: &[String], lower: &[String]) -> String {
    let others = data.iter().filter(|option| !option.starts_with(LOWER)).cloned();
    let lower = format!("{LOWER}{}", lower.join(":"));
    others.chain([lower]).collect::<Vec<_>>().join(",")
}

/// The deepest directory that all lower directories are strictly below, and their paths from there.
fn relative(data: &[String]) -> Option<(PathBuf, Vec<String>)> {
    let lower = lower(data);
    let mut base = Path::new(lower.first()?).parent()?;
    for path in &lower {
        // A path that is relative already, or empty before layers of data alone, is not touched.
        let parent = Path::new(path).parent().filter(|_| path.starts_with('/'))?;
        while !parent.starts_with(base) {
            base = base.parent()?;
        }
    }
    let prefix = base.to_str().filter(|base| *base != "/")?;
    let strip = |path: &&str| path.strip_prefix(prefix)?.strip_prefix('/').map(str::to_owned);
    let relative = lower.iter().map(strip).collect::<Option<Vec<_>>>()?;
    Some((unescaped(prefix).into(), relative))
}

/// Lower directories as they are written.
fn lower(data: &[String]) -> Vec<&str> {
    let list = data.iter().rev().find_map(|option| option.strip_prefix(LOWER));
    list.map(split).unwrap_or_default()
}

/// Parts between colons that no backslash stands before.
fn split(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (at, letter) in list.char_indices() {
        if letter == ':' && !is_escaped {
            parts.push(&list[start..at]);
            start = at + 1;
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    parts.push(&list[start..]);
    parts
}

fn unescaped(path: &str) -> String {
    let (mut plain, mut is_escaped) = (String::new(), false);
    for letter in path.chars() {
        is_escaped = letter == '\\' && !is_escaped;
        if !is_escaped {
            plain.push(letter);
        }
    }
    plain
}

/// All directories that an overlay's options name.
pub(super) fn directories(data: &[String]) -> Vec<&str> {
    let upper = ["upperdir=", "workdir="]
        .iter()
        .filter_map(|key| data.iter().find_map(|option| option.strip_prefix(key)));
    lower(data).into_iter().chain(upper).collect()
}

/// Does something with `directory` as working directory, in a thread of its own.
pub(super) fn in_directory(
    directory: &Path,
    act: impl FnOnce() -> Result<(), String> + Send,
) -> Result<(), String> {
    in_thread(CloneFlags::CLONE_FS, || {
        chdir(directory)
            .map_err(|errno| format!("chdir {}: {}", directory.display(), words(errno)))?;
        act()
    })
}

/// Runs in a thread that shares less with the others; it ends with the call.
fn in_thread<T: Send>(
    apart: CloneFlags,
    act: impl FnOnce() -> Result<T, String> + Send,
) -> Result<T, String> {
    let run = || {
        unshare(apart).map_err(|errno| format!("unshare: {}", words(errno)))?;
        act()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mount".to_owned());
        let thread = thread.spawn_scoped(scope, run).map_err(|error| error.to_string())?;
        thread.join().unwrap_or_else(|_| Err("the thread that mounts has died".to_owned()))
    })
}

/// Mounts an overlay whose lower directories have mapped ids.
///
/// The kernel wants to find them in a mount with mapped ids, which nobody else should see. So a
/// thread with a mount namespace of its own puts that mount on `place`, the overlay above it, and
/// hands back a copy of the overlay. Nothing of it remains, even if the shim is killed.
pub(super) fn mount_mapped(
    mount: &Mount,
    options: &Options,
    ids: &Ids,
    place: &Path,
) -> Result<(), String> {
    let (base, lower) = relative(&options.data)
        .ok_or("layers with mapped ids need a directory that is common to them")?;
    let data = with_lower(&options.data, &lower);
    if data.len() > LONGEST_DATA {
        return Err(format!(
            "the options have {} bytes at their shortest, and the kernel takes {LONGEST_DATA}: \
             too many layers",
            data.len()
        ));
    }
    let overlay = in_thread(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS, || {
        let all_private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount_call(None::<&str>, "/", None::<&str>, all_private, None::<&str>)
            .map_err(|errno| format!("leave the host's mounts alone: {}", words(errno)))?;
        let told = |error: libcontainer::Error| error.to_string();
        let layers = DetachedMount::copy_of(&base, true).map_err(told)?;
        layers.map_ids(&ids.uids, &ids.gids).map_err(told)?;
        layers.make_read_only().map_err(told)?;
        layers.attach(place).map_err(told)?;
        chdir(place).map_err(|errno| format!("chdir {}: {}", place.display(), words(errno)))?;
        let source = Some(mount.source.as_str());
        mount_call(source, place, Some("overlay"), options.flags, Some(data.as_str()))
            .map_err(|errno| explained(errno, mount, &options.data))?;
        DetachedMount::copy_of(place, false).map_err(told)
    })?;
    overlay.attach(place).map_err(|error| error.to_string())
}
