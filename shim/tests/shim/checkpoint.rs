//! Tasks that are saved and made again. Needs a criu that works with this kernel, which
//! tests/criu/obtain gets; the tests say that they were skipped where there is none.

use std::fs;
use std::path::PathBuf;

use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci;
use containerd_shim_protos::ttrpc::Code;
use containerd_shim_protos::types::task::Status;

use crate::support::{Pod, context, eventually, refusal};

/// Counts in its output, one number a line.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";

/// Whether there is one; the shim has it in its PATH.
fn has_criu() -> bool {
    let cache = std::env::var("HUSK_TEST_CACHE").unwrap_or("/var/tmp/husk-test".to_owned());
    let criu = PathBuf::from(cache).join("criu/bin/criu");
    if !criu.exists() || !criu.with_file_name("../complete").exists() {
        eprintln!("skipped: no criu: tests/criu/obtain gets one");
        return false;
    }
    true
}

fn counted(pod: &Pod) -> Vec<u32> {
    let text = fs::read_to_string(pod.bundle("a").join("out")).unwrap_or_default();
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

fn any(name: &str, message: &impl Message) -> Any {
    let value = message.write_to_bytes().unwrap();
    Any { type_url: name.to_owned(), value, ..Any::default() }
}

fn checkpoint(pod: &Pod, exit: bool) -> containerd_shim_protos::ttrpc::Result<()> {
    let options = oci::CheckpointOptions { exit, ..Default::default() };
    let request = api::CheckpointTaskRequest {
        id: pod.id("a"),
        path: pod.path().join("images").display().to_string(),
        options: Some(any("containerd.runc.v1.CheckpointOptions", &options)).into(),
        ..Default::default()
    };
    pod.client().checkpoint(context(), &request).map(drop)
}

fn start_counter(pod: &Pod) {
    pod.write_bundle("a", COUNTER, |_| {});
    pod.start_shim("a");
    pod.create("a");
    pod.start("a", "");
    eventually("it counts", || (counted(pod).len() > 3).then_some(()));
}

#[test]
fn a_task_goes_on_where_it_was_saved() {
    if !has_criu() {
        return;
    }
    let pod = Pod::new();
    start_counter(&pod);
    checkpoint(&pod, true).unwrap();
    assert_eq!(pod.wait("a", "").exit_status, 137);
    pod.delete("a", "").unwrap();
    let before = counted(&pod);
    let mut request = pod.create_request("a");
    request.checkpoint = pod.path().join("images").display().to_string();
    assert_eq!(pod.client().create(context(), &request).unwrap().pid, 0);
    assert_eq!(pod.status("a", ""), Status::CREATED);
    assert_eq!(refusal(pod.exec("a", "x", "true")).1, "cannot exec in a created state");
    assert_eq!(refusal(pod.kill("a", "", 9)).0, Code::FAILED_PRECONDITION);
    assert!(pod.start("a", "") > 0);
    assert_eq!(pod.status("a", ""), Status::RUNNING);
    eventually("it goes on", || (counted(&pod).len() > before.len() + 3).then_some(()));
    let all = counted(&pod);
    assert!(all.windows(2).all(|pair| pair[1] == pair[0] + 1), "{all:?}");
    pod.exec("a", "x", "exit 4").unwrap();
    pod.start("a", "x");
    assert_eq!(pod.wait("a", "x").exit_status, 4);
    assert_eq!(pod.finish("a").exit_status, 137);
    assert!(pod.containerd().heard().contains(&"checkpointed".to_owned()));
}

#[test]
fn a_task_may_stay_and_a_restore_may_be_given_up() {
    if !has_criu() {
        return;
    }
    let pod = Pod::new();
    start_counter(&pod);
    checkpoint(&pod, false).unwrap();
    let seen = counted(&pod).len();
    eventually("it still counts", || (counted(&pod).len() > seen + 3).then_some(()));
    pod.finish("a");
    let mut request = pod.create_request("a");
    request.checkpoint = pod.path().join("images").display().to_string();
    pod.client().create(context(), &request).unwrap();
    pod.delete("a", "").unwrap();
}

#[test]
fn a_failed_checkpoint_leaves_the_task_and_names_the_log() {
    if !has_criu() {
        return;
    }
    let pod = Pod::new();
    start_counter(&pod);
    fs::write(pod.path().join("images"), "no directory").unwrap();
    let (_, words) = refusal(checkpoint(&pod, true));
    assert!(words.contains("criu-dump.log"), "{words}");
    assert_eq!(pod.status("a", ""), Status::RUNNING);
    pod.finish("a");
}
