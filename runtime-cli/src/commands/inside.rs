//! The program of the demonstration's container: tells what it sees from inside.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Result;

use crate::args::{Arity, Verb};
use crate::call::{Call, print};
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "demo-inside",
    about: "tell what a container looks like from inside",
    operands: "",
    description: "",
    flags: &[],
    arity: Arity::Exactly(0),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// The namespaces of this process, `name:[number]` with spaces between.
pub(super) fn namespaces() -> String {
    let links =
        NAMESPACES.iter().filter_map(|name| fs::read_link(format!("/proc/self/ns/{name}")).ok());
    links.map(|link| link.display().to_string()).collect::<Vec<_>>().join(" ")
}

fn run(_call: &Call<'_>) -> Result<u8> {
    let host = std::env::var("HUSK_DEMO_HOST").unwrap_or_default();
    let (own, shared) = compare(&host, &namespaces());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let facts = [
        ("process id", std::process::id().to_string()),
        ("host name", line("/proc/sys/kernel/hostname")),
        ("own namespaces", own),
        ("host's namespaces", shared),
        ("user", format!("{}, ids outside: {}", field(&status, "Uid:"), mapping())),
        ("files in /", entries(Path::new("/"))),
        ("network devices", devices()),
        ("capabilities", capabilities(field(&status, "CapBnd:"))),
        ("no_new_privs", field(&status, "NoNewPrivs:").to_owned()),
        ("open files", limit("Max open files")),
        ("memory", memory()),
        ("processes", first(["pids/pids.max", "pids.max"])),
        ("write to /", refusal(fs::write("/file", ""))),
        ("write to /proc/sys", refusal(fs::write("/proc/sys/kernel/hostname", "x"))),
    ];
    let lines = facts.iter().map(|(name, value)| format!("  {name:20}{value}\n"));
    print(&["Inside it\n".to_owned()].into_iter().chain(lines).collect::<String>())?;
    Ok(0)
}

fn compare(host: &str, own: &str) -> (String, String) {
    let host: Vec<&str> = host.split(' ').collect();
    let (shared, own): (Vec<&str>, Vec<&str>) =
        own.split(' ').partition(|namespace| host.contains(namespace));
    let names = |links: Vec<&str>| {
        let names = links.iter().filter_map(|link| link.split(':').next());
        names.collect::<Vec<_>>().join(" ")
    };
    (names(own), names(shared))
}

fn line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// First word after a name at the beginning of a line.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default()
}

fn mapping() -> String {
    let map = line("/proc/self/uid_map");
    let fields: Vec<&str> = map.split_whitespace().collect();
    match fields.as_slice() {
        [_, _, "4294967295"] => "the same".to_owned(),
        [_, outside, count] => format!("{count} from {outside}"),
        _ => map,
    }
}

fn entries(directory: &Path) -> String {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.join(" ")
}

fn devices() -> String {
    let text = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    names.collect::<Vec<_>>().join(" ")
}

fn capabilities(mask: &str) -> String {
    let mask = u64::from_str_radix(mask, 16).unwrap_or_default();
    let known = libcontainer::features().linux.capabilities;
    let names = known.iter().enumerate().filter(|(bit, _)| mask >> (bit & 63) & 1 == 1);
    let names: Vec<&str> = names.map(|(_, name)| name.as_str()).collect();
    format!("{} of {}: {}", mask.count_ones(), known.len(), names.join(" "))
}

fn limit(name: &str) -> String {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The first of these cgroup files that is there: of v1, of v2.
fn first(files: [&str; 2]) -> String {
    let lines = files.map(|file| line(&format!("/sys/fs/cgroup/{file}")));
    lines.into_iter().find(|line| !line.is_empty()).unwrap_or_else(|| "no limit".to_owned())
}

fn memory() -> String {
    let limit = first(["memory/memory.limit_in_bytes", "memory.max"]);
    limit.parse::<u64>().map_or(limit, |bytes| format!("{} MiB", bytes >> 20))
}

fn refusal(result: io::Result<()>) -> String {
    match result {
        Ok(()) => "possible".to_owned(),
        Err(error) => format!("refused: {}", text::kernel(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_told_apart_by_their_numbers() {
        let (own, shared) = compare("pid:[1] net:[2]", "pid:[7] net:[2]");
        assert_eq!((own.as_str(), shared.as_str()), ("pid", "net"));
    }
}
