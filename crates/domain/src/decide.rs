//! The decision: an attested request and the facts of the moment become what is to be recorded.

use crate::admission::{self, Inquiry};
use crate::name::Name;
use crate::profile::PreProvisionedCredentials;
use crate::{
    Attested, Credential, DeviceKey, DeviceState, Entropy, Generation, Held, ProfileId, Promise, Refusal,
    Reprovision, SecretId, Strategy, TenantId, Timestamp, Version, Wish,
};

/// A device as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its number.
    pub key: DeviceKey,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// The profile it belongs to.
    pub profile: ProfileId,
    /// Where it stands.
    pub state: DeviceState,
    /// Since when it stands there.
    pub state_since: Timestamp,
    /// What it holds.
    pub credential: Credential,
    /// Whether it speaks for other devices.
    pub gateway: bool,
    /// Rises with every change.
    pub version: Version,
}

/// What a decision needs to know, read for it outside any transaction.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The device of the claimed name in the profile's tenant.
    pub device: Option<DeviceRecord>,
    /// A number for a new device, reserved already.
    pub fresh_key: DeviceKey,
    /// The uses left of the secret that was offered; `None` where it is not limited.
    pub uses_left: Option<u64>,
}

/// What is to happen.
#[derive(Debug)]
pub enum Decision {
    /// A new or changed record.
    Provision(Box<Provision>),
    /// The same asks again: it is told the same again, nothing is written.
    Unchanged(Promise),
    /// Someone must say something first.
    Needs(Question),
    /// No.
    Refused(Refusal),
}

/// What a hook or a person has to answer before a decision can be made. Nothing asks yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {}

/// A record to be made, and under which condition.
#[derive(Debug)]
pub struct Provision {
    /// The device as it will be.
    pub device: DeviceRecord,
    /// The version that was read, which must still stand; `None` for a new device, whose name must be free.
    pub replaces: Option<Version>,
    /// The version of the profile that was read, which must still stand.
    pub profile_version: Version,
    /// The limited secret that loses a use.
    pub spends: Option<SecretId>,
    /// What happens to the device.
    pub deed: Deed,
    /// The generation of its new credential.
    pub generation: Generation,
    /// What the device chose, in clear: sealed before the record names it. `None` where the server derives a token.
    pub chosen: Option<Held>,
}

impl Provision {
    /// The grant that this record becomes.
    pub fn promise(&self) -> Promise {
        promise(&self.device, self.generation, self.chosen.clone())
    }
}

/// What a recorded decision did to its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Made it and gave it credentials.
    Created,
    /// Gave an expected device its credentials.
    Claimed,
    /// Gave a provisioned device new credentials.
    Rotated,
}

impl Deed {
    /// The word for it in journals.
    pub fn word(self) -> &'static str {
        match self {
            Deed::Created => "created",
            Deed::Claimed => "claimed",
            Deed::Rotated => "rotated",
        }
    }
}

/// Decides about one attested request. Touches nothing; may be asked again with newer facts.
pub fn decide(attested: &Attested, facts: &Facts, now: Timestamp, entropy: &mut dyn Entropy) -> Decision {
    provision(attested, facts, now, entropy).unwrap_or_else(Decision::Refused)
}

fn provision(
    attested: &Attested,
    facts: &Facts,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<Decision, Refusal> {
    let made = made_name(attested, entropy);
    let name = attested.name().or(made.as_ref());
    let inquiry = inquiry(attested, name, facts, now);
    admission::admit(&inquiry)?;
    match (&facts.device, name) {
        (Some(device), _) => again(attested, device, &inquiry, entropy),
        (None, Some(name)) => create(attested, name, facts.fresh_key, now, entropy),
        (None, None) => Err(Refusal::NameMissing),
    }
}

/// A name of the server's making, where the device brought none and may have one.
fn made_name(attested: &Attested, entropy: &mut dyn Entropy) -> Option<Name> {
    let wanted = attested.name().is_none() && attested.profile().strategy == Strategy::CreateNew;
    wanted.then(|| Name::random(entropy))
}

fn inquiry<'a>(
    attested: &'a Attested,
    name: Option<&'a Name>,
    facts: &'a Facts,
    now: Timestamp,
) -> Inquiry<'a> {
    Inquiry {
        name,
        source: Some(attested.origin().source),
        profile: attested.profile(),
        secret: attested.secret(),
        uses_left: facts.uses_left,
        device: facts.device.as_ref(),
        wish: Some(attested.wish()),
        now,
    }
}

fn create(
    attested: &Attested,
    name: &Name,
    key: DeviceKey,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<Decision, Refusal> {
    let generation = Generation(entropy.next_u64());
    let device = DeviceRecord {
        key,
        tenant: attested.profile().tenant,
        name: name.as_str().to_owned(),
        profile: attested.profile().id,
        state: DeviceState::Provisioned,
        state_since: now,
        credential: attested.wish().credential(generation)?,
        gateway: attested.gateway(),
        version: Version(1),
    };
    Ok(record(attested, device, generation, None, Deed::Created, attested.wish()))
}

/// The device is in the registry already, and admission had nothing against it.
fn again(
    attested: &Attested,
    device: &DeviceRecord,
    inquiry: &Inquiry<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Decision, Refusal> {
    let deed = match device.state {
        DeviceState::Expected => Deed::Claimed,
        _ if attested.profile().reprovision == Reprovision::ReturnExisting => {
            return redeliver(attested, device);
        }
        _ => Deed::Rotated,
    };
    let wish = effective_wish(attested, deed);
    let generation = Generation(entropy.next_u64());
    let changed = DeviceRecord {
        state: device.state.provision()?,
        state_since: inquiry.now,
        credential: wish.credential(generation)?,
        version: Version(device.version.0 + 1),
        ..device.clone()
    };
    Ok(record(attested, changed, generation, Some(device.version), deed, wish))
}

/// The same again. Admission has compared the wish with what the device holds; a wish that was ignored then
/// is ignored now.
fn redeliver(attested: &Attested, device: &DeviceRecord) -> Result<Decision, Refusal> {
    let generation = device.credential.generation().ok_or(Refusal::Internal)?;
    let server_made = matches!(device.credential, Credential::Derived(_));
    let chosen = attested.wish().chosen().filter(|_| !server_made);
    Ok(Decision::Unchanged(promise(device, generation, chosen)))
}

fn promise(device: &DeviceRecord, generation: Generation, chosen: Option<Held>) -> Promise {
    Promise { device: device.key, tenant: device.tenant, generation, name: device.name.clone(), chosen }
}

/// A profile may say that expected devices do not bring credentials of their own.
fn effective_wish(attested: &Attested, deed: Deed) -> &Wish {
    let keep = attested.profile().pre_provisioned_credentials == PreProvisionedCredentials::Keep;
    if keep && deed == Deed::Claimed { &Wish::ServerMade } else { attested.wish() }
}

fn record(
    attested: &Attested,
    device: DeviceRecord,
    generation: Generation,
    replaces: Option<Version>,
    deed: Deed,
    wish: &Wish,
) -> Decision {
    let limited = attested.secret().filter(|secret| secret.uses_left.is_some() && deed != Deed::Rotated);
    Decision::Provision(Box::new(Provision {
        device,
        replaces,
        profile_version: attested.profile().version,
        spends: limited.map(|secret| secret.id),
        deed,
        generation,
        chosen: wish.chosen(),
    }))
}

#[cfg(test)]
mod tests;
