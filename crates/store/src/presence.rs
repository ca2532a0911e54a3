//! One process for each server name on a PostgreSQL: a row that says who it is, renewed every second by the
//! database's clock. On SQLite a lock on the directory does the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::StoreError;
use crate::driver::{Sql, params, postgres};
use crate::error::storable;
use crate::secrets::random;

/// How often the row is renewed.
const BEAT: Duration = Duration::from_secs(1);
/// With a row this old its process counts as dead; with one that is not of this very second, if the database
/// has no connection of it any more. A database that has just come back has none of anybody.
const DEAD: &str = "servers.seen_at < clock_timestamp() - INTERVAL '4 seconds'
    OR (servers.seen_at < clock_timestamp() - INTERVAL '1500 milliseconds'
        AND NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = servers.backend))";
/// How often whoever wants the name looks again, and for how long: a process that was killed leaves its row
/// behind, and one that lives renews it.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: u32 = 20;

/// Our row, as long as this lives.
pub(crate) struct Presence {
    ousted: Arc<AtomicBool>,
    /// Dropped first: the thread then ends.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Row {
    database: postgres::Database,
    server: String,
    process: String,
}

impl Presence {
    /// Takes the name.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where a living process has it.
    pub(crate) fn enter(database: postgres::Database, server: &str) -> Result<Presence, StoreError> {
        let process: String = random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let server = storable(server, "the server's name")?.to_owned();
        let row = Row { database, server, process };
        row.take()?;
        let ousted = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = channel();
        let told = Arc::clone(&ousted);
        let thread = std::thread::Builder::new()
            .name("presence".to_owned())
            .spawn(move || row.renew_until(&stopped, &told))?;
        Ok(Presence { ousted, stop: Some(stop), thread: Some(thread) })
    }

    /// # Errors
    /// [`StoreError::InUse`] where we were away for so long that another process has taken our name.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.ousted.load(Ordering::Acquire) { Err(in_use("another process")) } else { Ok(()) }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the server's presence ended in a panic");
        }
    }
}

impl Row {
    fn take(&self) -> Result<(), StoreError> {
        let mut seen = None;
        for _ in 0..LOOKS {
            if self.database.write(|sql| self.try_to_take(sql))? {
                return Ok(());
            }
            let now = self.database.peek(|sql| self.seen_at(sql))?;
            if seen.is_some() && now.is_some() && now != seen {
                return Err(in_use(&self.server));
            }
            seen = now;
            std::thread::sleep(LOOK);
        }
        Err(in_use(&self.server))
    }

    fn try_to_take(&self, sql: Sql<'_>) -> Result<bool, StoreError> {
        let text = format!(
            "INSERT INTO servers (server, process, seen_at, backend)
             VALUES (?, ?, clock_timestamp(), pg_backend_pid())
             ON CONFLICT (server) DO UPDATE
             SET process = excluded.process, seen_at = clock_timestamp(), backend = excluded.backend
             WHERE {DEAD}"
        );
        Ok(sql.execute(&text, params![&self.server, &self.process])? > 0)
    }

    fn seen_at(&self, sql: Sql<'_>) -> Result<Option<String>, StoreError> {
        let text = "SELECT process || ' ' || seen_at::text FROM servers WHERE server = ?";
        sql.first(text, params![&self.server], |row| row.string(0))
    }

    fn renew_until(&self, stop: &Receiver<()>, ousted: &AtomicBool) {
        while stop.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            match self.database.write(|sql| self.renew(sql)) {
                Ok(true) => {}
                Ok(false) => {
                    if !ousted.swap(true, Ordering::AcqRel) {
                        tracing::error!(
                            server = self.server,
                            "another process has taken this server's name: nothing is written any more"
                        );
                    }
                }
                Err(error) => tracing::warn!(%error, "this server's presence could not be renewed"),
            }
        }
        let text = "DELETE FROM servers WHERE server = ? AND process = ?";
        let left = self.database.write(|sql| sql.execute(text, params![&self.server, &self.process]));
        if let Err(error) = left {
            tracing::warn!(%error, "this server's presence ends by itself in some seconds");
        }
    }

    fn renew(&self, sql: Sql<'_>) -> Result<bool, StoreError> {
        let text = "UPDATE servers SET seen_at = clock_timestamp(), backend = pg_backend_pid()
                    WHERE server = ? AND process = ?";
        Ok(sql.execute(text, params![&self.server, &self.process])? > 0)
    }
}

fn in_use(server: &str) -> StoreError {
    StoreError::InUse(format!("this database under the name `{server}`"))
}
