//! Arguments as written: flags in Go's spelling and positional arguments, from one definition.
//!
//! Callers spell flags as Go's `flag` package reads them: one dash or two, `-flag value`,
//! `-flag=value`, switches alone or with `=true`. A table of [`Verb`]s is the only description of
//! the command line; parsing, help, manual pages and completions read it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::call::Call;
use crate::units;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or `=true` and `=false`.
    Switch,
    /// A value; the last one counts.
    Text,
    /// A value; each one counts.
    List,
    /// An integer; the last one counts.
    Number,
    /// An integer; each one counts.
    Numbers,
    /// A time span in Go's syntax; the last one counts.
    Duration,
}

impl Kind {
    /// Whether each value counts.
    pub(crate) fn is_repeated(self) -> bool {
        matches!(self, Self::List | Self::Numbers)
    }
}

/// What the value of a flag names, for completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Nothing that is known.
    Anything,
    /// A file.
    File,
    /// A directory.
    Directory,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// One flag of the program or of a verb.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// Name without dashes.
    pub(crate) name: &'static str,
    /// One-letter name, or empty.
    pub(crate) short: &'static str,
    /// What follows it.
    pub(crate) kind: Kind,
    /// What its value names.
    pub(crate) names: Names,
    /// What it does, for help.
    pub(crate) help: &'static str,
    /// Default that help shows, or empty.
    pub(crate) default: &'static str,
    /// Accepted, but not shown by help.
    pub(crate) hidden: bool,
}

impl Flag {
    const fn new(kind: Kind, name: &'static str, short: &'static str, help: &'static str) -> Self {
        let names = Names::Anything;
        Self { name, short, kind, names, help, default: "", hidden: false }
    }

    /// A flag that is on or off.
    pub(crate) const fn switch(
        name: &'static str,
        short: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Switch, name, short, help)
    }

    /// A flag with one value.
    pub(crate) const fn text(name: &'static str, short: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Text, name, short, help)
    }

    /// A flag that may be given several times.
    pub(crate) const fn list(name: &'static str, short: &'static str, help: &'static str) -> Self {
        Self::new(Kind::List, name, short, help)
    }

    /// A flag with an integer.
    pub(crate) const fn number(
        name: &'static str,
        short: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Number, name, short, help)
    }

    /// A flag with an integer that may be given several times.
    pub(crate) const fn numbers(
        name: &'static str,
        short: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Numbers, name, short, help)
    }

    /// A flag with a time span.
    pub(crate) const fn duration(
        name: &'static str,
        short: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Duration, name, short, help)
    }

    /// Its value is the path of a file.
    pub(crate) const fn file(mut self) -> Self {
        self.names = Names::File;
        self
    }

    /// Its value is the path of a directory.
    pub(crate) const fn directory(mut self) -> Self {
        self.names = Names::Directory;
        self
    }

    /// Its value is one of these words.
    pub(crate) const fn words(mut self, words: &'static [&'static str]) -> Self {
        self.names = Names::Words(words);
        self
    }

    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    fn is_named(&self, name: &[u8]) -> bool {
        name == self.name.as_bytes() || (!self.short.is_empty() && name == self.short.as_bytes())
    }
}

/// How many positional arguments a verb takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    /// This many.
    Exactly(usize),
    /// This many or more.
    AtLeast(usize),
    /// From the first to the second number.
    Between(usize, usize),
}

/// One verb of the command line.
pub(crate) struct Verb {
    /// Name on the command line.
    pub(crate) name: &'static str,
    /// One line for the list of verbs.
    pub(crate) about: &'static str,
    /// What follows the flags, for help.
    pub(crate) operands: &'static str,
    /// Paragraphs for help.
    pub(crate) description: &'static str,
    /// Its own flags.
    pub(crate) flags: &'static [Flag],
    /// Number of positional arguments.
    pub(crate) arity: Arity,
    /// Whether everything after the first positional argument belongs to another program.
    pub(crate) passes_rest: bool,
    /// Whether it makes processes that run inside a container.
    pub(crate) starts_process: bool,
    /// Whether these are further processes of the container that the first operand names.
    pub(crate) joins_container: bool,
    /// Exit code when husk itself fails.
    pub(crate) failure: u8,
    /// Carries it out.
    pub(crate) run: fn(&Call<'_>) -> anyhow::Result<u8>,
}

/// Flags as given, each with its value.
#[derive(Debug, Default)]
pub(crate) struct Flags<'a> {
    given: Vec<(&'static Flag, &'a OsStr)>,
}

impl<'a> Flags<'a> {
    /// These flags of the program, and those of them that stand behind the verb.
    pub(crate) fn with(&self, behind: &Self, table: &[Flag]) -> Self {
        let is_of = |flag: &Flag| table.iter().any(|known| known.name == flag.name);
        let behind = behind.given.iter().filter(|(flag, _)| is_of(flag));
        Self { given: self.given.iter().chain(behind).copied().collect() }
    }

    fn last(&self, name: &str) -> Option<&'a OsStr> {
        let mut given = self.given.iter().rev();
        given.find(|(flag, _)| flag.name == name).map(|(_, value)| *value)
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.last(name).and_then(parse_bool).unwrap_or(false)
    }

    /// The value of a flag, if given: callers write an empty one where they have none.
    pub(crate) fn text(&self, name: &str) -> Option<&'a OsStr> {
        self.last(name).filter(|value| !value.is_empty())
    }

    /// The value of a flag, if given, even an empty one.
    pub(crate) fn given(&self, name: &str) -> Option<&'a OsStr> {
        self.last(name)
    }

    /// All values of a flag, in order.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &'a OsStr> {
        self.given.iter().filter(move |(flag, _)| flag.name == name).map(|(_, value)| *value)
    }

    /// The integer of a flag, if given.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.last(name).and_then(parse_number)
    }

    /// The time span of a flag, if given; none in it for one that is not positive.
    pub(crate) fn duration(&self, name: &str) -> Option<Option<Duration>> {
        let span = self.last(name).and_then(parse_duration)?;
        Some(span.filter(|span| !span.is_zero()))
    }
}

/// A command line that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// A flag is unknown, lacks its value or has one of another kind.
    Flag(String),
    /// The number of positional arguments is wrong.
    Arity {
        /// Name of the verb.
        verb: &'static str,
        /// What it takes.
        arity: Arity,
        /// How many there are.
        count: usize,
    },
    /// There is no such verb.
    Verb(String),
}

impl Usage {
    /// The message, which names the program for a wrong number of arguments.
    pub(crate) fn message(&self, program: &str) -> String {
        match self {
            Self::Flag(message) => message.clone(),
            Self::Arity { verb, arity, count } => {
                format!("{program}: \"{verb}\" requires {}", arity.wanted(*count))
            }
            Self::Verb(name) => format!("No help topic for '{name}'"),
        }
    }

    /// Exit code: 3 for an unknown verb, as runc's callers expect it.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Verb(_) => 3,
            Self::Flag(_) | Self::Arity { .. } => 1,
        }
    }
}

impl Arity {
    fn fits(self, count: usize) -> bool {
        match self {
            Self::Exactly(wanted) => count == wanted,
            Self::AtLeast(least) => count >= least,
            Self::Between(least, most) => (least..=most).contains(&count),
        }
    }

    /// What is wrong with a number of arguments that does not fit.
    fn wanted(self, count: usize) -> String {
        match self {
            Self::Exactly(wanted) => format!("exactly {wanted} argument(s)"),
            Self::Between(_, most) if count > most => format!("a maximum of {most} argument(s)"),
            Self::AtLeast(least) | Self::Between(least, _) => {
                format!("a minimum of {least} argument(s)")
            }
        }
    }
}

/// Flags and positional arguments of the program or of a verb.
#[derive(Debug, Default)]
pub(crate) struct Parsed<'a> {
    pub(crate) flags: Flags<'a>,
    pub(crate) operands: Vec<&'a OsStr>,
    /// `--help` was among the flags.
    pub(crate) help: bool,
}

/// Where flags may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Before the first positional argument only.
    FlagsFirst,
    /// Known flags also after positional arguments.
    Mixed,
}

/// Splits arguments into flags of `tables`, of which the first one counts, and positional arguments.
///
/// In mixed order a word after the first positional argument that looks like a flag and is none
/// is positional: `kill ID -9` says so.
pub(crate) fn parse<'a>(
    tables: &[&'static [Flag]],
    order: Order,
    args: &'a [OsString],
) -> Result<Parsed<'a>, Usage> {
    let mut parsed = Parsed::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            break;
        }
        let Some((name, value)) = split_flag(bytes)? else {
            parsed.operands.push(arg);
            if order == Order::FlagsFirst {
                break;
            }
            continue;
        };
        let mut known = tables.iter().copied().flatten();
        let Some(flag) = known.find(|flag| flag.is_named(name)) else {
            if name == b"help" || name == b"h" {
                parsed.help = true;
                continue;
            }
            if !parsed.operands.is_empty() {
                parsed.operands.push(arg);
                continue;
            }
            let name = String::from_utf8_lossy(name);
            return Err(Usage::Flag(format!("flag provided but not defined: -{name}")));
        };
        let value = match (flag.kind, value) {
            (_, Some(value)) => value,
            (Kind::Switch, None) => OsStr::new("true"),
            (_, None) => rest.next().ok_or_else(|| {
                let name = String::from_utf8_lossy(name);
                Usage::Flag(format!("flag needs an argument: -{name}"))
            })?,
        };
        check_value(flag, name, value)?;
        parsed.flags.given.push((flag, value));
    }
    parsed.operands.extend(rest.map(OsString::as_os_str));
    Ok(parsed)
}

type Split<'a> = (&'a [u8], Option<&'a OsStr>);

/// Name and `=value` of a flag; none for a positional argument.
fn split_flag(arg: &[u8]) -> Result<Option<Split<'_>>, Usage> {
    let Some(body) = arg.strip_prefix(b"-").filter(|body| !body.is_empty()) else {
        return Ok(None);
    };
    let body = body.strip_prefix(b"-").unwrap_or(body);
    if body.is_empty() || body.starts_with(b"-") || body.starts_with(b"=") {
        let arg = String::from_utf8_lossy(arg);
        return Err(Usage::Flag(format!("bad flag syntax: {arg}")));
    }
    Ok(Some(match body.iter().position(|byte| *byte == b'=') {
        Some(at) => (&body[..at], Some(OsStr::from_bytes(&body[at + 1..]))),
        None => (body, None),
    }))
}

fn check_value(flag: &Flag, name: &[u8], value: &OsStr) -> Result<(), Usage> {
    let name = String::from_utf8_lossy(name);
    let shown = value.to_string_lossy();
    match flag.kind {
        Kind::Switch if parse_bool(value).is_none() => {
            Err(Usage::Flag(format!("invalid boolean value {shown:?} for -{name}: parse error")))
        }
        Kind::Number | Kind::Numbers if parse_number(value).is_none() => {
            Err(Usage::Flag(format!("invalid value {shown:?} for flag -{name}: parse error")))
        }
        Kind::Duration if parse_duration(value).is_none() => {
            Err(Usage::Flag(format!("invalid value {shown:?} for flag -{name}: parse error")))
        }
        _ => Ok(()),
    }
}

/// A time span; none in it for a negative one.
fn parse_duration(value: &OsStr) -> Option<Option<Duration>> {
    let word = value.to_str()?;
    match word.strip_prefix('-') {
        Some(span) => units::duration(span).map(|_| None),
        None => units::duration(word.strip_prefix('+').unwrap_or(word)).map(Some),
    }
}

pub(crate) fn parse_bool(value: &OsStr) -> Option<bool> {
    match value.to_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn parse_number(value: &OsStr) -> Option<i64> {
    let value = value.to_str()?;
    match value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

impl Verb {
    /// Parses what follows the verb, flags of the program among it.
    ///
    /// # Errors
    /// [`Usage`] for flags and for the number of positional arguments.
    pub(crate) fn parse<'a>(
        &'static self,
        globals: &'static [Flag],
        args: &'a [OsString],
    ) -> Result<Parsed<'a>, Usage> {
        let order = if self.passes_rest { Order::FlagsFirst } else { Order::Mixed };
        let parsed = parse(&[self.flags, globals], order, args)?;
        let count = parsed.operands.len();
        if self.arity.fits(count) || parsed.help {
            return Ok(parsed);
        }
        Err(Usage::Arity { verb: self.name, arity: self.arity, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::text("bundle", "b", ""),
        Flag::list("env", "e", ""),
        Flag::switch("detach", "d", ""),
        Flag::switch("no-subreaper", "", ""),
        Flag::number("preserve-fds", "", ""),
        Flag::switch("tty", "t", ""),
    ];

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn operands<'a>(parsed: &Parsed<'a>) -> Vec<&'a str> {
        parsed.operands.iter().map(|word| word.to_str().unwrap()).collect()
    }

    #[test]
    fn every_spelling_of_a_value() {
        for line in [
            "-b /x id",
            "--b /x id",
            "-b=/x id",
            "--bundle /x id",
            "-bundle=/x id",
            "--bundle=/x -- id",
            "-bundle /y --bundle /x id",
        ] {
            let words = words(line);
            let parsed = parse(&[FLAGS], Order::FlagsFirst, &words).unwrap();
            assert_eq!(parsed.flags.text("bundle"), Some(OsStr::new("/x")), "{line}");
            assert_eq!(operands(&parsed), ["id"], "{line}");
        }
    }

    #[test]
    fn switches_take_values_only_after_an_equals_sign() {
        for (line, on) in [
            ("-d id", true),
            ("--detach=1 id", true),
            ("--detach=false id", false),
            ("--detach -d=F id", false),
            ("id", false),
        ] {
            let words = words(line);
            let parsed = parse(&[FLAGS], Order::FlagsFirst, &words).unwrap();
            assert_eq!(parsed.flags.is_on("detach"), on, "{line}");
            assert_eq!(operands(&parsed), ["id"], "{line}");
        }
    }

    #[test]
    fn flags_first_leaves_the_command_alone() {
        let words = words("-e A=1 --env B=2 id sh -c -d --bundle");
        let parsed = parse(&[FLAGS], Order::FlagsFirst, &words).unwrap();
        assert_eq!(parsed.flags.list("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert_eq!(operands(&parsed), ["id", "sh", "-c", "-d", "--bundle"]);
    }

    #[test]
    fn mixed_order_takes_known_flags_and_keeps_other_words() {
        let words = words("id -9 --detach -b /x -- -d");
        let parsed = parse(&[FLAGS], Order::Mixed, &words).unwrap();
        assert!(parsed.flags.is_on("detach"));
        assert_eq!(parsed.flags.text("bundle"), Some(OsStr::new("/x")));
        assert_eq!(operands(&parsed), ["id", "-9", "-d"]);
    }

    #[test]
    fn errors_have_the_words_of_gos_flag_package() {
        for (line, message) in [
            ("--bogus id", "flag provided but not defined: -bogus"),
            ("-x=1 id", "flag provided but not defined: -x"),
            ("--bundle", "flag needs an argument: -bundle"),
            ("---bundle x", "bad flag syntax: ---bundle"),
            ("-=x", "bad flag syntax: -=x"),
            ("--detach=maybe", "invalid boolean value \"maybe\" for -detach: parse error"),
            ("--preserve-fds=x", "invalid value \"x\" for flag -preserve-fds: parse error"),
        ] {
            let error = parse(&[FLAGS], Order::Mixed, &words(line)).unwrap_err();
            assert_eq!(error.message("husk"), message);
            assert_eq!(error.code(), 1);
        }
    }

    #[test]
    fn flags_of_the_program_may_stand_behind_the_verb() {
        const GLOBALS: &[Flag] = &[Flag::text("root", "", ""), Flag::switch("detach", "d", "")];
        let (before, behind) = (words("--root /x"), words("id --root /y -d"));
        let before = parse(&[GLOBALS], Order::FlagsFirst, &before).unwrap();
        let behind = parse(&[&FLAGS[..2], GLOBALS], Order::Mixed, &behind).unwrap();
        assert_eq!(operands(&behind), ["id"]);
        let all = before.flags.with(&behind.flags, GLOBALS);
        assert_eq!(all.text("root"), Some(OsStr::new("/y")));
        assert!(all.is_on("detach"));
    }

    #[test]
    fn a_lone_dash_is_positional() {
        let words = words("- id");
        let parsed = parse(&[FLAGS], Order::FlagsFirst, &words).unwrap();
        assert_eq!(operands(&parsed), ["-", "id"]);
    }
}
