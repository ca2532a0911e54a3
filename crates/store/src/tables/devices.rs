//! Devices: the statements of the device path, and what operators do with devices.

pub(crate) mod batch;
mod kept;
mod labels;
mod leads;
mod saving;
mod search;
mod select;
mod words;

use std::collections::BTreeMap;

use domain::credentials::BasicParts;
use domain::{
    Credential, DeviceKey, DeviceRecord, DeviceState, Generation, Owed, ProfileId, TenantId, Timestamp,
    Verifier, Version,
};

use super::{Change, View, attributes, operations};

use crate::StoreError;
use crate::driver::{Row, Sql, params};
use crate::error::storable;
use crate::secrets::Place;
pub(crate) use kept::{added, are_texts_due, index_texts};
pub(crate) use labels::note_seen;
pub use search::{DeviceOrder, DeviceSearch, Searched};
pub use select::{Behind, Selected, Selection, Told};

/// A device as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// The device.
    pub record: DeviceRecord,
    /// The operators' own note.
    pub label: Option<String>,
    /// What operators' programs keep with it: a JSON object.
    pub additional_info: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// How often operators saved it after it was made.
    pub saves: u64,
    /// How often operators saved its credentials after it was made.
    pub credential_saves: u64,
    /// Its labels, by key.
    pub labels: BTreeMap<String, String>,
    /// When it was heard of last, a minute behind at most.
    pub seen_at: Option<Timestamp>,
}

const COLUMNS: &str = "device, tenant, coalesce(name, name_key), profile, state, state_since, credential,
    generation, version, gateway, verifier, parts, owed";
/// What only operators look at, behind [`COLUMNS`].
fn more(sql: Sql<'_>) -> &'static str {
    match sql {
        Sql::Sqlite(_) => {
            "label, additional_info, coalesce(created_at, state_since), saves, credential_saves,
             (SELECT json_group_object(l.key, l.value) FROM device_labels AS l WHERE l.device = devices.device),
             (SELECT s.at FROM device_seen AS s WHERE s.device = devices.device)"
        }
        Sql::Postgres(_) => {
            "label, additional_info, coalesce(created_at, state_since), saves, credential_saves,
             (SELECT json_object_agg(l.key, l.value)::text FROM device_labels AS l WHERE l.device = devices.device),
             (SELECT s.at FROM device_seen AS s WHERE s.device = devices.device)"
        }
    }
}

/// Before the 32 bytes of each part that counts: which parts those are.
const CLIENT_ID: u8 = 1;
const USER_NAME: u8 = 2;
const PASSWORD: u8 = 4;
/// Bits of the column `owed`.
const OWED_ANSWER: i64 = 1;
const OWED_STEPS: i64 = 2;
const OWED_RETURN: i64 = 4;

impl View<'_> {
    /// The device of that name.
    ///
    /// # Errors
    /// What the database says.
    pub fn device_named(&self, tenant: TenantId, name: &str) -> Result<Option<DeviceRow>, StoreError> {
        let (more, held) = (more(self.sql), self.held);
        let sql = format!(
            "SELECT {COLUMNS}, {more} FROM devices WHERE tenant = ? AND namespace = '' AND name_key = ?{held}"
        );
        self.sql.first(&sql, params![tenant, name], read_row)
    }

    /// The device of that key, if it belongs to that tenant.
    ///
    /// # Errors
    /// What the database says.
    pub fn device_by_key(&self, tenant: TenantId, key: DeviceKey) -> Result<Option<DeviceRow>, StoreError> {
        let (more, held) = (more(self.sql), self.held);
        let sql = format!("SELECT {COLUMNS}, {more} FROM devices WHERE tenant = ? AND device = ?{held}");
        self.sql.first(&sql, params![tenant, key], read_row)
    }

    /// The device of that name that has left last. Walks over what has left.
    ///
    /// # Errors
    /// What the database says.
    pub fn device_departed(&self, tenant: TenantId, name: &str) -> Result<Option<DeviceRow>, StoreError> {
        let more = more(self.sql);
        let sql = format!(
            "SELECT {COLUMNS}, {more} FROM devices WHERE tenant = ? AND namespace > 'gone/' AND namespace < 'gone0'
                 AND name_key = ? ORDER BY state_since DESC LIMIT 1"
        );
        self.sql.first(&sql, params![tenant, name], read_row)
    }

    /// At most `limit` devices of a tenant by name, those behind the name `after`.
    ///
    /// # Errors
    /// What the database says.
    pub fn devices_page(
        &self,
        tenant: TenantId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        let more = more(self.sql);
        let sql = format!(
            "SELECT {COLUMNS}, {more} FROM devices WHERE tenant = ? AND namespace = '' AND name_key > ?
             ORDER BY name_key LIMIT ?"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // No name is empty, so every name is behind the empty one.
        self.sql.query(&sql, params![tenant, after.unwrap_or_default(), limit], read_row)
    }
}

impl Change<'_> {
    /// Adds a device that is expected. `false` where its name is taken.
    ///
    /// # Errors
    /// [`StoreError::Full`] while the disk is short of room; what the database says.
    pub fn insert_expected(
        &mut self,
        record: &DeviceRecord,
        label: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.insert_device(record, label, None)
    }

    /// Writes a device whose version is one above the one that stands. `false` where another version
    /// stands, or where its credentials belong to another device.
    ///
    /// # Errors
    /// What the database says.
    pub fn update_device(&mut self, record: &DeviceRecord) -> Result<bool, StoreError> {
        update(self.sql, record, Version(record.version.0.wrapping_sub(1)))
    }

    /// Sets the operators' note of a device, or takes it away. `false` where there is no such device.
    ///
    /// # Errors
    /// What the database says.
    pub fn set_device_label(
        &mut self,
        tenant: TenantId,
        device: DeviceKey,
        label: Option<&str>,
    ) -> Result<bool, StoreError> {
        let label = label.map(|label| storable(label, "the device's label")).transpose()?;
        let sql =
            "UPDATE devices SET label = ?, saves = coalesce(saves, 0) + 1 WHERE device = ? AND tenant = ?";
        Ok(self.sql.execute(sql, params![label, device, tenant])? > 0)
    }

    /// What a device chose in clear is deleted from the sealed values once this is committed.
    pub fn void_credential(&mut self, record: &DeviceRecord) {
        if let Some((generation, _)) = record.credential.chosen() {
            self.voided.push(Place::of_device(record.tenant, record.key, generation));
        }
    }

    /// Deletes a device: its name is free, its credentials are void, its attributes are forgotten, and nothing is
    /// done for it any more. What it chose in clear is deleted from the sealed values once this is committed.
    /// `false` where there is no such device.
    ///
    /// # Errors
    /// What the database says.
    pub fn delete_device(&mut self, record: &DeviceRecord, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "DELETE FROM devices WHERE device = ? AND tenant = ?";
        let deleted = self.sql.execute(sql, params![record.key, record.tenant])? > 0;
        if deleted {
            operations::end_all(self.sql, record.key, now)?;
            attributes::forget(self.sql, record.key)?;
            labels::forget(self.sql, record.key)?;
            self.void_credential(record);
        }
        Ok(deleted)
    }
}

/// The device of a name.
pub(crate) fn named(sql: Sql<'_>, tenant: TenantId, name: &str) -> Result<Option<DeviceRecord>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM devices WHERE tenant = ? AND namespace = '' AND name_key = ?");
    sql.first(&text, params![tenant, name], read_record)
}

/// As [`by_key`], for whoever decides by it: it stays as it is read until the transaction ends.
pub(crate) fn held(sql: Sql<'_>, key: DeviceKey) -> Result<Option<DeviceRecord>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM devices WHERE device = ?{}", sql.for_update());
    sql.first(&text, params![key], read_record)
}

/// The device of a key that a token names; whose it is, the row says.
pub(crate) fn by_key(sql: Sql<'_>, key: DeviceKey) -> Result<Option<DeviceRecord>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM devices WHERE device = ?");
    sql.first(&text, params![key], read_record)
}

/// The device that chose the credentials of this verifier.
pub(crate) fn by_verifier(sql: Sql<'_>, verifier: &Verifier) -> Result<Option<DeviceRecord>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM devices WHERE verifier = ?");
    sql.first(&text, params![verifier], read_record)
}

/// Inserts a device. `false` where its name, its credentials or its key are taken.
pub(crate) fn insert(sql: Sql<'_>, record: &DeviceRecord) -> Result<bool, StoreError> {
    let text = "INSERT INTO devices (device, tenant, namespace, name_key, profile, state, state_since,
                   credential, generation, version, gateway, verifier, parts, owed)
               VALUES (?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let (verifier, parts) = (verifier(&record.credential), parts(&record.credential));
    let params = params![
        record.key,
        record.tenant,
        storable(&record.name, "the device's name")?,
        record.profile,
        record.state.word(),
        record.state_since,
        record.credential.kind(),
        generation(&record.credential),
        record.version,
        record.gateway.then_some(1_i64),
        verifier.as_ref(),
        parts.as_ref(),
        owed(record.owed),
    ];
    let inserted = sql.execute(text, params)?;
    Ok(inserted > 0)
}

/// Writes a device over the version that stands. `false` where another one stands, or where its
/// credentials are taken.
pub(crate) fn update(sql: Sql<'_>, record: &DeviceRecord, stands: Version) -> Result<bool, StoreError> {
    if let Sql::Postgres(transaction) = sql {
        return batch::update_one(transaction, record, stands);
    }
    let text = "UPDATE OR IGNORE devices SET state = ?, state_since = ?, credential = ?, generation = ?,
                   version = ?, gateway = ?, verifier = ?, parts = ?, owed = ?,
                   created_at = coalesce(created_at, state_since)
               WHERE device = ? AND tenant = ? AND version = ?";
    let (verifier, parts) = (verifier(&record.credential), parts(&record.credential));
    let params = params![
        record.state.word(),
        record.state_since,
        record.credential.kind(),
        generation(&record.credential),
        record.version,
        record.gateway.then_some(1_i64),
        verifier.as_ref(),
        parts.as_ref(),
        owed(record.owed),
        record.key,
        record.tenant,
        stands,
    ];
    let updated = sql.execute(text, params)?;
    Ok(updated > 0)
}

/// A device is gone: its row stays as history, and its name is free. `false` where it was taken back.
pub(crate) fn depart(
    sql: Sql<'_>,
    tenant: TenantId,
    device: DeviceKey,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let text = "UPDATE devices SET state = ?, state_since = ?, namespace = ?, version = version + 1,
                    created_at = coalesce(created_at, state_since)
                WHERE device = ? AND tenant = ? AND state = ?";
    let (from, to) = (DeviceState::Decommissioning.word(), DeviceState::Decommissioned.word());
    let namespace = format!("gone/{device}");
    Ok(sql.execute(text, params![to, now, &namespace, device, tenant, from])? > 0)
}

/// The verifier of what a device chose.
pub(crate) fn verifier(credential: &Credential) -> Option<Verifier> {
    credential.chosen().map(|(_, verifier)| verifier)
}

/// The largest key of a device.
pub(crate) fn largest_key(sql: Sql<'_>) -> Result<u64, StoreError> {
    let largest = sql.one("SELECT max(device) FROM devices", params![], |row| row.opt_unsigned(0))?;
    Ok(largest.unwrap_or(0))
}

/// Whether a device's row names a sealed value.
pub(crate) fn names(sql: Sql<'_>, place: Place) -> Result<bool, StoreError> {
    let text =
        "SELECT 1 FROM devices WHERE device = ? AND tenant = ? AND generation = ? AND verifier IS NOT NULL";
    sql.exists(text, params![place.record, place.tenant, place.generation])
}

fn generation(credential: &Credential) -> i64 {
    credential.generation().map_or(0, |generation| generation.0.cast_signed())
}

/// The bits of what is owed; nothing where that is nothing.
fn owed(owed: Owed) -> Option<i64> {
    let bits = i64::from(owed.answer) * OWED_ANSWER
        + i64::from(owed.steps) * OWED_STEPS
        + i64::from(owed.return_home) * OWED_RETURN;
    Some(bits).filter(|bits| *bits != 0)
}

fn read_owed(bits: Option<i64>) -> Owed {
    let bits = bits.unwrap_or(0);
    Owed {
        answer: bits & OWED_ANSWER != 0,
        steps: bits & OWED_STEPS != 0,
        return_home: bits & OWED_RETURN != 0,
    }
}

fn parts(credential: &Credential) -> Option<Vec<u8>> {
    let Credential::Basic(_, _, parts) = credential else { return None };
    let mut blob = vec![0];
    let all = [(CLIENT_ID, parts.client_id), (USER_NAME, parts.user_name), (PASSWORD, parts.password)];
    for (flag, verifier) in all.into_iter().filter_map(|(flag, part)| Some((flag, part?))) {
        blob[0] |= flag;
        blob.extend_from_slice(&verifier.0);
    }
    Some(blob)
}

fn read_parts(blob: &[u8]) -> Option<BasicParts> {
    let (flags, verifiers) = blob.split_first()?;
    let mut verifiers = verifiers.chunks(32);
    let mut part = |flag| match flags & flag {
        0 => Some(None),
        _ => Some(Some(Verifier(verifiers.next()?.try_into().ok()?))),
    };
    let parts =
        BasicParts { client_id: part(CLIENT_ID)?, user_name: part(USER_NAME)?, password: part(PASSWORD)? };
    verifiers.next().is_none().then_some(parts)
}

fn read_row(row: &Row<'_>) -> Result<DeviceRow, StoreError> {
    Ok(DeviceRow {
        record: read_record(row)?,
        label: row.opt_string(13)?,
        additional_info: row.opt_string(14)?,
        created_at: row.time(15)?,
        saves: row.opt_unsigned(16)?.unwrap_or(0),
        credential_saves: row.opt_unsigned(17)?.unwrap_or(0),
        labels: row.opt_text(18)?.and_then(|object| serde_json::from_str(object).ok()).unwrap_or_default(),
        seen_at: row.opt_time(19)?,
    })
}

fn read_record(row: &Row<'_>) -> Result<DeviceRecord, StoreError> {
    let key = DeviceKey(row.unsigned(0)?);
    let state = row.text(4).ok().and_then(DeviceState::from_word);
    Ok(DeviceRecord {
        key,
        tenant: TenantId(row.unsigned(1)?),
        name: row.string(2)?,
        profile: ProfileId(row.unsigned(3)?),
        state: state.ok_or_else(|| StoreError::corrupt("the state of device", key))?,
        state_since: row.time(5)?,
        credential: read_credential(row)?
            .ok_or_else(|| StoreError::corrupt("the credential of device", key))?,
        version: Version(row.unsigned(8)?),
        gateway: row.opt_int(9)?.is_some(),
        owed: read_owed(row.opt_int(12)?),
    })
}

fn read_credential(row: &Row<'_>) -> Result<Option<Credential>, StoreError> {
    let generation = Generation(row.unsigned(7)?);
    let verifier = row.opt_array(10)?.map(Verifier);
    Ok(match (row.text(6)?, verifier, row.opt_bytes(11)?) {
        ("none", None, None) => Some(Credential::None),
        ("token", None, None) => Some(Credential::Derived(generation)),
        ("chosen-token", Some(verifier), None) => Some(Credential::Token(generation, verifier)),
        ("mqtt-basic", Some(verifier), Some(parts)) => {
            read_parts(parts).map(|parts| Credential::Basic(generation, verifier, parts))
        }
        ("x509", Some(verifier), None) => Some(Credential::Certificate(generation, verifier)),
        _ => None,
    })
}
