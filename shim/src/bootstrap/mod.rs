//! What containerd says to a shim that it starts, and what it expects to read back.
//!
//! | containerd | standard input | answer |
//! |---|---|---|
//! | 1.6, 1.7 | the options, an `Any` | the address, for task v2 |
//! | 2.0 to 2.2 | the options, an `Any` | JSON, for task v3 |
//! | 2.3 and later | `BootstrapParams` | `BootstrapResult` |

mod program;

use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use serde_json::json;

use crate::arguments::Arguments;
use crate::options::{self, Options};

/// Most that containerd may say.
const LIMIT: u64 = 10 << 20;

/// Version of the task service that the answers name.
const VERSION: i32 = 3;

/// How the address is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Address,
    /// In an object.
    Json,
    /// In a message.
    Protobuf,
}

/// What containerd says.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    form: Form,
    /// Address of containerd's ttrpc services, where it is not in the environment.
    pub(crate) ttrpc_address: Option<String>,
    /// Directory for the socket, where it is not the default one.
    pub(crate) socket_directory: Option<PathBuf>,
    /// Options of the runtime.
    pub(crate) options: Options,
}

impl Bootstrap {
    /// Reads what containerd says on standard input.
    pub(crate) fn read(arguments: &Arguments) -> Result<Self> {
        let mut input = Vec::new();
        std::io::stdin()
            .take(LIMIT + 1)
            .read_to_end(&mut input)
            .context("read the parameters from standard input")?;
        if input.len() as u64 > LIMIT {
            bail!("the parameters on standard input are longer than {LIMIT} bytes");
        }
        Self::parse(&input, arguments)
    }

    fn parse(input: &[u8], arguments: &Arguments) -> Result<Self> {
        if let Some(parameters) = parameters(input, arguments) {
            return Self::of_parameters(&parameters);
        }
        let any = if input.is_empty() { None } else { Any::parse_from_bytes(input).ok() };
        let form = match &arguments.publish_binary {
            Some(program) if program::is_version_2(program.as_ref()) => Form::Json,
            _ => Form::Address,
        };
        let options = decode(any.as_ref())?;
        Ok(Self { form, ttrpc_address: None, socket_directory: None, options })
    }

    fn of_parameters(parameters: &BootstrapParams) -> Result<Self> {
        let known = parameters.extensions.iter().filter_map(|extension| extension.value.as_ref());
        let any = known.clone().find(|any| any.type_url.ends_with("Options"));
        let options = decode(any)?;
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self {
            form: Form::Protobuf,
            ttrpc_address: text(&parameters.containerd_ttrpc_address),
            socket_directory: parameters.socket_dir.as_deref().and_then(text).map(PathBuf::from),
            options,
        })
    }

    /// Tells containerd where the shim listens.
    pub(crate) fn answer(&self, address: &str) -> Result<()> {
        let mut stdout = std::io::stdout();
        stdout.write_all(&self.form.encode(address)?).context("write the address")?;
        stdout.flush().context("write the address")
    }
}

impl Form {
    fn encode(self, address: &str) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Address => address.as_bytes().to_vec(),
            Self::Json => json!({ "version": VERSION, "address": address, "protocol": "ttrpc" })
                .to_string()
                .into_bytes(),
            Self::Protobuf => BootstrapResult {
                version: VERSION,
                address: address.to_owned(),
                protocol: "ttrpc".to_owned(),
                ..BootstrapResult::default()
            }
            .write_to_bytes()?,
        })
    }
}

/// Options may be read as parameters, too: only the names tell which of both it is.
fn parameters(input: &[u8], arguments: &Arguments) -> Option<BootstrapParams> {
    let parameters = BootstrapParams::parse_from_bytes(input).ok()?;
    let matches =
        parameters.instance_id == arguments.id && parameters.namespace == arguments.namespace;
    (matches && !arguments.id.is_empty()).then_some(parameters)
}

/// Warnings are told when the task is created: containerd reads standard error together with the
/// answer.
fn decode(any: Option<&Any>) -> Result<Options> {
    let (options, _) = options::decode(any).map_err(anyhow::Error::msg)?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use containerd_shim_protos::shim::oci;

    fn arguments() -> Arguments {
        Arguments { id: "c1".into(), namespace: "default".into(), ..Arguments::default() }
    }

    fn options_any() -> Any {
        let options = oci::Options { root: "/run/r".into(), ..oci::Options::default() };
        Any {
            type_url: "containerd.runc.v1.Options".into(),
            value: options.write_to_bytes().unwrap(),
            ..Any::default()
        }
    }

    #[test]
    fn options_alone_are_answered_with_the_address() {
        let input = options_any().write_to_bytes().unwrap();
        let bootstrap = Bootstrap::parse(&input, &arguments()).unwrap();
        assert_eq!(bootstrap.form, Form::Address);
        assert_eq!(bootstrap.options.root, "/run/r");
        assert_eq!(bootstrap.form.encode("unix:///s").unwrap(), b"unix:///s");
    }

    #[test]
    fn parameters_are_answered_with_a_result() {
        let mut parameters = BootstrapParams {
            instance_id: "c1".into(),
            namespace: "default".into(),
            containerd_ttrpc_address: "/run/x.ttrpc".into(),
            socket_dir: Some("/run/s".into()),
            ..BootstrapParams::default()
        };
        parameters.extensions.push(Default::default());
        parameters.extensions[0].value = Some(options_any()).into();
        let input = parameters.write_to_bytes().unwrap();
        let bootstrap = Bootstrap::parse(&input, &arguments()).unwrap();
        assert_eq!(bootstrap.form, Form::Protobuf);
        assert_eq!(bootstrap.options.root, "/run/r");
        assert_eq!(bootstrap.socket_directory, Some("/run/s".into()));
        assert_eq!(bootstrap.ttrpc_address.as_deref(), Some("/run/x.ttrpc"));
        let answer = bootstrap.form.encode("unix:///s").unwrap();
        let result = BootstrapResult::parse_from_bytes(&answer).unwrap();
        assert_eq!((result.version, result.address.as_str()), (3, "unix:///s"));
    }

    #[test]
    fn parameters_of_somebody_else_are_none() {
        let parameters = BootstrapParams {
            instance_id: "c2".into(),
            namespace: "default".into(),
            ..BootstrapParams::default()
        };
        let input = parameters.write_to_bytes().unwrap();
        let bootstrap = Bootstrap::parse(&input, &arguments());
        assert!(bootstrap.is_err() || bootstrap.is_ok_and(|read| read.form == Form::Address));
    }

    #[test]
    fn json_has_what_containerd_reads() {
        let answer = Form::Json.encode("unix:///s").unwrap();
        let value: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(value["version"], 3);
        assert_eq!(value["address"], "unix:///s");
        assert_eq!(value["protocol"], "ttrpc");
    }
}
