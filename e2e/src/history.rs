//! Every value in the telemetry file, counted past the server: the API shows the last value of each key, and
//! a value that was stored twice would not be seen there.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};
use testkit::postgres::Postgres;

/// How many temperatures of each device are stored, by the device's name. A device without any is missing.
///
/// # Errors
/// If the files below a server's folder cannot be read.
pub fn temperatures(folder: &Path) -> Result<HashMap<String, u64>> {
    let names = pairs::<i64, String>(&folder.join("db/main.db"), "SELECT device, name_key FROM devices")?;
    let names: HashMap<i64, String> = names.into_iter().collect();
    let counted = "SELECT device, count(*) FROM history WHERE key = 'temperature' GROUP BY device";
    let counts = pairs::<i64, i64>(&folder.join("db/telemetry.db"), counted)?;
    let named = |(device, count): (i64, i64)| Some((names.get(&device)?.clone(), count.unsigned_abs()));
    Ok(counts.into_iter().filter_map(named).collect())
}

/// The same, of a PostgreSQL.
///
/// # Errors
/// If it cannot be asked.
pub fn temperatures_in(postgres: &Postgres, database: &str) -> Result<HashMap<String, u64>> {
    let counted =
        "SELECT name_key || ' ' || count(*) FROM muster_telemetry.history JOIN muster.devices USING (device)
                   WHERE key = 'temperature' GROUP BY name_key";
    let rows = postgres.query(database, counted)?;
    rows.lines()
        .map(|row| {
            let (name, count) = row.rsplit_once(' ').context("no two columns")?;
            Ok((name.to_owned(), count.parse()?))
        })
        .collect()
}

fn pairs<A: rusqlite::types::FromSql, B: rusqlite::types::FromSql>(
    file: &Path,
    query: &str,
) -> Result<Vec<(A, B)>> {
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement = database.prepare(query)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
