//! Pods of a shim that serves busybox containers, with everything of theirs in one directory.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use containerd_shim_protos::api::{self, CreateTaskRequest, DeleteResponse, WaitResponse};
use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
use containerd_shim_protos::shim::oci;
use containerd_shim_protos::shim_sync::{Client, TaskClient};
use containerd_shim_protos::ttrpc;
use containerd_shim_protos::ttrpc::context::{Context, with_duration};
use containerd_shim_protos::types::task::Status;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::containerd::Containerd;

pub(crate) const NAMESPACE: &str = "husk-test";

/// Only ends a test that hangs.
const DEADLINE: Duration = Duration::from_secs(90);

const APPLETS: &[&str] =
    &["cat", "echo", "false", "kill", "sh", "sleep", "stty", "tail", "touch", "true"];

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

/// The program under test; `HUSK_TEST_SHIM` names another build of it.
pub(crate) fn program() -> Command {
    let named = std::env::var_os("HUSK_TEST_SHIM");
    let mut command =
        Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_containerd-shim-husk-v1").into()));
    let cache = std::env::var("HUSK_TEST_CACHE").unwrap_or("/var/tmp/husk-test".to_owned());
    // criu looks for iptables.
    let path = format!("{cache}/criu/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env_clear().env("PATH", path).stdin(Stdio::null());
    command
}

/// Runs a command with this input.
pub(crate) fn output(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    child.stdin.take().unwrap().write_all(input).expect("input");
    child.wait_with_output().expect("output")
}

/// A request that is given up when a test hangs.
pub(crate) fn context() -> Context {
    with_duration(DEADLINE)
}

/// Directories, a shim and a client of it. When it is dropped, all that is left is removed.
pub(crate) struct Pod {
    directory: TempDir,
    name: String,
    bundles: Mutex<Vec<String>>,
    address: Mutex<Option<String>>,
    containerd: Containerd,
}

impl Pod {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::Builder::new().prefix("hs-").tempdir_in("/var/tmp").unwrap();
        // A pid is unique in its namespace only, and tests run in several at a time.
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let name = format!("husk-shim-{}-{time:08x}-{count}", std::process::id());
        let containerd = Containerd::new(&directory.path().join("e"));
        containerd.comes();
        Self { directory, name, bundles: Mutex::default(), address: Mutex::default(), containerd }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn containerd(&self) -> &Containerd {
        &self.containerd
    }

    /// The id of the pod's container `short`.
    pub(crate) fn id(&self, short: &str) -> String {
        format!("{}-{short}", self.name)
    }

    pub(crate) fn bundle(&self, short: &str) -> PathBuf {
        self.path().join(self.id(short))
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state").join(NAMESPACE)
    }

    /// Writes a bundle whose process executes a shell script.
    pub(crate) fn write_bundle(&self, short: &str, script: &str, change: impl FnOnce(&mut Value)) {
        let bundle = self.bundle(short);
        let rootfs = bundle.join("rootfs");
        fs::create_dir_all(rootfs.join("bin")).unwrap();
        for name in ["dev", "proc", "tmp"] {
            fs::create_dir(rootfs.join(name)).unwrap();
        }
        let busybox = rootfs.join("bin/busybox");
        // By another process: the file is not to be open for writing in a child of this one.
        let status = Command::new("cp").arg("/bin/busybox").arg(&busybox).status().unwrap();
        assert!(status.success());
        for applet in APPLETS {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        let mut config = json!({
            "ociVersion": "1.2.0",
            "root": { "path": "rootfs" },
            "annotations": { "io.kubernetes.cri.sandbox-id": self.name },
            "process": process(script),
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            ],
            "linux": {
                "namespaces": [
                    { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                    { "type": "uts" }, { "type": "mount" },
                ],
            },
        });
        change(&mut config);
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        self.bundles.lock().unwrap().push(short.to_owned());
    }

    /// The shim's command for a bundle, as containerd 2.3 starts it.
    pub(crate) fn command(&self, short: &str, action: &str) -> Command {
        let mut command = program();
        command
            .args(["-namespace", NAMESPACE, "-id", &self.id(short), "-address"])
            .arg(self.path().join("c"))
            .args(["-publish-binary", "/nonexistent"])
            .current_dir(self.bundle(short));
        if action == "delete" {
            command.arg("-bundle").arg(self.bundle(short));
        }
        command.arg(action);
        command
    }

    pub(crate) fn parameters(&self, short: &str) -> BootstrapParams {
        BootstrapParams {
            instance_id: self.id(short),
            namespace: NAMESPACE.to_owned(),
            containerd_ttrpc_address: format!("{}/e", self.path().display()),
            socket_dir: Some(self.path().join("s").display().to_string()),
            ..BootstrapParams::default()
        }
    }

    /// Starts the shim for a bundle, and tells its address.
    pub(crate) fn start_shim(&self, short: &str) -> String {
        self.start_shim_in(short, &[])
    }

    /// With these further variables of the environment.
    pub(crate) fn start_shim_in(&self, short: &str, variables: &[(&str, &str)]) -> String {
        let input = self.parameters(short).write_to_bytes().unwrap();
        let mut command = self.command(short, "start");
        let output = output(command.envs(variables.iter().copied()), &input);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        let result = BootstrapResult::parse_from_bytes(&output.stdout).unwrap();
        assert_eq!((result.version, result.protocol.as_str()), (3, "ttrpc"), "{told}");
        *self.address.lock().unwrap() = Some(result.address.clone());
        result.address
    }

    pub(crate) fn client(&self) -> TaskClient {
        TaskClient::new(self.connect())
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address()).expect("the shim listens")
    }

    /// The shim's address.
    pub(crate) fn address(&self) -> String {
        self.address.lock().unwrap().clone().expect("the shim was started")
    }

    pub(crate) fn shim_pid(&self) -> u32 {
        self.client().connect(context(), &api::ConnectRequest::new()).unwrap().shim_pid
    }

    pub(crate) fn options(&self) -> Any {
        let root = self.path().join("state").display().to_string();
        let options = oci::Options { root, ..oci::Options::default() };
        Any {
            type_url: "containerd.runc.v1.Options".to_owned(),
            value: options.write_to_bytes().unwrap(),
            ..Any::default()
        }
    }

    /// What containerd asks for to create a container whose output goes to the file `out`.
    pub(crate) fn create_request(&self, short: &str) -> CreateTaskRequest {
        let out = format!("file://{}", self.bundle(short).join("out").display());
        CreateTaskRequest {
            id: self.id(short),
            bundle: self.bundle(short).display().to_string(),
            stdout: out,
            options: Some(self.options()).into(),
            ..CreateTaskRequest::default()
        }
    }

    pub(crate) fn create(&self, short: &str) -> u32 {
        let request = self.create_request(short);
        self.client().create(context(), &request).expect("create").pid
    }

    pub(crate) fn start(&self, short: &str, exec: &str) -> u32 {
        self.try_start(short, exec).expect("start")
    }

    pub(crate) fn try_start(&self, short: &str, exec: &str) -> ttrpc::Result<u32> {
        let request = api::StartRequest {
            id: self.id(short),
            exec_id: exec.to_owned(),
            ..Default::default()
        };
        Ok(self.client().start(context(), &request)?.pid)
    }

    pub(crate) fn exec(&self, short: &str, exec: &str, script: &str) -> ttrpc::Result<Empty> {
        let spec = Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
            value: process(script).to_string().into_bytes(),
            ..Any::default()
        };
        let request = api::ExecProcessRequest {
            id: self.id(short),
            exec_id: exec.to_owned(),
            stdout: format!("file://{}", self.bundle(short).join(exec).display()),
            spec: Some(spec).into(),
            ..Default::default()
        };
        self.client().exec(context(), &request)
    }

    pub(crate) fn status(&self, short: &str, exec: &str) -> Status {
        self.try_state(short, exec).expect("state").status.enum_value().unwrap()
    }

    pub(crate) fn try_state(&self, short: &str, exec: &str) -> ttrpc::Result<api::StateResponse> {
        let request = api::StateRequest {
            id: self.id(short),
            exec_id: exec.to_owned(),
            ..Default::default()
        };
        self.client().state(context(), &request)
    }

    pub(crate) fn kill(&self, short: &str, exec: &str, signal: i32) -> ttrpc::Result<Empty> {
        let request = api::KillRequest {
            id: self.id(short),
            exec_id: exec.to_owned(),
            signal: signal.cast_unsigned(),
            ..Default::default()
        };
        self.client().kill(context(), &request)
    }

    pub(crate) fn wait(&self, short: &str, exec: &str) -> WaitResponse {
        let request =
            api::WaitRequest { id: self.id(short), exec_id: exec.to_owned(), ..Default::default() };
        self.client().wait(context(), &request).expect("wait")
    }

    pub(crate) fn delete(&self, short: &str, exec: &str) -> ttrpc::Result<DeleteResponse> {
        let request = api::DeleteRequest {
            id: self.id(short),
            exec_id: exec.to_owned(),
            ..Default::default()
        };
        self.client().delete(context(), &request)
    }

    /// Everything from the bundle to the running container.
    pub(crate) fn run(&self, short: &str, script: &str) -> u32 {
        self.write_bundle(short, script, |_| {});
        self.start_shim(short);
        let pid = self.create(short);
        assert_eq!(self.start(short, ""), pid);
        pid
    }

    /// Kills a container and removes it.
    pub(crate) fn finish(&self, short: &str) -> DeleteResponse {
        self.kill(short, "", libc::SIGKILL).expect("kill");
        self.wait(short, "");
        self.delete(short, "").expect("delete")
    }

    /// Asks the shim to end.
    pub(crate) fn shut_down(&self) {
        let pid = self.shim_pid();
        // The answer may be lost with the shim.
        drop(self.client().shutdown(context(), &api::ShutdownRequest::new()));
        eventually("the shim ends", || ended(pid).then_some(()));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let shims = processes(&self.name, "-address");
        for pid in &shims {
            kill(*pid);
        }
        for short in self.bundles.get_mut().unwrap().clone() {
            let output = output(&mut self.command(&short, "delete"), b"");
            assert!(output.status.success() || thread::panicking(), "{output:?}");
        }
        self.containerd.goes();
        if !thread::panicking() {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            let directory = self.path().display().to_string();
            assert!(!mounts.contains(&directory), "a mount is left: {mounts}");
            let left: Vec<_> = fs::read_dir(self.state()).into_iter().flatten().flatten().collect();
            assert!(left.is_empty(), "left: {left:?}");
        }
    }
}

/// The process object that executes a shell script.
pub(crate) fn process(script: &str) -> Value {
    json!({
        "args": ["sh", "-c", script],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": { "uid": 0, "gid": 0 },
        "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] },
    })
}

/// Processes whose command line has both words.
pub(crate) fn processes(first: &str, second: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains(first) && line.contains(second) && pid != std::process::id() {
            found.push(pid);
        }
    }
    found
}

/// The pid of a pod's only shim. A program that is being executed has no command line for a moment.
#[track_caller]
pub(crate) fn one_shim(pod: &Pod) -> u32 {
    eventually("there is one shim", || match processes(&pod.id(""), "-address")[..] {
        [pid] => Some(pid),
        _ => None,
    })
}

/// Whether a process is gone, or only waits for its parent.
pub(crate) fn ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with('Z'))
}

pub(crate) fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    match nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(errno) => panic!("kill {pid}: {errno}"),
    }
}

/// The code and the words of a refusal.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: ttrpc::Result<T>) -> (ttrpc::Code, String) {
    match result {
        Err(ttrpc::Error::RpcStatus(status)) => (status.code.enum_value().unwrap(), status.message),
        other => panic!("not refused: {other:?}"),
    }
}
