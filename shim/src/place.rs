//! Where the container of a bundle is recorded: what `delete` has to know after a crash.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::options::Options;

/// Where the runc shim keeps its containers, too.
const DEFAULT_ROOT: &str = "/run/containerd/runc";

/// Name that the runc shim uses, too, with the same form.
const FILE: &str = "options.json";

/// File with the pid of the container's process.
pub(crate) const PID_FILE: &str = "init.pid";

/// Directory of the states of a namespace's containers.
pub(crate) fn runtime_root(root: &str, namespace: &str) -> PathBuf {
    let root = if root.is_empty() { DEFAULT_ROOT } else { root };
    Path::new(root).join(namespace)
}

/// Makes the directory.
pub(crate) fn make_runtime_root(root: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(root)
        .with_context(|| format!("mkdir {}", root.display()))
}

/// Remembers in the bundle where its container is recorded.
pub(crate) fn remember(bundle: &Path, options: &Options) -> Result<()> {
    let json = json!({ "root": options.root, "systemd_cgroup": options.systemd_cgroup });
    let path = bundle.join(FILE);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(json.to_string().as_bytes()));
    written.with_context(|| format!("write {}", path.display()))
}

/// The root that was remembered; empty where there is none.
pub(crate) fn recall(bundle: &Path) -> Result<String> {
    let path = bundle.join(FILE);
    let json = match fs::read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let value: Value =
        serde_json::from_slice(&json).with_context(|| format!("{} is not JSON", path.display()))?;
    Ok(value.get("root").and_then(Value::as_str).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_found_again() {
        let bundle = tempfile::tempdir().unwrap();
        assert_eq!(recall(bundle.path()).unwrap(), "");
        let options = Options { root: "/run/elsewhere".into(), ..Options::default() };
        remember(bundle.path(), &options).unwrap();
        assert_eq!(recall(bundle.path()).unwrap(), "/run/elsewhere");
        assert_eq!(runtime_root("", "k8s.io"), Path::new("/run/containerd/runc/k8s.io"));
    }
}
