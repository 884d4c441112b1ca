//! `create`: everything up to the start of the container's program.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use libcontainer::spec::Spec;
use libcontainer::{CgroupDriver, Container, CreateOptions};

use crate::args::{Arity, Flag, Verb, parse_bool};
use crate::call::Call;
use crate::notify;
use crate::sockets::Sockets;
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "create",
    about: "create a container",
    operands: "<container-id>",
    description: "Makes a container of the bundle: everything but the execution of its program,\n\
                  which waits for start. The container keeps this command's standard input, output\n\
                  and error, or has a terminal, whose master --console-socket gets.",
    flags: &[
        BUNDLE,
        CONFIG,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        HANDLERS,
    ],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: true,
    joins_container: false,
    failure: 1,
    run,
};

pub(crate) const BUNDLE: Flag = Flag::text("bundle", "b", "directory of the bundle")
    .directory()
    .default("the current directory");
pub(crate) const CONFIG: Flag =
    Flag::text("config", "f", "configuration to use instead of the bundle's")
        .file()
        .default("config.json in the bundle");
pub(crate) const CONSOLE_SOCKET: Flag =
    Flag::text("console-socket", "", "unix socket that gets the master of the terminal").file();
pub(crate) const PIDFD_SOCKET: Flag =
    Flag::text("pidfd-socket", "", "unix socket that gets a pidfd of the process").file();
pub(crate) const PID_FILE: Flag =
    Flag::text("pid-file", "", "file that gets the process id").file();
pub(crate) const NO_PIVOT: Flag =
    Flag::switch("no-pivot", "", "do without pivot_root, which fails on an initramfs");
pub(crate) const NO_NEW_KEYRING: Flag =
    Flag::switch("no-new-keyring", "", "keep the session keyring of the caller");
pub(crate) const HANDLERS: Flag =
    Flag::text("handlers", "", "file that describes the handlers of run.oci.handler")
        .file()
        .default("/etc/husk/handlers.json");
pub(crate) const PRESERVE_FDS: Flag =
    Flag::number("preserve-fds", "", "number of descriptors from 3 on that are passed on")
        .default("0");

fn run(call: &Call<'_>) -> Result<u8> {
    let created = create(call).with_context(|| format!("{} create failed", call.program.name))?;
    call.warn_all(created.warnings());
    Ok(0)
}

fn create(call: &Call<'_>) -> Result<Container> {
    let id = call.id()?;
    call.make_runtime_root()?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let mut options = options(call, id)?;
    let terminal = wants_terminal(options.load_spec()?);
    let sockets = Sockets::connect(call.flags, terminal, true)?;
    lend_sockets(&mut options, &sockets);
    if !terminal {
        options.stdio(stdin.as_fd(), stdout.as_fd(), stderr.as_fd());
    }
    Ok(Container::create(&options)?)
}

/// Whether the container's process is to have a terminal.
pub(super) fn wants_terminal(spec: &Spec) -> bool {
    spec.process.as_ref().is_some_and(|process| process.terminal)
}

/// Has what the caller asked for sent to its sockets.
pub(super) fn lend_sockets<'fd>(options: &mut CreateOptions<'fd>, sockets: &'fd Sockets) {
    if let Some(socket) = sockets.console() {
        options.console(socket);
    }
    if let Some(socket) = sockets.pidfd() {
        options.pidfd_socket(socket);
    }
}

/// What the flags that `create`, `run` and `plan` share ask for.
pub(super) fn options<'fd>(call: &Call<'_>, id: &str) -> Result<CreateOptions<'fd>> {
    let driver = cgroup_driver(call)?;
    let bundle = call.flags.text("bundle").map_or(Path::new("."), Path::new);
    // runc changes to it, and its callers know these words.
    if let Err(error) = bundle.metadata() {
        return Err(text::tried(format_args!("chdir {}", bundle.display()), &error));
    }
    let mut options = CreateOptions::new(call.root()?, id, bundle);
    options
        .no_pivot(call.flags.is_on("no-pivot"))
        .no_new_keyring(call.flags.is_on("no-new-keyring"))
        .keep_umask(call.globals.is_on("strict"))
        .joinable_when_created(true)
        .preserve_fds(call.inherited.preserved)
        .listen_fds(call.inherited.listen)
        .cgroup_driver(driver)
        .notify_socket(notify::host_socket().is_some());
    if let Some(path) = call.flags.text("handlers") {
        options.handlers(path);
    }
    if let Some(socket) = std::env::var_os("RUN_OCI_SECCOMP_RECEIVER") {
        options.seccomp_receiver(text::utf8(&socket, "RUN_OCI_SECCOMP_RECEIVER")?);
    }
    if let Some(path) = call.flags.text("config") {
        options.config(path);
    }
    if let Some(path) = call.flags.text("pid-file") {
        options.pid_file(path);
    }
    if let Some(rootless) = rootless(call)? {
        options.rootless(rootless);
    }
    Ok(options)
}

/// Who makes the container's groups. The newer flag is crun's; either may be given to any verb, and
/// what is there is managed as it was made.
fn cgroup_driver(call: &Call<'_>) -> Result<CgroupDriver> {
    let systemd = call.globals.is_on("systemd-cgroup");
    let Some(word) = call.globals.text("cgroup-manager") else {
        return Ok(if systemd { CgroupDriver::Systemd } else { CgroupDriver::Files });
    };
    match word.to_str() {
        Some("systemd") => Ok(CgroupDriver::Systemd),
        Some(manager @ ("cgroupfs" | "disabled")) if systemd => {
            bail!("--systemd-cgroup and --cgroup-manager={manager} contradict each other")
        }
        Some("cgroupfs") => Ok(CgroupDriver::Files),
        Some("disabled") => Ok(CgroupDriver::Disabled),
        _ => bail!("--cgroup-manager is not cgroupfs, systemd or disabled"),
    }
}

fn rootless(call: &Call<'_>) -> Result<Option<bool>> {
    match call.globals.text("rootless") {
        None => Ok(None),
        Some(word) if word == "auto" => Ok(None),
        Some(word) => match parse_bool(word) {
            Some(rootless) => Ok(Some(rootless)),
            None => Err(anyhow!("--rootless is not true, false or auto")),
        },
    }
}
