//! Profiles and their group secrets.
//!
//! At most two group secrets are valid at once: the newest, and the one before it while an overlap lasts.
//! A rotation hands networks, name pattern and remaining uses down to the new secret, so that it never
//! widens who may come in; the expiry belonged to the old one and ends with it.

use domain::name::Name;
use domain::profile::{DEFAULT_REDELIVERY_WINDOW_MS, NamePattern, PreProvisionedCredentials};
use domain::{CredentialKeys, Profile, Reprovision, Secret, Strategy, TenantId, Timestamp};
use ipnet::IpNet;
use serde_json::json;
use store::Change;

use super::{Operator, Registry, RegistryError, What};

/// Random letters and digits in a key or secret that the server makes (thingsboard page, section 2).
const MADE_CHARS: usize = 20;
/// The most characters of a provision key or secret.
const MOST_KEY_CHARS: usize = 255;
/// The longest redelivery window and the longest overlap: a leap year, in milliseconds.
const LONGEST_MS: u64 = 366 * 24 * 60 * 60 * 1000;
/// The most networks of a group secret: a list that every request walks.
const MOST_NETWORKS: usize = 1000;

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
            provision_key: None,
            provision_secret: None,
            limits: Limits::default(),
        }
    }
}

impl<T> To<T> {
    fn apply(self, value: &mut Option<T>) {
        match self {
            To::Keep => {}
            To::Clear => *value = None,
            To::Set(new) => *value = Some(new),
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
}

/// What may be seen of a group secret.
#[derive(Clone, Debug)]
pub struct SecretView {
    /// Its number within the profile.
    pub slot: u32,
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
        let now = self.now();
        let name = Name::parse(&wanted.name).map_err(|refusal| RegistryError::broken_rule("name", refusal))?;
        check_window("redelivery_window_s", wanted.redelivery_window_ms)?;
        check_networks(&wanted.limits.networks)?;
        let key = self.key_or_made(wanted.provision_key)?;
        let secret = self.secret_or_made(wanted.provision_secret)?;
        let new = NewProfileRow { /* filled below */ };
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

fn found(row: Option<ProfileRow>, name: &str) -> Result<ProfileRow, RegistryError> {
    row.ok_or_else(|| RegistryError::not_found(What::Profile, name))
}

/// A key or secret that devices send as text.
fn check_key(field: &'static str, text: &str) -> Result<(), RegistryError> {
    let fits = !text.is_empty() && text.chars().count() <= MOST_KEY_CHARS && !text.chars().any(char::is_control);
    let rule = "it has 1 to 255 characters, none of them a control character.";
    if fits { Ok(()) } else { Err(RegistryError::invalid(field, rule)) }
}

fn check_window(field: &'static str, ms: u64) -> Result<(), RegistryError> {
    if ms <= LONGEST_MS { Ok(()) } else { Err(RegistryError::invalid(field, "it is at most 366 days.")) }
}

fn check_networks(networks: &[IpNet]) -> Result<(), RegistryError> {
    if networks.len() <= MOST_NETWORKS {
        return Ok(());
    }
    Err(RegistryError::invalid("networks", format!("there are at most {MOST_NETWORKS}.")))
}
