//! Help, written from the tables that the parser reads.

use crate::args::{Flag, Kind, Verb};
use crate::call::Program;
use crate::commands::VERBS;
use crate::{GLOBAL_FLAGS, version};

/// Help of the program.
pub(crate) fn program(program: Program) -> String {
    let name = program.name;
    let mut text = format!(
        "NAME:\n   {name} - Open Container Initiative runtime\n\n\
         {name} runs containers from bundles: directories with a config.json, as the runtime\n\
         specification of the Open Container Initiative describes it, and a root file system.\n\n\
         \x20   # {name} run --bundle DIRECTORY ID\n\n\
         runs the one in DIRECTORY (the current directory if not given) under the name ID, which\n\
         no other container below the same --root may have.\n\n\
         USAGE:\n   {name} [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   {}\n\nCOMMANDS:\n",
        version::details()
    );
    let width = VERBS.iter().map(|verb| verb.name.len()).max().unwrap_or(0);
    for verb in VERBS {
        text.push_str(&format!("   {:width$}  {}\n", verb.name, verb.about));
    }
    text.push_str(&format!("   {:width$}  show this, or the help of one command\n", "help, h"));
    text.push_str("\nGLOBAL OPTIONS:\n");
    text.push_str(&flags(GLOBAL_FLAGS));
    text
}

/// Help of a verb.
pub(crate) fn verb(program: Program, verb: &Verb) -> String {
    let name = program.name;
    let options = if verb.flags.is_empty() { "" } else { " [command options]" };
    let operands = if verb.operands.is_empty() { "" } else { " " };
    let mut text = format!(
        "NAME:\n   {name} {} - {}\n\nUSAGE:\n   {name} {}{options}{operands}{}\n",
        verb.name, verb.about, verb.name, verb.operands
    );
    if !verb.description.is_empty() {
        text.push_str("\nDESCRIPTION:\n");
        for line in verb.description.lines() {
            text.push_str(&format!("   {line}\n"));
        }
    }
    if !verb.flags.is_empty() {
        text.push_str("\nOPTIONS:\n");
        text.push_str(&flags(verb.flags));
    }
    text
}

fn flags(flags: &[Flag]) -> String {
    let help = Flag::switch("help", "h", "show this help");
    let shown: Vec<&Flag> = flags.iter().filter(|flag| !flag.hidden).chain([&help]).collect();
    let width = shown.iter().map(|flag| spelling(flag).len()).max().unwrap_or(0);
    shown
        .iter()
        .map(|flag| {
            let default = match flag.default {
                "" => String::new(),
                default => format!(" (default: {default})"),
            };
            format!("   {:width$}  {}{default}\n", spelling(flag), flag.help)
        })
        .collect()
}

fn spelling(flag: &Flag) -> String {
    let value = if flag.kind == Kind::Switch { "" } else { " value" };
    match flag.short {
        "" => format!("--{}{value}", flag.name),
        short => format!("--{}{value}, -{short}{value}", flag.name),
    }
}
