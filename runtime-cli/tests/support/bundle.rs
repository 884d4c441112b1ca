//! Bundles of busybox, each with its own state directory and an id of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Told, husk_in, leftovers, scratch, told, told_in};

const BUSYBOX: &str = "/bin/busybox";

const APPLETS: &[&str] = &[
    "cat", "echo", "env", "false", "grep", "id", "kill", "ls", "mkdir", "ps", "pwd", "readlink",
    "sh", "sleep", "stat", "touch", "true",
];

/// A bundle in a temporary directory. When it is dropped its container is deleted, and the test
/// fails if something of it is left.
pub(crate) struct Bundle {
    directory: TempDir,
    id: String,
}

impl Bundle {
    /// A bundle whose process executes `args`.
    pub(crate) fn new(args: &[&str]) -> Self {
        Self::with(args, |_| {})
    }

    /// A bundle whose process executes a shell script.
    pub(crate) fn script(script: &str) -> Self {
        Self::new(&["sh", "-c", script])
    }

    /// A bundle with a changed configuration.
    pub(crate) fn with(args: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = scratch();
        // A pid is unique in its namespace only, and tests run in several at a time.
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let id = format!("husk-test-{}-{time:08x}-{count}", std::process::id());
        let bundle = Self { directory, id };
        bundle.fill_rootfs();
        let mut config = bundle.config(args);
        change(&mut config);
        bundle.write(&config);
        bundle
    }

    fn fill_rootfs(&self) {
        let bin = self.rootfs().join("bin");
        fs::create_dir_all(&bin).unwrap();
        for name in ["dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir(self.rootfs().join(name)).unwrap();
        }
        super::copy_program(BUSYBOX, bin.join("busybox"));
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
    }

    /// The configuration that tests start from.
    pub(crate) fn config(&self, args: &[&str]) -> Value {
        json!({
            "ociVersion": "1.3.0",
            "root": { "path": "rootfs" },
            "hostname": "husk-test",
            "process": {
                "args": args,
                "cwd": "/",
                "env": ["PATH=/bin", format!("HUSK_TEST_ID={}", self.id)],
                "user": { "uid": 0, "gid": 0 },
                "capabilities": {
                    "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
                },
            },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                {
                    "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                    "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
                },
            ],
            "linux": {
                "namespaces": [
                    { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                    { "type": "uts" }, { "type": "mount" },
                ],
            },
        })
    }

    /// Writes config.json.
    pub(crate) fn write(&self, config: &Value) {
        fs::write(self.path().join("config.json"), config.to_string()).unwrap();
    }

    /// The bundle's directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The root file system.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// The container's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// husk in the bundle's directory, with its state directory.
    pub(crate) fn command(&self) -> Command {
        let mut command = husk_in(self.path());
        command.current_dir(self.path());
        command
    }

    /// Runs `husk VERB FLAGS ID ARGUMENTS`; an argument `ID` stands for the id.
    pub(crate) fn husk<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Told {
        told(&mut self.command(), arguments.into_iter().map(|word| self.word(word.as_ref())))
    }

    fn word(&self, word: &OsStr) -> std::ffi::OsString {
        if word == "ID" { self.id.clone().into() } else { word.into() }
    }

    /// As [`Bundle::husk`], with the words of a line.
    pub(crate) fn line(&self, line: &str) -> Told {
        self.husk(line.split_whitespace())
    }

    /// As [`Bundle::line`]; what processes that are left behind write is kept for
    /// [`Bundle::output`].
    pub(crate) fn detached(&self, line: &str) -> Told {
        let mut command = self.command();
        command.args(line.split_whitespace().map(|word| self.word(word.as_ref())));
        told_in(&mut command, &self.path().join("out"), &self.path().join("err"))
    }

    /// What the processes of a detached verb have written since.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.path().join("out")).unwrap_or_default()
    }

    /// The state as `state` prints it.
    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        let told = self.line("state ID").code(0);
        serde_json::from_str(&told.out).unwrap()
    }

    /// Looks until the container has a status.
    #[track_caller]
    pub(crate) fn await_status(&self, status: &str) -> Value {
        super::eventually(status, || Some(self.state()).filter(|state| state["status"] == status))
    }

    /// Fails the test if anything of the container is left.
    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        leftovers::assert_none(self.path(), &self.id);
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let deleted = self.line("delete --force ID");
        if !std::thread::panicking() {
            assert_eq!(deleted.code, Some(0), "{deleted:?}");
            self.assert_gone();
        }
    }
}
