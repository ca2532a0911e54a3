//! The tables of a PostgreSQL on their way into files, and back.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::manifest::Table;
use crate::StoreError;
use crate::driver::{Sql, params};

/// Bytes that are sent at once.
const PIECE: usize = 1 << 16;
/// A copy takes as long as it takes.
const NO_HURRY: &str = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

/// Writes every table of a schema into a file of its own; all of the moment of the open transaction.
pub(super) fn copy_out(sql: Sql<'_>, part: &str, schema: &str, to: &Path) -> Result<Vec<Table>, StoreError> {
    sql.batch(NO_HURRY)?;
    let mut tables = tables(sql, schema)?;
    for table in &mut tables {
        let path = to.join(format!("{part}.{}.copy", table.name));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut out = BufWriter::new(file);
        sql.copy_out(&format!("COPY {} TO STDOUT (FORMAT binary)", listed(table)), |piece| {
            Ok(out.write_all(piece)?)
        })?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        table.given = given(sql, table)?;
    }
    Ok(tables)
}

/// Puts a table's file in the place of what the table holds.
pub(super) fn copy_in(sql: Sql<'_>, table: &Table, from: &Path) -> Result<(), StoreError> {
    let mut file = BufReader::new(File::open(from)?);
    sql.batch(NO_HURRY)?;
    sql.batch(&format!("DELETE FROM {}", named(table)))?;
    sql.copy_in(&format!("COPY {} FROM STDIN (FORMAT binary)", listed(table)), || {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece)?;
        piece.truncate(read);
        Ok((read > 0).then_some(piece))
    })?;
    number_on(sql, table)
}

/// What is numbered by itself goes on behind the last number that was given, whose row may be gone; a backup from
/// before that was noted knows the largest that is there.
fn number_on(sql: Sql<'_>, table: &Table) -> Result<(), StoreError> {
    for column in numbered(sql, &table.schema, &table.name)? {
        let given = table.given.get(&column).copied().unwrap_or(0);
        let text = format!(
            "SELECT setval(pg_get_serial_sequence(?, ?), behind)
             FROM (SELECT greatest(max({column}), ?) AS behind FROM {table}) AS numbers WHERE behind > 0",
            table = named(table)
        );
        sql.exists(&text, params![&named(table), &column, given])?;
    }
    Ok(())
}

/// The columns of a table that number themselves.
fn numbered(sql: Sql<'_>, schema: &str, table: &str) -> Result<Vec<String>, StoreError> {
    let text = "SELECT column_name::text FROM information_schema.columns
                WHERE table_schema = ? AND table_name = ? AND is_identity = 'YES'";
    sql.query(text, params![schema, table], |row| row.string(0))
}

/// The last numbers that a table has given. Read behind the rows: the numbers may be later, never earlier.
fn given(sql: Sql<'_>, table: &Table) -> Result<BTreeMap<String, i64>, StoreError> {
    let mut given = BTreeMap::new();
    for column in numbered(sql, &table.schema, &table.name)? {
        let text = "SELECT pg_sequence_last_value(pg_get_serial_sequence(?, ?)::regclass)";
        let last = sql.one(text, params![&named(table), &column], |row| row.opt_int(0))?;
        given.extend(last.map(|last| (column, last)));
    }
    Ok(given)
}

/// The tables that are copied: not the schema's version, nor which servers are running.
fn tables(sql: Sql<'_>, schema: &str) -> Result<Vec<Table>, StoreError> {
    let text = "SELECT table_name::text, string_agg(column_name::text, ',' ORDER BY ordinal_position)
                FROM information_schema.columns
                WHERE table_schema = ? AND table_name NOT IN ('meta', 'servers')
                GROUP BY table_name ORDER BY table_name";
    sql.query(text, params![schema], |row| {
        let columns = row.text(1)?.split(',').map(str::to_owned).collect();
        Ok(Table { schema: schema.to_owned(), name: row.string(0)?, columns, given: BTreeMap::new() })
    })
}

fn named(table: &Table) -> String {
    format!("{}.{}", table.schema, table.name)
}

fn listed(table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| format!("\"{column}\"")).collect();
    format!("{} ({})", named(table), columns.join(", "))
}
