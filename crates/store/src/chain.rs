//! What is journalled, and the chains of all servers on one database.

use domain::Timestamp;
use parking_lot::Mutex;

use crate::changes::{Changes, Seen};
use crate::driver::Sql;
use crate::journal::{self, Head, NewEntry};
use crate::presence::Presence;
use crate::secrets::Keys;
use crate::tables::journal::{Entries, Pen};
use crate::{Store, StoreError};

/// The rule that PostgreSQL names where an entry of the journal stands in the place of another one.
const JOURNAL_POSITION: &str = "journal_pkey";

/// What we keep of the other servers on the same database.
pub(crate) struct Shared {
    pub(crate) presence: Presence,
    pub(crate) seen: Mutex<Seen>,
    pub(crate) tied: Mutex<Tied>,
}

/// What we signed last, and when.
#[derive(Default)]
pub(crate) struct Tied {
    at: Option<Timestamp>,
    heads: Vec<Head>,
}

impl Store {
    /// Journals things that changed no device: one transaction, synced when this returns.
    ///
    /// # Errors
    /// [`StoreError::Full`], what the database says; then none of them is journalled.
    pub fn append(&self, entries: &[NewEntry], now: Timestamp) -> Result<(), StoreError> {
        self.0.room.to_grow()?;
        self.journalled(|_, pen| entries.iter().try_for_each(|entry| pen.append(entry, now)))
    }

    /// What other servers on the same database have changed since the last call; nothing on SQLite.
    ///
    /// # Errors
    /// What the database says; then nothing is overlooked, the next call reads it again.
    pub fn changes(&self) -> Result<Changes, StoreError> {
        let Some(shared) = &self.0.shared else { return Ok(Changes::default()) };
        let own = self.0.writer;
        let mut seen = shared.seen.lock();
        let (further, changes) = self.0.main.read(|sql| {
            let mut further = seen.clone();
            let changes = further.advance(sql, own)?;
            Ok((further, changes))
        })?;
        *seen = further;
        Ok(changes)
    }

    /// Walks along the whole journal. With `known` heads it also sees whether its end was cut off.
    ///
    /// # Errors
    /// What the database says. What is wrong with the journal is no error but in the answer.
    pub fn verify_journal(&self, known: Option<&[Head]>) -> Result<journal::Verification, StoreError> {
        let main = &self.0.main;
        let writers = main.read(journal::writers)?;
        journal::verify(self.keys()?, known.unwrap_or_default(), main, &writers)
    }

    /// The ends of the journal's chains, to be kept elsewhere.
    ///
    /// # Errors
    /// What the database says.
    pub fn journal_heads(&self) -> Result<Vec<Head>, StoreError> {
        self.0.main.read(journal::heads)
    }

    /// As [`Store::chained`], for what needs no more than the pen.
    pub(crate) fn journalled<T>(
        &self,
        mut f: impl for<'c, 'p> FnMut(Sql<'c>, &'p mut Pen<'c>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.chained(|sql, mut pen| {
            let value = f(sql, &mut pen)?;
            Ok((value, pen.entries()))
        })
        .map(|(value, _)| value)
    }

    /// Signs where all chains end, now and then, if any of them went on.
    pub(crate) fn tie(&self, now: Timestamp) -> Result<(), StoreError> {
        let Some(shared) = &self.0.shared else { return Ok(()) };
        let mut tied = shared.tied.lock();
        if tied.at.is_some_and(|at| now.since_ms(at) < journal::tie::EVERY_MS) {
            return Ok(());
        }
        // Tried once in its time, whatever comes of it.
        tied.at = Some(now);
        let heads = self.journal_heads()?;
        if journal::tie::is_due(self.0.writer, &tied.heads, &heads) {
            let ((), head) = self.chained(|_, mut pen| {
                pen.tie(&heads, now)?;
                Ok(((), pen.entries()))
            })?;
            tied.heads = heads.into_iter().filter(|it| it.position.writer != self.0.writer).collect();
            tied.heads.push(head);
        }
        Ok(())
    }

    /// A transaction that appends to the journal, and where the chain then ends.
    pub(crate) fn chained<T>(
        &self,
        mut f: impl for<'c> FnMut(Sql<'c>, Pen<'c>) -> Result<(T, Entries), StoreError>,
    ) -> Result<(T, Head), StoreError> {
        if let Some(shared) = &self.0.shared {
            shared.presence.check()?;
        }
        let keys = self.keys()?;
        let written = self.chained_once(keys, &mut f);
        if !matches!(&written, Err(StoreError::Taken(rule)) if rule == JOURNAL_POSITION) {
            return written;
        }
        // A commit whose answer was lost was kept after all, so the chain ends elsewhere.
        let kept = self.0.main.read(|sql| journal::head(sql, self.0.writer))?;
        let mut head = self.0.head.lock();
        if kept.position > head.position {
            *head = kept;
        }
        drop(head);
        self.chained_once(keys, &mut f)
    }

    /// The chain moves on only once the transaction is committed; until then its end is held. Where statements wait
    /// for others it is held for the last of them alone: no lock of the database is waited for while it is.
    fn chained_once<T>(
        &self,
        keys: &Keys,
        f: &mut impl for<'c> FnMut(Sql<'c>, Pen<'c>) -> Result<(T, Entries), StoreError>,
    ) -> Result<(T, Head), StoreError> {
        let mut alone = (!self.is_remote()).then(|| self.0.head.lock());
        let written = self.0.main.write(|sql| {
            let (value, entries) = f(sql, Pen::new(keys))?;
            if let Some(head) = &alone {
                return Ok((value, entries.write(sql, keys, head)?));
            }
            let mut head = self.0.head.lock();
            // The last statement commits, so what it wrote is where the chain ends.
            *head = entries.write(sql, keys, &head)?;
            Ok((value, head.clone()))
        })?;
        if let Some(head) = &mut alone {
            head.clone_from(&written.1);
        }
        Ok(written)
    }
}
