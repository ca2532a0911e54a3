//! Key-encryption keys come and go: noting, listing, retiring; and whether every value opens.

use std::sync::Arc;

use domain::{Secret, Timestamp};

use super::kek::KekNote;
use super::keys::Keys;
use super::ring::{self, NoteRow, Ring};
use super::vault::Vault;
use super::walk::Spot;
use crate::StoreError;
use crate::driver::{Sql, params};

/// Values that are read at once where all are looked at.
const STRETCH: u32 = 1_000;
/// Values that do not open are told one by one up to this many.
const MOST_TOLD: usize = 100;
/// How often other servers' changes of the keys are looked for, in milliseconds.
const REFRESH_MS: u64 = 1_000;

/// A key-encryption key as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kek {
    /// Its name, as in the sealed values.
    pub id: String,
    /// When it was noted.
    pub added_at: Timestamp,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
    /// Whether it is the one that seals.
    pub active: bool,
    /// How many values need it.
    pub values: u64,
    /// Why it is not at hand; `None` where it is, or is retired.
    pub missing: Option<String>,
}

/// Whether every sealed value opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Values that were looked at.
    pub values: u64,
    /// How many of them do not open.
    pub unreadable: u64,
    /// Which; the first hundred.
    pub places: Vec<String>,
}

impl Vault {
    /// Looks for the keys of all notes that are not at hand yet.
    pub(crate) fn refresh(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut changing = self.changing.lock();
        *changing = Some(now);
        self.renew(now)
    }

    /// Does something with a passphrase at hand, if there is one, which is forgotten after it.
    pub(crate) fn offering<T>(
        &self,
        passphrase: Option<&Secret>,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(passphrase) = passphrase else { return work() };
        let _offering = self.offering.lock();
        self.source.offer(vec![passphrase.clone()]);
        let done = work();
        self.source.offer(Vec::new());
        done
    }

    /// As [`Vault::refresh`], once a second.
    pub(crate) fn keep_fresh(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut changing = self.changing.lock();
        if changing.is_some_and(|last| now < last.plus_ms(REFRESH_MS)) {
            return Ok(());
        }
        *changing = Some(now);
        self.renew(now)
    }

    /// The first key of a new server, unless there is one.
    pub(crate) fn first_key(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.ring().held().is_empty() { self.add_key(now).map(drop) } else { Ok(()) }
    }

    /// Takes another key, which seals from now on; its id.
    pub(crate) fn add_key(&self, now: Timestamp) -> Result<String, StoreError> {
        let _changing = self.changing.lock();
        let known = self.database.read(ring::notes)?.into_iter().map(|row| row.note).collect::<Vec<_>>();
        let unavailable = |error: super::KeyError| StoreError::SecretUnreadable(error.to_string());
        let (note, kek) = self.source.add(&known).map_err(unavailable)?;
        let note = note.checked(&*kek).map_err(unavailable)?;
        self.database.write(|sql| ring::add(sql, &note, now))?;
        self.renew(now)?;
        Ok(note.id)
    }

    /// Every key there was.
    pub(crate) fn keks(&self) -> Result<Vec<Kek>, StoreError> {
        let ring = self.ring();
        let active = ring.active().map(|kek| kek.id().to_owned());
        let (notes, counts) = self.database.read(|sql| Ok((ring::notes(sql)?, counts(sql)?)))?;
        let missing = |id: &str| {
            let held = ring.held().iter().find(|held| held.note.id == id)?;
            held.key.as_ref().err().cloned()
        };
        let listed =
            notes.into_iter().map(|NoteRow { note: KekNote { id, .. }, added_at, retired_at }| Kek {
                added_at,
                retired_at,
                active: active.as_deref() == Some(&id),
                values: counts.iter().find(|(of, _)| *of == id).map_or(0, |(_, count)| *count),
                missing: missing(&id),
                id,
            });
        Ok(listed.collect())
    }

    /// Notes that a key is not needed any more; `Some` with the number of values where it is.
    pub(crate) fn retire(&self, id: &str, now: Timestamp) -> Result<Option<u64>, StoreError> {
        let _changing = self.changing.lock();
        let needed = self.database.write(|sql| {
            ring::hold(sql, id)?;
            let text = "SELECT count(*) FROM sealed WHERE kek_id = ?";
            let needed = sql.one(text, params![id], |row| row.unsigned(0))?;
            if needed > 0 {
                return Ok(Some(needed));
            }
            ring::retire(sql, id, now)?;
            Ok(None)
        })?;
        self.renew(now)?;
        Ok(needed)
    }

    /// Opens every value.
    pub(crate) fn verify(&self) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        self.each_unreadable(|spot| {
            verified.unreadable += 1;
            if verified.places.len() < MOST_TOLD {
                verified.places.push(spot.told());
            }
            Ok(())
        })
        .map(|values| verified.values = values)?;
        Ok(verified)
    }

    /// Whether the server's own keys open.
    pub(crate) fn own_keys_open(&self) -> Result<bool, StoreError> {
        let mut open = self.newest_keys()? > 0;
        self.each_unreadable(|spot| {
            open &= !spot.is_servers_own();
            Ok(())
        })?;
        Ok(open)
    }

    /// Makes the server's own keys anew, sealed by a key that is at hand, or by a new one.
    pub(crate) fn make_own_keys(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.ring().active().is_none() {
            self.add_key(now)?;
        }
        Keys::make(self, now)
    }

    /// Deletes every value that does not open; how many.
    pub(crate) fn drop_unreadable(&self) -> Result<u64, StoreError> {
        let mut lost = Vec::new();
        self.each_unreadable(|spot| {
            lost.push(spot.clone());
            Ok(())
        })?;
        for some in lost.chunks(STRETCH as usize) {
            self.database.write(|sql| some.iter().try_for_each(|spot| spot.delete(sql)))?;
        }
        self.database.checkpoint()?;
        Ok(lost.len() as u64)
    }

    /// Shows `look` each value that does not open; how many values there are.
    fn each_unreadable(
        &self,
        mut look: impl FnMut(&Spot) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let ring = self.ring();
        let (mut at, mut seen) = (Spot::default(), 0);
        loop {
            let values = self.values(&at, STRETCH)?;
            let Some(last) = values.last() else { return Ok(seen) };
            at = last.spot.clone();
            seen += values.len() as u64;
            for value in values.iter().filter(|value| !value.spot.opens(&ring, &value.blob)) {
                look(&value.spot)?;
            }
        }
    }

    /// Whoever calls this holds `changing`.
    fn renew(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut rows = self.database.read(ring::notes)?;
        if rows.is_empty() {
            rows = self.note_older(now)?;
        }
        let before = self.ring();
        let unchanged = before.is_whole()
            && rows
                .iter()
                .filter(|row| row.retired_at.is_none())
                .map(|row| &row.note.id)
                .eq(before.held().iter().map(|held| &held.note.id));
        if !unchanged {
            *self.ring.write() = Arc::new(Ring::of(rows, &*self.source, &before));
        }
        Ok(())
    }

    /// Notes of the keys that were used before there were any; kept once the key is at hand.
    fn note_older(&self, now: Timestamp) -> Result<Vec<NoteRow>, StoreError> {
        let older = self.database.read(ring::without_notes)?;
        let row = |note| NoteRow { note, added_at: now, retired_at: None };
        let ring = Ring::of(older.iter().cloned().map(row).collect(), &*self.source, &Ring::default());
        for held in ring.held() {
            let Ok(kek) = &held.key else { continue };
            // It has to open something first: a wrong key must not be noted as the right one.
            if self.opens_any(&ring, &held.note.id)? {
                let note = held.note.clone().checked(&**kek);
                let note = note.map_err(|error| StoreError::SecretUnreadable(error.to_string()))?;
                self.database.write(|sql| ring::add(sql, &note, held.added_at))?;
            }
        }
        let noted = self.database.read(ring::notes)?;
        Ok(if noted.is_empty() { older.into_iter().map(row).collect() } else { noted })
    }

    fn opens_any(&self, ring: &Ring, id: &str) -> Result<bool, StoreError> {
        let first = self.values(&Spot::default(), STRETCH)?;
        Ok(first.iter().any(|value| value.kek_id == id && value.spot.opens(ring, &value.blob)))
    }
}

fn counts(sql: Sql<'_>) -> Result<Vec<(String, u64)>, StoreError> {
    let text = "SELECT kek_id, count(*) FROM sealed GROUP BY kek_id";
    sql.query(text, params![], |row| Ok((row.string(0)?, row.unsigned(1)?)))
}
