//! Which devices a call is about.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which devices. What is absent does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// Only those of this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only those with all of these labels: `KEY=VALUE,KEY=VALUE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Only those with exactly this note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only those whose name begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_prefix: Option<String>,
    /// Only those with this text in name or note, whatever the case of the letters A to Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Only those that were heard of then or later, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_after: Option<String>,
    /// Only those that were heard of, and last before then, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_before: Option<String>,
}
