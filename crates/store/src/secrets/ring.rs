//! The key-encryption keys of a server: the newest seals, all of them open.

use std::sync::Arc;

use domain::Timestamp;

use super::kek::{KekNote, KeyProvider, KeySource};
use crate::StoreError;
use crate::driver::{Row, Sql, params};

/// The keys that are not retired, in the order in which they were added; and those that were at hand until they were
/// retired.
#[derive(Default)]
pub(super) struct Ring {
    held: Vec<Held>,
    retired: Vec<Arc<dyn KeyProvider>>,
}

/// A key, or why it is not at hand.
pub(super) struct Held {
    pub(super) note: KekNote,
    pub(super) added_at: Timestamp,
    pub(super) key: Result<Arc<dyn KeyProvider>, String>,
}

/// A row of the notes.
pub(super) struct NoteRow {
    pub(super) note: KekNote,
    pub(super) added_at: Timestamp,
    pub(super) retired_at: Option<Timestamp>,
}

impl Ring {
    /// The keys of these notes. One that was at hand before still is; the others are looked for anew.
    pub(super) fn of(rows: Vec<NoteRow>, source: &dyn KeySource, before: &Ring) -> Ring {
        let (retired, current): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.retired_at.is_some());
        let held = current.into_iter().map(|NoteRow { note, added_at, .. }| {
            let key = before.by_id(&note.id).cloned().map_or_else(|| look_for(&note, source), Ok);
            Held { note, added_at, key }
        });
        let retired = retired.iter().filter_map(|row| before.opener(&row.note.id).cloned()).collect();
        Ring { held: held.collect(), retired }
    }

    /// The key that seals: the newest that is at hand.
    pub(super) fn active(&self) -> Option<&Arc<dyn KeyProvider>> {
        self.held.iter().rev().find_map(|held| held.key.as_ref().ok())
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Arc<dyn KeyProvider>> {
        self.held.iter().find(|held| held.note.id == id)?.key.as_ref().ok()
    }

    /// The key that opens what was read before its retirement was known, or was sealed behind its back.
    pub(super) fn opener(&self, id: &str) -> Option<&Arc<dyn KeyProvider>> {
        self.by_id(id).or_else(|| self.retired.iter().find(|kek| kek.id() == id))
    }

    pub(super) fn held(&self) -> &[Held] {
        &self.held
    }

    pub(super) fn is_whole(&self) -> bool {
        self.held.iter().all(|held| held.key.is_ok())
    }

    /// Why a key is not at hand, for the operator.
    pub(super) fn missing(&self, id: &str) -> String {
        match self.held.iter().find(|held| held.note.id == id).map(|held| &held.key) {
            Some(Err(why)) => format!("the key-encryption key `{id}`: {why}"),
            Some(Ok(_)) => format!("the key-encryption key `{id}` does not open it"),
            None => format!("it needs the key-encryption key `{id}`, which nothing is known of"),
        }
    }
}

fn look_for(note: &KekNote, source: &dyn KeySource) -> Result<Arc<dyn KeyProvider>, String> {
    let key = source.open(note).map_err(|error| error.to_string())?;
    if note.is_of(&*key) {
        Ok(key)
    } else {
        Err("what is there is another key than the one that was used".to_owned())
    }
}

/// All notes, the retired ones among them, in the order in which they were added.
pub(super) fn notes(sql: Sql<'_>) -> Result<Vec<NoteRow>, StoreError> {
    let text = "SELECT id, parameters, proof, added_at, retired_at FROM keks ORDER BY number";
    sql.query(text, params![], read_note)
}

/// Whether there are keys that may seal and are not in the ring: another server has added them a moment ago.
pub(super) fn has_others(sql: Sql<'_>, ring: &Ring) -> Result<bool, StoreError> {
    let current = notes(sql)?.into_iter().filter(|row| row.retired_at.is_none());
    Ok(current.into_iter().any(|row| ring.held.iter().all(|held| held.note.id != row.note.id)))
}

/// Notes a key; one of that id that is noted already stays as it is.
pub(super) fn add(sql: Sql<'_>, note: &KekNote, now: Timestamp) -> Result<(), StoreError> {
    let last = sql.one("SELECT max(number) FROM keks", params![], |row| row.opt_int(0))?;
    let text = "INSERT INTO keks (number, id, parameters, proof, added_at) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT DO NOTHING";
    let parameters = note.parameters.to_string();
    sql.execute(text, params![last.unwrap_or(0) + 1, &note.id, &parameters, &note.check, now])?;
    Ok(())
}

/// Whether a key may not seal any more. Where it may, it is not retired before this transaction ends.
pub(super) fn is_retired(sql: Sql<'_>, id: &str) -> Result<bool, StoreError> {
    let held = if sql.is_postgres() { " FOR SHARE" } else { "" };
    let text = format!("SELECT retired_at FROM keks WHERE id = ?{held}");
    let retired_at = sql.first(&text, params![id], |row| row.opt_time(0))?;
    Ok(retired_at.flatten().is_some())
}

/// Whoever seals by a key is through before this comes back, and nobody does before this transaction ends.
pub(super) fn hold(sql: Sql<'_>, id: &str) -> Result<(), StoreError> {
    let text = format!("SELECT 1 FROM keks WHERE id = ?{}", sql.for_update());
    sql.exists(&text, params![id]).map(drop)
}

/// Notes that a key is not used any more.
pub(super) fn retire(sql: Sql<'_>, id: &str, now: Timestamp) -> Result<(), StoreError> {
    sql.execute("UPDATE keks SET retired_at = ? WHERE id = ?", params![now, id])?;
    Ok(())
}

/// The keys that values name although there is no note of any: those from before there were notes.
pub(super) fn without_notes(sql: Sql<'_>) -> Result<Vec<KekNote>, StoreError> {
    if sql.exists("SELECT 1 FROM keks LIMIT 1", params![])? {
        return Ok(Vec::new());
    }
    let nothing = || serde_json::Value::Object(serde_json::Map::new());
    sql.query("SELECT DISTINCT kek_id FROM sealed", params![], |row| {
        Ok(KekNote::new(row.string(0)?, nothing()))
    })
}

fn read_note(row: &Row<'_>) -> Result<NoteRow, StoreError> {
    let parameters = serde_json::from_str(row.text(1)?)
        .map_err(|error| StoreError::corrupt("the note of a key-encryption key", error.to_string()))?;
    let note = KekNote { id: row.string(0)?, parameters, check: row.bytes(2)?.to_vec() };
    Ok(NoteRow { note, added_at: row.time(3)?, retired_at: row.opt_time(4)? })
}
