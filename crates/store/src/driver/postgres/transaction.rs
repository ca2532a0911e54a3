//! One transaction on one connection, and what its failures mean.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::Object;
use futures_util::{SinkExt, StreamExt};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::{Waiter, discard, told};
use crate::StoreError;
use crate::driver::Param;

/// How long any answer may take: longer than any statement is allowed to.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// An open transaction, or a single statement without one. It begins with its first statement. Dropped
/// without an end, its connection is closed and the database rolls it back.
pub(crate) struct Transaction {
    /// `None` once it has ended.
    client: RefCell<Option<Object>>,
    waiter: Waiter,
    /// What is still to be sent before the first statement.
    begin: Cell<Option<&'static str>>,
    stage: Cell<Stage>,
    failure: Cell<Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is open.
    Idle,
    Open,
    /// A statement failed: only a savepoint leads on.
    Aborted,
    Committed,
    /// The connection is of no use any more.
    Broken,
}

/// Why the last statement failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Failure {
    #[default]
    None,
    /// Others were in the way, or the connection was lost before anything was committed.
    Repeatable,
    /// Something that must be unique is there already.
    Unique,
    Other,
}

impl Failure {
    pub(crate) fn may_be_repeated(self) -> bool {
        self == Failure::Repeatable
    }
}

impl Transaction {
    pub(super) fn new(client: Object, waiter: Waiter, begin: Option<&'static str>) -> Transaction {
        Transaction {
            client: RefCell::new(Some(client)),
            waiter,
            begin: Cell::new(begin),
            stage: Cell::new(Stage::Idle),
            failure: Cell::default(),
        }
    }

    pub(crate) fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let params = references(params);
        self.statement(sql, async |client, statement| client.execute(statement, &params).await)
    }

    pub(crate) fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let params = references(params);
        self.statement(sql, async |client, statement| client.query(statement, &params).await)
    }

    /// The last statement of a transaction: the commit goes out with it, on the same way. Nothing follows.
    ///
    /// # Errors
    /// As [`Transaction::execute`] and [`Transaction::commit`].
    pub(crate) fn execute_and_commit(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let params = references(params);
        let written = self.statement(sql, async |client, statement| {
            // Where the statement fails, PostgreSQL takes the commit for a rollback.
            let commit = client.batch_execute("COMMIT");
            let (written, committed) = tokio::join!(biased; client.execute(statement, &params), commit);
            written.and_then(|rows| committed.map(|()| rows))
        });
        self.committed(written)
    }

    /// Statements without parameters, in one go.
    pub(crate) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.run(async |client| client.batch_execute(sql).await)
    }

    /// The bytes of a `COPY … TO STDOUT`, piece by piece.
    pub(crate) fn copy_out(
        &self,
        sql: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut stream = Box::pin(self.run(async |client| client.copy_out(sql).await)?);
        while let Some(piece) = self.run(async |_| stream.next().await.transpose())? {
            // Left in the middle the connection is of no use to anybody else.
            take(&piece).inspect_err(|_| self.stage.set(Stage::Broken))?;
        }
        Ok(())
    }

    /// Sends the bytes of a `COPY … FROM STDIN` until there are no more.
    pub(crate) fn copy_in(
        &self,
        sql: &str,
        mut next: impl FnMut() -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut sink = Box::pin(self.run(async |client| client.copy_in::<_, Bytes>(sql).await)?);
        while let Some(piece) = next().inspect_err(|_| self.stage.set(Stage::Broken))? {
            self.run(async |_| sink.send(Bytes::from(piece)).await)?;
        }
        self.run(async |_| sink.as_mut().finish().await).map(drop)
    }

    /// Runs `f`; where it runs into something that must be unique, what it wrote is undone and `None` is told.
    pub(crate) fn tried<T>(
        &self,
        f: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.batch("SAVEPOINT tried")?;
        let outcome = f();
        if outcome.is_err() && self.failure.get() == Failure::Unique {
            self.roll_back_to("tried")?;
            return Ok(None);
        }
        let value = outcome?;
        self.batch("RELEASE SAVEPOINT tried")?;
        Ok(Some(value))
    }

    /// Undoes what was written since a savepoint, also where a statement failed since.
    pub(crate) fn roll_back_to(&self, savepoint: &str) -> Result<(), StoreError> {
        if self.stage.get() == Stage::Aborted {
            self.stage.set(Stage::Open);
        }
        self.failure.set(Failure::None);
        self.batch(&format!("ROLLBACK TO SAVEPOINT {savepoint}"))
    }

    /// # Errors
    /// Where it was not committed; where the answer was lost nobody knows, and nothing may be repeated.
    pub(super) fn commit(&self) -> Result<(), StoreError> {
        match self.stage.get() {
            Stage::Idle | Stage::Committed => return Ok(()),
            Stage::Open => {}
            // PostgreSQL answers a commit of this with success, and rolls it back.
            _ => return Err(StoreError::Unavailable("a statement failed before the commit".to_owned())),
        }
        self.committed(self.run(async |client| client.batch_execute("COMMIT").await))
    }

    /// Tells a commit that failed from one of which nobody knows.
    fn committed<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if outcome.is_ok() {
            self.stage.set(Stage::Committed);
        } else if self.stage.get() == Stage::Broken {
            self.failure.set(Failure::Other);
            let lost = "the connection was lost before the database said whether it kept what was written";
            return Err(StoreError::Unavailable(lost.to_owned()));
        }
        outcome
    }

    /// Ends it, rolled back unless it was committed, and says why it failed.
    pub(super) fn end(&self) -> Failure {
        let failure = self.failure.take();
        if matches!(self.stage.get(), Stage::Open | Stage::Aborted) {
            // Where that fails the connection is closed, which does the same.
            let _ = self.run(async |client| client.batch_execute("ROLLBACK").await);
        }
        let client = self.client.take();
        if self.stage.get() == Stage::Broken {
            client.into_iter().for_each(discard);
        }
        failure
    }

    fn statement<T>(
        &self,
        sql: &str,
        run: impl AsyncFnOnce(&Object, &tokio_postgres::Statement) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let sql = numbered(sql);
        self.run(async |client| {
            let statement = client.prepare_cached(&sql).await?;
            run(client, &statement).await
        })
    }

    /// Runs something on the connection; the first time its transaction begins on the same way.
    fn run<T>(
        &self,
        run: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let client = self.client.borrow();
        let usable = |_: &&Object| !matches!(self.stage.get(), Stage::Broken | Stage::Committed);
        let Some(client) = client.as_ref().filter(usable) else {
            return Err(StoreError::Unavailable(
                "the connection was lost, or the transaction is over".to_owned(),
            ));
        };
        let begin = self.begin.take();
        let answered = self.waiter.wait_at_most(ANSWERED_WITHIN, async {
            match begin {
                None => run(client).await,
                Some(begin) => {
                    let (begun, answer) = tokio::join!(biased; client.batch_execute(begin), run(client));
                    begun.and(answer)
                }
            }
        });
        if begin.is_some() {
            self.stage.set(Stage::Open);
        }
        match answered {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(self.failed(client, &error)),
            None => {
                self.stage.set(Stage::Broken);
                self.failure.set(Failure::Other);
                Err(StoreError::Unavailable("the database did not answer in time".to_owned()))
            }
        }
    }

    fn failed(&self, client: &Object, error: &tokio_postgres::Error) -> StoreError {
        let code = error.code();
        let lost = error.is_closed() || client.is_closed() || code.is_none();
        if lost || code.is_some_and(ends_connection) {
            self.stage.set(Stage::Broken);
        } else if self.stage.get() == Stage::Open {
            self.stage.set(Stage::Aborted);
        }
        let failure = match code {
            Some(code) if *code == SqlState::UNIQUE_VIOLATION => Failure::Unique,
            Some(code) if in_the_way(code) || ends_connection(code) => Failure::Repeatable,
            // A plan of before a migration: prepared anew it fits.
            Some(code) if *code == SqlState::FEATURE_NOT_SUPPORTED => {
                client.statement_cache.clear();
                Failure::Repeatable
            }
            None if lost => Failure::Repeatable,
            _ => Failure::Other,
        };
        self.failure.set(failure);
        told(error)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Left in the middle, by a panic say.
        self.client.take().into_iter().for_each(discard);
    }
}

fn in_the_way(code: &SqlState) -> bool {
    [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE].contains(code)
}

/// The server is being stopped, or has ended this connection.
fn ends_connection(code: &SqlState) -> bool {
    let codes = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
    codes.contains(code)
}

fn references<'p>(params: &'p [Param<'p>]) -> Vec<&'p (dyn ToSql + Sync)> {
    params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}

/// `?` becomes `$1`, `$2` and so on. No text of ours has a question mark in it.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut text = String::with_capacity(sql.len() + 32);
    text.push_str(parts.next().unwrap_or_default());
    for (number, part) in (1..).zip(parts) {
        text.push('$');
        text.push_str(&u32::to_string(&number));
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn question_marks_become_numbers_in_their_order() {
        assert_eq!(numbered("a = ? AND b IN (?, ?)"), "a = $1 AND b IN ($2, $3)");
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
    }
}
