//! What hangs delays nothing else.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::oci::Options;
use containerd_shim_protos::ttrpc::context::with_duration;
use containerd_shim_protos::types::task::Status;
use serde_json::json;

use crate::support::{Pod, context, eventually, refusal};

/// A hook of the host that waits until `free` is there, and says so in `waiting`.
fn waiting_hook(directory: &Path, name: &str) -> serde_json::Value {
    let (waiting, free) = (directory.join(format!("{name}.waiting")), directory.join(name));
    let script = format!(
        "touch {}; until [ -e {} ]; do sleep 0.02; done",
        waiting.display(),
        free.display()
    );
    json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }])
}

fn await_hook(pod: &Pod, name: &str) {
    let path = pod.path().join(format!("{name}.waiting"));
    eventually("the hook waits", || path.exists().then_some(()));
}

fn free_hook(pod: &Pod, name: &str) {
    fs::write(pod.path().join(name), "").unwrap();
}

/// How many connections a shim has: its ends of them have the name of its socket.
fn connections(address: &str) -> usize {
    const LISTENS: &str = "00010000";
    let path = address.strip_prefix("unix://").unwrap();
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    let of_path = table.lines().filter(|line| line.ends_with(path));
    of_path.filter(|line| line.split_whitespace().nth(3) != Some(LISTENS)).count()
}

/// A whole life beside what hangs.
fn live(pod: &Pod, short: &str) {
    pod.write_bundle(short, "read line; exit 5", |_| {});
    pod.start_shim(short);
    let pid = pod.create(short);
    assert_eq!(pod.start(short, ""), pid);
    pod.wait(short, "");
    pod.delete(short, "").unwrap();
}

#[test]
fn creations_starts_and_deletions_that_hang_delay_nothing() {
    let pod = Pod::new();
    pod.run("other", "sleep 1000");
    let hooks = [("create", "createRuntime"), ("start", "poststart"), ("delete", "poststop")];
    for (name, kind) in hooks {
        pod.write_bundle(name, "sleep 1000", |config| {
            config["hooks"] = json!({ kind: waiting_hook(pod.path(), name) });
        });
    }
    pod.create("start");
    pod.create("delete");
    pod.start("delete", "");
    pod.kill("delete", "", libc::SIGKILL).unwrap();
    pod.wait("delete", "");
    thread::scope(|scope| {
        let create = scope.spawn(|| pod.create("create"));
        let start = scope.spawn(|| pod.start("start", ""));
        let delete = scope.spawn(|| pod.delete("delete", ""));
        for (name, _) in hooks {
            await_hook(&pod, name);
        }
        // What hangs is told as what it is.
        assert_eq!(refusal(pod.try_state("create", "")).1, "container not created: not found");
        assert_eq!(pod.status("start", ""), Status::CREATED);
        assert_eq!(pod.status("delete", ""), Status::STOPPED);
        // Requests, streams and ends of others.
        pod.exec("other", "x", "echo through; exit 6").unwrap();
        pod.start("other", "x");
        assert_eq!(pod.wait("other", "x").exit_status, 6);
        pod.delete("other", "x").unwrap();
        assert_eq!(fs::read_to_string(pod.bundle("other").join("x")).unwrap(), "through\n");
        live(&pod, "beside");
        assert!(!create.is_finished() && !start.is_finished() && !delete.is_finished());
        for (name, _) in hooks {
            free_hook(&pod, name);
        }
        create.join().unwrap();
        start.join().unwrap();
        assert_eq!(delete.join().unwrap().unwrap().exit_status, 137);
    });
    pod.start("create", "");
    pod.finish("create");
    pod.finish("start");
    pod.finish("other");
}

/// Half a minute long: that is how long one waits for a systemd.
#[test]
fn a_systemd_that_does_not_answer_delays_nothing() {
    let pod = Pod::new();
    pod.write_bundle("other", "sleep 1000", |_| {});
    pod.write_bundle("slow", "true", |_| {});
    let bus = pod.path().join("bus");
    let _silent = UnixListener::bind(&bus).unwrap();
    let address = format!("unix:path={}", bus.display());
    pod.start_shim_in("other", &[("DBUS_SYSTEM_BUS_ADDRESS", &address)]);
    pod.create("other");
    pod.start("other", "");
    let mut request = pod.create_request("slow");
    let root = pod.path().join("state").display().to_string();
    let options = Options { systemd_cgroup: true, root, ..Options::default() };
    request.options.mut_or_insert_default().value = options.write_to_bytes().unwrap();
    thread::scope(|scope| {
        let slow = scope.spawn(|| pod.client().create(context(), &request));
        pod.exec("other", "x", "exit 6").unwrap();
        pod.start("other", "x");
        assert_eq!(pod.wait("other", "x").exit_status, 6);
        pod.delete("other", "x").unwrap();
        live(&pod, "beside");
        assert!(!slow.is_finished());
        let (_, words) = refusal(slow.join().unwrap());
        assert!(words.contains("systemd did not answer on the system bus ("), "{words}");
    });
    pod.finish("other");
}

#[test]
fn a_creation_that_nobody_waits_for_any_more_leaves_nothing() {
    let pod = Pod::new();
    pod.write_bundle("a", "sleep 1000", |config| {
        config["hooks"] = json!({ "createRuntime": waiting_hook(pod.path(), "a") });
    });
    let address = pod.start_shim("a");
    let client = pod.client();
    let given_up = with_duration(Duration::from_millis(100));
    client.create(given_up, &pod.create_request("a")).unwrap_err();
    await_hook(&pod, "a");
    drop(client);
    // Until then the shim could still take the answer for one that is heard.
    eventually("the shim notices", || (connections(&address) == 0).then_some(()));
    free_hook(&pod, "a");
    eventually("it is gone", || fs::read_dir(pod.state()).unwrap().next().is_none().then_some(()));
    // The id is free again.
    eventually("the id is free", || pod.client().create(context(), &pod.create_request("a")).ok());
    pod.finish("a");
}
