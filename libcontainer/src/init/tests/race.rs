//! Somebody exchanges files of a shared directory while the runtime mounts there
//! (CVE-2021-30465, CVE-2024-45310, CVE-2025-31133).

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;

use super::{Bundle, on_every_kernel};

/// Starts of each race, at least.
const STARTS: usize = 40;

/// Exchanges of each race, at least.
const EXCHANGES: u64 = 1000;

/// Exchanges two names without pause while `work` is repeated.
fn while_exchanging(a: &Path, b: &Path, mut work: impl FnMut()) {
    let (stop, exchanges) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).unwrap();
                exchanges.fetch_add(1, Ordering::Relaxed);
            }
        });
        let stopped = Stop(&stop);
        let mut starts = 0;
        while starts < STARTS || exchanges.load(Ordering::Relaxed) < EXCHANGES {
            work();
            starts += 1;
        }
        drop(stopped);
    });
}

/// Also when the work panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn mounts_stay_inside_the_root() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        let outside = bundle.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::create_dir_all(bundle.path("volume/a")).unwrap();
        symlink(&outside, bundle.path("volume/b")).unwrap();
        let mut mounts = vec![
            json!({"destination": "/volume", "source": "volume", "options": ["bind"]}),
            json!({"destination": "/volume/a/file", "source": "/dev/null", "options": ["bind"]}),
        ];
        for index in 0..10 {
            let destination = format!("/volume/a/{index}/made/below");
            mounts.push(json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}));
        }
        let config = json!({
            "mounts": mounts,
            "linux": {"devices": [
                {"path": "/volume/a/node", "type": "c", "major": 1, "minor": 7},
            ]},
        });
        let place = outside.display().to_string();
        while_exchanging(&bundle.path("volume/a"), &bundle.path("volume/b"), || {
            // Whether it succeeds depends on the race; where it mounts does not.
            if let Ok(container) = bundle.run(config.clone()) {
                let mut points = container.before.iter().map(|mount| &mount.point);
                assert!(!points.any(|point| point.starts_with(&place)));
            }
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        });
    });
}

#[test]
fn masks_are_the_null_device() {
    on_every_kernel(|| {
        let bundle = Bundle::new();
        fs::create_dir(bundle.path("dev")).unwrap();
        fs::write(bundle.rootfs("secret"), "secret").unwrap();
        fs::write(bundle.rootfs("masked"), "masked").unwrap();
        let null = bundle.path("dev/null");
        let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::all());
        nix::sys::stat::mknod(&null, kind, mode, libc::makedev(1, 3)).unwrap();
        symlink("/secret", bundle.path("dev/link")).unwrap();
        let config = json!({
            "mounts": [
                {"destination": "/dev", "source": "dev", "options": ["bind"]},
                {"destination": "/proc", "type": "proc", "source": "proc"},
            ],
            "linux": {"maskedPaths": ["/masked"]},
        });
        let run = || match bundle.run(config.clone()) {
            Ok(container) => {
                let found = fs::metadata(container.path("/masked")).unwrap();
                assert_eq!(found.rdev(), libc::makedev(1, 3));
                true
            }
            Err(error) => {
                assert!(error.contains("/dev/null is not the null device"), "{error}");
                false
            }
        };
        while_exchanging(&null, &bundle.path("dev/link"), || {
            run();
        });
        let is_null = fs::symlink_metadata(&null).unwrap().rdev() == libc::makedev(1, 3);
        assert_eq!(run(), is_null);
    });
}
