//! `seccomp`: what a profile compiles to, what it decides and how two of them differ.

use std::ffi::OsStr;
use std::io::{self, Write};

use anyhow::{Context, Result, anyhow, bail};
use libcontainer::seccomp::{
    Arch, Difference, Entry, action_text, assembly, compile, differences, explain, table,
};
use libcontainer::spec::{Seccomp, Spec};

use crate::args::{Arity, Flag, Verb};
use crate::call::{Call, print};
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "seccomp",
    about: "compile, question and compare seccomp profiles",
    operands: "compile <profile> | eval <profile> | diff <profile> <profile>",
    description: "A profile is a linux.seccomp object or a whole config.json; - is standard input.\n\
                  compile  prints the filter: as assembly of the kernel's bpf_asm, as the raw\n\
                  \x20        instructions, or as a table of what it does on each call.\n\
                  eval     says what is decided on a call and which part of the profile decides.\n\
                  diff     prints the calls on which two profiles differ; exit code 1 if any.",
    flags: &[
        Flag::text("arch", "", "architecture such as x86_64").default("this machine's"),
        Flag::text("format", "", "of compile: asm, raw or table")
            .words(&["asm", "raw", "table"])
            .default("asm"),
        Flag::text("call", "", "for eval: name or number of the call"),
        Flag::list("arg", "", "for eval: argument of the call as INDEX=VALUE, 0 if not given"),
    ],
    arity: Arity::AtLeast(2),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 2,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let arch = call.flags.text("arch").map(parse_arch).transpose()?;
    match call.operands {
        [what, profile] if *what == "compile" => print_filter(call, profile, arch),
        [what, profile] if *what == "eval" => print_decision(call, profile, arch),
        [what, first, second] if *what == "diff" => print_differences(first, second, arch),
        _ => bail!("usage: {} seccomp {}", call.program.name, VERB.operands),
    }
}

fn print_filter(call: &Call<'_>, path: &OsStr, arch: Option<Arch>) -> Result<u8> {
    let profile = read_profile(path)?;
    let arch = arch.unwrap_or(Arch::native());
    let filter = compile(&profile, arch).with_context(|| shown(path))?;
    call.warn_all(&filter.warnings);
    match call.flags.text("format").map(OsStr::to_string_lossy).as_deref() {
        None | Some("asm") => print(&assembly(&filter.program))?,
        Some("table") => print(&lines(&table(&profile, arch)?))?,
        Some("raw") => print_raw(&filter.bytes_for(arch))?,
        Some(other) => bail!("unknown format {other:?}: asm, raw or table"),
    }
    Ok(0)
}

fn print_raw(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| text::tried("write to standard output", &error))
}

fn lines(entries: &[Entry]) -> String {
    entries.iter().map(Entry::text).collect()
}

fn print_decision(call: &Call<'_>, path: &OsStr, arch: Option<Arch>) -> Result<u8> {
    let profile = read_profile(path)?;
    let native = native_for(&profile, arch);
    let arch = arch.unwrap_or(native);
    let name = call.flags.text("call").and_then(OsStr::to_str).unwrap_or_default();
    let number = match parse_number(name) {
        Some(number) => u32::try_from(number & u64::from(u32::MAX))?,
        None => arch
            .number(name)
            .ok_or_else(|| anyhow!("--call {name:?}: no system call of {}", arch.short_name()))?,
    };
    let mut args = [0; 6];
    for arg in call.flags.list("arg") {
        let (index, value) = parse_argument(arg)
            .ok_or_else(|| anyhow!("--arg {arg:?}: wanted is INDEX=VALUE with an index below 6"))?;
        args[index] = value;
    }
    let decision = explain(&profile, native, arch, number, args).with_context(|| shown(path))?;
    print(&format!(
        "{}\t{}\t{}\n",
        action_text(decision.returned),
        decision.reason.pointer(),
        decision.reason
    ))?;
    Ok(0)
}

/// A profile is installed on this machine, unless the call is of an architecture that the profile
/// does not name: then on a machine of that.
fn native_for(profile: &Seccomp, arch: Option<Arch>) -> Arch {
    let here = Arch::native();
    match arch {
        Some(arch) if !profile.architectures.iter().any(|name| name == arch.name()) => arch,
        _ => here,
    }
}

fn print_differences(first: &OsStr, second: &OsStr, arch: Option<Arch>) -> Result<u8> {
    let profiles = [read_profile(first)?, read_profile(second)?];
    let differences = differences([&profiles[0], &profiles[1]], arch.unwrap_or(Arch::native()))
        .map_err(|(which, error)| anyhow!("{}: {error}", shown([first, second][which])))?;
    let mut text = String::new();
    for Difference { first, second } in &differences {
        for (sign, entry) in [("-", first), ("+", second)] {
            let lines = entry.as_ref().map(Entry::text).unwrap_or_default();
            text.extend(lines.lines().map(|line| format!("{sign}{line}\n")));
        }
    }
    print(&text)?;
    Ok(u8::from(!differences.is_empty()))
}

/// Reads a profile or the profile of a config.json.
fn read_profile(path: &OsStr) -> Result<Seccomp> {
    let json = if path == "-" {
        io::read_to_string(io::stdin()).map(String::into_bytes)
    } else {
        std::fs::read(path)
    };
    let json = json.map_err(|error| text::tried(format_args!("read {}", shown(path)), &error))?;
    let is_profile = serde_json::from_slice::<serde_json::Value>(&json)
        .is_ok_and(|value| value.get("defaultAction").is_some());
    if is_profile {
        return Seccomp::parse(&json).with_context(|| shown(path));
    }
    let spec = Spec::parse(&json).with_context(|| shown(path))?;
    let profile = spec.linux.and_then(|linux| linux.seccomp);
    profile.ok_or_else(|| {
        anyhow!("{}: neither a seccomp profile nor a config.json with linux.seccomp", shown(path))
    })
}

fn parse_arch(name: &OsStr) -> Result<Arch> {
    let name = name.to_string_lossy();
    Arch::from_name(&name).or_else(|| Arch::from_short_name(&name)).ok_or_else(|| {
        let known: Vec<String> = Arch::all().map(Arch::short_name).collect();
        anyhow!("unknown architecture {name:?}: {}", known.join(", "))
    })
}

fn parse_argument(arg: &OsStr) -> Option<(usize, u64)> {
    let (index, value) = arg.to_str()?.split_once('=')?;
    let index = index.parse().ok().filter(|index| *index < 6)?;
    Some((index, parse_number(value)?))
}

/// A number in decimal or hexadecimal; a negative one as the kernel sees it.
fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok().or_else(|| text.parse::<i64>().ok().map(i64::cast_unsigned)),
    }
}

fn shown(path: &OsStr) -> String {
    path.to_string_lossy().into_owned()
}
