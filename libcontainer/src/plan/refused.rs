//! What no plan can ever carry out is refused by name, never ignored.

use super::PlanError;
use crate::spec::Spec;

/// Refuses sections of other platforms and configurations of another specification.
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
