//! Options as a configuration in text: the part of TOML that flat tables need, or a JSON object.
//!
//! containerd's CRI passes `[plugins...runtimes.NAME.options]` on as TOML; Docker takes the name
//! of a file. Names are those of runc's shim, whatever their case and underscores.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{Options, warn_of_binary};

/// Largest configuration that is read.
const LIMIT: u64 = 1 << 20;

/// A value of the configuration.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bool(bool),
    Number(i64),
    Text(String),
    /// A value of a type that no option has.
    Other,
}

/// The text of a configuration file.
pub(super) fn load(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("no such file or directory".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a configuration.
pub(super) fn read(text: &str, warnings: &mut Vec<String>) -> Result<Options, String> {
    let entries =
        if text.trim_start().starts_with('{') { json(text)? } else { toml(text, warnings)? };
    let mut options = Options::default();
    for (name, value) in entries {
        set(&mut options, &name, value, warnings)?;
    }
    Ok(options)
}

fn set(
    options: &mut Options,
    name: &str,
    value: Value,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let plain: String = name.chars().filter(|c| *c != '_').collect();
    match plain.to_ascii_lowercase().as_str() {
        "nopivotroot" => options.no_pivot_root = boolean(name, &value)?,
        "nonewkeyring" => options.no_new_keyring = boolean(name, &value)?,
        "shimcgroup" => options.shim_cgroup = string(name, value)?,
        "iouid" => options.io_uid = id(name, &value)?,
        "iogid" => options.io_gid = id(name, &value)?,
        "binaryname" => warn_of_binary(&string(name, value)?, warnings),
        "root" => options.root = string(name, value)?,
        "systemdcgroup" => options.systemd_cgroup = boolean(name, &value)?,
        "criupath" => options.criu_path = string(name, value)?,
        "criuimagepath" => options.criu_image_path = string(name, value)?,
        "criuworkpath" => options.criu_work_path = string(name, value)?,
        // Of runtimeoptions.v1.Options itself: containerd passes the whole table on.
        "typeurl" | "configpath" | "configbody" => {}
        // Of newer releases of runc's shim, of no meaning for a shim that serves its own tasks.
        "taskapiaddress" | "taskapiversion" => {}
        _ => warnings.push(format!("option {name:?} is not known: ignored")),
    }
    Ok(())
}

fn boolean(name: &str, value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        _ => Err(format!("{name} must be true or false")),
    }
}

fn id(name: &str, value: &Value) -> Result<u32, String> {
    let id = match value {
        Value::Number(number) => u32::try_from(*number).ok(),
        _ => None,
    };
    id.ok_or_else(|| format!("{name} must be a number from 0 to 4294967295"))
}

fn string(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(format!("{name} must be a string")),
    }
}

fn json(text: &str) -> Result<Vec<(String, Value)>, String> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let value = |value| match value {
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => number.as_i64().map_or(Value::Other, Value::Number),
        serde_json::Value::String(text) => Value::Text(text),
        _ => Value::Other,
    };
    Ok(object.into_iter().map(|(name, given)| (name, value(given))).collect())
}

fn toml(text: &str, warnings: &mut Vec<String>) -> Result<Vec<(String, Value)>, String> {
    let mut entries = Vec::new();
    let mut is_inside_table = false;
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            warnings.push(format!("table {line} is not known: ignored"));
            is_inside_table = true;
            continue;
        }
        let entry = entry(line).map_err(|error| format!("line {number}: {error}"))?;
        if !is_inside_table {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// `name = value # comment`
fn entry(line: &str) -> Result<(String, Value), String> {
    let (name, rest) = match line.as_bytes()[0] {
        b'"' => basic_string(line)?,
        b'\'' => literal_string(line)?,
        _ => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            let end = line.find(|c| !is_name(c)).unwrap_or(line.len());
            (line[..end].to_owned(), &line[end..])
        }
    };
    let given = rest.trim_start().strip_prefix('=').filter(|_| !name.is_empty());
    let given = given.ok_or("a name and = are expected")?;
    let (value, rest) = value(given.trim_start())?;
    match rest.trim_start() {
        rest if rest.is_empty() || rest.starts_with('#') => Ok((name, value)),
        rest => Err(format!("{rest:?} is not expected after the value")),
    }
}

fn value(text: &str) -> Result<(Value, &str), String> {
    if text.starts_with("\"\"\"") || text.starts_with("'''") {
        return Err("strings of several lines are not read".to_owned());
    }
    match text.as_bytes().first() {
        Some(b'"') => basic_string(text).map(|(text, rest)| (Value::Text(text), rest)),
        Some(b'\'') => literal_string(text).map(|(text, rest)| (Value::Text(text), rest)),
        Some(b'[' | b'{') => match text.rfind([']', '}']) {
            Some(end) => Ok((Value::Other, &text[end + 1..])),
            None => Err("values of several lines are not read".to_owned()),
        },
        Some(_) => {
            let end = text.find(|c: char| c.is_whitespace() || c == '#').unwrap_or(text.len());
            Ok((word(&text[..end])?, &text[end..]))
        }
        None => Err("a value is expected".to_owned()),
    }
}

fn word(word: &str) -> Result<Value, String> {
    let digits: String = word.chars().filter(|c| *c != '_').collect();
    match word {
        "true" => Ok(Value::Bool(true)),
        "false" => Ok(Value::Bool(false)),
        _ => match digits.parse() {
            Ok(number) => Ok(Value::Number(number)),
            // A floating-point number, a date, or a number to another base.
            Err(_) if word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
                Ok(Value::Other)
            }
            Err(_) => Err(format!("{word:?} is no value")),
        },
    }
}

fn literal_string(text: &str) -> Result<(String, &str), String> {
    let inner = &text[1..];
    match inner.split_once('\'') {
        Some((text, rest)) => Ok((text.to_owned(), rest)),
        None => Err("a string has no end".to_owned()),
    }
}

fn basic_string(text: &str) -> Result<(String, &str), String> {
    let mut read = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((read, &text[at + 1..])),
            '\\' => {
                let escaped = letters.next().map(|(_, letter)| letter);
                let digits = match escaped {
                    Some('u') => 4,
                    Some('U') => 8,
                    _ => 0,
                };
                let code: String = letters.by_ref().take(digits).map(|(_, digit)| digit).collect();
                read.push(unescaped(escaped, &code).ok_or("an escape is not known")?);
            }
            letter => read.push(letter),
        }
    }
    Err("a string has no end".to_owned())
}

fn unescaped(letter: Option<char>, code: &str) -> Option<char> {
    match letter? {
        'b' => Some('\u{8}'),
        't' => Some('\t'),
        'n' => Some('\n'),
        'f' => Some('\u{c}'),
        'r' => Some('\r'),
        letter @ ('"' | '\\') => Some(letter),
        'u' | 'U' => char::from_u32(u32::from_str_radix(code, 16).ok()?),
        _ => None,
    }
}
