//! The root, devices and masks.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;

use super::{Bundle, Mount, on_every_kernel, usual_mounts};

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
            ("runbindable", "unbindable"),
            ("slave", ""),
        ] {
            let bundle = Bundle::new();
            let container = bundle
                .run(json!({"mounts": usual_mounts(), "linux": {
                "rootfsPropagation": name, "maskedPaths": ["/proc/keys"],
                "readonlyPaths": ["/proc/sys"]}}))
                .unwrap();
            let tags = &container.mount("/").tags;
            if tag.is_empty() {
                assert_eq!(*tags, masters(&bundle.rootfs("")), "{name}");
            } else {
                assert!(tags.iter().any(|known| known.starts_with(tag)), "{name}: {tags:?}");
            }
        }
    });
}

/// What a slave of the host's mount that holds `path` is tagged with: that mount's group of peers
/// if it has one, its master if it is a slave itself.
fn masters(path: &Path) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = text.lines().map(Mount::parse).filter(|mount| path.starts_with(&mount.point));
    let host = mounts.max_by_key(|mount| mount.point.len()).unwrap();
    let group = |kind| host.tags.iter().find_map(|tag| tag.strip_prefix(kind));
    let master = group("shared:").or(group("master:"));
    master.map(|number| format!("master:{number}")).into_iter().collect()
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
