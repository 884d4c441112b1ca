//! Events of whole lives, as containerd hears them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::{api, ttrpc};
use serde_json::json;

use crate::support::{Pod, context, eventually};

/// A pod whose container sleeps.
fn sleeping() -> Pod {
    let pod = Pod::new();
    pod.run("a", "exec sleep 1000");
    pod
}

#[test]
fn a_whole_life_in_order() {
    let pod = sleeping();
    let mut expected: Vec<String> = vec!["create".into(), "start".into()];
    // Processes that end at once.
    for number in 0..20 {
        let id = format!("exec-{number}");
        let (program, status) = if number % 2 == 0 { ("true", 0) } else { ("false", 1) };
        pod.exec("a", &id, program).unwrap();
        pod.start("a", &id);
        assert_eq!(pod.wait("a", &id).exit_status, status);
        pod.delete("a", &id).unwrap();
        let events = ["exec-added", "exec-started"].map(|topic| format!("{topic} {id}"));
        expected.extend(events);
        expected.push(format!("exit {id} {status}"));
    }
    // One that ends with the container.
    pod.exec("a", "last", "exec sleep 1000").unwrap();
    pod.start("a", "last");
    pod.kill("a", "", libc::SIGKILL).unwrap();
    assert_eq!(pod.wait("a", "").exit_status, 137);
    pod.delete("a", "last").unwrap();
    pod.delete("a", "").unwrap();
    let end = ["exec-added last", "exec-started last", "exit last 137", "exit 137", "delete"];
    expected.extend(end.map(str::to_owned));
    assert_eq!(pod.containerd().heard_until("delete"), expected);
}

/// Requests on one connection, none of which waits for the answer to the one before.
struct Requests {
    stream: UnixStream,
    sent: u32,
}

impl Requests {
    /// The number of the request.
    fn send(&mut self, method: &str, payload: &impl Message) -> u32 {
        let request = ttrpc::Request {
            service: "containerd.task.v2.Task".to_owned(),
            method: method.to_owned(),
            payload: payload.write_to_bytes().unwrap(),
            ..ttrpc::Request::default()
        };
        let request = request.write_to_bytes().unwrap();
        // Of a client the numbers are odd.
        let number = self.sent * 2 + 1;
        self.sent += 1;
        let mut frame = u32::try_from(request.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(number.to_be_bytes());
        frame.extend([ttrpc::proto::MESSAGE_TYPE_REQUEST, 0]);
        frame.extend(request);
        self.stream.write_all(&frame).unwrap();
        number
    }

    /// The number of the next request that is answered.
    fn answered(&mut self) -> u32 {
        let mut header = [0; ttrpc::proto::MESSAGE_HEADER_LENGTH];
        self.stream.read_exact(&mut header).unwrap();
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        self.stream.read_exact(&mut vec![0; word(0) as usize]).unwrap();
        word(4)
    }
}

/// containerd deletes a task when it hears of its end, and cuts the connection on which somebody
/// may wait for the answer to what ended it.
#[test]
fn a_signal_is_answered_before_the_end_is_told() {
    let pod = sleeping();
    let address = pod.address();
    let stream = UnixStream::connect(address.strip_prefix("unix://").unwrap()).unwrap();
    let mut requests = Requests { stream, sent: 0 };
    for number in 0..30 {
        let (id, exec_id) = (pod.id("a"), format!("exec-{number}"));
        pod.exec("a", &exec_id, "exec sleep 1000").unwrap();
        pod.start("a", &exec_id);
        let wait = api::WaitRequest { id, exec_id, ..api::WaitRequest::default() };
        let wait = requests.send("Wait", &wait);
        let (id, exec_id) = (pod.id("a"), format!("exec-{number}"));
        let kill = api::KillRequest { id, exec_id, signal: 9, ..api::KillRequest::default() };
        let kill = requests.send("Kill", &kill);
        assert_eq!([requests.answered(), requests.answered()], [kill, wait]);
    }
    let id = pod.id("a");
    let wait = api::WaitRequest { id: id.clone(), ..api::WaitRequest::default() };
    let wait = requests.send("Wait", &wait);
    let kill = api::KillRequest { id, signal: 9, all: true, ..api::KillRequest::default() };
    let kill = requests.send("Kill", &kill);
    assert_eq!([requests.answered(), requests.answered()], [kill, wait]);
}

#[test]
fn many_processes_at_once() {
    let pod = sleeping();
    let ids: Vec<_> = (0..24).map(|number| format!("exec-{number}")).collect();
    std::thread::scope(|scope| {
        for id in &ids {
            let pod = &pod;
            scope.spawn(move || {
                pod.exec("a", id, "true").unwrap();
                pod.start("a", id);
                assert_eq!(pod.wait("a", id).exit_status, 0);
                pod.delete("a", id).unwrap();
            });
        }
    });
    pod.kill("a", "", libc::SIGKILL).unwrap();
    pod.wait("a", "");
    let heard = pod.containerd().heard_until("exit 137");
    assert_eq!(heard.len(), 2 + 3 * ids.len() + 1);
    for id in &ids {
        let at = |event: String| heard.iter().position(|heard| *heard == event).unwrap();
        let added = at(format!("exec-added {id}"));
        let started = at(format!("exec-started {id}"));
        let ended = at(format!("exit {id} 0"));
        assert!(added < started && started < ended, "{heard:?}");
    }
}

#[test]
fn pause_and_resume_are_told() {
    let pod = sleeping();
    let id = pod.id("a");
    let pause = api::PauseRequest { id: id.clone(), ..Default::default() };
    pod.client().pause(context(), &pause).unwrap();
    let resume = api::ResumeRequest { id, ..Default::default() };
    pod.client().resume(context(), &resume).unwrap();
    let heard = pod.containerd().heard_until("resumed");
    assert_eq!(heard, ["create", "start", "paused", "resumed"]);
}

/// Nobody listens when it begins, and containerd restarts in the middle.
#[test]
fn events_are_kept_while_containerd_is_away() {
    let pod = Pod::new();
    pod.containerd().goes();
    pod.run("a", "exec sleep 1000");
    pod.exec("a", "x", "true").unwrap();
    pod.start("a", "x");
    pod.wait("a", "x");
    assert_eq!(pod.containerd().heard(), [""; 0]);
    pod.containerd().comes();
    let mut expected = vec!["create", "start", "exec-added x", "exec-started x", "exit x 0"];
    assert_eq!(pod.containerd().heard_until("exit x 0"), expected);
    pod.containerd().goes();
    pod.kill("a", "", libc::SIGKILL).unwrap();
    assert_eq!(pod.wait("a", "").exit_status, 137);
    pod.delete("a", "x").unwrap();
    pod.delete("a", "").unwrap();
    assert_eq!(pod.containerd().heard(), expected);
    pod.containerd().comes();
    expected.extend(["exit 137", "delete"]);
    assert_eq!(pod.containerd().heard_until("delete"), expected);
}

/// Whether this machine lets a container have a limit of memory.
fn has_memory() -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists()
        || controllers.is_ok_and(|list| list.split_whitespace().any(|name| name == "memory"))
}

/// A pod whose container may have 32 MiB of memory.
fn small(script: &str) -> Pod {
    let pod = Pod::new();
    pod.write_bundle("a", script, |config| {
        config["linux"]["resources"] =
            json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } });
    });
    pod.start_shim("a");
    pod.create("a");
    pod.start("a", "");
    pod
}

#[test]
fn lack_of_memory_is_told_before_the_end_that_it_causes() {
    if !has_memory() {
        return;
    }
    let pod = small("exec tail /dev/zero");
    assert_eq!(pod.wait("a", "").exit_status, 137);
    let mut heard = pod.containerd().heard_until("exit 137");
    // The kernel may tell of one lack several times.
    heard.dedup();
    assert_eq!(heard, ["create", "start", "oom", "exit 137"]);
    pod.delete("a", "").unwrap();
}

#[test]
fn lack_of_memory_of_another_process_is_told() {
    if !has_memory() {
        return;
    }
    let pod = small("exec sleep 1000");
    pod.exec("a", "hungry", "exec tail /dev/zero").unwrap();
    pod.start("a", "hungry");
    assert_eq!(pod.wait("a", "hungry").exit_status, 137);
    // The order of these two is the kernel's.
    eventually("lack of memory", || {
        let heard = pod.containerd().heard();
        let both = ["oom", "exit hungry 137"].map(str::to_owned);
        both.iter().all(|event| heard.contains(event)).then_some(())
    });
    pod.finish("a");
}
