//! The life of a task, of further processes in it, and what is told of them.

use std::fs;
use std::path::Path;

use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::oci::Options;
use containerd_shim_protos::ttrpc::{Code, Request};
use containerd_shim_protos::types::task::Status;

use crate::support::{Pod, context, ended, eventually, refusal};

const KILLED: u32 = 137;

#[test]
fn a_task_lives_and_ends() {
    let pod = Pod::new();
    pod.write_bundle("a", "echo hello; exit 7", |_| {});
    pod.start_shim("a");
    let pid = pod.create("a");
    assert_eq!(pod.status("a", ""), Status::CREATED);
    assert_eq!(pod.start("a", ""), pid);
    let ended = pod.wait("a", "");
    assert_eq!(ended.exit_status, 7);
    assert!(ended.exited_at.seconds > 0);
    let state = pod.try_state("a", "").unwrap();
    assert_eq!((state.status.enum_value().unwrap(), state.exit_status), (Status::STOPPED, 7));
    assert_eq!((state.pid, state.id), (pid, pod.id("a")));
    let deleted = pod.delete("a", "").unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 7));
    assert_eq!(fs::read_to_string(pod.bundle("a").join("out")).unwrap(), "hello\n");
    let (code, words) = refusal(pod.try_state("a", ""));
    assert_eq!((code, words.as_str()), (Code::NOT_FOUND, "container not created: not found"));
    assert_eq!(pod.containerd().heard_until("delete"), ["create", "start", "exit 7", "delete"]);
    pod.shut_down();
    assert!(!pod.path().join("s/husk").exists(), "nothing stays of the socket");
}

#[test]
fn further_processes_live_and_end() {
    let pod = Pod::new();
    pod.run("a", "sleep 1000");
    pod.exec("a", "x", "echo from x; exit 3").unwrap();
    assert_eq!(pod.status("a", "x"), Status::CREATED);
    let (code, words) = refusal(pod.exec("a", "x", "true"));
    assert_eq!((code, words.as_str()), (Code::ALREADY_EXISTS, "id x: already exists"));
    let (code, words) = refusal(pod.kill("a", "x", libc::SIGTERM));
    assert_eq!(
        (code, words.as_str()),
        (Code::FAILED_PRECONDITION, "process not created: failed precondition")
    );
    let pid = pod.start("a", "x");
    assert_eq!(pod.wait("a", "x").exit_status, 3);
    let (code, words) = refusal(pod.kill("a", "x", libc::SIGTERM));
    assert_eq!((code, words.as_str()), (Code::NOT_FOUND, "process already finished: not found"));
    let deleted = pod.delete("a", "x").unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 3));
    assert_eq!(fs::read_to_string(pod.bundle("a").join("x")).unwrap(), "from x\n");
    let (code, words) = refusal(pod.delete("a", "x"));
    assert_eq!((code, words.as_str()), (Code::NOT_FOUND, "process does not exist x: not found"));
    pod.exec("a", "y", "sleep 1000").unwrap();
    pod.start("a", "y");
    let (code, words) = refusal(pod.delete("a", "y"));
    assert_eq!((code, words.as_str()), (Code::UNKNOWN, "cannot delete a running process"));
    pod.kill("a", "y", libc::SIGTERM).unwrap();
    assert_eq!(pod.wait("a", "y").exit_status, 143);
    pod.finish("a");
    assert_eq!(
        pod.containerd().heard_until("delete"),
        [
            "create",
            "start",
            "exec-added x",
            "exec-started x",
            "exit x 3",
            "exec-added y",
            "exec-started y",
            "exit y 143",
            "exit 137",
            "delete",
        ]
    );
}

#[test]
fn what_cannot_be_executed_is_told_in_the_words_of_callers() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |config| config["process"]["args"] = "nosuch".into());
    pod.write_bundle("b", "true", |config| {
        config["process"]["args"] = serde_json::json!(["nosuch"]);
    });
    pod.start_shim("a");
    let (_, words) = refusal(pod.client().create(context(), &pod.create_request("a")));
    assert!(words.starts_with("OCI runtime create failed: "), "{words}");
    let (_, words) = refusal(pod.client().create(context(), &pod.create_request("b")));
    assert!(words.contains("exec: \"nosuch\": executable file not found in $PATH"), "{words}");
    // The id is free again.
    pod.write_bundle("c", "sleep 1000", |_| {});
    pod.create("c");
    let (code, words) = refusal(pod.client().create(context(), &pod.create_request("c")));
    assert_eq!(code, Code::ALREADY_EXISTS, "{words}");
    pod.start("c", "");
    pod.exec("c", "x", "true").unwrap();
    let spec = br#"{"args": ["nosuch"], "cwd": "/", "env": ["PATH=/bin"]}"#;
    let mut request =
        api::ExecProcessRequest { id: pod.id("c"), exec_id: "y".to_owned(), ..Default::default() };
    request.spec.mut_or_insert_default().value = spec.to_vec();
    pod.client().exec(context(), &request).unwrap();
    let (_, words) = refusal(pod.try_start("c", "y"));
    assert!(words.starts_with("OCI runtime exec failed: "), "{words}");
    assert!(words.contains("executable file not found in $PATH"), "{words}");
    pod.delete("c", "y").unwrap();
    pod.finish("c");
}

#[test]
fn a_task_that_was_never_started_is_deleted() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |_| {});
    pod.start_shim("a");
    let pid = pod.create("a");
    let deleted = pod.delete("a", "").unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, KILLED));
    eventually("its process ends", || ended(pid).then_some(()));
}

#[test]
fn a_paused_task_takes_no_process_and_goes_on() {
    let pod = Pod::new();
    pod.run("a", "sleep 1000");
    let pause = api::PauseRequest { id: pod.id("a"), ..Default::default() };
    pod.client().pause(context(), &pause).unwrap();
    assert_eq!(pod.status("a", ""), Status::PAUSED);
    let (_, words) = refusal(pod.exec("a", "x", "true"));
    assert_eq!(words, "cannot exec in a paused state");
    let (_, words) = refusal(pod.client().pause(context(), &pause));
    assert_eq!(words, "cannot pause a paused container");
    let resume = api::ResumeRequest { id: pod.id("a"), ..Default::default() };
    pod.client().resume(context(), &resume).unwrap();
    assert_eq!(pod.status("a", ""), Status::RUNNING);
    pod.client().pause(context(), &pause).unwrap();
    assert_eq!(pod.finish("a").exit_status, KILLED);
}

/// Whether this machine lets a container have a limit of processes.
fn has_pids() -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists()
        || controllers.is_ok_and(|list| list.split_whitespace().any(|name| name == "pids"))
}

/// The limit that a process stands under.
fn most_processes(pid: u32) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let group = |line: &str| {
        let (of, path) = line.split_once(':')?.1.split_once(':')?;
        match of {
            "pids" => Some(format!("/sys/fs/cgroup/pids{path}")),
            "" => Some(format!("/sys/fs/cgroup{path}")),
            _ => None,
        }
    };
    let limit = groups
        .lines()
        .filter_map(group)
        .find_map(|directory| fs::read_to_string(Path::new(&directory).join("pids.max")).ok());
    limit.expect("a limit of processes").trim().to_owned()
}

#[test]
fn processes_statistics_and_limits_are_told() {
    let pod = Pod::new();
    let init = pod.run("a", "sleep 1000");
    pod.exec("a", "x", "sleep 1000").unwrap();
    let exec = pod.start("a", "x");
    let request = api::PidsRequest { id: pod.id("a"), ..Default::default() };
    let pids = pod.client().pids(context(), &request).unwrap().processes;
    let of = |pid| pids.iter().find(|process| process.pid == pid).expect("the pid is told");
    assert!(of(init).info.is_none());
    assert_eq!(of(exec).info.type_url, "containerd.runc.v1.ProcessDetails");
    let request = api::StatsRequest { id: pod.id("a"), ..Default::default() };
    let stats = pod.client().stats(context(), &request).unwrap().stats;
    assert!(stats.type_url.starts_with("io.containerd.cgroups.v"), "{}", stats.type_url);
    let mut request = api::UpdateTaskRequest { id: pod.id("a"), ..Default::default() };
    let limits = request.resources.mut_or_insert_default();
    limits.type_url = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".to_owned();
    limits.value = br#"{"pids": {"limit": 77}}"#.to_vec();
    match pod.client().update(context(), &request) {
        Ok(_) => assert_eq!(most_processes(init), "77"),
        Err(error) => {
            assert!(!has_pids(), "{error}");
            assert!(error.to_string().contains("controller pids not available"), "{error}");
        }
    }
    pod.finish("a");
}

#[test]
fn both_versions_of_the_service_are_served() {
    let pod = Pod::new();
    pod.run("a", "sleep 1000");
    for service in ["containerd.task.v2.Task", "containerd.task.v3.Task"] {
        let state = api::StateRequest { id: pod.id("a"), ..Default::default() };
        let request = Request {
            service: service.to_owned(),
            method: "State".to_owned(),
            payload: state.write_to_bytes().unwrap(),
            ..Default::default()
        };
        let response = pod.connect().request(request).unwrap();
        let state = api::StateResponse::parse_from_bytes(&response.payload).unwrap();
        assert_eq!(state.status.enum_value().unwrap(), Status::RUNNING, "{service}");
    }
    pod.finish("a");
}

#[test]
fn the_end_of_init_ends_processes_of_a_shared_pid_namespace() {
    let pod = Pod::new();
    pod.write_bundle("a", "sleep 1000 & echo $! > /tmp/pid; exit 4", |config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    pod.start_shim("a");
    pod.create("a");
    pod.start("a", "");
    assert_eq!(pod.wait("a", "").exit_status, 4);
    let pid = fs::read_to_string(pod.bundle("a").join("rootfs/tmp/pid")).unwrap();
    let pid = pid.trim().parse().unwrap();
    eventually("the other process ends", || ended(pid).then_some(()));
    pod.delete("a", "").unwrap();
}

/// Whether a systemd is there or not.
#[test]
fn the_systemd_driver_wants_a_path_of_its_own_form() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |config| config["linux"]["cgroupsPath"] = "/not/a/unit".into());
    pod.start_shim("a");
    let mut request = pod.create_request("a");
    let root = pod.path().join("state").display().to_string();
    let options = Options { systemd_cgroup: true, root, ..Options::default() };
    request.options.mut_or_insert_default().value = options.write_to_bytes().unwrap();
    let (_, words) = refusal(pod.client().create(context(), &request));
    assert!(words.contains("\"slice:prefix:name\" for systemd cgroups"), "{words}");
}
