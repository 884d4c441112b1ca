//! `-info`: what this shim is and what its runtime can do.
//!
//! containerd asks without a container, with the runtime's options on standard input. Its CRI
//! tells the kubelet by the answer whether pods may have user namespaces and recursively
//! read-only mounts.

use std::io::{IsTerminal, Read, Write};

use anyhow::Context;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};

use crate::options;

/// Name of the runtime, as containerd's configuration has it.
const NAME: &str = "io.containerd.husk.v1";

/// What containerd registers Go's `features.Features` as; its value is JSON.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// Largest message of options that is read.
const LIMIT: u64 = 10 << 20;

/// Answers on standard output.
///
/// # Errors
/// The options are no message, or cannot be read.
pub(crate) fn print() -> anyhow::Result<()> {
    let mut given = Vec::new();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        stdin.lock().take(LIMIT).read_to_end(&mut given).context("read the options")?;
    }
    let info = info(&given)?.write_to_bytes()?;
    std::io::stdout().write_all(&info).context("write to standard output")
}

fn info(given: &[u8]) -> anyhow::Result<RuntimeInfo> {
    let options = match given {
        [] => None,
        given => Some(Any::parse_from_bytes(given).context("the options are no message")?),
    };
    // Options that no task could be made with are told here as well.
    options::decode(options.as_ref()).map_err(anyhow::Error::msg)?;
    let version = RuntimeVersion {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..RuntimeVersion::default()
    };
    let features = Any {
        type_url: FEATURES.to_owned(),
        value: serde_json::to_vec(&libcontainer::features())?,
        ..Any::default()
    };
    Ok(RuntimeInfo {
        name: NAME.to_owned(),
        version: Some(version).into(),
        options: options.into(),
        features: Some(features).into(),
        ..RuntimeInfo::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What containerd's CRI looks for.
    #[test]
    fn features_that_the_kubelet_is_told_of() {
        let info = info(&[]).unwrap();
        assert_eq!(info.name, NAME);
        assert_eq!(info.version.version, env!("CARGO_PKG_VERSION"));
        assert!(info.options.is_none() && info.annotations.is_empty());
        assert_eq!(info.features.type_url, FEATURES);
        let features: serde_json::Value = serde_json::from_slice(&info.features.value).unwrap();
        let has = |list: &serde_json::Value, name: &str| {
            list.as_array().unwrap().iter().any(|entry| entry == name)
        };
        assert!(has(&features["mountOptions"], "rro"));
        assert!(has(&features["linux"]["namespaces"], "user"));
        assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    }

    #[test]
    fn options_come_back_and_wrong_ones_are_told() {
        let options = Any {
            type_url: "containerd.runc.v1.Options".to_owned(),
            value: vec![9 << 3, 1],
            ..Any::default()
        };
        let told = info(&options.write_to_bytes().unwrap()).unwrap();
        assert_eq!(told.options.as_ref(), Some(&options));
        assert!(info(&[0xff]).is_err());
        let broken = Any { value: vec![0xff], ..options };
        assert!(info(&broken.write_to_bytes().unwrap()).is_err());
    }
}
