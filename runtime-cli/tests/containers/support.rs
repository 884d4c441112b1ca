//! A bundle, a state directory and an id for one test, and what they leave behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a test waits for anything: only reached when something hangs. In the emulated machine
/// PostgreSQL alone needs more than the minute and a half of others to make its files.
pub(crate) fn deadline() -> Duration {
    let emulated = std::env::var("HUSK_TEST_ENV").is_ok_and(|name| name == "vm");
    Duration::from_secs(if emulated { 540 } else { 90 })
}

/// The runtime under test.
pub(crate) fn runtime() -> PathBuf {
    std::env::var_os("HUSK_TEST_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_husk").into(), PathBuf::from)
}

/// A container that is deleted by force when the test ends.
pub(crate) struct Container {
    /// Everything of this test lies below.
    pub(crate) dir: TempDir,
    /// The id, unique on this machine.
    pub(crate) id: String,
    /// config.json as it will be written by the next command.
    pub(crate) config: Value,
}

/// How a command ended and what it printed.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The exit status; a signal counts as 128 and its number.
    pub(crate) fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// The command must have succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Outcome {
        assert!(
            self.status.success(),
            "status {}\nstdout: {}\nstderr: {}",
            self.code(),
            self.stdout,
            self.stderr
        );
        self
    }
}

impl Container {
    /// A container of busybox that runs a shell script.
    pub(crate) fn shell(script: &str) -> Container {
        let container = Container::new(&["/bin/sh", "-c", script]);
        let rootfs = container.path("rootfs");
        for directory in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "root"] {
            fs::create_dir_all(rootfs.join(directory)).expect("rootfs");
        }
        crate::programs::copy_program("/bin/busybox", rootfs.join("bin/busybox"));
        for applet in [
            "sh", "cat", "echo", "ls", "sleep", "true", "false", "id", "grep", "mount", "readlink",
            "stat", "touch", "mkdir", "kill", "env", "head", "tail", "wc", "mknod", "hostname",
            "find", "dd",
        ] {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).expect("applet");
        }
        container
    }

    /// A container of the Debian root file system, which is shared by all tests and read-only.
    pub(crate) fn debian(args: &[&str]) -> Container {
        let mut container = Container::new(args);
        container.config["root"] = json!({ "path": debian_rootfs(), "readonly": true });
        for directory in ["/tmp", "/run", "/var/log", "/var/lib/nginx", "/var/lib/redis"] {
            container.mount(json!({ "destination": directory, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"] }));
        }
        container
    }

    fn new(args: &[&str]) -> Container {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::Builder::new()
            .prefix("husk-t-")
            .tempdir_in("/var/tmp")
            .expect("temporary directory");
        let id = format!("t{}-{}x", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let capabilities = json!([
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FSETID",
            "CAP_FOWNER",
            "CAP_MKNOD",
            "CAP_SETGID",
            "CAP_SETUID",
            "CAP_SETFCAP",
            "CAP_SETPCAP",
            "CAP_NET_BIND_SERVICE",
            "CAP_SYS_CHROOT",
            "CAP_KILL",
            "CAP_AUDIT_WRITE"
        ]);
        let config = json!({
            "ociVersion": "1.2.0",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": args,
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", format!("HUSK_TEST_ID={id}")],
                "cwd": "/",
                "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
                "noNewPrivileges": true
            },
            "root": { "path": "rootfs", "readonly": false },
            "hostname": "husk-test",
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
                { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777"] },
                { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] }
            ],
            "linux": {
                "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
                "namespaces": [{ "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }],
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
            }
        });
        Container { dir, id, config }
    }

    /// Docker's default seccomp profile for this container.
    pub(crate) fn with_docker_seccomp(mut self) -> Container {
        let text = include_str!("../../../bench/docker-seccomp.json");
        self.config["linux"]["seccomp"] = serde_json::from_str(text).expect("the profile");
        self
    }

    /// One more mount.
    pub(crate) fn mount(&mut self, mount: Value) {
        self.config["mounts"].as_array_mut().expect("mounts").push(mount);
    }

    /// A path below the test's directory, which is also the bundle.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The runtime with its own `--root`, config.json written, standard streams away from the test's.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        fs::write(self.path("config.json"), serde_json::to_vec_pretty(&self.config).expect("json"))
            .expect("config.json");
        let mut command = Command::new(runtime());
        // A child of the runtime that has not executed its program yet is known by it.
        command.env("HUSK_TEST_ID", &self.id);
        command
            .arg("--root")
            .arg(self.path("state"))
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the runtime to its end.
    #[track_caller]
    pub(crate) fn call(&self, arguments: &[&str]) -> Outcome {
        finish(self.command(arguments))
    }

    /// `run` in the foreground.
    #[track_caller]
    pub(crate) fn run(&self) -> Outcome {
        self.call(&["run", &self.id])
    }

    /// `create` and `start`.
    #[track_caller]
    pub(crate) fn create_and_start(&self) {
        self.call(&["create", &self.id]).succeeded();
        self.call(&["start", &self.id]).succeeded();
    }

    /// `exec` of a shell command; the shell is bash in Debian and busybox's elsewhere.
    #[track_caller]
    pub(crate) fn exec(&self, script: &str) -> Outcome {
        let shell =
            if self.config["root"]["readonly"] == json!(true) { "/bin/bash" } else { "/bin/sh" };
        self.call(&["exec", &self.id, shell, "-c", script])
    }

    /// `state` as JSON.
    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.call(&["state", &self.id]).succeeded().stdout)
            .expect("state prints JSON")
    }

    /// Waits until the container has the status.
    #[track_caller]
    pub(crate) fn wait_for_status(&self, status: &str) {
        eventually(&format!("status {status}"), || self.state()["status"] == status);
    }

    /// Directories of this container's cgroups in each hierarchy.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for mount in cgroup_mounts() {
            collect_named(&mount, &self.id, &mut found);
        }
        found
    }

    /// The first line of a file in one of the container's cgroups.
    pub(crate) fn cgroup_file(&self, name: &str) -> Option<String> {
        self.cgroups().iter().find_map(|d| fs::read_to_string(d.join(name)).ok())
    }

    /// What is still there after the runtime said it is gone: state, cgroups, mounts, processes.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let mut left = Vec::new();
        if let Ok(entries) = fs::read_dir(self.path("state")) {
            for entry in entries.flatten() {
                // runc keeps its own lock or cache files; a directory would be a container.
                if entry.path().is_dir() {
                    left.push(format!("state directory {}", entry.path().display()));
                }
            }
        }
        left.extend(self.cgroups().iter().map(|d| format!("cgroup {}", d.display())));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = self.dir.path().to_string_lossy().into_owned();
        left.extend(mounts.lines().filter(|l| l.contains(&own)).map(|l| format!("mount {l}")));
        let mark = format!("HUSK_TEST_ID={}", self.id);
        for process in processes() {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            if environment.split(|b| *b == 0).any(|v| v == mark.as_bytes()) {
                left.push(format!("process {}", process.display()));
            }
        }
        left
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut command = self.command(&["delete", "--force", &self.id]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut child) = command.spawn() {
            wait_at_most(&mut child, deadline());
        }
    }
}

/// The Debian root file system, made on first use.
pub(crate) fn debian_rootfs() -> PathBuf {
    if let Some(path) = std::env::var_os("HUSK_TEST_ROOTFS") {
        return fs::canonicalize(path).expect("HUSK_TEST_ROOTFS");
    }
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rootfs/build");
    let output = Command::new(&build).stdin(Stdio::null()).output().expect("tests/rootfs/build");
    assert!(
        output.status.success(),
        "{}: {}",
        build.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("a path").trim().into()
}

/// Runs a command to its end, its output in files: a container that goes on may hold the streams.
#[track_caller]
pub(crate) fn finish(mut command: Command) -> Outcome {
    let scratch = tempfile::tempdir_in("/var/tmp").expect("temporary directory");
    let (out, err) = (scratch.path().join("out"), scratch.path().join("err"));
    command.stdout(File::create(&out).expect("out")).stderr(File::create(&err).expect("err"));
    let mut child = command.spawn().expect("the runtime starts");
    let status = wait_at_most(&mut child, deadline());
    let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let (stdout, stderr) = (read(&out), read(&err));
    let Some(status) = status else {
        panic!("{command:?} did not end\nstdout: {stdout}\nstderr: {stderr}");
    };
    Outcome { status, stdout, stderr }
}

/// Waits for a child; ends it at the deadline and answers `None`.
pub(crate) fn wait_at_most(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return Some(status);
        }
        if Instant::now() > end {
            child.kill().expect("kill");
            child.wait().expect("wait");
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Polls until a condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline();
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a cgroup controller can be used here, on v1 or v2.
pub(crate) fn has_controller(name: &str) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    mounts.lines().any(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[2] {
            "cgroup" => fields[3].split(',').any(|o| o == name),
            "cgroup2" => fs::read_to_string(Path::new(fields[1]).join("cgroup.controllers"))
                .is_ok_and(|c| c.split_whitespace().any(|c| c == name)),
            _ => false,
        }
    })
}

fn cgroup_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let fields = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    fields.filter(|f| f[2].starts_with("cgroup")).map(|f| f[1].into()).collect()
}

fn collect_named(directory: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            if entry.file_name().to_string_lossy().contains(name) {
                found.push(entry.path());
            } else {
                collect_named(&entry.path(), name, found);
            }
        }
    }
}

fn processes() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .map(|e| e.path())
        .filter(|p| {
            p.file_name().is_some_and(|n| n.to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        })
        .collect()
}
