//! Profiles and their group secrets.
//!
//! At most two group secrets are valid at once: the newest, and the one before it while an overlap lasts.
//! A rotation hands networks, name pattern and remaining uses down to the new secret, so that it lets in
//! nobody whom the old one kept out; the expiry belonged to the old one and goes with it. While both are
//! valid each counts its own uses.

mod checks;
mod saving;

use domain::name::random_text;
use domain::plan::StepRule;
use domain::profile::{
    DEFAULT_GRACE_PERIOD_MS, DEFAULT_REDELIVERY_WINDOW_MS, Joining, NamePattern, PreProvisionedCredentials,
};
use domain::{CredentialKeys, GroupSecret, Profile, Reprovision, Secret, Strategy, Timestamp};
use ipnet::IpNet;
use serde_json::json;
use store::{Change, ProfileRow, SecretLimits};

use self::checks::{check_attributes, check_key, check_known, check_length, check_networks, check_version};
pub use saving::ProfileSave;

use super::journal::Deed;
use super::tenants::addressed;
use super::{Operator, Registry, RegistryError, Tenant, Unique, What};

/// Random letters and digits in a key or secret that the server makes (thingsboard page, section 2).
const MADE_CHARS: usize = 20;
/// The most steps of a profile.
const MOST_STEPS: usize = 16;

/// What a new profile is to be.
#[derive(Clone, Debug)]
pub struct NewProfile {
    /// Its name, unique in the tenant.
    pub name: String,
    /// Who may come in.
    pub strategy: Strategy,
    /// What happens when a provisioned device asks again.
    pub reprovision: Reprovision,
    /// The redelivery window in milliseconds.
    pub redelivery_window_ms: u64,
    /// Whether an expected device may bring credentials of its own.
    pub pre_provisioned_credentials: PreProvisionedCredentials,
    /// What joining takes beside the proof.
    pub joining: Joining,
    /// The grace period of leaving in milliseconds.
    pub grace_period_ms: u64,
    /// The provision key; the server makes one where it is absent.
    pub provision_key: Option<String>,
    /// The group secret; the server makes one where it is absent.
    pub provision_secret: Option<Secret>,
    /// The limits of the group secret.
    pub limits: Limits,
}

/// Limits on a group secret.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The moment from which on it admits nobody.
    pub expires_at: Option<Timestamp>,
    /// How many devices it may provision from now on.
    pub uses: Option<u64>,
    /// The networks that may use it; empty means all.
    pub networks: Vec<IpNet>,
    /// What names must match, whole.
    pub name_pattern: Option<NamePattern>,
}

/// What happens to one value.
#[derive(Clone, Debug, Default)]
pub enum To<T> {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    Clear,
    /// It becomes this.
    Set(T),
}

/// Changes to the limits of the newest group secret. A limit counts from when it is set.
#[derive(Clone, Debug, Default)]
pub struct LimitsChange {
    /// When it ends.
    pub expires_at: To<Timestamp>,
    /// How many more devices it may provision.
    pub uses: To<u64>,
    /// The networks that may use it.
    pub networks: To<Vec<IpNet>>,
    /// What names must match.
    pub name_pattern: To<NamePattern>,
}

/// A new group secret in the place of the newest one.
#[derive(Clone, Debug, Default)]
pub struct Rotation {
    /// The new secret; the server makes one where it is absent.
    pub secret: Option<Secret>,
    /// For how long the old one stays valid beside it, in milliseconds.
    pub overlap_ms: u64,
}

/// Changes to a profile; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// The version this change was made for.
    pub version: Option<u64>,
    /// Who may come in.
    pub strategy: Option<Strategy>,
    /// What happens when a provisioned device asks again.
    pub reprovision: Option<Reprovision>,
    /// The redelivery window in milliseconds.
    pub redelivery_window_ms: Option<u64>,
    /// Whether an expected device may bring credentials of its own.
    pub pre_provisioned_credentials: Option<PreProvisionedCredentials>,
    /// The hook that is asked before a device is let in.
    pub hook: To<String>,
    /// Whether a person has to approve each device.
    pub approval: Option<bool>,
    /// What is done outside, and when; an empty list takes all steps away.
    pub steps: Option<Vec<StepRule>>,
    /// The attributes that a device begins with; a JSON object.
    pub initial_attributes: To<String>,
    /// The grace period of leaving in milliseconds.
    pub grace_period_ms: Option<u64>,
    /// A new group secret.
    pub rotation: Option<Rotation>,
    /// The limits of the newest group secret, which is the new one where it is rotated.
    pub limits: LimitsChange,
}

impl Default for NewProfile {
    fn default() -> NewProfile {
        NewProfile {
            name: String::new(),
            strategy: Strategy::CreateNew,
            reprovision: Reprovision::Refuse,
            redelivery_window_ms: DEFAULT_REDELIVERY_WINDOW_MS,
            pre_provisioned_credentials: PreProvisionedCredentials::Accept,
            joining: Joining::default(),
            grace_period_ms: DEFAULT_GRACE_PERIOD_MS,
            provision_key: None,
            provision_secret: None,
            limits: Limits::default(),
        }
    }
}

/// A profile as operators see it.
#[derive(Clone, Debug)]
pub struct ProfileView {
    /// The name of its tenant.
    pub tenant: String,
    /// Its settings.
    pub profile: Profile,
    /// What may be seen of its group secrets, the newest first.
    pub secrets: Vec<SecretView>,
    /// When it was made.
    pub created_at: Timestamp,
    /// What operators' programs keep with it, and we only give back.
    pub notes: Option<String>,
    /// How often operators saved it, counting from 1.
    pub revision: u64,
    /// Whether devices for which no profile was named belong to it.
    pub is_default: bool,
}

/// What may be seen of a group secret.
#[derive(Clone, Debug)]
pub struct SecretView {
    /// Its number; a newer secret has a larger one.
    pub number: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its limits; `uses` is what is left of them.
    pub limits: Limits,
}

// === impl Registry ===

impl Registry {
    /// The tenant's profiles, by name.
    ///
    /// # Errors
    /// What the store says.
    pub fn profiles(&self, tenant: &Tenant) -> Result<Vec<ProfileView>, RegistryError> {
        let rows = self.store.read(|view| view.profiles(tenant.id))?;
        Ok(rows.into_iter().map(|row| shown(row, tenant)).collect())
    }

    /// One profile.
    ///
    /// # Errors
    /// `profile-not-found`.
    pub fn profile(&self, tenant: &Tenant, name: &str) -> Result<ProfileView, RegistryError> {
        let row = self.store.read(|view| view.profile_by_name(tenant.id, name))?;
        Ok(shown(found(row, name)?, tenant))
    }

    /// Makes a profile and its first group secret. The answer is the only one that carries the secret.
    ///
    /// # Errors
    /// `value-invalid`, `profile-exists`, `provision-key-in-use`.
    pub fn create_profile(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        wanted: NewProfile,
    ) -> Result<(Secret, ProfileView), RegistryError> {
        let name = addressed("name", &wanted.name)?;
        let name = name.as_str();
        check_length("redelivery_window_s", wanted.redelivery_window_ms)?;
        check_length("grace_period_s", wanted.grace_period_ms)?;
        check_networks(&wanted.limits.networks)?;
        self.check_joining(&wanted.joining)?;
        let key = self.key_or_made(wanted.provision_key)?;
        let secret = self.secret_or_made(wanted.provision_secret)?;
        let row = store::NewProfile {
            tenant: tenant.id,
            name,
            provision_key: &key,
            strategy: wanted.strategy,
            reprovision: wanted.reprovision,
            redelivery_window_ms: wanted.redelivery_window_ms,
            pre_provisioned_credentials: wanted.pre_provisioned_credentials,
            joining: &wanted.joining,
            grace_period_ms: wanted.grace_period_ms,
        };
        let now = self.now();
        let made = self.store.write(|change: &mut Change<'_>| {
            if change.profile_by_name(tenant.id, name)?.is_some() {
                return Err(RegistryError::Exists { what: Unique::Profile, name: name.to_owned() });
            }
            if change.provision_key_is_taken(&key)? {
                return Err(RegistryError::ProvisionKeyInUse);
            }
            let id = change.create_profile(&row, now)?;
            change.add_group_secret(tenant.id, id, &secret, &stored(&wanted.limits), now)?;
            let made = found(change.profile_by_name(tenant.id, name)?, name)?;
            self.journal(
                change,
                operator,
                &Deed::of(tenant.id, "profile-created", described(&made.profile)),
            )?;
            Ok(made)
        })?;
        (self.profiles_changed)();
        Ok((secret, shown(made, tenant)))
    }

    /// Changes a profile. The answer carries the new group secret where it was rotated, and no other does.
    ///
    /// # Errors
    /// `profile-not-found`, `version-changed`, `value-invalid`.
    pub fn set_profile(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
        wanted: &ProfileChange,
    ) -> Result<(Option<Secret>, ProfileView), RegistryError> {
        check_length("redelivery_window_s", wanted.redelivery_window_ms.unwrap_or_default())?;
        check_length("grace_period_s", wanted.grace_period_ms.unwrap_or_default())?;
        if let To::Set(networks) = &wanted.limits.networks {
            check_networks(networks)?;
        }
        let replacement = wanted.rotation.clone().map(|rotation| self.replacement(rotation)).transpose()?;
        let changed = self.store.write(|change: &mut Change<'_>| {
            let present = found(change.profile_by_name(tenant.id, name)?, name)?.profile;
            self.check_stand(name, &present.version.0.to_string())?;
            check_version(&present, wanted.version)?;
            let settled = settled(&present, wanted);
            if settled.joining != present.joining {
                self.check_joining(&settled.joining)?;
            }
            change.update_profile(&settled)?;
            self.set_secrets(change, &present, replacement.as_ref(), &wanted.limits, self.now())?;
            let changed = found(change.profile_by_name(tenant.id, name)?, name)?;
            self.journal(
                change,
                operator,
                &Deed::of(tenant.id, "profile-changed", described(&changed.profile)),
            )?;
            Ok::<_, RegistryError>(changed)
        })?;
        (self.profiles_changed)();
        Ok((replacement.map(|replacement| replacement.secret), shown(changed, tenant)))
    }

    /// The newest secret, or the one that takes its place, gets the limits.
    fn set_secrets(
        &self,
        change: &mut Change<'_>,
        profile: &Profile,
        replacement: Option<&Replacement>,
        limits: &LimitsChange,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let mut present = profile.secrets.first().map(limits_of).unwrap_or_default();
        match (replacement, profile.secrets.first()) {
            (Some(replacement), _) => {
                self.check_new(profile, &replacement.secret)?;
                retire(change, profile, replacement.overlap_ms, now)?;
                present.expires_at = None;
                limits.apply(&mut present);
                change.add_group_secret(
                    profile.tenant,
                    profile.id,
                    &replacement.secret,
                    &stored(&present),
                    now,
                )?;
            }
            (None, Some(newest)) if !limits.is_empty() => {
                limits.apply(&mut present);
                change.limit_group_secret(profile.tenant, newest.id, &stored(&present))?;
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn replacement(&self, rotation: Rotation) -> Result<Replacement, RegistryError> {
        check_length("overlap_s", rotation.overlap_ms)?;
        Ok(Replacement { secret: self.secret_or_made(rotation.secret)?, overlap_ms: rotation.overlap_ms })
    }

    /// A secret that takes its own place would be no rotation at all.
    fn check_new(&self, profile: &Profile, secret: &Secret) -> Result<(), RegistryError> {
        let verifier = self.store.keys()?.verifier(secret.expose());
        if profile.secrets.iter().all(|held| held.verifier != verifier) {
            return Ok(());
        }
        Err(RegistryError::invalid("secret", "the profile has this secret already."))
    }

    /// Whom a profile names must be there, or its devices would wait for ever.
    fn check_joining(&self, joining: &Joining) -> Result<(), RegistryError> {
        if joining.steps.len() > MOST_STEPS {
            return Err(RegistryError::invalid("steps", format!("there are at most {MOST_STEPS}.")));
        }
        let connectors: Vec<&str> = self.ports.connectors.iter().map(|it| it.name()).collect();
        for rule in &joining.steps {
            check_known("steps", "connector", &rule.connector, &connectors)?;
        }
        if let Some(hook) = &joining.hook {
            let hooks: Vec<&str> = self.ports.hooks.iter().map(|it| it.name()).collect();
            check_known("hook", "hook", hook, &hooks)?;
        }
        joining.initial_attributes.as_deref().map_or(Ok(()), check_attributes)
    }

    fn key_or_made(&self, given: Option<String>) -> Result<String, RegistryError> {
        let Some(key) = given else { return Ok(random_text(MADE_CHARS, &mut *self.entropy())) };
        check_key("provision_key", &key)?;
        Ok(key)
    }

    fn secret_or_made(&self, given: Option<Secret>) -> Result<Secret, RegistryError> {
        let Some(secret) = given else { return Ok(self.random_secret("", MADE_CHARS)) };
        check_key("provision_secret", secret.expose())?;
        Ok(secret)
    }
}

/// A secret on its way into the place of the newest one.
struct Replacement {
    secret: Secret,
    overlap_ms: u64,
}

impl LimitsChange {
    fn is_empty(&self) -> bool {
        let LimitsChange { expires_at, uses, networks, name_pattern } = self;
        expires_at.is_keep() && uses.is_keep() && networks.is_keep() && name_pattern.is_keep()
    }

    fn apply(&self, limits: &mut Limits) {
        self.expires_at.apply(&mut limits.expires_at);
        self.uses.apply(&mut limits.uses);
        self.name_pattern.apply(&mut limits.name_pattern);
        let mut networks = Some(std::mem::take(&mut limits.networks));
        self.networks.apply(&mut networks);
        limits.networks = networks.unwrap_or_default();
    }
}

impl<T: Clone> To<T> {
    fn is_keep(&self) -> bool {
        matches!(self, To::Keep)
    }

    fn apply(&self, value: &mut Option<T>) {
        match self {
            To::Keep => {}
            To::Clear => *value = None,
            To::Set(new) => *value = Some(new.clone()),
        }
    }
}

/// The newest secret ends with the overlap, if there is one; all older ones end now.
fn retire(
    change: &mut Change<'_>,
    profile: &Profile,
    overlap_ms: u64,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let end = now.plus_ms(overlap_ms);
    for (age, secret) in profile.secrets.iter().enumerate() {
        if age == 0 && overlap_ms > 0 && secret.is_current(now) {
            let mut limits = limits_of(secret);
            limits.expires_at = Some(limits.expires_at.map_or(end, |already| already.min(end)));
            change.limit_group_secret(profile.tenant, secret.id, &stored(&limits))?;
        } else {
            change.remove_group_secret(profile.tenant, secret.id)?;
        }
    }
    Ok(())
}

fn settled(present: &Profile, wanted: &ProfileChange) -> Profile {
    let mut profile = present.clone();
    profile.strategy = wanted.strategy.unwrap_or(profile.strategy);
    profile.reprovision = wanted.reprovision.unwrap_or(profile.reprovision);
    profile.redelivery_window_ms = wanted.redelivery_window_ms.unwrap_or(profile.redelivery_window_ms);
    profile.pre_provisioned_credentials =
        wanted.pre_provisioned_credentials.unwrap_or(profile.pre_provisioned_credentials);
    let joining = &mut profile.joining;
    wanted.hook.apply(&mut joining.hook);
    wanted.initial_attributes.apply(&mut joining.initial_attributes);
    joining.approval = wanted.approval.unwrap_or(joining.approval);
    if let Some(steps) = &wanted.steps {
        joining.steps.clone_from(steps);
    }
    profile.grace_period_ms = wanted.grace_period_ms.unwrap_or(profile.grace_period_ms);
    profile
}

fn limits_of(secret: &GroupSecret) -> Limits {
    Limits {
        expires_at: secret.expires_at,
        uses: secret.uses_left,
        networks: secret.networks.clone(),
        name_pattern: secret.name_pattern.clone(),
    }
}

fn stored(limits: &Limits) -> SecretLimits {
    SecretLimits {
        expires_at: limits.expires_at,
        uses_left: limits.uses,
        networks: limits.networks.clone(),
        name_pattern: limits.name_pattern.clone(),
    }
}

fn shown(row: ProfileRow, tenant: &Tenant) -> ProfileView {
    let secrets = row.profile.secrets.iter().zip(row.secrets_created_at);
    let secrets = secrets
        .map(|(secret, created_at)| SecretView { number: secret.id.0, created_at, limits: limits_of(secret) })
        .collect();
    ProfileView {
        tenant: tenant.name.clone(),
        profile: row.profile,
        secrets,
        created_at: row.created_at,
        notes: row.notes,
        revision: row.saves + 1,
        is_default: row.is_default,
    }
}

/// A profile as the journal keeps it: everything but the secrets.
fn described(profile: &Profile) -> serde_json::Value {
    let newest = profile.secrets.first().map(limits_of).unwrap_or_default();
    json!({
        "name": profile.name,
        "version": profile.version.0,
        "strategy": profile.strategy.word(),
        "reprovision": profile.reprovision.word(),
        "redelivery_window_ms": profile.redelivery_window_ms,
        "pre_provisioned_credentials": profile.pre_provisioned_credentials.word(),
        "hook": profile.joining.hook,
        "approval": profile.joining.approval,
        "steps": profile.joining.steps.iter().map(|rule| json!([rule.connector, rule.gate.word()])).collect::<Vec<_>>(),
        "grace_period_ms": profile.grace_period_ms,
        "secrets": profile.secrets.iter().map(|secret| secret.id.0).collect::<Vec<_>>(),
        "expires_at_ms": newest.expires_at.map(|end| end.0),
        "uses_left": newest.uses,
        "networks": newest.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "name_pattern": newest.name_pattern.as_ref().map(NamePattern::text),
    })
}

fn found(row: Option<ProfileRow>, name: &str) -> Result<ProfileRow, RegistryError> {
    row.ok_or_else(|| RegistryError::not_found(What::Profile, name))
}
