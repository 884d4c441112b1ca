//! config.md, Mounts: the rest of the option table, and mounts of every kind.

use super::mounts::{has, mount_at, propagation_of, release, source, tree};
use crate::case::Level::{Caller, May, Must, Should};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, skipped};
use crate::scene::Scene;
use serde_json::{Value, json};
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "mounts.option.recursive-times",
        Should,
        "config.md, Linux mount options: rnoatime, rstrictatime, rrelatime, rnodiratime are recursive",
        recursive_times,
    ),
    case(
        "mounts.option.recursive-clear",
        Should,
        "config.md, Linux mount options: rsuid, rdev, rexec, rrw clear flags below as well",
        recursive_clear,
    ),
    case(
        "mounts.option.recursive-symlinks",
        Should,
        "config.md, Linux mount options: rnosymfollow is recursive",
        recursive_symlinks,
    ),
    case(
        "mounts.option.lazytime",
        Must,
        "config.md, Linux mount options: lazytime and nolazytime",
        lazytime,
    ),
    case("mounts.option.mand", May, "config.md, Linux mount options: mand and nomand", mand),
    case("mounts.option.absent", Must, "config.md, Mounts: options are optional", no_options),
    case("mounts.source.absent", Must, "config.md, Mounts: source is optional", no_source),
    case(
        "mounts.source.symlink",
        Must,
        "config.md, Mounts: the source of a bind mount may be a link of the host",
        source_link,
    ),
    case(
        "mounts.type.absent-on-bind",
        Must,
        "config.md, POSIX-platform Mounts: type is optional",
        no_type,
    ),
    case(
        "mounts.type.kernel-file-systems",
        Must,
        "config.md, POSIX-platform Mounts: file systems that the kernel supports",
        kernel_types,
    ),
    case(
        "mounts.type.overlay",
        Must,
        "config.md, POSIX-platform Mounts: overlay, with its own options",
        overlay,
    ),
    case(
        "mounts.destination.absent",
        Must,
        "config.md, Mounts: destination is required",
        no_destination,
    ),
    case(
        "mounts.destination.root-relative",
        Must,
        "config.md, Mounts: a relative destination has nothing to do with the working directory",
        relative_to_root,
    ),
    case(
        "mounts.bind.keeps-flags",
        Must,
        "config.md, Mounts: a bind mount without flags has those of its source",
        keeps_flags,
    ),
    case("mounts.bind.file-ro", Must, "config.md, Mounts: ro of a bound file", file_read_only),
    case(
        "mounts.bind.host-unchanged",
        Must,
        "config.md, Mounts: flags of a bind mount stay with it",
        host_unchanged,
    ),
    case(
        "mounts.propagation.slave",
        Must,
        "config.md, Linux mount options: slave and rslave of a shared source",
        slave,
    ),
    case(
        "mounts.propagation.received",
        Must,
        "config.md, Linux mount options: a slave gets what is mounted on the host later",
        received,
    ),
    case(
        "mounts.idmap.recursive",
        Should,
        "config.md, Linux mount options: ridmap maps what is mounted below as well",
        idmap_recursive,
    ),
    case(
        "mounts.idmap.no-mapping",
        Must,
        "config.md, Linux mount options: idmap without mappings and without a user namespace is an error",
        idmap_none,
    ),
    case(
        "mounts.idmap.separate",
        Should,
        "config.md, POSIX-platform Mounts: uids and gids are mapped each by its own list",
        idmap_separate,
    ),
    case(
        "mounts.idmap.of-the-container",
        May,
        "config.md, Linux mount options: idmap without mappings takes those of the user namespace",
        idmap_container,
    ),
    case(
        "callers.mounts.tmpfs-mode",
        Caller,
        "a tmpfs has the mode of the directory that it covers, unless its options say another",
        tmpfs_mode,
    ),
    case(
        "callers.mounts.propagation-order",
        Caller,
        "several propagation options are applied in their order",
        propagation_order,
    ),
];

fn flags_below(scene: &Scene, options: &[&str], flags: &[&str], wanted: bool) -> Verdict {
    for option in &options[1..] {
        scene.require_feature("/mountOptions", option)?;
    }
    let tree = tree(scene, &format!("tree{}", scene.number()))?;
    let seen = scene.bundle()?.mount("/mnt", "bind", &tree.to_string_lossy(), options).report();
    release(&tree)?;
    let seen = seen?;
    for point in ["/mnt", "/mnt/below"] {
        let shown = &mount_at(&seen, point)?["options"];
        for flag in flags {
            ensure!(has(shown, flag) == wanted, "{options:?}: {point} has {shown}");
        }
    }
    Ok(())
}

fn recursive_times(scene: &Scene) -> Verdict {
    flags_below(scene, &["rbind", "rnoatime"], &["noatime"], true)?;
    flags_below(scene, &["rbind", "rnodiratime"], &["nodiratime"], true)?;
    flags_below(scene, &["rbind", "rrelatime"], &["relatime"], true)?;
    flags_below(scene, &["rbind", "rstrictatime"], &["relatime", "noatime"], false)
}

fn recursive_clear(scene: &Scene) -> Verdict {
    for option in ["rsuid", "rdev", "rexec", "rrw"] {
        scene.require_feature("/mountOptions", option)?;
    }
    let tree = source(scene, "tree")?;
    let below = tree.join("below");
    fs::create_dir(&below)?;
    use nix::mount::MsFlags;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    nix::mount::mount(Some("tmpfs"), &below, Some("tmpfs"), flags, None::<&str>)?;
    let options = ["rbind", "rsuid", "rdev", "rexec", "rrw"];
    let seen = scene.bundle()?.mount("/mnt", "bind", &tree.to_string_lossy(), &options).report();
    release(&tree)?;
    let seen = seen?;
    let shown = &mount_at(&seen, "/mnt/below")?["options"];
    for flag in ["nosuid", "nodev", "noexec", "ro"] {
        ensure!(!has(shown, flag), "{flag} is left below: {shown}");
    }
    Ok(())
}

fn recursive_symlinks(scene: &Scene) -> Verdict {
    scene.require_feature("/mountOptions", "rnosymfollow")?;
    let tree = tree(scene, "tree")?;
    std::os::unix::fs::symlink("file", tree.join("below/link"))?;
    let ran = scene
        .bundle()?
        .mount("/mnt", "bind", &tree.to_string_lossy(), &["rbind", "rnosymfollow"])
        .operations(json!([["read", "/mnt/below/link"], ["readlink", "/mnt/below/link"]]))
        .run();
    release(&tree)?;
    let ran = ran?;
    ensure_eq!(ran.error(0)?, "ELOOP", "read through the link");
    ensure_eq!(ran.value(1)?, json!("file"), "readlink");
    Ok(())
}

fn lazytime(scene: &Scene) -> Verdict {
    let seen = scene
        .bundle()?
        .mount("/lazy", "tmpfs", "tmpfs", &["lazytime"])
        .mount("/not", "tmpfs", "tmpfs", &["lazytime", "nolazytime"])
        .report()?;
    ensure!(has(&mount_at(&seen, "/lazy")?["super"], "lazytime"), "lazytime was not set");
    ensure!(!has(&mount_at(&seen, "/not")?["super"], "lazytime"), "nolazytime did not clear it");
    Ok(())
}

fn mand(scene: &Scene) -> Verdict {
    for option in ["mand", "nomand"] {
        scene.require_feature("/mountOptions", option)?;
        scene.bundle()?.mount("/mnt", "tmpfs", "tmpfs", &[option]).report()?;
    }
    Ok(())
}

fn no_options(scene: &Scene) -> Verdict {
    let mount = json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs" });
    let seen = scene.bundle()?.push("/mounts", mount).report()?;
    mount_at(&seen, "/mnt").map(drop)
}

fn no_source(scene: &Scene) -> Verdict {
    let mount = json!({ "destination": "/mnt", "type": "tmpfs" });
    let seen = scene.bundle()?.push("/mounts", mount).report()?;
    ensure_eq!(mount_at(&seen, "/mnt")?["type"], json!("tmpfs"), "file system at /mnt");
    Ok(())
}

fn source_link(scene: &Scene) -> Verdict {
    let from = source(scene, "one")?;
    let link = scene.directory.join("link");
    std::os::unix::fs::symlink(&from, &link)?;
    let bundle = scene.bundle()?.mount("/mnt", "bind", &link.to_string_lossy(), &["bind"]);
    let ran = bundle.operations(json!([["read", "/mnt/file"]])).run()?;
    ensure_eq!(ran.value(0)?, json!("one"), "content");
    Ok(())
}

fn no_type(scene: &Scene) -> Verdict {
    let mount =
        json!({ "destination": "/mnt", "source": source(scene, "one")?, "options": ["bind"] });
    let bundle = scene.bundle()?.push("/mounts", mount);
    let ran = bundle.operations(json!([["read", "/mnt/file"]])).run()?;
    ensure_eq!(ran.value(0)?, json!("one"), "content");
    Ok(())
}

fn kernel_types(scene: &Scene) -> Verdict {
    let types = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "ramfs"];
    let mut bundle = scene.bundle()?.namespace("network", None);
    for kind in types {
        bundle = bundle.mount(&format!("/of/{kind}"), kind, kind, &["nosuid", "noexec"]);
    }
    let seen = bundle.report()?;
    for kind in types {
        ensure_eq!(mount_at(&seen, &format!("/of/{kind}"))?["type"], json!(kind), "file system");
    }
    Ok(())
}

fn overlay(scene: &Scene) -> Verdict {
    if !fs::read_to_string("/proc/filesystems")?.contains("\toverlay\n") {
        return skipped("the kernel has no overlay file system");
    }
    let room = scene.directory.join("room");
    for name in ["lower", "upper", "work"] {
        fs::create_dir_all(room.join(name))?;
    }
    fs::write(room.join("lower/file"), "below")?;
    // The upper directory of an overlay cannot lie on another overlay.
    nix::mount::mount(
        Some("tmpfs"),
        &room.join("work"),
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        None::<&str>,
    )?;
    for name in ["upper", "work"] {
        fs::create_dir(room.join("work").join(name))?;
    }
    let at = |name: &str| room.join(name).to_string_lossy().into_owned();
    let options = [
        format!("lowerdir={}", at("lower")),
        format!("upperdir={}", at("work/upper")),
        format!("workdir={}", at("work/work")),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let bundle = scene.bundle()?.mount("/mnt", "overlay", "overlay", &options);
    let ran = bundle.operations(json!([["read", "/mnt/file"], ["create", "/mnt/new"]])).run();
    let made = room.join("work/upper/new").exists();
    nix::mount::umount2(&room.join("work"), nix::mount::MntFlags::MNT_DETACH)?;
    ensure_eq!(ran?.value(0)?, json!("below"), "a file of the lower directory");
    ensure!(made, "a new file is not in the upper directory");
    Ok(())
}

fn no_destination(scene: &Scene) -> Verdict {
    scene
        .bundle()?
        .push("/mounts", json!({ "type": "tmpfs", "source": "tmpfs" }))
        .refused()
        .map(drop)
}

fn relative_to_root(scene: &Scene) -> Verdict {
    let seen = scene
        .bundle()?
        .folder("/work")?
        .set("/process/cwd", json!("/work"))
        .mount("here", "tmpfs", "tmpfs", &[])
        .report()?;
    mount_at(&seen, "/here").map(drop)
}

fn keeps_flags(scene: &Scene) -> Verdict {
    use nix::mount::MsFlags;
    let tree = source(scene, "tree")?;
    let below = tree.join("below");
    fs::create_dir(&below)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("tmpfs"), &below, Some("tmpfs"), flags, None::<&str>)?;
    let seen = scene.bundle()?.mount("/mnt", "bind", &below.to_string_lossy(), &["bind"]).report();
    release(&tree)?;
    let seen = seen?;
    let shown = &mount_at(&seen, "/mnt")?["options"];
    for flag in ["nosuid", "nodev", "noexec"] {
        ensure!(has(shown, flag), "{flag} of the source is missing: {shown}");
    }
    Ok(())
}

fn file_read_only(scene: &Scene) -> Verdict {
    let from = source(scene, "one")?.join("file");
    let ran = scene
        .bundle()?
        .mount("/mnt", "bind", &from.to_string_lossy(), &["bind", "ro"])
        .operations(json!([["write", "/mnt", "x"], ["read", "/mnt"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "EROFS", "write");
    ensure_eq!(ran.value(1)?, json!("one"), "content");
    Ok(())
}

fn host_unchanged(scene: &Scene) -> Verdict {
    let tree = tree(scene, "tree")?;
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    let options = ["rbind", "ro", "nosuid", "nodev", "noexec", "rprivate"];
    let ran = scene.bundle()?.mount("/mnt", "bind", &tree.to_string_lossy(), &options).report();
    let after = fs::read_to_string("/proc/self/mountinfo")?;
    release(&tree)?;
    ran?;
    ensure_eq!(after, before, "mounts of the host");
    Ok(())
}

/// A tree whose mount below is shared, as it is on most hosts.
fn shared_tree(scene: &Scene) -> Result<std::path::PathBuf, Stop> {
    use nix::mount::MsFlags;
    let tree = tree(scene, "tree")?;
    nix::mount::mount(
        None::<&str>,
        &tree.join("below"),
        None::<&str>,
        MsFlags::MS_SHARED,
        None::<&str>,
    )?;
    Ok(tree)
}

fn slave(scene: &Scene) -> Verdict {
    let tree = shared_tree(scene)?;
    let from = tree.join("below").to_string_lossy().into_owned();
    let seen = scene
        .bundle()?
        .mount("/one", "bind", &from, &["bind", "slave"])
        .mount("/two", "bind", &from, &["rbind", "rslave"])
        .report();
    release(&tree)?;
    let seen = seen?;
    for point in ["/one", "/two"] {
        ensure_eq!(propagation_of(mount_at(&seen, point)?), "slave", "{point}");
    }
    Ok(())
}

fn received(scene: &Scene) -> Verdict {
    let tree = shared_tree(scene)?;
    let inner = tree.join("below/inner");
    fs::create_dir(&inner)?;
    let from = tree.join("below").to_string_lossy().into_owned();
    let bundle = scene.bundle()?.mount("/mnt", "bind", &from, &["rbind", "rslave"]);
    let container = bundle.operations(json!([["await-signal"], ["list", "/mnt/inner"]])).start()?;
    container.wait_lines(1)?;
    nix::mount::mount(
        Some("tmpfs"),
        &inner,
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        None::<&str>,
    )?;
    fs::write(inner.join("later"), "x")?;
    container.kill("USR1")?;
    let lines = container.wait_lines(3);
    nix::mount::umount2(&inner, nix::mount::MntFlags::MNT_DETACH)?;
    container.wait_end()?;
    release(&tree)?;
    ensure_eq!(lines?[2]["value"], json!(["later"]), "what was mounted on the host");
    Ok(())
}

fn require_idmap(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    match features.pointer("/linux/mountExtensions/idmap/enabled") {
        Some(Value::Bool(true)) => Ok(()),
        _ => skipped("the runtime's features do not say that it maps ids of mounts"),
    }
}

fn map(host: u32) -> Value {
    json!([{ "containerID": 1000, "hostID": host, "size": 10 }])
}

fn idmap_recursive(scene: &Scene) -> Verdict {
    require_idmap(scene)?;
    scene.require_feature("/mountOptions", "ridmap")?;
    // Of the same file system: tmpfs has no mapped mounts before Linux 6.3.
    let (tree, other) = (source(scene, "tree")?, source(scene, "other")?);
    let below = tree.join("below");
    fs::create_dir(&below)?;
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(&other), &below, None::<&str>, bind, None::<&str>)?;
    for name in ["file", "below/file"] {
        std::os::unix::fs::chown(tree.join(name), Some(1000), Some(1000))?;
    }
    let mount = json!({
        "destination": "/mnt", "type": "bind", "source": tree, "options": ["rbind", "ridmap"],
        "uidMappings": map(3000), "gidMappings": map(3000),
    });
    let bundle = scene.bundle()?.push("/mounts", mount);
    let ran =
        bundle.operations(json!([["lstat", "/mnt/file"], ["lstat", "/mnt/below/file"]])).run();
    release(&tree)?;
    let ran = ran?;
    for index in 0..2 {
        ensure_eq!(ran.value(index)?["uid"], json!(3000), "owner: {}", ran.lines[index]["op"]);
    }
    Ok(())
}

fn idmap_none(scene: &Scene) -> Verdict {
    require_idmap(scene)?;
    let from = source(scene, "one")?.to_string_lossy().into_owned();
    scene.bundle()?.mount("/mnt", "bind", &from, &["bind", "idmap"]).refused().map(drop)
}

fn idmap_separate(scene: &Scene) -> Verdict {
    require_idmap(scene)?;
    let from = source(scene, "one")?;
    std::os::unix::fs::chown(from.join("file"), Some(1001), Some(1002))?;
    let mount = json!({
        "destination": "/mnt", "type": "bind", "source": from, "options": ["bind", "idmap"],
        "uidMappings": map(3000), "gidMappings": map(5000),
    });
    let bundle = scene.bundle()?.push("/mounts", mount);
    let seen = bundle.operations(json!([["lstat", "/mnt/file"]])).run()?.value(0)?;
    ensure_eq!((seen["uid"].clone(), seen["gid"].clone()), (json!(3001), json!(5002)), "owner");
    Ok(())
}

fn idmap_container(scene: &Scene) -> Verdict {
    require_idmap(scene)?;
    let from = source(scene, "one")?;
    std::os::unix::fs::chown(from.join("file"), Some(1000), Some(1000))?;
    let bundle = scene.bundle()?.user_namespace()?;
    let bundle = bundle.mount("/mnt", "bind", &from.to_string_lossy(), &["bind", "idmap"]);
    let ran = bundle.operations(json!([["lstat", "/mnt/file"]])).run()?;
    ensure_eq!(ran.value(0)?["uid"], json!(1000), "owner inside");
    Ok(())
}

fn tmpfs_mode(scene: &Scene) -> Verdict {
    use std::os::unix::fs::PermissionsExt;
    let bundle = scene.bundle()?.folder("/one")?.folder("/two")?;
    for name in ["one", "two"] {
        fs::set_permissions(bundle.root().join(name), fs::Permissions::from_mode(0o1751))?;
    }
    let ran = bundle
        .mount("/one", "tmpfs", "tmpfs", &[])
        .mount("/two", "tmpfs", "tmpfs", &["mode=700"])
        .operations(json!([["lstat", "/one"], ["lstat", "/two"]]))
        .run()?;
    ensure_eq!(ran.value(0)?["mode"], json!(0o1751), "mode without an option");
    ensure_eq!(ran.value(1)?["mode"], json!(0o700), "mode with an option");
    Ok(())
}

fn propagation_order(scene: &Scene) -> Verdict {
    let tree = shared_tree(scene)?;
    let from = tree.join("below").to_string_lossy().into_owned();
    let seen = scene.bundle()?.mount("/mnt", "bind", &from, &["bind", "slave", "shared"]).report();
    release(&tree)?;
    let shown = propagation_of(mount_at(&seen?, "/mnt")?);
    ensure!(shown == "shared+slave" || shown == "slave+shared", "propagation: {shown}");
    Ok(())
}
