//! A container to save, and a CRIU to do it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Bundle, Told, copy_program, criu, eventually, told};

/// Counts in a file, and tells on a signal that it lives.
pub(crate) const COUNTER: &str =
    "i=0; while :; do i=$((i+1)); printf '%08d\\n' $i 1<>/count; sleep 0.05; done";

/// In its other modes CRIU looks at all groups of the machine: it fails when one of another test is
/// removed meanwhile, and makes groups of their names below the restored container's.
pub(crate) const IGNORE: &str = "--manage-cgroups-mode ignore";

/// A bundle with the counter, and husk with a CRIU in its PATH.
pub(crate) struct Scene {
    pub(crate) bundle: Bundle,
    path: String,
}

impl Scene {
    pub(crate) fn new(script: &str, change: impl FnOnce(&mut Value)) -> Option<Self> {
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

    pub(crate) fn counter() -> Option<Self> {
        Self::new(COUNTER, |_| {})
    }

    /// husk with the words of a line, its streams in files or /dev/null.
    pub(crate) fn line(&self, line: &str) -> Told {
        told(&mut self.words(line), [""; 0])
    }

    /// husk with these words, not yet run.
    pub(crate) fn words(&self, line: &str) -> Command {
        let mut command = self.command();
        let words = line.split_whitespace();
        command.args(words.map(|word| if word == "ID" { self.bundle.id() } else { word }));
        command
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = self.bundle.command();
        command.env("PATH", &self.path);
        command
    }

    /// Copies a program of this machine and its libraries into the root file system.
    pub(crate) fn add_program(&self, name: &str) {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", name]).output().unwrap();
        let program = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
        let libraries = Command::new("ldd").arg(&program).output().unwrap();
        let libraries = String::from_utf8(libraries.stdout).unwrap();
        let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
        for path in paths.map(Path::new).chain([program.as_path()]) {
            let inside = match path == program {
                true => self.bundle.rootfs().join("bin").join(name),
                false => self.bundle.rootfs().join(path.strip_prefix("/").unwrap()),
            };
            fs::create_dir_all(inside.parent().unwrap()).unwrap();
            copy_program(path, inside);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        eventually("a number", || {
            let text = fs::read_to_string(self.bundle.rootfs().join("count")).ok()?;
            text.trim().parse().ok()
        })
    }

    #[track_caller]
    pub(crate) fn counts_on(&self) {
        let before = self.count();
        eventually("the counter goes on", || (self.count() > before).then_some(()));
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.bundle.path().join("images")
    }

    /// A counter that runs and has counted.
    #[track_caller]
    pub(crate) fn running(self) -> Self {
        self.run("");
        self
    }

    #[track_caller]
    pub(crate) fn run(&self, flags: &str) {
        self.silent(&format!("run -d {flags} ID")).code(0);
        self.counts_on();
    }

    /// A verb whose container has /dev/null for its streams, which CRIU finds again.
    pub(crate) fn silent(&self, line: &str) -> Told {
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
    pub(crate) fn checkpoint(&self, flags: &str) {
        self.line(&format!("checkpoint --image-path images {IGNORE} {flags} ID")).code(0);
    }

    #[track_caller]
    pub(crate) fn restore(&self, flags: &str) {
        self.silent(&format!("restore -d --image-path images {IGNORE} {flags} ID")).code(0);
        assert_eq!(self.bundle.state()["status"], "running");
    }

    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.bundle.state()["pid"].as_u64().unwrap()).unwrap()
    }

    pub(crate) fn bundle_runs(&self) {
        eventually("running", || {
            let told = self.line("state ID");
            told.out.contains("\"running\"").then_some(())
        });
    }
}

/// A network namespace of a test, kept by a process of it.
pub(crate) struct Network(Child);

impl Network {
    pub(crate) fn new() -> Self {
        let mut holder = Command::new("unshare");
        let script = "ip link set lo up && echo up && exec sleep 1000";
        holder.args(["-n", "sh", "-c", script]).stdout(Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        let mut word = [0; 2];
        holder.stdout.take().unwrap().read_exact(&mut word).unwrap();
        Self(holder)
    }

    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// A container in this network.
    pub(crate) fn scene(&self, script: &str) -> Option<Scene> {
        Scene::new(script, |config| {
            config["linux"]["namespaces"][1]["path"] = json!(self.path());
        })
    }

    /// The same command in this network.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net={}", self.path())).arg("--").arg(command.get_program());
        copy(command, &mut inside);
        inside
    }

    /// husk with the words of a line, and with the id.
    pub(crate) fn husk(&self, scene: &Scene, line: &str) -> Told {
        told(&mut self.enter(&scene.words(&format!("{line} {IGNORE} ID"))), [""; 0])
    }

    /// CRIU in one of its other modes.
    pub(crate) fn criu(&self, scene: &Scene, line: &str) -> Child {
        let mut command = Command::new("criu");
        command.args(line.split_whitespace()).env("PATH", &scene.path);
        let mut inside = self.enter(command.current_dir(scene.bundle.path()));
        let log = fs::File::create(scene.bundle.path().join("criu.log")).unwrap();
        inside.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        inside.spawn().unwrap()
    }

    fn run(&self, words: &[&str]) -> Command {
        let mut command = Command::new("busybox");
        self.enter(command.args(words))
    }

    /// Somebody who listens and writes down what it hears.
    pub(crate) fn listen(&self, heard: &Path) -> Child {
        let mut listener = self.run(&["nc", "-l", "-p", "7777"]);
        // It ends with its input.
        listener.stdin(Stdio::piped()).stdout(fs::File::create(heard).unwrap());
        let listener = listener.spawn().unwrap();
        self.await_listener();
        listener
    }

    pub(crate) fn connect(&self) -> Child {
        let mut client = self.run(&["nc", "127.0.0.1", "7777"]);
        client.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn await_listener(&self) {
        self.await_state("0A");
    }

    /// Waits for a socket in this state of the kernel's list.
    pub(crate) fn await_state(&self, state: &str) {
        eventually("a socket", || {
            let list = |name: &str| fs::read_to_string(format!("/proc/{}/net/{name}", self.0.id()));
            let list = list("tcp").unwrap() + &list("tcp6").unwrap_or_default();
            let mut states = list.lines().filter_map(|line| line.split_whitespace().nth(3));
            states.any(|found| found == state).then_some(())
        });
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Arguments, environment and directory of a command, for one that executes it.
pub(crate) fn copy(command: &Command, to: &mut Command) {
    to.args(command.get_args());
    to.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        to.current_dir(directory);
    }
}
