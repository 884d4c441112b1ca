//! One shim for the containers of a pod.

use std::fs;

use crate::support::{Pod, context, eventually, one_shim, refusal};

#[test]
fn containers_of_a_pod_have_one_shim() {
    let pod = Pod::new();
    pod.run("a", "sleep 1000");
    pod.write_bundle("b", "sleep 1000", |_| {});
    let first = fs::read_to_string(pod.bundle("a").join("address")).unwrap();
    assert_eq!(pod.start_shim("b"), first);
    assert_eq!(fs::read_to_string(pod.bundle("b").join("address")).unwrap(), first);
    one_shim(&pod);
    pod.create("b");
    pod.start("b", "");
    // It stays as long as it serves a container.
    drop(pod.client().shutdown(context(), &Default::default()));
    pod.finish("a");
    drop(pod.client().shutdown(context(), &Default::default()));
    assert_eq!(pod.finish("b").exit_status, 137);
    pod.shut_down();
}

#[test]
fn shims_that_start_at_once_agree() {
    let pod = Pod::new();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        pod.write_bundle(name, "true", |_| {});
    }
    let addresses: Vec<String> = std::thread::scope(|scope| {
        let started: Vec<_> =
            names.iter().map(|name| scope.spawn(|| pod.start_shim(name))).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(addresses.iter().all(|address| *address == addresses[0]), "{addresses:?}");
    one_shim(&pod);
    pod.shut_down();
}

#[test]
fn a_shim_at_rest_has_two_threads_at_most() {
    let pod = Pod::new();
    pod.run("a", "sleep 1000");
    for index in 0..10 {
        let exec = format!("x{index}");
        pod.exec("a", &exec, "true").unwrap();
        pod.start("a", &exec);
        assert_eq!(pod.wait("a", &exec).exit_status, 0);
        pod.delete("a", &exec).unwrap();
    }
    let pid = pod.shim_pid();
    let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
    eventually("threads end", || (count("task") <= 2).then_some(()));
    eventually("descriptors are closed", || (count("fd") <= 20).then_some(()));
    pod.finish("a");
}

#[test]
fn an_unknown_task_is_told_as_such() {
    let pod = Pod::new();
    pod.write_bundle("a", "true", |_| {});
    pod.start_shim("a");
    for result in [pod.kill("a", "", 9), pod.exec("a", "x", "true")] {
        assert_eq!(refusal(result).1, "container not created: not found");
    }
    assert_eq!(refusal(pod.delete("a", "")).1, "container not created: not found");
    pod.shut_down();
}
