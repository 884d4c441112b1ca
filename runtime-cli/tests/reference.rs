//! Manual pages and completions: what is written from the table of the command line is read by the
//! programs that it is for.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{husk, scratch, told};

fn script(directory: &Path, shell: &str) -> PathBuf {
    let told = told(&mut husk(), ["completion", shell]).code(0);
    let path = directory.join(format!("husk.{shell}"));
    fs::write(&path, told.out).unwrap();
    path
}

fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: no {program}");
    }
    there
}

/// What bash offers for these words, of which the last one is being written.
fn offered(directory: &Path, words: &[&str]) -> Vec<String> {
    let completion = script(directory, "bash");
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let program = format!(
        "source '{}'; COMP_WORDS=({}); COMP_CWORD={}; _husk; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        completion.display(),
        quoted.join(" "),
        words.len() - 1
    );
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", &program]).current_dir(directory);
    let told = told(&mut bash, [""; 0]).code(0);
    assert_eq!(told.err, "", "{words:?}");
    told.out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_flags_words_files_and_signals() {
    let scratch = scratch();
    let directory = scratch.path();
    fs::create_dir(directory.join("bundle")).unwrap();
    fs::write(directory.join("process.json"), "").unwrap();
    let husk = support::program();
    let husk = husk.to_str().unwrap();
    for (line, expected) in [
        ("sta", &["start", "state"][..]),
        ("--roo", &["--root", "--rootless"]),
        ("create --bun", &["--bundle"]),
        ("create --log-f", &["--log-format"]),
        ("create --bundle b", &["bundle"]),
        ("create --bundle = b", &["bundle"]),
        ("create -b b", &["bundle"]),
        ("exec -p p", &["process.json"]),
        ("list --format ", &["table", "json"]),
        ("list -f = j", &["json"]),
        ("--log-format = json list -", &["--format", "-f", "--quiet", "-q"]),
        ("checkpoint --manage-cgroups-mode s", &["soft", "strict"]),
        ("kill web KI", &["KILL"]),
        ("kill web SIGKI", &["KILL"]),
        ("completion ", &["bash", "zsh", "fish"]),
        ("seccomp d", &["diff"]),
        ("help res", &["restore", "resume"]),
        // What belongs to another program is left alone.
        ("exec web ls -", &[]),
        ("ps web -", &[]),
    ] {
        let words: Vec<&str> = [husk].into_iter().chain(line.split(' ')).collect();
        let offered = offered(directory, &words);
        for word in expected {
            assert!(offered.iter().any(|offer| offer == word), "{word} for {line:?}: {offered:?}");
        }
        assert!(!expected.is_empty() || offered.is_empty(), "{line:?}: {offered:?}");
    }
    assert_eq!(offered(directory, &[husk, "list", "-f", ""]), ["table", "json"]);
    assert!(!offered(directory, &[husk, "kill", "-"]).contains(&"--all".to_owned()), "hidden");
}

#[test]
fn bash_asks_for_the_containers_below_the_root_that_is_named() {
    let scratch = scratch();
    let directory = scratch.path();
    let husk = directory.join("asked");
    let answer = "#!/bin/sh\necho \"$*\" >> arguments\necho web; echo worker; echo db\n";
    support::write_program(&husk, answer, 0o755);
    let husk = husk.to_str().unwrap();
    assert_eq!(offered(directory, &[husk, "state", "w"]), ["web", "worker"]);
    assert_eq!(offered(directory, &[husk, "--root", "/x", "exec", "d"]), ["db"]);
    assert_eq!(offered(directory, &[husk, "--root", "=", "/y", "kill", "d"]), ["db"]);
    let asked = fs::read_to_string(directory.join("arguments")).unwrap();
    assert_eq!(asked, "list -q\n--root /x list -q\n--root /y list -q\n");
}

#[test]
fn every_shell_reads_its_completion() {
    let scratch = scratch();
    for shell in ["bash", "zsh", "fish"] {
        let path = script(scratch.path(), shell);
        if is_there(shell) {
            let told = told(Command::new(shell).arg("-n"), [&path]).code(0);
            assert_eq!(told.err, "", "{shell}");
        }
    }
    told(&mut husk(), ["completion", "csh"]).fails(1, "bash, zsh or fish");
}

#[test]
fn fish_completes() {
    if !is_there("fish") {
        return;
    }
    let scratch = scratch();
    let path = script(scratch.path(), "fish");
    for (line, expected) in
        [("husk cre", "create"), ("husk list --format j", "json"), ("husk kill web KI", "KILL")]
    {
        let program = format!("source '{}'; complete -C '{line}'", path.display());
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", &program]).env("HOME", scratch.path());
        let told = told(&mut fish, [""; 0]).code(0);
        let offered: Vec<&str> =
            told.out.lines().filter_map(|line| line.split('\t').next()).collect();
        assert!(offered.contains(&expected), "{line}: {told:?}");
    }
}

#[test]
fn manual_pages_are_read_without_a_warning() {
    let scratch = scratch();
    told(husk().arg("man"), [scratch.path()]).code(0);
    let pages: Vec<PathBuf> =
        fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() > 20 && pages.contains(&scratch.path().join("husk.8")), "{pages:?}");
    let groff = is_there("groff");
    for page in pages.iter().filter(|_| groff) {
        let told = told(Command::new("groff").args(["-man", "-Tutf8", "-ww"]), [page]).code(0);
        assert_eq!(told.err, "", "{}", page.display());
        assert!(told.out.contains("husk"), "{}", told.out);
    }
    told(husk().arg("man"), ["/nonexistent"]).fails(1, "no such file or directory");
}
