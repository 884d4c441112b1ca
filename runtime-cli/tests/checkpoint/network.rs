//! Networks and connections.

use std::fs;

use serde_json::json;

use crate::scene::{COUNTER, IGNORE, Network, Scene};
use crate::support::eventually;

#[test]
fn criu_takes_the_words_about_connections() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    let refused = scene.line("checkpoint --network-lock other ID");
    refused.fails(1, "invalid network lock method specified");
    let before = scene.count();
    scene.checkpoint("--tcp-established --network-lock skip");
    scene.restore("--tcp-close --network-lock skip");
    assert!(scene.count() >= before);
    scene.counts_on();
}

/// Somebody else's network, and another one for the restored container.
#[test]
fn a_network_by_path_is_that_of_the_configuration() {
    let Some(scene) = Scene::counter() else { return };
    let (first, second) = (Network::new(), Network::new());
    let namespace = |path: &str| fs::read_link(path).unwrap();
    let configure = |path: &str| {
        let mut config = scene.bundle.config(&["sh", "-c", COUNTER]);
        config["linux"]["namespaces"][1]["path"] = json!(path);
        scene.bundle.write(&config);
    };
    configure(&first.path());
    scene.run("");
    scene.checkpoint("");
    for network in [&first, &second] {
        configure(&network.path());
        scene.restore("");
        scene.counts_on();
        let own = namespace(&format!("/proc/{}/ns/net", scene.pid()));
        assert_eq!(own, namespace(&network.path()));
        scene.checkpoint("");
    }
    configure("/nowhere/net");
    let told = scene.silent(&format!("restore -d --image-path images {IGNORE} ID"));
    told.fails(1, "/nowhere/net: no such file or directory");
    scene.bundle.assert_gone();
}

/// The other end of the connection is outside of the container, and hears nothing of it all.
#[test]
fn a_connection_goes_on() {
    let script = "while :; do echo tick; sleep 0.02; done | busybox nc 127.0.0.1 7777";
    let network = Network::new();
    let Some(scene) = network.scene(script) else { return };
    let heard = scene.bundle.path().join("heard");
    let mut peer = network.listen(&heard);
    let length = || fs::metadata(&heard).unwrap().len();
    let hears_more = || {
        let before = length();
        eventually("more words", || (length() > before).then_some(()));
    };
    scene.silent("run -d ID").code(0);
    hears_more();
    let told = network.husk(&scene, "checkpoint --image-path refused");
    let told = told.fails(1, "criu failed: type DUMP errno");
    assert!(told.err.contains("--tcp-established"), "{told:?}");
    hears_more();
    scene.checkpoint("--tcp-established");
    assert_eq!(peer.try_wait().unwrap(), None, "the connection has ended");
    let told = scene.silent(&format!("restore -d --image-path images {IGNORE} ID"));
    let told = told.fails(1, "criu failed: type RESTORE errno");
    assert!(told.err.contains("Connected TCP socket in image"), "{told:?}");
    scene.restore("--tcp-established");
    hears_more();
    let text = fs::read_to_string(&heard).unwrap();
    assert!(text.lines().all(|line| line == "tick"), "{text}");
    assert_eq!(peer.try_wait().unwrap(), None, "the connection has ended");
    scene.line("delete --force ID").code(0);
    peer.wait().unwrap();
}

/// Who does not want it back finds it closed.
#[test]
fn a_connection_is_closed_on_demand() {
    let script = "while :; do echo tick; sleep 0.02; done | busybox nc 127.0.0.1 7777; \
                  echo $? >/closed; exec sleep 1000";
    let network = Network::new();
    let Some(scene) = network.scene(script) else { return };
    let heard = scene.bundle.path().join("heard");
    let mut peer = network.listen(&heard);
    scene.silent("run -d ID").code(0);
    eventually("words", || (fs::metadata(&heard).unwrap().len() > 0).then_some(()));
    scene.checkpoint("--tcp-established");
    let closed = scene.bundle.rootfs().join("closed");
    assert!(!closed.exists());
    scene.restore("--tcp-close");
    eventually("it is closed", || closed.exists().then_some(()));
    peer.kill().unwrap();
    peer.wait().unwrap();
}

/// One that nobody has accepted yet is left out when it is said so.
#[test]
fn connections_in_the_making_are_left_out() {
    let script = "busybox nc -l -p 7777 >/got; echo up >/up; sleep 1000";
    let network = Network::new();
    let Some(scene) = network.scene(script) else { return };
    scene.silent("run -d ID").code(0);
    network.await_listener();
    scene.line("pause ID").code(0);
    let mut peer = network.connect();
    network.await_state(ESTABLISHED);
    let told = network.husk(&scene, "checkpoint --image-path refused");
    let told = told.fails(1, "criu failed: type DUMP errno");
    assert!(told.err.contains("flight"), "{told:?}");
    scene.checkpoint("--tcp-skip-in-flight");
    scene.restore("");
    network.await_listener();
    peer.kill().unwrap();
    peer.wait().unwrap();
}

const ESTABLISHED: &str = "01";

#[test]
fn a_new_network_has_a_loopback_device() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    scene.checkpoint("--empty-ns network");
    scene.restore("--empty-ns network");
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(fs::read_link(format!("/proc/{}/ns/net", scene.pid())).unwrap(), own);
    let routes = fs::read_to_string(format!("/proc/{}/net/fib_trie", scene.pid())).unwrap();
    assert!(routes.contains("127.0.0.1"), "{routes}");
    scene.line("checkpoint --empty-ns ipc ID").fails(1, "namespace \\\"ipc\\\" is not supported");
}
