//! Devices as operators' programs save them: whole, with credentials from the beginning.

use std::collections::HashMap;

use domain::name::{Name, random_text};
use domain::{Credential, DeviceKey, DeviceRecord, DeviceState, Generation, Owed, ProfileId, Version, Wish};
use serde_json::json;
use store::{Change, DeviceRow, StoreError, ToSeal};

use super::credentials::{Chosen, credential_free};
use super::journal::Deed;
use super::labels::check_label;
use super::{Device, Operator, Registry, RegistryError, Tenant, Unique, What, public_id};
use crate::ports::Farewell;

/// The most bytes of what programs keep with a device.
const MOST_INFO_BYTES: usize = 64 << 10;
/// Random characters behind a name that was taken.
const UNIQUE_CHARS: usize = 6;

/// A device as it is to be.
#[derive(Clone, Debug)]
pub struct DeviceSave {
    /// The public id of the one to be changed; `None` makes a new one.
    pub id: Option<String>,
    /// Its registration id.
    pub name: String,
    /// The profile it is to belong to.
    pub profile: ProfileWanted,
    /// The operators' own note.
    pub label: Option<String>,
    /// What operators' programs keep with it: a JSON object.
    pub additional_info: Option<String>,
    /// Whether it speaks for other devices.
    pub gateway: bool,
    /// The revision that it must be at; `None` takes it as it is.
    pub revision: Option<u64>,
    /// Its credentials; `None` lets the server make a token for a new one, and leaves an older one those it has.
    pub credentials: Option<Chosen>,
    /// What becomes of a new one whose name is taken; `None` refuses it.
    pub uniquify: Option<Uniquify>,
}

/// Which profile a device is to belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileWanted {
    /// The tenant's default one.
    Default,
    /// The one of this name, which is made where it is missing.
    Named(String),
    /// The one of this public id.
    Id(String),
}

/// How a name that is taken is made another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uniquify {
    /// What stands between the name and what is added.
    pub separator: String,
    /// Whether a number that counts up is added, or random characters.
    pub counting: bool,
}

/// What a save made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The device as it is now.
    pub device: Device,
    /// Whether it is new.
    pub created: bool,
}

/// A save whose secrets are sealed already.
struct Prepared<'a> {
    wanted: &'a DeviceSave,
    /// The one to be changed, or the number of a new one.
    key: DeviceKey,
    credential: Option<Credential>,
}

// === impl Registry ===

impl Registry {
    /// Makes a device, or writes one that is there. A new one has credentials from the beginning: it connects with
    /// them, and is expected until it provisions.
    ///
    /// # Errors
    /// `value-invalid`, `device-exists`, `device-not-found`, `revision-changed`, `profile-not-found`,
    /// `credentials-in-use`, or a rule that the credentials break.
    pub fn save_device(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        wanted: &DeviceSave,
    ) -> Result<Saved, RegistryError> {
        let saved = self.save_devices(operator, tenant, std::slice::from_ref(wanted))?;
        saved.into_iter().next().ok_or_else(|| RegistryError::not_found(What::Device, &wanted.name))?
    }

    /// Saves many devices in one transaction, and says what became of each; one that cannot be saved leaves the
    /// others alone.
    ///
    /// # Errors
    /// What the store says; then none of them was saved.
    pub fn save_devices(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        wanted: &[DeviceSave],
    ) -> Result<Vec<Result<Saved, RegistryError>>, RegistryError> {
        let prepared = self.prepared(tenant, wanted)?;
        if prepared.iter().flatten().any(|it| it.wanted.profile == ProfileWanted::Default) {
            self.default_profile(operator, tenant)?;
        }
        let mut changed = Vec::new();
        let mut made_profile = false;
        let keys = self.store.write(|change: &mut Change<'_>| {
            changed.clear();
            let profiles = HashMap::new();
            let mut saving = Saving { registry: self, operator, tenant, profiles, made_profile: false };
            let each = |save: &Result<Prepared<'_>, RegistryError>| match save {
                Ok(save) => settled(saving.one(change, save, &mut changed)),
                Err(error) => Ok(Err(said_again(error))),
            };
            let saved = prepared.iter().map(each).collect::<Result<Vec<_>, RegistryError>>();
            made_profile = saving.made_profile;
            saved
        })?;
        self.ports.sessions.close(&changed, Farewell::CredentialChanged);
        if made_profile {
            (self.profiles_changed)();
        }
        self.store
            .read(|view| {
                let mut profiles = HashMap::new();
                let mut shown = Vec::with_capacity(keys.len());
                for saved in &keys {
                    let Ok((key, created)) = saved else {
                        shown.push(None);
                        continue;
                    };
                    let Some(row) = view.device_by_key(tenant.id, *key)? else {
                        shown.push(None);
                        continue;
                    };
                    let device = self.shown(view, row, &mut profiles)?;
                    shown.push(Some(Saved { device, created: *created }));
                }
                Ok(shown)
            })
            .map(|shown| {
                keys.into_iter()
                    .zip(shown)
                    .map(|(saved, shown)| {
                        saved.and_then(|_| shown.ok_or_else(|| RegistryError::not_found(What::Device, "")))
                    })
                    .collect()
            })
            .map_err(RegistryError::from)
    }

    /// Finds what is to be changed, and seals what was chosen, before the transaction that names it.
    fn prepared<'a>(
        &self,
        tenant: &Tenant,
        wanted: &'a [DeviceSave],
    ) -> Result<Vec<Result<Prepared<'a>, RegistryError>>, RegistryError> {
        let fresh = wanted.iter().filter(|save| save.id.is_none()).count();
        let mut fresh = self.store.reserve_device_keys(fresh as u64)?;
        let mut to_seal = Vec::new();
        let keys = self.store.keys()?;
        let mut entropy = self.entropy();
        let mut each = |save: &'a DeviceSave| {
            let key = match &save.id {
                Some(id) => public_id::device_of(keys, id),
                None => fresh.next().map(DeviceKey),
            };
            let key = key.ok_or_else(|| unknown(save))?;
            let generation = Generation(entropy.next_u64());
            let wish = match &save.credentials {
                Some(chosen) => Some(chosen.wish(keys)),
                None if save.id.is_none() => Some(Wish::ServerMade),
                None => None,
            };
            let credential = wish.as_ref().map(|wish| wish.credential(generation)).transpose();
            let credential = credential.map_err(RegistryError::CredentialsRefused)?;
            if let Some(held) = wish.and_then(|wish| wish.chosen()) {
                to_seal.push(ToSeal { tenant: tenant.id, device: key, generation, held });
            }
            Ok(Prepared { wanted: save, key, credential })
        };
        let prepared = wanted.iter().map(&mut each).collect();
        self.store.seal_credentials(&to_seal, self.now())?;
        Ok(prepared)
    }
}

/// One transaction's worth of saves.
struct Saving<'a> {
    registry: &'a Registry,
    operator: &'a Operator,
    tenant: &'a Tenant,
    profiles: HashMap<String, ProfileId>,
    made_profile: bool,
}

impl Saving<'_> {
    fn one(
        &mut self,
        change: &mut Change<'_>,
        save: &Prepared<'_>,
        changed: &mut Vec<DeviceKey>,
    ) -> Result<(DeviceKey, bool), RegistryError> {
        let name =
            Name::parse(&save.wanted.name).map_err(|refusal| RegistryError::broken_rule("name", refusal))?;
        check_label(save.wanted.label.as_deref())?;
        check_info(save.wanted.additional_info.as_deref())?;
        if let Some(credential) = &save.credential {
            credential_free(change, self.tenant, save.key, credential)?;
        }
        if save.wanted.id.is_none() {
            return self.create(change, save, &name).map(|()| (save.key, true));
        }
        self.update(change, save, &name)?;
        changed.extend(save.credential.map(|_| save.key));
        Ok((save.key, false))
    }

    fn create(
        &mut self,
        change: &mut Change<'_>,
        save: &Prepared<'_>,
        name: &Name,
    ) -> Result<(), RegistryError> {
        let name = self.free(change, name, save.wanted.uniquify.as_ref())?;
        let profile = self.profile(change, &save.wanted.profile)?;
        let record = DeviceRecord {
            key: save.key,
            tenant: self.tenant.id,
            name: name.as_str().to_owned(),
            profile,
            state: DeviceState::Expected,
            state_since: self.registry.now(),
            credential: save.credential.unwrap_or(Credential::None),
            gateway: save.wanted.gateway,
            owed: Owed::default(),
            version: Version(1),
        };
        let (label, info) = (label(save.wanted), save.wanted.additional_info.as_deref());
        if !change.insert_device(&record, label, info)? {
            return Err(taken(name.as_str()));
        }
        let detail = json!({ "name": record.name, "label": label, "credential": record.credential.kind() });
        self.registry.journal(change, self.operator, &Deed::on(&record, "device-added", detail))
    }

    fn update(
        &mut self,
        change: &mut Change<'_>,
        save: &Prepared<'_>,
        name: &Name,
    ) -> Result<(), RegistryError> {
        let row = change.device_by_key(self.tenant.id, save.key)?;
        let row = row.filter(|row| !row.record.state.is_leaving()).ok_or_else(|| unknown(save.wanted))?;
        check_revision(&row, save.wanted.revision)?;
        let present = &row.record;
        if present.name != name.as_str() && change.device_named(self.tenant.id, name.as_str())?.is_some() {
            return Err(taken(name.as_str()));
        }
        let saved = DeviceRecord {
            name: name.as_str().to_owned(),
            profile: self.profile(change, &save.wanted.profile)?,
            gateway: save.wanted.gateway,
            version: Version(present.version.0 + 1),
            ..present.clone()
        };
        let (label, info) = (label(save.wanted), save.wanted.additional_info.as_deref());
        if !change.save_device(&saved, present.version, label, info)? {
            return Err(taken(name.as_str()));
        }
        let before = (present.name != saved.name).then_some(&present.name);
        let detail = json!({ "name": saved.name, "before": before, "label": label });
        self.registry.journal(change, self.operator, &Deed::on(&saved, "device-saved", detail))?;
        save.credential.map_or(Ok(()), |credential| {
            self.registry.write_credential(change, self.operator, &saved, credential)
        })
    }

    /// The name, or one made of it that is free.
    fn free(
        &self,
        change: &Change<'_>,
        name: &Name,
        uniquify: Option<&Uniquify>,
    ) -> Result<Name, RegistryError> {
        let mut tried = name.clone();
        for count in 1_u32.. {
            if change.device_named(self.tenant.id, tried.as_str())?.is_none() {
                break;
            }
            let how = uniquify.ok_or_else(|| taken(name.as_str()))?;
            let added = match how.counting {
                true => count.to_string(),
                false => random_text(UNIQUE_CHARS, &mut *self.registry.entropy()),
            };
            let longer = format!("{}{}{added}", name.as_str(), how.separator);
            tried = Name::parse(&longer).map_err(|refusal| RegistryError::broken_rule("name", refusal))?;
        }
        Ok(tried)
    }

    fn profile(
        &mut self,
        change: &mut Change<'_>,
        wanted: &ProfileWanted,
    ) -> Result<ProfileId, RegistryError> {
        let key = match wanted {
            ProfileWanted::Default => String::new(),
            ProfileWanted::Named(name) => format!("n{name}"),
            ProfileWanted::Id(id) => format!("i{id}"),
        };
        if let Some(known) = self.profiles.get(&key) {
            return Ok(*known);
        }
        let found = match wanted {
            ProfileWanted::Default => change.default_profile(self.tenant.id)?,
            ProfileWanted::Id(id) => self.registry.profile_row(change, self.tenant, id)?,
            ProfileWanted::Named(name) => Some(match change.profile_by_name(self.tenant.id, name)? {
                Some(row) => row,
                None => {
                    self.made_profile = true;
                    self.registry.make_plain_profile(change, self.operator, self.tenant, name)?
                }
            }),
        };
        let found = found
            .ok_or_else(|| RegistryError::not_found(What::Profile, key.get(1..).unwrap_or("default")))?;
        Ok(*self.profiles.entry(key).or_insert(found.profile.id))
    }
}

/// What the store says ends the whole; any other no concerns one device.
fn settled<T>(result: Result<T, RegistryError>) -> Result<Result<T, RegistryError>, RegistryError> {
    match result {
        Err(RegistryError::Store(error)) => Err(RegistryError::Store(error)),
        other => Ok(other),
    }
}

/// A no that was found before the transaction, which may run again.
fn said_again(error: &RegistryError) -> RegistryError {
    match error {
        RegistryError::CredentialsRefused(refusal) => RegistryError::CredentialsRefused(*refusal),
        RegistryError::NotFound { what, name } => RegistryError::not_found(*what, name),
        other => StoreError::Unavailable(other.to_string()).into(),
    }
}

fn check_revision(row: &DeviceRow, wanted: Option<u64>) -> Result<(), RegistryError> {
    let present = row.saves + 1;
    if wanted.is_none_or(|wanted| wanted == present) {
        return Ok(());
    }
    Err(RegistryError::RevisionChanged { what: What::Device, present })
}

fn check_info(info: Option<&str>) -> Result<(), RegistryError> {
    let fits = |info: &str| info.len() <= MOST_INFO_BYTES && !info.contains("\\u0000");
    if info.is_none_or(fits) {
        return Ok(());
    }
    let rule = format!("it is a JSON object of at most {MOST_INFO_BYTES} bytes.");
    Err(RegistryError::invalid("additional_info", rule))
}

fn label(save: &DeviceSave) -> Option<&str> {
    save.label.as_deref().filter(|label| !label.is_empty())
}

fn taken(name: &str) -> RegistryError {
    RegistryError::Exists { what: Unique::Device, name: name.to_owned() }
}

fn unknown(save: &DeviceSave) -> RegistryError {
    RegistryError::not_found(What::Device, save.id.as_deref().unwrap_or(&save.name))
}
