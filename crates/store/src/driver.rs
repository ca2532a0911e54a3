//! The databases behind the tables: files of SQLite, or schemas of a PostgreSQL.

mod log_index;
mod migrations;
pub(crate) mod postgres;
mod room;
mod sql;
pub(crate) mod sqlite;

use std::sync::Arc;

use crate::StoreError;
use migrations::Schema;

pub(crate) use migrations::{MAIN, SECRETS, TELEMETRY};
pub(crate) use room::Room;
pub(crate) use sql::{Param, Row, Sql, params};
pub(crate) use sqlite::Setup;
#[cfg(feature = "test-durability")]
pub use sqlite::Synchronous;
#[cfg(not(feature = "test-durability"))]
pub(crate) use sqlite::Synchronous;

/// One database: a file, or a schema.
pub(crate) enum Database {
    Sqlite(Box<sqlite::Database>),
    Postgres(postgres::Database),
}

impl Database {
    /// Opens or makes a file.
    pub(crate) fn open(setup: &Setup, schema: &Schema, room: &Arc<Room>) -> Result<Database, StoreError> {
        sqlite::Database::open(setup, schema, room).map(|file| Database::Sqlite(Box::new(file)))
    }

    /// Connects to a schema, or makes it.
    pub(crate) fn connect(
        address: &postgres::Address,
        schema: &Schema,
        connections: usize,
        waiter: &postgres::Waiter,
    ) -> Result<Database, StoreError> {
        postgres::Database::open(address, schema, connections, waiter).map(Database::Postgres)
    }

    /// Whether calls wait for another process, so that no thread that others need may make them.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Database::Postgres(_))
    }

    /// One transaction, synced when this returns; nothing has happened where it fails. `f` may run again.
    pub(crate) fn write<T>(&self, f: impl FnMut(Sql<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self {
            Database::Sqlite(database) => database.write(f),
            Database::Postgres(database) => database.write(f),
        }
    }

    /// One read transaction: everything `f` sees is of one moment. `f` may run again.
    pub(crate) fn read<T>(&self, f: impl FnMut(Sql<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self {
            Database::Sqlite(database) => database.read(f),
            Database::Postgres(database) => database.read(f),
        }
    }

    /// A read on the device path: on PostgreSQL a single statement, without a transaction around it.
    pub(crate) fn peek<T>(&self, f: impl FnMut(Sql<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self {
            Database::Sqlite(database) => database.read(f),
            Database::Postgres(database) => database.peek(f),
        }
    }

    /// As [`Database::peek`], where what is read will be written: SQLite reads it on the writer's connection,
    /// whose cache holds what was written last.
    pub(crate) fn peek_before_write<T>(
        &self,
        f: impl FnMut(Sql<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self {
            Database::Sqlite(database) => database.read_before_write(f),
            Database::Postgres(database) => database.peek(f),
        }
    }

    /// A step of upkeep; a PostgreSQL looks after itself.
    pub(crate) fn tend(&self) -> Result<(), StoreError> {
        match self {
            Database::Sqlite(database) => database.tend(),
            Database::Postgres(_) => Ok(()),
        }
    }

    /// Moves a file's log into it, so that nothing deleted is left there.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        match self {
            Database::Sqlite(database) => database.checkpoint(),
            Database::Postgres(_) => Ok(()),
        }
    }
}
