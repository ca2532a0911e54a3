//! What a backup says of itself, and whether that is true.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::driver::{Sql, params, sqlite};
use crate::open::instance;
use crate::{Head, StoreError};

/// The format of the folder.
pub(super) const FORMAT: u32 = 1;
const NAME: &str = "manifest.json";
/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the folder; this is 1.
    pub format: u32,
    /// When it was begun, in milliseconds since 1970, UTC.
    pub made_at_ms: i64,
    /// The program and its version that made it.
    pub server: String,
    /// What kept the data.
    pub database: Kept,
    /// The word that ties main database and secrets together.
    pub instance: String,
    /// The schemas' versions: of the main database, the secrets, the telemetry.
    pub schemas: [u32; 3],
    /// The key-encryption keys that its sealed values need.
    pub kek_ids: Vec<String>,
    /// Where the journal's chains end.
    pub journal_heads: Vec<HeadNote>,
    /// The files, and what they must be.
    pub files: Vec<Copied>,
}

/// What kept the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// SQLite in files.
    Sqlite,
    /// A PostgreSQL.
    Postgresql,
}

/// The end of a chain of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadNote {
    /// The writer's number.
    pub writer: u64,
    /// The number of its last entry.
    pub number: u64,
    /// That entry's link, in lower-case hex.
    pub link: String,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Its name in the folder.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest, in lower-case hex.
    pub sha256: String,
    /// The table it holds, where it holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
}

/// A table of a PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The schema.
    pub schema: String,
    /// The table.
    pub name: String,
    /// Its columns in the order of the file.
    pub columns: Vec<String>,
    /// Of the columns that number themselves the last number that was given, also where its row is gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub given: BTreeMap<String, i64>,
}

impl HeadNote {
    pub(super) fn of(head: &Head) -> HeadNote {
        HeadNote { writer: head.position.writer, number: head.position.number, link: hex(&head.link) }
    }
}

impl Copied {
    pub(super) fn of(folder: &Path, file: &str, table: Option<Table>) -> Result<Copied, BackupError> {
        let (bytes, sha256) = digest(&folder.join(file))?;
        Ok(Copied { file: file.to_owned(), bytes, sha256, table })
    }

    fn is_true(&self, folder: &Path) -> Result<(), BackupError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !self.file.chars().all(plain) {
            return Err(broken(format!("the manifest names the file `{}`", self.file)));
        }
        let (bytes, sha256) = digest(&folder.join(&self.file))
            .map_err(|error| broken(format!("{} cannot be read: {error}", self.file)))?;
        if (bytes, &sha256) == (self.bytes, &self.sha256) {
            return Ok(());
        }
        Err(broken(format!("{} is not what was written: the backup is damaged", self.file)))
    }
}

impl Manifest {
    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let json = serde_json::to_vec_pretty(self).map_err(|error| broken(error.to_string()))?;
        let draft = folder.join("manifest.new");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&json)?;
        file.sync_all()?;
        fs::rename(draft, folder.join(NAME))?;
        Ok(super::sync_folder(folder)?)
    }

    /// Reads the manifest of a folder.
    ///
    /// # Errors
    /// [`BackupError::Broken`] where there is none that this server understands.
    pub fn read(folder: &Path) -> Result<Manifest, BackupError> {
        let path = folder.join(NAME);
        let text = fs::read(&path).map_err(|error| {
            broken(format!("{} is no backup, or one that was cut short: {NAME}: {error}", folder.display()))
        })?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| broken(format!("{} cannot be understood: {error}", path.display())))?;
        if manifest.format != FORMAT {
            return Err(broken(format!(
                "the backup has format {}, this server knows {FORMAT}",
                manifest.format
            )));
        }
        Ok(manifest)
    }

    pub(super) fn holds(&self, part: &str) -> bool {
        let begins = |file: &Copied| file.file.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'));
        self.files.iter().any(begins)
    }
}

/// Whether a folder is a whole backup: every file is what was written, and the parts belong together.
///
/// # Errors
/// [`BackupError::Broken`] with the first thing that is wrong.
pub fn verify(folder: &Path) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(folder)?;
    for part in ["main", "secrets", "telemetry"] {
        if !manifest.holds(part) {
            return Err(broken(format!("the backup is without its {part} part, and of no use without it")));
        }
    }
    manifest.files.iter().try_for_each(|file| file.is_true(folder))?;
    if manifest.database == Kept::Sqlite {
        for part in ["main.db", "secrets.db"] {
            let copy = sqlite::open_copy(&folder.join(part))?;
            whole(Sql::Sqlite(&copy), part, &manifest)?;
        }
    }
    Ok(manifest)
}

fn whole(sql: Sql<'_>, part: &str, manifest: &Manifest) -> Result<(), BackupError> {
    let told = sql.one("PRAGMA quick_check", params![], |row| row.string(0))?;
    if told != "ok" {
        return Err(broken(format!("{part}: {told}")));
    }
    if instance(sql)?.unwrap_or_default() == manifest.instance {
        return Ok(());
    }
    Err(broken(format!("{part} belongs to another server than the manifest says")))
}

fn digest(path: &Path) -> Result<(u64, String), StoreError> {
    let mut file = File::open(path)?;
    let (mut context, mut bytes, mut piece) = (Context::new(&SHA256), 0, vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((bytes, hex(context.finish().as_ref())));
        }
        context.update(&piece[..read]);
        bytes += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn broken(why: String) -> BackupError {
    BackupError::Broken(why)
}
