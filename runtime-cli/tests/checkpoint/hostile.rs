//! Images of which nothing is believed, and what else is refused.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::scene::{COUNTER, IGNORE, Scene};
use crate::support::{self, Bundle, told};

#[test]
fn links_among_images_are_refused() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    scene.checkpoint("--leave-running");
    let victim = scene.bundle.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    scene.line("kill ID KILL").code(0);
    scene.bundle.await_status("stopped");
    scene.line("delete ID").code(0);
    symlink(&victim, scene.images().join("restore.log")).unwrap();
    let told = scene.silent("restore -d --image-path images ID");
    told.fails(1, "restore.log is a symbolic link");
    fs::remove_file(scene.images().join("restore.log")).unwrap();
    symlink("images", scene.bundle.path().join("link")).unwrap();
    let told = scene.silent("restore -d --image-path link ID");
    told.fails(1, "is a symbolic link: name the directory itself");
    symlink("../../../../../etc", scene.images().join("parent")).unwrap();
    scene.silent("restore -d --image-path images ID").fails(1, "images/../../../../../etc: ");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    scene.bundle.assert_gone();
}

#[test]
fn a_broken_image_is_an_error_with_the_end_of_the_log() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    scene.checkpoint("");
    let cores = fs::read_dir(scene.images()).unwrap().flatten();
    let core = cores
        .map(|entry| entry.path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("core-"));
    fs::write(core.unwrap(), "no image").unwrap();
    let told = scene.silent("restore -d --work-path work --image-path images ID");
    let told = told.fails(1, "criu failed: type RESTORE errno");
    assert!(told.err.contains("work/restore.log: ") && told.err.contains("Error"), "{told:?}");
    scene.bundle.assert_gone();
    fs::create_dir(scene.bundle.path().join("empty")).unwrap();
    let told = scene.silent("restore -d --image-path empty ID");
    told.fails(1, "descriptors.json is missing: these are no images of a container");
    let told = scene.silent("restore -d --image-path nowhere ID");
    told.fails(1, "nowhere: no such file or directory");
    scene.bundle.assert_gone();
}

/// CRIU executes programs that this file names.
#[test]
fn options_of_criu_come_from_a_file_that_the_bundle_did_not_bring() {
    let outside = support::scratch();
    let file = outside.path().join("criu.conf");
    fs::write(&file, "log-file=other.log\n").unwrap();
    let named = file.clone();
    let Some(scene) = Scene::new(COUNTER, |config| {
        config["annotations"] = json!({ "org.criu.config": named });
    }) else {
        return;
    };
    let scene = scene.running();
    scene.checkpoint("--work-path work");
    assert!(scene.bundle.path().join("work/other.log").exists());
    for (inside, words) in [
        ("config.json".to_owned(), "comes with the bundle or the images"),
        ("images/core-1.img".to_owned(), "comes with the bundle or the images"),
        ("/dev/shm/../../tmp".to_owned(), "can be written by others than root and the caller"),
    ] {
        let mut config = scene.bundle.config(&["sh", "-c", COUNTER]);
        let inside = scene.bundle.path().join(inside);
        config["annotations"] = json!({ "org.criu.config": inside });
        scene.bundle.write(&config);
        scene.silent("restore -d --image-path images ID").fails(1, words);
        scene.bundle.assert_gone();
    }
    let mut config = scene.bundle.config(&["sh", "-c", COUNTER]);
    config["annotations"] = json!({ "org.criu.config": "" });
    scene.bundle.write(&config);
    scene.restore("--work-path work");
    scene.counts_on();
}

/// A file outside of the container among its streams is nothing that CRIU can find again.
#[test]
fn after_a_failed_checkpoint_the_container_runs_on() {
    let Some(scene) = Scene::counter() else { return };
    scene.bundle.detached("run -d ID").code(0);
    scene.counts_on();
    let told = scene.line("checkpoint --image-path images --work-path work ID");
    let told = told.fails(1, "criu failed: type DUMP errno");
    assert!(told.err.contains("work/dump.log: ") && told.err.contains("Error"), "{told:?}");
    assert_eq!(scene.bundle.state()["status"], "running");
    scene.counts_on();
    assert_eq!(scene.line("exec ID echo inside").code(0).out, "inside\n");
}

#[test]
fn only_what_runs_can_be_saved() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let line = "checkpoint --image-path images ID";
    bundle.line(line).fails(1, "container does not exist");
    bundle.line("create ID").code(0);
    bundle.line(line).fails(1, "Container cannot be checkpointed in created state");
    bundle.line("kill ID KILL").code(0);
    bundle.await_status("stopped");
    bundle.line(line).fails(1, "Container cannot be checkpointed in stopped state");
    assert!(!bundle.path().join("images").exists());
}

#[test]
fn a_missing_criu_is_named_with_what_to_do() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let words = "criu: executable file not found in $PATH: install it";
    let nowhere = |line: &str| {
        let mut command = bundle.command();
        command.env("PATH", "/nowhere");
        let words = line.split_whitespace();
        told(&mut command, words.map(|word| if word == "ID" { bundle.id() } else { word }))
    };
    bundle.detached("run -d ID").code(0);
    nowhere("checkpoint --image-path images ID").fails(1, words);
    nowhere("--criu /nowhere/criu checkpoint --image-path images ID")
        .fails(1, "criu: /nowhere/criu is no absolute path of a program: install it");
    assert_eq!(bundle.state()["status"], "running");
    bundle.line("delete --force ID").code(0);
    fs::create_dir_all(bundle.path().join("images")).unwrap();
    nowhere("restore -d --image-path images ID").fails(1, words);
    bundle.assert_gone();
}

#[test]
fn flags_are_checked_in_runcs_words() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("run -d ID").code(0);
    for (flags, words) in [
        ("--page-server localhost", "Use --page-server ADDRESS:PORT to specify page server"),
        ("--page-server localhost:x", "Invalid port number"),
        ("--manage-cgroups-mode other", "invalid manage-cgroups-mode value"),
        ("--status-fd 77", "invalid --status-fd argument 77: bad file descriptor"),
        ("--status-fd 0", "invalid --status-fd argument 0: not writable"),
        ("--empty-ns mnt", "namespace \\\"mnt\\\" is not supported"),
    ] {
        let mut command = bundle.command();
        command.stdin(fs::File::open("/dev/null").unwrap());
        let line = format!("checkpoint --image-path images {flags} ID");
        let words_of = line.split_whitespace();
        let told = told(&mut command, words_of.map(|w| if w == "ID" { bundle.id() } else { w }));
        told.fails(1, words);
    }
    assert!(!bundle.path().join("images").exists());
    assert_eq!(bundle.state()["status"], "running");
    let told = bundle.line("help restore").code(0);
    for flag in ["--lsm-profile", "--console-socket", "--no-subreaper", "--detach, -d"] {
        assert!(told.out.contains(flag), "{flag} in {}", told.out);
    }
}

/// The list of streams of an image is the one file of it that husk itself reads.
#[test]
fn a_hostile_list_of_streams_names_nothing_of_the_host() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    scene.checkpoint("");
    let list = scene.images().join("descriptors.json");
    let restore = format!("restore -d --work-path work --image-path images {IGNORE} ID");
    let long = format!("[\"{}\"]", "x".repeat(1 << 20));
    let deep = "[".repeat(60_000);
    for (content, words) in [
        ("", "descriptors.json cannot be read: "),
        ("{", "descriptors.json cannot be read: "),
        ("{\"a\": 1}", "descriptors.json cannot be read: "),
        ("[1, 2, 3]", "descriptors.json cannot be read: "),
        ("[null]", "descriptors.json cannot be read: "),
        (deep.as_str(), "descriptors.json cannot be read: "),
        (long.as_str(), "descriptors.json cannot be read: "),
    ] {
        fs::write(&list, content).unwrap();
        scene.silent(&restore).fails(1, words);
        scene.bundle.assert_gone();
    }
    fs::write(&list, b"[\"\xff\"]").unwrap();
    scene.silent(&restore).fails(1, "descriptors.json cannot be read: ");
    fs::File::create(&list).unwrap().set_len(1 << 40).unwrap();
    scene.silent(&restore).fails(1, "descriptors.json cannot be read: ");
    fs::remove_file(&list).unwrap();
    nix::unistd::mkfifo(&list, nix::sys::stat::Mode::S_IRWXU).unwrap();
    scene.silent(&restore).fails(1, "descriptors.json is no ordinary file");
    fs::remove_file(&list).unwrap();
    fs::create_dir(&list).unwrap();
    scene.silent(&restore).fails(1, "descriptors.json is missing: these are no images");
    fs::remove_dir(&list).unwrap();
    // Names that stand for something else than a pipe are nobody's.
    fs::write(&list, "[\"extRootNetNS\", \"/etc/passwd\", \"socket:[1]\", \"pipe:[1]\"]").unwrap();
    scene.silent(&restore).code(0);
    scene.counts_on();
}

/// CRIU reads the rest, through a directory in which it follows nothing.
#[test]
fn hostile_images_are_errors_and_no_more() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    scene.checkpoint("");
    let good = scene.bundle.path().join("good");
    fs::rename(scene.images(), &good).unwrap();
    let victim = scene.bundle.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let fresh = || {
        if scene.images().exists() {
            fs::remove_dir_all(scene.images()).unwrap();
        }
        let mut copy = std::process::Command::new("cp");
        let status = copy.arg("-a").args([&good, &scene.images()]).status().unwrap();
        assert!(status.success());
    };
    let restore = format!("restore -d --work-path work --image-path images {IGNORE} ID");
    for name in
        ["inventory.img", "pstree.img", "core-1.img", "mm-1.img", "pagemap-1.img", "files.img"]
    {
        let path = scene.images().join(name);
        let refuse = |words: &str| {
            scene.silent(&restore).fails(1, words);
            scene.bundle.assert_gone();
            fresh();
        };
        fresh();
        assert!(path.is_file(), "{name}");
        let half = fs::read(&path).unwrap();
        fs::write(&path, &half[..half.len() / 2]).unwrap();
        refuse("criu failed: type RESTORE errno");
        fs::write(&path, [0xff; 4096]).unwrap();
        refuse("criu failed: type RESTORE errno");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refuse("criu failed: type RESTORE errno");
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        refuse("is no ordinary file: the images are not trusted with that");
        fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        refuse("is a symbolic link: the images are not trusted with that");
    }
    // What is no image has no effect, whatever it is called.
    fresh();
    let executed = scene.bundle.path().join("executed");
    let script = scene.bundle.path().join("script");
    support::write_program(&script, &format!("#!/bin/sh\ntouch {}\n", executed.display()), 0o755);
    for name in ["criu.conf", "runc.conf", "default.conf"] {
        let line = format!("action-script {}\n", script.display());
        fs::write(scene.images().join(name), line).unwrap();
    }
    fs::write(
        scene.images().join("config.json"),
        "{\"annotations\": {\"org.criu.config\": \"/etc\"}}",
    )
    .unwrap();
    scene.silent(&restore).code(0);
    scene.counts_on();
    assert!(!executed.exists());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

/// The directory of CRIU's own files may be one into which somebody's archive was unpacked.
#[test]
fn links_where_criu_writes_are_refused() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    let victim = scene.bundle.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let work = scene.bundle.path().join("work");
    fs::create_dir(&work).unwrap();
    let line = format!("--work-path work --image-path images {IGNORE} ID");
    for (name, verb) in
        [("dump.log", "checkpoint"), ("stats-dump", "checkpoint"), ("restore.log", "restore -d")]
    {
        if verb != "checkpoint" {
            scene.checkpoint("--work-path work");
        }
        symlink(&victim, work.join(name)).unwrap();
        let told = scene.silent(&format!("{verb} {line}"));
        told.fails(1, &format!("{name} is no ordinary file"));
        fs::remove_file(work.join(name)).unwrap();
    }
    scene.restore("--work-path work");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}
