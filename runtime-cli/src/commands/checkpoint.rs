//! `checkpoint`: writes the state of a running container into a directory of images.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use libcontainer::{CheckpointOptions, ManageCgroups, NetworkLock};

use crate::args::{Arity, Flag, Verb};
use crate::call::Call;
use crate::{inherited, text};

pub(crate) const VERB: Verb = Verb {
    name: "checkpoint",
    about: "save a running container",
    operands: "<container-id>",
    description: "Writes memory and state of the container's processes into a directory of images, by the\n\
                  program criu, and deletes the container unless it is left running. restore makes it\n\
                  again. The network's devices are not saved.",
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        Flag::text("parent-path", "", "directory of an earlier image, relative to --image-path")
            .directory(),
        Flag::switch("leave-running", "", "leave the container running"),
        TCP_ESTABLISHED,
        Flag::switch("tcp-skip-in-flight", "", "leave TCP connections out that are being opened"),
        Flag::switch("link-remap", "", "give unlinked files a name again"),
        EXT_UNIX_SK,
        SHELL_JOB,
        LAZY_PAGES,
        Flag::number("status-fd", "", "descriptor that gets a NUL byte when pages are served"),
        Flag::text("page-server", "", "ADDRESS:PORT of the server that gets the pages"),
        FILE_LOCKS,
        Flag::switch("pre-dump", "", "save memory only, leave the container running"),
        MANAGE_CGROUPS_MODE,
        NETWORK_LOCK,
        EMPTY_NS,
        AUTO_DEDUP,
    ],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

pub(super) const IMAGE_PATH: Flag =
    Flag::text("image-path", "", "directory of the images").directory().default("checkpoint");
pub(super) const WORK_PATH: Flag =
    Flag::text("work-path", "", "directory for criu's log and work files")
        .directory()
        .default("--image-path");
pub(super) const TCP_ESTABLISHED: Flag =
    Flag::switch("tcp-established", "", "keep open TCP connections");
pub(super) const EXT_UNIX_SK: Flag =
    Flag::switch("ext-unix-sk", "", "allow unix sockets that lead outside");
pub(super) const SHELL_JOB: Flag =
    Flag::switch("shell-job", "", "allow processes of a session outside");
pub(super) const FILE_LOCKS: Flag = Flag::switch("file-locks", "", "keep file locks");
pub(super) const LAZY_PAGES: Flag =
    Flag::switch("lazy-pages", "", "hand memory over when it is needed");
pub(super) const MANAGE_CGROUPS_MODE: Flag = Flag::text(
    "manage-cgroups-mode",
    "",
    "what criu does about cgroups: soft, full, strict, ignore",
)
.words(&["soft", "full", "strict", "ignore"])
.default("soft");
pub(super) const NETWORK_LOCK: Flag = Flag::text(
    "network-lock",
    "",
    "how packets are kept away meanwhile: iptables, nftables or skip, at both the same",
)
.words(&["iptables", "nftables", "skip"])
.default("iptables");
pub(super) const EMPTY_NS: Flag =
    Flag::list("empty-ns", "", "namespace that is made without its content: network, always")
        .words(&["network"]);
pub(super) const AUTO_DEDUP: Flag =
    Flag::switch("auto-dedup", "", "remove pages from earlier images that are in later ones");

fn run(call: &Call<'_>) -> Result<u8> {
    warn_without_root(call);
    let container = call.container()?;
    let status = status_descriptor(call)?;
    let options = options(call, status.as_ref())?;
    container.checkpoint(&options)?;
    let stays = call.flags.is_on("leave-running") || call.flags.is_on("pre-dump");
    if !stays {
        match container.delete() {
            Ok(warnings) => call.warn_all(&warnings),
            Err(left) => call.log.warn(format!("{} stays: {left}", container.id())),
        }
    }
    Ok(0)
}

fn options<'fd>(call: &Call<'_>, status: Option<&'fd File>) -> Result<CheckpointOptions<'fd>> {
    let flags = call.flags;
    let images = image_path(call);
    let mut options = CheckpointOptions::new(&images);
    if let Some(parent) = flags.text("parent-path") {
        options.parent(parent_path(&images, Path::new(parent))?);
    }
    if let Some(work) = flags.text("work-path") {
        options.work(work);
    }
    if let Some(criu) = call.globals.text("criu") {
        options.criu(criu);
    }
    if let Some(server) = flags.text("page-server") {
        let (address, port) = page_server(server)?;
        options.page_server(address, port);
    }
    if let Some(status) = status {
        options.status(status.as_fd());
    }
    check_empty_namespaces(call)?;
    if let Some(method) = network_lock(call)? {
        options.network_lock(method);
    }
    options
        .manage_cgroups(manage_cgroups(call)?)
        .leave_running(flags.is_on("leave-running"))
        .pre_dump(flags.is_on("pre-dump"))
        .tcp_established(flags.is_on("tcp-established"))
        .tcp_skip_in_flight(flags.is_on("tcp-skip-in-flight"))
        .link_remap(flags.is_on("link-remap"))
        .ext_unix_sk(flags.is_on("ext-unix-sk"))
        .shell_job(flags.is_on("shell-job"))
        .file_locks(flags.is_on("file-locks"))
        .auto_dedup(flags.is_on("auto-dedup"))
        .lazy_pages(flags.is_on("lazy-pages"));
    Ok(options)
}

/// The directory of the images: as runc's, below the working directory where none is named.
pub(super) fn image_path(call: &Call<'_>) -> PathBuf {
    PathBuf::from(call.flags.text("image-path").unwrap_or(OsStr::new("checkpoint")))
}

fn parent_path(images: &Path, parent: &Path) -> Result<PathBuf> {
    if parent.is_absolute() {
        bail!("--parent-path must be relative");
    }
    // The kernel resolves `..` only in a directory that is there; the dump would make it in the same way.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(images);
    made.map_err(|error| text::tried(format_args!("mkdir {}", images.display()), &error))?;
    let path = images.join(parent);
    let found = path.metadata().map_err(|error| {
        text::tried(format_args!("invalid --parent-path: stat {}", path.display()), &error)
    })?;
    if !found.is_dir() {
        bail!("invalid --parent-path: {} is no directory", path.display());
    }
    Ok(parent.to_owned())
}

fn page_server(word: &OsStr) -> Result<(&str, u16)> {
    let wrong = || anyhow!("Use --page-server ADDRESS:PORT to specify page server");
    let (address, port) = word.to_str().and_then(|word| word.rsplit_once(':')).ok_or_else(wrong)?;
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if address.is_empty() || port.is_empty() {
        return Err(wrong());
    }
    Ok((address, port.parse().map_err(|_| anyhow!("Invalid port number"))?))
}

/// What `--manage-cgroups-mode` names.
pub(super) fn manage_cgroups(call: &Call<'_>) -> Result<ManageCgroups> {
    match call.flags.text("manage-cgroups-mode").map(|word| word.to_str()) {
        None => Ok(ManageCgroups::Default),
        Some(Some("soft")) => Ok(ManageCgroups::Soft),
        Some(Some("full")) => Ok(ManageCgroups::Full),
        Some(Some("strict")) => Ok(ManageCgroups::Strict),
        Some(Some("ignore")) => Ok(ManageCgroups::Ignore),
        Some(_) => bail!("invalid manage-cgroups-mode value"),
    }
}

/// What `--network-lock` names.
pub(super) fn network_lock(call: &Call<'_>) -> Result<Option<NetworkLock>> {
    match call.flags.text("network-lock").map(|word| word.to_str()) {
        None => Ok(None),
        Some(Some("iptables")) => Ok(Some(NetworkLock::Iptables)),
        Some(Some("nftables")) => Ok(Some(NetworkLock::Nftables)),
        Some(Some("skip")) => Ok(Some(NetworkLock::Skip)),
        Some(_) => bail!("invalid network lock method specified"),
    }
}

/// The content of a network namespace is never saved, asked for or not; no other can be left out.
pub(super) fn check_empty_namespaces(call: &Call<'_>) -> Result<()> {
    match call.flags.list("empty-ns").find(|name| *name != "network") {
        Some(name) => bail!("namespace {name:?} is not supported"),
        None => Ok(()),
    }
}

/// As runc: whether criu can do it is for criu to say.
pub(super) fn warn_without_root(call: &Call<'_>) {
    if !nix::unistd::geteuid().is_root() {
        let (program, verb) = (call.program.name, call.verb.name);
        call.log.warn(format!("{program} {verb} is untested with rootless containers"));
    }
}

/// The descriptor of `--status-fd`, opened again, and closed under its number: its reader sees the
/// end when this program closes it.
fn status_descriptor(call: &Call<'_>) -> Result<Option<File>> {
    let Some(number) = inherited::status_descriptor(call.flags)? else { return Ok(None) };
    let opened = File::options().write(true).open(format!("/proc/self/fd/{number}"));
    let invalid = |error: &std::io::Error| {
        text::tried(format_args!("invalid --status-fd argument {number}"), error)
    };
    let opened = opened.map_err(|error| invalid(&error))?;
    nix::unistd::close(number).map_err(|errno| invalid(&errno.into()))?;
    Ok(Some(opened))
}
