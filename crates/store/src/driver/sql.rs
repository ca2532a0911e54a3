//! SQL as the tables speak it: one open transaction, statements with `?`, parameters and rows by kind.

use domain::{DeviceKey, Generation, ProfileId, SecretId, TenantId, Timestamp, Verifier, Version};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};
use tokio_postgres::types::ToSql;

use super::postgres::{self, Transaction};
use crate::StoreError;

/// One open transaction. Statements are prepared once and kept.
#[derive(Clone, Copy)]
pub(crate) enum Sql<'a> {
    /// Of a SQLite file.
    Sqlite(&'a Connection),
    /// Of a PostgreSQL.
    Postgres(&'a Transaction),
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Param<'a> {
    Null,
    /// A whole number. One without a sign is kept as its 64 bits.
    Int(i64),
    Real(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Many values of one column. Only PostgreSQL takes them.
    Array(postgres::Array<'a>),
}

/// A row that a statement found. Columns count from 0; what they hold is borrowed.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    /// Of a SQLite file.
    Sqlite(&'a rusqlite::Row<'a>),
    /// Of a PostgreSQL.
    Postgres(&'a tokio_postgres::Row),
}

/// Parameters of a statement, in the order of its `?`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::driver::Param::from($value)),*] };
}
pub(crate) use params;

impl<'a> Sql<'a> {
    /// Runs a statement and tells how many rows it changed.
    pub(crate) fn execute(self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        match self {
            Sql::Sqlite(connection) => {
                Ok(connection.prepare_cached(sql)?.execute(params_from_iter(params))? as u64)
            }
            Sql::Postgres(transaction) => transaction.execute(sql, params),
        }
    }

    /// The last statement of a transaction, behind which nothing comes but its commit.
    pub(crate) fn execute_last(self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        match self {
            Sql::Sqlite(_) => self.execute(sql, params),
            Sql::Postgres(transaction) => transaction.execute_and_commit(sql, params),
        }
    }

    /// All rows that a statement finds, each as `read` reads it.
    pub(crate) fn query<T>(
        self,
        sql: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.each(sql, params, |row| {
            found.push(read(row)?);
            Ok(true)
        })?;
        Ok(found)
    }

    /// The first row that a statement finds, also the one that an insert `RETURNING` gives back.
    pub(crate) fn first<T>(
        self,
        sql: &str,
        params: &[Param<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self {
            Sql::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(params_from_iter(params))?;
                rows.next()?.map(|row| read(&Row::Sqlite(row))).transpose()
            }
            Sql::Postgres(transaction) => {
                transaction.query(sql, params)?.first().map(|row| read(&Row::Postgres(row))).transpose()
            }
        }
    }

    /// The row that a statement always finds.
    pub(crate) fn one<T>(
        self,
        sql: &str,
        params: &[Param<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.first(sql, params, read)?.ok_or_else(|| StoreError::corrupt("no row for", sql))
    }

    /// Whether it is of a PostgreSQL.
    pub(crate) fn is_postgres(self) -> bool {
        matches!(self, Sql::Postgres(_))
    }

    /// Whether a statement finds a row.
    pub(crate) fn exists(self, sql: &str, params: &[Param<'_>]) -> Result<bool, StoreError> {
        Ok(self.first(sql, params, |_| Ok(()))?.is_some())
    }

    /// Shows `look` the rows that a statement finds until it says `false`.
    pub(crate) fn each(
        self,
        sql: &str,
        params: &[Param<'_>],
        mut look: impl FnMut(&Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        match self {
            Sql::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(params_from_iter(params))?;
                while let Some(row) = rows.next()? {
                    if !look(&Row::Sqlite(row))? {
                        break;
                    }
                }
                Ok(())
            }
            Sql::Postgres(transaction) => {
                for row in &transaction.query(sql, params)? {
                    if !look(&Row::Postgres(row))? {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// The moment by the database's own clock, where several servers share it; else `ours`.
    pub(crate) fn now(self, ours: Timestamp) -> Result<Timestamp, StoreError> {
        match self {
            Sql::Sqlite(_) => Ok(ours),
            Sql::Postgres(_) => {
                let text = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
                self.one(text, params![], |row| row.time(0))
            }
        }
    }

    /// Ends a `SELECT` whose rows nobody else may change before this transaction ends.
    pub(crate) fn for_update(self) -> &'static str {
        match self {
            Sql::Sqlite(_) => "",
            Sql::Postgres(_) => " FOR UPDATE",
        }
    }

    /// Ends a `SELECT` that claims rows of `table`: those that another transaction has in hand are passed over.
    pub(crate) fn skip_locked(self, table: &str) -> String {
        match self {
            Sql::Sqlite(_) => String::new(),
            Sql::Postgres(_) => format!(" FOR UPDATE OF {table} SKIP LOCKED"),
        }
    }

    /// Gives the bytes of a `COPY … TO STDOUT`, piece by piece. PostgreSQL only.
    pub(crate) fn copy_out(
        self,
        sql: &str,
        take: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match self {
            Sql::Sqlite(_) => Err(StoreError::Unavailable("SQLite copies files, not tables".to_owned())),
            Sql::Postgres(transaction) => transaction.copy_out(sql, take),
        }
    }

    /// Sends the bytes of a `COPY … FROM STDIN` until there are no more. PostgreSQL only.
    pub(crate) fn copy_in(
        self,
        sql: &str,
        next: impl FnMut() -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<(), StoreError> {
        match self {
            Sql::Sqlite(_) => Err(StoreError::Unavailable("SQLite copies files, not tables".to_owned())),
            Sql::Postgres(transaction) => transaction.copy_in(sql, next),
        }
    }

    /// Runs several statements without parameters, as a migration does.
    pub(crate) fn batch(self, sql: &str) -> Result<(), StoreError> {
        match self {
            Sql::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Sql::Postgres(transaction) => transaction.batch(sql),
        }
    }
}

impl Row<'_> {
    /// The last column: what a statement adds to columns that are read elsewhere.
    pub(crate) fn last(&self) -> usize {
        let columns = match self {
            Row::Sqlite(row) => row.as_ref().column_count(),
            Row::Postgres(row) => row.len(),
        };
        columns.saturating_sub(1)
    }

    /// Whether it is of a PostgreSQL.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Row::Postgres(_))
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64, StoreError> {
        self.opt_int(column)?.ok_or_else(|| missing(column))
    }

    pub(crate) fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self {
            Row::Sqlite(row) => row.get_ref(column)?.as_i64_or_null().map_err(|_| mistyped(column)),
            Row::Postgres(row) => postgres::int(row, column),
        }
    }

    /// The number whose 64 bits were kept.
    pub(crate) fn unsigned(&self, column: usize) -> Result<u64, StoreError> {
        Ok(self.int(column)?.cast_unsigned())
    }

    pub(crate) fn opt_unsigned(&self, column: usize) -> Result<Option<u64>, StoreError> {
        Ok(self.opt_int(column)?.map(i64::cast_unsigned))
    }

    pub(crate) fn time(&self, column: usize) -> Result<Timestamp, StoreError> {
        self.int(column).map(Timestamp)
    }

    pub(crate) fn opt_time(&self, column: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.opt_int(column)?.map(Timestamp))
    }

    pub(crate) fn real(&self, column: usize) -> Result<f64, StoreError> {
        match self {
            Row::Sqlite(row) => row.get_ref(column)?.as_f64().map_err(|_| mistyped(column)),
            Row::Postgres(row) => postgres::real(row, column),
        }
    }

    pub(crate) fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.opt_text(column)?.ok_or_else(|| missing(column))
    }

    pub(crate) fn opt_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        match self {
            Row::Sqlite(row) => row.get_ref(column)?.as_str_or_null().map_err(|_| mistyped(column)),
            Row::Postgres(row) => postgres::text(row, column),
        }
    }

    /// The text for whoever keeps it.
    pub(crate) fn string(&self, column: usize) -> Result<String, StoreError> {
        self.text(column).map(str::to_owned)
    }

    pub(crate) fn opt_string(&self, column: usize) -> Result<Option<String>, StoreError> {
        Ok(self.opt_text(column)?.map(str::to_owned))
    }

    pub(crate) fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        self.opt_bytes(column)?.ok_or_else(|| missing(column))
    }

    pub(crate) fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        match self {
            Row::Sqlite(row) => row.get_ref(column)?.as_blob_or_null().map_err(|_| mistyped(column)),
            Row::Postgres(row) => postgres::bytes(row, column),
        }
    }

    /// Bytes of a fixed number, a digest or a link.
    pub(crate) fn array<const N: usize>(&self, column: usize) -> Result<[u8; N], StoreError> {
        self.bytes(column)?.try_into().map_err(|_| mistyped(column))
    }

    pub(crate) fn opt_array<const N: usize>(&self, column: usize) -> Result<Option<[u8; N]>, StoreError> {
        self.opt_bytes(column)?.map(|bytes| bytes.try_into().map_err(|_| mistyped(column))).transpose()
    }
}

fn missing(column: usize) -> StoreError {
    StoreError::corrupt("nothing in column", column)
}

fn mistyped(column: usize) -> StoreError {
    StoreError::corrupt("another type in column", column)
}

impl<'a> Param<'a> {
    /// Many values of one column, for `UNNEST` and `= ANY`.
    pub(crate) fn array<T: ToSql + Sync>(values: &'a T) -> Param<'a> {
        Param::Array(values)
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Param::Null => "nothing",
            Param::Int(_) => "a whole number",
            Param::Real(_) => "a number",
            Param::Text(_) => "a text",
            Param::Bytes(_) => "bytes",
            Param::Array(_) => "an array",
        }
    }
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Param::Null => ValueRef::Null,
            Param::Int(number) => ValueRef::Integer(*number),
            Param::Real(number) => ValueRef::Real(*number),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Bytes(bytes) => ValueRef::Blob(bytes),
            Param::Array(_) => return Err(rusqlite::Error::ToSqlConversionFailure("an array".into())),
        }))
    }
}

macro_rules! int_params {
    ($($type:ty: $value:ident => $bits:expr),* $(,)?) => {
        $(impl From<$type> for Param<'_> {
            fn from($value: $type) -> Self {
                Param::Int($bits)
            }
        })*
    };
}

int_params! {
    i64: number => number,
    u64: number => number.cast_signed(),
    u32: number => i64::from(number),
    bool: yes => i64::from(yes),
    DeviceKey: key => key.0.cast_signed(),
    Generation: generation => generation.0.cast_signed(),
    ProfileId: profile => profile.0.cast_signed(),
    SecretId: secret => secret.0.cast_signed(),
    TenantId: tenant => tenant.0.cast_signed(),
    Timestamp: moment => moment.0,
    Version: version => version.0.cast_signed(),
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Param::Text(text)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(text: &'a String) -> Self {
        Param::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Param::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Param::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Param<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Param::Bytes(bytes)
    }
}

impl<'a> From<&'a Verifier> for Param<'a> {
    fn from(verifier: &'a Verifier) -> Self {
        Param::Bytes(&verifier.0)
    }
}

impl<'a, T> From<Option<T>> for Param<'a>
where
    Param<'a>: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Param::Null, Param::from)
    }
}
