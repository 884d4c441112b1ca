//! Mounts with the rights of a user namespace.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};

use libc::{MS_NODEV, MS_NOSUID, MS_RDONLY};
use serde_json::json;

use super::{Bundle, Container, REFUSED, finish, on_every_kernel};
use crate::plan::Context;
use crate::protocol::mount::{Device, Flags, Rules, rule};
use crate::protocol::{Slot, Step, SyncPoint};
use crate::sys::test_child::TestChild;

const OWNER: u32 = 100_000;

/// What the host's administrator mounted before: `locked` is read-only, nosuid and nodev.
fn enter_user_namespace(ctx: &mut Context<'_>) {
    let directory = ctx.text(&ctx.options.bundle, "").unwrap();
    let path = ctx.text("host", "").unwrap();
    let source = ctx.text(format!("{}/data", ctx.options.bundle), "").unwrap();
    let destination = ctx.text("/locked", "").unwrap();
    let mount = ctx.init.slot();
    ctx.push(Step::PrepareMounts { propagation: Flags(libc::MS_SLAVE | libc::MS_REC) }, "");
    ctx.push(Step::OpenRoot { directory, path }, "");
    let flags = Flags(MS_RDONLY | MS_NOSUID | MS_NODEV);
    let rules = Rules(rule::CHANGE_FLAGS);
    let step = Step::MountBind {
        source,
        destination,
        recursive: false,
        flags,
        cleared: Flags(0),
        rules,
        device: Device(0),
        tree: Slot::NONE,
        mount,
    };
    ctx.push(step, "");
    ctx.push(Step::Unshare { kinds: libc::CLONE_NEWUSER as u64 }, "");
    ctx.push(Step::Meet { point: SyncPoint::Up }, "");
    ctx.push(Step::BecomeRoot { tolerate_denied: false, keep_groups: false }, "");
    ctx.push(Step::Unshare { kinds: libc::CLONE_NEWNS as u64 }, "");
}

fn bundle() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.entry = enter_user_namespace;
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bundle.path(""), open).unwrap();
    for name in ["data", "host"] {
        fs::create_dir(bundle.path(name)).unwrap();
    }
    fs::write(bundle.path("data/content"), "").unwrap();
    chown(bundle.path("rootfs"), Some(OWNER), Some(OWNER)).unwrap();
    bundle
}

fn run(bundle: &Bundle, mounts: serde_json::Value) -> Result<Container, String> {
    let range = json!([{"containerID": 0, "hostID": OWNER, "size": 4}]);
    let program = bundle.program(json!({
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": "user"}, {"type": "mount"}],
            "uidMappings": range,
            "gidMappings": range,
            "maskedPaths": ["/proc/keys", "/proc/scsi"],
            "readonlyPaths": ["/proc/sys"],
        },
    }));
    let child =
        TestChild::start(crate::init::run, &program, libc::CLONE_NEWNS as u64, REFUSED.get())
            .unwrap();
    child.wait(SyncPoint::Up).unwrap();
    for file in ["gid_map", "uid_map"] {
        let path = format!("/proc/{}/{file}", child.pid());
        fs::write(path, format!("0 {OWNER} 4")).unwrap();
    }
    child.go_on();
    finish(&program, child)
}

#[test]
fn what_the_kernel_refuses_is_bound() {
    on_every_kernel(|| {
        let bundle = bundle();
        let container = run(
            &bundle,
            json!([
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "mode=755", "size=64k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
                             "gid=5"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                 "options": ["nosuid", "noexec", "nodev", "ro"]},
            ]),
        )
        .unwrap();
        assert!(container.mount("/proc").kind == "proc");
        let sys = container.mounts.iter().find(|mount| mount.point == "/sys").unwrap();
        assert!(sys.kind == "sysfs" && sys.has("ro") && sys.has("noexec"), "{sys:?}");
        assert_eq!(container.mount("/dev/pts").kind, "devpts");
        assert!(container.mount("/proc/sys").has("ro"));
        let null = fs::metadata(container.path("/dev/null")).unwrap();
        assert!(null.file_type().is_char_device());
        assert_eq!(null.rdev(), libc::makedev(1, 3));
        let masked = fs::metadata(container.path("/proc/keys")).unwrap();
        assert_eq!(masked.rdev(), libc::makedev(1, 3));
    });
}

#[test]
fn what_the_host_locked_stays_locked() {
    on_every_kernel(|| {
        for (options, expected) in [
            (&["bind"][..], Ok(&["ro", "nosuid", "nodev"][..])),
            (&["rbind", "noexec"], Ok(&["ro", "nosuid", "nodev", "noexec"])),
            (&["bind", "ro", "relatime"], Ok(&["ro", "nosuid", "nodev", "relatime"])),
            (&["bind", "remount", "noexec"], Ok(&["ro", "nosuid", "nodev", "noexec"])),
            (&["bind", "rw"], Err("operation not permitted")),
            (&["bind", "suid", "noexec"], Err("operation not permitted")),
            (&["bind", "noatime"], Err("operation not permitted")),
        ] {
            let bundle = bundle();
            let mounts = json!([
                {"destination": "/m", "source": "host/locked", "options": options},
            ]);
            match (run(&bundle, mounts), expected) {
                (Ok(container), Ok(flags)) => {
                    let mount = container.mount("/m");
                    assert!(flags.iter().all(|flag| mount.has(flag)), "{options:?}: {mount:?}");
                    assert!(container.path("/m/content").exists());
                }
                (Err(error), Err(words)) => assert!(error.contains(words), "{error}"),
                (Ok(container), Err(_)) => panic!("{options:?}: {:?}", container.mount("/m")),
                (Err(error), Ok(_)) => panic!("{options:?}: {error}"),
            }
        }
    });
}
