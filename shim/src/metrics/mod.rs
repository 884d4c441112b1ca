//! Statistics of a container in containerd's messages.

mod v1;
mod v2;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use libcontainer::Container;
use libcontainer::stats::Stats;

/// What the kernel counted for a container: `io.containerd.cgroups.v1.Metrics`, or `v2` where the
/// machine has cgroup v2 alone.
///
/// # Errors
/// The container is stopped, or the kernel does not say.
pub(crate) fn any(container: &Container) -> anyhow::Result<Any> {
    Ok(encode(&container.stats()?))
}

fn encode(stats: &Stats) -> Any {
    let (version, value) = match stats.is_unified {
        true => ("v2", v2::metrics(stats).write_to_bytes()),
        false => ("v1", v1::metrics(stats).write_to_bytes()),
    };
    Any {
        type_url: format!("io.containerd.cgroups.{version}.Metrics"),
        // Fails for missing required fields alone, and version 3 of the language has none.
        value: value.unwrap_or_default(),
        ..Any::default()
    }
}

#[cfg(test)]
mod tests;
