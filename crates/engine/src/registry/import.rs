//! Expected devices, one or thousands at a time.

use std::collections::HashMap;

use domain::name::Name;
use domain::{Credential, DeviceKey, DeviceRecord, DeviceState, ProfileId, Timestamp, Version};
use serde_json::json;
use store::{Change, DeviceRow, StoreError};

use super::journal::Deed;
use super::labels::{DeviceChange, check_label, check_label_key, check_label_value};
use super::{Operator, Registry, RegistryError, Tenant, Unique, What, installers};

/// A device that is to be expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// Its registration id.
    pub name: String,
    /// The name of its profile.
    pub profile: String,
    /// The operators' own note; empty takes it away, `None` leaves it as it is.
    pub label: Option<String>,
    /// Labels that it is given, beside those that it has.
    pub labels: Vec<(String, String)>,
}

/// What became of one device of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is new.
    Created,
    /// It was there already, just so.
    Unchanged,
    /// It was there, and its label is now as was asked for.
    Updated,
}

/// What becomes of a device that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Refused,
    Updated,
}

/// One transaction's worth of devices.
struct Entering<'a> {
    registry: &'a Registry,
    operator: &'a Operator,
    tenant: &'a Tenant,
    existing: Existing,
    now: Timestamp,
    profiles: HashMap<&'a str, Option<ProfileId>>,
    keys: std::ops::Range<u64>,
}

impl Registry {
    /// Brings devices in, all in one transaction, and says what became of each. The same again changes
    /// nothing; a device of another profile is refused, and so is a profile that does not exist.
    ///
    /// # Errors
    /// What the store says; then none of them was brought in.
    pub fn import_devices(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        devices: &[&NewDevice],
    ) -> Result<Vec<Result<Imported, RegistryError>>, RegistryError> {
        self.enter(operator, tenant, devices, Existing::Updated)
    }

    pub(super) fn enter(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        devices: &[&NewDevice],
        existing: Existing,
    ) -> Result<Vec<Result<Imported, RegistryError>>, RegistryError> {
        let now = self.now();
        let keys = self.store.reserve_device_keys(devices.len() as u64)?;
        self.store.write(|change: &mut Change<'_>| {
            let profiles = HashMap::new();
            let mut entering =
                Entering { registry: self, operator, tenant, existing, now, profiles, keys: keys.clone() };
            devices.iter().map(|device| settled(entering.one(change, device))).collect()
        })
    }
}

/// What the store says ends the whole; any other no concerns one device.
fn settled(
    result: Result<Imported, RegistryError>,
) -> Result<Result<Imported, RegistryError>, RegistryError> {
    match result {
        Err(RegistryError::Store(error)) => Err(RegistryError::Store(error)),
        other => Ok(other),
    }
}

impl<'a> Entering<'a> {
    fn one(&mut self, change: &mut Change<'_>, wanted: &'a NewDevice) -> Result<Imported, RegistryError> {
        let name =
            Name::parse(&wanted.name).map_err(|refusal| RegistryError::broken_rule("name", refusal))?;
        check_label(wanted.label.as_deref())?;
        for (key, value) in &wanted.labels {
            check_label_key(key)?;
            check_label_value(value)?;
        }
        let profile = self.profile(change, &wanted.profile)?;
        match change.device_named(self.tenant.id, name.as_str())? {
            None => self.create(change, &name, profile, wanted),
            Some(_) if self.existing == Existing::Refused => {
                Err(RegistryError::Exists { what: Unique::Device, name: name.as_str().to_owned() })
            }
            Some(row) if installers::is_hidden(change, self.operator, row.record.key)? => {
                Err(RegistryError::Exists { what: Unique::Device, name: row.record.name })
            }
            Some(row) if row.record.profile != profile => Err(other_profile(change, &row.record)?),
            Some(row) => self.update(change, &row, wanted),
        }
    }

    fn profile(&mut self, change: &Change<'_>, name: &'a str) -> Result<ProfileId, RegistryError> {
        let known = match self.profiles.get(name) {
            Some(known) => *known,
            None => {
                let found = change.profile_by_name(self.tenant.id, name)?.map(|row| row.profile.id);
                self.profiles.insert(name, found);
                found
            }
        };
        known.ok_or_else(|| RegistryError::not_found(What::Profile, name))
    }

    fn create(
        &mut self,
        change: &mut Change<'_>,
        name: &Name,
        profile: ProfileId,
        wanted: &NewDevice,
    ) -> Result<Imported, RegistryError> {
        let key = self.keys.next().map(DeviceKey).ok_or(no_key())?;
        let record = DeviceRecord {
            key,
            tenant: self.tenant.id,
            name: name.as_str().to_owned(),
            profile,
            state: DeviceState::Expected,
            state_since: self.now,
            credential: Credential::None,
            gateway: false,
            owed: domain::Owed::default(),
            version: Version(1),
        };
        let label = wanted.label.as_deref().filter(|label| !label.is_empty());
        change.insert_expected(&record, label)?;
        for (label, value) in &wanted.labels {
            change.set_label((record.tenant, key), label, Some(value))?;
        }
        installers::remember(change, self.operator, self.tenant, key)?;
        let mut detail = json!({ "name": record.name, "profile": wanted.profile, "label": label });
        if !wanted.labels.is_empty() {
            detail["labels"] = wanted.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        }
        self.journal(change, &Deed::on(&record, "device-added", detail))?;
        Ok(Imported::Created)
    }

    fn update(
        &self,
        change: &mut Change<'_>,
        row: &DeviceRow,
        wanted: &NewDevice,
    ) -> Result<Imported, RegistryError> {
        let labels = wanted.labels.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        let said = DeviceChange { label: wanted.label.clone().map(Some), labels };
        let changed = self.registry.describe(change, self.operator, row, &said)?;
        Ok(if changed { Imported::Updated } else { Imported::Unchanged })
    }

    fn journal(&self, change: &mut Change<'_>, deed: &Deed) -> Result<(), RegistryError> {
        self.registry.journal(change, self.operator, deed)
    }
}

fn no_key() -> StoreError {
    StoreError::Unavailable("no device key is left".to_owned())
}

fn other_profile(change: &Change<'_>, record: &DeviceRecord) -> Result<RegistryError, StoreError> {
    let profile = change.profile_by_id(record.profile)?.map(|row| row.profile.name).unwrap_or_default();
    Ok(RegistryError::OtherProfile { name: record.name.clone(), profile })
}
