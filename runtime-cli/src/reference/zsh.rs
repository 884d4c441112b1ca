//! The completion of zsh.

use super::{Value, operands, shown, signals, value_of};
use crate::args::{Flag, Kind, Verb};
use crate::call::Program;
use crate::commands::VERBS;
use crate::{BEHIND_VERB, GLOBAL_FLAGS};

/// The function that asks for ids, below the root that the command line names.
const IDS: &str = r#"
_PROG_ids() {
  local -a command ids
  command=(PROG)
  [[ -n $_PROG_root ]] && command+=(--root $_PROG_root)
  ids=(${(f)"$($command list -q 2>/dev/null)"})
  _describe -t containers container ids
}
"#;

/// The script.
pub(crate) fn completion(program: Program) -> String {
    let name = program.name;
    let mut text = format!("#compdef {name}\n# Written by: {name} completion zsh\n{IDS}");
    text.push_str("\n_PROG() {\n  local curcontext=\"$curcontext\" state line ret=1 _PROG_root\n");
    text.push_str("  local -a globals verbs\n  typeset -A opt_args\n  globals=(\n");
    shown(BEHIND_VERB).for_each(|flag| text.push_str(&spec(flag)));
    text.push_str("  )\n  verbs=(\n");
    for verb in VERBS {
        text.push_str(&format!("    {}:{}\n", verb.name, quoted(&escaped(verb.about))));
    }
    text.push_str("    help:'show the help of a command'\n  )\n  _arguments -C $globals \\\n");
    let known = |flag: &&Flag| BEHIND_VERB.iter().all(|behind| behind.name != flag.name);
    for flag in shown(GLOBAL_FLAGS).filter(known) {
        text.push_str(&format!("{} \\\n", spec(flag).trim_end()));
    }
    text.push_str("    '(- *)'{-h,--help}'[show help]' \\\n");
    text.push_str("    '1: :->verb' '*:: :->rest' && ret=0\n");
    text.push_str("  _PROG_root=${(Q)opt_args[--root]}\n  case $state in\n");
    text.push_str("  verb) _describe -t commands command verbs && ret=0 ;;\n");
    text.push_str(
        "  rest)\n    curcontext=\"${curcontext%:*}-$words[1]:\"\n    case $words[1] in\n",
    );
    text.push_str("    help) _arguments '1: :{_describe -t commands command verbs}' && ret=0 ;;\n");
    VERBS.iter().for_each(|verb| text.push_str(&case(verb)));
    text.push_str("    esac ;;\n  esac\n  return ret\n}\n\n_PROG \"$@\"\n");
    text.replace("PROG", name)
}

fn case(verb: &Verb) -> String {
    let mut text = format!("    {})\n      _arguments $globals \\\n", verb.name);
    for flag in shown(verb.flags) {
        text.push_str(&format!("    {} \\\n", spec(flag).trim_end()));
    }
    text.push_str("        '(- *)'{-h,--help}'[show help]'");
    let operands = operands(verb);
    let mut index = 0;
    for operand in &operands {
        index += 1;
        if verb.passes_rest && index > 1 {
            text.push_str(" \\\n        '*:: :_normal'");
            break;
        }
        text.push_str(&format!(" \\\n        {}", quoted(&format!("{index}{}", action(operand)))));
    }
    text.push_str(" && ret=0 ;;\n");
    text
}

/// One flag in the words of `_arguments`.
fn spec(flag: &Flag) -> String {
    let many = if flag.kind.is_repeated() { "*" } else { "" };
    let help = format!("[{}]", escaped(flag.help));
    let value = value_of(flag).map(|value| action(&value)).unwrap_or_default();
    let rest = quoted(&format!("{help}{value}"));
    let sign = if flag.kind == Kind::Switch { "" } else { "=" };
    match flag.short {
        "" => format!("    '{many}--{}{sign}'{rest}\n", flag.name),
        short => format!("    '{many}'{{-{short},--{}{sign}}}{rest}\n", flag.name),
    }
}

fn action(value: &Value) -> String {
    match value {
        Value::Anything => ":value: ".to_owned(),
        Value::File => ":file:_files".to_owned(),
        Value::Directory => ":directory:_files -/".to_owned(),
        Value::Id => ":container:_PROG_ids".to_owned(),
        Value::Signal => format!(":signal:({})", signals().join(" ")),
        Value::Words(words) => format!(":word:({})", words.join(" ")),
    }
}

/// Without what ends a description there.
fn escaped(help: &str) -> String {
    help.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
