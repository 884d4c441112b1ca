//! What a creation decides before anything is done: configuration, machine, plan.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{handler, notify};
use crate::cgroup::{self, DevicePolicy, Layout, Location};
use crate::container::{CgroupDriver, CreateOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::plan::{self, Plan, PlanError, plan_create};
use crate::spec::Spec;
use crate::state;

/// What is decided before anything is done.
pub(crate) struct Decided<'a> {
    pub(crate) plan: Plan,
    pub(crate) spec: Cow<'a, Spec>,
    pub(crate) json: Cow<'a, [u8]>,
    pub(super) id: String,
    pub(super) bundle: PathBuf,
    pub(crate) layout: Option<Layout>,
    pub(super) location: Option<Location>,
    pub(crate) devices: DevicePolicy,
    pub(super) handler: Option<OwnedFd>,
    pub(super) rootless: bool,
    pub(super) uid: u32,
    pub(crate) kernel: (u32, u32),
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        let kind = match error.pointer.is_empty() {
            true => ErrorKind::InvalidOption,
            false => ErrorKind::InvalidConfig,
        };
        let converted = Error::new(kind, error.message).at(error.pointer);
        match error.hint {
            Some(hint) => converted.with_hint(hint),
            None => converted,
        }
    }
}

/// Reads the configuration, asks the machine, and plans. Nothing is changed.
pub(crate) fn decide<'a>(options: &'a CreateOptions<'_>) -> Result<Decided<'a>> {
    decide_with(options, options.console.is_some())
}

/// As [`decide`], with or without somebody who receives the terminal.
pub(crate) fn decide_with<'a>(
    options: &'a CreateOptions<'_>,
    console: bool,
) -> Result<Decided<'a>> {
    state::check_id(&options.id)?;
    let bundle = absolute(&options.bundle)?;
    let (mut spec, json) = read_spec(options, &bundle)?;
    if options.notify_socket {
        notify::add_to(spec.to_mut(), options)?;
    }
    let mut host = Host::probe(options.no_pivot)?;
    if let Some(linux) = &spec.linux {
        host.compare_namespaces(linux);
        host.find_resctrl(linux, options.resctrl.as_deref())?;
    }
    let rootless = options.rootless.unwrap_or(host.uid != 0 || host.in_user_namespace);
    let (layout, location) = locate_groups(options, &spec, &mut host, rootless)?;
    let handler = handler::choose(&spec, options.handlers.as_deref())?;
    let plan_options = plan::Options {
        console,
        handler: handler.as_ref().map(|handler| handler.arguments.clone()),
        rootless,
        ..plan_options(options, &bundle)?
    };
    let mut plan = plan_create(&spec, &plan_options, &host)?;
    let devices = spec.linux.as_ref().map(|linux| linux.devices.as_slice()).unwrap_or_default();
    let devices = DevicePolicy::plan(&plan.resources, devices)?;
    if let Some(layout) = &layout {
        plan.warnings.extend(cgroup::check(&plan.resources, layout)?);
    }
    let (uid, kernel, id) = (host.uid, host.kernel, options.id.clone());
    let handler = handler.map(|handler| handler.program);
    Ok(Decided {
        plan,
        spec,
        id,
        json,
        bundle,
        layout,
        location,
        devices,
        handler,
        rootless,
        uid,
        kernel,
    })
}

/// The hierarchies of the machine and the container's groups in them, unless cgroups are disabled.
fn locate_groups(
    options: &CreateOptions<'_>,
    spec: &Spec,
    host: &mut Host,
    rootless: bool,
) -> Result<(Option<Layout>, Option<Location>)> {
    let linux = spec.linux.as_ref();
    if options.cgroup_driver == CgroupDriver::Disabled {
        refuse_limits(linux.and_then(|linux| linux.resources.as_ref()))?;
        return Ok((None, None));
    }
    let layout = Layout::probe()?;
    let path = linux.map(|linux| linux.cgroups_path.as_str()).filter(|path| !path.is_empty());
    let location = if options.cgroup_driver == CgroupDriver::Systemd {
        cgroup::systemd::locate(&layout, path, &options.id, rootless, &spec.annotations)?
    } else {
        cgroup::locate(&layout, path, &options.id, rootless)
            .map_err(|error| Error::from(error).at("/linux/cgroupsPath"))?
    };
    host.show_cgroups(&layout, &location);
    Ok((Some(layout), Some(location)))
}

/// What the creator asks of the plan.
fn plan_options(options: &CreateOptions<'_>, bundle: &Path) -> Result<plan::Options> {
    let bundle = bundle.to_str().ok_or_else(|| {
        let message = format!("the path of the bundle is not UTF-8: {}", bundle.display());
        Error::new(ErrorKind::InvalidOption, message)
    })?;
    Ok(plan::Options {
        id: options.id.clone(),
        bundle: bundle.to_owned(),
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        preserve_fds: options.preserve_fds,
        listen_fds: options.listen_fds,
        plain_newlines: options.plain_newlines,
        seccomp_receiver: options.seccomp_receiver.clone(),
        systemd_cgroup: options.cgroup_driver == CgroupDriver::Systemd,
        joinable: options.joinable,
        umask: if options.keep_umask { Some(Host::probe_umask()?) } else { None },
        ..plan::Options::default()
    })
}

/// Without cgroups there are no limits. Device rules do not protect anybody in such a container,
/// whose creator asked for it.
fn refuse_limits(resources: Option<&crate::spec::Resources>) -> Result<()> {
    let Some(resources) = resources else { return Ok(()) };
    let others = crate::spec::Resources { devices: Vec::new(), ..resources.clone() };
    if others == crate::spec::Resources::default() {
        return Ok(());
    }
    let message = "limits are asked for, but cgroups are disabled";
    Err(Error::new(ErrorKind::InvalidConfig, message).at("/linux/resources"))
}

/// A path that does not depend on the working directory.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::io(ErrorKind::InvalidOption, "resolve", path.display(), &error))
}

type Config<'a> = (Cow<'a, Spec>, Cow<'a, [u8]>);

fn read_spec<'a>(options: &'a CreateOptions<'_>, bundle: &Path) -> Result<Config<'a>> {
    let Some(spec) = &options.spec else {
        let (spec, json) = read_config(bundle, options.config.as_deref())?;
        return Ok((Cow::Owned(spec), Cow::Owned(json)));
    };
    let json = match &options.json {
        Some(json) => Cow::Borrowed(json.as_slice()),
        None => Cow::Owned(serde_json::to_vec(spec).map_err(|error| invalid(error.to_string()))?),
    };
    Ok((Cow::Borrowed(spec), json))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

/// Reads the config.json of a bundle, or another file in its place; its bytes as well.
pub(crate) fn read_config(bundle: &Path, named: Option<&Path>) -> Result<(Spec, Vec<u8>)> {
    let path = named.map_or_else(|| bundle.join("config.json"), Path::to_owned);
    let name = named.map_or_else(|| "config.json".to_owned(), |path| path.display().to_string());
    let json = std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            invalid(format!("JSON specification file {name} not found"))
        }
        _ => Error::io(ErrorKind::InvalidConfig, "read", path.display(), &error),
    })?;
    let spec = Spec::parse(&json).map_err(|error| {
        invalid(format!("{name}: {}: {}", error.pointer, error.message)).at(error.pointer)
    })?;
    Ok((spec, json))
}
