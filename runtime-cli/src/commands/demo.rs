//! `demo`: a first container, of a root file system that holds this program and nothing else.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use libcontainer::spec::Spec;
use libcontainer::{Container, CreateOptions};
use serde_json::{Value, json};

use crate::args::{Arity, Verb};
use crate::call::{Call, print};
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "demo",
    about: "run a first container that shows what isolates it",
    operands: "",
    description: "Needs no bundle and no network: the root file system holds this program alone.\n\
                  Ordinary users get a user namespace. Nothing is left behind.",
    flags: &[],
    arity: Arity::Exactly(0),
    passes_rest: false,
    starts_process: true,
    joins_container: false,
    failure: 1,
    run,
};

fn run(_call: &Call<'_>) -> Result<u8> {
    let mut times = Times::default();
    let stage = Stage::named()?;
    let outcome = show(&stage, &mut times);
    let removed = times.take("remove the bundle", || stage.remove());
    outcome?;
    removed?;
    print(&times.table())?;
    Ok(0)
}

fn show(stage: &Stage, times: &mut Times) -> Result<()> {
    print(&format!(
        "Container {} of a root file system with one program: husk itself.\n",
        stage.id
    ))?;
    times.take("make a bundle", || stage.make())?;
    let rootless = !nix::unistd::geteuid().is_root();
    let (container, note) = create(stage, rootless, times)?;
    if let Some(note) = note {
        print(&format!("Without limits, which this machine refused: {note}\n"))?;
    }
    times.add_steps(container.trace());
    let ended = live(&container, times);
    let delete = || Container::force_delete(&stage.state(), &stage.id);
    for warning in times.take("delete", delete)? {
        print(&format!("warning: {warning}\n"))?;
    }
    ended
}

fn live(container: &Container, times: &mut Times) -> Result<()> {
    times.take("start", || container.start())?;
    let status = times.take("run until its end", || container.wait())?;
    anyhow::ensure!(
        status.code() == 0,
        "the program in the container ended with {}",
        status.code()
    );
    Ok(())
}

/// Limits are asked for, and given up where the machine has none: an ordinary user without a
/// delegated cgroup, a host without the controllers. Returns what was answered then.
fn create(stage: &Stage, rootless: bool, times: &mut Times) -> Result<(Container, Option<String>)> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let options = |limits: bool| -> Result<CreateOptions<'_>> {
        let mut options = stage.options(&stage.config(rootless, limits))?;
        options.stdio(stdin.as_fd(), stdout.as_fd(), stderr.as_fd());
        Ok(options)
    };
    let with_limits = options(!rootless)?;
    match times.take("create", || Container::create(&with_limits)) {
        Ok(container) => Ok((container, None)),
        Err(error) if !rootless => {
            let without = options(false)?;
            let container = times.take("create", || Container::create(&without))?;
            Ok((container, Some(error.to_string())))
        }
        Err(error) => Err(error.into()),
    }
}

/// The temporary directory of one demonstration.
struct Stage {
    id: String,
    directory: PathBuf,
}

const DIRECTORIES: [&str; 3] = ["dev", "proc", "sys"];

impl Stage {
    /// The name holds the process id and the time, so that demonstrations can run side by side,
    /// in several pid namespaces, too.
    fn named() -> Result<Self> {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.subsec_nanos();
        let id = format!("demo-{}-{time:08x}", std::process::id());
        Ok(Self { directory: std::env::temp_dir().join(format!("husk-{id}")), id })
    }

    fn make(&self) -> Result<()> {
        make_directory(&self.directory, 0o700)?;
        make_directory(&self.rootfs(), 0o755)?;
        for name in DIRECTORIES {
            make_directory(&self.rootfs().join(name), 0o755)?;
        }
        let program = self.program();
        fs::copy("/proc/self/exe", &program)
            .map_err(|error| text::tried(format_args!("copy to {}", program.display()), &error))?;
        Ok(())
    }

    fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    fn program(&self) -> PathBuf {
        self.rootfs().join("husk")
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    fn options<'fd>(&self, config: &Value) -> Result<CreateOptions<'fd>> {
        let spec =
            Spec::parse(config.to_string().as_bytes()).context("the demo's own config.json")?;
        let mut options = CreateOptions::new(self.state(), &self.id, &self.directory);
        options.spec(spec).trace(true);
        Ok(options)
    }

    fn config(&self, rootless: bool, limits: bool) -> Value {
        let mut config = config();
        config["process"]["env"] =
            json!([format!("HUSK_DEMO_HOST={}", super::inside::namespaces())]);
        if limits {
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.extend(limit_mounts());
            }
            config["linux"]["resources"] = json!({
                "memory": { "limit": MEMORY },
                "pids": { "limit": 16 },
                "cpu": { "quota": 50_000, "period": 100_000 },
            });
        }
        if rootless {
            let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
            let linux = &mut config["linux"];
            linux["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
            linux["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
            if let Some(namespaces) = linux["namespaces"].as_array_mut() {
                namespaces.push(json!({ "type": "user" }));
            }
        }
        config
    }

    /// Removes by name what was made, so that nothing else can be: a directory that something is
    /// still mounted on, or that holds more, is an error.
    fn remove(&self) -> Result<()> {
        let program = self.program();
        gone(fs::remove_file(&program))
            .map_err(|error| text::tried(format_args!("unlink {}", program.display()), &error))?;
        let inner = DIRECTORIES.iter().map(|name| self.rootfs().join(name));
        let outer = [self.rootfs(), self.state(), self.directory.clone()];
        for directory in inner.chain(outer) {
            gone(fs::remove_dir(&directory)).map_err(|error| {
                text::tried(format_args!("rmdir {}", directory.display()), &error)
            })?;
        }
        Ok(())
    }
}

/// What was never made need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Memory limit in bytes.
const MEMORY: u64 = 64 << 20;

fn config() -> Value {
    let bounded = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID"]);
    json!({
        "ociVersion": "1.3.0",
        "hostname": "husk-demo",
        "root": { "path": "rootfs", "readonly": true },
        "process": {
            "args": ["/husk", super::inside::VERB.name],
            "cwd": "/",
            "user": { "uid": 0, "gid": 0 },
            "noNewPrivileges": true,
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 64 }],
            "capabilities": {
                "bounding": bounded, "effective": bounded, "permitted": bounded,
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
                { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// Where the program inside reads its limits.
fn limit_mounts() -> [Value; 2] {
    let options = json!(["nosuid", "noexec", "nodev", "ro"]);
    [
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": options }),
        json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": options,
        }),
    ]
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .mode(mode)
        .create(path)
        .map_err(|error| text::tried(format_args!("mkdir {}", path.display()), &error))
}

/// How long each step took.
#[derive(Default)]
struct Times(Vec<(String, Duration)>);

impl Times {
    fn take<T>(&mut self, step: &'static str, act: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = act();
        self.0.push((step.to_owned(), begin.elapsed()));
        result
    }

    /// Steps of the container's process, those of one name together.
    fn add_steps(&mut self, trace: &[(&str, Duration)]) {
        let begin = self.0.len();
        for (name, time) in trace {
            let name = format!("  {}", words(name));
            let known = self.0.iter().skip(begin).position(|(step, _)| *step == name);
            match known.and_then(|at| self.0.get_mut(begin + at)) {
                Some((_, sum)) => *sum += *time,
                None => self.0.push((name, *time)),
            }
        }
    }

    fn table(&self) -> String {
        let line = |(step, time): &(String, Duration)| {
            format!("  {step:28}{:9.3} ms\n", time.as_secs_f64() * 1000.0)
        };
        ["Time of each step\n".to_owned()].into_iter().chain(self.0.iter().map(line)).collect()
    }
}

/// `PivotRoot` as two words.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
