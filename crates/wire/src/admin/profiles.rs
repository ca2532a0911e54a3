//! Profiles and their group secrets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Change, ProfileStep, or_default};
use crate::secret::Secret;

/// How a profile admits devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// A device nobody knows is created.
    CreateNew,
    /// Only devices that were added before.
    CheckPreProvisioned,
    /// Nobody.
    Disabled,
}

/// What happens when a provisioned device asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reprovision {
    /// It is refused.
    Refuse,
    /// It gets the same credentials, within the redelivery window.
    ReturnExisting,
    /// It gets new credentials, and the old ones are void.
    Rotate,
}

/// What a pre-provisioned device may do about its credentials (thingsboard page, section 1, row 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreProvisionedCredentials {
    /// Credentials it brings replace the stored ones.
    Accept,
    /// The stored ones are returned.
    Keep,
}

/// A profile: settings shared by devices of a kind.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Profile {
    /// Public id.
    pub id: String,
    /// Name of its tenant.
    pub tenant: String,
    /// Unique name within the tenant.
    pub name: String,
    /// How it admits devices.
    pub strategy: Strategy,
    /// What happens when a provisioned device asks again.
    pub reprovision: Reprovision,
    /// How long an equal request gets the same grant, in seconds.
    pub redelivery_window_s: u64,
    /// What a pre-provisioned device may do about its credentials.
    pub pre_provisioned_credentials: PreProvisionedCredentials,
    /// The identifier that devices name it by; not a secret.
    pub provision_key: String,
    /// The hook that is asked before a device is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Whether a person has to approve each device.
    #[serde(default)]
    pub approval: bool,
    /// What is done outside for each device.
    #[serde(default)]
    pub steps: Vec<ProfileStep>,
    /// The attributes that a device begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub initial_attributes: Option<serde_json::Value>,
    /// For how long a device that leaves can be taken back, in seconds.
    #[serde(default)]
    pub grace_period_s: u64,
    /// Its group secrets, newest first; never their text.
    pub secrets: Vec<ProfileSecret>,
    /// Raised by every change.
    pub version: u64,
    /// When it was made.
    pub created_at: String,
}

/// What may be seen of a group secret.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ProfileSecret {
    /// Its number within the profile.
    pub slot: u32,
    /// When it was made.
    pub created_at: String,
    /// When it ends; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// How many devices it may still bring in; absent = any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u64>,
    /// Source networks it is accepted from (`10.0.0.0/8`); empty = anywhere.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Pattern that the registration id must match; absent = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_pattern: Option<String>,
    /// Whether it is the newest one; an older one is on its way out.
    pub current: bool,
}

/// Limits on a group secret, counted from when they are set.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretLimits {
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// How many devices it may bring in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
    /// Source networks it is accepted from; empty = anywhere.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<String>>")]
    pub networks: Vec<String>,
    /// Pattern that the registration id must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_pattern: Option<String>,
}

/// Changes to the limits of the current group secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretLimitsSet {
    /// When it ends.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub expires_at: Change<String>,
    /// How many more devices it may bring in.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub uses: Change<u64>,
    /// Source networks it is accepted from; cleared or empty = anywhere.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub networks: Change<Vec<String>>,
    /// Pattern that the registration id must match.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub name_pattern: Change<String>,
}

impl SecretLimitsSet {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Asks for a new profile. Key and secret are made by the server where they are absent.
#[derive(Debug, Clone, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileCreate {
    /// Name of the tenant; absent = the caller's own, or the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Unique name within the tenant.
    pub name: String,
    /// How it admits devices.
    pub strategy: Strategy,
    /// What happens when a provisioned device asks again; absent = refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reprovision: Option<Reprovision>,
    /// How long an equal request gets the same grant, in seconds; absent = the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redelivery_window_s: Option<u64>,
    /// What a pre-provisioned device may do about its credentials; absent = accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_provisioned_credentials: Option<PreProvisionedCredentials>,
    /// The identifier that devices name it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision_key: Option<String>,
    /// The group secret.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "Secret::serialize_clear_option"
    )]
    pub provision_secret: Option<Secret>,
    /// The hook that is asked before a device is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Whether a person has to approve each device.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub approval: bool,
    /// What is done outside for each device.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<ProfileStep>>")]
    pub steps: Vec<ProfileStep>,
    /// The attributes that a device begins with; a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub initial_attributes: Option<serde_json::Value>,
    /// For how long a device that leaves can be taken back, in seconds; absent = the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_s: Option<u64>,
    /// Limits on the group secret.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<SecretLimits>")]
    pub limits: SecretLimits,
}

/// A profile that was made, or whose secret was rotated. The only answer that carries the group secret.
#[derive(Debug, Clone, JsonSchema, Serialize, Deserialize)]
pub struct ProfileCreated {
    /// The group secret.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub provision_secret: Secret,
    /// The profile as listed from now on, with its provision key.
    #[serde(flatten)]
    pub profile: Profile,
}

/// Changes to a profile; what is absent stays.
#[derive(Debug, Clone, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSet {
    /// The version this change was made for; absent = whatever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How it admits devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// What happens when a provisioned device asks again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reprovision: Option<Reprovision>,
    /// How long an equal request gets the same grant, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redelivery_window_s: Option<u64>,
    /// What a pre-provisioned device may do about its credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_provisioned_credentials: Option<PreProvisionedCredentials>,
    /// The hook that is asked before a device is let in.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub hook: Change<String>,
    /// Whether a person has to approve each device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<bool>,
    /// What is done outside for each device; an empty list takes all steps away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<ProfileStep>>,
    /// The attributes that a device begins with; a JSON object.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schemars(with = "Change<serde_json::Map<String, serde_json::Value>>")]
    pub initial_attributes: Change<serde_json::Value>,
    /// For how long a device that leaves can be taken back, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_s: Option<u64>,
    /// A new group secret takes the place of the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_secret: Option<RotateSecret>,
    /// Limits of the current group secret (the new one, if it is rotated by the same call).
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "SecretLimitsSet::is_empty")]
    #[schemars(with = "Option<SecretLimitsSet>")]
    pub limits: SecretLimitsSet,
}

impl ProfileSet {
    /// Whether it concerns nothing but the group secret and its limits.
    #[must_use]
    pub fn is_of_the_secret_only(&self) -> bool {
        let of_the_secret = ProfileSet {
            version: self.version,
            rotate_secret: self.rotate_secret.clone(),
            limits: self.limits.clone(),
            ..ProfileSet::default()
        };
        // A field that is added later counts as one of the rest by itself.
        serde_json::to_value(self).ok() == serde_json::to_value(of_the_secret).ok()
    }
}

/// Replaces the current group secret.
#[derive(Debug, Clone, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// The new secret; absent = the server makes one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "Secret::serialize_clear_option"
    )]
    pub secret: Option<Secret>,
    /// How long the old one stays valid beside it, in seconds.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<u64>")]
    pub overlap_s: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_in_a_question_is_what_is_absent() {
        let asked = r#"{"name":"p","strategy":"create-new","limits":null,"steps":null,"approval":null}"#;
        let create: ProfileCreate = serde_json::from_str(asked).unwrap();
        assert_eq!((create.limits, create.steps.len(), create.approval), (SecretLimits::default(), 0, false));
        let set: ProfileSet =
            serde_json::from_str(r#"{"limits":null,"rotate_secret":{"overlap_s":null}}"#).unwrap();
        assert!(set.limits.is_empty() && set.rotate_secret.is_some_and(|rotate| rotate.overlap_s == 0));
    }

    #[test]
    fn a_change_tells_keep_clear_and_set_apart() {
        let set: SecretLimitsSet = serde_json::from_str(r#"{"uses":null,"name_pattern":"a.*"}"#).unwrap();
        assert_eq!(set.expires_at, Change::Keep);
        assert_eq!(set.uses, Change::Clear);
        assert_eq!(set.name_pattern, Change::Set("a.*".to_owned()));
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"{"uses":null,"name_pattern":"a.*"}"#);
    }

    #[test]
    fn a_profile_is_asked_for_with_a_name_and_a_strategy_only() {
        let create: ProfileCreate =
            serde_json::from_str(r#"{"name":"p","strategy":"check-pre-provisioned"}"#).unwrap();
        assert_eq!(create.strategy, Strategy::CheckPreProvisioned);
        assert_eq!(create.limits, SecretLimits::default());
        assert!(
            serde_json::from_str::<ProfileCreate>(r#"{"name":"p","strategy":"disabled","x":1}"#).is_err()
        );
    }
}
