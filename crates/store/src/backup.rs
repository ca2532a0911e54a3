//! Copies of a store that are made while it serves, and stores made of them.
//!
//! A backup is a folder: a file for each database of SQLite, or for each table of a PostgreSQL as its `COPY`
//! writes it (binary), and `manifest.json`, which is written last: without it the folder is no backup. The main
//! database is copied before the secrets, so that no row names a value that is not there. No key-encryption
//! key is ever in it; the manifest says which ones are needed.

mod manifest;
mod restore;
mod schemas;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use domain::Timestamp;
use rusqlite::Connection;

use crate::driver::{Database, MAIN, SECRETS, Sql, TELEMETRY, params, sqlite};
use crate::open::instance;
use crate::tables::journal;
use crate::{Store, StoreError};

pub use manifest::{Copied, HeadNote, Kept, Manifest, verify};
pub use restore::restore;

/// Why a backup could not be made, used or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder is not a whole backup.
    #[error("{0}")]
    Broken(String),
    /// There is something where the backup is to be restored to.
    #[error("{0}")]
    Target(String),
    /// The database did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<std::io::Error> for BackupError {
    fn from(error: std::io::Error) -> BackupError {
        BackupError::Store(error.into())
    }
}

/// What is found out about a copy while it is made.
#[derive(Default)]
struct Facts {
    instance: Option<String>,
    heads: Vec<HeadNote>,
    schema: u32,
    kek_ids: Vec<String>,
}

impl Store {
    /// Copies the store into a folder that is not there yet. Nobody waits for it: devices are let in meanwhile.
    ///
    /// # Errors
    /// [`BackupError::Target`] where the folder is there; what the databases and the file system say.
    pub fn back_up(&self, to: &Path, server: &str, now: Timestamp) -> Result<Manifest, BackupError> {
        if to.exists() {
            return Err(BackupError::Target(format!("{} is there already", to.display())));
        }
        DirBuilder::new().mode(0o700).create(to)?;
        let main = self.copy(&self.0.main, "main", to, |sql| {
            let heads = journal::heads(sql)?.iter().map(HeadNote::of).collect();
            Ok(Facts { instance: instance(sql)?, heads, schema: version(sql)?, kek_ids: Vec::new() })
        })?;
        let secrets = self.copy(self.0.vault.database(), "secrets", to, |sql| {
            let used = "SELECT DISTINCT kek_id FROM sealed ORDER BY kek_id";
            let kek_ids = sql.query(used, params![], |row| row.string(0))?;
            Ok(Facts { instance: instance(sql)?, heads: Vec::new(), schema: version(sql)?, kek_ids })
        })?;
        let telemetry = self.copy(self.0.telemetry.database(), "telemetry", to, |sql| {
            Ok(Facts { schema: version(sql)?, ..Facts::default() })
        })?;
        if main.0.instance != secrets.0.instance {
            return Err(BackupError::Broken("the secrets do not belong to the main database".to_owned()));
        }
        let manifest = Manifest {
            format: manifest::FORMAT,
            made_at_ms: now.0,
            server: server.to_owned(),
            database: if self.is_remote() { Kept::Postgresql } else { Kept::Sqlite },
            instance: main.0.instance.unwrap_or_default(),
            schemas: [main.0.schema, secrets.0.schema, telemetry.0.schema],
            kek_ids: secrets.0.kek_ids,
            journal_heads: main.0.heads,
            files: [main.1, secrets.1, telemetry.1].concat(),
        };
        manifest.write(to)?;
        Ok(manifest)
    }

    fn copy(
        &self,
        database: &Database,
        name: &str,
        to: &Path,
        look: impl Fn(Sql<'_>) -> Result<Facts, StoreError>,
    ) -> Result<(Facts, Vec<Copied>), BackupError> {
        match database {
            Database::Sqlite(file) => {
                let path = to.join(format!("{name}.db"));
                file.copy_to(&path)?;
                let copy = sqlite::open_copy(&path)?;
                let facts = look(Sql::Sqlite(&copy))?;
                drop::<Connection>(copy);
                Ok((facts, vec![Copied::of(to, &format!("{name}.db"), None)?]))
            }
            Database::Postgres(schema) => {
                let (facts, tables) = schema.read(|sql| {
                    let facts = look(sql)?;
                    Ok((facts, schemas::copy_out(sql, name, schema_of(name), to)?))
                })?;
                let described = tables.into_iter().map(|table| {
                    let file = format!("{name}.{}.copy", table.name);
                    Copied::of(to, &file, Some(table))
                });
                Ok((facts, described.collect::<Result<_, _>>()?))
            }
        }
    }
}

/// The schema of a PostgreSQL that a part of the store lies in.
fn schema_of(name: &str) -> &'static str {
    match name {
        "main" => MAIN.schema,
        "secrets" => SECRETS.schema,
        _ => TELEMETRY.schema,
    }
}

fn version(sql: Sql<'_>) -> Result<u32, StoreError> {
    sql.one("SELECT version FROM meta", params![], |row| Ok(row.int(0)? as u32))
}

/// A folder outlasts a power cut only once it is synced.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}
