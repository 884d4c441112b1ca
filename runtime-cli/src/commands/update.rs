//! `update`: changed limits of a container, by flags or as a file.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::str::FromStr;

use anyhow::{Context, Error, Result, anyhow};
use libcontainer::spec::{BlockIo, Cpu, Memory, Pids, Resources};

use crate::args::{Arity, Flag, Flags, Verb};
use crate::call::Call;
use crate::{text, units};

pub(crate) const VERB: Verb = Verb {
    name: "update",
    about: "change the limits of a container",
    operands: "<container-id>",
    description: "Limits that are not given stay as they are. Sizes are bytes, or have a unit such as\n\
                  512m; -1 lifts a limit. The file of --resources is a linux.resources object as in\n\
                  config.json; with it the other flags are ignored. Device rules are never changed.",
    flags: &[
        Flag::text("resources", "r", "file with the resources, - for standard input").file(),
        Flag::number("blkio-weight", "", "weight of block I/O, 10 to 1000"),
        Flag::text("cpu-period", "", "CPU period in microseconds"),
        Flag::text("cpu-quota", "", "CPU time in each period in microseconds"),
        Flag::text("cpu-burst", "", "CPU time that may be saved up in microseconds"),
        Flag::text("cpu-share", "", "relative CPU weight"),
        Flag::text("cpu-rt-period", "", "real-time CPU period in microseconds"),
        Flag::text("cpu-rt-runtime", "", "real-time CPU time in each period in microseconds"),
        Flag::text("cpu-idle", "", "1 for idle scheduling"),
        Flag::text("cpuset-cpus", "", "CPUs to use"),
        Flag::text("cpuset-mems", "", "memory nodes to use"),
        Flag::text("kernel-memory", "", "of no effect").hidden(),
        Flag::text("kernel-memory-tcp", "", "of no effect").hidden(),
        Flag::text("memory", "", "memory limit in bytes"),
        Flag::text("memory-reservation", "", "soft memory limit in bytes"),
        Flag::text("memory-swap", "", "limit of memory and swap in bytes, -1 for none"),
        Flag::number("pids-limit", "", "highest number of processes"),
        Flag::text("l3-cache-schema", "", "line of schemata for the L3 cache (Intel RDT)"),
        Flag::text("mem-bw-schema", "", "line of schemata for memory bandwidth"),
    ],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let container = call.container()?;
    let file = call.flags.text("resources");
    let resources = match file {
        Some(path) => read(path)?,
        None => from_flags(call.flags)?,
    };
    let l3_cache = word(call.flags, "l3-cache-schema")?.unwrap_or_default();
    let mem_bw = word(call.flags, "mem-bw-schema")?.unwrap_or_default();
    if !l3_cache.is_empty() || !mem_bw.is_empty() {
        container.update_rdt(l3_cache, mem_bw)?;
    }
    call.warn_all(&container.update(&resources).map_err(naming)?);
    Ok(0)
}

/// The value that was refused is none of config.json, so the sentence itself names it.
fn naming(error: libcontainer::Error) -> Error {
    match error.pointer().map(str::to_owned) {
        Some(pointer) => Error::new(error).context(format!("cannot update {pointer}")),
        None => error.into(),
    }
}

fn read(path: &OsStr) -> Result<Resources> {
    let mut json = Vec::new();
    if path == "-" {
        io::stdin()
            .lock()
            .read_to_end(&mut json)
            .map_err(|error| text::tried("read standard input", &error))?;
    } else {
        json = fs::read(path)
            .map_err(|error| text::tried(format_args!("open {}", path.display()), &error))?;
    }
    let source = if path == "-" { "standard input".into() } else { path.to_string_lossy() };
    Resources::parse(&json).with_context(|| format!("resources of {source}"))
}

fn from_flags(flags: &Flags<'_>) -> Result<Resources> {
    Ok(Resources {
        memory: Some(Memory {
            limit: size(flags, "memory")?,
            reservation: size(flags, "memory-reservation")?,
            swap: size(flags, "memory-swap")?,
            kernel: size(flags, "kernel-memory")?,
            kernel_tcp: size(flags, "kernel-memory-tcp")?,
            ..Memory::default()
        }),
        cpu: Some(Cpu {
            shares: number(flags, "cpu-share")?,
            quota: number(flags, "cpu-quota")?,
            burst: number(flags, "cpu-burst")?,
            period: number(flags, "cpu-period")?,
            realtime_runtime: number(flags, "cpu-rt-runtime")?,
            realtime_period: number(flags, "cpu-rt-period")?,
            cpus: word(flags, "cpuset-cpus")?.unwrap_or_default().to_owned(),
            mems: word(flags, "cpuset-mems")?.unwrap_or_default().to_owned(),
            idle: number(flags, "cpu-idle")?,
        }),
        pids: Some(Pids { limit: flags.number("pids-limit") }),
        block_io: Some(BlockIo { weight: weight(flags)?, ..BlockIo::default() }),
        ..Resources::default()
    })
}

/// The value of a flag.
fn word<'a>(flags: &Flags<'a>, name: &str) -> Result<Option<&'a str>> {
    flags.text(name).map(|word| text::utf8(word, name)).transpose()
}

fn number<N: FromStr>(flags: &Flags<'_>, name: &str) -> Result<Option<N>> {
    let Some(word) = word(flags, name)? else { return Ok(None) };
    word.parse().map(Some).map_err(|_| invalid(name, word))
}

/// Bytes; -1 is no limit.
fn size(flags: &Flags<'_>, name: &str) -> Result<Option<i64>> {
    match word(flags, name)? {
        None => Ok(None),
        Some("-1") => Ok(Some(-1)),
        Some(word) => units::bytes(word).map(Some).ok_or_else(|| invalid(name, word)),
    }
}

fn weight(flags: &Flags<'_>) -> Result<Option<u16>> {
    let Some(weight) = flags.number("blkio-weight") else { return Ok(None) };
    u16::try_from(weight).map(Some).map_err(|_| invalid("blkio-weight", &weight.to_string()))
}

fn invalid(name: &str, word: &str) -> Error {
    anyhow!("invalid value for {name}: {word:?}")
}
