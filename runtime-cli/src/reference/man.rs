//! The manual pages, in the macros of man(7).

use super::shown;
use crate::args::{Flag, Kind, Verb};
use crate::call::Program;
use crate::commands::VERBS;
use crate::{GLOBAL_FLAGS, version};

/// What the page of the program says beside its tables.
const SECTIONS: &[(&str, &str)] = &[
    (
        "ARGUMENTS",
        "Flags are written with one dash or two, with their value behind a blank or an equals sign. \
         They may stand before or behind the container's id, the global ones also behind the \
         command, but none behind the command of exec or the arguments of ps. A flag with an empty \
         value counts as not given.",
    ),
    (
        "EXIT STATUS",
        "That of the container's process for run and exec in the foreground, 128 and the number of \
         the signal that ended it; 255 when exec fails before its command is executed; 3 for an \
         unknown command; 1 for every other failure.",
    ),
    (
        "ENVIRONMENT",
        "XDG_RUNTIME_DIR is where ordinary users have their containers' states. NOTIFY_SOCKET, \
         LISTEN_FDS and LISTEN_PID are passed on to the container as sd_notify(3) and \
         sd_listen_fds(3) describe them.",
    ),
    (
        "FILES",
        "config.json in the bundle describes the container. /run/@ has the states of root's \
         containers, one directory for each.",
    ),
];

/// Names and texts of all pages.
pub(crate) fn pages(program: Program) -> Vec<(String, String)> {
    let name = program.name;
    let mut pages = vec![(format!("{name}.8"), overview(program))];
    for verb in VERBS {
        pages.push((format!("{name}-{}.8", verb.name), page(program, verb)));
    }
    pages
}

fn overview(program: Program) -> String {
    let name = program.name;
    let mut text = head(program, name, "Open Container Initiative runtime");
    text.push_str(&format!(
        ".SH SYNOPSIS\n.B {name}\n[global options] command [command options] [arguments...]\n\
         .SH DESCRIPTION\n"
    ));
    text.push_str(&plain(&format!(
        "{name} runs containers from bundles: directories with a config.json, as the runtime \
         specification of the Open Container Initiative describes it, and a root file system. Its \
         commands, flags, output and exit codes are runc's; started under the name runc it also \
         uses runc's state directory.",
    )));
    text.push_str(".SH COMMANDS\n");
    for verb in VERBS {
        text.push_str(&format!(".TP\n.BR {} (8)\n", page_name(name, verb.name)));
        text.push_str(&plain(verb.about));
    }
    text.push_str(".SH OPTIONS\n");
    text.push_str(&options(GLOBAL_FLAGS));
    for (title, body) in SECTIONS {
        text.push_str(&format!(".SH {title}\n{}", plain(&body.replace('@', name))));
    }
    text.push_str(&format!(
        ".SH EXAMPLES\n.nf\n{name} spec\n{name} run web\n{name} exec web ps\n\
         {name} kill web TERM\n{name} delete web\n.fi\n"
    ));
    text
}

fn page(program: Program, verb: &Verb) -> String {
    let name = program.name;
    let mut text = head(program, &format!("{name}-{}", verb.name), verb.about);
    text.push_str(".SH SYNOPSIS\n");
    let forms: Vec<String> = verb
        .operands
        .split(" | ")
        .map(|form| {
            let options = if verb.flags.is_empty() { "" } else { "[options]" };
            let rest = format!("{options} {form}");
            let command = format!(".B {name} {}\n", escaped(verb.name));
            match rest.trim() {
                "" => command,
                rest => format!("{command}{}", plain(rest)),
            }
        })
        .collect();
    text.push_str(&forms.join(".br\n"));
    text.push_str(".SH DESCRIPTION\n");
    match verb.description {
        "" => text.push_str(&plain(&sentence(verb.about))),
        laid_out if laid_out.contains("  ") => {
            text.push_str(&format!(".nf\n{}.fi\n", plain(laid_out)));
        }
        description => text.push_str(&plain(description)),
    }
    text.push_str(".SH OPTIONS\n");
    text.push_str(&options(verb.flags));
    text.push_str(".SH EXIT STATUS\n");
    text.push_str(&plain(&status(verb)));
    text.push_str(&format!(".SH SEE ALSO\n.BR {name} (8)\n"));
    text
}

fn status(verb: &Verb) -> String {
    let failure = verb.failure;
    match verb.starts_process {
        true if verb.name != "create" => format!(
            "That of the process in the foreground, 128 and the number of the signal that ended it. \
             {failure} when the command itself fails."
        ),
        _ => format!("0 after a success, {failure} after a failure."),
    }
}

fn head(program: Program, page: &str, about: &str) -> String {
    format!(
        ".\\\" Written by: {name} man\n.TH {} 8 \"\" \"{name} {}\" \"{name}\"\n\
         .SH NAME\n{} \\- {}\n",
        escaped(&page.to_uppercase()),
        escaped(version::VERSION),
        escaped(page),
        escaped(about),
        name = program.name,
    )
}

fn page_name(program: &str, verb: &str) -> String {
    escaped(&format!("{program}-{verb}"))
}

fn options(flags: &'static [Flag]) -> String {
    let mut text = String::new();
    for flag in shown(flags) {
        let value = if flag.kind == Kind::Switch { "" } else { " \\fIvalue\\fR" };
        let short = match flag.short {
            "" => String::new(),
            short => format!(", \\fB\\-{short}\\fR{value}"),
        };
        let default = match flag.default {
            "" => String::new(),
            default => format!(" (default: {default})"),
        };
        let many = if flag.kind.is_repeated() { "; may be repeated" } else { "" };
        text.push_str(&format!(".TP\n\\fB\\-\\-{}\\fR{value}{short}\n", escaped(flag.name)));
        text.push_str(&plain(&format!("{}{many}{default}", flag.help)));
    }
    text.push_str(".TP\n\\fB\\-\\-help\\fR, \\fB\\-h\\fR\nshow help\n");
    text
}

fn sentence(about: &str) -> String {
    let mut letters = about.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter();
    first.chain(letters).chain(['.']).collect()
}

/// Lines of text, none of which roff takes for a request.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        format!("{guard}{}\n", escaped(line))
    });
    lines.collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}
