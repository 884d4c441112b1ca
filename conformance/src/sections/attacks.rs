//! Further attacks: races on shared directories, what exec and a waiting process leave open, and
//! user namespaces that should not reach the host. And features.md's remaining clauses.

use super::cgroup::held;
use super::security::{hold_directories, listing, outside};
use crate::case::Level::{Caller, Must, Security};
use crate::case::{Case, Verdict, case, ensure, ensure_eq, skipped};
use crate::scene::Scene;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) const CASES: &[Case] = &[
    case(
        "security.race.destination",
        Security,
        "CVE-2021-30465, CVE-2024-45310: a mount's destination is exchanged with a link while the container is made",
        race_destination,
    ),
    case(
        "security.race.masked",
        Security,
        "CVE-2025-31133: the parent of a masked path is exchanged with a link",
        race_masked,
    ),
    case(
        "security.exec.no-host-directories",
        Security,
        "CVE-2024-21626: a process of exec gets no directory of the caller",
        exec_directories,
    ),
    case(
        "security.descriptors.high-numbers",
        Security,
        "CVE-2024-21626: descriptors of the caller with high numbers reach neither run nor exec",
        high_descriptors,
    ),
    case(
        "security.exec.capabilities",
        Security,
        "CVE-2022-29162: exec with --process fills no inheritable set by itself",
        exec_capabilities,
    ),
    case(
        "security.user.process-file",
        Security,
        "CVE-2024-40635: ids of a process file beyond 32 bits are never root",
        process_file_user,
    ),
    case(
        "security.image.passwd-symlink",
        Security,
        "passwd of the image is a link: it is followed inside the root alone",
        passwd_link,
    ),
    case(
        "security.image.passwd-huge",
        Security,
        "CVE-2026-47262: a passwd of a gigabyte costs nothing",
        passwd_huge,
    ),
    case(
        "security.cgroup.mount-read-only",
        Security,
        "CVE-2023-25809: without a cgroup namespace a container cannot write to cgroups by a read-only mount",
        cgroup_read_only,
    ),
    case(
        "security.cgroup.unified-path",
        Security,
        "CVE-2023-6476: keys of unified with a path in them",
        unified_path,
    ),
    case(
        "security.sysctl.newline",
        Security,
        "CVE-2022-0811: a value of a sysctl is one value",
        sysctl_value,
    ),
    case(
        "security.mounts.proc-sys-writable",
        Security,
        "CVE-2019-16884: nothing is mounted over files of /proc that decide",
        proc_files,
    ),
    case(
        "security.state.closed",
        Security,
        "CVE-2021-41103: the state of a container is closed to other users",
        state_closed,
    ),
    case(
        "security.devices.bind-mount",
        Security,
        "a device node of the host that is bound in is under the device rules",
        bound_device,
    ),
    case(
        "security.root.readonly-stays",
        Security,
        "a read-only root cannot be made writable without CAP_SYS_ADMIN",
        readonly_stays,
    ),
    case(
        "security.namespaces.exec-after-end",
        Security,
        "pids are not mistaken: exec and kill of a container that has ended reach nobody",
        after_end,
    ),
    case(
        "features.stable",
        Must,
        "features.md: the structure does not depend on a container",
        stable,
    ),
    case(
        "features.hooks.order",
        Must,
        "features.md, Hooks: an array of names, each once",
        unique_names,
    ),
    case(
        "features.linux.types",
        Must,
        "features-linux.md: types of memoryPolicy, intelRdt, netDevices, mountExtensions",
        linux_types,
    ),
    case(
        "features.memory-policy.recognised",
        Must,
        "features-linux.md, Memory policy: every mode that is listed is accepted",
        memory_policy,
    ),
    case(
        "features.unsafe-annotations.strings",
        Must,
        "features.md, Unsafe annotations: an array of strings",
        unsafe_annotations,
    ),
    case(
        "callers.features.cri",
        Caller,
        "containerd and CRI-O: rro for read-only mounts, user and idmap for user namespaces",
        cri,
    ),
    case(
        "callers.features.mount-options",
        Caller,
        "callers ask by features for every option that config.md says MUST be supported",
        every_option,
    ),
];

/// Exchanges two names as fast as it can until it is told to stop.
struct Racer {
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Racer {
    fn new(directory: &Path, one: &str, two: &str) -> Racer {
        let (one, two) = (directory.join(one), directory.join(two));
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let told = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &one, AT_FDCWD, &two, RenameFlags::RENAME_EXCHANGE).ok();
            }
        });
        Racer { stop, thread: Some(thread) }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

const ROUNDS: usize = 15;

fn race_destination(scene: &Scene) -> Verdict {
    let outside = outside(scene)?;
    let before = listing(&outside)?;
    let shared = scene.directory.join("shared");
    fs::create_dir_all(shared.join("a"))?;
    std::os::unix::fs::symlink(
        format!("{}{}", "../".repeat(20), outside.display()),
        shared.join("b"),
    )?;
    let racer = Racer::new(&shared, "a", "b");
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    for _ in 0..ROUNDS {
        let mut bundle =
            scene.bundle()?.mount("/shared", "bind", &shared.to_string_lossy(), &["rbind"]);
        for number in 0..6 {
            bundle = bundle.mount(&format!("/shared/a/new{number}/deep"), "tmpfs", "tmpfs", &[]);
        }
        bundle.attempt("run")?;
    }
    drop(racer);
    ensure_eq!(listing(&outside)?, before, "the directory outside of the root");
    ensure_eq!(fs::read_to_string("/proc/self/mountinfo")?, mounts, "mounts of the host");
    Ok(())
}

fn race_masked(scene: &Scene) -> Verdict {
    let outside = outside(scene)?;
    let shared = scene.directory.join("shared");
    fs::create_dir_all(shared.join("a"))?;
    fs::write(shared.join("a/file"), "secret")?;
    std::os::unix::fs::symlink(
        format!("{}{}", "../".repeat(20), outside.display()),
        shared.join("b"),
    )?;
    let racer = Racer::new(&shared, "a", "b");
    for _ in 0..ROUNDS {
        scene
            .bundle()?
            .mount("/shared", "bind", &shared.to_string_lossy(), &["rbind"])
            .set("/linux/maskedPaths", json!(["/shared/a/file", "/shared/a"]))
            .set("/linux/readonlyPaths", json!(["/shared/a"]))
            .attempt("run")?;
    }
    drop(racer);
    fs::write(outside.join("file"), "still writable")?;
    ensure_eq!(fs::read_to_string(outside.join("file"))?, "still writable", "a file outside");
    Ok(())
}

fn exec_directories(scene: &Scene) -> Verdict {
    let kept = hold_directories()?;
    let container = held(scene.bundle()?)?;
    let seen = container.exec(&[], json!([["report"]]))?.value(0)?;
    drop(kept);
    ensure_eq!(
        seen["descriptors"].as_object().map(|all| all.len()),
        Some(3),
        "descriptors: {}",
        seen["descriptors"]
    );
    Ok(())
}

fn high_descriptors(scene: &Scene) -> Verdict {
    use nix::fcntl::{FcntlArg, fcntl};
    let root = fs::File::open("/")?;
    for number in [40, 300, 900] {
        fcntl(&root, FcntlArg::F_DUPFD(number))?;
    }
    let container = scene.bundle()?.operations(json!([["report"], ["hold"]])).start()?;
    let first = container.wait_lines(2)?[0]["value"]["descriptors"].clone();
    let second = container.exec(&[], json!([["report"]]))?.value(0)?["descriptors"].clone();
    for (whose, found) in [("the program", first), ("exec", second)] {
        let count = found.as_object().map(|all| all.len());
        ensure_eq!(count, Some(3), "descriptors of {whose}: {found}");
    }
    Ok(())
}

fn process_file(scene: &Scene, process: &Value) -> Result<String, crate::case::Stop> {
    let file = scene.directory.join(format!("process{}.json", scene.number()));
    fs::write(&file, process.to_string())?;
    Ok(file.to_string_lossy().into_owned())
}

fn exec_capabilities(scene: &Scene) -> Verdict {
    let container = held(scene.bundle()?)?;
    let names = ["CAP_KILL", "CAP_CHOWN"];
    let process = json!({
        "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/probe", "__probe", r#"[["report"]]"#],
        "capabilities": { "bounding": names, "effective": names, "permitted": names },
    });
    let path = process_file(scene, &process)?;
    let answer = scene.invoke(&["exec", "--process", &path, &container.id])?;
    let seen = crate::container::Ran::new(answer).value(0)?;
    for set in ["inheritable", "ambient"] {
        ensure_eq!(seen["capabilities"][set], json!("0000000000000000"), "{set}");
    }
    Ok(())
}

fn process_file_user(scene: &Scene) -> Verdict {
    let container = held(scene.bundle()?)?;
    for uid in [json!(4_294_967_295_u32), json!(4_294_967_296_u64), json!(-1), json!("1000")] {
        let what = uid.to_string();
        let process = json!({
            "user": { "uid": uid, "gid": 0 }, "cwd": "/", "args": ["/probe", "__probe", r#"[["report"]]"#],
        });
        let path = process_file(scene, &process)?;
        let answer = scene.invoke(&["exec", "--process", &path, &container.id])?;
        ensure!(!answer.succeeded(), "uid {what} was accepted: {}", answer.stdout);
    }
    Ok(())
}

fn passwd_link(scene: &Scene) -> Verdict {
    let outside = scene.directory.join("outside-passwd");
    fs::write(&outside, "user:x:1000:1000::/from/outside:/x\n")?;
    for target in [
        outside.to_string_lossy().into_owned(),
        format!("{}{}", "../".repeat(20), outside.display()),
    ] {
        let bundle = scene.bundle()?.link("/etc/passwd", &target)?;
        let answer =
            bundle.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).attempt("run")?;
        ensure!(
            !answer.stdout.contains("/from/outside"),
            "HOME comes from a file outside of the root"
        );
    }
    Ok(())
}

/// A sparse file: reading all of it would take the memory of the machine.
fn passwd_huge(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    let file = fs::File::create(bundle.root().join("etc/passwd"))?;
    file.set_len(1 << 30)?;
    let bound = 4 << 30;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, bound, bound)?;
    bundle.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).attempt("run").map(drop)
}

fn cgroup_read_only(scene: &Scene) -> Verdict {
    // On v1 the directory above the hierarchies is a file system of the container's own.
    let v1 = crate::cgroups::hierarchies().iter().any(|each| !each.controllers.is_empty());
    let inner = if v1 { "/sys/fs/cgroup/memory/new" } else { "/sys/fs/cgroup/new" };
    let options = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    for user in [false, true] {
        let bundle = scene.bundle()?;
        let bundle = if user { bundle.user_namespace()? } else { bundle };
        let ran = bundle
            .namespace("network", None)
            .mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &options)
            .operations(json!([["list", "/sys/fs/cgroup"], ["mkdir", inner]]))
            .run()?;
        ensure!(ran.error(1)? != "ok", "{inner} was made");
    }
    Ok(())
}

fn unified_path(scene: &Scene) -> Verdict {
    for key in ["../cgroup.procs", "/etc/hostname", "a/b", ".."] {
        let unified = json!({ key: "1" });
        let answer = scene.bundle()?.set("/linux/resources/unified", unified).attempt("run")?;
        ensure!(!answer.succeeded(), "the key {key:?} was accepted");
    }
    Ok(())
}

fn sysctl_value(scene: &Scene) -> Verdict {
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern")?;
    for value in ["8192\n9000", "8192+kernel.core_pattern=|/x"] {
        let bundle = scene.bundle()?.set("/linux/sysctl", json!({ "kernel.msgmax": value }));
        bundle.operations(json!([["read", "/proc/sys/kernel/msgmax"]])).attempt("run")?;
    }
    ensure_eq!(
        fs::read_to_string("/proc/sys/kernel/core_pattern")?,
        before,
        "core_pattern of the host"
    );
    Ok(())
}

fn proc_files(scene: &Scene) -> Verdict {
    let source = scene.directory.join("file");
    fs::write(&source, "x")?;
    let source = source.to_string_lossy().into_owned();
    for point in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/proc/self/attr/exec",
        "/proc/thread-self/attr/exec",
    ] {
        let answer = scene.bundle()?.mount(point, "bind", &source, &["bind"]).attempt("run")?;
        ensure!(!answer.succeeded(), "a mount on {point} was accepted");
    }
    Ok(())
}

fn state_closed(scene: &Scene) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let root = scene.directory.join("closed");
    let bundle = scene.bundle()?;
    bundle.write()?;
    let mut command = std::process::Command::new(scene.runtime.binary());
    command
        .arg("--root")
        .arg(&root)
        .args(["create", "--bundle"])
        .arg(&bundle.directory)
        .arg(&bundle.id);
    let log = scene.directory.join("closed.log");
    scene
        .runtime
        .finish(command, &log, &scene.directory.join("closed.out"))?
        .expect_success("create")?;
    let mode = |path: &Path| fs::metadata(path).map(|found| found.mode() & 0o007);
    let (top, own) = (mode(&root)?, mode(&root.join(&bundle.id)));
    let mut command = std::process::Command::new(scene.runtime.binary());
    command.arg("--root").arg(&root).args(["delete", "--force", &bundle.id]);
    scene
        .runtime
        .finish(command, &log, &scene.directory.join("closed.out"))?
        .expect_success("delete")?;
    ensure!(top == 0 || own.is_ok_and(|own| own == 0), "others may enter the state directories");
    Ok(())
}

fn bound_device(scene: &Scene) -> Verdict {
    crate::cgroups::require_devices()?;
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let node = scene.directory.join("node");
    mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 11))?;
    let ran = scene
        .bundle()?
        .push("/linux/resources/devices", json!({ "allow": false, "access": "rwm" }))
        .mount("/node", "bind", &node.to_string_lossy(), &["bind", "dev"])
        .operations(json!([["open", "/node", "r"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "EPERM", "open of a bound device");
    Ok(())
}

fn readonly_stays(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .set("/root/readonly", json!(true))
        .operations(json!([["mount", "none", "/", "remount-rw"], ["create", "/new"]]))
        .run()?;
    ensure_eq!((ran.error(0)?, ran.error(1)?), ("EPERM", "EROFS"), "remount and create");
    Ok(())
}

fn after_end(scene: &Scene) -> Verdict {
    let container = held(scene.bundle()?)?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(container.pid()?),
        nix::sys::signal::SIGKILL,
    )?;
    container.wait_end()?;
    container.exec(&[], json!([["echo", "x"]]))?.answer.expect_failure("exec")?;
    container.attempt("kill", &["KILL"])?.expect_failure("kill")
}

fn stable(scene: &Scene) -> Verdict {
    let first = scene.features()?;
    scene.bundle()?.run()?;
    ensure_eq!(scene.features()?, first, "features");
    Ok(())
}

fn unique_names(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    for pointer in [
        "/hooks",
        "/mountOptions",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
        "/linux/seccomp/archs",
    ] {
        let list = features.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut names: Vec<String> =
            list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect();
        ensure_eq!(names.len(), list.len(), "strings of {pointer}");
        names.sort();
        names.dedup();
        ensure_eq!(names.len(), list.len(), "different names of {pointer}");
    }
    Ok(())
}

fn linux_types(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    type Check = fn(&Value) -> bool;
    let table: [(&str, Check); 9] = [
        ("/linux/memoryPolicy/modes", Value::is_array),
        ("/linux/memoryPolicy/flags", Value::is_array),
        ("/linux/intelRdt/enabled", Value::is_boolean),
        ("/linux/netDevices/enabled", Value::is_boolean),
        ("/linux/mountExtensions/idmap/enabled", Value::is_boolean),
        ("/linux/cgroup/systemd", Value::is_boolean),
        ("/linux/cgroup/systemdUser", Value::is_boolean),
        ("/linux/cgroup/rdma", Value::is_boolean),
        ("/potentiallyUnsafeConfigAnnotations", Value::is_array),
    ];
    for (pointer, check) in table {
        let fits = features.pointer(pointer).is_none_or(|value| value.is_null() || check(value));
        ensure!(fits, "{pointer} has another type: {:?}", features.pointer(pointer));
    }
    Ok(())
}

fn memory_policy(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    let Some(Value::Array(modes)) = features.pointer("/linux/memoryPolicy/modes") else {
        return skipped("/linux/memoryPolicy/modes is absent, which it MAY be");
    };
    for mode in modes {
        let nodes = ["MPOL_DEFAULT", "MPOL_LOCAL"].iter().all(|none| mode != none);
        let mut policy = json!({ "mode": mode });
        if nodes {
            policy["nodes"] = json!("0");
        }
        let answer = scene.bundle()?.set("/linux/memoryPolicy", policy).attempt("run")?;
        // The kernel may be older than the mode, which is then its own answer.
        let kernel = answer.text().contains("invalid argument");
        ensure!(answer.succeeded() || kernel, "{mode}: {}", answer.text());
    }
    Ok(())
}

fn unsafe_annotations(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    let Some(Value::Array(names)) = features.get("potentiallyUnsafeConfigAnnotations") else {
        return skipped("potentiallyUnsafeConfigAnnotations is absent, which it MAY be");
    };
    ensure!(names.iter().all(Value::is_string), "{names:?}");
    Ok(())
}

fn cri(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    let lists = |pointer: &str, item: &str| {
        let list = features.pointer(pointer).and_then(Value::as_array);
        list.is_some_and(|items| items.iter().any(|each| each == item))
    };
    ensure!(lists("/mountOptions", "rro"), "rro is not among mountOptions");
    ensure!(lists("/linux/namespaces", "user"), "user is not among the namespaces");
    ensure_eq!(
        features.pointer("/linux/mountExtensions/idmap/enabled"),
        Some(&json!(true)),
        "idmap"
    );
    Ok(())
}

fn every_option(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    let list = features["mountOptions"].as_array().cloned().unwrap_or_default();
    let must = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime \
                noexec noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro \
                rprivate rshared rslave runbindable rw shared silent slave strictatime suid sync unbindable";
    let missing: Vec<&str> =
        must.split_whitespace().filter(|name| !list.contains(&json!(name))).collect();
    ensure!(missing.is_empty(), "options that are not listed: {missing:?}");
    Ok(())
}
