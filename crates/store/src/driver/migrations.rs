//! Numbered steps from an empty file to today's schema, for each of the three files, and for each of the three
//! schemas in a PostgreSQL, whose steps have numbers of their own.
//!
//! A file knows its `(version, compatible_from)`. A server refuses it only if `compatible_from` is above
//! the version that the server itself knows, so servers can be upgraded one after another.

use super::{Sql, params};
use crate::StoreError;

/// The steps of one file.
pub(crate) struct Schema {
    /// The file's name.
    pub(crate) file: &'static str,
    /// The schema's name in a PostgreSQL.
    pub(crate) schema: &'static str,
    sqlite: &'static [Step],
    postgres: &'static [Step],
}

/// One step; its number is its place in the list, from 1 on.
struct Step {
    sql: &'static str,
    /// The oldest schema whose servers can still use the file after this step.
    compatible_from: u32,
}

/// `main.db`.
pub(crate) const MAIN: Schema = Schema {
    file: "main.db",
    schema: "muster",
    sqlite: &[
        Step { sql: include_str!("../../migrations/main/0001_first.sql"), compatible_from: 1 },
        // An older server would let devices in without their steps and questions.
        Step { sql: include_str!("../../migrations/main/0002_operations.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/main/0003_upkeep.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/main/0004_turns.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/main/0005_holders.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/main/0006_devices.sql"), compatible_from: 2 },
        // An older server would take every token for an admin's, and would not know what is frozen.
        Step { sql: include_str!("../../migrations/main/0007_operators.sql"), compatible_from: 7 },
        Step { sql: include_str!("../../migrations/main/0008_attributes.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/main/0009_sign_on.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/main/0010_selectors.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/main/0011_once.sql"), compatible_from: 2 },
        // An older server would leave that to a trigger which is gone.
        Step { sql: include_str!("../../migrations/main/0012_added.sql"), compatible_from: 12 },
        Step { sql: include_str!("../../migrations/main/0013_notes.sql"), compatible_from: 2 },
    ],
    postgres: &[
        Step { sql: include_str!("../../migrations/postgres/main/0001_first.sql"), compatible_from: 1 },
        Step { sql: include_str!("../../migrations/postgres/main/0002_operations.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/postgres/main/0003_upkeep.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/postgres/main/0004_turns.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/postgres/main/0005_holders.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/postgres/main/0006_devices.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/postgres/main/0007_operators.sql"), compatible_from: 7 },
        Step { sql: include_str!("../../migrations/postgres/main/0008_attributes.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/postgres/main/0009_sign_on.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/postgres/main/0010_selectors.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/postgres/main/0011_once.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/postgres/main/0012_added.sql"), compatible_from: 2 },
        Step { sql: include_str!("../../migrations/postgres/main/0013_notes.sql"), compatible_from: 2 },
    ],
};

/// `secrets.db`.
pub(crate) const SECRETS: Schema = Schema {
    file: "secrets.db",
    schema: "muster_secrets",
    sqlite: &[
        Step { sql: include_str!("../../migrations/secrets/0001_first.sql"), compatible_from: 1 },
        // A server from before would go on sealing with a key that is to be retired.
        Step { sql: include_str!("../../migrations/secrets/0002_keks.sql"), compatible_from: 2 },
    ],
    postgres: &[
        Step { sql: include_str!("../../migrations/postgres/secrets/0001_first.sql"), compatible_from: 1 },
        Step { sql: include_str!("../../migrations/postgres/secrets/0002_keks.sql"), compatible_from: 2 },
    ],
};

/// `telemetry.db`.
pub(crate) const TELEMETRY: Schema = Schema {
    file: "telemetry.db",
    schema: "muster_telemetry",
    sqlite: &[Step { sql: include_str!("../../migrations/telemetry/0001_first.sql"), compatible_from: 1 }],
    postgres: &[Step {
        sql: include_str!("../../migrations/postgres/telemetry/0001_first.sql"),
        compatible_from: 1,
    }],
};

impl Schema {
    /// Takes the file or schema to today's shape, in the transaction that is open.
    pub(crate) fn migrate(&self, sql: Sql<'_>) -> Result<(), StoreError> {
        let steps = self.steps(sql);
        let known = steps.len() as u32;
        let (version, compatible_from) = read_version(sql)?;
        if compatible_from > known {
            let file =
                if sql.is_postgres() { format!("schema {}", self.schema) } else { self.file.to_owned() };
            return Err(StoreError::TooNew { file, compatible_from, known });
        }
        for step in steps.iter().skip(version as usize) {
            sql.batch(step.sql)?;
        }
        if version < known { write_version(sql, steps) } else { Ok(()) }
    }

    fn steps(&self, sql: Sql<'_>) -> &'static [Step] {
        if sql.is_postgres() { self.postgres } else { self.sqlite }
    }
}

fn write_version(sql: Sql<'_>, steps: &[Step]) -> Result<(), StoreError> {
    let compatible_from = steps.iter().map(|step| step.compatible_from).max().unwrap_or(1);
    let text = "UPDATE meta SET version = ?, compatible_from = ?";
    sql.execute(text, params![steps.len() as u64, compatible_from])?;
    Ok(())
}

fn read_version(sql: Sql<'_>) -> Result<(u32, u32), StoreError> {
    sql.batch(
        "CREATE TABLE IF NOT EXISTS meta (version INTEGER NOT NULL, compatible_from INTEGER NOT NULL);
         INSERT INTO meta SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM meta);",
    )?;
    let pair = "SELECT version, compatible_from FROM meta";
    sql.one(pair, params![], |row| Ok((row.int(0)? as u32, row.int(1)? as u32)))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn with_version(version: u32, compatible_from: u32) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let sql = Sql::Sqlite(&connection);
        MAIN.migrate(sql).unwrap();
        let text = "UPDATE meta SET version = ?, compatible_from = ?";
        sql.execute(text, params![version, compatible_from]).unwrap();
        connection
    }

    #[test]
    fn a_newer_schema_is_used_while_it_says_that_we_can() {
        let connection = with_version(70, 7);
        MAIN.migrate(Sql::Sqlite(&connection)).unwrap();
        assert_eq!(read_version(Sql::Sqlite(&connection)).unwrap(), (70, 7));
    }

    #[test]
    fn a_schema_that_says_we_cannot_is_refused() {
        let error = MAIN.migrate(Sql::Sqlite(&with_version(70, 60))).unwrap_err();
        let ours = MAIN.sqlite.len() as u32;
        assert!(
            matches!(error, StoreError::TooNew { compatible_from: 60, known, .. } if known == ours),
            "{error}"
        );
    }
}
