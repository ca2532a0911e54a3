//! One schema of a PostgreSQL: a pool of connections, transactions that come back by themselves.
//!
//! Calls block the thread they are made on; the connections live on a small runtime of their own. READ
//! COMMITTED: what must stand is locked or compared by the statements themselves. What fails because others
//! were in the way is repeated a few times; a commit whose answer was lost is neither repeated nor called done.

mod address;
mod tls;
mod transaction;
mod values;
mod wait;

use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use tokio_postgres::error::SqlState;

use super::Sql;
use super::migrations::Schema;
use crate::StoreError;

pub(crate) use address::Address;
pub(crate) use transaction::Transaction;
pub(crate) use values::{Array, bytes, int, real, text};
pub(crate) use wait::Waiter;

/// How often a transaction is repeated that others were in the way of.
const MOST_ROUNDS: u32 = 6;
/// The wait before it is repeated, times the number of the round.
const PAUSE: Duration = Duration::from_millis(4);
/// How long a call waits for a connection that is free.
const FREE_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may take to be made: failing over to another host is part of it.
const MADE_WITHIN: Duration = Duration::from_secs(5);
/// The number of the lock that whoever opens the store holds, in the database that all servers share.
const OPENING: i64 = 0x6d75_7374_6572;

/// How a transaction begins.
const WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// One schema.
pub(crate) struct Database {
    pool: Pool,
    waiter: Waiter,
    name: &'static str,
}

impl Database {
    /// Connects, and takes the schema to today's shape.
    pub(crate) fn open(
        address: &Address,
        schema: &Schema,
        connections: usize,
        waiter: &Waiter,
    ) -> Result<Database, StoreError> {
        let database = Database::join(address, schema, connections, waiter)?;
        database.check()?;
        database.write(|sql| {
            // Whoever holds it is making the same tables.
            sql.batch(&format!(
                "SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({})",
                OPENING + 1
            ))?;
            make_schema(sql, schema.schema)?;
            schema.migrate(sql)
        })?;
        Ok(database)
    }

    /// Connections to a schema as it is.
    pub(crate) fn join(
        address: &Address,
        schema: &Schema,
        connections: usize,
        waiter: &Waiter,
    ) -> Result<Database, StoreError> {
        let (config, tls) = address.config(schema.schema)?;
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(config, tls, ManagerConfig { recycling_method });
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(FREE_WITHIN))
            .create_timeout(Some(MADE_WITHIN))
            .recycle_timeout(Some(MADE_WITHIN))
            .post_create(Hook::async_fn(|client, _| Box::pin(see_to_it_that_commits_are_synced(client))))
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Database { pool, waiter: waiter.clone(), name: schema.schema })
    }

    /// Until what this gives is dropped, no other server opens the store.
    pub(crate) fn opening(&self) -> Result<Transaction, StoreError> {
        let held = self.begin(Some(WRITE))?;
        let lock = format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
             SELECT pg_advisory_xact_lock({OPENING})"
        );
        held.batch(&lock)?;
        Ok(held)
    }

    /// One transaction, synced when this returns. `f` may run again.
    pub(crate) fn write<T>(
        &self,
        mut f: impl FnMut(Sql<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.repeated(WRITE.into(), |transaction| {
            let value = f(Sql::Postgres(transaction))?;
            transaction.commit()?;
            Ok(value)
        })
    }

    /// One read transaction: everything `f` sees is of one moment. `f` may run again.
    pub(crate) fn read<T>(
        &self,
        mut f: impl FnMut(Sql<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.repeated(READ.into(), |transaction| f(Sql::Postgres(transaction)))
    }

    /// A single statement without a transaction around it.
    pub(crate) fn peek<T>(
        &self,
        mut f: impl FnMut(Sql<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.repeated(None, |transaction| f(Sql::Postgres(transaction)))
    }

    fn repeated<T>(
        &self,
        begin: Option<&'static str>,
        mut f: impl FnMut(&Transaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut round = 1;
        loop {
            let transaction = self.begin(begin)?;
            let outcome = f(&transaction);
            let failure = transaction.end();
            if outcome.is_ok() || !failure.may_be_repeated() || round == MOST_ROUNDS {
                return outcome;
            }
            std::thread::sleep(PAUSE * round);
            round += 1;
        }
    }

    fn begin(&self, begin: Option<&'static str>) -> Result<Transaction, StoreError> {
        let client = self.waiter.wait(self.pool.get()).map_err(unavailable)?;
        Ok(Transaction::new(client, self.waiter.clone(), begin))
    }

    /// What must be right about a database, whoever made it.
    fn check(&self) -> Result<(), StoreError> {
        let settings = "SELECT current_setting('server_encoding'), current_setting('fsync'),
                               current_setting('server_version_num')::bigint";
        let (encoding, fsync, version) =
            self.peek(|sql| sql.one(settings, &[], |row| Ok((row.string(0)?, row.string(1)?, row.int(2)?))))?;
        if encoding != "UTF8" {
            let told = format!("the database is encoded as {encoding}: make one with ENCODING 'UTF8'");
            return Err(StoreError::Unavailable(told));
        }
        if version < 120_000 {
            return Err(StoreError::Unavailable(format!(
                "PostgreSQL {} is too old: 12 is needed",
                version / 10_000
            )));
        }
        if fsync != "on" {
            tracing::warn!(
                schema = self.name,
                "PostgreSQL runs with fsync off: a power cut loses what was acknowledged"
            );
        }
        Ok(())
    }
}

/// Who set `synchronous_commit` to off for all would lose what devices were told.
async fn see_to_it_that_commits_are_synced(
    client: &mut deadpool_postgres::ClientWrapper,
) -> Result<(), HookError> {
    let sql = "SELECT set_config('synchronous_commit', 'on', false)
               WHERE current_setting('synchronous_commit') = 'off'";
    client.batch_execute(sql).await.map_err(HookError::Backend)
}

/// Made only where it is not there, so that a role without the right to make one can be given one.
fn make_schema(sql: Sql<'_>, schema: &str) -> Result<(), StoreError> {
    if sql.exists("SELECT 1 FROM pg_namespace WHERE nspname = ?", super::params![schema])? {
        return Ok(());
    }
    sql.batch(&format!("CREATE SCHEMA {schema}"))
}

fn unavailable(error: PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => told(&error),
        PoolError::Timeout(_) => StoreError::Unavailable("no connection became free in time".to_owned()),
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// What an error of the database means. Details are left out: they quote values.
fn told(error: &tokio_postgres::Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(error) {
            text = format!("{text}: {cause}");
        }
        return StoreError::Unavailable(text);
    };
    let class = db.code().code().get(..2).unwrap_or_default();
    match db.code() {
        code if *code == SqlState::DISK_FULL => StoreError::Full,
        code if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
            StoreError::Corrupt(db.message().to_owned())
        }
        code if *code == SqlState::UNIQUE_VIOLATION => {
            StoreError::Taken(db.constraint().unwrap_or_default().to_owned())
        }
        // Data exceptions, and whatever a table does not take but for uniqueness.
        _ if class == "22" || class == "23" => StoreError::Unstorable("a value"),
        code => StoreError::Unavailable(format!("{} ({})", db.message(), code.code())),
    }
}

/// A connection that is not given back: whatever it was doing ends with it.
fn discard(client: Object) {
    drop(Object::take(client));
}
