//! What no plan carries out is refused by name, never ignored.

use super::PlanError;
use crate::spec::Spec;

/// Refuses sections of other platforms and parts of the Linux section that are not carried out.
pub(super) fn refuse_unsupported(spec: &Spec) -> Result<(), PlanError> {
    check_version(&spec.oci_version)?;
    let platforms = [
        ("solaris", spec.solaris.is_some()),
        ("windows", spec.windows.is_some()),
        ("vm", spec.vm.is_some()),
        ("zos", spec.zos.is_some()),
        ("freebsd", spec.freebsd.is_some()),
    ];
    if let Some((name, _)) = platforms.into_iter().find(|(_, there)| *there) {
        let message = format!("the {name} section is not supported: husk runs Linux containers");
        return Err(PlanError::new(format!("/{name}"), message));
    }
    let Some(linux) = &spec.linux else {
        return Ok(());
    };
    if let Some(name) = linux.net_devices.keys().next() {
        let pointer = format!("/linux/netDevices/{}", name.replace('~', "~0").replace('/', "~1"));
        return Err(PlanError::new(pointer, "netDevices are not supported"));
    }
    if linux.intel_rdt.is_some() {
        return Err(PlanError::new("/linux/intelRdt", "intelRdt is not supported"));
    }
    Ok(())
}

/// Any 1.x: minor versions of the specification only add.
fn check_version(version: &str) -> Result<(), PlanError> {
    let error = |message: String| Err(PlanError::new("/ociVersion", message));
    if version.is_empty() {
        return error("ociVersion must be specified".to_owned());
    }
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Option<Vec<u32>> = core.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([1, _, _]) => Ok(()),
        Some([_, _, _]) => error(format!("ociVersion {version:?} is not supported: it is not 1.x")),
        _ => error(format!("ociVersion {version:?} is not a semantic version")),
    }
}
