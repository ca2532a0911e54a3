//! How devices leave: one verb, whatever they have joined; and how they are taken back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::plan::{OperationKind, Phase};
use domain::{OperationId, Timestamp};
use serde_json::json;
use store::journal::{Head, JournalEntry, JournalQuery};
use store::{Change, DeviceRow, OperationQuery, StepRow};

use super::journal::{Deed, cursor};
use super::operations::{leave, take_back};
use super::selecting::Chosen;
use super::{Device, Operator, Registry, RegistryError, Selector, Tenant, What};
use crate::ports::Farewell;

/// The most devices that one call lets leave.
pub const MOST_TOGETHER: usize = 500;

/// What came of one call for many devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The names of those that leave now, or would.
    pub names: Vec<String>,
    /// How many of them each neighbour would be told to undo, by its name; only of those that would leave.
    pub would_retire: BTreeMap<String, u64>,
    /// Where the next call goes on; `None` where all were looked at.
    pub next: Option<String>,
}

/// A device with all that is known of its life: what a report of its leaving is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The device.
    pub device: Device,
    /// Its attributes, by key; the values are JSON.
    pub attributes: Vec<(String, String)>,
    /// Every step that was ever planned for it.
    pub steps: Vec<StepRow>,
    /// Its newest operation, where that is not done.
    pub pending: Option<OperationId>,
    /// When its name is freed, while it can be taken back.
    pub grace_until: Option<Timestamp>,
}

/// A text and its signature by the server's report key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The public key.
    pub public_key: [u8; 32],
    /// The signature.
    pub signature: [u8; 64],
}

/// The most entries of a timeline on one page, and how many stretches of the journal are looked through for them;
/// the next page goes on from there.
const MOST_ENTRIES: usize = 1000;
const USUAL_ENTRIES: usize = 100;
const MOST_STRETCHES: usize = 10;

// === impl Registry ===

impl Registry {
    /// Lets a device leave: its credentials are void at once, its sessions end, everyone who knows it is told,
    /// and after the grace period its name is free. `grace_ms` in the place of the profile's.
    ///
    /// # Errors
    /// `device-not-found`; `device-leaving` where it leaves already.
    pub fn decommission_device(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
        grace_ms: Option<u64>,
    ) -> Result<Device, RegistryError> {
        let key = self.store.write(|change: &mut Change<'_>| {
            let row = self.existing(change, tenant, name)?;
            self.let_leave(change, operator, &row, grace_ms)?;
            Ok::<_, RegistryError>(row.record.key)
        })?;
        self.ports.sessions.close(&[key], Farewell::Decommissioned);
        (self.work_due)();
        // Without grace it may be gone by now.
        Ok(self.life(tenant, name)?.device)
    }

    /// Lets the next devices that a selector finds leave, [`MOST_TOGETHER`] at most; `after` is where the call
    /// before ended. With `dry_run` nothing happens.
    ///
    /// # Errors
    /// `profile-not-found` and `value-invalid` for a selector that names nothing, or too much; what the store says.
    pub fn decommission_devices(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        selector: &Selector,
        grace_ms: Option<u64>,
        after: Option<&str>,
        dry_run: bool,
    ) -> Result<Left, RegistryError> {
        let chosen = self.chosen(tenant, selector)?;
        let (rows, next) = match &selector.names {
            Some(names) => (self.named(tenant, names, after)?, None),
            None => self.page(tenant, &chosen, after, MOST_TOGETHER)?,
        };
        let rows: Vec<DeviceRow> = rows.into_iter().filter(|row| may_leave(&chosen, row)).collect();
        let mut names: Vec<String> = rows.iter().map(|row| row.record.name.clone()).collect();
        let mut would_retire = BTreeMap::new();
        if dry_run {
            would_retire = self.would_retire(&rows)?;
        } else if !rows.is_empty() {
            names = self.let_all_leave(operator, &rows, &chosen, grace_ms)?;
        }
        Ok(Left { names, would_retire, next })
    }

    /// The devices of these names, as far as they are there.
    pub(super) fn named(
        &self,
        tenant: &Tenant,
        names: &[String],
        after: Option<&str>,
    ) -> Result<Vec<DeviceRow>, RegistryError> {
        if names.len() > MOST_TOGETHER || after.is_some() {
            let detail = format!("there are at most {MOST_TOGETHER} in a call, and no cursor beside them.");
            return Err(RegistryError::invalid("names", detail));
        }
        // A name that stands there twice leaves once.
        let names: BTreeSet<&String> = names.iter().collect();
        let rows = self.store.read(|view| {
            names.iter().map(|name| view.device_named(tenant.id, name)).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn would_retire(&self, rows: &[DeviceRow]) -> Result<BTreeMap<String, u64>, RegistryError> {
        let devices: Vec<_> = rows.iter().map(|row| row.record.key).collect();
        let known = self.store.read(|view| view.steps_of_each(&devices))?;
        let mut counts = BTreeMap::new();
        for step in known.values().flat_map(|steps| domain::plan::leaving(steps)) {
            *counts.entry(step.connector).or_default() += 1;
        }
        Ok(counts)
    }

    /// Takes a leaving device back while its grace lasts: it is expected, as if it had never come.
    ///
    /// # Errors
    /// `device-not-found`; `device-not-leaving`; `grace-over`, also while neighbours have still to be told.
    pub fn restore_device(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Device, RegistryError> {
        let now = self.now();
        self.store.write(|change: &mut Change<'_>| {
            let leaving = self.existing(change, tenant, name)?.record;
            let restored = take_back(change, leaving, now)?;
            let detail = json!({ "name": restored.name });
            self.journal(change, operator, &Deed::on(&restored, "device-restored", detail))
        })?;
        self.device(tenant, name)
    }

    /// A device with all that is known of its life, also after it is gone.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn life(&self, tenant: &Tenant, name: &str) -> Result<Life, RegistryError> {
        let found = self.store.read(|view| {
            let Some(row) = self.find_departed(view, tenant, name)? else { return Ok(None) };
            let key = row.record.key;
            let (steps, attributes) = (view.steps_of(key)?, view.attributes(key)?);
            let grace_until = view.grace_of(key)?;
            let newest = OperationQuery {
                tenant: tenant.id,
                device: Some(key),
                stopped: false,
                before: None,
                limit: 1,
            };
            let newest = view.operations(&newest)?.pop();
            let pending = newest.filter(|row| row.phase != Phase::Done).map(|row| row.id);
            let device = self.shown(view, row, &mut HashMap::new())?;
            Ok(Some(Life { device, attributes, steps, pending, grace_until }))
        })?;
        found.ok_or_else(|| RegistryError::not_found(What::Device, name))
    }

    /// What happened to a device: a page of the journal's entries that speak of it, the newest first, and the
    /// cursor of the next page. It may hold fewer than were asked for although there are more.
    ///
    /// # Errors
    /// `device-not-found`; `value-invalid` for a cursor that is none.
    pub fn timeline(
        &self,
        tenant: &Tenant,
        name: &str,
        before: Option<&str>,
        limit: Option<usize>,
    ) -> Result<(Vec<JournalEntry>, Option<String>), RegistryError> {
        let limit = limit.unwrap_or(USUAL_ENTRIES).clamp(1, MOST_ENTRIES);
        let row = self.store.read(|view| self.find_departed(view, tenant, name))?;
        let record = row.ok_or_else(|| RegistryError::not_found(What::Device, name))?.record;
        let about = Some((record.key, record.name.as_str()));
        let (mut entries, mut before) = (Vec::new(), before.map(cursor).transpose()?);
        for _ in 0..MOST_STRETCHES {
            let (tenant, left) = (Some(tenant.id), limit - entries.len());
            let query = JournalQuery { tenant, about, kinds: &[], before: before.as_ref(), limit: left };
            let page = self.store.read(|view| view.journal(&query))?;
            entries.extend(page.entries);
            before = page.next;
            if before.is_none() || entries.len() == limit {
                break;
            }
        }
        Ok((entries, before.map(|cursor| cursor.to_string())))
    }

    /// Signs a report of a device's leaving, and journals that it was made.
    ///
    /// # Errors
    /// What the store says.
    pub fn sign_report(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
        text: &[u8],
    ) -> Result<Signed, RegistryError> {
        let signed = self.signed(text)?;
        self.store.write(|change: &mut Change<'_>| {
            let detail = json!({ "name": name });
            self.journal(change, operator, &Deed::of(tenant.id, "report-signed", detail))
        })?;
        Ok(signed)
    }

    /// The name of this server, as its journal has it.
    pub fn server_name(&self) -> String {
        self.store.server().to_owned()
    }

    /// The ends of the journal's chains, for a report that ties itself to them.
    ///
    /// # Errors
    /// What the store says.
    pub fn heads_for_report(&self) -> Result<Vec<Head>, RegistryError> {
        Ok(self.store.journal_heads()?)
    }

    /// The public key that reports are signed with.
    ///
    /// # Errors
    /// What the store says.
    pub fn report_key(&self) -> Result<[u8; 32], RegistryError> {
        self.signed(b"").map(|signed| signed.public_key)
    }

    fn signed(&self, text: &[u8]) -> Result<Signed, RegistryError> {
        let (public_key, signature) = self.store.keys()?.sign_report(text)?;
        Ok(Signed { public_key, signature })
    }

    /// Says who leaves of them.
    fn let_all_leave(
        &self,
        operator: &Operator,
        rows: &[DeviceRow],
        chosen: &Chosen<'_>,
        grace_ms: Option<u64>,
    ) -> Result<Vec<String>, RegistryError> {
        let left = self.store.write(|change: &mut Change<'_>| {
            let mut left = Vec::with_capacity(rows.len());
            for row in rows {
                // It may have moved since the page was read: what stands counts.
                let present = change.device_by_key(row.record.tenant, row.record.key)?;
                if let Some(present) = present.filter(|present| may_leave(chosen, present)) {
                    self.let_leave(change, operator, &present, grace_ms)?;
                    left.push(present.record);
                }
            }
            Ok::<_, RegistryError>(left)
        })?;
        let keys: Vec<_> = left.iter().map(|record| record.key).collect();
        self.ports.sessions.close(&keys, Farewell::Decommissioned);
        (self.work_due)();
        Ok(left.into_iter().map(|record| record.name).collect())
    }

    pub(super) fn let_leave(
        &self,
        change: &mut Change<'_>,
        operator: &Operator,
        row: &DeviceRow,
        grace_ms: Option<u64>,
    ) -> Result<(), RegistryError> {
        // Grace ends by the clock that all servers share.
        let (now, device) = (change.now(self.now())?, &row.record);
        let profile = change.profile_by_id(device.profile)?;
        let grace_ms = grace_ms.unwrap_or(profile.map_or(0, |row| row.profile.grace_period_ms));
        let until = now.plus_ms(grace_ms);
        let operation = leave(change, device, OperationKind::Leave, Some(until), now)?;
        let detail = json!({ "name": device.name, "operation": operation.0, "grace_until_ms": until.0 });
        self.journal(change, operator, &Deed::on(device, "device-left", detail))
    }
}

fn may_leave(chosen: &Chosen<'_>, row: &DeviceRow) -> bool {
    !row.record.state.is_leaving() && chosen.takes(row)
}
