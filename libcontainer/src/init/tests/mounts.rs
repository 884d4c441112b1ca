//! Mounts: flags, destinations, refusals, copies.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;

use super::{Bundle, on_every_kernel};
use crate::host::CgroupMount;

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

#[test]
fn remount_changes_the_file_system_that_is_there() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        let tmpfs = |options: &[&str]| json!({"destination": "/m", "type": "tmpfs", "source": "t", "options": options});
        let container = bundle
            .run(json!({"mounts": [
                tmpfs(&["size=64k", "mode=0711"]),
                tmpfs(&["remount", "ro", "size=128k"]),
            ]}))
            .unwrap();
        let mounts: Vec<_> = container.mounts.iter().filter(|mount| mount.point == "/m").collect();
        assert_eq!(mounts.len(), 1);
        assert!(mounts[0].has("ro") && mounts[0].data.contains("size=128k"), "{mounts:?}");
        let mode = fs::metadata(container.path("/m")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o711);
    });
}
