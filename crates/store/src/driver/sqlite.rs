//! One SQLite file: one writer behind a fair lock, a pool of readers, checkpoints on a connection of their own.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{FairMutex, Mutex};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::Room;
use super::migrations::Schema;
use crate::StoreError;

/// The log is cut when it grows past this (or past a share of a small disk).
const WAL_LIMIT_BYTES: u64 = 256 << 20;
/// Reader connections that are kept; more are opened when more are needed at once.
const IDLE_READERS: usize = 8;
const CACHED_STATEMENTS: usize = 64;
/// What the process ends with when a sync fails (`EX_IOERR` of sysexits.h).
const SYNC_FAILED: i32 = 74;

/// How far a commit waits for the disk. Products know only `Full`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "test-durability"), expect(unreachable_pub, reason = "public for crash tests only"))]
pub enum Synchronous {
    /// Not at all.
    #[cfg(feature = "test-durability")]
    Off,
    /// At checkpoints.
    #[cfg(feature = "test-durability")]
    Normal,
    /// At every commit.
    #[default]
    Full,
}

/// How a file is opened.
pub(crate) struct Setup {
    pub(crate) dir: PathBuf,
    pub(crate) cache_kib: u32,
    pub(crate) secure_delete: bool,
    pub(crate) synchronous: Synchronous,
}

/// One file.
pub(crate) struct Database {
    path: PathBuf,
    writer: FairMutex<Connection>,
    checkpointer: Mutex<Checkpointer>,
    readers: Mutex<Vec<Connection>>,
    room: Arc<Room>,
}

struct Checkpointer {
    connection: Connection,
    /// The log's size when it was looked at last.
    seen_bytes: u64,
}

impl Database {
    /// Opens or makes the file, for its owner only, and takes it to today's schema.
    pub(crate) fn open(setup: &Setup, schema: &Schema, room: &Arc<Room>) -> Result<Database, StoreError> {
        let path = setup.dir.join(schema.file);
        make_private(&path)?;
        let once = || Database::connect(setup, schema, room, &path);
        once().or_else(|error| match room.judge(error) {
            StoreError::Full => once(),
            error => Err(error),
        })
    }

    fn connect(
        setup: &Setup,
        schema: &Schema,
        room: &Arc<Room>,
        path: &Path,
    ) -> Result<Database, StoreError> {
        let database = Database {
            path: path.to_owned(),
            writer: FairMutex::new(writer(path, setup)?),
            checkpointer: Mutex::new(Checkpointer { connection: checkpointer(path, setup)?, seen_bytes: 0 }),
            readers: Mutex::new(Vec::new()),
            room: Arc::clone(room),
        };
        database.write(|connection| schema.migrate(connection))?;
        Ok(database)
    }

    /// One transaction with one sync. Rolled back where `f` or the commit fails; the connection stays usable.
    pub(crate) fn write<T>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.writer.lock();
        let outcome = transact(&connection, f);
        drop(connection);
        outcome.map_err(|error| self.room.judge(error))
    }

    /// One read transaction: everything `f` sees is of one moment.
    pub(crate) fn read<T>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let pooled = self.readers.lock().pop();
        let connection = pooled.map_or_else(|| reader(&self.path), Ok)?;
        connection.prepare_cached("BEGIN")?.execute([])?;
        let outcome = f(&connection);
        connection.prepare_cached("COMMIT")?.execute([])?;
        let mut readers = self.readers.lock();
        if readers.len() < IDLE_READERS {
            readers.push(connection);
        }
        outcome
    }

    /// Moves the log into the file, off the writer's path. Only a log that has grown too long is cut while
    /// the writer waits; what is left to move by then is little.
    pub(crate) fn tend(&self) -> Result<(), StoreError> {
        let limit = self.room.share(WAL_LIMIT_BYTES);
        let mut checkpointer = self.checkpointer.lock();
        let bytes = self.log_bytes();
        let idle = bytes == checkpointer.seen_bytes;
        checkpointer.seen_bytes = bytes;
        if bytes == 0 || (bytes < limit / 4 && !idle) {
            return Ok(());
        }
        checkpoint(&checkpointer.connection, "PASSIVE")?;
        if bytes >= limit || self.room.is_short() {
            let _held = self.writer.lock();
            checkpoint(&checkpointer.connection, "TRUNCATE")?;
        }
        Ok(())
    }

    /// Moves the whole log into the file and cuts it, so that nothing deleted is left in it.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        let checkpointer = self.checkpointer.lock();
        let _held = self.writer.lock();
        checkpoint(&checkpointer.connection, "TRUNCATE").map_err(|error| self.room.judge(error))
    }

    fn log_bytes(&self) -> u64 {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        std::fs::metadata(log).map_or(0, |file| file.len())
    }
}

fn transact<T>(
    connection: &Connection,
    f: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if !connection.is_autocommit() {
        // Whoever wrote before us panicked in the middle.
        connection.execute_batch("ROLLBACK")?;
    }
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let outcome = f(connection).and_then(|value| {
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(value)
    });
    // SQLite has rolled back by itself after some errors.
    if outcome.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    outcome
}

fn writer(path: &Path, setup: &Setup) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    configure(&connection, setup)?;
    connection.pragma_update(None, "cache_size", -i64::from(setup.cache_kib))?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

fn checkpointer(path: &Path, setup: &Setup) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    configure(&connection, setup)?;
    Ok(connection)
}

fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "cache_size", -8192)?;
    Ok(connection)
}

fn open(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.busy_timeout(Duration::from_millis(500))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

fn configure(connection: &Connection, setup: &Setup) -> Result<(), StoreError> {
    connection.pragma_update(None, "synchronous", setup.synchronous.word())?;
    connection.pragma_update(None, "secure_delete", setup.secure_delete)?;
    Ok(())
}

impl Synchronous {
    fn word(self) -> &'static str {
        match self {
            #[cfg(feature = "test-durability")]
            Synchronous::Off => "OFF",
            #[cfg(feature = "test-durability")]
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        }
    }
}

fn checkpoint(connection: &Connection, mode: &str) -> Result<(), StoreError> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
    Ok(())
}

/// SQLite gives its log and shared-memory files the mode of the file they belong to.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}

impl From<rusqlite::Error> for StoreError {
    /// A failed sync ends the process: nobody knows what is on the disk, and a second try may lie.
    fn from(error: rusqlite::Error) -> StoreError {
        let Some(code) = error.sqlite_error() else {
            return StoreError::Corrupt(error.to_string());
        };
        if matches!(code.extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) {
            tracing::error!(%error, "a sync failed; what is on the disk is unknown, so the process ends");
            std::process::exit(SYNC_FAILED);
        }
        match code.code {
            ErrorCode::DiskFull => StoreError::Full,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        }
    }
}
