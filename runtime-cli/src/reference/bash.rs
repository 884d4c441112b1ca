//! The completion of bash.

use super::{Value, operands, shown, signals, spellings, value_of};
use crate::args::Flag;
use crate::call::Program;
use crate::commands::VERBS;
use crate::{BEHIND_VERB, GLOBAL_FLAGS};

/// How the script walks over the words before the cursor and chooses what to offer. `=` is a word
/// of its own there.
const WALK: &str = r#"
_PROG_offer() {
    local kind=$1 current=$2 root=$3
    case $kind in
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    id) mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" ${root:+--root "$root"} list -q 2>/dev/null)" -- "$current") ;;
    signal) mapfile -t COMPREPLY < <(compgen -W "$_PROG_signals" -- "${current#SIG}") ;;
    words\ *) mapfile -t COMPREPLY < <(compgen -W "${kind#words }" -- "$current") ;;
    esac
}

_PROG() {
    local current=${COMP_WORDS[COMP_CWORD]} verb= flag= root= kind= word name count=0 i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [ "$word" = = ]; then
            # The value of a switch.
            [ -n "$flag" ] || i=$((i + 1))
        elif [ -n "$flag" ]; then
            [ "$flag" != root ] || root=$word
            flag=
        elif [[ $word == -?* && ( $count -eq 0 || " $_PROG_passing " != *" $verb "* ) ]]; then
            name=${word#-}
            name=${name#-}
            if [ -n "$(_PROG_value "$verb" "$name")" ]; then flag=$name; fi
        elif [ -z "$verb" ]; then
            verb=$word
        else
            count=$((count + 1))
        fi
    done
    if [ -n "$flag" ]; then
        [ "$current" != = ] || current=
        kind=$(_PROG_value "$verb" "$flag")
    elif [[ $count -gt 0 && " $_PROG_passing " == *" $verb "* ]]; then
        kind=anything
    elif [[ $current == -* ]]; then
        kind="words $(_PROG_flags "$verb")"
    elif [ -z "$verb" ]; then
        kind="words $_PROG_verbs"
    else
        kind=$(_PROG_operand "$verb" "$count")
    fi
    _PROG_offer "$kind" "$current" "$root"
}

complete -o bashdefault -F _PROG PROG
"#;

/// The script.
pub(crate) fn completion(program: Program) -> String {
    let name = program.name;
    let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).chain(["help"]).collect();
    let passing: Vec<&str> =
        VERBS.iter().filter(|verb| verb.passes_rest).map(|verb| verb.name).collect();
    let mut text = format!(
        "# bash completion of {name}, written by: {name} completion bash\n\n\
         _PROG_verbs='{}'\n_PROG_passing='{}'\n_PROG_signals='{}'\n",
        names.join(" "),
        passing.join(" "),
        signals().join(" ")
    );
    text.push_str("\n_PROG_flags() {\n    case $1 in\n    '') echo '");
    text.push_str(&all_spellings(GLOBAL_FLAGS));
    text.push_str("' ;;\n");
    for verb in VERBS {
        let own = all_spellings(verb.flags);
        let flags = format!("{own} {}", all_spellings(BEHIND_VERB));
        text.push_str(&format!("    {}) echo '{}' ;;\n", verb.name, flags.trim()));
    }
    text.push_str("    esac\n}\n\n_PROG_value() {\n    case $1:$2 in\n");
    for verb in VERBS {
        shown(verb.flags).for_each(|flag| text.push_str(&value_case(verb.name, flag)));
    }
    shown(GLOBAL_FLAGS).for_each(|flag| text.push_str(&value_case("*", flag)));
    text.push_str("    esac\n}\n\n_PROG_operand() {\n    case $1:$2 in\n");
    text.push_str(&format!("    help:0) echo 'words {}' ;;\n", names.join(" ")));
    for verb in VERBS {
        for (index, operand) in operands(verb).iter().enumerate() {
            if let Some(kind) = kind(operand) {
                text.push_str(&format!("    {}:{index}) echo '{kind}' ;;\n", verb.name));
            }
        }
    }
    text.push_str("    esac\n}\n");
    text.push_str(WALK);
    text.replace("PROG", name)
}

fn all_spellings(flags: &'static [Flag]) -> String {
    let spellings: Vec<String> = shown(flags).flat_map(spellings).collect();
    [spellings.join(" "), "--help".to_owned()].join(" ").trim().to_owned()
}

fn value_case(verb: &str, flag: &Flag) -> String {
    let Some(value) = value_of(flag) else { return String::new() };
    let kind = kind(&value).unwrap_or_else(|| "anything".to_owned());
    let names = match flag.short {
        "" => format!("{verb}:{}", flag.name),
        short => format!("{verb}:{} | {verb}:{short}", flag.name),
    };
    format!("    {names}) echo '{kind}' ;;\n")
}

fn kind(value: &Value) -> Option<String> {
    match value {
        Value::Anything => None,
        Value::File => Some("file".to_owned()),
        Value::Directory => Some("directory".to_owned()),
        Value::Id => Some("id".to_owned()),
        Value::Signal => Some("signal".to_owned()),
        Value::Words(words) => Some(format!("words {}", words.join(" "))),
    }
}
