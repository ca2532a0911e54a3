//! Sealed values on their way into a PostgreSQL: all of them by one statement.

use domain::Timestamp;

use super::Unsealed;
use crate::StoreError;
use crate::driver::{Param, Sql, params};

/// Inserts values with what they were sealed as; one that stands there already stays.
pub(super) fn insert(
    sql: Sql<'_>,
    values: &[Unsealed],
    blobs: &[Vec<u8>],
    kek: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "INSERT INTO sealed (tenant, kind, record, field, generation, blob, kek_id, created_at)
                SELECT tenant, kind, record, field, generation, blob, ?, ?
                FROM UNNEST(?::bigint[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bytea[])
                    AS new (tenant, kind, record, field, generation, blob)
                ON CONFLICT DO NOTHING";
    let places = || values.iter().map(|value| value.place);
    let tenants: Vec<i64> = places().map(|place| place.tenant.cast_signed()).collect();
    let kinds: Vec<&str> = places().map(|place| place.kind.word()).collect();
    let records: Vec<String> = places().map(super::Place::record_text).collect();
    let fields: Vec<&str> = places().map(|place| place.kind.field()).collect();
    let generations: Vec<i64> = places().map(|place| place.generation.cast_signed()).collect();
    let [kek, now] = *params![kek, now];
    let params = [
        kek,
        now,
        Param::array(&tenants),
        Param::array(&kinds),
        Param::array(&records),
        Param::array(&fields),
        Param::array(&generations),
        Param::array(&blobs),
    ];
    sql.execute(text, &params)?;
    Ok(())
}
