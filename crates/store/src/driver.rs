//! The databases behind the tables. SQLite is the only one today.

mod migrations;
mod room;
mod sql;
pub(crate) mod sqlite;

pub(crate) use migrations::{MAIN, SECRETS, TELEMETRY};
pub(crate) use room::Room;
pub(crate) use sql::{Param, Row, Sql, params};
#[cfg(feature = "test-durability")]
pub use sqlite::Synchronous;
#[cfg(not(feature = "test-durability"))]
pub(crate) use sqlite::Synchronous;
pub(crate) use sqlite::{Database, Setup};
