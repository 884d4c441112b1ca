//! Hands the seccomp listener to its agent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::Serialize;

use super::HookState;
use crate::error::{Error, ErrorKind, Result, kernel_words};
use crate::plan::PlannedListener;
use crate::sys::{pidfd, socket};

/// What the agent gets with the descriptor: `ContainerProcessState` of the specification.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a HookState<'a>,
}

/// Takes the listener with number `fd` out of a process and sends it to the agent.
pub(crate) fn hand_over(
    listener: &PlannedListener,
    process: BorrowedFd<'_>,
    pid: u32,
    fd: u32,
    state: &HookState<'_>,
) -> Result<()> {
    let words = |why: String| {
        let message =
            format!("failed to connect with seccomp agent specified in the seccomp profile: {why}");
        Error::new(ErrorKind::System, message).at("/linux/seccomp/listenerPath")
    };
    let descriptor: OwnedFd = i32::try_from(fd)
        .map_err(|_| words(format!("{fd} is no descriptor")))
        .and_then(|fd| pidfd::duplicate(process, fd).map_err(|errno| words(errno.to_string())))?;
    let agent = std::os::unix::net::UnixStream::connect(&listener.path)
        .map_err(|error| words(format!("connect {}: {}", listener.path, kernel_words(&error))))?;
    let state = ProcessState {
        oci_version: state.oci_version,
        fds: ["seccompFd"],
        pid,
        metadata: &listener.metadata,
        state,
    };
    let json = serde_json::to_vec(&state).map_err(|error| words(error.to_string()))?;
    socket::send(agent.as_fd(), &json, &[descriptor.as_fd()])
        .map_err(|errno| words(format!("send to {}: {errno}", listener.path)))
}
