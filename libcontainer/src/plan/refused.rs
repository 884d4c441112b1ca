//! Which configurations are for this platform at all, and which sections are for others.

use super::PlanError;
use crate::spec::Spec;

/// Refuses configurations of another specification, and those that are for another platform
/// alone. Returns a warning for each section of another platform beside one for Linux: engines
/// write one file for several platforms, and runc passes over what is not for Linux.
pub(super) fn refuse_unsupported(spec: &Spec) -> Result<Vec<String>, PlanError> {
    check_version(&spec.oci_version)?;
    let platforms = [
        ("solaris", spec.solaris.is_some()),
        ("windows", spec.windows.is_some()),
        ("vm", spec.vm.is_some()),
        ("zos", spec.zos.is_some()),
        ("freebsd", spec.freebsd.is_some()),
    ];
    let mut others = platforms.into_iter().filter(|(_, there)| *there).map(|(name, _)| name);
    if spec.linux.is_some() {
        let warning =
            |name| format!("the {name} section is for another platform: ignored (/{name})");
        return Ok(others.map(warning).collect());
    }
    match others.next() {
        Some(name) => {
            let message = format!("there is a {name} section and none for linux");
            Err(PlanError::new(format!("/{name}"), message))
        }
        None => Ok(Vec::new()),
    }
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
