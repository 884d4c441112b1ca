//! husk: runs OCI containers, with the command line of runc.
//!
//! Arguments become a [`call::Call`] of a verb, the verb calls the library, and its result becomes
//! an exit code. No decision about a container is made here.

#![expect(dead_code, reason = "the verbs that run containers follow")]

mod args;
mod call;
mod commands;
mod help;
mod log;
mod text;
mod version;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use anyhow::{Result, anyhow};

use args::{Flag, Flags, Order, Parsed, Usage, Verb};
use call::{Call, Program, print};
use log::{Format, Log};

/// Flags before the verb.
pub(crate) const GLOBAL_FLAGS: &[Flag] = &[
    Flag::switch("debug", "", "write debug messages to the log"),
    Flag::text("log", "", "append messages to this file").default("standard error"),
    Flag::text("log-format", "", "form of the messages: text or json").default("text"),
    Flag::text("root", "", "directory of the containers' states, best on a tmpfs")
        .default("/run/husk, or below $XDG_RUNTIME_DIR for ordinary users"),
    Flag::text("criu", "", "path of criu").hidden(),
    Flag::switch("systemd-cgroup", "", "let systemd make the cgroups").refused(),
    Flag::text("rootless", "", "tolerate cgroups without permission: true, false or auto")
        .default("auto"),
    Flag::switch("version", "v", "print the version"),
];

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let program = Program::named(argv.first().map(OsString::as_os_str));
    ExitCode::from(run(program, argv.get(1..).unwrap_or_default()))
}

fn run(program: Program, words: &[OsString]) -> u8 {
    let parsed = match args::parse(GLOBAL_FLAGS, Order::FlagsFirst, words) {
        Ok(parsed) => parsed,
        Err(usage) => {
            let log = Log::stderr(Format::Text);
            return refuse(&log, program, &usage, &help::program(program));
        }
    };
    if parsed.help || parsed.operands.is_empty() && !parsed.flags.is_on("version") {
        return printed(&help::program(program));
    }
    if parsed.flags.is_on("version") {
        return printed(&version::text(program));
    }
    let rest = words.len() - parsed.operands.len();
    let log = match open_log(&parsed.flags) {
        Ok(log) => log,
        Err(error) => return fail(&Log::stderr(Format::Text), &error, 1),
    };
    match words.get(rest..) {
        Some([name, words @ ..]) => dispatch(program, &parsed.flags, &log, name, words),
        _ => printed(&help::program(program)),
    }
}

fn dispatch(
    program: Program,
    globals: &Flags<'_>,
    log: &Log,
    name: &OsStr,
    words: &[OsString],
) -> u8 {
    if name == "help" || name == "h" {
        return show_help(program, log, words.first());
    }
    let Some(verb) = find(name) else {
        return unknown(program, log, name);
    };
    let parsed = match verb.parse(words) {
        Ok(parsed) => parsed,
        Err(usage) => return refuse(log, program, &usage, &help::verb(program, verb)),
    };
    if parsed.help {
        return printed(&help::verb(program, verb));
    }
    perform(program, globals, log, verb, &parsed)
}

fn perform(
    program: Program,
    globals: &Flags<'_>,
    log: &Log,
    verb: &'static Verb,
    parsed: &Parsed<'_>,
) -> u8 {
    let Parsed { flags, operands, .. } = parsed;
    let call = Call { program, verb, globals, flags, operands, log };
    let result = match globals.refused().or_else(|| flags.refused()) {
        Some(flag) => Err(anyhow!("--{} is not supported yet", flag.name)),
        None => call.root().and_then(|_| (verb.run)(&call)),
    };
    match result {
        Ok(code) => {
            log.flush_warnings();
            code
        }
        Err(error) => fail(log, &error, verb.failure),
    }
}

fn find(name: &OsStr) -> Option<&'static Verb> {
    commands::VERBS.iter().copied().find(|verb| name == verb.name)
}

fn show_help(program: Program, log: &Log, name: Option<&OsString>) -> u8 {
    match name {
        None => printed(&help::program(program)),
        Some(name) => match find(name) {
            Some(verb) => printed(&help::verb(program, verb)),
            None => unknown(program, log, name),
        },
    }
}

fn unknown(program: Program, log: &Log, name: &OsStr) -> u8 {
    let usage = Usage::Verb(name.to_string_lossy().into_owned());
    log.error(&usage.message(program.name));
    usage.code()
}

/// A usage error: help on standard output, the message where messages go.
fn refuse(log: &Log, program: Program, usage: &Usage, help: &str) -> u8 {
    let message = usage.message(program.name);
    let heading = match usage {
        Usage::Arity { .. } => "Incorrect Usage.".to_owned(),
        Usage::Flag(_) | Usage::Verb(_) => format!("Incorrect Usage: {message}"),
    };
    let code = printed(&format!("{heading}\n\n{help}"));
    log.error(&message);
    code.max(usage.code())
}

fn fail(log: &Log, error: &anyhow::Error, code: u8) -> u8 {
    log.error(&format!("{error:#}"));
    code
}

fn printed(text: &str) -> u8 {
    match print(text) {
        Ok(()) => 0,
        Err(error) => fail(&Log::stderr(Format::Text), &error, 1),
    }
}

fn open_log(globals: &Flags<'_>) -> Result<Log> {
    let name = globals.text("log-format").unwrap_or_default();
    let format = Format::parse(name)
        .ok_or_else(|| anyhow!("invalid log-format: {}", name.to_string_lossy()))?;
    let log = match globals.text("log").filter(|path| !path.is_empty()) {
        Some(path) => Log::append(path, format)
            .map_err(|error| anyhow!("open {}: {}", path.display(), text::kernel(&error)))?,
        None => Log::stderr(format),
    };
    if globals.is_on("debug") {
        log.install_debug();
        ::log::debug!("husk {} ({})", version::VERSION, version::COMMIT);
    }
    Ok(log)
}
