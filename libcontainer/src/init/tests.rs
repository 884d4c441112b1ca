//! Steps on the root and its mounts, carried out by the real kernel in mount namespaces of their
//! own.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::host::{CgroupMount, Host};
use crate::plan::{
    Context, Options, plan_devices, plan_late_readonly, plan_masks, plan_mounts, plan_namespaces,
    plan_pivot, plan_readonly_root, plan_root,
};
use crate::protocol::words_mounts::sentence;
use crate::protocol::{Program, Step, SyncPoint};
use crate::spec::Spec;
use crate::sys::test_child::{Refused, TestChild};

thread_local! {
    /// What the kernel lacks for the containers of this test.
    static REFUSED: Cell<Refused> = const { Cell::new(Refused::NOTHING) };
}

/// Runs a test on this kernel, as on older ones, and as in an outer container.
fn on_every_kernel(test: impl Fn()) {
    for refused in
        [Refused::NOTHING, Refused::MOUNT_API_ALONE, Refused::OLD_KERNEL, Refused::OLD_FILTER]
    {
        REFUSED.set(refused);
        test();
    }
}

/// A bundle with an empty root file system.
struct Bundle {
    directory: tempfile::TempDir,
    no_pivot: bool,
    host: Host,
}

impl Bundle {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("husk-mounts-").tempdir_in("/var/tmp");
        let directory = directory.unwrap();
        fs::create_dir(directory.path().join("rootfs")).unwrap();
        Self { directory, no_pivot: false, host: Host::fixed() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn rootfs(&self, below: &str) -> PathBuf {
        self.path("rootfs").join(below)
    }

    fn program(&self, mut config: serde_json::Value) -> Program {
        config["ociVersion"] = json!("1.3.0");
        if config.get("root").is_none() {
            config["root"] = json!({"path": "rootfs"});
        }
        if config["linux"].get("namespaces").is_none() {
            config["linux"]["namespaces"] = json!([{"type": "mount"}]);
        }
        let spec = Spec::parse(config.to_string().as_bytes()).unwrap();
        let options = Options {
            id: "test".to_owned(),
            bundle: self.directory.path().to_str().unwrap().to_owned(),
            no_pivot: self.no_pivot,
            ..Options::default()
        };
        let namespaces = plan_namespaces(spec.linux.as_ref(), &self.host).unwrap();
        let mut ctx = Context::new(&spec, &options, &self.host, namespaces);
        plan_root(&mut ctx).unwrap();
        let late = plan_mounts(&mut ctx).unwrap();
        plan_devices(&mut ctx).unwrap();
        ctx.push(Step::Meet { point: SyncPoint::Mounted }, "");
        plan_pivot(&mut ctx).unwrap();
        plan_late_readonly(&mut ctx, late);
        plan_readonly_root(&mut ctx).unwrap();
        plan_masks(&mut ctx).unwrap();
        ctx.push(Step::Meet { point: SyncPoint::Created }, "");
        ctx.init
    }

    /// Runs a configuration up to the end of all steps on mounts.
    fn run(&self, config: serde_json::Value) -> Result<Container, String> {
        let program = self.program(config);
        let child = TestChild::start(&program, libc::CLONE_NEWNS as u64, REFUSED.get()).unwrap();
        let words = |record: crate::protocol::Record| {
            let step = &program.steps()[record.step as usize];
            sentence(step, &program, &record)
                .unwrap_or_else(|| format!("{} has no words for {record:?}", step.name()))
        };
        child.wait(SyncPoint::Mounted).map_err(words)?;
        child.go_on();
        child.wait(SyncPoint::Created).map_err(words)?;
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", child.pid())).unwrap();
        Ok(Container { mounts: mounts.lines().map(Mount::parse).collect(), child })
    }
}

struct Container {
    mounts: Vec<Mount>,
    child: TestChild,
}

impl Container {
    fn path(&self, below: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.child.pid())).join(below.trim_start_matches('/'))
    }

    /// The topmost mount at a path.
    #[track_caller]
    fn mount(&self, point: &str) -> &Mount {
        self.find(point).unwrap_or_else(|| panic!("nothing at {point}: {:?}", self.points()))
    }

    fn find(&self, point: &str) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| mount.point == point)
    }

    fn points(&self) -> Vec<&str> {
        self.mounts.iter().map(|mount| mount.point.as_str()).collect()
    }
}

#[derive(Debug)]
struct Mount {
    root: String,
    point: String,
    options: Vec<String>,
    tags: Vec<String>,
    kind: String,
    data: String,
}

impl Mount {
    fn parse(line: &str) -> Self {
        let (front, back) = line.split_once(" - ").unwrap();
        let front: Vec<&str> = front.split(' ').collect();
        let back: Vec<&str> = back.split(' ').collect();
        let words = |text: &str| text.split(',').map(str::to_owned).collect();
        Self {
            root: front[3].to_owned(),
            point: front[4].to_owned(),
            options: words(front[5]),
            tags: front[6..].iter().map(|tag| (*tag).to_owned()).collect(),
            kind: back[0].to_owned(),
            data: back[2].to_owned(),
        }
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
    }
}

fn usual_mounts() -> serde_json::Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
    ])
}

#[test]
fn the_usual_mounts_devices_and_masks() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        let container = bundle
        .run(json!({
            "root": {"path": "rootfs", "readonly": true},
            "mounts": usual_mounts(),
            "linux": {
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware",
                                "/proc/scsi", "/nowhere", "/proc/keys/below"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/nowhere"],
            },
        }))
        .unwrap();
        assert!(container.mount("/").has("ro"));
        assert!(container.mount("/").tags.is_empty());
        for (point, kind) in [
            ("/proc", "proc"),
            ("/dev", "tmpfs"),
            ("/dev/pts", "devpts"),
            ("/dev/shm", "tmpfs"),
            ("/dev/mqueue", "mqueue"),
            ("/sys", "sysfs"),
        ] {
            assert_eq!(container.mount(point).kind, kind);
        }
        assert!(container.mount("/sys").has("ro") && container.mount("/sys").has("noexec"));
        assert!(!container.mount("/dev").has("relatime") && container.mount("/dev").has("nosuid"));
        assert!(container.mount("/dev").data.contains("size=65536k"));
        assert!(container.mount("/proc/sys").has("ro"));
        assert!(!container.mount("/proc").has("ro"));
        let masked = container.mount("/proc/keys");
        assert_eq!(masked.root, "/null");
        let masked = fs::metadata(container.path("/proc/keys")).unwrap();
        assert!(masked.file_type().is_char_device());
        assert_eq!(masked.rdev(), libc::makedev(1, 3));
        if Path::new("/sys/firmware").is_dir() {
            let firmware = container.mount("/sys/firmware");
            assert!(firmware.kind == "tmpfs" && firmware.has("ro"));
        }
        assert!(container.find("/nowhere").is_none());
        for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)]
        {
            let node = fs::metadata(container.path("/dev").join(name)).unwrap();
            assert_eq!(node.rdev(), libc::makedev(1, minor));
            assert_eq!(node.permissions().mode() & 0o7777, 0o666);
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            let link = fs::read_link(container.path("/dev").join(name)).unwrap();
            assert_eq!(link, Path::new(target));
        }
        let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!host.contains(bundle.directory.path().to_str().unwrap()), "the host sees a mount");
    });
}

#[test]
fn bound_mounts_get_the_flags_of_their_options() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        fs::create_dir_all(bundle.path("data/below")).unwrap();
        fs::write(bundle.path("file"), "content").unwrap();
        let bind = |destination: &str, source: &str, options: &[&str]| json!({"destination": destination, "source": source, "type": "none", "options": options});
        let container = bundle
            .run(json!({"mounts": [
                bind("/plain", "data", &["bind"]),
                bind("/ro", "data", &["rbind", "ro", "nosuid", "nodev", "noexec", "noatime"]),
                bind("/rw", "data", &["bind", "rw"]),
                bind("/etc/deep/file", "file", &["bind", "ro"]),
                bind("/strict", "data", &["bind", "strictatime", "nodiratime"]),
                bind("/shared", "data", &["bind", "rslave", "rshared"]),
                bind("/unbindable", "data", &["bind", "runbindable"]),
                bind("relative", "data", &["bind", "nosymfollow"]),
            ]}))
            .unwrap();
        assert!(container.mount("/plain").has("rw"));
        let ro = container.mount("/ro");
        for option in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
            assert!(ro.has(option), "{option}: {ro:?}");
        }
        assert!(container.mount("/rw").has("rw"));
        assert!(container.mount("/etc/deep/file").has("ro"));
        assert_eq!(fs::read_to_string(container.path("/etc/deep/file")).unwrap(), "content");
        let strict = container.mount("/strict");
        assert!(!strict.has("relatime") && !strict.has("noatime") && strict.has("nodiratime"));
        assert!(container.mount("/shared").tags.iter().any(|tag| tag.starts_with("shared:")));
        assert!(container.mount("/unbindable").tags.iter().any(|tag| tag == "unbindable"));
        assert!(container.mount("/relative").has("nosymfollow"));
    });
}

#[test]
fn a_tmpfs_has_the_mode_of_the_directory_below() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        for (name, mode) in [("below", 0o2750), ("given", 0o700)] {
            fs::create_dir(bundle.rootfs(name)).unwrap();
            fs::set_permissions(bundle.rootfs(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let tmpfs = |destination: &str, options: &[&str]| json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options});
        let container = bundle
            .run(json!({"mounts": [
                tmpfs("/below", &["ro"]),
                tmpfs("/given", &["mode=0711", "size=64k", "noexec"]),
                tmpfs("/new", &[]),
                tmpfs("/old/api", &["size=64k", "sync", "mode=0701"]),
            ]}))
            .unwrap();
        let mode = |path: &str| fs::metadata(container.path(path)).unwrap().permissions().mode();
        assert_eq!(mode("/below") & 0o7777, 0o2750);
        assert!(container.mount("/below").has("ro"));
        assert_eq!(mode("/given") & 0o7777, 0o711);
        assert!(container.mount("/given").data.contains("size=64k"));
        assert_eq!(mode("/new") & 0o7777, 0o1777);
        assert_eq!(mode("/old/api") & 0o7777, 0o701);
        assert!(container.mount("/old/api").data.contains("sync"));
    });
}

#[test]
fn tmpcopyup_copies_what_is_below() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        let source = bundle.rootfs("etc");
        let mut deep = source.clone();
        for level in 0..20 {
            deep.push(format!("level{level}"));
        }
        fs::create_dir_all(&deep).unwrap();
        for index in 0..800 {
            fs::write(source.join(format!("a-file-with-a-rather-long-name-{index}")), "x").unwrap();
            if index % 40 == 0 {
                let directory = source.join(format!("directory{index}"));
                fs::create_dir(&directory).unwrap();
                fs::write(directory.join("inside"), "y").unwrap();
            }
        }
        fs::write(deep.join("bottom"), vec![7_u8; 200_000]).unwrap();
        symlink("/nowhere", source.join("dangling")).unwrap();
        fs::write(source.join("setuid"), "z").unwrap();
        std::os::unix::fs::chown(source.join("setuid"), Some(12), Some(34)).unwrap();
        fs::set_permissions(source.join("setuid"), fs::Permissions::from_mode(0o4751)).unwrap();
        let container = bundle
        .run(json!({"mounts": [
            {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]},
        ]}))
        .unwrap();
        let copied = container.path("/etc");
        assert_eq!(container.mount("/etc").kind, "tmpfs");
        assert_eq!(fs::read_dir(&copied).unwrap().count(), fs::read_dir(&source).unwrap().count());
        assert_eq!(fs::read(copied.join("directory760/inside")).unwrap(), b"y");
        let below = deep.strip_prefix(&source).unwrap();
        assert_eq!(fs::read(copied.join(below).join("bottom")).unwrap(), vec![7_u8; 200_000]);
        assert_eq!(fs::read_link(copied.join("dangling")).unwrap(), Path::new("/nowhere"));
        let setuid = fs::metadata(copied.join("setuid")).unwrap();
        assert_eq!((setuid.uid(), setuid.gid(), setuid.mode() & 0o7777), (12, 34, 0o4751));
        assert_eq!(setuid.mtime(), fs::metadata(source.join("setuid")).unwrap().mtime());
    });
}

#[test]
fn destinations_are_found_and_made_inside_the_root() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        let outside = bundle.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::create_dir(bundle.path("data")).unwrap();
        symlink(&outside, bundle.rootfs("absolute")).unwrap();
        symlink("../../../../../../..", bundle.rootfs("up")).unwrap();
        symlink("/made/by/link", bundle.rootfs("dangling")).unwrap();
        symlink("other/../dangling", bundle.rootfs("chain")).unwrap();
        let bind = |destination: &str| json!({"destination": destination, "source": "data", "type": "bind", "options": ["bind"]});
        let container = bundle
            .run(json!({"mounts": [
                bind("/absolute/a"), bind("/up/b"), bind("/dangling/c"), bind("/chain/d"),
            ]}))
            .unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        let inside = format!("{}/a", outside.display());
        for point in [inside.as_str(), "/b", "/made/by/link/c", "/made/by/link/d"] {
            container.mount(point);
        }
    });
}

#[test]
fn links_where_procfs_and_sysfs_belong_are_refused() {
    on_every_kernel(|| {
        for (kind, target) in [
            ("proc", "/evil"),
            ("sysfs", "evil"),
            ("proc", "/nowhere"),
            ("sysfs", "sys"),
            ("proc", "../../../../../../tmp"),
        ] {
            let bundle = Bundle::new();
            let name = if kind == "proc" { "proc" } else { "sys" };
            fs::create_dir(bundle.rootfs("evil")).unwrap();
            symlink(target, bundle.rootfs(name)).unwrap();
            let destination = format!("/{name}");
            let error = bundle
                .run(json!({"mounts": [
                    {"destination": destination, "type": kind, "source": kind},
                ]}))
                .err()
                .unwrap();
            assert_eq!(
                error,
                format!(
                    "error mounting {kind:?} to rootfs at {destination:?}: filesystem {kind:?} must \
                 be mounted on ordinary directory"
                )
            );
        }
    });
}

#[test]
fn a_link_into_proc_does_not_lead_around_the_rule() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        symlink("/proc/sys", bundle.rootfs("innocent")).unwrap();
        fs::create_dir(bundle.path("data")).unwrap();
        let error = bundle
            .run(json!({"mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/innocent", "source": "data", "options": ["bind"]},
            ]}))
            .err()
            .unwrap();
        assert!(
            error.contains("\"/innocent\" cannot be mounted because it is inside /proc"),
            "{error}"
        );
        fs::create_dir(bundle.rootfs("proc2")).unwrap();
        let error = bundle
        .run(json!({"mounts": [{"destination": "/proc", "source": "data", "options": ["bind"]}]}))
        .err()
        .unwrap();
        assert!(
            error.contains("\"/proc\" cannot be mounted because it is not of type proc"),
            "{error}"
        );
        bundle
        .run(json!({"mounts": [{"destination": "/proc", "source": "/proc", "options": ["rbind"]}]}))
        .unwrap();
    });
}

#[test]
fn failures_have_the_words_of_the_field() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        fs::create_dir(bundle.path("directory")).unwrap();
        fs::write(bundle.path("file"), "").unwrap();
        fs::write(bundle.rootfs("a-file"), "").unwrap();
        fs::create_dir(bundle.rootfs("a-directory")).unwrap();
        let source = bundle.path("missing").display().to_string();
        for (mount, expected) in [
            (
                json!({"destination": "/m", "source": "missing", "options": ["bind"]}),
                format!("failed to fulfil mount request: open {source}: no such file or directory"),
            ),
            (
                json!({"destination": "/mnt/x", "type": "x", "source": "x"}),
                "mount src=x, dst=/mnt/x, dstFd=/proc/thread-self/fd/".to_owned(),
            ),
            (
                json!({"destination": "/mnt/x", "type": "x", "source": "x"}),
                "error mounting \"x\" to rootfs at \"/mnt/x\": mount src=x".to_owned(),
            ),
            (
                json!({"destination": "/x", "type": "x", "source": "x"}),
                ": no such device".to_owned(),
            ),
            (
                json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["bogus=1"]}),
                "data=bogus=1: invalid argument".to_owned(),
            ),
            (
                json!({"destination": "/a-file", "source": "directory", "options": ["bind"]}),
                ": not a directory".to_owned(),
            ),
            (
                json!({"destination": "/a-directory", "source": "file", "options": ["bind"]}),
                ": not a directory".to_owned(),
            ),
            (
                json!({"destination": "/a-file/below", "source": "file", "options": ["bind"]}),
                "create mountpoint for /a-file/below mount: not a directory".to_owned(),
            ),
        ] {
            let error = bundle.run(json!({"mounts": [mount]})).err().unwrap();
            assert!(error.contains(&expected), "{error}");
        }
    });
}

#[test]
fn a_root_behind_a_link_is_refused() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        symlink("rootfs", bundle.path("link")).unwrap();
        let absolute = bundle.path("link").display().to_string();
        for path in ["link", absolute.as_str()] {
            let error = bundle.run(json!({"root": {"path": path}})).err().unwrap();
            assert!(
                error.starts_with("invalid rootfs: not an absolute path, or a symlink"),
                "{error}"
            );
        }
        let error = bundle.run(json!({"root": {"path": "missing"}})).err().unwrap();
        assert!(error.ends_with("no such file or directory"), "{error}");
    });
}

#[test]
fn an_image_whose_dev_is_a_link_changes_nothing_outside() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        let outside = bundle.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("ptmx"), "marker").unwrap();
        symlink(&outside, bundle.rootfs("dev")).unwrap();
        bundle
            .run(json!({"mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}]}))
            .unwrap();
        assert_eq!(fs::read(outside.join("ptmx")).unwrap(), b"marker");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    });
}

#[test]
fn devices_are_made_as_asked_for() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        let config = json!({
            "mounts": usual_mounts(),
            "linux": {"devices": [
                {"path": "/dev/some/char", "type": "c", "major": 10, "minor": 229, "fileMode": 0o644,
                 "uid": 5, "gid": 6},
                {"path": "/dev/block", "type": "b", "major": 7, "minor": 300, "fileMode": 0o660},
                {"path": "/dev/fifo", "type": "p", "fileMode": 0o622},
                {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600},
                {"path": "/dev/u", "type": "u", "major": 1, "minor": 5},
            ]},
        });
        let container = bundle.run(config).unwrap();
        let stat = |path: &str| fs::symlink_metadata(container.path(path)).unwrap();
        let char = stat("/dev/some/char");
        assert!(char.file_type().is_char_device());
        assert_eq!((char.rdev(), char.uid(), char.gid()), (libc::makedev(10, 229), 5, 6));
        assert_eq!(char.mode() & 0o7777, 0o644);
        assert!(stat("/dev/block").file_type().is_block_device());
        assert_eq!(stat("/dev/block").rdev(), libc::makedev(7, 300));
        assert!(stat("/dev/fifo").file_type().is_fifo());
        assert_eq!(stat("/dev/fifo").mode() & 0o7777, 0o622);
        assert_eq!(stat("/dev/null").mode() & 0o7777, 0o600);
        assert_eq!(stat("/dev/u").rdev(), libc::makedev(1, 5));
    });
}

#[test]
fn something_else_in_the_place_of_a_device_is_an_error() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        fs::create_dir(bundle.rootfs("dev")).unwrap();
        symlink("/proc/sys/kernel/core_pattern", bundle.rootfs("dev/null")).unwrap();
        let error = bundle.run(json!({"mounts": []})).err().unwrap();
        assert!(error.contains("/dev/null c 1:3: something else is there: file exists"), "{error}");
    });
}

#[test]
fn the_roots_propagation_is_set_after_the_pivot() {
    on_every_kernel(|| {
        for (name, tag) in [
            ("shared", "shared:"),
            ("rshared", "shared:"),
            ("unbindable", "unbindable"),
            ("slave", ""),
        ] {
            let bundle = Bundle::new();
            let container = bundle.run(json!({"linux": {"rootfsPropagation": name}})).unwrap();
            let tags = &container.mount("/").tags;
            if tag.is_empty() {
                assert!(tags.is_empty(), "{name}: {tags:?}");
            } else {
                assert!(tags.iter().any(|known| known.starts_with(tag)), "{name}: {tags:?}");
            }
        }
    });
}

#[test]
fn the_old_root_is_gone() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        let container = bundle.run(json!({})).unwrap();
        assert_eq!(container.points(), ["/"]);
    });
}

#[test]
fn without_pivot_root_the_root_is_moved() {
    on_every_kernel(|| {
        let mut bundle = Bundle::new();
        bundle.no_pivot = true;
        bundle.host.full_kernel_mounts = vec!["/proc".to_owned(), "/sys".to_owned()];
        let container = bundle.run(json!({"mounts": usual_mounts()})).unwrap();
        assert!(container.path("/dev/null").exists());
        assert_eq!(container.mount("/proc").kind, "proc");
        assert!(!container.path("/var/tmp").exists());
    });
}

#[test]
fn a_mount_over_the_root_is_the_root() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        fs::create_dir(bundle.path("other")).unwrap();
        fs::write(bundle.path("other/marker"), "").unwrap();
        let container = bundle
            .run(json!({"mounts": [
                {"destination": "/", "source": "other", "options": ["bind"]},
                {"destination": "/below", "type": "tmpfs", "source": "tmpfs"},
            ]}))
            .unwrap();
        assert!(container.path("/marker").exists());
        container.mount("/below");
        let bundle = Bundle::new();
        let container = bundle
            .run(json!({"mounts": [
                {"destination": "/", "type": "tmpfs", "source": "tmpfs", "options": ["sync"]},
                {"destination": "/below", "type": "tmpfs", "source": "tmpfs"},
            ]}))
            .unwrap();
        assert_eq!(container.mount("/").kind, "tmpfs");
        container.mount("/below");
    });
}

#[test]
fn hierarchies_of_cgroups_are_bound_without_a_namespace() {
    on_every_kernel(|| {
        let mut bundle = Bundle::new();
        let group = |name: &str| {
            let path = bundle.path(&format!("cgroup/{name}/container"));
            fs::create_dir_all(&path).unwrap();
            path.display().to_string()
        };
        let mounts = [("cpu,cpuacct", vec!["cpu", "cpuacct"]), ("memory", vec![])]
            .into_iter()
            .map(|(name, links)| CgroupMount {
                name: name.to_owned(),
                unified: false,
                options: name.to_owned(),
                mount_point: String::new(),
                group: group(name),
                links: links.into_iter().map(str::to_owned).collect(),
            })
            .collect();
        bundle.host.cgroup_mounts = mounts;
        let container = bundle
            .run(json!({"mounts": [
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                 "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
            ]}))
            .unwrap();
        assert!(container.mount("/sys/fs/cgroup").has("ro"));
        for name in ["cpu,cpuacct", "memory"] {
            let mount = container.mount(&format!("/sys/fs/cgroup/{name}"));
            assert!(mount.has("ro") && mount.has("noexec"), "{mount:?}");
            assert!(mount.root.ends_with(&format!("/cgroup/{name}/container")));
        }
        let link = fs::read_link(container.path("/sys/fs/cgroup/cpuacct")).unwrap();
        assert_eq!(link, Path::new("cpu,cpuacct"));
    });
}

#[test]
fn recursive_attributes_reach_the_mounts_below() {
    let bundle = Bundle::new();
    for name in ["data", "other"] {
        fs::create_dir_all(bundle.path(name).join("below")).unwrap();
    }
    let container = bundle
        .run(json!({"mounts": [
            {"destination": "/a", "source": "data", "options": ["bind"]},
            {"destination": "/a/below", "source": "other", "options": ["bind", "noatime"]},
            {"destination": "/b", "source": "rootfs/a", "options":
                ["rbind", "rro", "rnosuid", "rstrictatime"]},
            {"destination": "/c", "source": "rootfs/a", "options": ["rbind", "ro"]},
        ]}))
        .unwrap();
    for point in ["/b", "/b/below"] {
        let mount = container.mount(point);
        assert!(mount.has("ro") && mount.has("nosuid"), "{mount:?}");
        assert!(!mount.has("relatime") && !mount.has("noatime"), "{mount:?}");
    }
    assert!(container.mount("/c").has("ro") && container.mount("/c/below").has("rw"));
    assert!(container.mount("/a/below").has("rw") && container.mount("/a/below").has("noatime"));
}
