//! `events`: statistics and lack of memory, one JSON object on each line.

use std::time::Duration;

use anyhow::{Result, bail};
use libcontainer::Event;
use libcontainer::stats::Stats;

use crate::args::{Arity, Flag, Verb};
use crate::call::{Call, print};

const DEFAULT: Duration = Duration::from_secs(5);

pub(crate) const VERB: Verb = Verb {
    name: "events",
    about: "show statistics of a container, and when its memory runs out",
    operands: "<container-id>",
    description: "Each line is a JSON object of type stats or oom. It ends when the container does.",
    flags: &[
        Flag::duration("interval", "", "time between two statistics, such as 500ms or 1m30s")
            .default("5s"),
        Flag::switch("stats", "", "show statistics once"),
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
    let interval = interval(call)?;
    let id = serde_json::to_string(container.id())?;
    if call.flags.is_on("stats") {
        print_stats(&id, &container.stats()?)?;
        return Ok(0);
    }
    let events = container.events(Some(interval))?;
    call.warn_all(events.warnings());
    for event in events {
        match event? {
            Event::Stats(stats) => print_stats(&id, &stats)?,
            Event::OutOfMemory => print(&format!("{{\"type\":\"oom\",\"id\":{id}}}\n"))?,
            _ => {}
        }
    }
    Ok(0)
}

fn print_stats(id: &str, stats: &Stats) -> Result<()> {
    let data = serde_json::to_string(stats)?;
    print(&format!("{{\"type\":\"stats\",\"id\":{id},\"data\":{data}}}\n"))
}

fn interval(call: &Call<'_>) -> Result<Duration> {
    match call.flags.duration("interval") {
        None => Ok(DEFAULT),
        Some(Some(interval)) => Ok(interval),
        Some(None) => bail!("duration interval must be greater than 0"),
    }
}
