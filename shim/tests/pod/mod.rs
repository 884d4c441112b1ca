//! A pod of one container, as containerd has it: a bundle of busybox, a shim, and a server that
//! plays containerd's events service.
#![allow(dead_code, reason = "every test program uses a part of it")]

pub(crate) mod containerd;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci;
use containerd_shim_protos::ttrpc;
use containerd_shim_protos::ttrpc::context::{self, Context};
use containerd_shim_protos::{Client, TaskClient};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Only ends a test that hangs.
const DEADLINE: Duration = Duration::from_secs(120);

const APPLETS: &[&str] = &["cat", "echo", "false", "sh", "sleep", "tail", "touch", "true"];

/// Namespace of containerd.
pub(crate) const NAMESPACE: &str = "husk-test";

/// What a process of a container is, in the form of clients.
const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

/// Looks until there is something to see.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < DEADLINE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A bundle whose shim runs. When it is dropped, the container and the shim are ended.
pub(crate) struct Pod {
    directory: TempDir,
    id: String,
    address: String,
    task: TaskClient,
}

impl Pod {
    /// A bundle whose process executes `args`.
    pub(crate) fn new(args: &[&str]) -> Self {
        Self::with(args, |_| {})
    }

    /// A bundle with a changed configuration.
    pub(crate) fn with(args: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let id = format!("husk-shim-test-{}-{time:08x}-{count}", std::process::id());
        let directory =
            tempfile::Builder::new().prefix("husk-test-").tempdir_in("/var/tmp").unwrap();
        fill_rootfs(&directory.path().join("rootfs"));
        let mut config = config(args);
        change(&mut config);
        fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        let address = start(directory.path(), &id);
        let task = TaskClient::new(Client::connect(&address).unwrap());
        Self { directory, id, address, task }
    }

    /// The bundle's directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The container's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Where the shim looks for containerd.
    pub(crate) fn containerd(&self) -> PathBuf {
        containerd_of(self.path())
    }

    /// Path of the shim's socket.
    pub(crate) fn socket(&self) -> &Path {
        Path::new(self.address.trim_start_matches("unix://"))
    }

    /// The shim's service.
    pub(crate) fn task(&self) -> &TaskClient {
        &self.task
    }

    /// Creates the container.
    #[track_caller]
    pub(crate) fn create(&self) -> u32 {
        self.create_with(|_| {}).unwrap()
    }

    /// Creates the container with a changed request.
    pub(crate) fn create_with(
        &self,
        change: impl FnOnce(&mut api::CreateTaskRequest),
    ) -> ttrpc::Result<u32> {
        let root = self.path().join("state");
        let options =
            oci::Options { root: root.to_str().unwrap().to_owned(), ..oci::Options::default() };
        let options = Any {
            type_url: "containerd.runc.v1.Options".to_owned(),
            value: options.write_to_bytes().unwrap(),
            ..Any::default()
        };
        let mut request = api::CreateTaskRequest {
            id: self.id.clone(),
            bundle: self.path().to_str().unwrap().to_owned(),
            options: Some(options).into(),
            ..api::CreateTaskRequest::default()
        };
        change(&mut request);
        Ok(self.task.create(patience(), &request)?.pid)
    }

    /// Starts the container's process, or a further one.
    #[track_caller]
    pub(crate) fn start(&self, exec_id: &str) -> u32 {
        let (id, exec_id) = self.ids(exec_id);
        let request = api::StartRequest { id, exec_id, ..api::StartRequest::default() };
        self.task.start(patience(), &request).unwrap().pid
    }

    /// Adds a further process.
    #[track_caller]
    pub(crate) fn exec(&self, exec_id: &str, args: &[&str]) {
        self.exec_with(exec_id, args, |_| {}).unwrap();
    }

    /// Adds a further process with a changed request.
    pub(crate) fn exec_with(
        &self,
        exec_id: &str,
        args: &[&str],
        change: impl FnOnce(&mut api::ExecProcessRequest),
    ) -> ttrpc::Result<()> {
        let spec = json!({ "args": args, "cwd": "/", "env": ["PATH=/bin"] });
        let spec = Any {
            type_url: PROCESS.to_owned(),
            value: spec.to_string().into_bytes(),
            ..Any::default()
        };
        let (id, exec_id) = self.ids(exec_id);
        let spec = Some(spec).into();
        let mut request =
            api::ExecProcessRequest { id, exec_id, spec, ..api::ExecProcessRequest::default() };
        change(&mut request);
        self.task.exec(patience(), &request).map(drop)
    }

    /// Sends SIGKILL.
    #[track_caller]
    pub(crate) fn kill(&self, exec_id: &str) {
        let (id, exec_id) = self.ids(exec_id);
        let request = api::KillRequest { id, exec_id, signal: 9, ..api::KillRequest::default() };
        self.task.kill(patience(), &request).unwrap();
    }

    /// Waits for the end; the exit status.
    #[track_caller]
    pub(crate) fn wait(&self, exec_id: &str) -> u32 {
        let (id, exec_id) = self.ids(exec_id);
        let request = api::WaitRequest { id, exec_id, ..api::WaitRequest::default() };
        self.task.wait(patience(), &request).unwrap().exit_status
    }

    /// Deletes what has ended.
    #[track_caller]
    pub(crate) fn delete(&self, exec_id: &str) {
        let (id, exec_id) = self.ids(exec_id);
        let request = api::DeleteRequest { id, exec_id, ..api::DeleteRequest::default() };
        self.task.delete(patience(), &request).unwrap();
    }

    fn ids(&self, exec_id: &str) -> (String, String) {
        (self.id.clone(), exec_id.to_owned())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // A shim that ends waits for containerd to take its last events.
        let path = self.containerd();
        let _containerd =
            (!path.exists()).then(|| containerd::Containerd::start(&path, &Default::default()));
        let connect = api::ConnectRequest { id: self.id.clone(), ..Default::default() };
        let shim = self.task.connect(patience(), &connect).map(|answer| answer.shim_pid);
        let (id, now) = (self.id.clone(), true);
        // Errors: there may be no container any more, or the shim may have died.
        let kill = api::KillRequest { id: id.clone(), signal: 9, all: true, ..Default::default() };
        self.task.kill(patience(), &kill).ok();
        let wait = api::WaitRequest { id: id.clone(), ..Default::default() };
        self.task.wait(patience(), &wait).ok();
        let delete = api::DeleteRequest { id: id.clone(), ..Default::default() };
        self.task.delete(patience(), &delete).ok();
        let shutdown = api::ShutdownRequest { id, now, ..Default::default() };
        self.task.shutdown(patience(), &shutdown).ok();
        if let Ok(pid) = shim
            && !thread::panicking()
        {
            let process = PathBuf::from(format!("/proc/{pid}/exe"));
            eventually("the shim ends", || fs::read_link(&process).is_err().then_some(()));
        }
    }
}

/// The longest that a request may take.
pub(crate) fn patience() -> Context {
    context::with_duration(DEADLINE)
}

fn containerd_of(bundle: &Path) -> PathBuf {
    bundle.join("containerd.sock.ttrpc")
}

/// Runs the action `start`; the address of the shim.
fn start(bundle: &Path, id: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_containerd-shim-husk-v1"));
    command.current_dir(bundle).env("TTRPC_ADDRESS", containerd_of(bundle));
    command.args(["-namespace", NAMESPACE, "-id", id, "-address"]);
    command.arg(bundle.join("containerd.sock")).arg("start");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    let from = said.find("unix://").unwrap_or_else(|| panic!("no address: {output:?}"));
    let address = &said[from..];
    address[..address.find('"').unwrap_or(address.len())].trim().to_owned()
}

fn fill_rootfs(rootfs: &Path) {
    let bin = rootfs.join("bin");
    fs::create_dir_all(&bin).unwrap();
    for name in ["dev", "proc", "tmp"] {
        fs::create_dir(rootfs.join(name)).unwrap();
    }
    // By another process: a child that is forked meanwhile would hold the file open for writing.
    let copied = Command::new("cp").args(["/bin/busybox".as_ref(), bin.as_path()]).status();
    assert!(copied.unwrap().success());
    for applet in APPLETS {
        symlink("busybox", bin.join(applet)).unwrap();
    }
}

fn config(args: &[&str]) -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": {
            "args": args,
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": { "uid": 0, "gid": 0 },
        },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "mount" },
            ],
        },
    })
}
