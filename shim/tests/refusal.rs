//! What the shim says as long as it serves no task.

use std::process::{Command, Output, Stdio};

fn shim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_containerd-shim-husk-v1"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the shim starts")
}

#[test]
fn version_is_the_package_version() {
    let output = shim(&["-v"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("utf-8");
    assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
}

#[test]
fn start_is_refused_in_words_and_prints_no_address() {
    let output = shim(&["-namespace", "default", "-id", "c1", "start"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "containerd would take it for the address");
    let text = String::from_utf8(output.stderr).expect("utf-8");
    assert!(text.contains("not in this release"), "{text}");
}
