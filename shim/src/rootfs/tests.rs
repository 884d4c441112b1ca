use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use super::*;

/// Runs a test in a mount namespace of its own: nothing of it reaches the machine.
fn isolated(test: impl FnOnce(&Path) + Send) {
    let directory = TempDir::new_in("/var/tmp").unwrap();
    let path = directory.path().to_owned();
    std::thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root");
            let all_private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount_call(None::<&str>, "/", None::<&str>, all_private, None::<&str>).unwrap();
            // Layers want a file system that can carry an overlay.
            mount_call(Some("tests"), &path, Some("tmpfs"), MsFlags::empty(), None::<&str>)
                .unwrap();
            // As systemd has it on most machines.
            let shared = MsFlags::MS_SHARED;
            mount_call(None::<&str>, &path, None::<&str>, shared, None::<&str>).unwrap();
            test(&path);
        };
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn bind(source: &Path, options: &[&str]) -> Mount {
    of("bind", source.to_str().unwrap(), options.iter().map(|o| (*o).to_owned()).collect())
}

fn of(kind: &str, source: &str, options: Vec<String>) -> Mount {
    Mount { type_: kind.to_owned(), source: source.to_owned(), options, ..Mount::default() }
}

fn layer(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(format!("of-{name}").replace('/', "-")), name).unwrap();
    path.to_str().unwrap().to_owned()
}

fn overlay(directory: &Path, lower: &[String]) -> Mount {
    let upper = layer(directory, "upper");
    let work = layer(directory, "work");
    fs::remove_file(format!("{work}/of-work")).unwrap();
    let options = vec![
        format!("workdir={work}"),
        format!("upperdir={upper}"),
        format!("lowerdir={}", lower.join(":")),
    ];
    of("overlay", "overlay", options)
}

fn mounts_below(directory: &Path) -> usize {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let inside = format!("{}/", directory.display());
    table.lines().filter(|line| line.split(' ').nth(4).unwrap().starts_with(&inside)).count()
}

#[test]
fn an_overlay_comes_and_goes() {
    isolated(|directory| {
        let target = directory.join("rootfs");
        let lower = [layer(directory, "a"), layer(directory, "b")];
        mount(&[overlay(directory, &lower)], &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("of-a")).unwrap(), "a");
        fs::write(target.join("of-b"), "changed").unwrap();
        assert_eq!(fs::read_to_string(directory.join("b/of-b")).unwrap(), "b");
        assert_eq!(fs::read_to_string(directory.join("upper/of-b")).unwrap(), "changed");
        assert_eq!(fs::metadata(directory.join("rootfs")).unwrap().mode() & 0o777, 0o755);
        unmount(&target).unwrap();
        assert_eq!(mounts_below(directory), 0);
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o711);
        // Once more is no error, nor is what is not there.
        unmount(&target).unwrap();
        unmount(&directory.join("absent/rootfs")).unwrap();
    });
}

/// 120 layers with paths of more than 80 bytes: twice a page.
#[test]
fn an_overlay_of_many_layers() {
    isolated(|directory| {
        let deep = directory.join("io.containerd.snapshotter.v1.overlayfs/snap:shots");
        let name = deep.to_str().unwrap().replace(':', "\\:");
        let lower: Vec<_> = (0..120)
            .map(|number| {
                layer(&deep, &format!("{number}/fs"));
                format!("{name}/{number}/fs")
            })
            .collect();
        let target = directory.join("rootfs");
        let overlay = overlay(directory, &lower);
        assert!(overlay.options.join(",").len() > 2 * LONGEST_DATA);
        let before = std::env::current_dir().unwrap();
        mount(&[overlay], &target).unwrap();
        assert_eq!(std::env::current_dir().unwrap(), before);
        for number in [0, 119] {
            assert!(target.join(format!("of-{number}-fs")).exists());
        }
        unmount(&target).unwrap();
        assert_eq!(mounts_below(directory), 0);
    });
}

#[test]
fn too_many_layers_are_told() {
    isolated(|directory| {
        let lower: Vec<_> = (0..900).map(|n| format!("{}/{n}/fs", directory.display())).collect();
        let error = mount(&[overlay(directory, &lower)], &directory.join("rootfs")).unwrap_err();
        assert!(error.ends_with("and the kernel takes 4095: too many layers"), "{error}");
        assert_eq!(mounts_below(directory), 0);
    });
}

#[test]
fn bind_mounts() {
    isolated(|directory| {
        let source = layer(directory, "source");
        let target = directory.join("rootfs");
        mount(&[bind(source.as_ref(), &["rbind", "rw"])], &target).unwrap();
        fs::write(target.join("new"), "").unwrap();
        unmount(&target).unwrap();
        mount(&[bind(source.as_ref(), &["rbind", "ro", "nosuid"])], &target).unwrap();
        let error = fs::write(target.join("other"), "").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        fs::write(directory.join("source/other"), "").unwrap();
        unmount(&target).unwrap();
        assert_eq!(mounts_below(directory), 0);
    });
}

#[test]
fn a_mount_below_another_and_no_way_out() {
    isolated(|directory| {
        let (first, second) = (layer(directory, "first"), layer(directory, "second"));
        fs::create_dir(directory.join("first/sub")).unwrap();
        std::os::unix::fs::symlink("/sub", directory.join("first/link")).unwrap();
        let target = directory.join("rootfs");
        let mut below = bind(second.as_ref(), &["bind", "ro"]);
        below.target = "/../link".to_owned();
        let first = bind(first.as_ref(), &["bind"]);
        mount(&[first.clone(), below], &target).unwrap();
        assert!(target.join("sub/of-second").exists());
        assert!(fs::write(target.join("sub/new"), "").is_err());
        unmount(&target).unwrap();
        assert_eq!(mounts_below(directory), 0);
        // Nothing of the first stays when the second fails.
        let mut nowhere = bind(second.as_ref(), &["bind"]);
        nowhere.target = "/absent".to_owned();
        let error = mount(&[first, nowhere], &target).unwrap_err();
        let expected = format!("open /absent in {}: no such file or directory", target.display());
        assert_eq!(error, expected);
        assert_eq!(mounts_below(directory), 0);
    });
}

#[test]
fn errors_say_what_and_where() {
    isolated(|directory| {
        let target = directory.join("rootfs");
        let on = format!("on {}", target.display());
        let absent = directory.join("absent");
        let error = mount(&[bind(&absent, &["bind"])], &target).unwrap_err();
        let absent = absent.to_str().unwrap();
        assert_eq!(
            error,
            format!("mount {absent} (bind) {on}: no such file or directory: {absent}")
        );
        let lower = [layer(directory, "a"), absent.to_owned()];
        let error = mount(&[overlay(directory, &lower)], &target).unwrap_err();
        assert_eq!(
            error,
            format!("mount overlay (overlay) {on}: no such file or directory: {absent}")
        );
        for (options, words) in [
            (
                vec!["X-containerd.mkfs.fs=ext4"],
                "option \"X-containerd.mkfs.fs=ext4\" is for containerd's mount manager, which has not taken it",
            ),
            (vec!["uidmap=0:1:2"], "uidmap and gidmap must be given together"),
            (
                vec!["uidmap=0:1", "gidmap=0:1:1"],
                "option \"uidmap=0:1\" is not understood: FROM:TO:COUNT[,...] is expected",
            ),
        ] {
            let error = mount(&[bind(directory, &options)], &target).unwrap_err();
            assert_eq!(error, format!("mount {} (bind) {on}: {words}", directory.display()));
        }
        let error = mount(&[of("nosuchfs", "none", Vec::new())], &target).unwrap_err();
        assert_eq!(error, format!("mount none (nosuchfs) {on}: no such device"));
        assert_eq!(mounts_below(directory), 0);
    });
}

#[test]
fn a_mount_in_use_goes_lazily() {
    isolated(|directory| {
        let target = directory.join("rootfs");
        let source = layer(directory, "source");
        mount(&[of("tmpfs", "tmpfs", vec!["size=65536".to_owned()])], &target).unwrap();
        mount(&[bind(source.as_ref(), &["bind"])], &target).unwrap();
        let used = fs::File::open(&target).unwrap();
        unmount(&target).unwrap();
        assert_eq!(mounts_below(directory), 0);
        drop(used);
    });
}

fn with_ids(mut mount: Mount) -> Mount {
    for kind in ["uid", "gid"] {
        mount.options.push(format!("{kind}map=0:100000:65536"));
    }
    mount
}

#[test]
fn ids_of_a_bind_mount_are_mapped() {
    isolated(|directory| {
        let target = directory.join("rootfs");
        let source = layer(directory, "source");
        mount(&[with_ids(bind(source.as_ref(), &["bind"]))], &target).unwrap();
        let file = fs::metadata(target.join("of-source")).unwrap();
        assert_eq!((file.uid(), file.gid()), (100_000, 100_000));
        assert_eq!(mounts_below(directory), 1);
        unmount(&target).unwrap();
    });
}

#[test]
fn ids_of_layers_are_mapped_and_nothing_else_is_seen() {
    isolated(|directory| {
        let target = directory.join("rootfs");
        let lower = [layer(directory, "snapshots/1/fs"), layer(directory, "snapshots/2/fs")];
        let plain = overlay(directory, &lower);
        mount(&[with_ids(plain.clone())], &target).unwrap();
        let file = fs::metadata(target.join("of-snapshots-1-fs")).unwrap();
        assert_eq!((file.uid(), file.gid()), (100_000, 100_000));
        assert_eq!(fs::metadata(target.join("of-upper")).unwrap().uid(), 0);
        assert_eq!(mounts_below(directory), 1);
        fs::write(target.join("new"), "").unwrap();
        assert!(directory.join("upper/new").exists());
        unmount(&target).unwrap();
        assert_eq!(mounts_below(directory), 0);
        // A failure leaves nothing either.
        let mut broken = with_ids(plain);
        broken.options[0] = "workdir=/absent".to_owned();
        let error = mount(&[broken], &target).unwrap_err();
        assert!(error.ends_with("no such file or directory: /absent"), "{error}");
        assert_eq!(mounts_below(directory), 0);
    });
}

#[test]
fn no_mounts_make_no_directory() {
    let directory = tempfile::tempdir().unwrap();
    mount(&[], &directory.path().join("rootfs")).unwrap();
    assert!(!directory.path().join("rootfs").exists());
}

#[test]
fn a_helper_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("rootfs");
    let fuse = of("fuse3.no-such-kind", "overlay", Vec::new());
    let error = mount(&[fuse], &target).unwrap_err();
    assert!(error.contains("(fuse3.no-such-kind)") && error.contains("mount.fuse3: "), "{error}");
}

/// How many loop devices show the file.
fn devices_of(image: &Path) -> usize {
    let shown = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("loop/backing_file"));
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    let files = devices.filter_map(|entry| shown(entry).ok());
    files.filter(|file| Path::new(file.trim()) == image).count()
}

#[test]
fn an_image_by_a_loop_device() {
    if !Path::new("/dev/loop-control").exists() {
        eprintln!("skipped: this machine has no loop devices");
        return;
    }
    let directory = TempDir::new_in("/var/tmp").unwrap();
    let image = directory.path().join("image");
    fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
    let mut mkfs = Command::new("/usr/sbin/mkfs.ext4");
    assert!(mkfs.args(["-q", "-F"]).arg(&image).status().unwrap().success());
    let options = |list: &[&str]| list.iter().map(|option| (*option).to_owned()).collect();
    isolated(|directory| {
        let target = directory.join("rootfs");
        let source = image.to_str().unwrap();
        mount(&[of("ext4", source, options(&["loop", "rw"]))], &target).unwrap();
        assert_eq!(devices_of(&image), 1);
        fs::write(target.join("file"), "kept").unwrap();
        unmount(&target).unwrap();
        mount(&[of("ext4", source, options(&["loop", "ro"]))], &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "kept");
        assert!(fs::write(target.join("other"), "").is_err());
        unmount(&target).unwrap();
        // Nothing stays of an image that cannot be mounted.
        let error = mount(&[of("squashfs", source, options(&["loop", "ro"]))], &target);
        assert!(error.unwrap_err().contains("(squashfs) on "));
        assert_eq!(mounts_below(directory), 0);
    });
    // The kernel ends a device some time after its last user.
    let begin = std::time::Instant::now();
    while devices_of(&image) != 0 {
        assert!(begin.elapsed().as_secs() < 90, "a loop device stays");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
