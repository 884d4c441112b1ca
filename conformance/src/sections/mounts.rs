//! config.md, Mounts: order, destinations, sources and the table of options.

use crate::case::Level::{May, Must, Should};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, failed};
use crate::scene::Scene;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

pub(super) const CASES: &[Case] = &[
    case(
        "mounts.order.listed",
        Must,
        "config.md, Mounts: entries are mounted in the listed order",
        order,
    ),
    case(
        "mounts.order.nested",
        Must,
        "config.md, Mounts: a later entry below an earlier one is visible",
        nested,
    ),
    case(
        "mounts.destination.relative",
        Must,
        "config.md, Mounts: a relative destination is below /",
        relative,
    ),
    case(
        "mounts.destination.created",
        Must,
        "runtime.md, Create: a destination that is not there is made",
        created,
    ),
    case(
        "mounts.destination.file",
        Must,
        "config.md, Mounts: a file can be mounted on a file that is not there yet",
        file,
    ),
    case(
        "mounts.type.tmpfs-data",
        Must,
        "config.md, Mounts: options of the file system reach it",
        tmpfs_data,
    ),
    case(
        "mounts.type.unknown",
        Must,
        "runtime.md, Create: a file system that the kernel lacks is an error",
        unknown_type,
    ),
    case(
        "mounts.type.dummy-on-bind",
        Must,
        "config.md, Mounts: the type of a bind mount says nothing",
        dummy_type,
    ),
    case(
        "mounts.source.relative",
        Must,
        "config.md, Mounts: a relative source of a bind mount is below the bundle",
        source_relative,
    ),
    case(
        "mounts.source.missing",
        Must,
        "runtime.md, Create: a source that is not there is an error",
        source_missing,
    ),
    case(
        "mounts.option.accepted",
        Must,
        "config.md, Linux mount options: every option that MUST be supported is accepted",
        accepted,
    ),
    case(
        "mounts.option.flags",
        Must,
        "config.md, Linux mount options: each option sets its flag",
        flags_set,
    ),
    case(
        "mounts.option.opposites",
        Must,
        "config.md, Linux mount options: the later of two opposites wins",
        opposites,
    ),
    case(
        "mounts.option.defaults",
        Must,
        "config.md, Linux mount options: defaults is the empty set",
        defaults,
    ),
    case(
        "mounts.option.ro",
        Must,
        "config.md, Linux mount options: ro makes writing fail",
        read_only,
    ),
    case(
        "mounts.option.noexec",
        Must,
        "config.md, Linux mount options: noexec makes execve fail",
        no_exec,
    ),
    case(
        "mounts.option.nodev",
        Must,
        "config.md, Linux mount options: nodev makes opening devices fail",
        no_dev,
    ),
    case(
        "mounts.option.unknown-data",
        Should,
        "config.md, Linux mount options: an unknown option goes to the file system",
        unknown_option,
    ),
    case(
        "mounts.option.tmpcopyup",
        May,
        "config.md, Linux mount options: tmpcopyup copies what was there",
        tmpcopyup,
    ),
    case(
        "mounts.bind.directory",
        Must,
        "config.md, Mounts: bind shows the same directory",
        bind_directory,
    ),
    case(
        "mounts.bind.not-recursive",
        Must,
        "config.md, Mounts: bind leaves out what is mounted below",
        bind_flat,
    ),
    case(
        "mounts.bind.recursive",
        Must,
        "config.md, Mounts: rbind takes what is mounted below",
        bind_recursive,
    ),
    case(
        "mounts.bind.ro",
        Must,
        "config.md, Mounts: ro of a bind mount concerns that mount only",
        bind_read_only,
    ),
    case(
        "mounts.bind.flags",
        Must,
        "config.md, Mounts: nosuid, nodev, noexec of a bind mount",
        bind_flags,
    ),
    case(
        "mounts.bind.remount",
        Must,
        "config.md, Linux mount options: remount changes a mount of before",
        remount,
    ),
    case(
        "mounts.bind.rro",
        Should,
        "config.md, Linux mount options: rro is recursive",
        recursive_read_only,
    ),
    case(
        "mounts.bind.recursive-flags",
        Should,
        "config.md, Linux mount options: rnosuid, rnodev, rnoexec are recursive",
        recursive_flags,
    ),
    case(
        "mounts.bind.nosymfollow",
        Should,
        "config.md, Linux mount options: nosymfollow",
        no_symlinks,
    ),
    case(
        "mounts.propagation.options",
        Must,
        "config.md, Linux mount options: shared, slave, private, unbindable",
        propagation,
    ),
    case(
        "mounts.propagation.recursive",
        Must,
        "config.md, Linux mount options: the r forms concern the mounts below, too",
        propagation_recursive,
    ),
    case(
        "mounts.idmap.mappings",
        Should,
        "config.md, POSIX-platform Mounts: uidMappings and gidMappings of a mount",
        idmap,
    ),
    case(
        "mounts.idmap.one-of-two",
        Must,
        "config.md, POSIX-platform Mounts: uidMappings only together with gidMappings",
        idmap_half,
    ),
];

/// The mount that is visible at a point: the last one listed.
pub(super) fn mount_at<'r>(report: &'r Value, point: &str) -> Result<&'r Value, Stop> {
    let mounts = report["mounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    match mounts.iter().rev().find(|mount| mount["point"] == point) {
        Some(mount) => Ok(mount),
        None => failed(format!("nothing is mounted at {point}")),
    }
}

pub(super) fn has(list: &Value, item: &str) -> bool {
    list.as_array().is_some_and(|items| items.iter().any(|each| each == item))
}

/// A directory of the host with a file in it.
pub(super) fn source(scene: &Scene, name: &str) -> Result<PathBuf, Stop> {
    let path = scene.directory.join(name);
    fs::create_dir(&path)?;
    fs::write(path.join("file"), name)?;
    Ok(path)
}

/// A directory with a tmpfs on its folder `below`.
pub(super) fn tree(scene: &Scene, name: &str) -> Result<PathBuf, Stop> {
    let path = source(scene, name)?;
    let below = path.join("below");
    fs::create_dir(&below)?;
    let none = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), &below, Some("tmpfs"), none, None::<&str>)?;
    fs::write(below.join("file"), "below")?;
    Ok(path)
}

/// Mounts of the case itself have to be gone before the guard looks.
pub(super) fn release(tree: &std::path::Path) -> Verdict {
    Ok(nix::mount::umount2(&tree.join("below"), nix::mount::MntFlags::MNT_DETACH)?)
}

fn order(scene: &Scene) -> Verdict {
    let (one, two) = (source(scene, "one")?, source(scene, "two")?);
    let ran = scene
        .bundle()?
        .mount("/mnt", "bind", &one.to_string_lossy(), &["bind"])
        .mount("/mnt", "bind", &two.to_string_lossy(), &["bind"])
        .operations(json!([["read", "/mnt/file"]]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("two"), "what the second of two mounts shows");
    Ok(())
}

fn nested(scene: &Scene) -> Verdict {
    let one = source(scene, "one")?;
    let ran = scene
        .bundle()?
        .mount("/mnt", "tmpfs", "tmpfs", &[])
        .mount("/mnt/deep/er", "bind", &one.to_string_lossy(), &["bind"])
        .operations(json!([["read", "/mnt/deep/er/file"]]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("one"), "a mount below a mount");
    Ok(())
}

fn relative(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.mount("mnt/here", "tmpfs", "tmpfs", &[]).report()?;
    mount_at(&seen, "/mnt/here").map(drop)
}

fn created(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.mount("/not/there/yet", "tmpfs", "tmpfs", &[]).report()?;
    mount_at(&seen, "/not/there/yet").map(drop)
}

fn file(scene: &Scene) -> Verdict {
    let from = source(scene, "one")?.join("file");
    let ran = scene
        .bundle()?
        .mount("/deep/new", "bind", &from.to_string_lossy(), &["bind"])
        .operations(json!([["read", "/deep/new"], ["lstat", "/deep/new"]]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("one"), "content");
    ensure_eq!(ran.value(1)?["kind"], json!("file"), "kind");
    Ok(())
}

fn tmpfs_data(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .mount("/mnt", "tmpfs", "tmpfs", &["size=1024k", "mode=1750", "uid=7", "gid=8"])
        .operations(json!([["lstat", "/mnt"], ["statfs", "/mnt"]]))
        .run()?;
    let (found, room) = (ran.value(0)?, ran.value(1)?);
    ensure_eq!(found["mode"], json!(0o1750), "mode");
    ensure_eq!((found["uid"].clone(), found["gid"].clone()), (json!(7), json!(8)), "owner");
    let bytes = room["blocks"].as_u64().unwrap_or_default()
        * room["block_size"].as_u64().unwrap_or_default();
    ensure_eq!(bytes, 1 << 20, "size");
    Ok(())
}

fn unknown_type(scene: &Scene) -> Verdict {
    scene.bundle()?.mount("/mnt", "no-such-file-system", "none", &[]).refused().map(drop)
}

fn dummy_type(scene: &Scene) -> Verdict {
    let from = source(scene, "one")?;
    for kind in ["none", "bind", "ext4"] {
        let bundle = scene.bundle()?.mount("/mnt", kind, &from.to_string_lossy(), &["rbind"]);
        let ran = bundle.operations(json!([["read", "/mnt/file"]])).run()?;
        ensure_eq!(ran.value(0)?, json!("one"), "bind with type {kind}");
    }
    Ok(())
}

fn source_relative(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    fs::create_dir(bundle.directory.join("data"))?;
    fs::write(bundle.directory.join("data/file"), "bundled")?;
    let ran = bundle
        .mount("/mnt", "bind", "data", &["bind"])
        .operations(json!([["read", "/mnt/file"]]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("bundled"), "content");
    Ok(())
}

fn source_missing(scene: &Scene) -> Verdict {
    scene.bundle()?.mount("/mnt", "bind", "/nonexistent/source", &["bind"]).refused().map(drop)
}

fn accepted(scene: &Scene) -> Verdict {
    let options = [
        "async",
        "atime",
        "defaults",
        "dev",
        "diratime",
        "dirsync",
        "exec",
        "iversion",
        "lazytime",
        "loud",
        "noatime",
        "nodev",
        "nodiratime",
        "noexec",
        "noiversion",
        "nolazytime",
        "norelatime",
        "nostrictatime",
        "nosuid",
        "private",
        "relatime",
        "ro",
        "rprivate",
        "rshared",
        "rslave",
        "runbindable",
        "rw",
        "shared",
        "silent",
        "slave",
        "strictatime",
        "suid",
        "sync",
        "unbindable",
    ];
    let mut refused = Vec::new();
    for option in options {
        let answer = scene.bundle()?.mount("/mnt", "tmpfs", "tmpfs", &[option]).attempt("run")?;
        if !answer.succeeded() {
            refused.push(option);
        }
    }
    ensure!(refused.is_empty(), "options that are refused: {refused:?}");
    Ok(())
}

fn flags_set(scene: &Scene) -> Verdict {
    let of_the_mount = ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "ro"];
    let of_the_file_system = ["sync", "dirsync"];
    for option in of_the_mount.iter().chain(&of_the_file_system) {
        let seen = scene.bundle()?.mount("/mnt", "tmpfs", "tmpfs", &[option]).report()?;
        let mount = mount_at(&seen, "/mnt")?;
        let set = has(&mount["options"], option) || has(&mount["super"], option);
        ensure!(set, "{option} is not among {} {}", mount["options"], mount["super"]);
    }
    let seen = scene.bundle()?.mount("/mnt", "tmpfs", "tmpfs", &["strictatime"]).report()?;
    let options = &mount_at(&seen, "/mnt")?["options"];
    ensure!(!has(options, "relatime") && !has(options, "noatime"), "strictatime gave {options}");
    Ok(())
}

fn opposites(scene: &Scene) -> Verdict {
    let table = [
        ("ro", "rw", "ro"),
        ("nosuid", "suid", "nosuid"),
        ("nodev", "dev", "nodev"),
        ("noexec", "exec", "noexec"),
        ("sync", "async", "sync"),
        ("noatime", "atime", "noatime"),
        ("nodiratime", "diratime", "nodiratime"),
    ];
    let mut cleared = scene.bundle()?;
    let mut set = scene.bundle()?;
    for (index, (on, off, _)) in table.iter().enumerate() {
        cleared = cleared.mount(&format!("/mnt{index}"), "tmpfs", "tmpfs", &[on, off]);
        set = set.mount(&format!("/mnt{index}"), "tmpfs", "tmpfs", &[off, on]);
    }
    let (cleared, set) = (cleared.report()?, set.report()?);
    for (index, (on, off, flag)) in table.iter().enumerate() {
        let point = format!("/mnt{index}");
        let shows = |mount: &Value| has(&mount["options"], flag) || has(&mount["super"], flag);
        ensure!(!shows(mount_at(&cleared, &point)?), "{on},{off} left {flag} set");
        ensure!(shows(mount_at(&set, &point)?), "{off},{on} left {flag} clear");
    }
    Ok(())
}

fn defaults(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.mount("/mnt", "tmpfs", "tmpfs", &["defaults"]).report()?;
    let options = &mount_at(&seen, "/mnt")?["options"];
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        ensure!(!has(options, flag), "defaults gave {options}");
    }
    Ok(())
}

fn read_only(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .mount("/mnt", "tmpfs", "tmpfs", &["ro"])
        .operations(json!([["create", "/mnt/new"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "EROFS", "create on a read-only mount");
    Ok(())
}

fn no_exec(scene: &Scene) -> Verdict {
    let from = scene.directory.join("programs");
    fs::create_dir(&from)?;
    scene.place_probe(&from)?;
    for (option, wanted) in [("noexec", "EACCES"), ("exec", "ok")] {
        let ran = scene
            .bundle()?
            .mount("/mnt", "bind", &from.to_string_lossy(), &["bind", option])
            .operations(json!([["exec", "/mnt/probe", "__probe", "[]"]]))
            .run()?;
        ensure_eq!(ran.error(0)?, wanted, "execve with {option}");
    }
    Ok(())
}

fn no_dev(scene: &Scene) -> Verdict {
    for (option, wanted) in [("nodev", "EACCES"), ("dev", "ok")] {
        let ran = scene
            .bundle()?
            .mount("/mnt", "tmpfs", "tmpfs", &[option])
            .push("/linux/resources/devices", json!({ "allow": true, "access": "rwm" }))
            .operations(json!([["mknod", "/mnt/null", "c", 1, 3], ["open", "/mnt/null", "r"]]))
            .run()?;
        ensure_eq!(ran.error(0)?, "ok", "mknod with {option}");
        ensure_eq!(ran.error(1)?, wanted, "open with {option}");
    }
    Ok(())
}

/// tmpfs refuses options that it does not know, so an error shows that it got
/// the option.
fn unknown_option(scene: &Scene) -> Verdict {
    scene.bundle()?.mount("/mnt", "tmpfs", "tmpfs", &["no_such_option=1"]).refused()?;
    scene.bundle()?.mount("/mnt", "tmpfs", "tmpfs", &["nr_inodes=100"]).report().map(drop)
}

fn tmpcopyup(scene: &Scene) -> Verdict {
    scene.require_feature("/mountOptions", "tmpcopyup")?;
    let bundle = scene.bundle()?.file("/mnt/deep/file", "copied")?;
    let original = bundle.root().join("mnt/deep/file");
    let ran = bundle
        .mount("/mnt", "tmpfs", "tmpfs", &["tmpcopyup"])
        .operations(json!([["read", "/mnt/deep/file"], ["write", "/mnt/deep/file", "change"]]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("copied"), "content");
    ensure_eq!(ran.error(1)?, "ok", "write");
    ensure_eq!(fs::read_to_string(original)?, "copied", "the file below");
    Ok(())
}

fn bind_directory(scene: &Scene) -> Verdict {
    let from = source(scene, "one")?;
    let ran = scene
        .bundle()?
        .mount("/mnt", "bind", &from.to_string_lossy(), &["bind"])
        .operations(json!([["read", "/mnt/file"], ["create", "/mnt/new"]]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("one"), "content");
    ensure!(from.join("new").exists(), "a file made inside is not outside");
    Ok(())
}

fn bind_flat(scene: &Scene) -> Verdict {
    let tree = tree(scene, "tree")?;
    let ran = scene
        .bundle()?
        .mount("/mnt", "bind", &tree.to_string_lossy(), &["bind"])
        .operations(json!([["list", "/mnt/below"]]))
        .run();
    release(&tree)?;
    ensure_eq!(ran?.value(0)?, json!([]), "what bind shows of a mount below");
    Ok(())
}

fn bind_recursive(scene: &Scene) -> Verdict {
    let tree = tree(scene, "tree")?;
    let ran = scene
        .bundle()?
        .mount("/mnt", "bind", &tree.to_string_lossy(), &["rbind"])
        .operations(json!([["read", "/mnt/below/file"]]))
        .run();
    release(&tree)?;
    ensure_eq!(ran?.value(0)?, json!("below"), "what rbind shows of a mount below");
    Ok(())
}

fn bind_read_only(scene: &Scene) -> Verdict {
    let from = source(scene, "one")?;
    let ran = scene
        .bundle()?
        .mount("/ro", "bind", &from.to_string_lossy(), &["bind", "ro"])
        .mount("/rw", "bind", &from.to_string_lossy(), &["bind"])
        .operations(json!([["create", "/ro/new"], ["create", "/rw/new"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "EROFS", "create in the read-only one");
    ensure_eq!(ran.error(1)?, "ok", "create in the writable one");
    Ok(())
}

fn bind_flags(scene: &Scene) -> Verdict {
    let from = source(scene, "one")?;
    let options = ["bind", "nosuid", "nodev", "noexec"];
    let seen = scene.bundle()?.mount("/mnt", "bind", &from.to_string_lossy(), &options).report()?;
    let mount = mount_at(&seen, "/mnt")?;
    for flag in &options[1..] {
        ensure!(has(&mount["options"], flag), "{flag} is not among {}", mount["options"]);
    }
    Ok(())
}

fn remount(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .mount("/mnt", "tmpfs", "tmpfs", &["mode=755"])
        .mount("/mnt", "tmpfs", "tmpfs", &["remount", "ro"])
        .operations(json!([["create", "/mnt/new"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "EROFS", "create after a remount");
    Ok(())
}

fn recursive_read_only(scene: &Scene) -> Verdict {
    scene.require_feature("/mountOptions", "rro")?;
    let tree = tree(scene, "tree")?;
    let ran = scene
        .bundle()?
        .mount("/mnt", "bind", &tree.to_string_lossy(), &["rbind", "rro"])
        .operations(json!([["create", "/mnt/new"], ["create", "/mnt/below/new"]]))
        .run();
    release(&tree)?;
    let ran = ran?;
    ensure_eq!(ran.error(0)?, "EROFS", "create at the top");
    ensure_eq!(ran.error(1)?, "EROFS", "create below");
    Ok(())
}

fn recursive_flags(scene: &Scene) -> Verdict {
    let options = ["rbind", "rnosuid", "rnodev", "rnoexec"];
    for option in &options[1..] {
        scene.require_feature("/mountOptions", option)?;
    }
    let tree = tree(scene, "tree")?;
    let seen = scene.bundle()?.mount("/mnt", "bind", &tree.to_string_lossy(), &options).report();
    release(&tree)?;
    let seen = seen?;
    for (point, flag) in ["/mnt", "/mnt/below"]
        .iter()
        .flat_map(|point| ["nosuid", "nodev", "noexec"].map(|flag| (*point, flag)))
    {
        let mount = mount_at(&seen, point)?;
        ensure!(
            has(&mount["options"], flag),
            "{flag} is not among {} of {point}",
            mount["options"]
        );
    }
    Ok(())
}

fn no_symlinks(scene: &Scene) -> Verdict {
    scene.require_feature("/mountOptions", "nosymfollow")?;
    let from = source(scene, "one")?;
    std::os::unix::fs::symlink("file", from.join("link"))?;
    let ran = scene
        .bundle()?
        .mount("/mnt", "bind", &from.to_string_lossy(), &["bind", "nosymfollow"])
        .operations(json!([["read", "/mnt/link"], ["readlink", "/mnt/link"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "ELOOP", "read through the link");
    ensure_eq!(ran.value(1)?, json!("file"), "readlink");
    Ok(())
}

/// mountinfo says shared:N, master:N, both, or unbindable.
pub(super) fn propagation_of(mount: &Value) -> String {
    let fields: Vec<&str> =
        mount["propagation"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let words = fields.iter().map(|field| match field.split(':').next() {
        Some("master") => "slave",
        Some(word) => word,
        None => "",
    });
    let words: Vec<&str> = words.filter(|word| *word != "propagate_from").collect();
    if words.is_empty() { "private".to_owned() } else { words.join("+") }
}

fn propagation(scene: &Scene) -> Verdict {
    // A slave needs a shared source, or it stays private.
    for wanted in ["shared", "private", "unbindable"] {
        for option in [wanted.to_owned(), format!("r{wanted}")] {
            let bundle = scene.bundle()?.mount("/mnt", "tmpfs", "tmpfs", &[&option]);
            let seen = bundle.report()?;
            ensure_eq!(propagation_of(mount_at(&seen, "/mnt")?), wanted, "{option}");
        }
    }
    Ok(())
}

fn propagation_recursive(scene: &Scene) -> Verdict {
    let tree = tree(scene, "tree")?;
    let seen = scene
        .bundle()?
        .mount("/mnt", "bind", &tree.to_string_lossy(), &["rbind", "rshared"])
        .report();
    release(&tree)?;
    let seen = seen?;
    for point in ["/mnt", "/mnt/below"] {
        ensure_eq!(propagation_of(mount_at(&seen, point)?), "shared", "{point}");
    }
    Ok(())
}

fn idmap(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    if features.pointer("/linux/mountExtensions/idmap/enabled") != Some(&json!(true)) {
        return crate::case::skipped(
            "the runtime's features do not say that it maps ids of mounts",
        );
    }
    let from = source(scene, "one")?;
    std::os::unix::fs::chown(from.join("file"), Some(1000), Some(1000))?;
    let map = json!([{ "containerID": 1000, "hostID": 3000, "size": 10 }]);
    let mount = json!({
        "destination": "/mnt", "type": "bind", "source": from, "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map,
    });
    let bundle = scene.bundle()?.push("/mounts", mount);
    let ran = bundle.operations(json!([["lstat", "/mnt/file"]])).run()?;
    ensure_eq!(ran.value(0)?["uid"], json!(3000), "owner of a file in the mount");
    Ok(())
}

fn idmap_half(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    if features.pointer("/linux/mountExtensions/idmap/enabled") != Some(&json!(true)) {
        return crate::case::skipped(
            "the runtime's features do not say that it maps ids of mounts",
        );
    }
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    for half in ["uidMappings", "gidMappings"] {
        let mut mount = json!({
            "destination": "/mnt", "type": "bind", "source": source(scene, half)?,
            "options": ["bind", "idmap"],
        });
        mount[half] = map.clone();
        scene.bundle()?.push("/mounts", mount).refused()?;
    }
    Ok(())
}
