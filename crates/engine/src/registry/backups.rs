//! Backups: copies of the store in a folder of the server's machine, made while it serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use store::Change;
use store::backup::{BackupError, Manifest};

use super::journal::Deed;
use super::{Operator, Registry, RegistryError, Unique};

/// A backup that is being made, was made, or failed.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Its name: that of its folder.
    pub name: String,
    /// How it stands.
    pub state: BackupState,
}

/// How a backup stands.
#[derive(Clone, Debug)]
pub enum BackupState {
    /// It is being made.
    Running,
    /// It is whole, as far as its manifest says.
    Done(Box<Manifest>),
    /// It could not be made.
    Failed(String),
}

/// Where backups are, and the one that is being made or failed last.
#[derive(Default)]
pub(super) struct Backups {
    folder: PathBuf,
    program: String,
    last: Mutex<Option<Backup>>,
}

/// What a folder is called until its backup is whole.
const UNFINISHED: &str = "partial";

impl Registry {
    /// The same with a folder for backups; `program` is the name and version that a manifest carries.
    #[must_use]
    pub fn with_backups(self, folder: PathBuf, program: &str) -> Registry {
        let backups = Backups { folder, program: program.to_owned(), last: Mutex::new(None) };
        Registry { backups: Arc::new(backups), ..self }
    }

    /// Begins a backup of that name. It is made on a thread of its own; [`Registry::backups`] tells how it stands.
    ///
    /// # Errors
    /// `right-missing`, `value-invalid`, `backup-exists`, `backup-running`.
    pub fn begin_backup(&self, operator: &Operator, name: &str) -> Result<(), RegistryError> {
        operator.require_server()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !(1..=64).contains(&name.len()) || !name.chars().all(plain) || name.starts_with('.') {
            return Err(RegistryError::invalid(
                "name",
                "it takes 1 to 64 letters, digits, `-`, `_` and `.`.",
            ));
        }
        let mut last = self.backups.last.lock();
        if matches!(&*last, Some(Backup { state: BackupState::Running, .. })) {
            return Err(RegistryError::BackupRunning);
        }
        if self.backups.folder.join(name).exists() {
            return Err(RegistryError::Exists { what: Unique::Backup, name: name.to_owned() });
        }
        *last = Some(Backup { name: name.to_owned(), state: BackupState::Running });
        let (registry, operator, name) = (self.clone(), operator.clone(), name.to_owned());
        let work = move || registry.make_backup(&operator, &name);
        if let Err(error) = std::thread::Builder::new().name("backup".to_owned()).spawn(work) {
            *last = None;
            return Err(store::StoreError::from(error).into());
        }
        Ok(())
    }

    /// The backups in the folder, by name, and how the last one stands.
    ///
    /// # Errors
    /// `right-missing`; what the file system says.
    pub fn backups(&self, operator: &Operator) -> Result<Vec<Backup>, RegistryError> {
        operator.require_server()?;
        let mut found = whole(&self.backups.folder);
        let last = self.backups.last.lock().clone();
        found.extend(last.filter(|last| !matches!(last.state, BackupState::Done(_))));
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    fn make_backup(&self, operator: &Operator, name: &str) {
        let made = self.copy_store(name);
        if let Err(error) = &made {
            tracing::error!(%error, name, "a backup failed");
        }
        let noted = made.as_ref().ok().map(|_| {
            self.store.write(|change: &mut Change<'_>| {
                self.journal(change, operator, &Deed::of(None, "backup-made", json!({ "backup": name })))
            })
        });
        if let Some(Err(error)) = noted {
            tracing::warn!(%error, name, "the backup is made, and the journal does not say so");
        }
        let state = match made {
            Ok(manifest) => BackupState::Done(Box::new(manifest)),
            Err(error) => BackupState::Failed(error.to_string()),
        };
        *self.backups.last.lock() = Some(Backup { name: name.to_owned(), state });
    }

    /// A folder has its name only once its backup is whole.
    fn copy_store(&self, name: &str) -> Result<Manifest, BackupError> {
        let Backups { folder, program, .. } = &*self.backups;
        make_folder(folder)?;
        let draft = folder.join(format!(".{name}.{UNFINISHED}"));
        if draft.exists() {
            std::fs::remove_dir_all(&draft)?;
        }
        let made = self.store.back_up(&draft, program, self.now());
        if made.is_err() {
            // What is left of it is in the way of nothing, and goes with the next try.
            let _ = std::fs::remove_dir_all(&draft);
        }
        let manifest = made?;
        std::fs::rename(&draft, folder.join(name))?;
        std::fs::File::open(folder)?.sync_all()?;
        Ok(manifest)
    }
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The whole backups of a folder; none where there is no folder.
fn whole(folder: &Path) -> Vec<Backup> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let read = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
        let manifest = Manifest::read(&entry.path()).ok()?;
        Some(Backup { name, state: BackupState::Done(Box::new(manifest)) })
    });
    read.collect()
}
