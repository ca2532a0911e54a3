//! One verb for many devices, with a result for each.

use std::collections::HashSet;

use domain::{DeviceKey, DeviceState, Version};
use serde_json::json;
use store::{Change, DeviceRow};

use super::journal::Deed;
use super::selecting::Chosen;
use super::{DeviceChange, MOST_TOGETHER, Operator, Registry, RegistryError, Selector, Tenant, What};
use crate::ports::Farewell;

/// What is done with each of many devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkVerb {
    /// It is shut out.
    Disable,
    /// It is let in again.
    Enable,
    /// It leaves; with a grace period in the place of the profile's.
    Decommission(Option<u64>),
    /// What operators say of it is changed.
    Describe(DeviceChange),
}

/// What became of one device of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is changed; of a rehearsal: it would be.
    Changed,
    /// It was so already.
    Unchanged,
}

/// Devices that were chosen, in the order in which they are taken.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    named: Vec<String>,
    keys: Vec<DeviceKey>,
}

/// What became of devices, by name.
pub type BulkResults = Vec<(String, Result<Done, RegistryError>)>;

impl Targets {
    /// How many they are.
    pub fn count(&self) -> u64 {
        (self.named.len() + self.keys.len()) as u64
    }

    /// The next ones, at most as many as one transaction takes; `None` where there are no more.
    pub fn take_some(&mut self) -> Option<Targets> {
        let named: Vec<_> = self.named.drain(..self.named.len().min(MOST_TOGETHER)).collect();
        let room = MOST_TOGETHER - named.len();
        let keys: Vec<_> = self.keys.drain(..self.keys.len().min(room)).collect();
        (!named.is_empty() || !keys.is_empty()).then_some(Targets { named, keys })
    }
}

impl Registry {
    /// Who is chosen at this moment: of a selector all that it finds, else the names. Who comes in later was not
    /// agreed to.
    ///
    /// # Errors
    /// `profile-not-found` and `value-invalid` for a selector that names nothing.
    pub fn targets(&self, tenant: &Tenant, selector: &Selector) -> Result<Targets, RegistryError> {
        if let Some(names) = &selector.names {
            let mut known = HashSet::new();
            let named = names.iter().filter(|name| known.insert(*name)).cloned().collect();
            return Ok(Targets { named, keys: Vec::new() });
        }
        let chosen = self.chosen(tenant, selector)?;
        let (mut keys, mut known, mut cursor) = (Vec::new(), HashSet::new(), None);
        loop {
            let (rows, next) = self.page(tenant, &chosen, cursor.as_deref(), MOST_TOGETHER * 4)?;
            // One that is heard of meanwhile moves to a page behind, and stands there once more.
            keys.extend(rows.iter().map(|row| row.record.key).filter(|key| known.insert(*key)));
            cursor = next;
            if cursor.is_none() {
                return Ok(Targets { named: Vec::new(), keys });
            }
        }
    }

    /// Does something with each of some devices, all in one transaction, and says what became of each. One that does
    /// not fit the selector any more is left out. With `dry_run` it only says what would become of them.
    ///
    /// # Errors
    /// `value-invalid`; what the store says: then nothing has happened to any of them.
    pub fn bulk(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        verb: &BulkVerb,
        (selector, targets): (&Selector, &Targets),
        dry_run: bool,
    ) -> Result<BulkResults, RegistryError> {
        if let BulkVerb::Describe(wanted) = verb {
            wanted.check()?;
        }
        let bulk = Bulk { registry: self, operator, tenant, verb, chosen: self.chosen(tenant, selector)? };
        if dry_run {
            return bulk.rehearse(targets);
        }
        let results = self.store.write(|change: &mut Change<'_>| bulk.carry_out(change, targets))?;
        let keys: Vec<_> = results
            .iter()
            .filter(|(.., result)| matches!(result, Ok(Done::Changed)))
            .filter_map(|(_, key, _)| *key)
            .collect();
        match verb {
            BulkVerb::Disable => self.ports.sessions.close(&keys, Farewell::Disabled),
            BulkVerb::Decommission(_) => {
                self.ports.sessions.close(&keys, Farewell::Decommissioned);
                (self.work_due)();
            }
            BulkVerb::Enable | BulkVerb::Describe(_) => {}
        }
        Ok(results.into_iter().map(|(name, _, result)| (name, result)).collect())
    }
}

/// One call for some devices.
struct Bulk<'a> {
    registry: &'a Registry,
    operator: &'a Operator,
    tenant: &'a Tenant,
    verb: &'a BulkVerb,
    chosen: Chosen<'a>,
}

type One = (String, Option<DeviceKey>, Result<Done, RegistryError>);

impl Bulk<'_> {
    fn carry_out(&self, change: &mut Change<'_>, targets: &Targets) -> Result<Vec<One>, RegistryError> {
        let mut results = Vec::new();
        for (name, row) in self.rows(change, targets)? {
            let key = row.as_ref().map(|row| row.record.key);
            let result = match row {
                None => Err(RegistryError::not_found(What::Device, &name)),
                Some(row) => match self.one(change, &row) {
                    Err(RegistryError::Store(error)) => return Err(error.into()),
                    result => result,
                },
            };
            results.push((name, key, result));
        }
        Ok(results)
    }

    fn rehearse(&self, targets: &Targets) -> Result<BulkResults, RegistryError> {
        let rows = self.registry.store.read(|view| self.rows(view, targets))?;
        let would = |(name, row): (String, Option<DeviceRow>)| {
            let row = row.ok_or_else(|| RegistryError::not_found(What::Device, &name));
            let result = row.and_then(|row| self.would(&row));
            (name, result)
        };
        Ok(rows.into_iter().map(would).collect())
    }

    /// The devices as they stand. Those that do not fit the selector, or are gone and were not named, are left out.
    fn rows(
        &self,
        view: &store::View<'_>,
        targets: &Targets,
    ) -> Result<Vec<(String, Option<DeviceRow>)>, store::StoreError> {
        let mut rows = Vec::new();
        for name in &targets.named {
            let row = self.registry.find(view, self.tenant, name)?;
            if row.as_ref().is_none_or(|row| self.chosen.fits(row)) {
                rows.push((name.clone(), row));
            }
        }
        // Whoever holds several devices takes them in the order of their keys.
        let mut keys = targets.keys.clone();
        keys.sort_unstable();
        for key in keys {
            let row = view.device_by_key(self.tenant.id, key)?.filter(|row| self.chosen.takes(row));
            rows.extend(row.map(|row| (row.record.name.clone(), Some(row))));
        }
        Ok(rows)
    }

    /// What would become of a device.
    fn would(&self, row: &DeviceRow) -> Result<Done, RegistryError> {
        let state = row.record.state;
        let changes = match self.verb {
            BulkVerb::Disable => state.disable() != state,
            BulkVerb::Enable => state.enable() != state,
            BulkVerb::Decommission(_) => !state.is_leaving(),
            BulkVerb::Describe(wanted) => wanted.changes(row)?,
        };
        Ok(if changes { Done::Changed } else { Done::Unchanged })
    }

    fn one(&self, change: &mut Change<'_>, row: &DeviceRow) -> Result<Done, RegistryError> {
        let done = self.would(row)?;
        if done == Done::Unchanged {
            return Ok(done);
        }
        let (registry, operator) = (self.registry, self.operator);
        match self.verb {
            BulkVerb::Disable => self.move_to(change, row, "device-disabled", DeviceState::disable)?,
            BulkVerb::Enable => self.move_to(change, row, "device-enabled", DeviceState::enable)?,
            BulkVerb::Decommission(grace_ms) => registry.let_leave(change, operator, row, *grace_ms)?,
            BulkVerb::Describe(wanted) => {
                registry.describe(change, operator, row, wanted)?;
            }
        }
        Ok(done)
    }

    fn move_to(
        &self,
        change: &mut Change<'_>,
        row: &DeviceRow,
        kind: &'static str,
        to: fn(DeviceState) -> DeviceState,
    ) -> Result<(), RegistryError> {
        let record = row.record.clone();
        let moved = domain::DeviceRecord {
            state: to(record.state),
            version: Version(record.version.0 + 1),
            ..record
        };
        change.update_device(&moved)?;
        let deed = Deed::on(&moved, kind, json!({ "name": moved.name }));
        self.registry.journal(change, self.operator, &deed)
    }
}
