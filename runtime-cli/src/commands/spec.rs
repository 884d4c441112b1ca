//! `spec`: writes a config.json to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Result, anyhow};

use crate::args::{Arity, Flag, Verb};
use crate::call::Call;
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "spec",
    about: "write a config.json to start from",
    operands: "",
    description: "Writes config.json for a shell in a terminal, with the root file system expected in\n\
                  the directory rootfs beside it. An existing config.json is never overwritten.",
    flags: &[
        Flag::text("bundle", "b", "directory to write it to")
            .directory()
            .default("the current directory"),
        Flag::text("file", "f", "name of the file").file().default(FILE),
        Flag::switch("rootless", "", "with a user namespace that maps the calling user to root"),
    ],
    arity: Arity::Exactly(0),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

const FILE: &str = "config.json";

/// The default container; words between at signs depend on the host and the caller.
const TEMPLATE: &str = include_str!("default-config.json.in");

fn run(call: &Call<'_>) -> Result<u8> {
    let bundle = Path::new(call.flags.text("bundle").unwrap_or_default());
    if !bundle.as_os_str().is_empty()
        && let Err(error) = bundle.read_dir()
    {
        return Err(text::tried(format_args!("chdir {}", bundle.display()), &error));
    }
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let ids = || (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let config = config(unified, call.flags.is_on("rootless").then(ids));
    let file = Path::new(call.flags.text("file").unwrap_or(FILE.as_ref()));
    write(&bundle.join(file), &config)?;
    Ok(0)
}

/// The text of a config.json, with a user namespace for `caller`, if given: uid and gid.
fn config(unified: bool, caller: Option<(u32, u32)>) -> String {
    let mut namespaces = String::new();
    if unified {
        namespaces.push_str(&namespace("cgroup"));
    }
    let mut values = match caller {
        None => vec![
            ("@DEVPTS_GROUP@", ",\n\t\t\t\t\"gid=5\"".to_owned()),
            ("@SYS_TYPE@", "sysfs".to_owned()),
            ("@SYS_SOURCE@", "sysfs".to_owned()),
            ("@SYS_BIND@", String::new()),
            ("@ID_MAPPINGS@", String::new()),
            ("@RESOURCES@", RESOURCES.to_owned()),
            ("@NETWORK@", NETWORK.to_owned()),
        ],
        // What an ordinary user may not do is left out: resources, a network to configure, group
        // 5 of devpts, and sysfs, which belongs to the host's network namespace: it is bound.
        Some((uid, gid)) => {
            namespaces.push_str(&namespace("user"));
            let mappings = format!("{}{}", mapping("uid", uid), mapping("gid", gid));
            vec![
                ("@DEVPTS_GROUP@", String::new()),
                ("@SYS_TYPE@", "none".to_owned()),
                ("@SYS_SOURCE@", "/sys".to_owned()),
                ("@SYS_BIND@", "\n\t\t\t\t\"rbind\",".to_owned()),
                ("@ID_MAPPINGS@", mappings),
                ("@RESOURCES@", String::new()),
                ("@NETWORK@", String::new()),
            ]
        }
    };
    values.push(("@NAMESPACES@", namespaces));
    let filled = |text: String, (name, value): (&str, String)| text.replace(name, &value);
    values.into_iter().fold(TEMPLATE.to_owned(), filled)
}

/// No device but those that every container has.
const RESOURCES: &str = "\t\t\"resources\": {\n\t\t\t\"devices\": [\n\t\t\t\t{\n\
    \t\t\t\t\t\"allow\": false,\n\t\t\t\t\t\"access\": \"rwm\"\n\
    \t\t\t\t}\n\t\t\t]\n\t\t},\n";

const NETWORK: &str = "\t\t\t{\n\t\t\t\t\"type\": \"network\"\n\t\t\t},\n";

fn namespace(kind: &str) -> String {
    format!(",\n\t\t\t{{\n\t\t\t\t\"type\": \"{kind}\"\n\t\t\t}}")
}

fn mapping(kind: &str, host: u32) -> String {
    format!(
        "\t\t\"{kind}Mappings\": [\n\t\t\t{{\n\t\t\t\t\"containerID\": 0,\n\
         \t\t\t\t\"hostID\": {host},\n\t\t\t\t\"size\": 1\n\t\t\t}}\n\t\t],\n"
    )
}

fn write(path: &Path, config: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o666).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            let name = path.file_name().unwrap_or_default().display();
            anyhow!("File {name} exists. Remove it first")
        }
        _ => text::tried(format_args!("open {}", path.display()), &error),
    })?;
    file.write_all(config.as_bytes())
        .map_err(|error| text::tried(format_args!("write {}", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(unified: bool, caller: Option<(u32, u32)>) -> serde_json::Value {
        serde_json::from_str(&config(unified, caller)).unwrap()
    }

    #[test]
    fn every_form_is_read_by_the_library() {
        for (unified, caller) in [(false, None), (true, None), (false, Some((5, 6)))] {
            let text = config(unified, caller);
            assert!(!text.contains('@'), "{text}");
            libcontainer::spec::Spec::parse(text.as_bytes()).unwrap();
        }
        let spec = parsed(true, None);
        assert_eq!(spec["linux"]["namespaces"][5]["type"], "cgroup");
        assert_eq!(spec["linux"]["resources"]["devices"][0]["access"], "rwm");
        assert_eq!(spec["mounts"][2]["options"][5], "gid=5");
        assert_eq!(spec["mounts"][5]["type"], "sysfs");
    }

    #[test]
    fn rootless_maps_the_caller_and_drops_what_it_may_not_do() {
        let spec = parsed(true, Some((1000, 1001)));
        let linux = &spec["linux"];
        assert_eq!(linux["uidMappings"][0]["hostID"], 1000);
        assert_eq!(linux["gidMappings"][0]["hostID"], 1001);
        assert!(linux.get("resources").is_none());
        let kinds: Vec<&str> = linux["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|namespace| namespace["type"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
        assert_eq!(spec["mounts"][5]["options"][0], "rbind");
        assert!(!spec.to_string().contains("gid="));
    }
}
