//! `events`: statistics and lack of memory, one JSON object on each line.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use libcontainer::Event;
use libcontainer::stats::Stats;

use crate::args::{Arity, Flag, Verb};
use crate::call::{Call, print};
use crate::{text, units};

const DEFAULT: Duration = Duration::from_secs(5);

pub(crate) const VERB: Verb = Verb {
    name: "events",
    about: "show statistics of a container, and when its memory runs out",
    operands: "<container-id>",
    description: "Each line is a JSON object of type stats or oom. It ends when the container does.",
    flags: &[
        Flag::text("interval", "", "time between two statistics, such as 500ms or 1m30s")
            .default("5s"),
        Flag::switch("stats", "", "show statistics once"),
    ],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
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
    let Some(word) = call.flags.text("interval") else { return Ok(DEFAULT) };
    let word = text::utf8(word, "interval")?;
    let (word, negative) = match word.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (word.strip_prefix('+').unwrap_or(word), false),
    };
    let interval = units::duration(word)
        .ok_or_else(|| anyhow!("invalid value {word:?} for flag -interval: parse error"))?;
    if negative || interval.is_zero() {
        bail!("duration interval must be greater than 0");
    }
    Ok(interval)
}
