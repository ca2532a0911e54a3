//! Walks over all sealed values that change how they are sealed: `rewrap` wraps the data keys by the key that
//! seals now, `rekey` gives every value a new data key. In small transactions with nothing secret or slow
//! inside, so that nobody waits behind them; where a walk stands is committed with what it did, so it may be
//! stopped, or killed, at any time.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::Timestamp;

use super::envelope::{self, Context, Fresh};
use super::ring::{self, Ring};
use super::vault::Vault;
use crate::StoreError;
use crate::driver::{Row, Sql, params};

/// Values of one transaction.
const AT_ONCE: u32 = 256;

/// What a walk does to each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Wraps its data key anew, if that is wrapped by an older key.
    Rewrap,
    /// Seals it anew, with another data key.
    Rekey,
}

/// How far a walk has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which walk.
    pub walk: Walk,
    /// Values a second, at most.
    pub rate: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was through, or was stopped.
    pub ended_at: Option<Timestamp>,
    /// Values that were changed.
    pub done: u64,
    /// Values that do not open, and stay as they are.
    pub failed: u64,
}

/// Where a value stands, as it rests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    tenant: u64,
    kind: String,
    record: String,
    field: String,
    generation: u64,
}

/// A sealed value as it rests.
pub(super) struct Resting {
    pub(super) spot: Spot,
    pub(super) blob: Vec<u8>,
    pub(super) kek_id: String,
}

/// Whether a walk may be on: where none is, nobody looks.
pub(super) struct Walking(AtomicBool);

impl Walking {
    /// After a start it has to be looked.
    pub(super) fn new() -> Walking {
        Walking(AtomicBool::new(true))
    }

    fn begun(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Goes on, and says whether that was worth it: then, or where it failed, it is looked again. So it is where a walk
    /// has begun meanwhile: the sign is taken down before the look, never after it.
    fn look(&self, go_on: impl FnOnce() -> Result<bool, StoreError>) -> Result<(), StoreError> {
        if !self.0.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let any = go_on();
        if !matches!(any, Ok(false)) {
            self.begun();
        }
        any.map(drop)
    }
}

impl Walk {
    /// Every walk.
    pub const ALL: [Walk; 2] = [Walk::Rewrap, Walk::Rekey];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Walk::Rewrap => "rewrap",
            Walk::Rekey => "rekey",
        }
    }
}

impl Spot {
    pub(super) fn is_servers_own(&self) -> bool {
        self.tenant == 0
    }

    pub(super) fn told(&self) -> String {
        format!("{} {} of tenant {}", self.kind, self.record.trim_start_matches('0'), self.tenant)
    }

    pub(super) fn delete(&self, sql: Sql<'_>) -> Result<(), StoreError> {
        let text = "DELETE FROM sealed
                    WHERE tenant = ? AND kind = ? AND record = ? AND field = ? AND generation = ?";
        let params = params![self.tenant, &self.kind, &self.record, &self.field, self.generation];
        sql.execute(text, params).map(drop)
    }

    pub(super) fn opens(&self, ring: &Ring, blob: &[u8]) -> bool {
        let tenant = self.tenant.to_string();
        let kek = envelope::kek_id(blob).and_then(|id| ring.by_id(id));
        kek.is_some_and(|kek| envelope::open(&**kek, &self.context(&tenant), blob).is_some())
    }

    fn context<'a>(&'a self, tenant: &'a str) -> Context<'a> {
        Context {
            tenant,
            kind: &self.kind,
            record: &self.record,
            field: &self.field,
            generation: self.generation,
        }
    }
}

impl Vault {
    /// Begins a walk, or goes on with one that was stopped.
    pub(crate) fn begin_walk(&self, walk: Walk, rate: u32, now: Timestamp) -> Result<(), StoreError> {
        self.database.write(|sql| {
            let resumed = "UPDATE walks SET rate = ?, ended_at = NULL
                           WHERE name = ? AND (ended_at IS NULL OR record <> '')";
            if sql.execute(resumed, params![rate, walk.word()])? > 0 {
                return Ok(());
            }
            sql.execute("DELETE FROM walks WHERE name = ?", params![walk.word()])?;
            let fresh = "INSERT INTO walks
                             (name, rate, started_at, done, failed, tenant, kind, record, field, generation)
                         VALUES (?, ?, ?, 0, 0, 0, '', '', '', 0)";
            sql.execute(fresh, params![walk.word(), rate, now])?;
            Ok(())
        })?;
        self.walking.begun();
        Ok(())
    }

    /// Stops a walk; what it has done stays, and it may be begun again from there.
    pub(crate) fn stop_walk(&self, walk: Walk, now: Timestamp) -> Result<(), StoreError> {
        let text = "UPDATE walks SET ended_at = ? WHERE name = ? AND ended_at IS NULL";
        self.database.write(|sql| sql.execute(text, params![now, walk.word()])).map(drop)
    }

    /// How far the walks have come, those that ended among them.
    pub(crate) fn walks(&self) -> Result<Vec<Progress>, StoreError> {
        self.database.read(|sql| {
            let found =
                Walk::ALL.into_iter().map(|walk| Ok(standing(sql, walk)?.map(|(progress, _)| progress)));
            found.filter_map(Result::transpose).collect()
        })
    }

    /// Takes each walk that is on a bit further; `share` is how many of a second's parts this step is.
    pub(crate) fn walk_on(&self, share: u32, now: Timestamp) -> Result<(), StoreError> {
        self.walking.look(|| self.walk_each(share, now))
    }

    /// Whether any walk is on.
    fn walk_each(&self, share: u32, now: Timestamp) -> Result<bool, StoreError> {
        let mut any = false;
        for walk in Walk::ALL {
            let Some((progress, _)) = self.database.read(|sql| standing(sql, walk))? else { continue };
            if progress.ended_at.is_some() {
                continue;
            }
            any = true;
            let mut left = (progress.rate / share).max(1);
            while left > 0 && self.step(walk, left.min(AT_ONCE), now)? {
                left = left.saturating_sub(AT_ONCE);
            }
        }
        Ok(any)
    }

    /// The next `limit` values of a walk; whether there may be more.
    fn step(&self, walk: Walk, limit: u32, now: Timestamp) -> Result<bool, StoreError> {
        let ring = self.ring();
        let Some(active) = ring.active() else { return Err(StoreError::Locked) };
        let Some((_, from)) = self.database.read(|sql| standing(sql, walk))? else { return Ok(false) };
        let values = self.values(&from, limit)?;
        let Some(last) = values.last().map(|value| value.spot.clone()) else {
            return self.finish(walk, &ring, active.id(), now);
        };
        let (mut changed, mut failed) = (Vec::new(), 0_u32);
        for value in &values {
            if walk == Walk::Rewrap && value.kek_id == active.id() {
                continue;
            }
            match sealed_anew(walk, &ring, &**active, value) {
                Some(blob) => changed.push((value, blob)),
                None => failed += 1,
            }
        }
        let stands = self.database.write(|sql| {
            if ring::is_retired(sql, active.id())? {
                return Ok(false);
            }
            for (value, blob) in &changed {
                replace(sql, value, blob, active.id())?;
            }
            move_on(sql, walk, &last, changed.len() as u64, failed)?;
            Ok(true)
        })?;
        if !stands {
            self.refresh(now)?;
        }
        Ok(true)
    }

    /// The end of all values. A rewrap begins again while there are values that came in behind its back, or keys of
    /// which we have not heard yet: it may be for them that it was begun. Whether there may be more.
    fn finish(&self, walk: Walk, ring: &Ring, active: &str, now: Timestamp) -> Result<bool, StoreError> {
        let (through, unheard_of) = self.database.write(|sql| {
            // Whoever begins it now waits until we are through, and finds it ended.
            sql.exists(
                &format!("SELECT 1 FROM walks WHERE name = ?{}", sql.for_update()),
                params![walk.word()],
            )?;
            let Some((progress, _)) = standing(sql, walk)? else { return Ok((None, false)) };
            let left = "SELECT count(*) FROM sealed WHERE kek_id <> ?";
            let left = sql.one(left, params![active], |row| row.unsigned(0))?;
            let unheard_of = ring::has_others(sql, ring)?;
            let again = walk == Walk::Rewrap && (unheard_of || left > progress.failed);
            let (failed, ended) = if again { (0, None) } else { (progress.failed, Some(now)) };
            let text = "UPDATE walks SET tenant = 0, kind = '', record = '', field = '', generation = 0,
                               failed = ?, ended_at = ?
                        WHERE name = ?";
            sql.execute(text, params![failed, ended, walk.word()])?;
            Ok(((!again).then_some(progress), unheard_of))
        })?;
        if unheard_of {
            self.refresh(now)?;
        }
        let Some(progress) = through else { return Ok(true) };
        tracing::info!(
            walk = walk.word(),
            done = progress.done,
            failed = progress.failed,
            "the walk over the sealed values is through"
        );
        Ok(false)
    }

    /// Values in the order of their places, the next `limit` after `from`.
    pub(super) fn values(&self, from: &Spot, limit: u32) -> Result<Vec<Resting>, StoreError> {
        let text = "SELECT tenant, kind, record, field, generation, blob, kek_id FROM sealed
                    WHERE (tenant, kind, record, field, generation) > (?, ?, ?, ?, ?)
                    ORDER BY tenant, kind, record, field, generation LIMIT ?";
        let params = params![from.tenant, &from.kind, &from.record, &from.field, from.generation, limit];
        self.database.read(|sql| sql.query(text, params, read_resting))
    }
}

fn sealed_anew(walk: Walk, ring: &Ring, active: &dyn super::KeyProvider, value: &Resting) -> Option<Vec<u8>> {
    let tenant = value.spot.tenant.to_string();
    let context = value.spot.context(&tenant);
    let kek = ring.opener(envelope::kek_id(&value.blob)?)?;
    match walk {
        Walk::Rewrap => envelope::rewrap(&**kek, active, &context, &value.blob),
        Walk::Rekey => {
            let clear = envelope::open(&**kek, &context, &value.blob)?;
            let fresh = Fresh { dek: super::random().ok()?, nonce: *super::random().ok()? };
            envelope::seal(active, &context, &clear, &fresh).ok()
        }
    }
}

/// Only where it is still what was read: somebody else may have been faster.
fn replace(sql: Sql<'_>, value: &Resting, blob: &[u8], kek_id: &str) -> Result<(), StoreError> {
    let text = "UPDATE sealed SET blob = ?, kek_id = ?
                WHERE tenant = ? AND kind = ? AND record = ? AND field = ? AND generation = ? AND blob = ?";
    let Resting { spot, blob: before, .. } = value;
    let params =
        params![blob, kek_id, spot.tenant, &spot.kind, &spot.record, &spot.field, spot.generation, before];
    sql.execute(text, params)?;
    Ok(())
}

fn move_on(sql: Sql<'_>, walk: Walk, to: &Spot, done: u64, failed: u32) -> Result<(), StoreError> {
    let text = "UPDATE walks SET done = done + ?, failed = failed + ?,
                       tenant = ?, kind = ?, record = ?, field = ?, generation = ?
                WHERE name = ?";
    let params =
        params![done, failed, to.tenant, &to.kind, &to.record, &to.field, to.generation, walk.word()];
    sql.execute(text, params)?;
    Ok(())
}

fn standing(sql: Sql<'_>, walk: Walk) -> Result<Option<(Progress, Spot)>, StoreError> {
    let text = "SELECT rate, started_at, ended_at, done, failed, tenant, kind, record, field, generation
                FROM walks WHERE name = ?";
    sql.first(text, params![walk.word()], |row| {
        let progress = Progress {
            walk,
            rate: u32::try_from(row.int(0)?).unwrap_or(u32::MAX),
            started_at: row.time(1)?,
            ended_at: row.opt_time(2)?,
            done: row.unsigned(3)?,
            failed: row.unsigned(4)?,
        };
        Ok((progress, read_spot(row, 5)?))
    })
}

fn read_resting(row: &Row<'_>) -> Result<Resting, StoreError> {
    Ok(Resting { spot: read_spot(row, 0)?, blob: row.bytes(5)?.to_vec(), kek_id: row.string(6)? })
}

fn read_spot(row: &Row<'_>, first: usize) -> Result<Spot, StoreError> {
    Ok(Spot {
        tenant: row.unsigned(first)?,
        kind: row.string(first + 1)?,
        record: row.string(first + 2)?,
        field: row.string(first + 3)?,
        generation: row.unsigned(first + 4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_begins_while_another_one_ends_is_gone_on_with() {
        let walking = Walking::new();
        let looks = std::cell::Cell::new(0);
        let look = |go_on: &dyn Fn() -> Result<bool, StoreError>| {
            walking.look(|| {
                looks.set(looks.get() + 1);
                go_on()
            })
        };
        look(&|| {
            walking.begun();
            Ok(false)
        })
        .unwrap();
        look(&|| Err(StoreError::Locked)).unwrap_err();
        look(&|| Ok(true)).unwrap();
        look(&|| Ok(false)).unwrap();
        assert_eq!(looks.get(), 4);
        look(&|| panic!("nothing is on")).unwrap();
    }
}
