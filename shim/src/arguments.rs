//! Flags that containerd gives to its shims.
//!
//! They are spelled as Go's flag package spells them: one dash or two, a value behind `=` or as the
//! next word, and no flags behind the action.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

/// What the shim is called with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// containerd's namespace.
    pub(crate) namespace: String,
    /// Address of containerd's own socket.
    pub(crate) address: String,
    /// containerd's program.
    pub(crate) publish_binary: Option<String>,
    /// Id of the container.
    pub(crate) id: String,
    /// Directory of the bundle, where it is not the working directory.
    pub(crate) bundle: Option<PathBuf>,
    /// Socket to serve on, where none is inherited.
    pub(crate) socket: Option<PathBuf>,
    /// Whether the log gets messages for debugging.
    pub(crate) debug: bool,
    /// Whether only the version is asked for.
    pub(crate) version: bool,
    /// Whether only the features are asked for.
    pub(crate) info: bool,
    /// What is to be done; nothing stands for serving.
    pub(crate) action: Option<String>,
}

impl Arguments {
    /// Reads the words behind the program's name.
    pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut arguments = Self::default();
        let mut words = words.into_iter().map(|word| match word.into_string() {
            Ok(word) => Ok(word),
            Err(word) => bail!("argument {} is not UTF-8", word.display()),
        });
        while let Some(word) = words.next() {
            let word = word?;
            let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) else {
                arguments.action = Some(word);
                break;
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            if flag.is_empty() {
                arguments.action = words.next().transpose()?;
                break;
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if let Some(switch) = arguments.switch(name) {
                *switch = parse_bool(name, value.as_deref())?;
                continue;
            }
            let value = match value {
                Some(value) => value,
                None => match words.next() {
                    Some(value) => value?,
                    None => bail!("flag needs an argument: -{name}"),
                },
            };
            arguments.set(name, value)?;
        }
        Ok(arguments)
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "debug" => Some(&mut self.debug),
            "v" | "version" => Some(&mut self.version),
            "info" => Some(&mut self.info),
            _ => None,
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<()> {
        match name {
            "namespace" => self.namespace = value,
            "address" => self.address = value,
            "publish-binary" => self.publish_binary = Some(value),
            "id" => self.id = value,
            "bundle" => self.bundle = Some(value.into()),
            "socket" => self.socket = Some(value.into()),
            // The runc shim has it for a profiler.
            "debug-socket" => {}
            _ => bail!("flag provided but not defined: -{name}"),
        }
        Ok(())
    }
}

fn parse_bool(name: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => bail!("invalid boolean value {value:?} for -{name}"),
    }
}

/// Refuses names that would lead out of the directories that are made of them. containerd allows
/// no such name either.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        bail!("shim {what} cannot be empty");
    }
    if name.contains(['/', '\0']) || name == "." || name == ".." {
        bail!("shim {what} {name:?} is not a name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn all_spellings_of_a_flag_are_read() {
        for line in ["-id a start", "--id a start", "-id=a start", "--id=a -- start"] {
            let arguments = parse(line).unwrap();
            assert_eq!((arguments.id.as_str(), arguments.action.as_deref()), ("a", Some("start")));
        }
    }

    #[test]
    fn switches_take_a_value_only_behind_an_equals_sign() {
        let arguments = parse("-debug=false -info -v delete").unwrap();
        assert!(!arguments.debug && arguments.info && arguments.version);
        assert_eq!(arguments.action.as_deref(), Some("delete"));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(parse("-nonsense 1 start").is_err());
        assert!(parse("-id").is_err());
        assert!(parse("-debug=perhaps start").is_err());
    }

    #[test]
    fn names_stay_within_their_directory() {
        for name in ["", ".", "..", "a/b", "/"] {
            assert!(check_name("id", name).is_err(), "{name:?}");
        }
        assert!(check_name("id", "a..b").is_ok());
    }
}
