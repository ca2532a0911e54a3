//! Entries on their way into a PostgreSQL: all of a transaction by one statement.

use super::Position;
use crate::StoreError;
use crate::driver::{Param, Sql};
use crate::journal_chain::{Header, Link};

/// An entry as it will be stored.
pub(super) struct Written {
    position: i64,
    at: i64,
    tenant: i64,
    device: Option<i64>,
    kind: String,
    actor: String,
    key_id: i64,
    detail: Vec<u8>,
    link: Link,
}

impl Written {
    pub(super) fn new(position: Position, header: &Header<'_>, detail: Vec<u8>, link: Link) -> Written {
        Written {
            position: position.packed(),
            at: header.at,
            tenant: header.tenant.cast_signed(),
            device: header.device.map(u64::cast_signed),
            kind: header.kind.to_owned(),
            actor: header.actor.to_owned(),
            key_id: i64::from(header.key_id),
            detail,
            link,
        }
    }
}

/// Inserts them, and ends the transaction.
pub(super) fn insert(sql: Sql<'_>, entries: &[Written]) -> Result<(), StoreError> {
    let text = "INSERT INTO journal (position, at, tenant, device, kind, actor, key_id, detail, link)
                SELECT * FROM UNNEST(?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::text[], ?::text[],
                    ?::bigint[], ?::bytea[], ?::bytea[])";
    let ints = |column: fn(&Written) -> i64| entries.iter().map(column).collect::<Vec<i64>>();
    let (positions, times) = (ints(|entry| entry.position), ints(|entry| entry.at));
    let (tenants, keys) = (ints(|entry| entry.tenant), ints(|entry| entry.key_id));
    let devices: Vec<Option<i64>> = entries.iter().map(|entry| entry.device).collect();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    let actors: Vec<&str> = entries.iter().map(|entry| entry.actor.as_str()).collect();
    let details: Vec<&[u8]> = entries.iter().map(|entry| entry.detail.as_slice()).collect();
    let links: Vec<&[u8]> = entries.iter().map(|entry| entry.link.as_slice()).collect();
    let params = [
        Param::array(&positions),
        Param::array(&times),
        Param::array(&tenants),
        Param::array(&devices),
        Param::array(&kinds),
        Param::array(&actors),
        Param::array(&keys),
        Param::array(&details),
        Param::array(&links),
    ];
    sql.execute_last(text, &params)?;
    Ok(())
}
