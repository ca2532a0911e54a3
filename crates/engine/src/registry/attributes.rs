//! Attributes of devices, as operators read and set them.
//!
//! Two of the server's own are not stored as they are: [`PROVISION_STATE`] says that a device has come in, and who
//! deletes it lets the device come in anew; [`CLAIMING_DATA`] holds a secret, of which a keyed digest is kept.

use domain::{DeviceKey, DeviceRecord, Secret, Timestamp};
use serde_json::{Value, json};
use store::{AttributeScope, Change, DeviceRow, Scope, StoreError, View};

use super::journal::Deed;
use super::{Operator, Registry, RegistryError, Tenant, What, public_id};
use crate::hub::claim_verifier;
use crate::ports::{Call, CallFailure, Task};
use crate::values::as_json;
use store::journal::{ATTRIBUTES_DELETED, ATTRIBUTES_SAVED};

/// The attribute that says of a device that it has come in.
pub const PROVISION_STATE: &str = "provisionState";
const PROVISIONED: &str = "provisioned";
/// The attribute by which an operator says who may claim a device: `{"secretKey":…,"expirationTime":ms}`.
pub const CLAIMING_DATA: &str = "claimingData";

/// The most attributes of a scope that a device may have.
const MOST_ATTRIBUTES: usize = 1024;
/// The longest key, in characters.
const MOST_KEY_CHARS: usize = 255;
/// The longest value, in bytes of JSON.
const MOST_VALUE_BYTES: usize = 65_536;

/// Whose attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// The server's side's; the device does not see them.
    Server,
    /// The server's side's, which the device sees.
    Shared,
    /// The device's own.
    Client,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Whose it is.
    pub whose: Whose,
    /// Its key.
    pub key: String,
    /// When it was set last.
    pub at: Timestamp,
    /// Its value.
    pub value: Value,
}

impl Whose {
    /// Every scope, in the order in which they are listed.
    pub const ALL: [Whose; 3] = [Whose::Server, Whose::Shared, Whose::Client];

    fn word(self) -> &'static str {
        match self {
            Whose::Server => AttributeScope::Server.word(),
            Whose::Shared => AttributeScope::Shared.word(),
            Whose::Client => "client",
        }
    }
}

impl Registry {
    /// The attributes of a device, by its public id: of one scope or of all, each by key.
    ///
    /// # Errors
    /// `device-not-found`; what the store says.
    pub fn attributes(
        &self,
        tenant: &Tenant,
        id: &str,
        whose: Option<Whose>,
    ) -> Result<Vec<Attribute>, RegistryError> {
        let (record, mut found) = self.store.read(|view| {
            let Some(row) = self.of_id(view, tenant, id)? else { return Ok((None, Vec::new())) };
            let mut found = Vec::new();
            for scope in [AttributeScope::Server, AttributeScope::Shared] {
                found.extend(view.attributes_in(row.record.key, scope)?.into_iter().map(stored));
            }
            Ok((Some(row.record), found))
        })?;
        let record = record.ok_or_else(|| RegistryError::not_found(What::Device, id))?;
        found.extend(provision_state(&record));
        let told = self.store.telemetry().latest(record.key)?;
        let client = told.into_iter().filter(|it| it.scope == Scope::ClientAttribute);
        found.extend(client.map(|it| Attribute {
            whose: Whose::Client,
            value: as_json(&it.value),
            key: it.key,
            at: it.at,
        }));
        found.retain(|it| whose.is_none_or(|whose| whose == it.whose));
        found.sort_by(|a, b| (a.whose as u8, &a.key).cmp(&(b.whose as u8, &b.key)));
        Ok(found)
    }

    /// Sets attributes of the server's side. A device that sees them is told.
    ///
    /// # Errors
    /// `device-not-found`; `value-invalid` for a key or a value that breaks the rules, for more than a device may
    /// have, and for [`PROVISION_STATE`] where it would say what is not so.
    pub fn save_attributes(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: &str,
        scope: AttributeScope,
        values: &[(String, Value)],
    ) -> Result<(), RegistryError> {
        values.iter().try_for_each(check)?;
        let now = self.now();
        let (device, keys) = self.store.write(|change: &mut Change<'_>| {
            let record = self.existing_id(change, tenant, id)?.record;
            let mut keys: Vec<&str> = Vec::new();
            for (key, value) in values {
                if scope == AttributeScope::Server && key == PROVISION_STATE {
                    says_what_is_so(&record, value)?;
                    continue;
                }
                let place = (record.tenant, record.key);
                if scope == AttributeScope::Server && key == CLAIMING_DATA {
                    let (secret_key, until) = claiming(value)?;
                    let verifier = claim_verifier(self.store.keys()?, record.key, &secret_key);
                    change.set_claim(place, &verifier, until)?;
                } else {
                    change.set_attribute(place, scope, (key, &value.to_string()), now)?;
                }
                keys.push(key);
            }
            if change.attributes_in(record.key, scope)?.len() > MOST_ATTRIBUTES {
                let told = format!("a device has at most {MOST_ATTRIBUTES} attributes of a scope.");
                return Err(RegistryError::invalid("attributes", told));
            }
            if !keys.is_empty() {
                let detail = json!({ "name": record.name, "scope": scope.word(), "keys": keys });
                self.journal(change, operator, &Deed::on(&record, ATTRIBUTES_SAVED, detail))?;
            }
            Ok::<_, RegistryError>((record.key, keys.into_iter().map(str::to_owned).collect::<Vec<_>>()))
        })?;
        self.tell_shared(scope, device, &keys);
        Ok(())
    }

    /// Takes attributes away; those that are not there are gone already. Whoever deletes [`PROVISION_STATE`] lets
    /// the device come in anew: it is expected, and keeps the credentials it has.
    ///
    /// # Errors
    /// `device-not-found`; what the store says.
    pub fn delete_attributes(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: &str,
        whose: Whose,
        keys: &[String],
    ) -> Result<(), RegistryError> {
        let Some(scope) = whose.stored() else {
            return self.delete_told(operator, tenant, id, Scope::ClientAttribute, keys);
        };
        let (device, gone) = self.store.write(|change: &mut Change<'_>| {
            let record = self.existing_id(change, tenant, id)?.record;
            let mut gone = Vec::new();
            for key in keys {
                let claim = scope == AttributeScope::Server && key == CLAIMING_DATA;
                let deleted = change.delete_attribute(record.key, scope, key)?;
                if deleted || (claim && change.withdraw_claim(record.key)?) {
                    gone.push(key.clone());
                }
            }
            if !gone.is_empty() {
                let detail = json!({ "name": record.name, "scope": whose.word(), "keys": gone });
                self.journal(change, operator, &Deed::on(&record, ATTRIBUTES_DELETED, detail))?;
            }
            let asked = scope == AttributeScope::Server && keys.iter().any(|key| key == PROVISION_STATE);
            if asked {
                self.reset(change, operator, &record)?;
            }
            Ok::<_, RegistryError>((record.key, gone))
        })?;
        self.tell_shared(scope, device, &gone);
        Ok(())
    }

    /// Journals that a device is called, and says which one it is.
    ///
    /// # Errors
    /// `device-not-found`; what the store says.
    pub fn callee(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: &str,
        method: &str,
    ) -> Result<DeviceKey, RegistryError> {
        self.store.write(|change: &mut Change<'_>| {
            let record = self.existing_id(change, tenant, id)?.record;
            let detail = json!({ "name": record.name, "method": method });
            self.journal(change, operator, &Deed::on(&record, "device-called", detail))?;
            Ok(record.key)
        })
    }

    /// Calls a device that [`Registry::callee`] has named. Only what is connected to this server can be called.
    pub fn call(&self, device: DeviceKey, call: Call) -> Task<'static, Result<Value, CallFailure>> {
        self.ports.sessions.call(device, call)
    }

    /// Nothing where the device has not come in.
    fn reset(
        &self,
        change: &mut Change<'_>,
        operator: &Operator,
        record: &DeviceRecord,
    ) -> Result<(), RegistryError> {
        let Some(expected) = record.reset(self.now()) else { return Ok(()) };
        change.update_device(&expected)?;
        let detail = json!({ "name": record.name });
        self.journal(change, operator, &Deed::on(record, "device-reset", detail))
    }

    fn tell_shared(&self, scope: AttributeScope, device: DeviceKey, keys: &[String]) {
        if scope == AttributeScope::Shared && !keys.is_empty() {
            self.ports.sessions.shared_changed(device, keys);
        }
    }

    /// The device of a public id.
    pub(super) fn of_id(
        &self,
        view: &View<'_>,
        tenant: &Tenant,
        id: &str,
    ) -> Result<Option<DeviceRow>, StoreError> {
        let Some(key) = public_id::device_of(self.store.keys()?, id) else { return Ok(None) };
        // Who leaves, or has left, is not there any more.
        Ok(view.device_by_key(tenant.id, key)?.filter(|row| !row.record.state.is_leaving()))
    }

    pub(super) fn existing_id(
        &self,
        view: &View<'_>,
        tenant: &Tenant,
        id: &str,
    ) -> Result<DeviceRow, RegistryError> {
        self.of_id(view, tenant, id)?.ok_or_else(|| RegistryError::not_found(What::Device, id))
    }
}

impl Whose {
    fn stored(self) -> Option<AttributeScope> {
        match self {
            Whose::Server => Some(AttributeScope::Server),
            Whose::Shared => Some(AttributeScope::Shared),
            Whose::Client => None,
        }
    }
}

fn stored(attribute: store::Attribute) -> Attribute {
    let whose = match attribute.scope {
        AttributeScope::Server => Whose::Server,
        AttributeScope::Shared => Whose::Shared,
    };
    let value = serde_json::from_str(&attribute.value).unwrap_or_default();
    Attribute { whose, key: attribute.key, at: attribute.at, value }
}

fn provision_state(device: &DeviceRecord) -> Option<Attribute> {
    let (whose, key) = (Whose::Server, PROVISION_STATE.to_owned());
    let attribute = Attribute { whose, key, at: device.state_since, value: PROVISIONED.into() };
    device.state.has_come().then_some(attribute)
}

fn says_what_is_so(device: &DeviceRecord, value: &Value) -> Result<(), RegistryError> {
    if device.state.has_come() && value == PROVISIONED {
        return Ok(());
    }
    let told =
        "the server keeps it: it is `provisioned` once the device is, and deleting it resets the device.";
    Err(RegistryError::invalid(PROVISION_STATE, told))
}

fn claiming(value: &Value) -> Result<(Secret, Timestamp), RegistryError> {
    let secret_key = value.get("secretKey").and_then(Value::as_str);
    match (secret_key, value.get("expirationTime").and_then(Value::as_i64)) {
        (Some(secret_key), Some(until)) => Ok((Secret::new(secret_key), Timestamp(until))),
        _ => {
            let told = r#"it is {"secretKey": a text, "expirationTime": milliseconds since 1970}."#;
            Err(RegistryError::invalid(CLAIMING_DATA, told))
        }
    }
}

fn check((key, value): &(String, Value)) -> Result<(), RegistryError> {
    let plain = !key.trim().is_empty() && key.chars().count() <= MOST_KEY_CHARS && !key.contains('\0');
    if !plain {
        return Err(RegistryError::invalid("key", "it has 1 to 255 characters, none of them U+0000."));
    }
    if value.to_string().len() > MOST_VALUE_BYTES {
        let told = format!("a value has at most {MOST_VALUE_BYTES} bytes.");
        return Err(RegistryError::invalid("attributes", told));
    }
    Ok(())
}
