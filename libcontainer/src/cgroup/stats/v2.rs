//! Statistics of v2.

use super::super::{Error, Group, Location, Result, file};
use super::{
    BlockIoEntry, BlockIoStats, CpuStats, CpuUsage, MemoryEntry, MemoryStats, PidsStats, Pressure,
    PressureLine, Stats, Throttling, malformed, number, number_or_zero, parse_number, table, text,
    v1,
};

pub(super) fn read(location: &Location, stats: &mut Stats) -> Result<()> {
    let Some(group) = location.v2() else { return Ok(()) };
    stats.pids = pids(group)?;
    stats.memory = memory(group)?;
    stats.memory_events = table(group, "memory.events")?;
    stats.block_io = block_io(group)?;
    stats.cpu = cpu(group)?;
    Ok(())
}

/// Without the controller the processes are counted.
fn pids(group: &Group) -> Result<PidsStats> {
    if number(group, "pids.current")?.is_some() {
        return v1::pids(group);
    }
    let count = |name: &str| file::read_lines(&group.file(name)).map(|text| text.lines().count());
    let count = match count("cgroup.procs") {
        // A threaded group.
        Err(error) if error.is(libc::EOPNOTSUPP) => count("cgroup.threads"),
        result => result,
    };
    match count {
        Ok(current) => Ok(PidsStats { current: current as u64, limit: 0 }),
        Err(error) if error.is_gone() => Ok(PidsStats::default()),
        Err(error) => Err(error),
    }
}

fn memory(group: &Group) -> Result<MemoryStats> {
    let raw = table(group, "memory.stat")?;
    let usage = memory_entry(group, "memory")?;
    let swap = memory_entry(group, "memory.swap")?;
    Ok(MemoryStats {
        cache: raw.get("file").copied().unwrap_or(0),
        // v1 counts memory and swap together, which has no peak here.
        swap: MemoryEntry {
            usage: swap.usage.saturating_add(usage.usage),
            limit: swap.limit.saturating_add(usage.limit),
            max: 0,
            failcnt: 0,
        },
        usage,
        raw,
        pressure: pressure(group, "memory.pressure")?,
        ..MemoryStats::default()
    })
}

fn memory_entry(group: &Group, prefix: &str) -> Result<MemoryEntry> {
    let Some(usage) = number(group, &format!("{prefix}.current"))? else {
        return Ok(MemoryEntry::default());
    };
    Ok(MemoryEntry {
        usage,
        limit: number_or_zero(group, &format!("{prefix}.max"))?,
        // Since Linux 5.19, for swap since 6.5.
        max: number_or_zero(group, &format!("{prefix}.peak"))?,
        failcnt: 0,
    })
}

fn cpu(group: &Group) -> Result<CpuStats> {
    let counters = table(group, "cpu.stat")?;
    let counter = |key: &str| counters.get(key).copied().unwrap_or(0);
    let nanoseconds = |key: &str| counter(key).saturating_mul(1000);
    Ok(CpuStats {
        usage: CpuUsage {
            total: nanoseconds("usage_usec"),
            kernel: nanoseconds("system_usec"),
            user: nanoseconds("user_usec"),
            ..CpuUsage::default()
        },
        throttling: Throttling {
            periods: counter("nr_periods"),
            throttled_periods: counter("nr_throttled"),
            throttled_time: nanoseconds("throttled_usec"),
        },
        pressure: pressure(group, "cpu.pressure")?,
    })
}

/// io.stat has a line for each device; the names of operations are those of v1.
fn block_io(group: &Group) -> Result<BlockIoStats> {
    const NAME: &str = "io.stat";
    let text = text(group, NAME)?.unwrap_or_default();
    let mut stats = BlockIoStats::default();
    for line in text.lines() {
        add_device(&mut stats, line).ok_or_else(|| malformed(group, NAME, line))?;
    }
    stats.pressure = pressure(group, "io.pressure")?;
    Ok(stats)
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 ...`
fn add_device(stats: &mut BlockIoStats, line: &str) -> Option<()> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let (list, op) = match key {
            "rbytes" => (&mut stats.service_bytes, "Read"),
            "wbytes" => (&mut stats.service_bytes, "Write"),
            "rios" => (&mut stats.serviced, "Read"),
            "wios" => (&mut stats.serviced, "Write"),
            _ => continue,
        };
        let (op, value) = (op.to_owned(), parse_number(value)?);
        list.push(BlockIoEntry { major, minor, op, value });
    }
    Some(())
}

/// Pressure stall information (Linux 4.20); `None` where it is not compiled in or switched off.
fn pressure(group: &Group, name: &str) -> Result<Option<Pressure>> {
    let text = match text(group, name) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(error) if error.is(libc::EOPNOTSUPP) => return Ok(None),
        Err(error) => return Err(error),
    };
    parse_pressure(&text).map(Some).ok_or_else(|| -> Error { malformed(group, name, &text) })
}

fn parse_pressure(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let (kind, values) = line.split_once(' ')?;
        let target = match kind {
            "some" => &mut pressure.some,
            "full" => &mut pressure.full,
            _ => continue,
        };
        *target = parse_pressure_line(values)?;
    }
    Some(pressure)
}

fn parse_pressure_line(values: &str) -> Option<PressureLine> {
    let mut line = PressureLine::default();
    for word in values.split_whitespace() {
        let (key, value) = word.split_once('=')?;
        match key {
            "avg10" => line.avg10 = value.parse().ok()?,
            "avg60" => line.avg60 = value.parse().ok()?,
            "avg300" => line.avg300 = value.parse().ok()?,
            "total" => line.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_of_both_kinds() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        let pressure = parse_pressure(text).unwrap();
        assert_eq!((pressure.some.avg10, pressure.some.avg60), (1.5, 0.25));
        assert_eq!((pressure.some.total, pressure.full.total), (77, 5));
        assert_eq!(parse_pressure("some avg10=x\n"), None);
    }

    #[test]
    fn devices_have_the_operations_of_v1() {
        let mut stats = BlockIoStats::default();
        add_device(&mut stats, "8:0 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=9 dios=9").unwrap();
        // A device that was only written to by others.
        add_device(&mut stats, "259:1").unwrap();
        let told = |list: &[BlockIoEntry]| {
            list.iter().map(|e| (e.major, e.op.clone(), e.value)).collect::<Vec<_>>()
        };
        let (read, write) = ("Read".to_owned(), "Write".to_owned());
        assert_eq!(told(&stats.service_bytes), [(8, read.clone(), 4096), (8, write.clone(), 1)]);
        assert_eq!(told(&stats.serviced), [(8, read, 2), (8, write, 3)]);
        assert!(add_device(&mut stats, "x rbytes=1").is_none());
    }
}
