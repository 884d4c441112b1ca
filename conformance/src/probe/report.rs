//! Everything that a process can see of itself, in one JSON object. What /proc
//! would have told is null where there is no /proc.

use nix::sys::resource::{Resource, getrlimit};
use procfs::FromRead;
use procfs::process::Stat;
use serde_json::{Map, Value, json};
use std::fs;
use std::sync::OnceLock;

pub(super) fn report() -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let names = nix::sys::utsname::uname().ok();
    let name = |part: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
        names.as_ref().map(|names| part(names).to_string_lossy().into_owned())
    };
    json!({
        "pid": std::process::id(),
        "ppid": std::os::unix::process::parent_id(),
        "uid": numbers(&status, "Uid"),
        "gid": numbers(&status, "Gid"),
        "groups": numbers(&status, "Groups"),
        "umask": field(&status, "Umask"),
        "no_new_privileges": field(&status, "NoNewPrivs"),
        "seccomp": field(&status, "Seccomp"),
        "capabilities": {
            "inheritable": field(&status, "CapInh"),
            "permitted": field(&status, "CapPrm"),
            "effective": field(&status, "CapEff"),
            "bounding": field(&status, "CapBnd"),
            "ambient": field(&status, "CapAmb"),
        },
        "cpus": field(&status, "Cpus_allowed_list"),
        "signals": {
            "blocked": field(&status, "SigBlk"),
            "ignored": field(&status, "SigIgn"),
        },
        "cwd": std::env::current_dir().ok().map(|path| path.to_string_lossy().into_owned()),
        "arguments": strings(std::env::args_os()),
        "environment": environment(),
        "limits": limits(),
        "namespaces": namespaces(),
        "mounts": mounts(),
        "hostname": name(|names| names.nodename()),
        "domainname": name(|names| names.domainname()),
        "machine": name(|names| names.machine()),
        "descriptors": descriptors(),
        "oom_score_adj": text("/proc/self/oom_score_adj"),
        "personality": text("/proc/self/personality"),
        "stat": text("/proc/self/stat"),
        "uid_map": text("/proc/self/uid_map"),
        "gid_map": text("/proc/self/gid_map"),
        "cgroup": text("/proc/self/cgroup"),
        "time_offsets": text("/proc/self/timens_offsets"),
        "numa_maps": text("/proc/self/numa_maps"),
        "session": fields_of_stat(),
        "interfaces": text("/proc/self/net/dev"),
    })
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

fn field(status: &str, name: &str) -> Option<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

fn numbers(status: &str, name: &str) -> Option<Vec<u32>> {
    field(status, name)?.split_whitespace().map(|number| number.parse().ok()).collect()
}

fn strings(items: impl Iterator<Item = std::ffi::OsString>) -> Vec<String> {
    items.map(|item| item.to_string_lossy().into_owned()).collect()
}

/// In the order of the environment block, duplicates included.
fn environment() -> Vec<String> {
    match fs::read("/proc/self/environ") {
        Ok(block) => block
            .split(|byte| *byte == 0)
            .filter(|entry| !entry.is_empty())
            .map(|entry| String::from_utf8_lossy(entry).into_owned())
            .collect(),
        Err(_) => std::env::vars().map(|(name, value)| format!("{name}={value}")).collect(),
    }
}

const LIMITS: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::RLIMIT_AS),
    ("RLIMIT_CORE", Resource::RLIMIT_CORE),
    ("RLIMIT_CPU", Resource::RLIMIT_CPU),
    ("RLIMIT_DATA", Resource::RLIMIT_DATA),
    ("RLIMIT_FSIZE", Resource::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", Resource::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", Resource::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", Resource::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", Resource::RLIMIT_NICE),
    ("RLIMIT_NOFILE", Resource::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", Resource::RLIMIT_NPROC),
    ("RLIMIT_RSS", Resource::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", Resource::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", Resource::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", Resource::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", Resource::RLIMIT_STACK),
];

fn limits() -> Value {
    let pairs = LIMITS.iter().filter_map(|(name, resource)| {
        let (soft, hard) = getrlimit(*resource).ok()?;
        Some(((*name).to_owned(), json!({ "soft": soft, "hard": hard })))
    });
    Value::Object(pairs.collect())
}

fn namespaces() -> Value {
    let mut found = Map::new();
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        if let Ok(link) = fs::read_link(format!("/proc/self/ns/{name}")) {
            found.insert(name.to_owned(), json!(link.to_string_lossy()));
        }
    }
    Value::Object(found)
}

fn mounts() -> Option<Vec<Value>> {
    Some(fs::read_to_string("/proc/self/mountinfo").ok()?.lines().filter_map(mount).collect())
}

/// One line of mountinfo: `id parent dev root point options fields - type
/// source super`.
fn mount(line: &str) -> Option<Value> {
    let (first, last) = line.split_once(" - ")?;
    let first: Vec<&str> = first.split(' ').collect();
    let last: Vec<&str> = last.split(' ').collect();
    Some(json!({
        "root": first.get(3)?,
        "point": first.get(4)?,
        "options": first.get(5)?.split(',').collect::<Vec<_>>(),
        "propagation": first.get(6..)?,
        "type": last.first()?,
        "source": last.get(1)?,
        "super": last.get(2)?.split(',').collect::<Vec<_>>(),
    }))
}

/// What the process was started with, noted before anything else: where getrandom is
/// refused, the library's first map opens /dev/urandom and keeps it.
static DESCRIPTORS: OnceLock<Option<Vec<(String, String)>>> = OnceLock::new();

pub(super) fn note_descriptors() {
    DESCRIPTORS.get_or_init(list_descriptors);
}

/// Number and target of every open descriptor but the one that reads the list.
fn list_descriptors() -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").ok()?.flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default().to_string_lossy().into_owned();
        if !(target.starts_with("/proc/") && target.ends_with("/fd")) {
            found.push((entry.file_name().to_string_lossy().into_owned(), target));
        }
    }
    Some(found)
}

fn descriptors() -> Option<Value> {
    let found = DESCRIPTORS.get_or_init(list_descriptors).as_ref()?;
    Some(found.iter().map(|(number, target)| (number.clone(), json!(target))).collect())
}

/// The fields of /proc/self/stat that cases need, by their names in proc(5).
fn fields_of_stat() -> Option<Value> {
    let stat = Stat::from_file("/proc/self/stat").ok()?;
    Some(json!({
        "pgrp": stat.pgrp,
        "session": stat.session,
        "tty": stat.tty_nr,
        "nice": stat.nice,
        "rt_priority": stat.rt_priority?,
        "policy": stat.policy?,
    }))
}
