//! The tables: what operators' transactions read and write, and the statements of the device path.

pub(crate) mod accounts;
pub(crate) mod announced;
pub(crate) mod attributes;
pub(crate) mod devices;
pub(crate) mod freezes;
pub mod journal;
pub(crate) mod once;
pub(crate) mod operations;
pub(crate) mod operators;
pub(crate) mod profiles;
pub(crate) mod questions;
pub(crate) mod tenants;

use std::ops::Deref;

use domain::Timestamp;

use crate::StoreError;
use crate::driver::{Room, Sql, params};
use crate::secrets::{Keys, Place, Vault};
use journal::Pen;

impl<'a> View<'a> {
    /// As `held`, where other tables are joined.
    pub(crate) fn held_devices(&self) -> &'static str {
        if self.held.is_empty() { "" } else { " FOR UPDATE OF devices" }
    }

    pub(crate) fn of(sql: Sql<'a>) -> View<'a> {
        View { sql, held: "" }
    }

    /// The moment it is by the clock that all servers share: the database's. On SQLite it is `local`.
    ///
    /// # Errors
    /// What the database says.
    pub fn now(&self, local: Timestamp) -> Result<Timestamp, StoreError> {
        self.sql.now(local)
    }
}

/// What an operator's transaction sees: the registry of one moment.
pub struct View<'a> {
    pub(crate) sql: Sql<'a>,
    /// Ends a `SELECT` of a device: within a change nobody else moves what was read.
    held: &'static str,
}

/// An operator's transaction: sees what a [`View`] sees, and changes it. A device that it reads stays as it is read
/// until the end, and so do its operations: whoever moves them holds the device first. Rolled back as a whole on an
/// error.
pub struct Change<'a> {
    view: View<'a>,
    pub(crate) keys: &'a Keys,
    pub(crate) vault: &'a Vault,
    pub(crate) room: &'a Room,
    pub(crate) pen: Pen<'a>,
    /// Sealed values whose rows this transaction deletes; they go once it is committed.
    pub(crate) voided: Vec<Place>,
}

impl<'a> Change<'a> {
    pub(crate) fn new(
        sql: Sql<'a>,
        keys: &'a Keys,
        vault: &'a Vault,
        room: &'a Room,
        pen: Pen<'a>,
    ) -> Change<'a> {
        Change { view: View { sql, held: sql.for_update() }, keys, vault, room, pen, voided: Vec::new() }
    }

    pub(crate) fn room_to_grow(&self) -> Result<(), StoreError> {
        self.room.to_grow()
    }
}

/// Voids what the server's own keys made: credentials, group secrets, operators' tokens. Devices stay, and are
/// expected again; those that were shut out, or are on their way, stay so.
pub(crate) fn void_credentials(sql: Sql<'_>) -> Result<(), StoreError> {
    let credentials = "UPDATE devices
        SET state = CASE WHEN state IN ('provisioned', 'failed') THEN 'expected'
                         WHEN state IN ('disabled-provisioned', 'disabled-failed') THEN 'disabled-expected'
                         ELSE state END,
            credential = 'none', generation = 0, verifier = NULL, parts = NULL, version = version + 1
        WHERE credential <> 'none'";
    for statement in [
        credentials,
        "DELETE FROM group_secrets",
        "DELETE FROM claims",
        "UPDATE profiles SET version = version + 1",
        "DELETE FROM operator_tokens",
    ] {
        sql.execute(statement, params![])?;
    }
    Ok(())
}

impl<'a> Deref for Change<'a> {
    type Target = View<'a>;

    fn deref(&self) -> &View<'a> {
        &self.view
    }
}

/// Names the rows of `wanted (name)`: each neighbour in `column` for which something in `table` is open, found by one
/// step along the index over `column` whose condition is `open`.
pub(crate) fn wanted(table: &str, column: &str, open: &str) -> String {
    format!(
        "WITH RECURSIVE wanted (name) AS (
             SELECT min({column}) FROM {table} WHERE {open}
             UNION ALL
             SELECT (SELECT min({column}) FROM {table} WHERE {open} AND {column} > wanted.name)
             FROM wanted WHERE name IS NOT NULL)"
    )
}
