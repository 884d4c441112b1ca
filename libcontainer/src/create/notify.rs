//! The socket on which a container tells the host's service manager that it is ready.

use std::os::unix::net::UnixDatagram;

use super::absolute;
use crate::container::CreateOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{MountKind, MountPoint};
use crate::spec::{Mount, Spec};
use crate::state::StateDirectory;

/// Where the directory with the socket is in the container, as with runc.
const DESTINATION: &str = "/run/notify";

/// Adds the directory and the variable that names the socket. Appended after everything that
/// config.json has, so that nothing of it is mounted over.
pub(super) fn add_to(spec: &mut Spec, options: &CreateOptions<'_>) -> Result<()> {
    let source = absolute(&options.root)?.join(&options.id).join(StateDirectory::NOTIFY);
    let source = source.into_os_string().into_string().map_err(|path| {
        let message = format!("the path of the state is not UTF-8: {}", path.display());
        Error::new(ErrorKind::InvalidOption, message)
    })?;
    let bind = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned);
    spec.mounts.push(Mount {
        destination: DESTINATION.to_owned(),
        source,
        options: bind.to_vec(),
        ..Mount::default()
    });
    if let Some(process) = &mut spec.process {
        process.env.push(format!("NOTIFY_SOCKET={DESTINATION}/{}", StateDirectory::NOTIFY_SOCKET));
    }
    Ok(())
}

/// Where the directory with the socket is mounted.
pub(crate) fn mount_point() -> MountPoint {
    MountPoint { destination: DESTINATION.to_owned(), kind: MountKind::Bind(String::new()) }
}

/// Binds the socket; `None` for a container that has no directory for it.
pub(crate) fn bind(directory: &StateDirectory) -> Result<Option<UnixDatagram>> {
    let Some(path) = directory.notify_socket()? else { return Ok(None) };
    let failed = |act, error: &std::io::Error| {
        Error::io(ErrorKind::State, act, StateDirectory::NOTIFY_SOCKET, error)
    };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("unlink", &error));
        }
        _ => {}
    }
    let socket = UnixDatagram::bind(&path).map_err(|error| failed("bind", &error))?;
    // Whoever the container's process is, it may write.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&path, everybody).map_err(|error| failed("chmod", &error))?;
    Ok(Some(socket))
}
