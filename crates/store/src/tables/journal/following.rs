//! Reading the journal forwards, as it grows.

use super::{Cursor, Head, JournalEntry, Position, TIE, heads, read_entry, writers};
use crate::StoreError;
use crate::driver::{Sql, params};
use domain::TenantId;

/// Entries that follow a place in the journal. A writer's entries are in their order; those of several writers follow
/// each other writer by writer.
#[derive(Clone, Debug)]
pub struct Further {
    /// The entries.
    pub entries: Vec<JournalEntry>,
    /// The place behind all that was looked at.
    pub next: Cursor,
    /// Whether there is more already.
    pub more: bool,
}

/// What follows a place. Looks at `limit` entries of each writer at most. A writer's entries become visible in the order
/// of their numbers, so none is overlooked.
pub(super) fn after(
    sql: Sql<'_>,
    place: &Cursor,
    tenant: Option<TenantId>,
    limit: usize,
) -> Result<Further, StoreError> {
    let mut further = Further { entries: Vec::new(), next: place.clone(), more: false };
    for writer in writers(sql)? {
        if further.entries.len() >= limit {
            further.more = true;
            break;
        }
        follow(sql, writer, tenant, limit, &mut further)?;
    }
    Ok(further)
}

fn follow(
    sql: Sql<'_>,
    writer: u64,
    tenant: Option<TenantId>,
    limit: usize,
    further: &mut Further,
) -> Result<(), StoreError> {
    let text = "SELECT position, at, tenant, device, kind, actor, detail FROM journal
                WHERE position > ? AND position < ? ORDER BY position LIMIT ?";
    let from = further.next.of(writer);
    let end = Position { writer, number: Position::END };
    let mut scanned = 0;
    sql.each(text, params![from.packed(), end.packed(), limit as u64], |row| {
        scanned += 1;
        further.next.pass(Position::unpack(row.int(0)?));
        let of_tenant =
            tenant.map_or(Ok(true), |wanted| Ok::<_, StoreError>(row.unsigned(2)? == wanted.0))?;
        if of_tenant && row.text(4)? != TIE {
            further.entries.push(read_entry(row)?);
        }
        Ok(true)
    })?;
    further.more |= scanned == limit;
    Ok(())
}

/// The place behind all that there is.
pub(super) fn end(sql: Sql<'_>) -> Result<Cursor, StoreError> {
    Ok(Cursor::at(heads(sql)?.iter().map(|Head { position, .. }| *position)))
}
