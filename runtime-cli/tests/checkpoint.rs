//! `checkpoint` and `restore` with a real CRIU.
//!
//! Where tests/criu/obtain could not get one that works with this kernel, the tests that need it say
//! so and end.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Bundle, Receiver, Told, cgroups, eventually, told};

/// Counts in a file, and tells on a signal that it lives.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.05; done";

/// In its other modes CRIU looks at all groups of the machine: it fails when one of another test is
/// removed meanwhile, and makes groups of their names below the restored container's.
const IGNORE: &str = "--manage-cgroups-mode ignore";

/// Directory of a CRIU that works here.
fn criu() -> Option<PathBuf> {
    let cache = std::env::var_os("HUSK_TEST_CACHE").unwrap_or("/var/tmp/husk-test".into());
    let directory = Path::new(&cache).join("criu/bin");
    let found = directory.join("criu").exists() && directory.join("../complete").exists();
    if !found {
        eprintln!("skipped: no criu: tests/criu/obtain gets one");
    }
    found.then_some(directory)
}

/// A bundle with the counter, and husk with a CRIU in its PATH.
struct Scene {
    bundle: Bundle,
    path: String,
}

impl Scene {
    fn new(script: &str, change: impl FnOnce(&mut Value)) -> Option<Self> {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", criu()?.display());
        let bundle = Bundle::with(&["sh", "-c", script], |config| {
            config["mounts"].as_array_mut().unwrap().push(json!({
                "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            }));
            change(config);
        });
        Some(Self { bundle, path })
    }

    fn counter() -> Option<Self> {
        Self::new(COUNTER, |_| {})
    }

    /// husk with the words of a line, its streams in files or /dev/null.
    fn line(&self, line: &str) -> Told {
        let words = line.split_whitespace();
        let words = words.map(|word| if word == "ID" { self.bundle.id() } else { word });
        told(&mut self.command(), words)
    }

    fn command(&self) -> Command {
        let mut command = self.bundle.command();
        command.env("PATH", &self.path);
        command
    }

    fn count(&self) -> u64 {
        eventually("a number", || {
            let text = fs::read_to_string(self.bundle.rootfs().join("count")).ok()?;
            text.trim().parse().ok()
        })
    }

    #[track_caller]
    fn counts_on(&self) {
        let before = self.count();
        eventually("the counter goes on", || (self.count() > before).then_some(()));
    }

    fn images(&self) -> PathBuf {
        self.bundle.path().join("images")
    }

    /// A counter that runs and has counted.
    #[track_caller]
    fn running(self) -> Self {
        self.run("");
        self
    }

    #[track_caller]
    fn run(&self, flags: &str) {
        self.silent(&format!("run -d {flags} ID")).code(0);
        self.counts_on();
    }

    /// A verb whose container has /dev/null for its streams, which CRIU finds again.
    fn silent(&self, line: &str) -> Told {
        let words = line.split_whitespace();
        let words = words.map(|word| if word == "ID" { self.bundle.id() } else { word });
        let log = self.bundle.path().join("log");
        let mut command = self.command();
        // Words of its own go to the log: the streams are the container's.
        command.args(["--log", log.to_str().unwrap()]).args(words);
        let null = || std::process::Stdio::null();
        let status = command.stdin(null()).stdout(null()).stderr(null()).status().unwrap();
        let err = fs::read_to_string(&log).unwrap_or_default();
        fs::remove_file(&log).unwrap_or_default();
        Told { code: status.code(), out: String::new(), err }
    }

    #[track_caller]
    fn checkpoint(&self, flags: &str) {
        self.line(&format!("checkpoint --image-path images {IGNORE} {flags} ID")).code(0);
    }

    #[track_caller]
    fn restore(&self, flags: &str) {
        self.silent(&format!("restore -d --image-path images {IGNORE} {flags} ID")).code(0);
        assert_eq!(self.bundle.state()["status"], "running");
    }

    fn pid(&self) -> u32 {
        u32::try_from(self.bundle.state()["pid"].as_u64().unwrap()).unwrap()
    }
}

#[test]
fn criu_takes_the_words_about_connections() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    let refused = scene.line("checkpoint --network-lock other ID");
    refused.fails(1, "invalid network lock method specified");
    let before = scene.count();
    scene.checkpoint("--tcp-established --network-lock skip");
    scene.restore("--tcp-close --network-lock skip");
    assert!(scene.count() >= before);
    scene.counts_on();
}

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
fn standard_streams_are_connected_anew() {
    let script = "while read line; do echo said $line; done; echo end >&2";
    let Some(scene) = Scene::new(script, |_| {}) else { return };
    let pipes = || {
        let (stdin, to) = std::io::pipe().unwrap();
        let (out, stdout) = std::io::pipe().unwrap();
        let (err, stderr) = std::io::pipe().unwrap();
        ((stdin, stdout, stderr), to, out, err)
    };
    let ((stdin, stdout, stderr), to, out, err) = pipes();
    let mut command = scene.command();
    command.args(["run", "-d", scene.bundle.id()]).stdin(stdin).stdout(stdout).stderr(stderr);
    assert!(command.status().unwrap().success());
    drop(command);
    scene.checkpoint("");
    drop((to, out, err));

    let ((stdin, stdout, stderr), mut to, out, err) = pipes();
    let mut command = scene.command();
    command.args(["restore", "-d", "--image-path", "images"]);
    command.args(["--manage-cgroups-mode", "ignore", scene.bundle.id()]);
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    assert!(command.status().unwrap().success());
    drop(command);
    std::io::Write::write_all(&mut to, b"hello\n").unwrap();
    drop(to);
    let read = |pipe| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut { pipe }, &mut text).unwrap();
        text
    };
    assert_eq!((read(out), read(err)), ("said hello\n".to_owned(), "end\n".to_owned()));
    scene.bundle.await_status("stopped");
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

impl Scene {
    fn bundle_runs(&self) {
        eventually("running", || {
            let told = self.line("state ID");
            told.out.contains("\"running\"").then_some(())
        });
    }
}

#[test]
fn a_terminal_comes_back() {
    let script = "while read line; do echo \"got $line\"; done";
    let Some(scene) = Scene::new(script, |config| config["process"]["terminal"] = json!(true))
    else {
        return;
    };
    let receiver = Receiver::at(scene.bundle.path().join("console"));
    let path = receiver.path().display().to_string();
    scene.line(&format!("run -d --console-socket {path} ID")).code(0);
    let (_, master) = receiver.received();
    scene.checkpoint("");
    drop(master);
    scene
        .line("restore -d --image-path images ID")
        .fails(1, "cannot allocate tty if runc will detach without setting console socket");
    scene
        .line(&format!("restore -d --image-path images {IGNORE} --console-socket {path} ID"))
        .code(0);
    let (_, master) = receiver.received();
    std::io::Write::write_all(&mut &master, b"hello\n").unwrap();
    let seen = eventually_read(&master, "got hello");
    assert!(seen.contains("got hello"), "{seen}");
}

fn eventually_read(master: &fs::File, wanted: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        let mut buffer = [0; 256];
        let length = std::io::Read::read(&mut &*master, &mut buffer).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    seen
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
fn a_network_by_path_is_joined_again() {
    let Some(scene) = Scene::counter() else { return };
    // Somebody else's network namespace, kept by a process of it.
    let mut holder = Command::new("unshare");
    let mut holder = holder.args(["-n", "sleep", "1000"]).spawn().unwrap();
    let path = format!("/proc/{}/ns/net", holder.id());
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let network = eventually("a namespace", || {
        fs::read_link(&path).ok().filter(|namespace| *namespace != own)
    });
    let mut config = scene.bundle.config(&["sh", "-c", COUNTER]);
    config["linux"]["namespaces"][1]["path"] = json!(path);
    scene.bundle.write(&config);
    let scene = scene.running();
    scene.checkpoint("");
    scene.restore("");
    scene.counts_on();
    let namespace = fs::read_link(format!("/proc/{}/ns/net", scene.pid())).unwrap();
    assert_eq!(namespace, network);
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_new_network_has_a_loopback_device() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    scene.checkpoint("--empty-ns network");
    scene.restore("--empty-ns network");
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(fs::read_link(format!("/proc/{}/ns/net", scene.pid())).unwrap(), own);
    let routes = fs::read_to_string(format!("/proc/{}/net/fib_trie", scene.pid())).unwrap();
    assert!(routes.contains("127.0.0.1"), "{routes}");
    scene.line("checkpoint --empty-ns ipc ID").fails(1, "namespace \\\"ipc\\\" is not supported");
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
