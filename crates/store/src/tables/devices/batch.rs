//! The device path on PostgreSQL: many devices by one statement, with arrays.

use std::collections::{HashMap, HashSet};

use domain::{DeviceKey, DeviceRecord, TenantId, Verifier, Version};

use super::{COLUMNS, generation, owed, parts, read_record, verifier};
use crate::StoreError;
use crate::driver::postgres::Transaction;
use crate::driver::{Param, Row, Sql};
use crate::error::storable;

/// The devices of these names, in their order.
pub(crate) fn named(
    sql: Sql<'_>,
    names: &[(TenantId, &str)],
) -> Result<Vec<Option<DeviceRecord>>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS}, place FROM UNNEST(?::bigint[], ?::text[]) WITH ORDINALITY AS wanted (whose, called, place)
         JOIN devices ON tenant = whose AND namespace = '' AND name_key = called"
    );
    let tenants: Vec<i64> = names.iter().map(|(tenant, _)| tenant.0.cast_signed()).collect();
    // Nothing that is stored holds U+0000, so nothing is found for it; the database does not even take it.
    let texts: Vec<&str> =
        names.iter().map(|(_, name)| if name.contains('\0') { "" } else { *name }).collect();
    placed(sql, &text, &[Param::array(&tenants), Param::array(&texts)], names.len())
}

/// The devices of these keys, in their order.
pub(crate) fn by_key(sql: Sql<'_>, keys: &[DeviceKey]) -> Result<Vec<Option<DeviceRecord>>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS}, place FROM UNNEST(?::bigint[]) WITH ORDINALITY AS wanted (which, place)
         JOIN devices ON device = which"
    );
    let wanted: Vec<i64> = keys.iter().map(|key| key.0.cast_signed()).collect();
    placed(sql, &text, &[Param::array(&wanted)], keys.len())
}

/// The devices that chose the credentials of these verifiers, in their order.
pub(crate) fn by_verifier(
    sql: Sql<'_>,
    verifiers: &[Verifier],
) -> Result<Vec<Option<DeviceRecord>>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS}, place FROM UNNEST(?::bytea[]) WITH ORDINALITY AS wanted (what, place)
         JOIN devices ON verifier = what"
    );
    let wanted: Vec<&[u8]> = verifiers.iter().map(|verifier| verifier.0.as_slice()).collect();
    placed(sql, &text, &[Param::array(&wanted)], verifiers.len())
}

fn placed(
    sql: Sql<'_>,
    text: &str,
    params: &[Param<'_>],
    count: usize,
) -> Result<Vec<Option<DeviceRecord>>, StoreError> {
    let mut found = vec![None; count];
    sql.each(text, params, |row| {
        let place = usize::try_from(row.int(row.last())? - 1).ok().and_then(|place| found.get_mut(place));
        if let Some(place) = place {
            *place = Some(read_record(row)?);
        }
        Ok(true)
    })?;
    Ok(found)
}

/// Inserts devices, and says which of them: the others' names or credentials are taken.
pub(crate) fn insert(sql: Sql<'_>, records: &[&DeviceRecord]) -> Result<HashSet<DeviceKey>, StoreError> {
    if records.is_empty() {
        return Ok(HashSet::new());
    }
    let text = "INSERT INTO devices (device, tenant, namespace, name_key, profile, state, state_since,
                    credential, generation, version, gateway, verifier, parts, owed)
                SELECT device, tenant, '', name_key, profile, state, state_since, credential, generation, version,
                    gateway, verifier, parts, owed
                FROM UNNEST(?::bigint[], ?::bigint[], ?::text[], ?::bigint[], ?::text[], ?::bigint[], ?::text[],
                    ?::bigint[], ?::bigint[], ?::bigint[], ?::bytea[], ?::bytea[], ?::bigint[])
                    AS new (device, tenant, name_key, profile, state, state_since, credential, generation, version,
                        gateway, verifier, parts, owed)
                ON CONFLICT DO NOTHING RETURNING device";
    // Servers that take the same names take them in the same order, so that they do not wait in a circle.
    let mut sorted = records.to_vec();
    sorted.sort_by(|one, other| (one.tenant, &one.name).cmp(&(other.tenant, &other.name)));
    let columns = Columns::of(&sorted)?;
    let identity = [
        Param::array(&columns.device),
        Param::array(&columns.tenant),
        Param::array(&columns.name),
        Param::array(&columns.profile),
    ];
    columns.write(sql, text, identity)
}

/// Writes devices over the versions that stand, and says which of them: the others are not what they were, or
/// their credentials are taken.
pub(crate) fn update(
    transaction: &Transaction,
    records: &[(&DeviceRecord, Version)],
) -> Result<HashSet<DeviceKey>, StoreError> {
    let sql = Sql::Postgres(transaction);
    let standing = lock(sql, records)?;
    let records: Vec<&(&DeviceRecord, Version)> = records
        .iter()
        .filter(|(record, stands)| standing.get(&record.key) == Some(&(record.tenant, *stands)))
        .collect();
    if records.is_empty() {
        return Ok(HashSet::new());
    }
    if let Some(all) = transaction.tried(|| write_over(sql, &records))? {
        return Ok(all);
    }
    // One of them chose what another one holds: each alone, so that it loses alone.
    let mut written = HashSet::new();
    for record in records {
        written.extend(transaction.tried(|| write_over(sql, &[record]))?.unwrap_or_default());
    }
    Ok(written)
}

/// Locks rows in the order of their keys.
fn lock(
    sql: Sql<'_>,
    records: &[(&DeviceRecord, Version)],
) -> Result<HashMap<DeviceKey, (TenantId, Version)>, StoreError> {
    let text = "SELECT device, tenant, version FROM devices WHERE device = ANY(?) ORDER BY device FOR UPDATE";
    let keys: Vec<i64> = records.iter().map(|(record, _)| record.key.0.cast_signed()).collect();
    let read = |row: &Row<'_>| {
        Ok((DeviceKey(row.unsigned(0)?), (TenantId(row.unsigned(1)?), Version(row.unsigned(2)?))))
    };
    Ok(sql.query(text, &[Param::array(&keys)], read)?.into_iter().collect())
}

fn write_over(sql: Sql<'_>, records: &[&(&DeviceRecord, Version)]) -> Result<HashSet<DeviceKey>, StoreError> {
    let text = "UPDATE devices SET state = new.state, state_since = new.state_since, credential = new.credential,
                    generation = new.generation, version = new.version, gateway = new.gateway,
                    verifier = new.verifier, parts = new.parts, owed = new.owed,
                    created_at = coalesce(devices.created_at, devices.state_since)
                FROM UNNEST(?::bigint[], ?::bigint[], ?::bigint[], ?::text[], ?::bigint[], ?::text[], ?::bigint[],
                    ?::bigint[], ?::bigint[], ?::bytea[], ?::bytea[], ?::bigint[])
                    AS new (device, tenant, stands, state, state_since, credential, generation, version, gateway,
                        verifier, parts, owed)
                WHERE devices.device = new.device AND devices.tenant = new.tenant AND devices.version = new.stands
                RETURNING devices.device";
    let plain: Vec<&DeviceRecord> = records.iter().map(|(record, _)| *record).collect();
    let columns = Columns::of(&plain)?;
    let stands: Vec<i64> = records.iter().map(|(_, stands)| stands.0.cast_signed()).collect();
    let identity = [Param::array(&columns.device), Param::array(&columns.tenant), Param::array(&stands)];
    columns.write(sql, text, identity)
}

/// Writes one device, as an operator does. `false` where another version stands or its credentials are taken.
pub(super) fn update_one(
    transaction: &Transaction,
    record: &DeviceRecord,
    stands: Version,
) -> Result<bool, StoreError> {
    Ok(update(transaction, &[(record, stands)])?.contains(&record.key))
}

/// Devices, column by column.
struct Columns<'a> {
    device: Vec<i64>,
    tenant: Vec<i64>,
    name: Vec<&'a str>,
    profile: Vec<i64>,
    state: Vec<&'a str>,
    state_since: Vec<i64>,
    credential: Vec<&'a str>,
    generation: Vec<i64>,
    version: Vec<i64>,
    gateway: Vec<Option<i64>>,
    verifier: Vec<Option<Vec<u8>>>,
    parts: Vec<Option<Vec<u8>>>,
    owed: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn of(records: &[&'a DeviceRecord]) -> Result<Columns<'a>, StoreError> {
        let each = |column: fn(&DeviceRecord) -> u64| {
            records.iter().map(|record| column(record).cast_signed()).collect::<Vec<i64>>()
        };
        let name = |record: &&'a DeviceRecord| storable(&record.name, "the device's name");
        Ok(Columns {
            device: each(|record| record.key.0),
            tenant: each(|record| record.tenant.0),
            name: records.iter().map(name).collect::<Result<_, _>>()?,
            profile: each(|record| record.profile.0),
            state: records.iter().map(|record| record.state.word()).collect(),
            state_since: records.iter().map(|record| record.state_since.0).collect(),
            credential: records.iter().map(|record| record.credential.kind()).collect(),
            generation: records.iter().map(|record| generation(&record.credential)).collect(),
            version: each(|record| record.version.0),
            gateway: records.iter().map(|record| record.gateway.then_some(1)).collect(),
            verifier: records
                .iter()
                .map(|record| verifier(&record.credential).map(|verifier| verifier.0.to_vec()))
                .collect(),
            parts: records.iter().map(|record| parts(&record.credential)).collect(),
            owed: records.iter().map(|record| owed(record.owed)).collect(),
        })
    }

    /// Runs a statement that takes what identifies each device, then all that may change; returns whom it wrote.
    fn write<'p>(
        &'p self,
        sql: Sql<'_>,
        text: &str,
        identity: impl IntoIterator<Item = Param<'p>>,
    ) -> Result<HashSet<DeviceKey>, StoreError> {
        let changing = [
            Param::array(&self.state),
            Param::array(&self.state_since),
            Param::array(&self.credential),
            Param::array(&self.generation),
            Param::array(&self.version),
            Param::array(&self.gateway),
            Param::array(&self.verifier),
            Param::array(&self.parts),
            Param::array(&self.owed),
        ];
        let params: Vec<Param<'_>> = identity.into_iter().chain(changing).collect();
        Ok(sql.query(text, &params, |row| row.unsigned(0).map(DeviceKey))?.into_iter().collect())
    }
}
