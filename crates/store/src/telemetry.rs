//! What devices tell: the last value of each key, and a bounded history. A file and a writer of its own, so
//! that provisioning does not wait for it.

mod batch;
mod series;

use std::sync::Arc;

use domain::{DeviceKey, Timestamp};
use parking_lot::Mutex;

use crate::StoreError;
use crate::driver::{Database, Param, Room, Row, Sql, params};
use crate::error::storable;

pub use series::{LastValue, Stretch};

/// How long history is kept, in milliseconds: seven days.
pub const HISTORY_AGE_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How large the file may get before the oldest history is dropped.
pub const HISTORY_BYTES: u64 = 1 << 30;

/// Arrivals in one millisecond are told apart by this many bits.
const ARRIVAL_BITS: u32 = 20;
/// Rows that are dropped in one transaction, and transactions in one round of maintenance.
const PRUNED_AT_ONCE: u32 = 2_000;
const PRUNING_ROUNDS: u32 = 20;
/// How often a PostgreSQL is asked whether there is too much.
const PRUNED_EVERY_MS: u64 = 1_000;

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
    /// The last arrival that this server numbered, on a PostgreSQL: who writes there is not alone.
    last_arrival: Mutex<i64>,
    pruned_at: Mutex<Timestamp>,
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
    pub(crate) fn new(database: Database, room: &Arc<Room>) -> TelemetryStore {
        let pruned_at = Mutex::new(Timestamp(0));
        TelemetryStore { database, room: Arc::clone(room), last_arrival: Mutex::new(0), pruned_at }
    }

    /// The database, for copying it.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Stores values: one transaction, synced when this returns. A time series' last value is the one with
    /// the latest moment; an attribute's is the one that came last.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Unstorable`], what the database says; nothing is stored then.
    pub fn append(&self, samples: &[Sample], now: Timestamp) -> Result<(), StoreError> {
        self.room.to_grow()?;
        samples.iter().try_for_each(Sample::check)?;
        if self.database.is_remote() {
            return self.append_together(samples, now);
        }
        self.database.write(|sql| {
            let mut arrival = last_arrival(sql)?.max(arrival_at(now) - 1);
            for sample in samples {
                arrival += 1;
                insert(sql, arrival, sample)?;
                upsert(sql, sample)?;
            }
            Ok(())
        })
    }

    /// As [`TelemetryStore::append`], by one statement for each table. It is the only writer of this server.
    fn append_together(&self, samples: &[Sample], now: Timestamp) -> Result<(), StoreError> {
        if samples.is_empty() {
            return Ok(());
        }
        let mut last = self.last_arrival.lock();
        let first = arrival_at(now).max(*last + 1);
        *last = first + samples.len() as i64;
        self.database.write(|sql| {
            batch::insert(sql, first, samples)?;
            batch::upsert(sql, samples)
        })
    }

    /// The last value of each key of a device, attributes behind time series, by key.
    ///
    /// # Errors
    /// What the database says.
    pub fn latest(&self, device: DeviceKey) -> Result<Vec<Latest>, StoreError> {
        let text = "SELECT scope, key, at, form, value FROM latest WHERE device = ? ORDER BY scope, key";
        self.database.read(|sql| sql.query(text, params![device], read))
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
        let columns = "SELECT scope, key, at, form, value FROM history WHERE device = ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.database.read(|sql| match key {
            Some(key) => {
                let text = format!("{columns} AND key = ? ORDER BY arrival DESC LIMIT ?");
                sql.query(&text, params![device, key, limit], read)
            }
            None => {
                let text = format!("{columns} ORDER BY arrival DESC LIMIT ?");
                sql.query(&text, params![device, limit], read)
            }
        })
    }

    /// Forgets everything that devices have told.
    ///
    /// # Errors
    /// What the database says.
    pub fn forget(&self, devices: &[DeviceKey]) -> Result<(), StoreError> {
        self.database.write(|sql| {
            if sql.is_postgres() {
                let keys: Vec<i64> = devices.iter().map(|device| device.0.cast_signed()).collect();
                sql.execute("DELETE FROM latest WHERE device = ANY(?)", &[Param::array(&keys)])?;
                sql.execute("DELETE FROM history WHERE device = ANY(?)", &[Param::array(&keys)])?;
                return Ok(());
            }
            for device in devices {
                sql.execute("DELETE FROM latest WHERE device = ?", params![*device])?;
                sql.execute("DELETE FROM history WHERE device = ?", params![*device])?;
            }
            Ok(())
        })
    }

    /// The largest key of a device that has told anything.
    pub(crate) fn largest_device(&self) -> Result<u64, StoreError> {
        let largest = |sql: Sql<'_>, text| sql.one(text, params![], |row| row.opt_unsigned(0));
        self.database.read(|sql| {
            let latest = largest(sql, "SELECT max(device) FROM latest")?;
            Ok(latest.max(largest(sql, "SELECT max(device) FROM history")?).unwrap_or(0))
        })
    }

    /// Drops history that is too old or too much, the oldest first, in steps that hold the writer shortly.
    pub(crate) fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.database.is_remote() && !self.is_time_to_prune(now) {
            return Ok(());
        }
        let too_old = arrival_at(Timestamp(now.0.saturating_sub(HISTORY_AGE_MS)));
        for _ in 0..PRUNING_ROUNDS {
            let over = self.database.read(used_bytes)? > HISTORY_BYTES;
            let before = if over { i64::MAX } else { too_old };
            if self.database.read(first_arrival)?.is_none_or(|first| first >= before) {
                return Ok(());
            }
            self.database.write(|sql| drop_oldest(sql, before))?;
        }
        Ok(())
    }

    /// A PostgreSQL is asked for its size now and then only.
    fn is_time_to_prune(&self, now: Timestamp) -> bool {
        let mut pruned_at = self.pruned_at.lock();
        let is_time = now.since_ms(*pruned_at) >= PRUNED_EVERY_MS;
        if is_time {
            *pruned_at = now;
        }
        is_time
    }

    pub(crate) fn tend(&self) -> Result<(), StoreError> {
        self.database.tend()
    }

    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        self.database.checkpoint()
    }
}

fn insert(sql: Sql<'_>, arrival: i64, sample: &Sample) -> Result<(), StoreError> {
    let text =
        "INSERT INTO history (arrival, device, scope, key, at, form, value) VALUES (?, ?, ?, ?, ?, ?, ?)";
    let (scope, form, value) = (sample.scope.number(), sample.value.form(), sample.value.column());
    sql.execute(text, params![arrival, sample.device, scope, &sample.key, sample.at, form, value])?;
    Ok(())
}

fn upsert(sql: Sql<'_>, sample: &Sample) -> Result<(), StoreError> {
    let text = "INSERT INTO latest (device, scope, key, at, form, value) VALUES (?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET at = excluded.at, form = excluded.form, value = excluded.value
               WHERE excluded.at >= at OR scope = 1";
    let (scope, form, value) = (sample.scope.number(), sample.value.form(), sample.value.column());
    sql.execute(text, params![sample.device, scope, &sample.key, sample.at, form, value])?;
    Ok(())
}

fn last_arrival(sql: Sql<'_>) -> Result<i64, StoreError> {
    let last = sql.one("SELECT max(arrival) FROM history", params![], |row| row.opt_int(0))?;
    Ok(last.unwrap_or(0))
}

fn first_arrival(sql: Sql<'_>) -> Result<Option<i64>, StoreError> {
    sql.one("SELECT min(arrival) FROM history", params![], |row| row.opt_int(0))
}

fn drop_oldest(sql: Sql<'_>, before: i64) -> Result<(), StoreError> {
    let text = "DELETE FROM history WHERE arrival IN
                    (SELECT arrival FROM history WHERE arrival < ? ORDER BY arrival LIMIT ?)";
    sql.execute(text, params![before, PRUNED_AT_ONCE])?;
    Ok(())
}

fn used_bytes(sql: Sql<'_>) -> Result<u64, StoreError> {
    if sql.is_postgres() {
        return estimated_bytes(sql);
    }
    let pragma = |name: &str| sql.one(&format!("PRAGMA {name}"), params![], |row| row.unsigned(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}

/// What the history holds, by the database's own statistics: its files shrink long after rows are deleted.
fn estimated_bytes(sql: Sql<'_>) -> Result<u64, StoreError> {
    let text = "SELECT (n_live_tup * (60 + coalesce((SELECT sum(avg_width) FROM pg_stats
                    WHERE schemaname = current_schema() AND tablename = 'history'), 80)))::bigint
                FROM pg_stat_user_tables WHERE schemaname = current_schema() AND relname = 'history'";
    Ok(sql.first(text, params![], |row| row.opt_unsigned(0))?.flatten().unwrap_or(0))
}

/// The first number of a moment's arrivals.
fn arrival_at(now: Timestamp) -> i64 {
    now.0.clamp(0, i64::MAX >> ARRIVAL_BITS) << ARRIVAL_BITS
}

fn read(row: &Row<'_>) -> Result<Latest, StoreError> {
    let scope = match row.int(0)? {
        0 => Scope::Timeseries,
        1 => Scope::ClientAttribute,
        other => return Err(StoreError::corrupt("the scope of a value", other)),
    };
    if row.is_postgres() {
        let value = read_text(row)?;
        return Ok(Latest { scope, key: row.string(1)?, at: row.time(2)?, value });
    }
    let value = match row.int(3)? {
        0 => Value::Bool(row.int(4)? != 0),
        1 => Value::Integer(row.int(4)?),
        2 => Value::Double(row.real(4)?),
        3 => Value::Text(row.string(4)?),
        4 => Value::Json(row.string(4)?),
        other => return Err(StoreError::corrupt("the form of a value", other)),
    };
    Ok(Latest { scope, key: row.string(1)?, at: row.time(2)?, value })
}

/// A PostgreSQL keeps every value as text.
fn read_text(row: &Row<'_>) -> Result<Value, StoreError> {
    let (form, text) = (row.int(3)?, row.text(4)?);
    let value = match form {
        0 => Some(Value::Bool(text != "0")),
        1 => text.parse().ok().map(Value::Integer),
        2 => text.parse().ok().map(Value::Double),
        3 => Some(Value::Text(text.to_owned())),
        4 => Some(Value::Json(text.to_owned())),
        _ => None,
    };
    value.ok_or_else(|| StoreError::corrupt("the value of form", form))
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

    fn column(&self) -> Param<'_> {
        match self {
            Value::Bool(yes) => Param::Int(i64::from(*yes)),
            Value::Integer(number) => Param::Int(*number),
            Value::Double(number) => Param::Real(*number),
            Value::Text(text) | Value::Json(text) => Param::Text(text),
        }
    }
}
