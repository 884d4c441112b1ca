//! Saving, and going on.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::scene::{COUNTER, IGNORE, Scene};
use crate::support::{self, cgroups, eventually};

#[test]
fn a_counter_goes_on_where_it_was() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    let first = scene.pid();
    // Afterwards the file may be empty: between the shell's opening it and writing to it.
    let before = scene.count();
    scene.checkpoint("--work-path work");
    assert!(scene.bundle.path().join("work/dump.log").exists());
    scene.bundle.assert_gone();
    scene.restore("--work-path work --pid-file pid");
    assert!(scene.count() >= before);
    scene.counts_on();
    assert_ne!(scene.pid(), first);
    let written = fs::read_to_string(scene.bundle.path().join("pid")).unwrap();
    assert_eq!(written, scene.pid().to_string());
    // Everything else works on it as on a container that was started.
    assert_eq!(scene.line("exec ID echo inside").code(0).out, "inside\n");
    scene.line("start ID").fails(1, "cannot start an already running container");
    scene.line("restore --image-path images ID").fails(1, "already exists");
    scene.line("kill ID KILL").code(0);
    scene.bundle.await_status("stopped");
    scene.line("delete ID").code(0);
    scene.bundle.assert_gone();
}

#[test]
fn a_container_is_left_running_on_demand() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    let pid = scene.pid();
    scene.checkpoint("--leave-running");
    assert_eq!(scene.pid(), pid);
    scene.counts_on();
    scene.line("pause ID").code(0);
    scene.checkpoint("--leave-running");
    assert_eq!(scene.bundle.state()["status"], "paused");
    scene.line("resume ID").code(0);
    scene.counts_on();
}

#[test]
fn a_restore_in_the_foreground_gives_the_exit_code() {
    let script = "echo up > /up; while ! test -e /end; do sleep 0.05; done; exit 37";
    let Some(scene) = Scene::new(script, |_| {}) else { return };
    scene.silent("run -d ID").code(0);
    eventually("it runs", || scene.bundle.rootfs().join("up").exists().then_some(()));
    scene.checkpoint("");
    let mut command = scene.command();
    command.args(["restore", "--image-path", "images"]);
    command.args(["--manage-cgroups-mode", "ignore", scene.bundle.id()]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    scene.bundle_runs();
    fs::write(scene.bundle.rootfs().join("end"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(37));
    scene.bundle.assert_gone();
}

#[test]
fn a_container_with_users_of_its_own_comes_back() {
    let Some(scene) = Scene::new("echo up; while :; do sleep 1; done", |config| {
        let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    }) else {
        return;
    };
    scene.silent("run -d ID").code(0);
    scene.checkpoint("");
    scene.restore("");
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    assert_ne!(fs::read_link(format!("/proc/{}/ns/user", scene.pid())).unwrap(), own);
    assert_eq!(scene.line("exec ID echo inside").code(0).out, "inside\n");
    // The images are still good where no file has changed that was open.
    scene.line("delete --force ID").code(0);
    scene.restore("");
    assert_eq!(scene.line("exec ID echo again").code(0).out, "again\n");
}

#[test]
fn hooks_of_a_creation_run() {
    let Some(scene) = Scene::new(COUNTER, |config| {
        let hook = |word: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo {word} >> hooks; cat >/dev/null")]}]);
        config["hooks"] = json!({
            "prestart": hook("prestart"), "createRuntime": hook("createRuntime"),
            "createContainer": hook("createContainer"), "poststart": hook("poststart"),
            "poststop": hook("poststop"),
        });
    }) else {
        return;
    };
    let scene = scene.running();
    scene.checkpoint("");
    let log = scene.bundle.path().join("hooks");
    assert!(fs::read_to_string(&log).unwrap().ends_with("poststop\n"));
    fs::remove_file(&log).unwrap();
    scene.restore("");
    assert_eq!(fs::read_to_string(&log).unwrap(), "prestart\ncreateRuntime\n");
}

#[test]
fn a_failing_hook_ends_a_restore() {
    let Some(scene) = Scene::new(COUNTER, |_| {}) else { return };
    let scene = scene.running();
    scene.checkpoint("");
    let mut config = scene.bundle.config(&["sh", "-c", COUNTER]);
    config["hooks"] = json!({"createRuntime": [{"path": "/bin/false"}]});
    scene.bundle.write(&config);
    let told = scene.silent(&format!("restore -d --image-path images {IGNORE} --pid-file pid ID"));
    told.fails(1, "error running createRuntime hook #0: exit status 1");
    scene.bundle.assert_gone();
    assert!(!scene.bundle.path().join("pid").exists());
}

/// CRIU sees the end of its connection, and what it made goes with the group.
#[test]
fn a_restore_that_was_killed_is_cleaned_up() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    scene.checkpoint("");
    let gate = scene.bundle.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut config = scene.bundle.config(&["sh", "-c", COUNTER]);
    config["hooks"] =
        json!({"createRuntime": [{"path": "/bin/busybox", "args": ["cat", gate.clone()]}]});
    scene.bundle.write(&config);
    let mut command = scene.command();
    command.args(["restore", "-d", "--image-path", "images"]);
    command.args(["--manage-cgroups-mode", "ignore", scene.bundle.id()]);
    let null = || std::process::Stdio::null();
    let mut child = command.stdout(null()).stderr(null()).spawn().unwrap();
    // Opening waits for the hook: CRIU has made the container's process by then.
    let held = fs::File::options().write(true).open(&gate).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(held);
    scene.line("delete --force ID").code(0);
    eventually("nothing is left", || {
        let groups = scene.line("list -q").code(0);
        groups.out.trim().is_empty().then_some(())
    });
    scene.bundle.write(&scene.bundle.config(&["sh", "-c", COUNTER]));
    scene.restore("");
    scene.counts_on();
}

#[test]
fn bind_mounts_and_masks_are_found_again() {
    let outside = support::scratch();
    fs::write(outside.path().join("file"), "before").unwrap();
    let source = outside.path().to_path_buf();
    let Some(scene) = Scene::new(COUNTER, |config| {
        config["mounts"].as_array_mut().unwrap().extend([
            json!({"destination": "/link/data", "source": source, "options": ["rbind", "rw"]}),
            json!({"destination": "/etc/one", "source": source.join("file"), "options": ["bind", "ro"]}),
        ]);
        config["linux"]["maskedPaths"] = json!(["/proc/kcore", "/proc/acpi", "/secret", "/none"]);
        config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    }) else {
        return;
    };
    fs::write(scene.bundle.rootfs().join("secret"), "hidden").unwrap();
    fs::create_dir(scene.bundle.rootfs().join("real")).unwrap();
    symlink("/real", scene.bundle.rootfs().join("link")).unwrap();
    let scene = scene.running();
    scene.checkpoint("");
    fs::write(outside.path().join("file"), "after").unwrap();
    // A root file system of the same content in which nobody has made mount points yet.
    fs::remove_dir(scene.bundle.rootfs().join("real/data")).unwrap();
    fs::remove_file(scene.bundle.rootfs().join("etc/one")).unwrap();
    scene.restore("");
    scene.counts_on();
    let told = scene.line("exec ID cat /link/data/file /etc/one /secret").code(0);
    assert_eq!(told.out, "afterafter");
    assert_ne!(scene.line("exec ID touch /etc/one").code, Some(0));
    assert_ne!(scene.line("exec ID touch /proc/sys/x").code, Some(0));
}

#[test]
fn limits_are_those_of_the_configuration() {
    if !cgroups::has_controller("memory") || !cgroups::has_controller("pids") {
        eprintln!("skipped: no memory or pids controller");
        return;
    }
    let Some(scene) = Scene::new(COUNTER, |config| {
        config["linux"]["resources"] =
            json!({"memory": {"limit": 16 * 1024 * 1024}, "pids": {"limit": 64}});
    }) else {
        return;
    };
    let scene = scene.running();
    scene.checkpoint("");
    scene.restore("");
    scene.counts_on();
    let pid = scene.pid();
    let memory = cgroups::value(pid, "memory", "memory.limit_in_bytes", "memory.max");
    assert_eq!(memory, (16 * 1024 * 1024).to_string());
    assert_eq!(cgroups::value(pid, "pids", "pids.max", "pids.max"), "64");
}
