//! `run`: create and start, and wait for the end unless detached.

use std::io;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use libcontainer::{Container, CreateOptions};

use super::create;
use crate::args::{Arity, Flag, Verb};
use crate::call::Call;
use crate::foreground::{Foreground, Signals, become_subreaper};
use crate::notify::Notify;
use crate::sockets::Sockets;
use crate::terminal::{Awaited, Relay};

pub(crate) const VERB: Verb = Verb {
    name: "run",
    about: "create and run a container",
    operands: "<container-id>",
    description: "Makes a container of the bundle and starts it. In the foreground, signals are\n\
                  passed on to it, keys and output go between its terminal and this one, its end\n\
                  deletes it, and its exit code is this command's (128 and the signal when a\n\
                  signal ended it). Detached, a terminal needs --console-socket.",
    flags: &[
        create::BUNDLE,
        create::CONFIG,
        create::CONSOLE_SOCKET,
        create::PIDFD_SOCKET,
        Flag::switch("detach", "d", "leave the container running and end"),
        Flag::switch("keep", "", "do not delete the container when it has ended"),
        create::PID_FILE,
        Flag::switch("no-subreaper", "", "do not become the reaper of orphans"),
        create::NO_PIVOT,
        create::NO_NEW_KEYRING,
        create::PRESERVE_FDS,
        create::HANDLERS,
    ],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: true,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    start(call).with_context(|| format!("{} run failed", call.program.name))
}

fn start(call: &Call<'_>) -> Result<u8> {
    let id = call.id()?;
    call.make_runtime_root()?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let mut options = create::options(call, id)?;
    let terminal = create::wants_terminal(options.load_spec()?);
    let detached = call.flags.is_on("detach");
    let sockets = Sockets::connect(call.flags, terminal, detached)?;
    let awaited = (terminal && !detached).then(Awaited::new).transpose()?;
    create::lend_sockets(&mut options, &sockets);
    if let Some(awaited) = &awaited {
        options.console(awaited.socket()).plain_newlines(true);
    }
    if !terminal {
        options.stdio(stdin.as_fd(), stdout.as_fd(), stderr.as_fd());
    }
    if detached {
        return detach(call, &options);
    }
    foreground(call, &options, awaited.as_ref())
}

fn detach(call: &Call<'_>, options: &CreateOptions<'_>) -> Result<u8> {
    let container = Container::create(options)?;
    call.warn_all(container.warnings());
    let (_, notify) = begin(call, &container, None)?;
    if let Some(notify) = notify {
        notify.await_ready(&container)?;
    }
    Ok(0)
}

fn foreground(
    call: &Call<'_>,
    options: &CreateOptions<'_>,
    awaited: Option<&Awaited>,
) -> Result<u8> {
    if !call.flags.is_on("no-subreaper") {
        become_subreaper()?;
    }
    let signals = Signals::block()?;
    let container = Container::create(options)?;
    call.warn_all(container.warnings());
    let (relay, notify) = begin(call, &container, awaited)?;
    call.log.flush();
    let code = wait(&signals, &container, relay, notify);
    if !call.flags.is_on("keep") {
        call.warn_all(&container.delete()?);
    }
    code
}

type Attended = (Option<Relay>, Option<Notify>);

/// Starts a container whose terminal is ready by then. Nothing stays of one that does not start.
fn begin(call: &Call<'_>, container: &Container, awaited: Option<&Awaited>) -> Result<Attended> {
    let begun = || -> Result<Attended> {
        let notify = Notify::listen(call, container)?;
        let relay = awaited.map(Awaited::attach).transpose()?;
        container.start()?;
        Ok((relay, notify))
    };
    begun().inspect_err(|_| give_up(call, container))
}

/// Deletes a container that cannot be attended.
pub(super) fn give_up(call: &Call<'_>, container: &Container) {
    let deleted = call.root().map(|root| Container::force_delete(&root, container.id()));
    match deleted {
        Ok(Ok(warnings)) => call.warn_all(&warnings),
        Ok(Err(left)) => call.log.warn(format!("{} stays: {left}", container.id())),
        Err(left) => call.log.warn(format!("{} stays: {left}", container.id())),
    }
}

/// The exit code of a container that may have ended already.
pub(super) fn wait(
    signals: &Signals,
    container: &Container,
    relay: Option<Relay>,
    notify: Option<Notify>,
) -> Result<u8> {
    if let (Ok(pidfd), Some(pid)) = (container.init_pidfd(), container.pid()) {
        let pidfd = pidfd.as_fd();
        Foreground { signals, target: container, pid, pidfd, relay, notify }.attend()?;
    }
    Ok(super::exit_code(container.wait()?))
}
