//! Limits and statistics of a running container.

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
use containerd_shim_protos::ttrpc::{self, Code};
use containerd_shim_protos::{api, cgroups, cgroups_v2};

use crate::support::{Pod, context, refusal};

const RESOURCES: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

fn update(pod: &Pod, json: &str) -> ttrpc::Result<Empty> {
    let (type_url, value) = (RESOURCES.to_owned(), json.as_bytes().to_vec());
    let request = api::UpdateTaskRequest {
        id: pod.id("a"),
        resources: Some(Any { type_url, value, ..Any::default() }).into(),
        ..api::UpdateTaskRequest::default()
    };
    pod.client().update(context(), &request)
}

fn stats(pod: &Pod) -> Any {
    let request = api::StatsRequest { id: pod.id("a"), ..api::StatsRequest::default() };
    pod.client().stats(context(), &request).unwrap().stats.unwrap()
}

/// What is used and its limit; none where nobody counts.
type Counted = Option<(u64, u64)>;

/// Tasks and memory.
fn counted(any: &Any) -> (Counted, Counted) {
    match any.type_url.as_str() {
        "io.containerd.cgroups.v1.Metrics" => {
            let told = cgroups::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
            let memory =
                told.memory.as_ref().map(|memory| (memory.usage.usage, memory.usage.limit));
            (told.pids.as_ref().map(|pids| (pids.current, pids.limit)), memory)
        }
        "io.containerd.cgroups.v2.Metrics" => {
            let told = cgroups_v2::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
            let memory = (told.memory.usage, told.memory.usage_limit);
            (Some((told.pids.current, told.pids.limit)), (memory.0 != 0).then_some(memory))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn statistics_follow_an_update() {
    let pod = Pod::new();
    pod.run("a", "exec sleep 1000");
    let (pids, memory) = counted(&stats(&pod));
    if let Some((current, _)) = pids {
        assert_eq!(current, 1);
    }
    let Some((used, _)) = memory else {
        pod.finish("a");
        return;
    };
    assert!(used > 0);
    update(
        &pod,
        r#"{ "memory": { "limit": 67108864, "swap": 67108864 }, "pids": { "limit": 7 } }"#,
    )
    .unwrap();
    let (pids, memory) = counted(&stats(&pod));
    assert_eq!(pids.unwrap(), (1, 7));
    assert_eq!(memory.unwrap().1, 67_108_864);
    pod.finish("a");
}

#[test]
fn a_wrong_limit_is_told_with_its_field() {
    let pod = Pod::new();
    pod.run("a", "exec sleep 1000");
    let (code, words) = refusal(update(&pod, r#"{ "memory": { "limit": "much" } }"#));
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(words.contains("/memory/limit: "), "{words}");
    pod.finish("a");
}
