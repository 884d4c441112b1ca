//! `restore`: makes a running container of the images that `checkpoint` has written.

use std::io;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use libcontainer::{Container, RestoreOptions};

use super::checkpoint::{
    AUTO_DEDUP, EMPTY_NS, EXT_UNIX_SK, FILE_LOCKS, IMAGE_PATH, LAZY_PAGES, MANAGE_CGROUPS_MODE,
    NETWORK_LOCK, SHELL_JOB, TCP_ESTABLISHED, WORK_PATH, check_empty_namespaces, image_path,
    manage_cgroups, network_lock, warn_without_root,
};
use super::{create, run};
use crate::args::{Arity, Flag, Verb};
use crate::call::Call;
use crate::foreground::{Signals, become_subreaper};
use crate::sockets::Sockets;
use crate::terminal::Awaited;

pub(crate) const VERB: Verb = Verb {
    name: "restore",
    about: "restore a container that was saved",
    operands: "<container-id>",
    description: "Makes a container of the bundle and of a directory of images that checkpoint has\n\
                  written. It runs then, in the foreground or detached, as after run. What the images\n\
                  say is not trusted: links among them are refused.",
    flags: &[
        create::CONSOLE_SOCKET,
        IMAGE_PATH,
        WORK_PATH,
        TCP_ESTABLISHED,
        Flag::switch("tcp-close", "", "make the TCP connections of the images closed ones"),
        NETWORK_LOCK,
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        MANAGE_CGROUPS_MODE,
        create::BUNDLE,
        Flag::switch("detach", "d", "leave the container running and end"),
        create::PID_FILE,
        Flag::switch("no-subreaper", "", "do not become the reaper of orphans"),
        create::NO_PIVOT,
        EMPTY_NS,
        AUTO_DEDUP,
        LAZY_PAGES,
        Flag::text("lsm-profile", "", "label of a security module for the processes, TYPE:NAME"),
        Flag::text("lsm-mount-context", "", "label of a security module for the mounts"),
    ],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: true,
    joins_container: false,
    failure: 1,
    run: restore,
};

fn restore(call: &Call<'_>) -> Result<u8> {
    start(call).with_context(|| format!("{} restore failed", call.program.name))
}

fn start(call: &Call<'_>) -> Result<u8> {
    warn_without_root(call);
    let id = call.id()?;
    call.make_runtime_root()?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let mut created = create::options(call, id)?;
    let terminal = create::wants_terminal(created.load_spec()?);
    let detached = call.flags.is_on("detach");
    let sockets = Sockets::connect(call.flags, terminal, detached)?;
    let awaited = (terminal && !detached).then(Awaited::new).transpose()?;
    create::lend_sockets(&mut created, &sockets);
    if let Some(awaited) = &awaited {
        created.console(awaited.socket());
    }
    if !terminal {
        created.stdio(stdin.as_fd(), stdout.as_fd(), stderr.as_fd());
    }
    let mut options = RestoreOptions::new(created, image_path(call));
    choose(call, &mut options)?;
    if detached {
        let container = Container::restore(&options)?;
        call.warn_all(container.warnings());
        return Ok(0);
    }
    foreground(call, &options, awaited.as_ref())
}

fn choose(call: &Call<'_>, options: &mut RestoreOptions<'_>) -> Result<()> {
    let flags = call.flags;
    check_empty_namespaces(call)?;
    if let Some(work) = flags.text("work-path") {
        options.work(work);
    }
    if let Some(criu) = call.globals.text("criu") {
        options.criu(criu);
    }
    for (name, set) in [
        ("lsm-profile", RestoreOptions::lsm_profile as fn(&mut _, String) -> &mut _),
        ("lsm-mount-context", RestoreOptions::lsm_mount_context),
    ] {
        if let Some(label) = flags.text(name) {
            set(options, crate::text::utf8(label, name)?.to_owned());
        }
    }
    if let Some(method) = network_lock(call)? {
        options.network_lock(method);
    }
    options
        .tcp_close(flags.is_on("tcp-close"))
        .manage_cgroups(manage_cgroups(call)?)
        .tcp_established(flags.is_on("tcp-established"))
        .ext_unix_sk(flags.is_on("ext-unix-sk"))
        .shell_job(flags.is_on("shell-job"))
        .file_locks(flags.is_on("file-locks"))
        .auto_dedup(flags.is_on("auto-dedup"))
        .lazy_pages(flags.is_on("lazy-pages"));
    Ok(())
}

fn foreground(
    call: &Call<'_>,
    options: &RestoreOptions<'_>,
    awaited: Option<&Awaited>,
) -> Result<u8> {
    if !call.flags.is_on("no-subreaper") {
        become_subreaper()?;
    }
    let signals = Signals::block()?;
    let container = Container::restore(options)?;
    call.warn_all(container.warnings());
    let relay = awaited.map(Awaited::attach).transpose();
    let relay = relay.inspect_err(|_| run::give_up(call, &container))?;
    call.log.flush();
    let code = run::wait(&signals, &container, relay, None);
    call.warn_all(&container.delete()?);
    code
}
