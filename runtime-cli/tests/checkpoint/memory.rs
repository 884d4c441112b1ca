//! Memory: ahead of time, from elsewhere, on demand.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::scene::{IGNORE, Network, Scene, copy};
use crate::support::{eventually, told, write_program};

#[test]
fn memory_is_saved_beforehand() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    let told =
        scene.line("checkpoint --pre-dump --image-path earlier --manage-cgroups-mode ignore ID");
    if told.err.contains("criu is missing features: [MemTrack]") {
        eprintln!("skipped: the kernel does not track changes of memory");
        return;
    }
    told.code(0);
    scene.counts_on();
    scene.checkpoint("--parent-path ../earlier");
    assert!(scene.images().join("parent").is_symlink());
    scene.restore("");
    scene.counts_on();
}

#[test]
fn parents_have_to_be_directories_beside() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    for (parent, words) in [
        ("/var/tmp", "--parent-path must be relative"),
        ("../none", "invalid --parent-path: stat images/../none: no such file or directory"),
        ("../config.json", "invalid --parent-path"),
        ("../../../tmp", "invalid cross-device link"),
    ] {
        fs::create_dir_all(scene.images()).unwrap();
        let line = format!("checkpoint --image-path images --parent-path {parent} ID");
        scene.line(&line).fails(1, words);
    }
    scene.counts_on();
}

#[test]
fn memory_goes_to_a_server_of_pages() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    let network = Network::new();
    fs::create_dir(scene.images()).unwrap();
    let line = "checkpoint --image-path images --work-path work --page-server 127.0.0.1:27277";
    // Nobody listens.
    let told = network.husk(&scene, line);
    told.fails(1, "criu failed: type DUMP errno");
    scene.counts_on();
    let mut server = network.criu(&scene, "page-server --address 127.0.0.1 --port 27277 -D images");
    network.await_listener();
    let before = scene.count();
    network.husk(&scene, line).code(0);
    assert!(server.wait().unwrap().success());
    assert!(!pages(&scene.images()).is_empty());
    scene.restore("--work-path work");
    assert!(scene.count() >= before);
    scene.counts_on();
}

/// Neither a server that takes all and never says so keeps the container, nor a program that does
/// not even notice its end.
#[test]
fn delete_force_ends_a_checkpoint_that_waits() {
    let Some(scene) = Scene::counter() else { return };
    let deaf = scene.bundle.path().join("deaf");
    write_program(&deaf, "#!/bin/sh\necho > asked\nexec sleep 1000\n", 0o755);
    let deaf = format!("--criu {} checkpoint", deaf.display());
    let network = Network::new();
    let heard = scene.bundle.path().join("heard");
    let mut server = network.listen(&heard);
    let silent = "checkpoint --page-server 127.0.0.1:7777";
    for (words, waits, error) in [
        (silent, heard, "criu failed: "),
        (
            deaf.as_str(),
            scene.bundle.path().join("asked"),
            "the container ended before it was saved",
        ),
    ] {
        scene.run("");
        let line = format!("{words} --image-path images {IGNORE} ID");
        let told = thread::scope(|scope| {
            let checkpoint = scope.spawn(|| told(&mut network.enter(&scene.words(&line)), [""; 0]));
            let has_begun = || fs::metadata(&waits).is_ok_and(|file| file.len() > 0);
            eventually("it waits", || has_begun().then_some(()));
            scene.line("delete --force ID").code(0);
            checkpoint.join().unwrap()
        });
        told.fails(1, error);
        scene.bundle.assert_gone();
    }
    server.kill().unwrap();
    server.wait().unwrap();
}

/// What was loaded from the images is removed from them: they do for one restore.
#[test]
fn pages_are_removed_from_images_as_they_are_used() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    scene.checkpoint("--auto-dedup");
    let blocks = || {
        let files = pages(&scene.images());
        files.iter().map(|file| file.metadata().unwrap().blocks()).sum::<u64>()
    };
    let before = blocks();
    assert!(before > 0);
    scene.restore("--auto-dedup");
    scene.counts_on();
    assert!(blocks() < before, "{} of {before} blocks", blocks());
}

fn pages(images: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(images).unwrap().flatten().map(|entry| entry.path());
    files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("pages-")).collect()
}

/// The container stays with its memory, and goes when the restored one has all of it.
#[test]
fn memory_is_fetched_when_it_is_needed() {
    let Some(scene) = Scene::counter() else { return };
    if !may_enlarge_pipes() {
        eprintln!("skipped: criu needs CAP_SYS_RESOURCE for pipes of 3 MiB");
        return;
    }
    let scene = scene.running();
    let network = Network::new();
    let status = scene.bundle.path().join("status");
    fs::write(&status, "").unwrap();
    let line = format!(
        "checkpoint --lazy-pages --page-server 127.0.0.1:27277 --status-fd 7 --work-path work \
         --image-path images {IGNORE} ID"
    );
    let inside = network.enter(&scene.words(&line));
    let mut serving = Command::new("sh");
    serving.args(["-c", "exec \"$@\" 7>status", "sh"]).arg(inside.get_program());
    copy(&inside, &mut serving);
    let mut serving = serving.stdin(Stdio::null()).spawn().unwrap();
    eventually("pages are served", || {
        assert_eq!(serving.try_wait().unwrap(), None, "it ended early");
        (fs::read(&status).unwrap() == [0]).then_some(())
    });
    let before = scene.count();
    let lazy = "lazy-pages --page-server --address 127.0.0.1 --port 27277 -D images";
    let mut lazy = network.criu(&scene, lazy);
    let other = format!("{}-other", scene.bundle.id());
    eventually("its socket", || scene.images().join("lazy-pages.socket").exists().then_some(()));
    let line = format!("restore -d --lazy-pages --work-path images --image-path images {IGNORE}");
    scene.silent(&format!("{line} {other}")).code(0);
    assert!(lazy.wait().unwrap().success());
    assert!(serving.wait().unwrap().success());
    scene.line("state ID").fails(1, "container does not exist");
    assert!(scene.count() >= before);
    scene.counts_on();
    scene.line(&format!("delete --force {other}")).code(0);
}

/// criu makes a pipe larger than others may.
fn may_enlarge_pipes() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    const CAP_SYS_RESOURCE: u64 = 24;
    u64::from_str_radix(rights.trim(), 16).unwrap() & 1 << CAP_SYS_RESOURCE != 0
}
