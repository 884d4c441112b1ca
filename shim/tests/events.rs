//! Events of whole lives, as containerd hears them.
#![allow(missing_docs)]

mod pod;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::{api, ttrpc};
use pod::Pod;
use pod::containerd::{Containerd, Heard};
use serde_json::json;

fn listen(pod: &Pod) -> Containerd {
    Containerd::start(&pod.containerd(), &Heard::default())
}

#[test]
fn a_whole_life_in_order() {
    let pod = Pod::new(&["sleep", "1000"]);
    let containerd = listen(&pod);
    pod.create();
    pod.start("");
    let mut expected: Vec<String> = vec!["create".into(), "start".into()];
    // Processes that end at once.
    for number in 0..20 {
        let id = format!("exec-{number}");
        let (program, status) = if number % 2 == 0 { ("true", 0) } else { ("false", 1) };
        pod.exec(&id, &[program]);
        pod.start(&id);
        assert_eq!(pod.wait(&id), status);
        pod.delete(&id);
        let events = ["exec-added", "exec-started"].map(|topic| format!("{topic} {id}"));
        expected.extend(events);
        expected.push(format!("exit {id} {status}"));
    }
    // One that ends with the container.
    pod.exec("last", &["sleep", "1000"]);
    pod.start("last");
    pod.kill("");
    assert_eq!(pod.wait(""), 137);
    pod.delete("last");
    pod.delete("");
    let end = ["exec-added last", "exec-started last", "exit last 137", "exit 137", "delete"];
    expected.extend(end.map(str::to_owned));
    assert_eq!(containerd.heard_until("delete"), expected);
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
    let pod = Pod::new(&["sleep", "1000"]);
    let _containerd = listen(&pod);
    pod.create();
    pod.start("");
    let stream = UnixStream::connect(pod.socket()).unwrap();
    let mut requests = Requests { stream, sent: 0 };
    for number in 0..30 {
        let (id, exec_id) = (pod.id().to_owned(), format!("exec-{number}"));
        pod.exec(&exec_id, &["sleep", "1000"]);
        pod.start(&exec_id);
        let wait = api::WaitRequest { id, exec_id, ..api::WaitRequest::default() };
        let wait = requests.send("Wait", &wait);
        let (id, exec_id) = (pod.id().to_owned(), format!("exec-{number}"));
        let kill = api::KillRequest { id, exec_id, signal: 9, ..api::KillRequest::default() };
        let kill = requests.send("Kill", &kill);
        assert_eq!([requests.answered(), requests.answered()], [kill, wait]);
    }
    let id = pod.id().to_owned();
    let wait = api::WaitRequest { id: id.clone(), ..api::WaitRequest::default() };
    let wait = requests.send("Wait", &wait);
    let kill = api::KillRequest { id, signal: 9, all: true, ..api::KillRequest::default() };
    let kill = requests.send("Kill", &kill);
    assert_eq!([requests.answered(), requests.answered()], [kill, wait]);
}

#[test]
fn many_processes_at_once() {
    let pod = Pod::new(&["sleep", "1000"]);
    let containerd = listen(&pod);
    pod.create();
    pod.start("");
    let ids: Vec<_> = (0..24).map(|number| format!("exec-{number}")).collect();
    std::thread::scope(|scope| {
        for id in &ids {
            let pod = &pod;
            scope.spawn(move || {
                pod.exec(id, &["true"]);
                pod.start(id);
                assert_eq!(pod.wait(id), 0);
                pod.delete(id);
            });
        }
    });
    pod.kill("");
    pod.wait("");
    let heard = containerd.heard_until("exit 137");
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
    let pod = Pod::new(&["sleep", "1000"]);
    let containerd = listen(&pod);
    pod.create();
    pod.start("");
    let id = pod.id().to_owned();
    let pause = containerd_shim_protos::api::PauseRequest { id: id.clone(), ..Default::default() };
    pod.task().pause(pod::patience(), &pause).unwrap();
    let resume = containerd_shim_protos::api::ResumeRequest { id, ..Default::default() };
    pod.task().resume(pod::patience(), &resume).unwrap();
    let heard = containerd.heard_until("resumed");
    assert_eq!(heard, ["create", "start", "paused", "resumed"]);
}

/// Nobody listens when it begins, and containerd restarts in the middle.
#[test]
fn events_are_kept_while_containerd_is_away() {
    let pod = Pod::new(&["sleep", "1000"]);
    let heard = Heard::default();
    pod.create();
    pod.start("");
    pod.exec("a", &["true"]);
    pod.start("a");
    pod.wait("a");
    assert!(heard.is_empty());
    let first = Containerd::start(&pod.containerd(), &heard);
    let mut expected = vec!["create", "start", "exec-added a", "exec-started a", "exit a 0"];
    assert_eq!(first.heard_until("exit a 0"), expected);
    drop(first);
    pod.kill("");
    assert_eq!(pod.wait(""), 137);
    pod.delete("a");
    pod.delete("");
    assert_eq!(heard.now(), expected);
    let second = Containerd::start(&pod.containerd(), &heard);
    expected.extend(["exit 137", "delete"]);
    assert_eq!(second.heard_until("delete"), expected);
}

/// Whether this machine lets a container have a limit of memory.
fn has_memory() -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists()
        || controllers.is_ok_and(|list| list.split_whitespace().any(|name| name == "memory"))
}

fn hungry(script: &str) -> Pod {
    Pod::with(&["sh", "-c", script], |config| {
        config["linux"]["resources"] =
            json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } });
    })
}

#[test]
fn lack_of_memory_is_told_before_the_end_that_it_causes() {
    if !has_memory() {
        return;
    }
    let pod = hungry("exec tail /dev/zero");
    let containerd = listen(&pod);
    pod.create();
    pod.start("");
    assert_eq!(pod.wait(""), 137);
    let mut heard = containerd.heard_until("exit 137");
    // The kernel may tell of one lack several times.
    heard.dedup();
    assert_eq!(heard, ["create", "start", "oom", "exit 137"]);
}

#[test]
fn lack_of_memory_of_another_process_is_told() {
    if !has_memory() {
        return;
    }
    let pod = hungry("sleep 1000");
    let containerd = listen(&pod);
    pod.create();
    pod.start("");
    pod.exec("hungry", &["tail", "/dev/zero"]);
    pod.start("hungry");
    assert_eq!(pod.wait("hungry"), 137);
    // The order of these two is the kernel's.
    pod::eventually("lack of memory", || {
        let heard = containerd.heard_until("exit hungry 137");
        heard.iter().any(|topic| topic == "oom").then_some(())
    });
}
