//! What devices tell: the last value of each key, and a bounded history. A file and a writer of its own, so
//! that provisioning does not wait for it.

use std::sync::Arc;

use domain::{DeviceKey, Timestamp};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, params};

use crate::StoreError;
use crate::driver::{Database, Room, Setup, TELEMETRY};
use crate::error::storable;

/// How long history is kept, in milliseconds: seven days.
pub const HISTORY_AGE_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How large the file may get before the oldest history is dropped.
pub const HISTORY_BYTES: u64 = 1 << 30;

/// Arrivals in one millisecond are told apart by this many bits.
const ARRIVAL_BITS: u32 = 20;
/// Rows that are dropped in one transaction, and transactions in one round of maintenance.
const PRUNED_AT_ONCE: u32 = 2_000;
const PRUNING_ROUNDS: u32 = 20;

/// A value that a device sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The device.
    pub device: DeviceKey,
    /// What sort of value it is.
    pub scope: Scope,
    /// Its key.
    pub key: String,
    /// When it was measured.
    pub at: Timestamp,
    /// The value.
    pub value: Value,
}

/// What sort of value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A point of a time series.
    Timeseries,
    /// An attribute that the device says of itself.
    ClientAttribute,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Double(f64),
    /// A text.
    Text(String),
    /// JSON, as text.
    Json(String),
}

/// A value that is kept: of [`TelemetryStore::latest`] or [`TelemetryStore::history`].
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    /// What sort of value it is.
    pub scope: Scope,
    /// Its key.
    pub key: String,
    /// When it was measured.
    pub at: Timestamp,
    /// The value.
    pub value: Value,
}

/// The telemetry of all devices.
pub struct TelemetryStore {
    database: Database,
    room: Arc<Room>,
}

impl Sample {
    /// Whether it can be stored: no text of it holds U+0000, and no number is not a number. One that
    /// cannot makes its whole batch fail, so who gathers batches asks first.
    pub fn is_storable(&self) -> bool {
        self.check().is_ok()
    }

    fn check(&self) -> Result<(), StoreError> {
        storable(&self.key, "the key of a value")?;
        match &self.value {
            Value::Text(text) | Value::Json(text) => storable(text, "a value").map(|_| ()),
            Value::Double(number) if number.is_nan() => Err(StoreError::Unstorable("a value")),
            Value::Bool(_) | Value::Integer(_) | Value::Double(_) => Ok(()),
        }
    }
}

impl TelemetryStore {
    pub(crate) fn open(setup: &Setup, room: &Arc<Room>) -> Result<TelemetryStore, StoreError> {
        Ok(TelemetryStore { database: Database::open(setup, &TELEMETRY, room)?, room: Arc::clone(room) })
    }

    /// Stores values: one transaction, synced when this returns. A time series' last value is the one with
    /// the latest moment; an attribute's is the one that came last.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Unstorable`], what the database says; nothing is stored then.
    pub fn append(&self, samples: &[Sample], now: Timestamp) -> Result<(), StoreError> {
        self.room.to_grow()?;
        samples.iter().try_for_each(Sample::check)?;
        self.database.write(|connection| {
            let mut arrival = last_arrival(connection)?.max(arrival_at(now) - 1);
            for sample in samples {
                arrival += 1;
                insert(connection, arrival, sample)?;
                upsert(connection, sample)?;
            }
            Ok(())
        })
    }

    /// The last value of each key of a device, attributes behind time series, by key.
    ///
    /// # Errors
    /// What the database says.
    pub fn latest(&self, device: DeviceKey) -> Result<Vec<Latest>, StoreError> {
        let sql = "SELECT scope, key, at, form, value FROM latest WHERE device = ? ORDER BY scope, key";
        self.database.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([device.0.cast_signed()])?;
            collect(&mut rows)
        })
    }

    /// At most `limit` values of a device, of one key or of all, the one that came last first.
    ///
    /// # Errors
    /// What the database says.
    pub fn history(
        &self,
        device: DeviceKey,
        key: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Latest>, StoreError> {
        let sql = "SELECT scope, key, at, form, value FROM history
                   WHERE device = ?1 AND (?2 IS NULL OR key = ?2) ORDER BY arrival DESC LIMIT ?3";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.database.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![device.0.cast_signed(), key, limit])?;
            collect(&mut rows)
        })
    }

    /// Forgets everything that devices have told.
    ///
    /// # Errors
    /// What the database says.
    pub fn forget(&self, devices: &[DeviceKey]) -> Result<(), StoreError> {
        self.database.write(|connection| {
            for device in devices {
                let device = device.0.cast_signed();
                connection.prepare_cached("DELETE FROM latest WHERE device = ?")?.execute([device])?;
                connection.prepare_cached("DELETE FROM history WHERE device = ?")?.execute([device])?;
            }
            Ok(())
        })
    }

    /// The largest key of a device that has told anything.
    pub(crate) fn largest_device(&self) -> Result<u64, StoreError> {
        let sql = "SELECT max(coalesce((SELECT max(device) FROM latest), 0), coalesce((SELECT max(device) FROM history), 0))";
        self.database
            .read(|connection| Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned()))
    }

    /// Drops history that is too old or too much, the oldest first, in steps that hold the writer shortly.
    pub(crate) fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        let too_old = arrival_at(Timestamp(now.0.saturating_sub(HISTORY_AGE_MS)));
        for _ in 0..PRUNING_ROUNDS {
            let over = self.database.read(used_bytes)? > HISTORY_BYTES;
            let before = if over { i64::MAX } else { too_old };
            if self.database.read(first_arrival)?.is_none_or(|first| first >= before) {
                return Ok(());
            }
            self.database.write(|connection| drop_oldest(connection, before))?;
        }
        Ok(())
    }

    pub(crate) fn tend(&self) -> Result<(), StoreError> {
        self.database.tend()
    }

    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        self.database.checkpoint()
    }
}

fn insert(connection: &Connection, arrival: i64, sample: &Sample) -> Result<(), StoreError> {
    let sql =
        "INSERT INTO history (arrival, device, scope, key, at, form, value) VALUES (?, ?, ?, ?, ?, ?, ?)";
    connection.prepare_cached(sql)?.execute(params![
        arrival,
        sample.device.0.cast_signed(),
        sample.scope.number(),
        sample.key,
        sample.at.0,
        sample.value.form(),
        sample.value.column(),
    ])?;
    Ok(())
}

fn upsert(connection: &Connection, sample: &Sample) -> Result<(), StoreError> {
    let sql = "INSERT INTO latest (device, scope, key, at, form, value) VALUES (?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET at = excluded.at, form = excluded.form, value = excluded.value
               WHERE excluded.at >= at OR scope = 1";
    connection.prepare_cached(sql)?.execute(params![
        sample.device.0.cast_signed(),
        sample.scope.number(),
        sample.key,
        sample.at.0,
        sample.value.form(),
        sample.value.column(),
    ])?;
    Ok(())
}

fn last_arrival(connection: &Connection) -> Result<i64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT max(arrival) FROM history")?;
    Ok(statement.query_row([], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0))
}

fn first_arrival(connection: &Connection) -> Result<Option<i64>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT min(arrival) FROM history")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

fn drop_oldest(connection: &Connection, before: i64) -> Result<(), StoreError> {
    let sql = "DELETE FROM history WHERE arrival IN
                   (SELECT arrival FROM history WHERE arrival < ? ORDER BY arrival LIMIT ?)";
    connection.prepare_cached(sql)?.execute((before, PRUNED_AT_ONCE))?;
    Ok(())
}

fn used_bytes(connection: &Connection) -> Result<u64, StoreError> {
    let pragma = |name: &str| -> Result<u64, StoreError> {
        Ok(connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))?.cast_unsigned())
    };
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}

/// The first number of a moment's arrivals.
fn arrival_at(now: Timestamp) -> i64 {
    now.0.clamp(0, i64::MAX >> ARRIVAL_BITS) << ARRIVAL_BITS
}

fn collect(rows: &mut rusqlite::Rows<'_>) -> Result<Vec<Latest>, StoreError> {
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        values.push(read(row)?);
    }
    Ok(values)
}

fn read(row: &Row<'_>) -> Result<Latest, StoreError> {
    let scope = match row.get(0)? {
        0 => Scope::Timeseries,
        1 => Scope::ClientAttribute,
        other => return Err(StoreError::corrupt("the scope of a value", other)),
    };
    let value = match row.get(3)? {
        0 => Value::Bool(row.get(4)?),
        1 => Value::Integer(row.get(4)?),
        2 => Value::Double(row.get(4)?),
        3 => Value::Text(row.get(4)?),
        4 => Value::Json(row.get(4)?),
        other => return Err(StoreError::corrupt("the form of a value", other)),
    };
    Ok(Latest { scope, key: row.get(1)?, at: Timestamp(row.get(2)?), value })
}

impl Scope {
    fn number(self) -> i64 {
        match self {
            Scope::Timeseries => 0,
            Scope::ClientAttribute => 1,
        }
    }
}

impl Value {
    fn form(&self) -> i64 {
        match self {
            Value::Bool(_) => 0,
            Value::Integer(_) => 1,
            Value::Double(_) => 2,
            Value::Text(_) => 3,
            Value::Json(_) => 4,
        }
    }

    fn column(&self) -> ToSqlOutput<'_> {
        ToSqlOutput::Borrowed(match self {
            Value::Bool(yes) => ValueRef::Integer(i64::from(*yes)),
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Double(number) => ValueRef::Real(*number),
            Value::Text(text) | Value::Json(text) => ValueRef::Text(text.as_bytes()),
        })
    }
}
