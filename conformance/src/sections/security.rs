//! Published attacks on runtimes that need no race: each has to come to
//! nothing, by an error or by harmless success.

use crate::bundle::Bundle;
use crate::case::Level::Security;
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, failed};
use crate::scene::Scene;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const CASES: &[Case] = &[
    case(
        "security.root.dev-symlink",
        Security,
        "CVE-2026-41579: /dev of the image leads out of it",
        dev_symlink,
    ),
    case(
        "security.root.dev-symlink-no-mount",
        Security,
        "CVE-2026-41579: the same without a mount on /dev",
        dev_symlink_bare,
    ),
    case(
        "security.root.proc-symlink",
        Security,
        "CVE-2019-19921, CVE-2023-27561: /proc of the image is a link",
        proc_symlink,
    ),
    case(
        "security.root.sys-symlink",
        Security,
        "CVE-2023-28642: /sys of the image is a link",
        sys_symlink,
    ),
    case(
        "security.root.destination-symlink",
        Security,
        "CVE-2019-18837: a mount's destination leads out of the root",
        destination_symlink,
    ),
    case(
        "security.root.destination-dotdot",
        Security,
        "CVE-2019-18837: a mount's destination with many ..",
        destination_dotdot,
    ),
    case(
        "security.root.file-destination-symlink",
        Security,
        "CVE-2024-45310: a missing destination below a link",
        file_destination,
    ),
    case(
        "security.root.device-symlink",
        Security,
        "a configured device below a link",
        device_symlink,
    ),
    case(
        "security.root.cwd-symlink",
        Security,
        "a working directory that has to be made below a link",
        cwd_symlink,
    ),
    case(
        "security.root.masked-symlink",
        Security,
        "masked and read-only paths through links",
        masked_symlink,
    ),
    case(
        "security.masked.dev-null-replaced",
        Security,
        "CVE-2025-31133: /dev/null of the image is a link to a file of /proc",
        masked_null,
    ),
    case(
        "security.masked.is-null",
        Security,
        "CVE-2025-31133: a masked file is the null device",
        masked_is_null,
    ),
    case(
        "security.proc.covered",
        Security,
        "CVE-2019-16884: a mount that covers /proc",
        proc_covered,
    ),
    case(
        "security.proc.bind-inside",
        Security,
        "CVE-2019-16884: a bind mount on /proc/self/attr",
        proc_bind_inside,
    ),
    case(
        "security.cwd.descriptor",
        Security,
        "CVE-2024-21626: a working directory through a descriptor of the runtime",
        cwd_descriptor,
    ),
    case(
        "security.cwd.exec-descriptor",
        Security,
        "CVE-2024-21626: the same for exec",
        exec_cwd_descriptor,
    ),
    case(
        "security.user.no-change-value",
        Security,
        "4294967295 is the kernel's `no change`: never root",
        user_no_change,
    ),
    case(
        "security.user.exec-parsing",
        Security,
        "CVE-2026-30892: exec --user is read strictly",
        exec_user,
    ),
    case(
        "security.user.numeric-name",
        Security,
        "CVE-2016-3697: a name of digits in the image's passwd",
        numeric_name,
    ),
    case(
        "security.user.groups-not-inherited",
        Security,
        "CVE-2023-25173: groups of the caller stay outside",
        caller_groups,
    ),
    case(
        "security.capabilities.exec-inheritable",
        Security,
        "CVE-2022-29162: exec fills no inheritable set",
        exec_inheritable,
    ),
    case(
        "security.image.passwd-fifo",
        Security,
        "CVE-2026-47262: a passwd that never ends reading",
        passwd_fifo,
    ),
    case(
        "security.image.passwd-device",
        Security,
        "CVE-2026-47262: a passwd that is /dev/zero",
        passwd_device,
    ),
    case(
        "security.sysctl.traversal",
        Security,
        "CVE-2025-52881: keys that lead to other files",
        sysctl_traversal,
    ),
    case(
        "security.cgroup.path-escape",
        Security,
        "a cgroupsPath with .. stays in the hierarchy",
        cgroup_escape,
    ),
    case(
        "security.devices.default-deny",
        Security,
        "GHSA-g54h-m393-cpwq: allow rules alone do not open the rest",
        devices_default_deny,
    ),
    case(
        "security.mappings.long",
        Security,
        "CVE-2021-43784: long mappings and a long environment",
        long_mappings,
    ),
    case(
        "security.binary.proc-self-exe",
        Security,
        "CVE-2019-5736: /proc/self/exe as the program",
        proc_self_exe,
    ),
    case(
        "security.created.no-host-directories",
        Security,
        "CVE-2016-9962, CVE-2024-21626: the waiting process holds no directory of the host",
        created_descriptors,
    ),
];

/// Longer than any run takes, even under load.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);

/// A directory outside of the root, with names in it that runtimes touch.
pub(super) fn outside(scene: &Scene) -> Result<PathBuf, Stop> {
    let path = scene.directory.join("outside");
    fs::create_dir(&path)?;
    for name in ["ptmx", "null", "file"] {
        fs::write(path.join(name), "untouched")?;
    }
    Ok(path)
}

pub(super) fn listing(path: &Path) -> Result<Vec<String>, Stop> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        // Reading a device that a runtime made here might never end.
        let text = match kind.is_file() {
            true => fs::read_to_string(entry.path())?,
            false => String::new(),
        };
        names.push(format!(
            "{} {:?} {} {text}",
            entry.file_name().display(),
            kind.file_type(),
            kind.len()
        ));
    }
    names.sort();
    Ok(names)
}

/// Runs the bundle, whatever comes of it; the directory must stay as it was.
pub(super) fn unharmed(bundle: Bundle<'_>, outside: &Path) -> Result<Vec<Value>, Stop> {
    let before = listing(outside)?;
    let answer = bundle.attempt("run")?;
    ensure_eq!(listing(outside)?, before, "the directory outside of the root");
    Ok(crate::container::Ran::new_lines(&answer))
}

fn dev_symlink(scene: &Scene) -> Verdict {
    let outside = outside(scene)?;
    let bundle = scene.bundle()?.link("/dev", &outside.to_string_lossy())?;
    unharmed(bundle, &outside).map(drop)
}

fn dev_symlink_bare(scene: &Scene) -> Verdict {
    let outside = outside(scene)?;
    let proc = json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]);
    let bundle = scene.bundle()?.link("/dev", &outside.to_string_lossy())?;
    unharmed(bundle.set("/mounts", proc), &outside).map(drop)
}

fn linked_file_system(scene: &Scene, name: &str, kind: &str) -> Verdict {
    let outside = outside(scene)?;
    let absolute = outside.to_string_lossy().into_owned();
    let up = format!("{}{absolute}", "../".repeat(20));
    for (index, target) in
        [absolute.as_str(), &up, "/tmp/inside", "nowhere", name].iter().enumerate()
    {
        let bundle = scene.bundle()?.link(name, target)?.namespace("network", None);
        let bundle = match name {
            "/proc" => bundle,
            _ => bundle.mount(name, kind, kind, &["nosuid"]),
        };
        let lines = unharmed(bundle, &outside)?;
        // A success is harmless only when the file system is inside.
        let mounts =
            lines.first().map(|line| line["value"]["mounts"].to_string()).unwrap_or_default();
        ensure!(
            !mounts.contains(&absolute)
                || index > 1
                || mounts.contains(&format!("\"point\":\"{absolute}\"")),
            "mounts: {mounts}"
        );
    }
    Ok(())
}

fn proc_symlink(scene: &Scene) -> Verdict {
    linked_file_system(scene, "/proc", "proc")
}

fn sys_symlink(scene: &Scene) -> Verdict {
    linked_file_system(scene, "/sys", "sysfs")
}

fn destination_symlink(scene: &Scene) -> Verdict {
    let outside = outside(scene)?;
    let source = scene.directory.join("source");
    fs::create_dir(&source)?;
    let absolute = outside.to_string_lossy().into_owned();
    for target in [absolute.clone(), format!("{}{absolute}", "../".repeat(30))] {
        let bundle = scene.bundle()?.link("/mnt", &target)?;
        let bundle = bundle.mount("/mnt", "bind", &source.to_string_lossy(), &["bind"]);
        let bundle = bundle.mount("/mnt/below/deep", "tmpfs", "tmpfs", &[]);
        unharmed(bundle, &outside)?;
    }
    Ok(())
}

fn destination_dotdot(scene: &Scene) -> Verdict {
    let outside = outside(scene)?;
    let destination = format!("/{}{}/new", "../".repeat(20), outside.display());
    let bundle = scene.bundle()?.mount(&destination, "tmpfs", "tmpfs", &[]);
    unharmed(bundle, &outside).map(drop)
}

fn file_destination(scene: &Scene) -> Verdict {
    let outside = outside(scene)?;
    let source = scene.directory.join("source");
    fs::write(&source, "x")?;
    let bundle = scene.bundle()?.link("/folder", &outside.to_string_lossy())?;
    let bundle = bundle.mount("/folder/new", "bind", &source.to_string_lossy(), &["bind"]);
    let bundle = bundle.mount("/folder/a/b", "tmpfs", "tmpfs", &[]);
    unharmed(bundle, &outside).map(drop)
}

fn device_symlink(scene: &Scene) -> Verdict {
    let outside = outside(scene)?;
    let device = json!({ "type": "c", "path": "/folder/null", "major": 1, "minor": 3 });
    let other = json!({ "type": "c", "path": "/folder/new", "major": 1, "minor": 3 });
    let bundle = scene.bundle()?.link("/folder", &outside.to_string_lossy())?;
    unharmed(bundle.push("/linux/devices", device).push("/linux/devices", other), &outside)
        .map(drop)
}

fn cwd_symlink(scene: &Scene) -> Verdict {
    let outside = outside(scene)?;
    let bundle = scene.bundle()?.link("/folder", &outside.to_string_lossy())?;
    unharmed(bundle.set("/process/cwd", json!("/folder/new/deep")), &outside).map(drop)
}

fn masked_symlink(scene: &Scene) -> Verdict {
    let outside = outside(scene)?;
    let bundle = scene.bundle()?.link("/folder", &outside.to_string_lossy())?;
    let bundle = bundle.set("/linux/maskedPaths", json!(["/folder/file", "/folder"]));
    unharmed(bundle.set("/linux/readonlyPaths", json!(["/folder", "/folder/file"])), &outside)?;
    // Writable still: a read-only bind of it would have changed the host.
    fs::write(outside.join("file"), "again")?;
    Ok(())
}

/// The target is a value of the container's own ipc namespace: a runtime that
/// falls for it changes nothing outside.
/// The target is a value of the container's own ipc namespace: a runtime that
/// falls for it changes nothing outside. The mounts are read from the host,
/// after create: the program's output may go to the target, too.
fn masked_null(scene: &Scene) -> Verdict {
    let target = "/proc/sys/kernel/msgmax";
    let proc = json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]);
    let bundle = scene.bundle()?.file("/secret", "secret")?.link("/dev/null", target)?;
    let bundle = bundle.set("/mounts", proc).set("/linux/maskedPaths", json!(["/secret"]));
    let (answer, container) = bundle.try_create()?;
    if !answer.succeeded() {
        return answer.expect_failure("create");
    }
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid()?))?;
    let masked = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/secret"));
    let Some(masked) = masked else { return failed("nothing is mounted on the masked file") };
    ensure!(!masked.contains("msgmax"), "the masked file is {target}: {masked}");
    Ok(())
}

fn masked_is_null(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .file("/secret", "secret")?
        .set("/linux/maskedPaths", json!(["/secret", "/proc/version"]))
        .operations(json!([["lstat", "/secret"], ["lstat", "/proc/version"]]))
        .run()?;
    for index in 0..2 {
        let seen = ran.value(index)?;
        ensure_eq!(
            (seen["kind"].as_str(), seen["major"].as_u64(), seen["minor"].as_u64()),
            (Some("char"), Some(1), Some(3)),
            "masked file"
        );
    }
    Ok(())
}

fn proc_covered(scene: &Scene) -> Verdict {
    let source = scene.directory.join("source");
    fs::create_dir(&source)?;
    let source = source.to_string_lossy().into_owned();
    scene.bundle()?.mount("/proc", "bind", &source, &["bind"]).refused_by_run()?;
    scene.bundle()?.mount("/proc", "tmpfs", "tmpfs", &[]).refused_by_run().map(drop)
}

fn proc_bind_inside(scene: &Scene) -> Verdict {
    let source = scene.directory.join("source");
    fs::create_dir(&source)?;
    let source = source.to_string_lossy().into_owned();
    for (point, kind, options) in [
        ("/proc/self/attr", "bind", &["bind"][..]),
        ("/proc/sys", "tmpfs", &[]),
        ("/proc/1", "bind", &["bind"]),
    ] {
        let answer = scene.bundle()?.mount(point, kind, &source, options).attempt("run")?;
        ensure!(!answer.succeeded(), "a {kind} mount on {point} was accepted");
    }
    Ok(())
}

/// Directories of the host that the runtime inherits.
pub(super) fn hold_directories() -> Result<Vec<std::os::fd::OwnedFd>, Stop> {
    use std::os::fd::AsFd;
    let root = fs::File::open("/")?;
    let mut kept = Vec::new();
    for _ in 0..12 {
        kept.push(nix::unistd::dup(root.as_fd())?);
    }
    Ok(kept)
}

/// Outside of its root a process has no working directory that the kernel can
/// name from the root.
fn inside(report: &Value) -> bool {
    report["cwd"].as_str().is_some_and(|path| path.starts_with('/'))
}

fn cwd_descriptor(scene: &Scene) -> Verdict {
    let kept = hold_directories()?;
    for number in 3..24 {
        let bundle = scene.bundle()?.set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        let answer = bundle.attempt("run")?;
        for line in crate::container::Ran::new_lines(&answer) {
            ensure!(
                inside(&line["value"]),
                "descriptor {number} as working directory leads out of the root"
            );
        }
    }
    drop(kept);
    Ok(())
}

fn exec_cwd_descriptor(scene: &Scene) -> Verdict {
    let kept = hold_directories()?;
    let container = scene.bundle()?.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    for number in 3..24 {
        let cwd = format!("/proc/self/fd/{number}");
        for line in container.exec(&["--cwd", &cwd], json!([["report"]]))?.lines {
            ensure!(
                inside(&line["value"]),
                "descriptor {number} as working directory leads out of the root"
            );
        }
    }
    drop(kept);
    Ok(())
}

fn user_no_change(scene: &Scene) -> Verdict {
    for name in ["uid", "gid"] {
        for value in [json!(4_294_967_295_u32), json!(4_294_967_296_u64), json!(-1)] {
            let what = format!("{name} {value}");
            let answer =
                scene.bundle()?.set(&format!("/process/user/{name}"), value).attempt("run")?;
            ensure!(!answer.succeeded(), "{what} was accepted: {}", answer.stdout);
        }
    }
    Ok(())
}

fn exec_user(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    for user in [
        "1:",
        ":1",
        "-1",
        " 1",
        "1x",
        "0x1",
        "4294967295",
        "4294967296",
        "1:4294967296",
        "1:2:3",
        "+1",
        "1 ",
    ] {
        let ran = container.exec(&["--user", user], json!([["report"]]))?;
        ensure!(
            !ran.answer.succeeded(),
            "--user {user:?} was accepted as {}",
            ran.value(0)?["uid"]
        );
    }
    for (user, uid, gid) in [("1", 1, 0), ("1:2", 1, 2)] {
        let seen = container.exec(&["--user", user], json!([["report"]]))?.value(0)?;
        ensure_eq!(
            (seen["uid"][0].as_u64(), seen["gid"][0].as_u64()),
            (Some(uid), Some(gid)),
            "--user {user}"
        );
    }
    Ok(())
}

fn numeric_name(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.file("/etc/passwd", "1000:x:0:0::/:/x\nroot:x:0:0::/:/x\n")?;
    let seen = bundle.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).report()?;
    ensure_eq!(seen["uid"], json!([1000, 1000, 1000, 1000]), "uids");
    Ok(())
}

fn caller_groups(scene: &Scene) -> Verdict {
    nix::unistd::setgroups(&[nix::unistd::Gid::from_raw(4242)])?;
    for uid in [0, 1000] {
        let seen =
            scene.bundle()?.set("/process/user", json!({ "uid": uid, "gid": uid })).report()?;
        ensure!(
            !seen["groups"].to_string().contains("4242"),
            "groups of uid {uid}: {}",
            seen["groups"]
        );
    }
    Ok(())
}

fn exec_inheritable(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    for options in
        [&["--user", "0"][..], &["--cap", "CAP_KILL"], &["--cap", "CAP_KILL", "--user", "1000"]]
    {
        let seen = container.exec(options, json!([["report"]]))?.value(0)?;
        for set in ["inheritable", "ambient"] {
            ensure_eq!(
                seen["capabilities"][set],
                json!("0000000000000000"),
                "{set} with {options:?}"
            );
        }
    }
    Ok(())
}

/// Either answer will do; hanging would not. Whoever still reads after the
/// patience is over gets its end of file, so that the case can say so.
fn passwd_fifo(scene: &Scene) -> Verdict {
    use nix::sys::stat::Mode;
    use std::os::unix::fs::OpenOptionsExt;
    let bundle = scene.bundle()?;
    let fifos = ["passwd", "group"].map(|name| bundle.root().join("etc").join(name));
    for fifo in &fifos {
        nix::unistd::mkfifo(fifo, Mode::from_bits_truncate(0o644))?;
    }
    let (done, over) = std::sync::mpsc::channel::<()>();
    let release = std::thread::spawn(move || {
        let timed_out = |result| matches!(result, Err(std::sync::mpsc::RecvTimeoutError::Timeout));
        let hung = timed_out(over.recv_timeout(PATIENCE));
        let mut waiting = hung;
        while waiting {
            for fifo in &fifos {
                let mut options = fs::OpenOptions::new();
                options.write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
                drop(options.open(fifo));
            }
            waiting = timed_out(over.recv_timeout(std::time::Duration::from_millis(10)));
        }
        hung
    });
    let answer = bundle.attempt("run");
    drop(done);
    let hung = release.join().unwrap_or(true);
    answer?;
    ensure!(!hung, "the runtime waited for the other end of a FIFO");
    Ok(())
}

fn passwd_device(scene: &Scene) -> Verdict {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let bundle = scene.bundle()?;
    for name in ["passwd", "group"] {
        let path = bundle.root().join("etc").join(name);
        mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o644), makedev(1, 5))?;
    }
    // Either answer will do; reading for ever would not. The bound is for
    // runtimes that do: they must not take the machine with them.
    let bound = 4 << 30;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, bound, bound)?;
    bundle.attempt("run").map(drop)
}

fn sysctl_traversal(scene: &Scene) -> Verdict {
    let panic = "/proc/sys/kernel/panic";
    let before = fs::read_to_string(panic)?;
    for key in [
        "net/../kernel/panic",
        "net.ipv4/../../kernel/panic",
        "net...kernel.panic",
        "/proc/sys/kernel/panic",
        "kernel.panic",
    ] {
        let bundle = scene.bundle()?.namespace("network", None);
        // The value that is there already: harmless when it does get through.
        let answer = bundle.set("/linux/sysctl", json!({ key: before.trim() })).attempt("run")?;
        ensure!(!answer.succeeded(), "the key {key:?} was accepted");
    }
    Ok(())
}

fn cgroup_escape(scene: &Scene) -> Verdict {
    for up in ["/..", "/../..", "..", "/a/../.."] {
        let bundle = scene.bundle()?;
        let path = format!("{up}/{}", bundle.id);
        let id = bundle.id.clone();
        bundle.set("/linux/cgroupsPath", json!(path)).attempt("run")?;
        for place in ["/sys/fs/cgroup", "/sys/fs", "/sys", "/"] {
            let place = Path::new(place).join(&id);
            if place.exists() {
                fs::remove_dir_all(&place)?;
                return failed(format!("{} was made for {path}", place.display()));
            }
        }
    }
    Ok(())
}

fn devices_default_deny(scene: &Scene) -> Verdict {
    crate::cgroups::require_devices()?;
    let rule = json!({ "allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm" });
    let ran = scene
        .bundle()?
        .set("/linux/resources/devices", json!([rule]))
        .operations(json!([
            ["mknod", "/kmsg", "c", 1, 11],
            ["open", "/kmsg", "r"],
            ["mknod", "/loop", "b", 7, 0],
            ["open", "/loop", "r"]
        ]))
        .run()?;
    for index in [1, 3] {
        ensure!(ran.error(index)? != "ok", "{} succeeded", ran.lines[index]["op"]);
    }
    Ok(())
}

fn long_mappings(scene: &Scene) -> Verdict {
    let maps: Vec<Value> =
        (0..300).map(|index| json!({ "containerID": index * 10, "hostID": 100_000 + index * 10, "size": 10 })).collect();
    let env: Vec<String> = (0..120).map(|index| format!("V{index}={}", "x".repeat(1000))).collect();
    let bundle = scene.bundle()?.user_namespace()?;
    let answer = bundle
        .set("/linux/uidMappings", json!(maps))
        .set("/process/env", json!(env))
        .attempt("run")?;
    let lines = crate::container::Ran::new_lines(&answer);
    match lines.first() {
        Some(line) => {
            let map = line["value"]["uid_map"].as_str().unwrap_or_default().to_owned();
            ensure_eq!(map.lines().count(), 300, "lines of uid_map");
            ensure!(
                map.lines().all(|line| line
                    .split_whitespace()
                    .nth(1)
                    .is_some_and(|id| id.parse::<u32>().is_ok_and(|id| id >= 100_000))),
                "uid_map: {map}"
            );
        }
        None => answer.expect_failure("run")?,
    }
    Ok(())
}

/// The program is then the runtime's own file: it must not start in there.
/// Whatever the waiting process names as its program must not be a way to
/// write to the runtime's own file: a copy will do, or a mount that cannot be
/// written. That the file is busy now protects nothing later.
/// Whatever the waiting process names as its program must not be a way to
/// write to the runtime's own file: a copy will do, or a mount that cannot be
/// written. That the file is busy now protects nothing later.
fn proc_self_exe(scene: &Scene) -> Verdict {
    use nix::sys::statvfs::{FsFlags, statvfs};
    use std::os::unix::fs::MetadataExt;
    let runtime = fs::metadata(scene.runtime.binary())?;
    let container = scene.bundle()?.create()?;
    let program = PathBuf::from(format!("/proc/{}/exe", container.pid()?));
    let named = fs::metadata(&program)?;
    let same = (named.dev(), named.ino()) == (runtime.dev(), runtime.ino());
    let read_only = statvfs(&program)?.flags().contains(FsFlags::ST_RDONLY);
    ensure!(
        !same || read_only,
        "/proc/PID/exe leads to the runtime's own file on a writable mount"
    );
    Ok(())
}

fn created_descriptors(scene: &Scene) -> Verdict {
    let kept = hold_directories()?;
    let container = scene.bundle()?.create()?;
    let own = container.bundle.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", container.pid()?))?.flatten() {
        let number: i32 = entry.file_name().to_string_lossy().parse()?;
        let Ok(kind) = fs::metadata(entry.path()) else { continue };
        if number > 2 && kind.is_dir() {
            let target =
                fs::read_link(entry.path()).unwrap_or_default().to_string_lossy().into_owned();
            let harmless = target.starts_with(&own)
                || target.contains(&*scene.runtime.root().to_string_lossy());
            if !harmless {
                found.push(format!("{number} -> {target}"));
            }
        }
    }
    drop(kept);
    ensure!(found.is_empty(), "directories that the waiting process holds: {found:?}");
    Ok(())
}
