//! What has to be looked after: checkpoints, the reserve on the disk, orphaned sealed values, questions that have
//! expired, old telemetry.

use domain::{DeviceKey, Timestamp};

use crate::driver::Sql;
use crate::secrets::{Kind, Place};
use crate::tables::{devices, profiles, questions};
use crate::{Inner, Store, StoreError};

/// Sealed values that one step of sweeping looks at, and how long it rests when it has seen all.
const SWEPT_AT_ONCE: u32 = 500;
const SWEEP_REST_MS: u64 = 10 * 60 * 1000;
/// Expired questions that one step deletes, and how long it rests when there were no more.
const EXPIRED_AT_ONCE: u32 = 500;
const EXPIRED_REST_MS: u64 = 1000;
/// Answers beyond what a tenant may keep that one step deletes, and how long it rests when there were no more: it counts
/// them all.
const ANSWERED_AT_ONCE: u32 = 500;
const ANSWERED_REST_MS: u64 = 5000;
/// How long the index of texts rests when it is complete: more at once is less work.
const TEXTS_REST_MS: u64 = 2000;
/// How long it rests between two steps, each of some 10 ms: meanwhile the writer is there for devices.
const TEXTS_PAUSE_MS: u64 = 50;

/// How far sweeping has come, and until when it rests after a whole round.
#[derive(Default)]
pub(crate) struct Swept {
    place: Option<Place>,
    rests_until: Option<Timestamp>,
    questions_rest_until: Option<Timestamp>,
    answers_rest_until: Option<Timestamp>,
    texts_rest_until: Option<Timestamp>,
}

impl Store {
    /// Looks after the store: checkpoints, the reserve on the disk, orphaned sealed values, questions that have
    /// expired, old telemetry.
    /// Meant to be called many times a second, on a thread that nobody waits for.
    ///
    /// # Errors
    /// The first thing that failed; the rest was done all the same.
    pub fn maintain(&self, now: Timestamp) -> Result<(), StoreError> {
        let inner = &*self.0;
        let done = [
            inner.main.tend(),
            inner.vault.tend(),
            if inner.keys.get().is_some() { inner.vault.keep_fresh(now) } else { Ok(()) },
            inner.telemetry.tend(),
            inner.room.take_back(),
            self.sweep(now),
            self.sweep_questions(now),
            self.sweep_answers(now),
            if inner.keys.get().is_some() { self.tie(now) } else { Ok(()) },
            inner.telemetry.prune(now),
            self.index_texts(now),
        ];
        done.into_iter().collect()
    }

    /// Their rows are gone, so whatever fails here is swept later.
    pub(crate) fn delete_sealed(&self, places: &[Place]) {
        if let Err(error) = self.0.vault.delete(places) {
            tracing::warn!(%error, values = places.len(), "sealed values wait to be swept");
        }
    }

    /// Looks at the next sealed values and deletes those that no row names.
    pub(crate) fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut swept = self.0.swept.lock();
        if swept.rests_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        let settled = self.0.vault.settled(swept.place, SWEPT_AT_ONCE, now)?;
        let orphans = self.0.main.read(|sql| orphans(sql, &settled))?;
        self.0.vault.delete(&orphans)?;
        swept.place = settled.last().copied();
        // A round reads every sealed value: often enough is once in a while.
        swept.rests_until = settled.is_empty().then(|| now.plus_ms(SWEEP_REST_MS));
        Ok(())
    }

    /// Deletes questions and answers that nobody waits for any more.
    fn sweep_questions(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut swept = self.0.swept.lock();
        if swept.questions_rest_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        let any = self.0.main.read(|sql| questions::is_any_expired(sql, now))?;
        let delete = |sql: Sql<'_>| questions::delete_expired(sql, EXPIRED_AT_ONCE, now);
        let deleted = if any { self.0.main.write(delete)? } else { 0 };
        let more = deleted >= u64::from(EXPIRED_AT_ONCE);
        swept.questions_rest_until = (!more).then(|| now.plus_ms(EXPIRED_REST_MS));
        Ok(())
    }

    /// Deletes the oldest answers of tenants that have too many.
    fn sweep_answers(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut swept = self.0.swept.lock();
        if swept.answers_rest_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        let any = self.0.main.read(questions::is_any_over)?;
        let more = any && self.0.main.write(|sql| questions::sweep_answered(sql, ANSWERED_AT_ONCE))?;
        swept.answers_rest_until = (!more).then(|| now.plus_ms(ANSWERED_REST_MS));
        Ok(())
    }

    /// Notes when devices were heard of last. Not journalled; those that are gone are passed over.
    ///
    /// # Errors
    /// What the database says; then none of them is noted.
    pub fn note_seen(&self, seen: &[(DeviceKey, Timestamp)]) -> Result<(), StoreError> {
        self.0.main.write(|sql| devices::note_seen(sql, seen))
    }

    /// Takes names and notes that have changed into the index of texts.
    fn index_texts(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut swept = self.0.swept.lock();
        if swept.texts_rest_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        let any = self.0.main.read(devices::are_texts_due)?;
        let more = any && self.0.main.write(devices::index_texts)?;
        swept.texts_rest_until = Some(now.plus_ms(if more { TEXTS_PAUSE_MS } else { TEXTS_REST_MS }));
        Ok(())
    }

    /// Moves all logs into their files, as closing does.
    ///
    /// # Errors
    /// What the databases say.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.0.checkpoint()
    }
}

impl Inner {
    fn checkpoint(&self) -> Result<(), StoreError> {
        self.vault.checkpoint()?;
        self.main.checkpoint()?;
        self.telemetry.checkpoint()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.checkpoint() {
            // Nothing is lost: the logs are read at the next start.
            tracing::warn!(%error, "the databases' logs could not be moved into their files");
        }
    }
}

fn orphans(sql: Sql<'_>, places: &[Place]) -> Result<Vec<Place>, StoreError> {
    let mut orphans = Vec::new();
    for place in places {
        let named = match place.kind {
            Kind::GroupSecret => profiles::names(sql, *place)?,
            _ => devices::names(sql, *place)?,
        };
        if !named {
            orphans.push(*place);
        }
    }
    Ok(orphans)
}
