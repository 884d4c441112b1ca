//! husk: runs OCI containers, with the command line of runc.
//!
//! Arguments become a [`call::Call`] of a verb, the verb calls the library, and its result becomes
//! an exit code. No decision about a container is made here.

mod args;
mod call;
mod commands;
mod foreground;
mod help;
mod inherited;
mod log;
mod notify;
mod place;
mod reference;
mod sockets;
mod terminal;
mod text;
mod units;
mod version;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use anyhow::{Result, anyhow};

use args::{Flag, Flags, Order, Parsed, Usage, Verb};
use call::{Call, Program, print};
use inherited::Inherited;
use libcontainer::Container;
use log::{Format, Least, Log};
use place::{Name, Place};

/// Flags of the program. They may also stand behind the verb, all but the last one.
pub(crate) const GLOBAL_FLAGS: &[Flag] = &[
    Flag::switch("debug", "", "write debug messages to the log"),
    Flag::text("log", "", "append messages to this file, or to syslog:TAG or journald:TAG")
        .file()
        .default("standard error"),
    Flag::text("log-format", "", "form of the messages: text or json")
        .words(&["text", "json"])
        .default("text"),
    Flag::text("log-level", "", "what is written at least: error, warning or debug")
        .words(&["error", "warning", "debug"])
        .default("warning"),
    Flag::text("root", "", "directory of the containers' states, best on a tmpfs")
        .directory()
        .default("/run/husk, or below $XDG_RUNTIME_DIR for ordinary users"),
    Flag::text("criu", "", "path of criu").file().hidden(),
    Flag::switch("systemd-cgroup", "", "let systemd make the cgroups, for create and run"),
    Flag::text(
        "cgroup-manager",
        "",
        "who makes the cgroups: cgroupfs, systemd or disabled (nobody)",
    )
    .words(&["cgroupfs", "systemd", "disabled"])
    .default("cgroupfs"),
    Flag::text("rootless", "", "tolerate cgroups without permission: true, false or auto")
        .words(&["true", "false", "auto"])
        .default("auto"),
    Flag::switch("strict", "", "follow the specification where runc and its callers do not"),
    Flag::switch("version", "v", "print the version"),
];

const BEHIND_VERB: &[Flag] = match GLOBAL_FLAGS {
    [all @ .., _] => all,
    [] => &[],
};

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let program = Program::named(argv.first().map(OsString::as_os_str));
    ExitCode::from(run(program, argv.get(1..).unwrap_or_default()))
}

fn run(program: Program, words: &[OsString]) -> u8 {
    let parsed = match args::parse(&[GLOBAL_FLAGS], Order::FlagsFirst, words) {
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
    // Both start from the same words: borrowed operands cannot be parsed again.
    let rest = words.get(words.len() - parsed.operands.len()..).unwrap_or_default();
    let Some((name, words)) = rest.split_first() else {
        return printed(&help::program(program));
    };
    dispatch(program, &parsed.flags, name, words)
}

fn dispatch(program: Program, globals: &Flags<'_>, name: &OsStr, words: &[OsString]) -> u8 {
    let verb = commands::find(name);
    let parsed = verb.map(|verb| verb.parse(BEHIND_VERB, words));
    let globals = &match &parsed {
        Some(Ok(parsed)) => globals.with(&parsed.flags, BEHIND_VERB),
        _ => globals.with(&Flags::default(), BEHIND_VERB),
    };
    // Before anything is opened, the log included.
    let ready = match (verb, &parsed) {
        (Some(verb), Some(Ok(parsed))) if !parsed.help => prepare(program, globals, verb, parsed),
        _ => Ok(Inherited::default()),
    };
    let log = match open_log(program, globals) {
        Ok(log) => log,
        Err(error) => return fail(&Log::stderr(Format::Text), &error, 1),
    };
    match (verb, parsed) {
        (Some(verb), Some(Ok(parsed))) if parsed.help => printed(&help::verb(program, verb)),
        (Some(verb), Some(Ok(parsed))) => match ready {
            Ok(inherited) => {
                let Parsed { flags, operands, .. } = &parsed;
                perform(&Call { program, verb, globals, flags, operands, inherited, log: &log })
            }
            Err(error) => fail(&log, &error, verb.failure),
        },
        (Some(verb), Some(Err(usage))) => refuse(&log, program, &usage, &help::verb(program, verb)),
        _ if name == "help" || name == "h" => show_help(program, &log, words.first()),
        _ => unknown(program, &log, name),
    }
}

/// What has to come first where containers get processes: which descriptors the caller left open,
/// a program file that no container can write to, and children whose status is kept.
fn prepare(
    program: Program,
    globals: &Flags<'_>,
    verb: &Verb,
    parsed: &Parsed<'_>,
) -> Result<Inherited> {
    inherited::status_descriptor(&parsed.flags)?;
    if !verb.starts_process {
        return Ok(Inherited::default());
    }
    // Activation by sockets is about the container's first process.
    let inherited = Inherited::find(&parsed.flags, !verb.joins_container)?;
    if !(verb.joins_container && is_out_of_reach(program, globals, parsed)) {
        libcontainer::protect_self()?;
    }
    libcontainer::keep_exit_statuses()?;
    Ok(inherited)
}

/// Whether the container in which a process is to be executed is one that cannot reach this
/// program's file. What goes wrong here is told where the process is executed.
fn is_out_of_reach(program: Program, globals: &Flags<'_>, parsed: &Parsed<'_>) -> bool {
    let id = parsed.operands.first().and_then(|id| id.to_str()).unwrap_or_default();
    let container =
        call::root(program, globals).ok().and_then(|root| Container::open(&root, id).ok());
    container.is_some_and(|container| container.is_program_out_of_reach().unwrap_or(false))
}

fn perform(call: &Call<'_>) -> u8 {
    match attempt(call) {
        Ok(code) => {
            call.log.flush();
            code
        }
        Err(error) => fail(call.log, &error, call.verb.failure),
    }
}

fn attempt(call: &Call<'_>) -> Result<u8> {
    call.root()?;
    (call.verb.run)(call)
}

fn show_help(program: Program, log: &Log, name: Option<&OsString>) -> u8 {
    match name {
        None => printed(&help::program(program)),
        Some(name) => match commands::find(name) {
            Some(verb) => printed(&help::verb(program, verb)),
            None => unknown(program, log, name),
        },
    }
}

fn unknown(program: Program, log: &Log, name: &OsStr) -> u8 {
    let usage = Usage::Verb(name.to_string_lossy().into_owned());
    log.error(&usage.message(program.name), &[]);
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
    log.error(&message, &[]);
    code.max(usage.code())
}

/// The one line of a failure. Where in config.json or the process file it comes from is part of the sentence, since
/// callers show nothing else, and a field for programs.
fn fail(log: &Log, error: &anyhow::Error, code: u8) -> u8 {
    let mut message = format!("{error:#}");
    let mut fields = Vec::new();
    if let Some(error) = error.downcast_ref::<libcontainer::Error>() {
        if let Some(pointer) = error.pointer() {
            if !message.contains(pointer) {
                message.push_str(&format!(" (at {pointer})"));
            }
            fields.push(("pointer", pointer));
        }
        error.warnings().iter().for_each(|warning| log.warn(warning));
        fields.extend(error.hint().map(|hint| ("hint", hint)));
    }
    log.error(&message, &fields);
    code
}

fn printed(text: &str) -> u8 {
    match print(text) {
        Ok(()) => 0,
        Err(error) => fail(&Log::stderr(Format::Text), &error, 1),
    }
}

fn open_log(program: Program, globals: &Flags<'_>) -> Result<Log> {
    let name = globals.text("log-format").unwrap_or_default();
    let format = Format::parse(name)
        .ok_or_else(|| anyhow!("invalid log-format: {}", name.to_string_lossy()))?;
    let least = match globals.text("log-level") {
        _ if globals.is_on("debug") => Least::Debug,
        Some(name) => Least::parse(name)
            .ok_or_else(|| anyhow!("invalid log-level: {}", name.to_string_lossy()))?,
        None => Least::Warning,
    };
    let place = match globals.text("log").map(Name::parse) {
        Some(name) => Place::open(name, program.name)
            .map_err(|error| anyhow!("open {}: {}", name.path().display(), text::kernel(&error)))?,
        None => Place::Stderr,
    };
    let log = Log::new(place, format, least);
    if log.install_debug() {
        ::log::debug!("husk {} ({})", version::VERSION, version::COMMIT);
    }
    Ok(log)
}
