//! The journal: what happened to devices, who tried what, and what operators changed. Append only, chained.
//!
//! Kinds: `provision` (in the transaction that changes the device), `attempt` (every other outcome), and the
//! audit kinds of operators. A detail is compact JSON with a version `"v"`.

mod following;
mod listing;
pub(crate) mod tie;
mod verify;
mod written;

use std::net::IpAddr;

use domain::{DeviceKey, Origin, Provision, TenantId, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{Change, View};
use crate::StoreError;
use crate::driver::{Row, Sql, params};
use crate::error::storable;
use crate::journal_chain::{SALT_BYTES, START, WHOLE};
use crate::secrets::{Keys, fill_random};
pub use following::Further;
pub use listing::Cursor;
pub(crate) use tie::Tie;
pub(crate) use verify::verify;
pub use verify::{Fault, Verification, Wrong};
pub(crate) use written::Entries;
use written::Unlinked;

/// The kind of an entry about a device that was given credentials.
pub const PROVISION: &str = "provision";
/// The kind of an entry about an attempt that changed nothing.
pub const ATTEMPT: &str = "attempt";
/// The kind of an entry that signs where all servers' chains end.
pub const TIE: &str = "tie";
/// The kinds of entries about attributes; their detail names `scope` and `keys`.
pub const ATTRIBUTES_SAVED: &str = "attributes-saved";
/// See [`ATTRIBUTES_SAVED`].
pub const ATTRIBUTES_DELETED: &str = "attributes-deleted";
const SERVER: &str = "server";
const DEVICE: &str = "device";
const DETAIL_VERSION: u32 = 1;

/// Numbers of a writer's entries are below 2 to this.
const NUMBER_BITS: u32 = 40;

/// An entry to be appended.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The tenant it belongs to, if any.
    pub tenant: Option<TenantId>,
    /// The device it is about, where that is known.
    pub device: Option<DeviceKey>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// Somebody tried something that changed no device.
    Attempt(Attempt),
    /// An operator, or the server itself, changed something.
    Audit {
        /// What was done: `profile-created` and the like.
        kind: String,
        /// Who did it: `operator:17`, `server:start`.
        actor: String,
        /// More about it; an object. Never a secret.
        detail: Value,
    },
}

/// An attempt that changed no device.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it was made; entries are in the order in which they were written.
    pub at: Timestamp,
    /// `unchanged`, or the code of the refusal.
    pub outcome: &'static str,
    /// The registration id that was claimed.
    pub registration_id: Option<String>,
    /// The profile's name, where one was named that exists.
    pub profile: Option<String>,
    /// A keyed digest of the provision key, where no profile has it.
    pub unknown_key: Option<String>,
    /// Where it came from.
    pub origin: Origin,
    /// How many equal attempts this entry stands for.
    pub count: u32,
}

/// Where an entry stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The writer's number.
    pub writer: u64,
    /// The entry's number; each writer counts from 1.
    pub number: u64,
}

/// The end of a writer's chain. Kept elsewhere, it shows later that nothing was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last entry.
    pub position: Position,
    /// Its link.
    pub link: [u8; 32],
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalEntry {
    /// Where it stands.
    pub position: Position,
    /// When it was written.
    pub at: Timestamp,
    /// The tenant it belongs to, if any.
    pub tenant: Option<TenantId>,
    /// The device it is about, where that is known.
    pub device: Option<DeviceKey>,
    /// What happened.
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// More about it; `None` where it was erased.
    pub detail: Option<Value>,
}

/// Which entries to read.
#[derive(Clone, Copy, Debug)]
pub struct JournalQuery<'a> {
    /// Only those of this tenant; with the default one, attempts that name no tenant's things too.
    pub tenant: Option<TenantId>,
    /// Only those about this device, and attempts under this name.
    pub about: Option<(DeviceKey, &'a str)>,
    /// Only those of these kinds; empty means all.
    pub kinds: &'a [&'a str],
    /// Only those behind the page that ended here.
    pub before: Option<&'a Cursor>,
    /// How many at most.
    pub limit: usize,
}

/// Some entries, the newest first.
#[derive(Clone, Debug)]
pub struct JournalPage {
    /// The entries; may be fewer than asked for although there are more.
    pub entries: Vec<JournalEntry>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

impl View<'_> {
    /// A page of entries of all servers, the newest first. Looks at ten thousand at most; `next` goes on from
    /// there. Clocks of servers differ, so entries of different servers are in the order of those.
    ///
    /// # Errors
    /// What the database says.
    pub fn journal(&self, query: &JournalQuery<'_>) -> Result<JournalPage, StoreError> {
        listing::page(self.sql, query)
    }

    /// The entries of all servers behind a place, as they were written: of one tenant, or all. Looks at `limit` of each
    /// writer at most.
    ///
    /// # Errors
    /// What the database says.
    pub fn journal_after(
        &self,
        place: &Cursor,
        tenant: Option<TenantId>,
        limit: usize,
    ) -> Result<Further, StoreError> {
        following::after(self.sql, place, tenant, limit)
    }

    /// The place behind all entries that there are.
    ///
    /// # Errors
    /// What the database says.
    pub fn journal_end(&self) -> Result<Cursor, StoreError> {
        following::end(self.sql)
    }
}

impl Change<'_> {
    /// Journals something in this transaction.
    ///
    /// # Errors
    /// What the database says.
    pub fn append(&mut self, entry: &NewEntry, now: Timestamp) -> Result<(), StoreError> {
        self.pen.append(entry, now)
    }
}

/// Appends entries in one transaction. They are linked at its end, so that whoever appends too is kept waiting for
/// no more than that.
pub(crate) struct Pen<'a> {
    keys: &'a Keys,
    salts: Salts,
    entries: Entries,
}

/// Random bytes for salts, drawn for many entries at once.
struct Salts {
    bytes: [u8; Salts::BATCH * SALT_BYTES],
    used: usize,
}

/// What an entry of any kind is made of.
struct Record<'a> {
    tenant: u64,
    device: Option<u64>,
    kind: &'a str,
    actor: &'a str,
}

#[derive(Serialize)]
struct ProvisionDetail<'a> {
    v: u32,
    deed: &'a str,
    name: &'a str,
    profile: &'a str,
    credential: &'a str,
    source: IpAddr,
    wire: &'a str,
}

#[derive(Serialize)]
struct AttemptDetail<'a> {
    v: u32,
    at: i64,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_key: Option<&'a str>,
    source: IpAddr,
    wire: &'a str,
    count: u32,
}

impl<'a> Pen<'a> {
    pub(crate) fn new(keys: &'a Keys) -> Pen<'a> {
        Pen { keys, salts: Salts::empty(), entries: Entries::default() }
    }

    /// What was written, still without its place in the chain.
    pub(crate) fn entries(self) -> Entries {
        self.entries
    }

    pub(crate) fn append(&mut self, entry: &NewEntry, now: Timestamp) -> Result<(), StoreError> {
        let (tenant, device) =
            (entry.tenant.map_or(0, |tenant| tenant.0), entry.device.map(|device| device.0));
        match &entry.what {
            What::Attempt(attempt) => {
                let record = Record { tenant, device, kind: ATTEMPT, actor: DEVICE };
                self.write(&record, &attempt_detail(attempt), now)
            }
            What::Audit { kind, actor, detail } => {
                let record = Record { tenant, device, kind, actor };
                self.write(&record, &versioned(detail), now)
            }
        }
    }

    pub(crate) fn provision(
        &mut self,
        provision: &Provision,
        profile: &str,
        origin: Origin,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let device = &provision.device;
        let detail = ProvisionDetail {
            v: DETAIL_VERSION,
            deed: provision.deed.word(),
            name: &device.name,
            profile,
            credential: device.credential.kind(),
            source: origin.source,
            wire: origin.wire.name(),
        };
        let key = Some(device.key.0);
        let record = Record { tenant: device.tenant.0, device: key, kind: PROVISION, actor: DEVICE };
        self.write(&record, &detail, now)
    }

    /// Signs where all chains end.
    pub(crate) fn tie(&mut self, heads: &[Head], now: Timestamp) -> Result<(), StoreError> {
        let record = Record { tenant: 0, device: None, kind: TIE, actor: SERVER };
        self.write(&record, &Tie::of(heads), now)
    }

    fn write(
        &mut self,
        record: &Record<'_>,
        detail: &impl Serialize,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut stored = Vec::with_capacity(256);
        stored.push(WHOLE);
        stored.extend_from_slice(self.salts.next()?);
        serde_json::to_writer(&mut stored, detail)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.entries.push(Unlinked {
            at: now.0,
            tenant: record.tenant,
            device: record.device,
            kind: storable(record.kind, "the kind of a journal entry")?.to_owned(),
            actor: storable(record.actor, "the actor of a journal entry")?.to_owned(),
            key_id: self.keys.journal_key_id(),
            detail: stored,
        });
        Ok(())
    }
}

impl Salts {
    const BATCH: usize = 64;

    fn empty() -> Salts {
        Salts { bytes: [0; Salts::BATCH * SALT_BYTES], used: Salts::BATCH * SALT_BYTES }
    }

    fn next(&mut self) -> Result<&[u8], StoreError> {
        if self.used == self.bytes.len() {
            fill_random(&mut self.bytes)?;
            self.used = 0;
        }
        let from = self.used;
        self.used += SALT_BYTES;
        Ok(&self.bytes[from..self.used])
    }
}

impl Position {
    /// Above the number of every entry.
    const END: u64 = (1 << NUMBER_BITS) - 1;

    fn is_storable(self) -> bool {
        self.writer < 1 << (63 - NUMBER_BITS) && self.number <= Position::END
    }

    pub(crate) fn packed(self) -> i64 {
        (self.writer << NUMBER_BITS | self.number).cast_signed()
    }

    pub(crate) fn unpack(packed: i64) -> Position {
        let packed = packed.cast_unsigned();
        Position { writer: packed >> NUMBER_BITS, number: packed & ((1 << NUMBER_BITS) - 1) }
    }
}

/// The end of this server's chain; its writer is made at the first start and continued ever after.
pub(crate) fn continue_chain(sql: Sql<'_>, server: &str, now: Timestamp) -> Result<Head, StoreError> {
    let server = storable(server, "the server's name")?;
    if sql.is_postgres() {
        let text = "INSERT INTO journal_writers (server, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING";
        sql.execute(text, params![server, now])?;
        let text = "SELECT writer FROM journal_writers WHERE server = ?";
        let writer = sql.one(text, params![server], |row| row.unsigned(0))?;
        return head(sql, writer);
    }
    let text = "SELECT next FROM counters WHERE name = 'writer'";
    let writer = sql.first(text, params![], |row| row.unsigned(0))?.unwrap_or(1);
    let text =
        "INSERT INTO journal_writers (writer, server, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    sql.execute(text, params![writer, server, now])?;
    head(sql, writer)
}

/// Lets no chain go on: whoever continues begins a new one. A file or schema that was copied may have an
/// older end of a chain than the original, and two ends that differ would look like a forgery.
pub(crate) fn end_chains(sql: Sql<'_>, now: Timestamp) -> Result<(), StoreError> {
    if sql.is_postgres() {
        let until = format!(" until {}", now.0);
        sql.execute("UPDATE journal_writers SET server = server || ?", params![&until])?;
        return Ok(());
    }
    let last = writers(sql)?.into_iter().max().unwrap_or(0);
    sql.execute("DELETE FROM counters WHERE name = 'writer'", params![])?;
    sql.execute("INSERT INTO counters (name, next) VALUES ('writer', ?)", params![last + 1])?;
    Ok(())
}

/// The ends of all chains.
pub(crate) fn heads(sql: Sql<'_>) -> Result<Vec<Head>, StoreError> {
    writers(sql)?.into_iter().map(|writer| head(sql, writer)).collect()
}

/// Every writer that has a row or an entry.
pub(crate) fn writers(sql: Sql<'_>) -> Result<Vec<u64>, StoreError> {
    let text = "WITH RECURSIVE found (writer) AS (
                   SELECT min(position) >> 40 FROM journal
                   UNION ALL
                   SELECT (SELECT min(position) >> 40 FROM journal WHERE position >= (writer + 1) << 40)
                   FROM found WHERE writer IS NOT NULL)
               SELECT writer FROM found WHERE writer IS NOT NULL
               UNION SELECT writer FROM journal_writers ORDER BY writer";
    sql.query(text, params![], |row| row.unsigned(0))
}

pub(crate) fn head(sql: Sql<'_>, writer: u64) -> Result<Head, StoreError> {
    let text =
        "SELECT position, link FROM journal WHERE position BETWEEN ? AND ? ORDER BY position DESC LIMIT 1";
    let first = Position { writer, number: 0 };
    let last = Position { writer: writer + 1, number: 0 };
    let read = |row: &Row<'_>| Ok(Head { position: Position::unpack(row.int(0)?), link: row.array(1)? });
    let found = sql.first(text, params![first.packed(), last.packed() - 1], read)?;
    Ok(found.unwrap_or(Head { position: first, link: START }))
}

fn read_entry(row: &Row<'_>) -> Result<JournalEntry, StoreError> {
    Ok(JournalEntry {
        position: Position::unpack(row.int(0)?),
        at: row.time(1)?,
        tenant: Some(row.unsigned(2)?).filter(|id| *id != 0).map(TenantId),
        device: row.opt_unsigned(3)?.map(DeviceKey),
        kind: row.string(4)?,
        actor: row.string(5)?,
        detail: detail_in(row.bytes(6)?),
    })
}

/// The detail of an entry, unless its digest has taken its place.
pub(crate) fn detail_in(stored: &[u8]) -> Option<Value> {
    let json = stored.get(1 + SALT_BYTES..).filter(|_| stored.first() == Some(&WHOLE))?;
    serde_json::from_slice(json).ok()
}

fn attempt_detail(attempt: &Attempt) -> AttemptDetail<'_> {
    AttemptDetail {
        v: DETAIL_VERSION,
        at: attempt.at.0,
        outcome: attempt.outcome,
        name: attempt.registration_id.as_deref(),
        profile: attempt.profile.as_deref(),
        unknown_key: attempt.unknown_key.as_deref(),
        source: attempt.origin.source,
        wire: attempt.origin.wire.name(),
        count: attempt.count,
    }
}

fn versioned(detail: &Value) -> Value {
    let mut object = match detail {
        Value::Object(object) => object.clone(),
        other => [("value".to_owned(), other.clone())].into_iter().collect(),
    };
    object.insert("v".to_owned(), DETAIL_VERSION.into());
    Value::Object(object)
}
