//! The sealed values and their file. Values are inserted, never overwritten.

mod batch;

use std::sync::Arc;

use domain::{DeviceKey, Generation, SecretId, TenantId, Timestamp};
use parking_lot::{Mutex, RwLock};
use zeroize::Zeroizing;

use super::envelope::{self, Context, Fresh};
use super::kek::{KeyProvider, KeySource};
use super::ring::{self, Ring};
use super::walk::Walking;
use crate::StoreError;
use crate::driver::{Database, Row, Sql, params};

/// How long a value may wait for the row that names it.
const ORPHAN_AFTER_MS: i64 = 60 * 60 * 1000;

/// What sort of value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The key behind derived tokens.
    TokenKey,
    /// The key behind verifiers.
    Pepper,
    /// The key of the journal's chain.
    JournalKey,
    /// A group secret of a profile.
    GroupSecret,
    /// What a device chose as its credential.
    DeviceCredential,
}

/// Where a value stands: what names it, and what its tag covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// 0 where it belongs to no tenant.
    pub(crate) tenant: u64,
    pub(crate) kind: Kind,
    pub(crate) record: u64,
    pub(crate) generation: u64,
}

/// A value to be sealed.
pub(crate) struct Unsealed {
    pub(crate) place: Place,
    pub(crate) clear: Zeroizing<Vec<u8>>,
}

/// The file of sealed values.
pub(crate) struct Vault {
    pub(super) database: Database,
    pub(super) source: Arc<dyn KeySource>,
    /// The keys as they are known now; whoever makes a new ring of them holds `changing`.
    pub(super) ring: RwLock<Arc<Ring>>,
    pub(super) changing: Mutex<Option<Timestamp>>,
    /// Held while a passphrase is at hand.
    pub(super) offering: Mutex<()>,
    /// Whether a walk may be on.
    pub(super) walking: Walking,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::TokenKey => "token_key",
            Kind::Pepper => "pepper",
            Kind::JournalKey => "journal_key",
            Kind::GroupSecret => "group_secret",
            Kind::DeviceCredential => "device_credential",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Kind::TokenKey | Kind::Pepper | Kind::JournalKey => "key",
            Kind::GroupSecret => "secret",
            Kind::DeviceCredential => "credential",
        }
    }
}

impl Place {
    pub(crate) fn of_device(tenant: TenantId, device: DeviceKey, generation: Generation) -> Place {
        Place { tenant: tenant.0, kind: Kind::DeviceCredential, record: device.0, generation: generation.0 }
    }

    pub(crate) fn of_group_secret(tenant: TenantId, secret: SecretId, generation: u64) -> Place {
        Place { tenant: tenant.0, kind: Kind::GroupSecret, record: secret.0, generation }
    }

    /// Padded, so that records stand in the order of their numbers.
    fn record_text(self) -> String {
        format!("{:015}", self.record)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} of tenant {}", self.kind.word(), self.record, self.tenant)
    }
}

impl Vault {
    pub(crate) fn new(database: Database, source: Arc<dyn KeySource>) -> Vault {
        Vault {
            database,
            source,
            ring: RwLock::default(),
            changing: Mutex::new(None),
            offering: Mutex::new(()),
            walking: Walking::new(),
        }
    }

    /// The database, for copying it.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read())
    }

    /// Seals values, each in its place; one transaction, synced when this returns. A value that stands
    /// there already stays: it was sealed by the same caller, whose row then failed.
    pub(crate) fn seal(&self, values: &[Unsealed], now: Timestamp) -> Result<(), StoreError> {
        if values.is_empty() {
            return Ok(());
        }
        while !self.seal_by_active(values, now)? {
            self.refresh(now)?;
        }
        Ok(())
    }

    /// `false` where the key that seals has been retired meanwhile.
    fn seal_by_active(&self, values: &[Unsealed], now: Timestamp) -> Result<bool, StoreError> {
        let ring = self.ring();
        let kek = &**ring.active().ok_or(StoreError::Locked)?;
        let blobs = values
            .iter()
            .map(|value| sealed(kek, value.place, &value.clear))
            .collect::<Result<Vec<_>, _>>()?;
        self.database.write(|sql| {
            if ring::is_retired(sql, kek.id())? {
                return Ok(false);
            }
            if sql.is_postgres() {
                batch::insert(sql, values, &blobs, kek.id(), now)?;
            } else {
                let mut pairs = values.iter().zip(&blobs);
                pairs.try_for_each(|(value, blob)| insert(sql, value.place, blob, kek.id(), now))?;
            }
            Ok(true)
        })
    }

    /// Opens a value; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::SecretUnreadable`] where there is one that does not open.
    pub(super) fn reveal(&self, place: Place) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let Some(blob) = self.blob(place)? else { return Ok(None) };
        let record = place.record_text();
        let tenant = place.tenant.to_string();
        let ring = self.ring();
        let kek = envelope::kek_id(&blob).and_then(|id| ring.opener(id));
        let opened = kek.and_then(|kek| envelope::open(&**kek, &context(place, &tenant, &record), &blob));
        opened.map(Some).ok_or_else(|| StoreError::SecretUnreadable(unreadable(&ring, place, &blob)))
    }

    /// Deletes values so that nothing of them is left in the file or its log.
    pub(crate) fn delete(&self, places: &[Place]) -> Result<(), StoreError> {
        if places.is_empty() {
            return Ok(());
        }
        self.database.write(|sql| places.iter().try_for_each(|place| delete(sql, *place)))?;
        self.database.checkpoint()
    }

    /// The word that ties this file to its main database; made here at the first start.
    pub(crate) fn instance(&self) -> Result<String, StoreError> {
        self.database.write(|sql| {
            let known = sql.first("SELECT id FROM instance", params![], |row| row.string(0))?;
            if let Some(id) = known {
                return Ok(id);
            }
            let id: String = super::random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
            sql.execute("INSERT INTO instance (id) VALUES (?) ON CONFLICT DO NOTHING", params![&id])?;
            // Of several servers that start at once the first one's counts.
            sql.one("SELECT id FROM instance", params![], |row| row.string(0))
        })
    }

    /// The largest number of a device that has a sealed value.
    pub(crate) fn largest_device(&self) -> Result<u64, StoreError> {
        self.database.read(|sql| {
            let mut largest = 0;
            let mut tenant = next_tenant(sql, -1)?;
            while let Some(known) = tenant {
                largest = largest.max(largest_device(sql, known)?);
                tenant = next_tenant(sql, known)?;
            }
            Ok(largest)
        })
    }

    /// Device credentials and group secrets older than an hour, the next `limit` after `after`.
    pub(crate) fn settled(
        &self,
        after: Option<Place>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Place>, StoreError> {
        self.database.read(|sql| settled(sql, after, limit, now))
    }

    pub(crate) fn tend(&self) -> Result<(), StoreError> {
        self.database.tend()
    }

    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        self.database.checkpoint()
    }

    /// The number of the server's newest keys; 0 where it has none.
    pub(super) fn newest_keys(&self) -> Result<u64, StoreError> {
        let text = "SELECT max(record) FROM sealed WHERE tenant = 0";
        let newest = |row: &Row<'_>| row.opt_text(0)?.map_or(Ok(0), parse_record);
        self.database.read(|sql| sql.one(text, params![], newest))
    }

    fn blob(&self, place: Place) -> Result<Option<Vec<u8>>, StoreError> {
        let text = "SELECT blob FROM sealed
                    WHERE tenant = ? AND kind = ? AND record = ? AND field = ? AND generation = ?";
        let (kind, record, field) = (place.kind.word(), place.record_text(), place.kind.field());
        let params = params![place.tenant, kind, &record, field, place.generation];
        self.database.read(|sql| sql.first(text, params, |row| row.bytes(0).map(<[u8]>::to_vec)))
    }
}

fn sealed(kek: &dyn KeyProvider, place: Place, clear: &[u8]) -> Result<Vec<u8>, StoreError> {
    let fresh = Fresh { dek: super::random()?, nonce: *super::random()? };
    let (tenant, record) = (place.tenant.to_string(), place.record_text());
    envelope::seal(kek, &context(place, &tenant, &record), clear, &fresh)
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

fn insert(sql: Sql<'_>, place: Place, blob: &[u8], kek_id: &str, now: Timestamp) -> Result<(), StoreError> {
    let text = "INSERT INTO sealed (tenant, kind, record, field, generation, blob, kek_id, created_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let (kind, record, field) = (place.kind.word(), place.record_text(), place.kind.field());
    let params = params![place.tenant, kind, &record, field, place.generation, blob, kek_id, now];
    sql.execute(text, params)?;
    Ok(())
}

fn unreadable(ring: &Ring, place: Place, blob: &[u8]) -> String {
    match envelope::kek_id(blob) {
        Some(id) if ring.by_id(id).is_none() => format!("{place}: {}", ring.missing(id)),
        _ => format!("{place}: restore secrets.db and the key-encryption key that belong together"),
    }
}

fn context<'a>(place: Place, tenant: &'a str, record: &'a str) -> Context<'a> {
    Context {
        tenant,
        kind: place.kind.word(),
        record,
        field: place.kind.field(),
        generation: place.generation,
    }
}

fn delete(sql: Sql<'_>, place: Place) -> Result<(), StoreError> {
    let text =
        "DELETE FROM sealed WHERE tenant = ? AND kind = ? AND record = ? AND field = ? AND generation = ?";
    let (kind, record, field) = (place.kind.word(), place.record_text(), place.kind.field());
    sql.execute(text, params![place.tenant, kind, &record, field, place.generation])?;
    Ok(())
}

fn next_tenant(sql: Sql<'_>, after: i64) -> Result<Option<i64>, StoreError> {
    sql.one("SELECT min(tenant) FROM sealed WHERE tenant > ?", params![after], |row| row.opt_int(0))
}

fn largest_device(sql: Sql<'_>, tenant: i64) -> Result<u64, StoreError> {
    let text = "SELECT max(record) FROM sealed WHERE tenant = ? AND kind = ?";
    sql.one(text, params![tenant, Kind::DeviceCredential.word()], |row| {
        row.opt_text(0)?.map_or(Ok(0), parse_record)
    })
}

fn settled(sql: Sql<'_>, after: Option<Place>, limit: u32, now: Timestamp) -> Result<Vec<Place>, StoreError> {
    let text = "SELECT tenant, kind, record, generation FROM sealed
               WHERE (tenant, kind, record, field, generation) > (?, ?, ?, ?, ?)
                 AND kind IN ('device_credential', 'group_secret') AND created_at <= ?
               ORDER BY tenant, kind, record, field, generation LIMIT ?";
    // Tenant 0 holds the server's own keys, which nothing sweeps.
    let from = after.unwrap_or(Place { tenant: 0, kind: Kind::TokenKey, record: u64::MAX, generation: 0 });
    let (kind, record, field) = (from.kind.word(), from.record_text(), from.kind.field());
    let until = now.0.saturating_sub(ORPHAN_AFTER_MS);
    sql.query(text, params![from.tenant, kind, &record, field, from.generation, until, limit], read_place)
}

fn read_place(row: &Row<'_>) -> Result<Place, StoreError> {
    let kind =
        if row.text(1)? == Kind::GroupSecret.word() { Kind::GroupSecret } else { Kind::DeviceCredential };
    Ok(Place {
        tenant: row.unsigned(0)?,
        kind,
        record: parse_record(row.text(2)?)?,
        generation: row.unsigned(3)?,
    })
}

fn parse_record(text: &str) -> Result<u64, StoreError> {
    text.parse().map_err(|_| StoreError::corrupt("the record of a sealed value", text))
}
