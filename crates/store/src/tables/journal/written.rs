//! Entries on their way into the journal: first without their place in its chain, then with it.

use super::{Head, Position};
use crate::StoreError;
use crate::driver::{Param, Sql, params};
use crate::journal_chain::{self, Header, Link};
use crate::secrets::Keys;

/// An entry that has no place in the chain yet.
pub(super) struct Unlinked {
    pub(super) at: i64,
    pub(super) tenant: u64,
    pub(super) device: Option<u64>,
    pub(super) kind: String,
    pub(super) actor: String,
    pub(super) key_id: u32,
    pub(super) detail: Vec<u8>,
}

/// The entries of a transaction, in their order.
#[derive(Default)]
pub(crate) struct Entries(Vec<Unlinked>);

impl Entries {
    pub(super) fn push(&mut self, entry: Unlinked) {
        self.0.push(entry);
    }

    /// Links them to where the chain ends, writes them as the last of the transaction, which on PostgreSQL ends it,
    /// and says where the chain then ends.
    pub(crate) fn write(self, sql: Sql<'_>, keys: &Keys, head: &Head) -> Result<Head, StoreError> {
        let mut end = head.clone();
        let linked = self.0.into_iter().map(|entry| entry.follow(&mut end, keys));
        let linked: Vec<Linked> = linked.collect::<Result<_, _>>()?;
        match sql {
            _ if linked.is_empty() => {}
            Sql::Sqlite(_) => linked.iter().try_for_each(|it| it.insert(sql))?,
            Sql::Postgres(_) => insert_all(sql, &linked)?,
        }
        Ok(end)
    }
}

/// An entry as it will be stored.
struct Linked {
    position: i64,
    entry: Unlinked,
    link: Link,
}

impl Unlinked {
    /// Takes the place behind `head`, which then is where the chain ends.
    fn follow(self, head: &mut Head, keys: &Keys) -> Result<Linked, StoreError> {
        let position = Position { writer: head.position.writer, number: head.position.number + 1 };
        let key = keys.journal_key(self.key_id);
        let link =
            key.and_then(|key| journal_chain::link(key, &head.link, &self.header(position), &self.detail));
        let link = link.ok_or_else(|| StoreError::SecretUnreadable("the journal key".to_owned()))?;
        *head = Head { position, link };
        Ok(Linked { position: position.packed(), entry: self, link })
    }

    fn header(&self, position: Position) -> Header<'_> {
        Header {
            writer: position.writer,
            number: position.number,
            at: self.at,
            tenant: self.tenant,
            device: self.device,
            key_id: self.key_id,
            kind: &self.kind,
            actor: &self.actor,
        }
    }
}

impl Linked {
    fn insert(&self, sql: Sql<'_>) -> Result<(), StoreError> {
        let text = "INSERT INTO journal (position, at, tenant, device, kind, actor, key_id, detail, link)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let Linked { position, entry, link } = self;
        let params = params![
            *position,
            entry.at,
            entry.tenant,
            entry.device,
            entry.kind.as_str(),
            entry.actor.as_str(),
            entry.key_id,
            entry.detail.as_slice(),
            link,
        ];
        sql.execute(text, params)?;
        Ok(())
    }
}

fn insert_all(sql: Sql<'_>, entries: &[Linked]) -> Result<(), StoreError> {
    let text = "INSERT INTO journal (position, at, tenant, device, kind, actor, key_id, detail, link)
                SELECT * FROM UNNEST(?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::text[], ?::text[],
                    ?::bigint[], ?::bytea[], ?::bytea[])";
    let ints = |column: fn(&Linked) -> i64| entries.iter().map(column).collect::<Vec<i64>>();
    let (positions, times) = (ints(|it| it.position), ints(|it| it.entry.at));
    let (tenants, keys) = (ints(|it| it.entry.tenant.cast_signed()), ints(|it| i64::from(it.entry.key_id)));
    let devices: Vec<Option<i64>> = entries.iter().map(|it| it.entry.device.map(u64::cast_signed)).collect();
    let kinds: Vec<&str> = entries.iter().map(|it| it.entry.kind.as_str()).collect();
    let actors: Vec<&str> = entries.iter().map(|it| it.entry.actor.as_str()).collect();
    let details: Vec<&[u8]> = entries.iter().map(|it| it.entry.detail.as_slice()).collect();
    let links: Vec<&[u8]> = entries.iter().map(|it| it.link.as_slice()).collect();
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
