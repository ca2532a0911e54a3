//! A key-encryption key that the service manager hands over as a file: systemd's credentials, or whatever
//! names a file in the environment. The key itself is never in the environment.
//!
//! The id is `credential:NAME`. Another key has another name: it is configured, the server is started anew,
//! and `kek add` introduces it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use store::{KekNote, KeyError, KeyProvider, LocalKek};

/// What the ids of these keys begin with.
pub const WORD: &str = "credential";

/// Where systemd puts credentials (systemd.exec(5), "CREDENTIALS").
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// The credentials of this process.
pub struct Credentials {
    /// The name of the next key.
    name: String,
    environment: HashMap<String, PathBuf>,
}

impl Credentials {
    pub(super) fn of_environment(name: &str) -> Credentials {
        let variables = std::env::vars_os();
        let named = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into())));
        let ours = |name: &str| name == DIRECTORY || name.ends_with("_FILE");
        Credentials {
            name: name.to_owned(),
            environment: named.filter(|(name, _): &(String, PathBuf)| ours(name)).collect(),
        }
    }

    pub(super) fn open(&self, note: &KekNote) -> Result<Arc<dyn KeyProvider>, KeyError> {
        let name = note.id.strip_prefix("credential:").unwrap_or(&note.id);
        let path = self.find(name)?;
        let told = path.display();
        // The service manager has seen to it who may read it.
        let bytes = std::fs::read(&path)
            .map(zeroize::Zeroizing::new)
            .map_err(|error| KeyError(format!("cannot read the credential {told}: {error}")))?;
        let key = super::parse_key(&bytes).ok_or_else(|| {
            KeyError(format!("the credential {told} holds neither 32 bytes nor 64 hexadecimal digits"))
        })?;
        Ok(Arc::new(LocalKek::new(note.id.clone(), key)))
    }

    pub(super) fn add(&self, known: &[KekNote]) -> Result<(KekNote, Arc<dyn KeyProvider>), KeyError> {
        let note = KekNote::new(format!("{WORD}:{}", self.name), json!({}));
        if known.iter().any(|other| other.id == note.id) {
            return Err(KeyError(format!(
                "the credential `{}` is in use: give the server another one (`keys.credential`) and start it anew",
                self.name
            )));
        }
        let kek = self.open(&note)?;
        Ok((note, kek))
    }

    fn find(&self, name: &str) -> Result<PathBuf, KeyError> {
        let in_directory = self.environment.get(DIRECTORY).map(|directory| directory.join(name));
        let variable = variable(name);
        let found =
            in_directory.filter(|path| path.exists()).or_else(|| self.environment.get(&variable).cloned());
        found.ok_or_else(|| {
            KeyError(format!(
                "there is no credential `{name}`: neither in ${DIRECTORY} nor by the variable {variable}"
            ))
        })
    }
}

/// The variable that names a credential's file.
fn variable(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(plain).chain("_FILE".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str, variables: &[(&str, PathBuf)]) -> Credentials {
        let environment = variables.iter().map(|(name, path)| ((*name).to_owned(), path.clone())).collect();
        Credentials { name: name.to_owned(), environment }
    }

    #[test]
    fn a_credential_is_found_in_its_directory_or_by_its_variable() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("muster-kek"), [7; 32]).unwrap();
        std::fs::write(folder.path().join("elsewhere"), [8; 32]).unwrap();
        let here = credentials("muster-kek", &[(DIRECTORY, folder.path().into())]);
        let (note, kek) = here.add(&[]).unwrap();
        assert_eq!(note.id, "credential:muster-kek");
        let note = note.checked(&*kek).unwrap();
        let there = credentials("muster-kek", &[("MUSTER_KEK_FILE", folder.path().join("elsewhere"))]);
        assert!(note.is_of(&*here.open(&note).unwrap()));
        assert!(!note.is_of(&*there.open(&note).unwrap()));
        assert!(credentials("muster-kek", &[]).open(&note).err().unwrap().0.contains("MUSTER_KEK_FILE"));
    }

    #[test]
    fn one_that_is_in_use_is_no_new_key() {
        let known = KekNote::new("credential:muster-kek", json!({}));
        let told = credentials("muster-kek", &[]).add(&[known]).err().unwrap();
        assert!(told.0.contains("keys.credential"), "{told}");
    }
}
