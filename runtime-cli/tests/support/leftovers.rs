//! What a container must not leave behind: state, mounts, cgroups, processes.

use std::fs;
use std::path::{Path, PathBuf};

use procfs::FromRead;
use procfs::process::Stat;

/// Fails the test if something of container `id` of the bundle in `directory` is there.
#[track_caller]
pub(crate) fn assert_none(directory: &Path, id: &str) {
    let left = [states(directory), mounts(directory), cgroups(id), processes(id)].concat();
    assert!(left.is_empty(), "left behind of {id}: {left:#?}");
}

fn states(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory.join("state")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

fn mounts(directory: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let directory = directory.display().to_string();
    mounts.lines().filter(|line| line.contains(&directory)).map(str::to_owned).collect()
}

fn cgroups(id: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = directories.pop() {
        // Groups of other tests come and go meanwhile.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if has_word(entry.file_name().as_encoded_bytes(), id) {
                found.push(entry.path().display().to_string());
            }
            directories.push(entry.path());
        }
    }
    found
}

/// Processes that carry the id in their environment, their arguments or their cgroup.
fn processes(id: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<u32>().is_err() {
            continue;
        }
        for file in ["environ", "cmdline", "cgroup"] {
            let content = fs::read(entry.path().join(file)).unwrap_or_default();
            if has_word(&content, id) && !has_ended(&entry.path()) {
                found.push(format!("process {name}: {}", String::from_utf8_lossy(&content)));
                break;
            }
        }
    }
    found
}

/// Whether `word` is there, and not as the beginning of a longer number.
fn has_word(content: &[u8], word: &str) -> bool {
    let text = String::from_utf8_lossy(content);
    text.match_indices(word).any(|(at, _)| {
        let next = text[at + word.len()..].chars().next();
        next.is_none_or(|next| !next.is_ascii_digit())
    })
}

/// Whether it was reaped since it was seen, or waits for the machine's init to do so.
fn has_ended(process: &Path) -> bool {
    Stat::from_file(process.join("stat")).map_or(true, |stat| matches!(stat.state, 'Z' | 'X'))
}
