//! `-info`, as containerd asks for it.

use std::process::Output;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::types::introspection::RuntimeInfo;

use crate::support::{output, program};

fn info(options: &[u8]) -> Output {
    output(program().arg("-info"), options)
}

#[test]
fn what_the_runtime_can_do() {
    let options = Any {
        type_url: "containerd.runc.v1.Options".to_owned(),
        value: vec![4 << 3, 1],
        ..Any::default()
    };
    let output = info(&options.write_to_bytes().unwrap());
    assert!(output.status.success(), "{output:?}");
    let told = RuntimeInfo::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!(told.name, "io.containerd.husk.v1");
    assert_eq!(told.version.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(told.options.as_ref(), Some(&options));
    let features: serde_json::Value = serde_json::from_slice(&told.features.value).unwrap();
    assert!(features["mountOptions"].as_array().unwrap().contains(&"rro".into()));
}

#[test]
fn options_that_are_none() {
    let output = info(&[0xff]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("the options are no message"), "{told}");
}
