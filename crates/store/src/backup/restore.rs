//! A store made of a backup, where there is none yet.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use domain::{DeviceKey, Timestamp};

use super::manifest::broken;
use super::{BackupError, Kept, Manifest, schemas, sync_folder, verify};
use crate::driver::{Database, Sql, params, sqlite};
use crate::open::{self, instance};
use crate::{Backend, Options, StoreError};

/// Numbers of devices, of operations and of questions that are skipped: as many may have been handed out after the
/// backup was made, and a number is never used twice. Under those of operations and questions a neighbour keeps what
/// it answered: one that came again would be answered for another device.
const SKIPPED_KEYS: u64 = 1 << 24;

/// Makes a store of a backup, after looking at all of it. The journal goes on under a new writer, and says so
/// once the server's keys are there.
///
/// # Errors
/// [`BackupError::Broken`] where it is not whole, [`BackupError::Target`] where there is a store already.
pub fn restore(from: &Path, options: &Options, now: Timestamp) -> Result<Manifest, BackupError> {
    let manifest = verify(from)?;
    match (&options.backend, manifest.database) {
        (Backend::Directory, Kept::Sqlite) => into_directory(from, &options.dir, &manifest, now)?,
        (Backend::Postgres(_), Kept::Postgresql) => into_schemas(from, options, &manifest, now)?,
        (Backend::Directory, Kept::Postgresql) => {
            return Err(BackupError::Target("the backup is of a PostgreSQL: set database.url".to_owned()));
        }
        (Backend::Postgres(_), Kept::Sqlite) => {
            return Err(BackupError::Target(
                "the backup is of SQLite files: leave database.url empty".to_owned(),
            ));
        }
    }
    Ok(manifest)
}

fn into_directory(from: &Path, dir: &Path, manifest: &Manifest, now: Timestamp) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let _lock = open::enter(dir)?;
    let there = ["main.db", "secrets.db", "telemetry.db"].into_iter().find(|file| dir.join(file).exists());
    if let Some(file) = there {
        return Err(BackupError::Target(format!(
            "{} holds a {file}: restore into an empty directory",
            dir.display()
        )));
    }
    // `main.db` comes last: without it the directory is no store, and may be restored into again.
    let mut files: Vec<&str> = manifest.files.iter().map(|file| file.file.as_str()).collect();
    files.sort_by_key(|file| *file == "main.db");
    for file in files {
        let draft = dir.join(format!("{file}.new"));
        fs::copy(from.join(file), &draft)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
        if file == "main.db" {
            let copy = sqlite::open_for_restore(&draft)?;
            sqlite::transact(&copy, |sql| go_on(sql, now))?;
        }
        File::open(&draft)?.sync_all()?;
    }
    for file in &manifest.files {
        fs::rename(dir.join(format!("{}.new", file.file)), dir.join(&file.file))?;
    }
    Ok(sync_folder(dir)?)
}

fn into_schemas(
    from: &Path,
    options: &Options,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<(), BackupError> {
    let Backend::Postgres(place) = &options.backend else { return Ok(()) };
    let [main, secrets, telemetry] = open::schemas(place, &options.server)?;
    let parts = [("main", &main), ("secrets", &secrets), ("telemetry", &telemetry)];
    for ((part, database), version) in parts.into_iter().zip(manifest.schemas) {
        may_take(part, database, version, &manifest.server)?;
    }
    // The main part comes last: without it there is no store, and it may be restored into again.
    for (part, database) in parts.into_iter().rev() {
        database.write(|sql| {
            for file in manifest.files.iter().filter(|file| file.file.starts_with(&format!("{part}."))) {
                if let Some(table) = &file.table {
                    schemas::copy_in(sql, table, &from.join(&file.file))?;
                }
            }
            if part == "main" { go_on(sql, now) } else { Ok(()) }
        })?;
    }
    Ok(())
}

fn may_take(part: &str, database: &Database, version: u32, server: &str) -> Result<(), BackupError> {
    let ours = database.read(super::version)?;
    if ours != version {
        return Err(broken(format!(
            "its {part} part has schema {version}, this server makes {ours}: restore it with {server}, and start \
             this one on it then"
        )));
    }
    if part == "main" && database.read(instance)?.is_some() {
        return Err(BackupError::Target("the database holds a store: restore into an empty one".to_owned()));
    }
    Ok(())
}

/// What must not go on as if nothing had happened: the numbers that are given once, and the journal's chains.
/// Whoever wrote them may have written more since.
fn go_on(sql: Sql<'_>, now: Timestamp) -> Result<(), StoreError> {
    let next =
        sql.one("SELECT next FROM counters WHERE name = 'device'", params![], |row| row.unsigned(0))?;
    let skipped = next.saturating_add(SKIPPED_KEYS).min(DeviceKey::END);
    sql.execute("UPDATE counters SET next = ? WHERE name = 'device'", params![skipped])?;
    sql.execute("UPDATE counters SET next = next + ? WHERE name = 'operation'", params![SKIPPED_KEYS])?;
    skip_questions(sql)?;
    sql.execute("DELETE FROM counters WHERE name = 'restored'", params![])?;
    sql.execute("INSERT INTO counters (name, next) VALUES ('restored', ?)", params![now])?;
    crate::tables::accounts::end_sessions(sql, now)?;
    crate::tables::journal::end_chains(sql, now)
}

/// Questions are gone once they are used, so their numbers go by what was given, not by what is there.
fn skip_questions(sql: Sql<'_>) -> Result<(), StoreError> {
    if sql.is_postgres() {
        let text = "SELECT setval(given, coalesce(pg_sequence_last_value(given), 0) + ?)
                    FROM (SELECT pg_get_serial_sequence('questions', 'question')::regclass AS given) AS numbers";
        return sql.exists(text, params![SKIPPED_KEYS]).map(drop);
    }
    let never = "INSERT INTO sqlite_sequence (name, seq) SELECT 'questions', 0
                 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'questions')";
    sql.execute(never, params![])?;
    sql.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'questions'", params![SKIPPED_KEYS])?;
    Ok(())
}
