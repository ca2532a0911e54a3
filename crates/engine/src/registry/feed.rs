//! What happens, as it happens: the journal read forwards from a place that the reader keeps.

use store::View;
use store::journal::{Cursor, JournalEntry};

use super::journal::cursor;
use super::public_id::public_id;
use super::{Operator, Registry, RegistryError, tenants};

/// The most entries that are looked at for one answer.
const MOST_TOGETHER: usize = 1000;

/// Where reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first entry that there is.
    Start,
    /// With what comes from now on.
    Now,
    /// Behind a place that an earlier answer gave.
    Place(String),
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// The place behind it, from where reading can go on.
    pub place: String,
    /// The name of the tenant it belongs to.
    pub tenant: Option<String>,
    /// The public id of the device it is about.
    pub device: Option<String>,
    /// The journal's entry.
    pub entry: JournalEntry,
}

/// What has happened behind a place.
#[derive(Clone, Debug)]
pub struct Events {
    /// The events, each server's in their order.
    pub events: Vec<Event>,
    /// The place behind all that was looked at.
    pub next: String,
    /// Whether there is more already.
    pub more: bool,
}

impl Registry {
    /// What has happened behind a place: of a tenant, or of all where an operator of the server names none.
    ///
    /// # Errors
    /// `tenant-not-found`; `value-invalid` for a place that no answer gave.
    pub fn events(
        &self,
        operator: &Operator,
        tenant: Option<&str>,
        from: &From,
        limit: Option<usize>,
    ) -> Result<Events, RegistryError> {
        let tenant = self.whose_journal(operator, tenant)?;
        let limit = limit.unwrap_or(MOST_TOGETHER).clamp(1, MOST_TOGETHER);
        let end = |view: &View<'_>| view.journal_end();
        let mut place = match from {
            From::Start => Cursor::start(),
            From::Now => self.store.read(end)?,
            From::Place(text) => cursor(text)?,
        };
        let (further, tenants) = self
            .store
            .read(|view| Ok((view.journal_after(&place, tenant, limit)?, tenants::names(view)?)))?;
        let keys = self.store.keys()?;
        let event = |entry: JournalEntry| {
            place.pass(entry.position);
            let device = entry.device.map(|device| public_id(keys, device));
            let tenant = entry.tenant.and_then(|tenant| tenants.get(&tenant).cloned());
            Event { place: place.to_string(), tenant, device, entry }
        };
        let events = further.entries.into_iter().map(event).collect();
        Ok(Events { events, next: further.next.to_string(), more: further.more })
    }
}
