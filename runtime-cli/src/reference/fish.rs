//! The completion of fish.

use super::{Value, operands, shown, signals, value_of};
use crate::GLOBAL_FLAGS;
use crate::args::Flag;
use crate::call::Program;
use crate::commands::VERBS;

/// Functions that look at the words before the cursor: ids below the root that they name, and how
/// many positional arguments stand behind the verb.
const FUNCTIONS: &str = r#"
function __PROG_ids
    set -l root
    set -l next 0
    for word in (commandline -opc)
        if test $next = 1
            set root --root $word
            set next 0
        else if string match -qr -- '^--?root$' $word
            set next 1
        else if string match -qr -- '^--?root=' $word
            set root --root (string replace -r -- '^--?root=' '' $word)
        end
    end
    PROG $root list -q 2>/dev/null
end

function __PROG_operands
    set -l verb ''
    set -l count 0
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if string match -q -- '-*' $word
            set -l name (string replace -r -- '^--?' '' $word)
            if contains -- ":$name" $__PROG_valued; or contains -- "$verb:$name" $__PROG_valued
                set skip 1
            end
        else if test -n "$verb"
            set count (math $count + 1)
        else if contains -- $word $__PROG_verbs
            set verb $word
        end
    end
    test "$verb" = $argv[1]; and test $count = $argv[2]
end
"#;

/// The script.
pub(crate) fn completion(program: Program) -> String {
    let name = program.name;
    let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).chain(["help"]).collect();
    let mut text = format!(
        "# fish completion of {name}, written by: {name} completion fish\n\n\
         set -g __PROG_verbs {}\nset -g __PROG_valued {}\n{FUNCTIONS}\ncomplete -c PROG -f\n",
        names.join(" "),
        valued().join(" ")
    );
    shown(GLOBAL_FLAGS).for_each(|flag| text.push_str(&line("", flag)));
    text.push_str("complete -c PROG -l help -s h -d 'show help'\n");
    let before = "-n 'not __fish_seen_subcommand_from $__PROG_verbs' ";
    for verb in VERBS {
        let about = quoted(verb.about);
        text.push_str(&format!("complete -c PROG {before}-a {} -d {about}\n", verb.name));
    }
    text.push_str(&format!("complete -c PROG {before}-a help -d 'show the help of a command'\n"));
    text.push_str("complete -c PROG -n '__PROG_operands help 0' -a \"$__PROG_verbs\"\n");
    for verb in VERBS {
        let condition = format!("-n '__fish_seen_subcommand_from {}' ", verb.name);
        shown(verb.flags).for_each(|flag| text.push_str(&line(&condition, flag)));
        for (index, operand) in operands(verb).iter().enumerate() {
            if let Some(offer) = offer(operand) {
                let condition = format!("-n '__PROG_operands {} {index}' ", verb.name);
                text.push_str(&format!("complete -c PROG {condition}{offer}\n"));
            }
        }
    }
    text.replace("PROG", name)
}

/// Flags with a value, each with the verb that it belongs to.
fn valued() -> Vec<String> {
    let of = |verb: &'static str, flags: &'static [Flag]| {
        shown(flags).filter(|flag| value_of(flag).is_some()).flat_map(move |flag| {
            let names = [flag.name, flag.short].into_iter().filter(|name| !name.is_empty());
            names.map(move |name| format!("{verb}:{name}"))
        })
    };
    of("", GLOBAL_FLAGS).chain(VERBS.iter().flat_map(|verb| of(verb.name, verb.flags))).collect()
}

fn line(condition: &str, flag: &Flag) -> String {
    let short = if flag.short.is_empty() { String::new() } else { format!("-s {} ", flag.short) };
    let value = match value_of(flag) {
        None => String::new(),
        Some(value) => offer(&value).map_or("-x ".to_owned(), |offer| match value {
            Value::File => format!("-r {offer} "),
            _ => format!("-x {offer} "),
        }),
    };
    format!("complete -c PROG {condition}-l {} {short}{value}-d {}\n", flag.name, quoted(flag.help))
}

fn offer(value: &Value) -> Option<String> {
    match value {
        Value::Anything => None,
        Value::File => Some("-F".to_owned()),
        Value::Directory => Some("-a '(__fish_complete_directories)'".to_owned()),
        Value::Id => Some("-a '(__PROG_ids)'".to_owned()),
        Value::Signal => Some(format!("-a '{}'", signals().join(" "))),
        Value::Words(words) => Some(format!("-a '{}'", words.join(" "))),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
