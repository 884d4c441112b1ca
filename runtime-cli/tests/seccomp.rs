//! `husk seccomp`: profiles compiled, questioned and compared.

mod support;

use std::path::PathBuf;

use support::{Told, husk, told};

fn profile(name: &str) -> String {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../libcontainer/tests/data/seccomp");
    PathBuf::from(data).join(name).to_str().unwrap().to_owned()
}

fn seccomp(arguments: &[&str]) -> Told {
    told(husk().arg("seccomp"), arguments)
}

#[test]
fn eval_names_the_rule_that_decides() {
    let podman = profile("podman.json");
    for (call, decision) in [
        (
            &["--call", "socket", "--arg", "0=16", "--arg", "2=9"][..],
            "SCMP_ACT_ERRNO(22)\t/syscalls/18",
        ),
        (&["--call", "socket", "--arg", "0=0x10"], "SCMP_ACT_ALLOW\t/syscalls/19"),
        (&["--call", "personality", "--arg", "0=-1"], "SCMP_ACT_ERRNO(38)\t/defaultAction"),
        (&["--call", "449"], "SCMP_ACT_ERRNO(38)\t/syscalls"),
        (&["--call", "56", "--arch", "aarch64"], "SCMP_ACT_ALLOW\t/syscalls/1"),
        (&["--call", "openat", "--arch=x86"], "SCMP_ACT_ALLOW\t/syscalls/1"),
    ] {
        let told = seccomp(&[&["eval", podman.as_str()], call].concat()).code(0);
        assert!(told.out.starts_with(decision), "{call:?}: {told:?}");
    }
}

#[test]
fn compile_prints_assembly_instructions_or_a_table() {
    let docker = profile("docker.json");
    let assembly = seccomp(&["compile", &docker]).code(0).out;
    assert!(assembly.starts_with("        ld [4]\n        jeq #0xc000003e, "), "{assembly}");
    let instructions = assembly.lines().count();
    let raw = husk().args(["seccomp", "compile", &docker, "--format", "raw"]).output().unwrap();
    assert_eq!(raw.stdout.len(), 8 * instructions);
    assert_eq!(raw.stdout[..8], [0x20, 0, 0, 0, 4, 0, 0, 0]);
    let table =
        seccomp(&["compile", &docker, "--format", "table", "--arch", "riscv64"]).code(0).out;
    let openat =
        table.lines().find(|line| line.starts_with("riscv64") && line.contains(" openat "));
    let words: Vec<&str> = openat.unwrap().split_whitespace().collect();
    assert_eq!(words, ["riscv64", "56", "openat", "SCMP_ACT_ALLOW", "/syscalls/0"]);
}

#[test]
fn raw_instructions_have_the_byte_order_of_their_machine() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profile.json");
    std::fs::write(&path, r#"{"defaultAction":"SCMP_ACT_LOG"}"#).unwrap();
    let mut command = husk();
    command.args(["seccomp", "compile", "--format", "raw", "--arch", "s390x"]).arg(path);
    let raw = command.output().unwrap().stdout;
    assert_eq!(raw[..8], [0, 0x20, 0, 0, 0, 0, 0, 4]);
}

#[test]
fn a_config_is_as_good_as_its_profile() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.json");
    let docker = std::fs::read_to_string(profile("docker.json")).unwrap();
    let text = format!(r#"{{"ociVersion":"1.3.0","linux":{{"seccomp":{docker}}}}}"#);
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let told = seccomp(&["diff", config, &profile("docker.json")]).code(0);
    assert_eq!(told.out, "");
    std::fs::write(config, r#"{"ociVersion":"1.3.0"}"#).unwrap();
    seccomp(&["compile", config]).fails(2, "neither a seccomp profile nor a config.json");
}

#[test]
fn diff_prints_the_calls_that_differ() {
    let told = seccomp(&["diff", &profile("docker.json"), &profile("containerd.json")]).code(1);
    assert!(!told.out.is_empty());
    for line in told.out.lines() {
        assert!(line.contains(" socket "), "{line}");
    }
    let count = |sign| told.out.lines().filter(|line| line.starts_with(sign)).count();
    assert_eq!((count('-'), count('+')), (12, 6), "{}", told.out);
}

#[test]
fn mistakes_are_told() {
    let docker = profile("docker.json");
    seccomp(&["compile", &docker, "--arch", "vax"]).fails(2, "unknown architecture");
    seccomp(&["compile", &docker, "--format", "xml"]).fails(2, "asm, raw or table");
    seccomp(&["eval", &docker, "--call", "frob"]).fails(2, "no system call of x86_64");
    seccomp(&["eval", &docker, "--call", "read", "--arg", "6=0"]).fails(2, "INDEX=VALUE");
    seccomp(&["what", &docker]).fails(2, "usage: husk seccomp compile");
    seccomp(&["compile", "/nonexistent"]).fails(2, "read /nonexistent: no such file or directory");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profile.json");
    std::fs::write(&path, r#"{"defaultAction":"SCMP_ACT_FROB"}"#).unwrap();
    let told = seccomp(&["compile", path.to_str().unwrap()]);
    told.fails(2, "/defaultAction: \\\"SCMP_ACT_FROB\\\" is not an action of seccomp");
}
