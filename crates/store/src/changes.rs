//! What other servers on the same PostgreSQL have changed: their part of the journal, read on from where we were.

use std::collections::HashMap;

use domain::DeviceKey;

use crate::StoreError;
use crate::driver::{Sql, params};
use crate::tables::attributes::AttributeScope;
use crate::tables::journal::{ATTEMPT, ATTRIBUTES_DELETED, ATTRIBUTES_SAVED, Head, Position, TIE, detail_in};

/// Entries of one writer that are read at once.
const MOST_READ: u32 = 5_000;

/// What others have changed since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Whether anything changed that is no device: profiles, secrets, tenants, operators.
    pub settings: bool,
    /// Devices that were given credentials, or changed by operators or steps.
    pub devices: Vec<DeviceKey>,
    /// Keys of attributes that devices share, and that operators set or took away.
    pub shared: Vec<(DeviceKey, Vec<String>)>,
}

/// How far each other writer's entries are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(HashMap<u64, u64>);

impl Seen {
    /// Nothing before these ends is of interest.
    pub(crate) fn from(heads: &[Head]) -> Seen {
        Seen(heads.iter().map(|head| (head.position.writer, head.position.number)).collect())
    }

    /// Reads on. A writer's entries become visible in the order of their numbers, so none is overlooked.
    pub(crate) fn advance(&mut self, sql: Sql<'_>, own: u64) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        for writer in sql.query("SELECT writer FROM journal_writers", params![], |row| row.unsigned(0))? {
            if writer != own {
                self.advance_one(sql, writer, &mut changes)?;
            }
        }
        changes.devices.sort_unstable();
        changes.devices.dedup();
        Ok(changes)
    }

    fn advance_one(&mut self, sql: Sql<'_>, writer: u64, changes: &mut Changes) -> Result<(), StoreError> {
        let number = self.0.entry(writer).or_default();
        let after = Position { writer, number: *number }.packed();
        let end = Position { writer: writer + 1, number: 0 }.packed();
        let text = "SELECT position, device, kind, detail FROM journal WHERE position > ? AND position < ?
                    ORDER BY position LIMIT ?";
        sql.each(text, params![after, end, MOST_READ], |row| {
            *number = Position::unpack(row.int(0)?).number;
            match (row.text(2)?, row.opt_unsigned(1)?) {
                (ATTEMPT | TIE, _) => {}
                (ATTRIBUTES_SAVED | ATTRIBUTES_DELETED, Some(device)) => {
                    changes.shared.extend(shared_keys(row.bytes(3)?).map(|keys| (DeviceKey(device), keys)));
                }
                (_, Some(device)) => changes.devices.push(DeviceKey(device)),
                // Who signs on and off changes nothing.
                (kind, None) if kind.starts_with("operator-sign") => {}
                (_, None) => changes.settings = true,
            }
            Ok(true)
        })
    }
}

/// The keys that an entry about attributes names, if they are of those that the device shares.
fn shared_keys(detail: &[u8]) -> Option<Vec<String>> {
    let detail = detail_in(detail)?;
    let is_shared = detail.get("scope")?.as_str() == Some(AttributeScope::Shared.word());
    let keys = detail.get("keys")?.as_array()?.iter().filter_map(|key| key.as_str().map(str::to_owned));
    is_shared.then(|| keys.collect())
}
