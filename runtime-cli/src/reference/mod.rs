//! Manual pages and completions, written from the tables that the parser reads.

pub(crate) mod bash;
pub(crate) mod fish;
pub(crate) mod man;
pub(crate) mod zsh;

use nix::sys::signal::Signal;

use crate::args::{Flag, Kind, Names, Verb};

/// What can be completed in one place of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing that is known.
    Anything,
    /// A file.
    File,
    /// A directory.
    Directory,
    /// The id of a container.
    Id,
    /// A signal.
    Signal,
    /// One of these words.
    Words(Vec<&'static str>),
}

/// The flags that are shown.
pub(crate) fn shown(flags: &'static [Flag]) -> impl Iterator<Item = &'static Flag> {
    flags.iter().filter(|flag| !flag.hidden)
}

/// What follows a flag; none for a switch.
pub(crate) fn value_of(flag: &Flag) -> Option<Value> {
    match (flag.kind, flag.names) {
        (Kind::Switch, _) => None,
        (_, Names::Anything) => Some(Value::Anything),
        (_, Names::File) => Some(Value::File),
        (_, Names::Directory) => Some(Value::Directory),
        (_, Names::Words(words)) => Some(Value::Words(words.to_vec())),
    }
}

/// What the positional arguments of a verb are, in order. Where it has several forms, each of which
/// begins with a word of its own, the longest one counts.
pub(crate) fn operands(verb: &Verb) -> Vec<Value> {
    let forms: Vec<Vec<&'static str>> =
        verb.operands.split(" | ").map(|form| form.split_whitespace().collect()).collect();
    let is_word = |token: &&str| token.starts_with(|first: char| first.is_ascii_lowercase());
    let first_words: Vec<&'static str> =
        forms.iter().filter_map(|form| form.first().copied().filter(is_word)).collect();
    if first_words.is_empty() {
        let form = forms.into_iter().next().unwrap_or_default();
        return form.into_iter().map(operand).collect();
    }
    let longest = forms.into_iter().max_by_key(Vec::len).unwrap_or_default();
    let rest = longest.into_iter().skip(1).map(operand);
    [Value::Words(first_words)].into_iter().chain(rest).collect()
}

fn operand(token: &'static str) -> Value {
    let name = token.trim_matches(['<', '>', '[', ']']);
    match name {
        "container-id" => Value::Id,
        "signal" => Value::Signal,
        "file" | "profile" => Value::File,
        "directory" => Value::Directory,
        words if words.contains('|') => Value::Words(words.split('|').collect()),
        _ => Value::Anything,
    }
}

/// Names of signals, without `SIG`.
pub(crate) fn signals() -> Vec<&'static str> {
    Signal::iterator().map(|signal| signal.as_str().trim_start_matches("SIG")).collect()
}

/// The spellings of a flag, with dashes.
pub(crate) fn spellings(flag: &Flag) -> Vec<String> {
    let long = format!("--{}", flag.name);
    match flag.short {
        "" => vec![long],
        short => vec![long, format!("-{short}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Program;
    use crate::commands::VERBS;
    use crate::{BEHIND_VERB, GLOBAL_FLAGS};

    fn verb(name: &str) -> &'static Verb {
        VERBS.iter().find(|verb| verb.name == name).unwrap()
    }

    #[test]
    fn operands_are_read_from_the_words_of_help() {
        assert_eq!(operands(verb("kill")), [Value::Id, Value::Signal]);
        assert_eq!(operands(verb("list")), []);
        assert_eq!(operands(verb("exec")), [Value::Id, Value::Anything, Value::Anything]);
        assert_eq!(operands(verb("completion")), [Value::Words(vec!["bash", "zsh", "fish"])]);
        let words = Value::Words(vec!["compile", "eval", "diff"]);
        assert_eq!(operands(verb("seccomp")), [words, Value::File, Value::File]);
    }

    /// The spelling as a flag, and not as the beginning of a longer one.
    fn has(text: &str, flag: &str) -> bool {
        text.match_indices(flag).any(|(at, _)| {
            let ends = |c: char| !c.is_ascii_alphanumeric() && c != '-';
            text[at + flag.len()..].chars().next().is_none_or(ends)
        })
    }

    #[test]
    fn every_output_has_every_verb_and_every_flag() {
        let program = Program { name: "husk" };
        let manual: Vec<(String, String)> = man::pages(program);
        let page = |name: &str| {
            let name = format!("{name}.8");
            let found = manual.iter().find(|(known, _)| *known == name);
            found.unwrap_or_else(|| panic!("no page {name}")).1.replace("\\-", "-")
        };
        let shells = [bash::completion(program), zsh::completion(program)];
        let fish = fish::completion(program);
        for verb in VERBS {
            let own = page(&format!("husk-{}", verb.name));
            assert!(page("husk").contains(&format!("husk-{} ", verb.name)), "{}", verb.name);
            for flag in shown(verb.flags).chain(shown(BEHIND_VERB)) {
                for spelling in spellings(flag) {
                    let is_own = verb.flags.iter().any(|own| own.name == flag.name);
                    assert!(!is_own || has(&own, &spelling), "{spelling} of {} in man", verb.name);
                    for text in &shells {
                        assert!(has(text, &spelling), "{spelling} of {}", verb.name);
                    }
                }
                assert!(fish.contains(&format!(" -l {} ", flag.name)), "{}", flag.name);
            }
            for text in shells.iter().chain([&fish]) {
                assert!(
                    text.contains(verb.name)
                        && text.contains(verb.about.split('\'').next().unwrap())
                        || text == &shells[0]
                );
            }
        }
        for flag in shown(GLOBAL_FLAGS) {
            assert!(has(&page("husk"), &format!("--{}", flag.name)), "{}", flag.name);
        }
    }

    #[test]
    fn pages_have_no_line_that_roff_would_read_as_another_request() {
        for (name, page) in man::pages(Program { name: "husk" }) {
            for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
                let request = line.split(' ').next().unwrap_or_default();
                let known = [".TH", ".SH", ".TP", ".PP", ".B", ".BR", ".nf", ".fi", ".\\\"", ".br"];
                assert!(known.contains(&request), "{name}: {line}");
            }
        }
    }
}
