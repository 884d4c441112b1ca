//! Sizes and durations as callers write them.

use std::time::Duration;

/// Bytes, as Docker's units are written: `512m`, `1.5GiB`, `64 kB`, all powers of 1024.
pub(crate) fn bytes(word: &str) -> Option<i64> {
    let digits = word.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, unit) = word.split_at_checked(digits)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if matches!(unit.as_str(), "" | "b") => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    if !unit.is_empty() && !["", "b", "ib", "i"].contains(&unit.get(1..)?) {
        return None;
    }
    scaled(number, 1_u64 << shift)?.try_into().ok()
}

/// A duration in Go's syntax: `5s`, `100ms`, `1h2m3.5s`. Signs are no part of it.
pub(crate) fn duration(word: &str) -> Option<Duration> {
    if word == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0_u64;
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let nanoseconds = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(scaled(number, nanoseconds)?)?;
        rest = tail;
    }
    (!word.is_empty()).then_some(Duration::from_nanos(total))
}

/// A decimal number without sign or exponent times `unit`, cut off to a whole number.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    // More digits do not matter for any unit.
    let fraction = fraction.get(..fraction.len().min(18))?;
    let part = match fraction {
        "" => 0,
        digits => {
            let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
            u64::try_from(digits.parse::<u128>().ok()? * u128::from(unit) / scale).ok()?
        }
    };
    whole.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_every_spelling() {
        for (word, expected) in [
            ("0", 0),
            ("67108864", 67_108_864),
            ("32b", 32),
            ("512m", 512 << 20),
            ("512M", 512 << 20),
            ("50MB", 50 << 20),
            ("1.5GiB", 3 << 29),
            ("64 kB", 64 << 10),
            (".5k", 512),
            ("1t", 1 << 40),
            ("2p", 2 << 50),
        ] {
            assert_eq!(bytes(word), Some(expected), "{word}");
        }
        for word in [
            "",
            "m",
            "-1",
            "-5m",
            "1x",
            "1mm",
            "1bb",
            "1ibb",
            "1ib",
            "1 2",
            "1e3",
            ".",
            "1..5",
            "99999999p",
            "1  k",
            "\u{661}",
        ] {
            assert_eq!(bytes(word), None, "{word}");
        }
    }

    #[test]
    fn durations_in_gos_syntax() {
        let milliseconds = Duration::from_millis;
        for (word, expected) in [
            ("0", milliseconds(0)),
            ("0s", milliseconds(0)),
            ("5s", milliseconds(5_000)),
            ("100ms", milliseconds(100)),
            ("1.5s", milliseconds(1_500)),
            (".5s", milliseconds(500)),
            ("1h2m3.5s", milliseconds(3_723_500)),
            ("7us", Duration::from_micros(7)),
            ("7\u{b5}s", Duration::from_micros(7)),
            ("9ns", Duration::from_nanos(9)),
        ] {
            assert_eq!(duration(word), Some(expected), "{word}");
        }
        for word in ["", "5", "s", "-5s", "5 s", "5d", "1s2", "..s", "99999999999h", "1e3s"] {
            assert_eq!(duration(word), None, "{word}");
        }
    }
}
