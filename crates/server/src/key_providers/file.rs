//! A key-encryption key in a file of mode 0600: 32 bytes, or 64 hexadecimal digits.
//!
//! The first one's id is `file`, later ones are `file:2`, `file:3`, in files beside the first: `kek`, `kek-2`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use serde_json::json;
use store::{KekNote, KeyError, KeyProvider, LocalKek};
use zeroize::Zeroizing;

use crate::layout::{Layout, make_private};

/// What the ids of these keys begin with.
pub const WORD: &str = "file";

/// The files of one server.
pub struct Files {
    first: PathBuf,
    /// The data directory, where no key should be.
    db: PathBuf,
}

impl Files {
    pub(super) fn new(layout: &Layout) -> Files {
        Files { first: layout.kek.clone(), db: layout.db.clone() }
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.first.starts_with(&self.db) {
            tracing::warn!(
                path = %self.first.display(),
                "the key-encryption key lies inside the data directory: every backup carries it"
            );
        }
        let mut number = 1;
        while self.path(number).exists() {
            super::read_private(&self.path(number)).context("a key-encryption key cannot be used")?;
            number += 1;
        }
        Ok(())
    }

    pub(super) fn open(&self, note: &KekNote) -> Result<Arc<dyn KeyProvider>, KeyError> {
        let path = self.path(super::number(&note.id));
        if !path.exists() {
            let told = path.display();
            return Err(KeyError(format!("the file {told} is missing: put your copy of it back")));
        }
        let key = read(&path).map_err(|error| super::told(&error))?;
        Ok(Arc::new(LocalKek::new(note.id.clone(), key)))
    }

    pub(super) fn add(&self, known: &[KekNote]) -> Result<(KekNote, Arc<dyn KeyProvider>), KeyError> {
        let number = super::next_number(known, WORD);
        let id = if number == 1 { WORD.to_owned() } else { format!("{WORD}:{number}") };
        let path = self.path(number);
        if !path.exists() {
            make(&path).map_err(|error| super::told(&error))?;
        }
        let note = KekNote::new(id, json!({}));
        let kek = self.open(&note)?;
        Ok((note, kek))
    }

    fn path(&self, number: u32) -> PathBuf {
        if number == 1 {
            return self.first.clone();
        }
        let mut name = self.first.clone().into_os_string();
        name.push(format!("-{number}"));
        name.into()
    }
}

fn make(path: &Path) -> anyhow::Result<()> {
    let told = path.display();
    let mut key = Zeroizing::new([0; 32]);
    if aws_lc_rs::rand::fill(&mut *key).is_err() {
        bail!("the operating system has no random numbers");
    }
    make_private(path, &*key).with_context(|| format!("cannot write {told}"))?;
    tracing::warn!(
        "a new key-encryption key was made: {told}. Without it no secret can be read again. \
         Keep a copy apart from the backups, for example: cp -p {told} /media/safe/muster-kek"
    );
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let bytes = super::read_private(path)?;
    let key = super::parse_key(&bytes);
    ensure!(key.is_some(), "{} holds neither 32 bytes nor 64 hexadecimal digits", path.display());
    key.context("a key was just found")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path(), Path::new(""));
        layout.make().unwrap();
        (dir, Files::new(&layout))
    }

    #[test]
    fn the_key_is_made_once_and_read_again() {
        let (_dir, files) = files();
        let (note, kek) = files.add(&[]).unwrap();
        let note = note.checked(&*kek).unwrap();
        assert_eq!((note.id.as_str(), note.is_of(&*files.open(&note).unwrap())), ("file", true));
        assert_eq!(fs::metadata(&files.first).unwrap().permissions().mode() & 0o777, 0o600);
        let again = files.add(&[]).unwrap().1;
        assert!(note.is_of(&*again));
    }

    #[test]
    fn another_key_stands_beside_the_first() {
        let (_dir, files) = files();
        let (first, kek) = files.add(&[]).unwrap();
        let (second, other) = files.add(std::slice::from_ref(&first)).unwrap();
        assert_eq!(second.id, "file:2");
        assert!(files.path(2).ends_with("keys/kek-2") && files.path(2).exists());
        assert!(other.unwrap(&kek.wrap(&[1; 32], b"").unwrap(), b"").is_err());
    }

    #[test]
    fn a_key_that_another_start_has_made_meanwhile_stays() {
        let (_dir, files) = files();
        make(&files.first).unwrap();
        let first = read(&files.first).unwrap();
        make(&files.first).unwrap();
        assert_eq!(*read(&files.first).unwrap(), *first);
        assert_eq!(fs::read_dir(files.first.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_dir, files) = files();
        let (note, _) = files.add(&[]).unwrap();
        fs::set_permissions(&files.first, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(files.check().unwrap_err().chain().any(|cause| cause.to_string().contains("chmod 600")));
        assert!(files.open(&note).err().unwrap().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_lost_key_is_asked_for() {
        let (_dir, files) = files();
        let (note, _) = files.add(&[]).unwrap();
        fs::remove_file(&files.first).unwrap();
        assert!(files.open(&note).err().unwrap().to_string().contains("put your copy of it back"));
        assert!(!files.first.exists());
    }
}
