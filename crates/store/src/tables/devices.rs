//! Devices: the statements of the device path, and what operators do with devices.

use domain::credentials::BasicParts;
use domain::{
    Credential, DeviceKey, DeviceRecord, DeviceState, Generation, ProfileId, TenantId, Timestamp, Verifier,
    Version,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Change, View};
use crate::StoreError;
use crate::error::storable;
use crate::secrets::Place;

/// A device as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// The device.
    pub record: DeviceRecord,
    /// The operators' own note.
    pub label: Option<String>,
}

const COLUMNS: &str = "device, tenant, coalesce(name, name_key), profile, state, state_since, credential,
    generation, version, gateway, verifier, parts, label";

/// Before the 32 bytes of each part that counts: which parts those are.
const CLIENT_ID: u8 = 1;
const USER_NAME: u8 = 2;
const PASSWORD: u8 = 4;

impl View<'_> {
    /// The device of that name.
    ///
    /// # Errors
    /// What the database says.
    pub fn device_named(&self, tenant: TenantId, name: &str) -> Result<Option<DeviceRow>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM devices WHERE tenant = ? AND namespace = '' AND name_key = ?");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((tenant.0.cast_signed(), name))?;
        rows.next()?.map(read_row).transpose()
    }

    /// The device of that key, if it belongs to that tenant.
    ///
    /// # Errors
    /// What the database says.
    pub fn device_by_key(&self, tenant: TenantId, key: DeviceKey) -> Result<Option<DeviceRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM devices WHERE tenant = ? AND device = ?");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((tenant.0.cast_signed(), key.0.cast_signed()))?;
        rows.next()?.map(read_row).transpose()
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
        let sql = format!(
            "SELECT {COLUMNS} FROM devices WHERE tenant = ? AND namespace = '' AND name_key > ?
             ORDER BY name_key LIMIT ?"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(&sql)?;
        // No name is empty, so every name is behind the empty one.
        let mut rows = statement.query(params![tenant.0.cast_signed(), after.unwrap_or_default(), limit])?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            page.push(read_row(row)?);
        }
        Ok(page)
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
        self.room_to_grow()?;
        if !insert(self.connection, record)? {
            return Ok(false);
        }
        if label.is_some() {
            self.set_device_label(record.tenant, record.key, label)?;
        }
        Ok(true)
    }

    /// Writes a device whose version is one above the one that stands. `false` where another version
    /// stands, or where its credentials belong to another device.
    ///
    /// # Errors
    /// What the database says.
    pub fn update_device(&mut self, record: &DeviceRecord) -> Result<bool, StoreError> {
        update(self.connection, record, Version(record.version.0.wrapping_sub(1)))
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
        let sql = "UPDATE devices SET label = ? WHERE device = ? AND tenant = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.execute((label, device.0.cast_signed(), tenant.0.cast_signed()))? > 0)
    }

    /// Deletes a device: its name is free and its credentials are void. What it chose in clear is deleted
    /// from the sealed values once this is committed. `false` where there is no such device.
    ///
    /// # Errors
    /// What the database says.
    pub fn delete_device(&mut self, record: &DeviceRecord) -> Result<bool, StoreError> {
        let sql = "DELETE FROM devices WHERE device = ? AND tenant = ?";
        let key = (record.key.0.cast_signed(), record.tenant.0.cast_signed());
        let deleted = self.connection.prepare_cached(sql)?.execute(key)? > 0;
        if let (true, Credential::Token(generation, _) | Credential::Basic(generation, ..)) =
            (deleted, record.credential)
        {
            self.voided.push(Place::of_device(record.tenant, record.key, generation));
        }
        Ok(deleted)
    }
}

/// The device of a name.
pub(crate) fn named(
    connection: &Connection,
    tenant: TenantId,
    name: &str,
) -> Result<Option<DeviceRecord>, StoreError> {
    Ok(View { connection }.device_named(tenant, name)?.map(|row| row.record))
}

/// The device of a key that a token names; whose it is, the row says.
pub(crate) fn by_key(connection: &Connection, key: DeviceKey) -> Result<Option<DeviceRecord>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM devices WHERE device = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([key.0.cast_signed()])?;
    Ok(rows.next()?.map(read_row).transpose()?.map(|row| row.record))
}

/// The device that chose the credentials of this verifier.
pub(crate) fn by_verifier(
    connection: &Connection,
    verifier: &Verifier,
) -> Result<Option<DeviceRecord>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM devices WHERE verifier = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([verifier.0])?;
    Ok(rows.next()?.map(read_row).transpose()?.map(|row| row.record))
}

/// Inserts a device. `false` where its name, its credentials or its key are taken.
pub(crate) fn insert(connection: &Connection, record: &DeviceRecord) -> Result<bool, StoreError> {
    let sql = "INSERT INTO devices (device, tenant, namespace, name_key, profile, state, state_since,
                   credential, generation, version, gateway, verifier, parts)
               VALUES (?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let inserted = connection.prepare_cached(sql)?.execute(params![
        record.key.0.cast_signed(),
        record.tenant.0.cast_signed(),
        storable(&record.name, "the device's name")?,
        record.profile.0.cast_signed(),
        record.state.word(),
        record.state_since.0,
        record.credential.kind(),
        generation(&record.credential),
        record.version.0.cast_signed(),
        record.gateway.then_some(1),
        verifier(&record.credential).map(|verifier| verifier.0),
        parts(&record.credential),
    ])?;
    Ok(inserted > 0)
}

/// Writes a device over the version that stands. `false` where another one stands, or where its
/// credentials are taken.
pub(crate) fn update(
    connection: &Connection,
    record: &DeviceRecord,
    stands: Version,
) -> Result<bool, StoreError> {
    let sql = "UPDATE OR IGNORE devices SET state = ?, state_since = ?, credential = ?, generation = ?,
                   version = ?, gateway = ?, verifier = ?, parts = ?
               WHERE device = ? AND tenant = ? AND version = ?";
    let updated = connection.prepare_cached(sql)?.execute(params![
        record.state.word(),
        record.state_since.0,
        record.credential.kind(),
        generation(&record.credential),
        record.version.0.cast_signed(),
        record.gateway.then_some(1),
        verifier(&record.credential).map(|verifier| verifier.0),
        parts(&record.credential),
        record.key.0.cast_signed(),
        record.tenant.0.cast_signed(),
        stands.0.cast_signed(),
    ])?;
    Ok(updated > 0)
}

/// The verifier of what a device chose.
pub(crate) fn verifier(credential: &Credential) -> Option<Verifier> {
    match credential {
        Credential::Token(_, verifier) | Credential::Basic(_, verifier, _) => Some(*verifier),
        Credential::None | Credential::Derived(_) => None,
    }
}

/// The largest key of a device.
pub(crate) fn largest_key(connection: &Connection) -> Result<u64, StoreError> {
    let largest: Option<i64> =
        connection.query_row("SELECT max(device) FROM devices", [], |row| row.get(0))?;
    Ok(largest.unwrap_or(0).cast_unsigned())
}

/// Whether a device's row names a sealed value.
pub(crate) fn names(connection: &Connection, place: Place) -> Result<bool, StoreError> {
    let sql =
        "SELECT 1 FROM devices WHERE device = ? AND tenant = ? AND generation = ? AND verifier IS NOT NULL";
    let key = (place.record.cast_signed(), place.tenant.cast_signed(), place.generation.cast_signed());
    Ok(connection.prepare_cached(sql)?.query_row(key, |_| Ok(())).optional()?.is_some())
}

fn generation(credential: &Credential) -> i64 {
    credential.generation().map_or(0, |generation| generation.0.cast_signed())
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
    let key = DeviceKey(row.get::<_, i64>(0)?.cast_unsigned());
    let state = row.get_ref(4)?.as_str().ok().and_then(DeviceState::from_word);
    let record = DeviceRecord {
        key,
        tenant: TenantId(row.get::<_, i64>(1)?.cast_unsigned()),
        name: row.get(2)?,
        profile: ProfileId(row.get::<_, i64>(3)?.cast_unsigned()),
        state: state.ok_or_else(|| StoreError::corrupt("the state of device", key))?,
        state_since: Timestamp(row.get(5)?),
        credential: read_credential(row)?
            .ok_or_else(|| StoreError::corrupt("the credential of device", key))?,
        version: Version(row.get::<_, i64>(8)?.cast_unsigned()),
        gateway: row.get::<_, Option<i64>>(9)?.is_some(),
    };
    Ok(DeviceRow { record, label: row.get(12)? })
}

fn read_credential(row: &Row<'_>) -> Result<Option<Credential>, StoreError> {
    let generation = Generation(row.get::<_, i64>(7)?.cast_unsigned());
    let verifier = row.get::<_, Option<[u8; 32]>>(10)?.map(Verifier);
    let parts =
        row.get_ref(11)?.as_blob_or_null().map_err(|_| StoreError::corrupt("the parts of", generation))?;
    Ok(match (row.get_ref(6)?.as_str(), verifier, parts) {
        (Ok("none"), None, None) => Some(Credential::None),
        (Ok("token"), None, None) => Some(Credential::Derived(generation)),
        (Ok("chosen-token"), Some(verifier), None) => Some(Credential::Token(generation, verifier)),
        (Ok("mqtt-basic"), Some(verifier), Some(parts)) => {
            read_parts(parts).map(|parts| Credential::Basic(generation, verifier, parts))
        }
        _ => None,
    })
}
