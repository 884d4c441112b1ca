//! Lines of `schemata`: a resource, and a share for each of its domains.

/// Whether the group whose `schemata` are `present` has what `wanted` says. The kernel pads
/// numbers, sorts domains, and rounds bandwidth up to `step`; domains that `wanted` does not name
/// may have anything.
pub(super) fn holds(wanted: &str, present: &str, step: u64) -> bool {
    let Some((resource, wanted)) = split(wanted) else { return wanted.trim().is_empty() };
    let Some((_, present)) = present.lines().filter_map(split).find(|(name, _)| *name == resource)
    else {
        return false;
    };
    let is_bandwidth = resource.ends_with("MB");
    domains(wanted).all(|(domain, share)| {
        let found = domains(present).find(|(other, _)| *other == domain);
        found.is_some_and(|(_, present)| match is_bandwidth {
            true => {
                number(share, 10).map(|n| n.next_multiple_of(step.max(1))) == number(present, 10)
                    || number(share, 10) == number(present, 10)
            }
            false => number(share, 16) == number(present, 16),
        })
    })
}

fn split(line: &str) -> Option<(&str, &str)> {
    line.split_once(':').map(|(name, shares)| (name.trim(), shares))
}

fn domains(shares: &str) -> impl Iterator<Item = (&str, &str)> {
    shares
        .split(';')
        .filter_map(|part| part.split_once('='))
        .map(|(domain, share)| (domain.trim(), share.trim()))
}

/// None for what is no number, which equals only another such text's none: the kernel refuses it.
fn number(text: &str, base: u32) -> Option<u64> {
    u64::from_str_radix(text, base).ok()
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn the_kernels_writing_is_understood() {
        let present = "    MB:0=  50;1= 100\n    L3:0=00ff;1=7ff\n";
        for line in ["L3:0=ff", "L3:1=7FF;0=0ff", "MB:0=50", "MB:0=41;1=100", ""] {
            assert!(holds(line, present, 10), "{line}");
        }
        for line in ["L3:0=fe", "L3:2=ff", "MB:0=51", "MB:0=40", "L2:0=1", "nonsense"] {
            assert!(!holds(line, present, 10), "{line}");
        }
        assert!(!holds("MB:0=41", present, 1));
    }
}
