//! Key-encryption keys and what they seal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// How it stands with the secrets.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Secrets {
    /// Why they are locked; absent = they are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<String>,
    /// The key-encryption keys that there are, and were, in the order in which they were added.
    pub keks: Vec<Kek>,
    /// How far the walks over the sealed values have come, those that ended among them.
    pub walks: Vec<SecretsWalk>,
}

/// A key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Kek {
    /// Its id; begins with the word of its provider.
    pub id: String,
    /// What it is for now.
    pub state: KekState,
    /// How many sealed values need it.
    pub values: u64,
    /// When it was added.
    pub added_at: String,
    /// When it was retired, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<String>,
    /// Why it is not at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// What a key-encryption key is for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KekState {
    /// New values are sealed by it.
    Active,
    /// It opens what it sealed before.
    Reading,
    /// It is not at hand.
    Missing,
    /// Nothing here needs it; older backups do.
    Retired,
}

/// A walk over all sealed values.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct SecretsWalk {
    /// `rewrap` or `rekey`.
    pub walk: String,
    /// Values a second, at most.
    pub rate: u32,
    /// Values that were changed.
    pub done: u64,
    /// Values that do not open, and stay as they are.
    pub failed: u64,
    /// When it began.
    pub started_at: String,
    /// When it was through or stopped; absent = it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// Something for which a passphrase may be needed.
#[derive(Debug, Clone, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsUnlock {
    /// The passphrase; absent = with the keys that are at hand.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "passphrase")]
    pub passphrase: Option<Secret>,
}

/// Asks for a walk.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsWalkRequest {
    /// Values a second; absent = the walk is stopped where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

/// What opening every sealed value found.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct SecretsVerify {
    /// Values that were looked at.
    pub values: u64,
    /// How many of them do not open.
    pub unreadable: u64,
    /// Which; the first hundred.
    pub places: Vec<String>,
}

/// Asks to give up what does not open.
#[derive(Debug, Clone, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsResetRequest {
    /// Only tell what it would cost.
    #[serde(default)]
    pub dry_run: bool,
    /// The passphrase of the new key, where keys come from passphrases.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "passphrase")]
    pub passphrase: Option<Secret>,
}

/// What giving up costs, or has cost.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct SecretsReset {
    /// Whether it was only told.
    pub dry_run: bool,
    /// Sealed values that are dropped.
    pub dropped: u64,
    /// Whether the server's own keys are made anew, which voids every credential, group secret and token.
    pub keys_made: bool,
}

/// Where its field says so, a passphrase travels.
#[expect(clippy::ref_option, reason = "the shape that serde asks for")]
fn passphrase<S: serde::Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => Secret::serialize_clear(secret, serializer),
        None => serializer.serialize_none(),
    }
}
