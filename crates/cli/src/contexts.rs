//! Servers by name: where they are and where the token to speak to them lies. Kept in one file of the user's; it holds
//! paths, never a token.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A server as it was named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Context {
    /// A server on this machine, by its folder.
    Data(PathBuf),
    /// A server anywhere.
    Server {
        /// Its address.
        url: String,
        /// The file that holds the operator token.
        token_file: PathBuf,
    },
    /// A server anywhere, at which somebody has signed on.
    SignedOn {
        /// Its address.
        url: String,
        /// The file that holds the session.
        session_file: PathBuf,
    },
}

/// All of them, and the one that is meant where none is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Reads the user's file; none is as good as an empty one.
    ///
    /// # Errors
    /// Where it cannot be read, or is none of ours.
    pub(crate) fn read() -> Result<Contexts, Failure> {
        file().map_or_else(|| Ok(Contexts::default()), |file| Contexts::of(&file))
    }

    fn of(file: &Path) -> Result<Contexts, Failure> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", file.display()))),
        };
        serde_json::from_str(&text).map_err(|error| {
            Failure::usage(format!("{} cannot be used: {error}", file.display()))
                .hint("muster context add writes it anew once it is moved away")
        })
    }

    /// Keeps them: the file is whole, old or new, whatever happens meanwhile.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        let Some(file) = file() else {
            return Err(Failure::usage("there is no place for contexts")
                .hint("set HOME or XDG_CONFIG_HOME, or name the server with --data or --server"));
        };
        self.write_to(&file)
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display())))
    }

    fn write_to(&self, file: &Path) -> io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)? + "\n";
        let new = file.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, file)
    }

    /// The one of that name.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            Failure::usage(format!("there is no context `{name}`"))
                .hint("muster context list shows those there are")
        })
    }

    /// The one that is meant where none is named, if any is.
    ///
    /// # Errors
    /// Where it is not there any more.
    pub(crate) fn current(&self) -> Result<Option<&Context>, Failure> {
        self.current.as_deref().map(|name| self.named(name)).transpose()
    }
}

impl Contexts {
    /// Where the session at a server of that name is kept.
    ///
    /// # Errors
    /// Where there is no place for it, or the name cannot be one of a file.
    pub(crate) fn session_file(name: &str) -> Result<PathBuf, Failure> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(Failure::usage(format!("`{name}` cannot be the name of a server"))
                .hint("a name takes letters, digits, `-`, `_` and `.`"));
        }
        let file = file().ok_or_else(|| {
            Failure::usage("there is no place for sessions").hint("set HOME or XDG_CONFIG_HOME")
        })?;
        Ok(file.with_file_name("sessions").join(format!("{name}.json")))
    }
}

/// The file of this user: `$XDG_CONFIG_HOME/muster/contexts.json`, or below `~/.config`.
fn file() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("muster").join("contexts.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Contexts {
        let far = Context::Server { url: "https://far".into(), token_file: "/t".into() };
        let contexts = [("here".to_owned(), Context::Data("/d".into())), ("far".to_owned(), far)];
        Contexts { current: Some("far".to_owned()), contexts: contexts.into() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("muster/contexts.json");
        assert_eq!(Contexts::of(&file).unwrap(), Contexts::default());
        two().write_to(&file).unwrap();
        assert_eq!(Contexts::of(&file).unwrap(), two());
        fs::write(&file, "{").unwrap();
        assert_eq!(Contexts::of(&file).unwrap_err().kind(), crate::failure::Kind::Usage);
    }

    #[test]
    fn one_that_is_gone_is_not_silently_another() {
        let mut contexts = two();
        assert!(matches!(contexts.current().unwrap(), Some(Context::Server { .. })));
        contexts.contexts.remove("far");
        assert!(contexts.current().is_err());
        contexts.current = None;
        assert_eq!(contexts.current().unwrap(), None);
    }
}
