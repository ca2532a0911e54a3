//! Profiles as operators' programs save them: whole, by public id; and the default one.

use domain::name::Name;
use domain::profile::{DEFAULT_REDELIVERY_WINDOW_MS, Joining, PreProvisionedCredentials};
use domain::{CredentialKeys, Profile, Reprovision, Secret, Strategy};
use serde_json::json;
use store::{Change, ProfileRow, View};

use super::checks::check_key;
use super::{
    DEFAULT_GRACE_PERIOD_MS, Limits, ProfileView, Unique, described, found, limits_of, shown, stored,
};
use crate::registry::journal::Deed;
use crate::registry::public_id::{self, IdKind};
use crate::registry::tenants::addressed;
use crate::registry::{Operator, Registry, RegistryError, Tenant, What};

/// The name of the profile of devices for which none was named.
const DEFAULT: &str = "default";
/// The most bytes of what programs keep with a profile.
const MOST_NOTE_BYTES: usize = 256 << 10;

/// A profile as it is to be. What it does not say stays as it is.
#[derive(Clone, Debug)]
pub struct ProfileSave {
    /// The public id of the one to be changed; `None` makes a new one.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// Who may come in.
    pub strategy: Strategy,
    /// The provision key; the server makes one for a new profile where it is absent.
    pub provision_key: Option<String>,
    /// The group secret; the server makes one for a new profile where it is absent.
    pub provision_secret: Option<Secret>,
    /// What operators' programs keep with it, and we only give back.
    pub notes: String,
    /// The revision that it must be at; `None` takes it as it is.
    pub revision: Option<u64>,
}

// === impl Registry ===

impl Registry {
    /// The profile of a public id.
    ///
    /// # Errors
    /// `profile-not-found`.
    pub fn profile_by_id(&self, tenant: &Tenant, id: &str) -> Result<ProfileView, RegistryError> {
        let row = self.store.read(|view| Ok(self.profile_row(view, tenant, id)))?;
        row?.map(|row| shown(row, tenant)).ok_or_else(|| RegistryError::not_found(What::Profile, id))
    }

    /// The newest group secret of a profile in clear; the look is journalled.
    ///
    /// # Errors
    /// What the store says.
    pub fn provision_secrets(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        profiles: &[&ProfileView],
    ) -> Result<Vec<Option<Secret>>, RegistryError> {
        let newest = |view: &&ProfileView| view.profile.secrets.first().map(|secret| secret.id);
        let ids: Vec<_> = profiles.iter().map(newest).collect();
        if ids.iter().any(Option::is_some) {
            let names: Vec<_> = profiles.iter().map(|view| &view.profile.name).collect();
            self.store.write(|change: &mut Change<'_>| {
                let deed = Deed::of(tenant.id, "group-secret-read", json!({ "profiles": names }));
                self.journal(change, operator, &deed)
            })?;
        }
        let read = |id: Option<_>| match id {
            Some(id) => Ok(self.store.group_secret_in_clear(tenant.id, id)?),
            None => Ok(None),
        };
        ids.into_iter().map(read).collect()
    }

    /// Makes a profile, or writes one that is there. Another secret than the newest takes its place at once.
    ///
    /// # Errors
    /// `value-invalid`, `profile-exists`, `profile-not-found`, `provision-key-in-use`, `revision-changed`.
    pub fn save_profile(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        wanted: &ProfileSave,
    ) -> Result<ProfileView, RegistryError> {
        let name = addressed("name", &wanted.name)?;
        if let Some(key) = &wanted.provision_key {
            check_key("provision_key", key)?;
        }
        if let Some(secret) = &wanted.provision_secret {
            check_key("provision_secret", secret.expose())?;
        }
        if wanted.notes.len() > MOST_NOTE_BYTES {
            let rule = format!("at most {MOST_NOTE_BYTES} bytes.");
            return Err(RegistryError::invalid("notes", rule));
        }
        let made = match wanted.id {
            None => Some((
                self.key_or_made(wanted.provision_key.clone())?,
                self.secret_or_made(wanted.provision_secret.clone())?,
            )),
            Some(_) => None,
        };
        let saved = self.store.write(|change: &mut Change<'_>| match (&wanted.id, &made) {
            (None, Some((key, secret))) => {
                let row =
                    self.insert_profile(change, operator, tenant, &name, key, secret, wanted.strategy)?;
                change.keep_profile_notes(tenant.id, row.profile.id, &wanted.notes)?;
                found(change.profile_by_id(row.profile.id)?, name.as_str())
            }
            _ => self.write_profile(change, operator, tenant, &name, wanted),
        })?;
        (self.profiles_changed)();
        Ok(shown(saved, tenant))
    }

    /// The profile of devices for which none was named; made where the tenant has none yet.
    ///
    /// # Errors
    /// What the store says.
    pub fn default_profile(
        &self,
        operator: &Operator,
        tenant: &Tenant,
    ) -> Result<ProfileView, RegistryError> {
        if let Some(row) = self.store.read(|view| view.default_profile(tenant.id))? {
            return Ok(shown(row, tenant));
        }
        let row = self.store.write(|change: &mut Change<'_>| {
            if let Some(row) = change.default_profile(tenant.id)? {
                return Ok(row);
            }
            let row = match change.profile_by_name(tenant.id, DEFAULT)? {
                Some(row) => row,
                None => self.make_plain_profile(change, operator, tenant, DEFAULT)?,
            };
            change.mark_default_profile(tenant.id, row.profile.id)?;
            found(change.profile_by_id(row.profile.id)?, DEFAULT)
        })?;
        (self.profiles_changed)();
        Ok(shown(row, tenant))
    }

    /// From now on devices for which no profile was named belong to this one.
    ///
    /// # Errors
    /// `profile-not-found`.
    pub fn set_default_profile(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: &str,
    ) -> Result<ProfileView, RegistryError> {
        self.default_profile(operator, tenant)?;
        let row = self.store.write(|change: &mut Change<'_>| {
            let row = self.profile_row(change, tenant, id)?;
            let row = row.ok_or_else(|| RegistryError::not_found(What::Profile, id))?;
            if !row.is_default {
                change.set_default_profile(tenant.id, row.profile.id)?;
                let detail = json!({ "name": row.profile.name });
                self.journal(change, operator, &Deed::of(tenant.id, "profile-made-default", detail))?;
            }
            found(change.profile_by_id(row.profile.id)?, id)
        })?;
        Ok(shown(row, tenant))
    }

    /// Deletes a profile to which no device belongs.
    ///
    /// # Errors
    /// `profile-not-found`, `profile-in-use`, `profile-default`.
    pub fn delete_profile(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: &str,
    ) -> Result<(), RegistryError> {
        self.store.write(|change: &mut Change<'_>| {
            let row = self.profile_row(change, tenant, id)?;
            let row = row.ok_or_else(|| RegistryError::not_found(What::Profile, id))?;
            let name = row.profile.name;
            if row.is_default {
                return Err(RegistryError::DefaultProfile { name });
            }
            if change.profile_has_devices(tenant.id, row.profile.id)? {
                return Err(RegistryError::ProfileInUse { name });
            }
            change.delete_profile(tenant.id, row.profile.id)?;
            self.journal(change, operator, &Deed::of(tenant.id, "profile-deleted", json!({ "name": name })))
        })?;
        (self.profiles_changed)();
        Ok(())
    }

    /// The names of the profiles that devices belong to, sorted.
    ///
    /// # Errors
    /// What the store says.
    pub fn profiles_in_use(&self, tenant: &Tenant) -> Result<Vec<String>, RegistryError> {
        let names = self.store.read(|view| {
            let used = view.profiles_in_use(tenant.id)?;
            let rows = used.into_iter().map(|id| view.profile_by_id(id));
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            Ok(rows.into_iter().flatten().map(|row| row.profile.name).collect::<Vec<_>>())
        })?;
        Ok(sorted(names))
    }

    pub(in crate::registry) fn profile_row(
        &self,
        view: &View<'_>,
        tenant: &Tenant,
        id: &str,
    ) -> Result<Option<ProfileRow>, RegistryError> {
        let Some(number) = public_id::number_of(self.store.keys()?, IdKind::Profile, id) else {
            return Ok(None);
        };
        let row = view.profile_by_id(domain::ProfileId(number))?;
        Ok(row.filter(|row| row.profile.tenant == tenant.id))
    }

    /// A profile that lets nobody in by itself: devices belong to it because an operator says so.
    pub(in crate::registry) fn make_plain_profile(
        &self,
        change: &mut Change<'_>,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
    ) -> Result<ProfileRow, RegistryError> {
        let name = addressed("type", name)?;
        let (key, secret) = (self.key_or_made(None)?, self.secret_or_made(None)?);
        self.insert_profile(change, operator, tenant, &name, &key, &secret, Strategy::Disabled)
    }

    #[expect(clippy::too_many_arguments, reason = "what makes a profile, and who makes it where")]
    fn insert_profile(
        &self,
        change: &mut Change<'_>,
        operator: &Operator,
        tenant: &Tenant,
        name: &Name,
        key: &str,
        secret: &Secret,
        strategy: Strategy,
    ) -> Result<ProfileRow, RegistryError> {
        self.check_free(change, tenant, name.as_str(), key, None)?;
        let joining = Joining::default();
        let row = store::NewProfile {
            tenant: tenant.id,
            name: name.as_str(),
            provision_key: key,
            strategy,
            reprovision: Reprovision::Refuse,
            redelivery_window_ms: DEFAULT_REDELIVERY_WINDOW_MS,
            pre_provisioned_credentials: PreProvisionedCredentials::Accept,
            joining: &joining,
            grace_period_ms: DEFAULT_GRACE_PERIOD_MS,
        };
        let now = self.now();
        let id = change.create_profile(&row, now)?;
        change.add_group_secret(tenant.id, id, secret, &stored(&Limits::default()), now)?;
        let made = found(change.profile_by_id(id)?, name.as_str())?;
        let deed = Deed::of(tenant.id, "profile-created", described(&made.profile));
        self.journal(change, operator, &deed)?;
        Ok(made)
    }

    fn write_profile(
        &self,
        change: &mut Change<'_>,
        operator: &Operator,
        tenant: &Tenant,
        name: &Name,
        wanted: &ProfileSave,
    ) -> Result<ProfileRow, RegistryError> {
        let id = wanted.id.as_deref().unwrap_or_default();
        let row = self.profile_row(change, tenant, id)?;
        let row = row.ok_or_else(|| RegistryError::not_found(What::Profile, id))?;
        let present = row.saves + 1;
        if wanted.revision.is_some_and(|wanted| wanted != present) {
            return Err(RegistryError::RevisionChanged { what: What::Profile, present });
        }
        let profile = row.profile;
        let key = wanted.provision_key.clone().unwrap_or_else(|| profile.provision_key.clone());
        self.check_free(change, tenant, name.as_str(), &key, Some(&profile))?;
        if let Some(secret) = &wanted.provision_secret {
            self.replace_secret(change, &profile, secret)?;
        }
        let saved = Profile {
            name: name.as_str().to_owned(),
            provision_key: key,
            strategy: wanted.strategy,
            version: change.profile_version(tenant.id, profile.id)?,
            ..profile
        };
        if !change.save_profile(&saved, Some(&wanted.notes))? {
            // Another server was faster: what it changed is not written over unseen.
            return Err(RegistryError::RevisionChanged { what: What::Profile, present: present + 1 });
        }
        let saved = found(change.profile_by_id(saved.id)?, id)?;
        let deed = Deed::of(tenant.id, "profile-changed", described(&saved.profile));
        self.journal(change, operator, &deed)?;
        Ok(saved)
    }

    /// Another secret takes the place of the newest, with its limits; the newest again changes nothing.
    fn replace_secret(
        &self,
        change: &mut Change<'_>,
        profile: &Profile,
        secret: &Secret,
    ) -> Result<(), RegistryError> {
        let verifier = self.store.keys()?.verifier(secret.expose());
        if profile.secrets.first().is_some_and(|newest| newest.verifier == verifier) {
            return Ok(());
        }
        let mut limits = profile.secrets.first().map(limits_of).unwrap_or_default();
        limits.expires_at = None;
        super::retire(change, profile, 0, self.now())?;
        change.add_group_secret(profile.tenant, profile.id, secret, &stored(&limits), self.now())?;
        Ok(())
    }

    fn check_free(
        &self,
        view: &View<'_>,
        tenant: &Tenant,
        name: &str,
        key: &str,
        present: Option<&Profile>,
    ) -> Result<(), RegistryError> {
        if present.is_none_or(|present| present.name != name)
            && view.profile_by_name(tenant.id, name)?.is_some()
        {
            return Err(RegistryError::Exists { what: Unique::Profile, name: name.to_owned() });
        }
        if present.is_none_or(|present| present.provision_key != key) && view.provision_key_is_taken(key)? {
            return Err(RegistryError::ProvisionKeyInUse);
        }
        Ok(())
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
