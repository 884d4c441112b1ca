//! Limits that a task is to have from now on.

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use libcontainer::spec::Resources;

use crate::options::name_of;

/// What containerd's clients register Go's `specs.LinuxResources` as; its value is JSON.
const TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

/// Reads the resources of an Update request.
///
/// # Errors
/// They are of another type, or JSON that is not `linux.resources`; then with the pointer into it.
pub(crate) fn decode(any: Option<&Any>) -> Result<Resources, String> {
    let Some(any) = any.filter(|any| !any.value.is_empty()) else {
        return Err("update: no resources are given".to_owned());
    };
    // With and without the host that other encoders put before the path.
    if any.type_url != TYPE && name_of(any) != "LinuxResources" {
        return Err(format!("update: resources of type {:?} are not known", any.type_url));
    }
    Resources::parse(&any.value)
        .map_err(|error| format!("update: resources: {}: {}", error.pointer, error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(type_url: &str, json: &str) -> Result<Resources, String> {
        let (type_url, value) = (type_url.to_owned(), json.as_bytes().to_vec());
        decode(Some(&Any { type_url, value, ..Any::default() }))
    }

    #[test]
    fn limits_as_clients_send_them() {
        let json = r#"{"memory":{"limit":67108864,"swap":67108864},
            "cpu":{"shares":512,"quota":20000,"period":100000,"cpus":"0"},
            "pids":{"limit":42},"unified":{"memory.high":"1"}}"#;
        let resources = of(TYPE, json).unwrap();
        let memory = resources.memory.unwrap();
        assert_eq!((memory.limit, memory.swap), (Some(67_108_864), Some(67_108_864)));
        assert_eq!(resources.cpu.unwrap().shares, Some(512));
        assert_eq!(resources.unified["memory.high"], "1");
    }

    #[test]
    fn an_error_names_the_field() {
        let error = of(TYPE, r#"{"memory":{"limit":"much"}}"#).unwrap_err();
        assert!(error.starts_with("update: resources: /memory/limit: "), "{error}");
        let error = of(TYPE, r#"{"memory":"#).unwrap_err();
        assert!(error.starts_with("update: resources: /memory: "), "{error}");
    }

    #[test]
    fn other_types_are_refused_by_name() {
        let windows = "types.containerd.io/opencontainers/runtime-spec/1/WindowsResources";
        let error = of(windows, "{}").unwrap_err();
        assert_eq!(error, format!("update: resources of type {windows:?} are not known"));
        assert_eq!(decode(None).unwrap_err(), "update: no resources are given");
        assert_eq!(of(TYPE, "").unwrap_err(), "update: no resources are given");
    }
}
