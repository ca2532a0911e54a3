//! Where provisioning is stopped.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stop, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Freeze {
    /// Name of the profile that is stopped; absent = all of the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Slot of the group secret that is stopped; absent = all of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<u64>,
    /// Since when.
    pub since: String,
    /// Who stopped it.
    pub actor: String,
    /// Why, in the operator's words.
    pub reason: String,
}

/// Stops provisioning.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeCreate {
    /// Name of a profile; absent = all of the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Slot of one of the profile's group secrets; absent = all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<u64>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}
