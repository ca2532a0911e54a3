//! The emergency stop: provisioning of a tenant, of a profile or by one group secret, at once.

use std::collections::HashMap;

use domain::{Power, ProfileId, SecretId, Timestamp};
use serde_json::json;
use store::{Change, Freeze, Frozen, View};

use super::journal::Deed;
use super::{Operator, Registry, RegistryError, Tenant, What};

const MOST_REASON_CHARS: usize = 1000;

/// What is to be stopped, or to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// The name of a profile; `None` for all of the tenant's.
    pub profile: Option<String>,
    /// The number of one of the profile's group secrets; `None` for all of them.
    pub secret: Option<u64>,
}

/// A stop, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeView {
    /// What is stopped.
    pub stopped: Stopped,
    /// Since when.
    pub since: Timestamp,
    /// Who stopped it.
    pub actor: String,
    /// Why, in the operator's words.
    pub reason: String,
}

impl Registry {
    /// Stops provisioning at once: nobody is let in who has not been already. Devices that hold credentials go on.
    /// What is stopped already stays so.
    ///
    /// # Errors
    /// `role-insufficient`, `profile-not-found`, `group-secret-not-found`, `value-invalid`.
    pub fn freeze(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        stopped: &Stopped,
        reason: &str,
    ) -> Result<(), RegistryError> {
        operator.require(Power::Halt)?;
        let fits = reason.chars().count() <= MOST_REASON_CHARS && !reason.chars().any(char::is_control);
        if !fits {
            let rule = "at most 1000 characters, none of them a control character.";
            return Err(RegistryError::invalid("reason", rule));
        }
        let (since, actor) = (self.now(), operator.actor.clone());
        self.store.write(|change: &mut Change<'_>| {
            let frozen = found(change, tenant, stopped)?;
            let reason = reason.to_owned();
            change.freeze(&Freeze { frozen, since, actor: actor.clone(), reason })?;
            self.tell(change, operator, tenant, "provisioning-frozen", stopped)
        })?;
        (self.profiles_changed)();
        Ok(())
    }

    /// Lets provisioning go on where it was stopped. A wider stop stays.
    ///
    /// # Errors
    /// `role-insufficient`, `profile-not-found`, `group-secret-not-found`, `freeze-not-found`.
    pub fn thaw(&self, operator: &Operator, tenant: &Tenant, stopped: &Stopped) -> Result<(), RegistryError> {
        operator.require(Power::Halt)?;
        self.store.write(|change: &mut Change<'_>| {
            let frozen = found(change, tenant, stopped)?;
            if !change.thaw(&frozen)? {
                return Err(RegistryError::not_found(What::Freeze, &stopped.words(tenant)));
            }
            self.tell(change, operator, tenant, "provisioning-thawed", stopped)
        })?;
        (self.profiles_changed)();
        Ok(())
    }

    /// What is stopped in a tenant, the widest first.
    ///
    /// # Errors
    /// What the store says.
    pub fn freezes(&self, tenant: &Tenant) -> Result<Vec<FreezeView>, RegistryError> {
        let (freezes, profiles) = self.store.read(|view| {
            let profiles: HashMap<ProfileId, String> =
                view.profiles(tenant.id)?.into_iter().map(|row| (row.profile.id, row.profile.name)).collect();
            Ok((view.freezes(tenant.id)?, profiles))
        })?;
        let shown = |freeze: Freeze| FreezeView {
            stopped: Stopped {
                profile: freeze.frozen.profile.and_then(|profile| profiles.get(&profile).cloned()),
                secret: freeze.frozen.secret.map(|secret| secret.0),
            },
            since: freeze.since,
            actor: freeze.actor,
            reason: freeze.reason,
        };
        Ok(freezes.into_iter().map(shown).collect())
    }

    fn tell(
        &self,
        change: &mut Change<'_>,
        operator: &Operator,
        tenant: &Tenant,
        kind: &'static str,
        stopped: &Stopped,
    ) -> Result<(), RegistryError> {
        let detail = json!({ "profile": stopped.profile, "secret": stopped.secret });
        self.journal(change, operator, &Deed::of(tenant.id, kind, detail))
    }
}

impl Stopped {
    fn words(&self, tenant: &Tenant) -> String {
        match (&self.profile, self.secret) {
            (None, _) => tenant.name.clone(),
            (Some(profile), None) => profile.clone(),
            (Some(profile), Some(secret)) => format!("{profile}/{secret}"),
        }
    }
}

fn found(view: &View<'_>, tenant: &Tenant, stopped: &Stopped) -> Result<Frozen, RegistryError> {
    let Some(name) = &stopped.profile else {
        let whole = Frozen { tenant: tenant.id, profile: None, secret: None };
        let rule = "a group secret belongs to a profile: name that too.";
        return match stopped.secret {
            None => Ok(whole),
            Some(_) => Err(RegistryError::invalid("secret", rule)),
        };
    };
    let row = view.profile_by_name(tenant.id, name)?;
    let profile = row.ok_or_else(|| RegistryError::not_found(What::Profile, name))?.profile;
    let frozen =
        Frozen { tenant: tenant.id, profile: Some(profile.id), secret: stopped.secret.map(SecretId) };
    // What is stopped already may be lifted, whether or not the secret is still there.
    let held = |wanted| profile.secrets.iter().any(|held| held.id == wanted);
    let stands = view.freezes(tenant.id)?.iter().any(|freeze| freeze.frozen == frozen);
    match frozen.secret.filter(|secret| !stands && !held(*secret)) {
        Some(gone) => Err(RegistryError::not_found(What::GroupSecret, &gone.0.to_string())),
        None => Ok(frozen),
    }
}
