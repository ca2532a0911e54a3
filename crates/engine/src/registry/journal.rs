//! What operators did, what devices tried, and whether the record of both is whole.

use std::collections::HashMap;

use domain::{DeviceKey, DeviceRecord, Refusal, TenantId, Timestamp};
use serde_json::Value;
use store::Change;
use store::journal::{
    ATTEMPT, Cursor, Head, JournalEntry, JournalPage, JournalQuery, NewEntry, PROVISION, Verification,
    What as Happened,
};

use super::{Operator, Registry, RegistryError, Tenant, tenants};

/// The most attempts on one page.
const MOST_PER_PAGE: usize = 1000;
const USUAL_PER_PAGE: usize = 100;
/// Attempts of one name that are looked at together: those of other tenants' devices may be among them.
const LAST_LOOKED_AT: usize = 16;
/// The most stretches of the journal that one call looks through; the next call goes on from there.
const MOST_STRETCHES: usize = 10;

/// An attempt to provision, or several equal ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When; of several equal ones the first that was only counted.
    pub at: Timestamp,
    /// The name of the tenant, where the attempt named something that belongs to one.
    pub tenant: Option<String>,
    /// The address it came from.
    pub source: Option<String>,
    /// The wire it came by.
    pub wire: String,
    /// The name of the profile, where it named one.
    pub profile: Option<String>,
    /// The registration id that was claimed or given.
    pub name: Option<String>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// How many equal ones this stands for.
    pub count: u64,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// A device was given credentials.
    Granted,
    /// The same was told again.
    Unchanged,
    /// It was refused, by the code of the refusal.
    Refused(String),
}

impl Attempt {
    /// Why it was refused, where it was.
    pub fn refusal(&self) -> Option<Refusal> {
        match &self.outcome {
            AttemptOutcome::Refused(code) => Refusal::of_code(code),
            AttemptOutcome::Granted | AttemptOutcome::Unchanged => None,
        }
    }
}

/// Which attempts.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttemptQuery<'a> {
    /// Only those of this tenant.
    pub tenant: Option<&'a str>,
    /// Only those that named this registration id.
    pub name: Option<&'a str>,
    /// Only those older than this cursor.
    pub before: Option<&'a str>,
    /// How many at most.
    pub limit: Option<usize>,
}

/// One page of attempts, the newest first. It may hold fewer than were asked for although there are more.
#[derive(Clone, Debug)]
pub struct AttemptPage {
    /// The attempts.
    pub attempts: Vec<Attempt>,
    /// The cursor of the next page; `None` at the end.
    pub next: Option<String>,
}

/// What an operator did, for the journal.
pub(super) struct Deed {
    tenant: Option<TenantId>,
    device: Option<DeviceKey>,
    kind: &'static str,
    detail: Value,
}

// === impl Deed ===

impl Deed {
    /// Something done to a tenant's things, or to the server.
    pub(super) fn of(tenant: impl Into<Option<TenantId>>, kind: &'static str, detail: Value) -> Deed {
        Deed { tenant: tenant.into(), device: None, kind, detail }
    }

    /// Something done to a device.
    pub(super) fn on(device: &DeviceRecord, kind: &'static str, detail: Value) -> Deed {
        Deed { tenant: Some(device.tenant), device: Some(device.key), kind, detail }
    }
}

// === impl Registry ===

impl Registry {
    /// What devices tried, the newest first: those that an operator may see.
    ///
    /// # Errors
    /// `tenant-not-found`; `value-invalid` for a cursor that is none.
    pub fn attempts(
        &self,
        operator: &Operator,
        query: AttemptQuery<'_>,
    ) -> Result<AttemptPage, RegistryError> {
        let tenant = self.whose_journal(operator, query.tenant)?;
        let limit = query.limit.unwrap_or(USUAL_PER_PAGE).clamp(1, MOST_PER_PAGE);
        let mut before = query.before.map(cursor).transpose()?;
        let tenants = self.store.read(tenants::names)?;
        let mut attempts = Vec::new();
        for _ in 0..MOST_STRETCHES {
            let (left, from) = (limit - attempts.len(), before.as_ref());
            let page = self.stretch(tenant, None, from, left)?;
            let found = page.entries.into_iter().map(|entry| attempt(&entry, &tenants));
            attempts.extend(found.filter(|it| query.name.is_none() || it.name.as_deref() == query.name));
            before = page.next;
            if before.is_none() || attempts.len() == limit {
                break;
            }
        }
        Ok(AttemptPage { attempts, next: before.map(|cursor| cursor.to_string()) })
    }

    /// What a device tried last under a name, as far as the operator may see it and it is among the newest entries.
    pub(super) fn last_attempt(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        device: Option<&DeviceRecord>,
        name: &str,
    ) -> Result<Option<Attempt>, RegistryError> {
        // Keys of devices begin at 1.
        let about = Some((device.map_or(DeviceKey(0), |device| device.key), name));
        // An attempt with a key that nobody knows names no tenant's things.
        let of = (!operator.hears_nobodys(tenant.id)).then_some(tenant.id);
        let tenants = self.store.read(tenants::names)?;
        let mut before = None;
        for _ in 0..MOST_STRETCHES {
            let page = self.stretch(of, about, before.as_ref(), LAST_LOOKED_AT)?;
            let ours = |entry: &&JournalEntry| entry.tenant.is_none_or(|of| of == tenant.id);
            if let Some(entry) = page.entries.iter().find(ours) {
                return Ok(Some(attempt(entry, &tenants)));
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        Ok(None)
    }

    /// The next attempts in a stretch of the journal; there may be more although there are none.
    fn stretch(
        &self,
        tenant: Option<TenantId>,
        about: Option<(DeviceKey, &str)>,
        before: Option<&Cursor>,
        limit: usize,
    ) -> Result<JournalPage, RegistryError> {
        let wanted = JournalQuery { tenant, about, kinds: &[PROVISION, ATTEMPT], before, limit };
        Ok(self.store.read(|view| view.journal(&wanted))?)
    }

    /// Whose entries an operator reads: those of the tenant named, or of all where an operator of the server names none.
    pub(super) fn whose_journal(
        &self,
        operator: &Operator,
        named: Option<&str>,
    ) -> Result<Option<TenantId>, RegistryError> {
        match (named, operator.require_server()) {
            (None, Ok(())) => Ok(None),
            (named, _) => Ok(Some(self.tenant(operator, named)?.id)),
        }
    }

    /// The ends of the journal's chains: kept elsewhere, they show later that nothing was cut off.
    ///
    /// # Errors
    /// `right-missing`; what the store says.
    pub fn journal_heads(&self, operator: &Operator) -> Result<Vec<Head>, RegistryError> {
        operator.require_server()?;
        Ok(self.store.journal_heads()?)
    }

    /// Walks along the journal's chains, and compares them with heads that were kept elsewhere.
    ///
    /// # Errors
    /// `right-missing`; what the store says.
    pub fn verify_journal(
        &self,
        operator: &Operator,
        heads: Option<&[Head]>,
    ) -> Result<Verification, RegistryError> {
        operator.require_server()?;
        Ok(self.store.verify_journal(heads)?)
    }

    /// Journals what an operator did, in the transaction that does it.
    pub(super) fn journal(
        &self,
        change: &mut Change<'_>,
        operator: &Operator,
        deed: &Deed,
    ) -> Result<(), RegistryError> {
        let mut detail = deed.detail.clone();
        if let (Some(members), Some(source)) = (detail.as_object_mut(), operator.source) {
            members.insert("source".to_owned(), source.to_string().into());
        }
        let what = Happened::Audit { kind: deed.kind.to_owned(), actor: operator.actor.clone(), detail };
        Ok(change.append(&NewEntry { tenant: deed.tenant, device: deed.device, what }, self.now())?)
    }
}

pub(super) fn cursor(text: &str) -> Result<Cursor, RegistryError> {
    text.parse().map_err(|()| RegistryError::invalid("cursor", "it is not one that a listing gave."))
}

/// An entry as an attempt. Of one whose detail was erased, the header is left.
fn attempt(entry: &JournalEntry, tenants: &HashMap<TenantId, String>) -> Attempt {
    let text = |field: &str| {
        let value = entry.detail.as_ref().and_then(|detail| detail.get(field));
        value.and_then(Value::as_str).map(str::to_owned)
    };
    let number = |field: &str| entry.detail.as_ref().and_then(|detail| detail.get(field));
    let outcome = match text("outcome") {
        _ if entry.kind == PROVISION => AttemptOutcome::Granted,
        Some(outcome) if outcome == "unchanged" => AttemptOutcome::Unchanged,
        Some(code) => AttemptOutcome::Refused(code),
        None => AttemptOutcome::Refused("erased".to_owned()),
    };
    Attempt {
        at: number("at").and_then(Value::as_i64).map_or(entry.at, Timestamp),
        tenant: entry.tenant.and_then(|tenant| tenants.get(&tenant).cloned()),
        source: text("source"),
        wire: text("wire").unwrap_or_default(),
        profile: text("profile"),
        name: text("name"),
        outcome,
        count: number("count").and_then(Value::as_u64).unwrap_or(1),
    }
}
