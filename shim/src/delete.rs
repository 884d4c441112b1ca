//! Action `delete`: removes what a shim that is gone left of a container, from the bundle alone.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use containerd_shim_protos::api::DeleteResponse;
use containerd_shim_protos::protobuf::Message;
use libcontainer::Container;

use crate::NAME;
use crate::arguments::Arguments;
use crate::place;
use crate::rootfs;
use crate::socket;
use crate::task::timestamp;

/// Exit status of what was killed.
const KILLED: u32 = 128 + libc::SIGKILL.cast_unsigned();

/// Ends and removes the container, and tells how it ended. What cannot be removed is told as a
/// warning: containerd removes the bundle whatever is left, and asks only once.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let bundle = bundle(arguments)?;
    if let Err(error) = remove_container(arguments, &bundle) {
        warn(&format!("failed to remove the container: {error:#}"));
    }
    if let Err(error) = rootfs::unmount(&bundle.join("rootfs")) {
        warn(&format!("failed to clean up the root file system: {error:#}"));
    }
    if let Ok(address) = fs::read_to_string(bundle.join("address"))
        && let Err(error) = socket::remove_stale(&address)
    {
        warn(&format!("{error:#}"));
    }
    let response = DeleteResponse {
        pid: pid(&bundle),
        exit_status: KILLED,
        exited_at: Some(timestamp(SystemTime::now())).into(),
        ..DeleteResponse::default()
    };
    std::io::stdout().write_all(&response.write_to_bytes()?).context("write the answer")
}

/// The working directory may be the bundle of another container of the pod.
fn bundle(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(bundle) = &arguments.bundle {
        return Ok(bundle.clone());
    }
    let working = std::env::current_dir().context("find the working directory")?;
    Ok(working.parent().unwrap_or(&working).join(&arguments.id))
}

fn remove_container(arguments: &Arguments, bundle: &Path) -> Result<()> {
    let root = place::runtime_root(&place::recall(bundle)?, &arguments.namespace);
    for warning in Container::force_delete(&root, &arguments.id)? {
        warn(&warning);
    }
    Ok(())
}

/// The pid of the container's process; 0 when it had none yet.
fn pid(bundle: &Path) -> u32 {
    let text = fs::read_to_string(bundle.join(place::PID_FILE)).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

fn warn(text: &str) {
    eprintln!("{NAME}: {text}");
}
