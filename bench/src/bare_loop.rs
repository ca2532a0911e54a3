//! The same rows written by nothing but a loop over SQLite: what the disk and the database allow.
//!
//! The rows are those that the server has just written: they are read out of its database, with their
//! tables and indexes, and written into a new one.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

/// Rows of each table in a transaction.
const BATCH: usize = 64;
/// The two tables of a provisioning.
const TABLES: [&str; 2] = ["devices", "journal"];

/// What the server wrote, in the order in which it was written.
pub struct Rows {
    schema: Vec<String>,
    tables: Vec<Vec<Vec<Value>>>,
}

impl Rows {
    /// Reads the rows of at most so many provisionings out of a database that no server has open.
    ///
    /// # Errors
    /// If the database cannot be read or holds nothing.
    pub fn read(database: &Path, most: usize) -> Result<Rows> {
        let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .with_context(|| format!("cannot open {}", database.display()))?;
        let tables =
            TABLES.iter().map(|table| newest(&connection, table, most)).collect::<Result<Vec<_>>>()?;
        ensure!(tables.iter().all(|rows| !rows.is_empty()), "the server has written no rows");
        Ok(Rows { schema: schema(&connection)?, tables })
    }

    /// Provisionings a second of the loop: WAL, `synchronous=FULL`, a page cache of 128 MB, checkpoints as
    /// SQLite makes them by itself.
    ///
    /// # Errors
    /// Those of the database.
    pub fn write(&self, folder: &Path, limit: Duration) -> Result<f64> {
        let folder = tempfile::tempdir_in(folder)?;
        let mut connection = Connection::open(folder.path().join("bare.db"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -131072;",
        )?;
        for statement in &self.schema {
            connection.execute_batch(statement)?;
        }
        let (began, mut written) = (Instant::now(), 0);
        let mut batches: Vec<_> = self.tables.iter().map(|rows| rows.chunks(BATCH)).collect();
        while began.elapsed() < limit {
            let batch: Vec<_> = batches.iter_mut().filter_map(Iterator::next).collect();
            if batch.len() < TABLES.len() {
                break;
            }
            write_batch(&mut connection, &batch)?;
            written += batch[0].len();
        }
        Ok(written as f64 / began.elapsed().as_secs_f64())
    }
}

fn write_batch(connection: &mut Connection, batch: &[&[Vec<Value>]]) -> Result<()> {
    let transaction = connection.transaction()?;
    for (table, rows) in TABLES.iter().zip(batch) {
        let places = vec!["?"; rows[0].len()].join(", ");
        let mut statement = transaction.prepare_cached(&format!("INSERT INTO {table} VALUES ({places})"))?;
        for row in *rows {
            statement.execute(params_from_iter(row))?;
        }
    }
    Ok(transaction.commit()?)
}

/// The last rows, first written first.
fn newest(connection: &Connection, table: &str, most: usize) -> Result<Vec<Vec<Value>>> {
    let mut statement =
        connection.prepare(&format!("SELECT * FROM {table} ORDER BY rowid DESC LIMIT {most}"))?;
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
    let mut rows: Vec<Vec<Value>> = statement.query_map([], row)?.collect::<Result<_, _>>()?;
    rows.reverse();
    Ok(rows)
}

fn schema(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT sql FROM sqlite_schema WHERE tbl_name IN ('devices', 'journal') AND type IN ('table', 'index') AND sql IS NOT NULL
         ORDER BY type DESC",
    )?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_a_database_are_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE devices (device INTEGER PRIMARY KEY, name TEXT);
                 CREATE UNIQUE INDEX devices_by_name ON devices (name);
                 CREATE TABLE journal (position INTEGER PRIMARY KEY, link BLOB);
                 INSERT INTO devices VALUES (1, 'a'), (2, 'b'), (3, 'c');
                 INSERT INTO journal VALUES (7, x'00'), (8, x'01'), (9, x'02');",
            )
            .unwrap();
        let rows = Rows::read(&path, 2).unwrap();
        assert_eq!(
            rows.tables[0],
            [[Value::Integer(2), Value::Text("b".into())], [3.into(), Value::Text("c".into())]]
        );
        assert_eq!(rows.schema.len(), 3);
        assert!(rows.write(folder.path(), Duration::from_secs(60)).unwrap() > 0.0);
    }
}
