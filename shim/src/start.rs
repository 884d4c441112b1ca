//! Action `start`: has a shim serve the container, a new one or the one of its pod.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::NAME;
use crate::arguments::Arguments;
use crate::bootstrap::Bootstrap;
use crate::socket::{self, Socket};

/// Annotations that name the pod, the stronger first. The names are those of the runc shim.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// Where containerd 1.6 looks for the address after its own restart.
const ADDRESS_FILE: &str = "address";

const TTRPC_ADDRESS: &str = "TTRPC_ADDRESS";

/// What the shim asks of its C library, which reads it before any code of the shim runs: no free
/// memory is kept for a next use, neither of the heap nor of the stacks of ended threads. Most
/// shims are at rest most of the time.
const TUNABLES: &str = "glibc.malloc.tcache_count=0:glibc.pthread.stack_cache_size=0";
const TUNABLES_NAME: &str = "GLIBC_TUNABLES";

/// Largest oom_score_adj.
const HIGHEST_SCORE: i32 = 1000;

/// Starts the shim in the background, unless one serves the pod already, and tells its address.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let bootstrap = Bootstrap::read(arguments)?;
    let group = group(Path::new("config.json"))?.unwrap_or_else(|| arguments.id.clone());
    let path = socket::path(
        bootstrap.socket_directory.as_deref(),
        &arguments.address,
        &arguments.namespace,
        &group,
    );
    match socket::claim(&path)? {
        Socket::Taken => {}
        Socket::Bound(listener) => {
            if let Err(error) = serve(arguments, &bootstrap, listener) {
                socket::release(&path)?;
                return Err(error);
            }
        }
    }
    let address = socket::address(&path);
    write_address(&address)?;
    bootstrap.answer(&address)
}

/// The pod that a container belongs to.
fn group(config: &Path) -> Result<Option<String>> {
    let json = fs::read(config).with_context(|| format!("read {}", config.display()))?;
    let config: Value = serde_json::from_slice(&json).context("config.json is not JSON")?;
    let annotations = config.get("annotations");
    let of = |name: &str| annotations?.get(name)?.as_str().map(str::to_owned);
    Ok(GROUPS.into_iter().find_map(of))
}

/// The new shim gets the socket as its standard input. It has no other connection to containerd,
/// which waits until its ends of standard output and error are closed.
fn serve(arguments: &Arguments, bootstrap: &Bootstrap, listener: OwnedFd) -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(NAME)
        .args(["-namespace", &arguments.namespace, "-id", &arguments.id])
        .args(["-address", &arguments.address])
        .env(TUNABLES_NAME, tunables())
        .stdin(Stdio::from(listener))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(program) = &arguments.publish_binary {
        command.args(["-publish-binary", program]);
    }
    if arguments.debug {
        command.arg("-debug");
    }
    if let Some(address) = &bootstrap.ttrpc_address {
        command.env(TTRPC_ADDRESS, address);
    }
    let mut child = command.spawn().context("start the shim")?;
    let placed = place(child.id(), &bootstrap.options.shim_cgroup);
    if let Err(error) = placed {
        child.kill().context("end the shim again")?;
        return Err(error);
    }
    Ok(())
}

/// Beside those that the operator sets for all programs.
fn tunables() -> OsString {
    let mut tunables = std::env::var_os(TUNABLES_NAME).unwrap_or_default();
    if !tunables.is_empty() {
        tunables.push(":");
    }
    tunables.push(TUNABLES);
    tunables
}

fn place(pid: u32, cgroup: &str) -> Result<()> {
    if !cgroup.is_empty() {
        join_cgroup(pid, cgroup)?;
    }
    raise_oom_score(pid)
}

/// containerd is to outlive its shims when memory runs out.
fn raise_oom_score(pid: u32) -> Result<()> {
    let path = format!("/proc/{}/oom_score_adj", nix::unistd::getppid());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let score: i32 = text.trim().parse().with_context(|| format!("{path} holds no number"))?;
    let path = format!("/proc/{pid}/oom_score_adj");
    fs::write(&path, score.saturating_add(1).min(HIGHEST_SCORE).to_string())
        .with_context(|| format!("write {path}"))
}

/// Moves the shim into a group that exists: on v1 in each hierarchy that has it.
fn join_cgroup(pid: u32, cgroup: &str) -> Result<()> {
    let relative = cgroup.trim_start_matches('/');
    if relative.split('/').any(|part| part == "..") {
        bail!("shim cgroup {cgroup:?} leads out of the hierarchy");
    }
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    let points = cgroup_mounts(&mounts);
    let mut joined = false;
    for point in points {
        let path = Path::new(point).join(relative).join("cgroup.procs");
        match fs::write(&path, pid.to_string()) {
            Ok(()) => joined = true,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("join cgroup {}", path.display()));
            }
        }
    }
    if !joined {
        bail!("failed to join cgroup {cgroup}: no such file or directory");
    }
    Ok(())
}

/// Mount points of the hierarchies; of v1's alone where there are such.
fn cgroup_mounts(mounts: &str) -> Vec<&str> {
    let of = |kind: &str| -> Vec<&str> {
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        fields
            .filter(|field| field.get(2) == Some(&kind))
            .filter_map(|field| field.get(1).copied())
            .collect()
    };
    let first = of("cgroup");
    if first.is_empty() { of("cgroup2") } else { first }
}

fn write_address(address: &str) -> Result<()> {
    let temporary = format!(".{ADDRESS_FILE}");
    fs::write(&temporary, address)
        .and_then(|()| fs::rename(&temporary, ADDRESS_FILE))
        .context("write the file address")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group_of(annotations: &str) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, format!("{{\"annotations\": {annotations}}}")).unwrap();
        group(&path).unwrap()
    }

    #[test]
    fn the_group_is_that_of_the_annotations() {
        let sandbox = r#"{"io.kubernetes.cri.sandbox-id": "pod"}"#;
        assert_eq!(group_of(sandbox).as_deref(), Some("pod"));
        let both = r#"{"io.kubernetes.cri.sandbox-id": "a", "io.containerd.runc.v2.group": "b"}"#;
        assert_eq!(group_of(both).as_deref(), Some("b"));
        assert_eq!(group_of("{}"), None);
        assert_eq!(group_of("null"), None);
    }

    #[test]
    fn hierarchies_of_v1_come_first() {
        let hybrid = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n";
        assert_eq!(cgroup_mounts(hybrid), ["/sys/fs/cgroup/memory"]);
        assert_eq!(cgroup_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0"), ["/sys/fs/cgroup"]);
    }

    #[test]
    fn a_cgroup_outside_of_the_hierarchy_is_refused() {
        assert!(join_cgroup(0, "/a/../../etc").is_err());
    }
}
