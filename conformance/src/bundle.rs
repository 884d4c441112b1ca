//! Makes bundles: a root file system with the probe in it, and a config.json
//! that a case changes where it needs to.

use crate::case::{Stop, Verdict, ensure, failed};
use crate::container::{Container, Ran};
use crate::runtime::Answer;
use crate::scene::Scene;
use crate::{hook, probe};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Capabilities of the default process, in all of bounding, effective and
/// permitted.
pub(crate) const DEFAULT_CAPABILITIES: [&str; 9] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
];

/// A bundle in the making.
pub(crate) struct Bundle<'s> {
    pub(crate) scene: &'s Scene,
    pub(crate) directory: PathBuf,
    pub(crate) id: String,
    pub(crate) config: Value,
    pub(crate) options: Vec<String>,
}

impl<'s> Bundle<'s> {
    /// # Errors
    /// The directories cannot be made.
    pub(crate) fn new(scene: &'s Scene) -> Result<Bundle<'s>, Stop> {
        let id = format!("{}-{}", scene.mark, scene.number());
        let directory = scene.directory.join(&id);
        let root = directory.join("rootfs");
        fs::create_dir_all(&root)?;
        for name in ["dev", "proc", "sys", "tmp", "etc"] {
            fs::create_dir(root.join(name))?;
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        scene.place_probe(&root)?;
        let config = config(&id);
        Ok(Bundle { scene, directory, id, config, options: Vec::new() })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// Sets the value at a JSON pointer, making the objects above it.
    pub(crate) fn set(mut self, pointer: &str, value: Value) -> Self {
        let mut place = &mut self.config;
        for name in pointer.split('/').skip(1) {
            place = match name.parse::<usize>() {
                Ok(index) if place.is_array() => &mut place[index],
                _ => &mut place[name.replace("~1", "/").replace("~0", "~").as_str()],
            };
        }
        *place = value;
        self
    }

    pub(crate) fn remove(mut self, pointer: &str) -> Self {
        if let Some((above, name)) = pointer.rsplit_once('/')
            && let Some(Value::Object(object)) = self.config.pointer_mut(above)
        {
            object.remove(name);
        }
        self
    }

    /// Adds to the array at a JSON pointer, making it when it is not there.
    pub(crate) fn push(mut self, pointer: &str, value: Value) -> Self {
        match self.config.pointer_mut(pointer) {
            Some(Value::Array(items)) => items.push(value),
            _ => self = self.set(pointer, json!([value])),
        }
        self
    }

    /// What the probe does: an array of operations.
    pub(crate) fn operations(self, operations: Value) -> Self {
        self.set("/process/args", json!([probe::PATH, probe::PART, operations.to_string()]))
    }

    pub(crate) fn mount(
        self,
        destination: &str,
        kind: &str,
        source: &str,
        options: &[&str],
    ) -> Self {
        let mount = json!({
            "destination": destination, "type": kind, "source": source, "options": options,
        });
        self.push("/mounts", mount)
    }

    /// A new namespace, or the one at `path`; replaces one of the same type.
    pub(crate) fn namespace(self, kind: &str, path: Option<&str>) -> Self {
        let mut entry = json!({ "type": kind });
        if let Some(path) = path {
            entry["path"] = json!(path);
        }
        self.without_namespace(kind).push("/linux/namespaces", entry)
    }

    pub(crate) fn without_namespace(mut self, kind: &str) -> Self {
        if let Some(Value::Array(list)) = self.config.pointer_mut("/linux/namespaces") {
            list.retain(|entry| entry["type"] != kind);
        }
        self
    }

    /// A user namespace that maps the first 65536 ids to 100000 and up. The
    /// root file system is given to its root.
    ///
    /// # Errors
    /// The root file system cannot be given away.
    pub(crate) fn user_namespace(self) -> Result<Self, Stop> {
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        for name in ["", "dev", "proc", "sys", "tmp", "etc"] {
            std::os::unix::fs::chown(self.root().join(name), Some(100_000), Some(100_000))?;
        }
        Ok(self
            .namespace("user", None)
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map))
    }

    /// A hook that writes to `log` (a path as the hook sees it); `rest` is what
    /// it does then.
    pub(crate) fn hook(
        self,
        stage: &str,
        program: &Path,
        log: &Path,
        name: &str,
        rest: &[&str],
    ) -> Self {
        let mut args = vec!["hook".to_owned(), hook::PART.to_owned()];
        args.push(log.to_string_lossy().into_owned());
        args.push(name.to_owned());
        args.extend(rest.iter().map(|word| (*word).to_owned()));
        let pointer = format!("/hooks/{stage}");
        self.push(&pointer, json!({ "path": program, "args": args }))
    }

    /// A file in the root file system.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn file(self, path: &str, text: &str) -> Result<Self, Stop> {
        let path = self.root().join(path.trim_start_matches('/'));
        if let Some(above) = path.parent() {
            fs::create_dir_all(above)?;
        }
        fs::write(path, text)?;
        Ok(self)
    }

    /// A directory in the root file system.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn folder(self, path: &str) -> Result<Self, Stop> {
        fs::create_dir_all(self.root().join(path.trim_start_matches('/')))?;
        Ok(self)
    }

    /// A symbolic link in the root file system, in place of whatever is there.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn link(self, path: &str, target: &str) -> Result<Self, Stop> {
        let path = self.root().join(path.trim_start_matches('/'));
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir(&path)?;
        }
        std::os::unix::fs::symlink(target, path)?;
        Ok(self)
    }

    /// An option of the runtime's create or run command.
    pub(crate) fn option(mut self, words: &[&str]) -> Self {
        self.options.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// # Errors
    /// config.json cannot be written.
    pub(crate) fn write(&self) -> Verdict {
        Ok(fs::write(self.directory.join("config.json"), format!("{:#}", self.config))?)
    }

    /// Runs the container in the foreground to its end.
    ///
    /// # Errors
    /// Failed when the probe wrote nothing that can be read.
    pub(crate) fn run(self) -> Result<Ran, Stop> {
        let answer = self.attempt("run")?;
        let ran = Ran::new(answer);
        ensure!(
            !ran.lines.is_empty(),
            "run: the container's program did not report; exit code {}: {}",
            ran.answer.code,
            ran.answer.text().trim_end()
        );
        Ok(ran)
    }

    /// Runs the container and takes its report.
    ///
    /// # Errors
    /// As `run`.
    pub(crate) fn report(self) -> Result<Value, Stop> {
        self.operations(json!([["report"]])).run()?.value(0)
    }

    /// # Errors
    /// Failed when the runtime accepts the bundle, or when a container exists
    /// afterwards.
    pub(crate) fn refused(self) -> Result<Answer, Stop> {
        let scene = self.scene;
        let id = self.id.clone();
        let answer = self.attempt("create")?;
        if answer.succeeded() {
            scene.invoke(&["delete", "--force", &id])?;
            return failed("create: succeeded, wanted an error");
        }
        answer.expect_failure("create")?;
        ensure!(
            !scene.invoke(&["state", &id])?.succeeded(),
            "create failed, but the container exists"
        );
        Ok(answer)
    }

    /// As `refused`, but the error may also come from start: for what the
    /// runtime may do in either operation.
    ///
    /// # Errors
    /// Failed when both operations accept it.
    pub(crate) fn refused_by_run(self) -> Result<Answer, Stop> {
        let answer = self.attempt("run")?;
        answer.expect_failure("run")?;
        ensure!(
            Ran::new_lines(&answer).is_empty(),
            "run failed, but the program ran: {}",
            answer.stdout
        );
        Ok(answer)
    }

    /// # Errors
    /// Failed when create fails.
    pub(crate) fn create(self) -> Result<Container<'s>, Stop> {
        let (answer, container) = self.try_create()?;
        answer.expect_success("create")?;
        Ok(container)
    }

    /// Creates and starts.
    ///
    /// # Errors
    /// Failed when one of both fails.
    pub(crate) fn start(self) -> Result<Container<'s>, Stop> {
        let container = self.create()?;
        container.start()?;
        Ok(container)
    }

    /// # Errors
    /// The command cannot be started.
    pub(crate) fn try_create(self) -> Result<(Answer, Container<'s>), Stop> {
        let pid_file = self.directory.join("pid");
        let words = self.option(&["--pid-file", &pid_file.to_string_lossy()]);
        let (scene, id, directory) = (words.scene, words.id.clone(), words.directory.clone());
        let answer = words.attempt("create")?;
        let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
        let container = Container::new(scene, id, directory, pid, answer.succeeded());
        Ok((answer, container))
    }

    /// `create` or `run`, whatever comes of it. The container's output goes to
    /// the file `out` of the bundle.
    ///
    /// # Errors
    /// The command cannot be started.
    pub(crate) fn attempt(self, verb: &str) -> Result<Answer, Stop> {
        self.write()?;
        let log = self.directory.join("log");
        let mut words = vec![verb.to_owned(), "--bundle".to_owned()];
        words.push(self.directory.to_string_lossy().into_owned());
        words.extend(self.options.iter().cloned());
        words.push(self.id.clone());
        let command = self.scene.runtime.command(&log, &words);
        self.scene.runtime.finish(command, &log, &self.directory.join("out"))
    }
}

fn config(id: &str) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": [probe::PATH, probe::PART, r#"[["report"]]"#],
            "env": ["PATH=/"],
            "cwd": "/",
            "capabilities": {
                "bounding": DEFAULT_CAPABILITIES,
                "effective": DEFAULT_CAPABILITIES,
                "permitted": DEFAULT_CAPABILITIES,
            },
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            {
                "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "mode=755", "size=65536k"],
            },
        ],
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
            ],
        },
    })
}
