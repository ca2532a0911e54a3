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
