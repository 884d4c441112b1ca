//! `exec`: a further process in a container.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;

use anyhow::{Context, Result, anyhow};
use libcontainer::spec::{Capabilities, ConsoleSize, Process};
use libcontainer::{Container, ExecOptions, ExecProcess};

use super::create;
use crate::args::{Arity, Flag, Verb};
use crate::call::Call;
use crate::foreground::{Foreground, Signals};
use crate::sockets::Sockets;
use crate::terminal::Awaited;
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "exec",
    about: "execute a further process in a container",
    operands: "<container-id> <command> [arguments...] | --process process.json <container-id>",
    description: "The process has the container's own user, environment, directory and rights, but\n\
                  for what the flags change, or is the one of --process alone. In the foreground\n\
                  its exit code is this command's, and --tty connects its terminal to this one;\n\
                  255 means that it could not be executed.",
    flags: &[
        create::CONSOLE_SOCKET,
        create::PIDFD_SOCKET,
        Flag::text("cwd", "", "working directory in the container"),
        Flag::list("env", "e", "variable NAME=value that is added to the environment"),
        Flag::switch("tty", "t", "give it a terminal"),
        Flag::text("user", "u", "user in the container, UID or UID:GID"),
        Flag::numbers("additional-gids", "g", "supplementary group that is added"),
        Flag::text("process", "p", "file with a process object of the specification").file(),
        Flag::switch("detach", "d", "leave the process running and end"),
        create::PID_FILE,
        Flag::text("process-label", "", "SELinux label"),
        Flag::text("apparmor", "", "AppArmor profile"),
        Flag::switch("no-new-privs", "", "let execve grant no privileges"),
        Flag::list("cap", "c", "capability that is added"),
        create::PRESERVE_FDS,
        Flag::list("cgroup", "", "[CONTROLLER,...:]PATH of a cgroup below the container's"),
        Flag::switch("ignore-paused", "", "also in a paused container, where it waits"),
    ],
    arity: Arity::AtLeast(1),
    passes_rest: true,
    starts_process: true,
    joins_container: true,
    failure: 255,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    exec(call).context("exec failed")
}

fn exec(call: &Call<'_>) -> Result<u8> {
    let container = call.container()?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let mut process = process(call, &container)?;
    let detached = call.flags.is_on("detach");
    let terminal = process.terminal;
    let sockets = Sockets::connect(call.flags, terminal, detached)?;
    let awaited = (terminal && !detached).then(Awaited::new).transpose()?;
    if let Some(size) = awaited.as_ref().and_then(Awaited::size) {
        process.console_size =
            Some(ConsoleSize { height: size.rows.into(), width: size.columns.into() });
    }
    let mut options = ExecOptions::new(process);
    lend_sockets(&mut options, &sockets);
    if let Some(awaited) = &awaited {
        options.console(awaited.socket()).plain_newlines(true);
    }
    if !terminal {
        options.stdio(stdin.as_fd(), stdout.as_fd(), stderr.as_fd());
    }
    options.preserve_fds(call.inherited.preserved).ignore_paused(call.flags.is_on("ignore-paused"));
    if let Some(path) = call.flags.text("pid-file") {
        options.pid_file(path);
    }
    for group in call.flags.list("cgroup") {
        options.cgroup(text::utf8(group, "--cgroup")?);
    }
    if detached {
        call.warn_all(container.exec(&options)?.warnings());
        return Ok(0);
    }
    let signals = Signals::block()?;
    let process = container.exec(&options)?;
    call.warn_all(process.warnings());
    call.log.flush();
    let relay = awaited.as_ref().map(Awaited::attach).transpose();
    let relay = relay.inspect_err(|_| end(&process))?;
    let (pid, pidfd) = (process.pid(), process.as_fd());
    Foreground { signals: &signals, target: &process, pid, pidfd, relay, notify: None }.attend()?;
    Ok(super::exit_code(process.wait()?))
}

/// Ends a process that nobody is going to attend to.
fn end(process: &ExecProcess) {
    if let Err(error) = process.kill(libc::SIGKILL).and_then(|()| process.wait()) {
        log::debug!("the process stays: {error}");
    }
}

fn lend_sockets<'fd>(options: &mut ExecOptions<'fd>, sockets: &'fd Sockets) {
    if let Some(socket) = sockets.console() {
        options.console(socket);
    }
    if let Some(socket) = sockets.pidfd() {
        options.pidfd_socket(socket);
    }
}

fn process(call: &Call<'_>, container: &Container) -> Result<Process> {
    if let Some(path) = call.flags.text("process") {
        let json = fs::read(path)
            .map_err(|error| text::tried(format_args!("open {}", path.display()), &error))?;
        let process = Process::parse(&json);
        return process.map_err(|error| anyhow!("{}: {error}", path.display()));
    }
    let mut process = container.process()?;
    process.terminal = call.flags.is_on("tty");
    process.args = strings(call.operands.iter().skip(1).copied(), "argument")?;
    change(&mut process, call)?;
    Ok(process)
}

/// What the flags ask for, added to the container's own process.
fn change(process: &mut Process, call: &Call<'_>) -> Result<()> {
    let flags = call.flags;
    if let Some(cwd) = flags.text("cwd") {
        process.cwd = text::utf8(cwd, "--cwd")?.to_owned();
    }
    if let Some(label) = flags.text("process-label") {
        process.selinux_label = text::utf8(label, "--process-label")?.to_owned();
    }
    if let Some(profile) = flags.text("apparmor") {
        process.apparmor_profile = text::utf8(profile, "--apparmor")?.to_owned();
    }
    if flags.given("no-new-privs").is_some() {
        process.no_new_privileges = flags.is_on("no-new-privs");
    }
    process.env.extend(strings(flags.list("env"), "--env")?);
    if let Some(user) = flags.text("user") {
        let user = text::user(user)?;
        process.user.uid = user.uid;
        process.user.gid = user.gid.unwrap_or(process.user.gid);
    }
    for group in flags.list("additional-gids") {
        let group = text::utf8(group, "--additional-gids")?;
        process.user.additional_gids.push(text::id(group, "gid")?);
    }
    let added = strings(flags.list("cap"), "--cap")?;
    if !added.is_empty() {
        add(process.capabilities.get_or_insert_default(), &added);
    }
    Ok(())
}

/// Ambient capabilities need inheritable ones: only where the container has such are they added.
fn add(sets: &mut Capabilities, added: &[String]) {
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.extend_from_slice(added);
    }
    if !sets.inheritable.is_empty() {
        sets.inheritable.extend_from_slice(added);
        sets.ambient.extend_from_slice(added);
    }
}

fn strings<'a>(words: impl Iterator<Item = &'a OsStr>, what: &str) -> Result<Vec<String>> {
    words.map(|word| text::utf8(word, what).map(str::to_owned)).collect()
}
