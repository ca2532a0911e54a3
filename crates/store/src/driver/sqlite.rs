//! One SQLite file: one writer behind a fair lock, a pool of readers, checkpoints on a connection of their own.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{FairMutex, Mutex};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, ffi};

use super::log_index::{LogIndex, beside};
use super::migrations::Schema;
use super::{Room, Sql};
use crate::StoreError;

/// The log begins anew when it grows past this (or past a share of a small disk).
const LOG_LIMIT_BYTES: u64 = 64 << 20;
/// What may be left to be moved when the writer has to wait for it.
const LOG_REST_FRAMES: u64 = 500;
/// How often the rest is made smaller before the writer has to wait.
const LOG_ROUNDS: u32 = 4;
/// A frame of the log: a page of 4096 bytes and a header (SQLite file format, section 4.1).
pub(super) const FRAME_BYTES: u64 = 4096 + 24;
/// Reader connections that are kept; more are opened when more are needed at once.
const IDLE_READERS: usize = 8;
/// Pages that one step of a copy takes, and the rest after it.
const COPIED_PAGES: i32 = 1024;
const COPY_PAUSE: Duration = Duration::from_millis(2);
const CACHED_STATEMENTS: usize = 128;
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
    commits: AtomicU64,
    checkpointer: Mutex<Checkpointer>,
    readers: Mutex<Vec<Connection>>,
    room: Arc<Room>,
    /// The last to be closed.
    index: LogIndex,
}

struct Checkpointer {
    connection: Connection,
    /// How many commits there were when the log was moved last.
    seen_commits: u64,
}

/// How far a checkpoint came.
#[derive(Clone, Copy)]
struct Progress {
    /// Frames in the log, and how many of them are in the file too.
    frames: u64,
    moved: u64,
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
            checkpointer: Mutex::new(Checkpointer {
                connection: checkpointer(path, setup)?,
                seen_commits: 0,
            }),
            commits: AtomicU64::new(0),
            readers: Mutex::new(Vec::new()),
            room: Arc::clone(room),
            index: LogIndex::open(path)?,
        };
        match database.index.hold(room.share(LOG_LIMIT_BYTES).max(database.log_bytes())) {
            // A server on a full disk starts, and reads.
            Ok(()) | Err(StoreError::Full) => {}
            Err(error) => return Err(error),
        }
        database.write(|sql| schema.migrate(sql))?;
        Ok(database)
    }

    /// One transaction with one sync. Rolled back where `f` or the commit fails; the connection stays usable.
    pub(crate) fn write<T>(&self, f: impl FnOnce(Sql<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let connection = self.writer.lock();
        let outcome = transact(&connection, f);
        drop(connection);
        self.commits.fetch_add(1, Ordering::Relaxed);
        outcome.map_err(|error| self.room.judge(error))
    }

    /// As [`Database::read`], on the writer's own connection. Its cache holds what was written last, while a
    /// reader's is void after every commit; and what is read here, the write that follows need not read again.
    pub(crate) fn read_before_write<T>(
        &self,
        f: impl FnOnce(Sql<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.writer.lock();
        take_up(&connection)?;
        connection.prepare_cached("BEGIN")?.execute([])?;
        let outcome = f(Sql::Sqlite(&connection));
        connection.prepare_cached("COMMIT")?.execute([])?;
        outcome
    }

    /// One read transaction: everything `f` sees is of one moment.
    pub(crate) fn read<T>(&self, f: impl FnOnce(Sql<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let pooled = self.readers.lock().pop();
        let connection = pooled.map_or_else(|| reader(&self.path), Ok)?;
        connection.prepare_cached("BEGIN")?.execute([])?;
        let outcome = f(Sql::Sqlite(&connection));
        connection.prepare_cached("COMMIT")?.execute([])?;
        let mut readers = self.readers.lock();
        if readers.len() < IDLE_READERS {
            readers.push(connection);
        }
        outcome
    }

    /// Moves the log into the file, off the writer's path. A log that has grown long begins anew, and only
    /// for the last few frames of it the writer waits: a long wait here would be a device's long wait.
    pub(crate) fn tend(&self) -> Result<(), StoreError> {
        let limit = self.room.share(LOG_LIMIT_BYTES);
        let mut checkpointer = self.checkpointer.lock();
        let commits = self.commits.load(Ordering::Relaxed);
        if !self.room.is_short() {
            self.index.hold(self.log_bytes()).map_err(|error| self.room.judge(error))?;
        }
        let idle = commits == std::mem::replace(&mut checkpointer.seen_commits, commits);
        if self.room.is_short() || (idle && self.log_bytes() > limit) {
            let _held = self.writer.lock();
            return checkpoint(&checkpointer.connection, "TRUNCATE").map(drop);
        }
        if !idle {
            self.begin_anew(&checkpointer.connection, limit / FRAME_BYTES)?;
        }
        Ok(())
    }

    /// A log that is moved as a whole while nobody writes or reads is written from its start again.
    fn begin_anew(&self, connection: &Connection, most_frames: u64) -> Result<(), StoreError> {
        let mut progress = checkpoint(connection, "PASSIVE")?;
        if progress.frames < most_frames {
            return Ok(());
        }
        for _ in 0..LOG_ROUNDS {
            if progress.left() <= LOG_REST_FRAMES {
                break;
            }
            progress = checkpoint(connection, "PASSIVE")?;
        }
        let _held = self.writer.lock();
        checkpoint(connection, "PASSIVE").map(drop)
    }

    /// Moves the whole log into the file and cuts it, so that nothing deleted is left in it.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        let checkpointer = self.checkpointer.lock();
        let _held = self.writer.lock();
        checkpoint(&checkpointer.connection, "TRUNCATE").map(drop).map_err(|error| self.room.judge(error))
    }

    /// Copies the file as it is at this moment, in steps between which others work on. The log only grows
    /// meanwhile: it begins anew when the copy is done.
    pub(crate) fn copy_to(&self, target: &Path) -> Result<(), StoreError> {
        let source = reader(&self.path)?;
        source.execute_batch("BEGIN")?;
        // The moment is that of the first read; while it lasts the copy never has to begin anew.
        source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        make_private(target)?;
        let mut copy = Connection::open(target)?;
        let backup = Backup::new(&source, &mut copy)?;
        while backup.step(COPIED_PAGES)? != StepResult::Done {
            std::thread::sleep(COPY_PAUSE);
        }
        drop(backup);
        // One file, without a log beside it.
        copy.pragma_update(None, "journal_mode", "DELETE")?;
        copy.close().map_err(|(_, error)| error)?;
        std::fs::File::open(target)?.sync_all()?;
        Ok(())
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(beside(&self.path, "-wal")).map_or(0, |file| file.len())
    }
}

/// Whoever used the writer before us may have panicked in the middle.
fn take_up(connection: &Connection) -> Result<(), StoreError> {
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    Ok(())
}

pub(crate) fn transact<T>(
    connection: &Connection,
    f: impl FnOnce(Sql<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    take_up(connection)?;
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let outcome = f(Sql::Sqlite(connection)).and_then(|value| {
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(value)
    });
    // SQLite has rolled back by itself after some errors.
    if outcome.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    outcome
}

/// A copy that nobody else uses, for reading.
pub(crate) fn open_copy(path: &Path) -> Result<Connection, StoreError> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// A copy that nobody else uses, for the changes of a restore.
pub(crate) fn open_for_restore(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
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
    // A plan that depended on the values would be drawn anew for each row: beside partial indexes SQLite
    // prepares a statement again whenever a parameter has changed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
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

impl Progress {
    fn left(self) -> u64 {
        self.frames.saturating_sub(self.moved)
    }
}

fn checkpoint(connection: &Connection, mode: &str) -> Result<Progress, StoreError> {
    // SQLite says -1 where there is no log yet.
    let count = |row: &Row<'_>, at| row.get::<_, i64>(at).map(|frames| u64::try_from(frames).unwrap_or(0));
    let read = |row: &Row<'_>| Ok(Progress { frames: count(row, 1)?, moved: count(row, 2)? });
    Ok(connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], read)?)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use testkit::loopfs::SmallFileSystem;

    use super::*;

    #[test]
    fn the_index_of_the_log_has_its_room_before_the_disk_is_full() {
        let small = SmallFileSystem::new().unwrap();
        let setup =
            Setup { dir: small.path(), cache_kib: 64, secure_delete: false, synchronous: Synchronous::Full };
        let room = Arc::new(Room::open(&small.path()).unwrap());
        let database = Database::open(&setup, &crate::driver::migrations::MAIN, &room).unwrap();
        let index = std::fs::metadata(beside(&database.path, "-shm")).unwrap();
        // Twice what SQLite itself takes for a new log.
        assert!(index.len() >= 64 << 10, "{}", index.len());
        assert!(index.blocks() * 512 >= index.len(), "{} of {} bytes", index.blocks() * 512, index.len());
    }
}
