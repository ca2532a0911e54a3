//! What joining takes beside the proof: steps, questions, and what a device begins with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a step is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Before the device is answered.
    BeforeReply,
    /// For as long as the device's protocol has patience, else later.
    WithReply,
    /// At once, but nobody waits for it.
    AfterReply,
    /// When the device uses its credentials for the first time.
    OnFirstConnection,
}

/// What is done outside for each device of a profile.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileStep {
    /// The connector, by its name in the configuration.
    pub connector: String,
    /// When.
    pub gate: Gate,
}

/// A question that waits for a hook or a person, or its answer that waits for the device.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Approval {
    /// Its number.
    pub id: u64,
    /// What the device calls itself.
    pub name: String,
    /// Name of the profile it came under.
    pub profile: String,
    /// `awaits-hook`, `awaits-person`, `allowed` or `denied`.
    pub verdict: String,
    /// The address it asked from first.
    pub source: String,
    /// The wire it asked by.
    pub wire: String,
    /// The kind of credentials it would like to have.
    pub credential: String,
    /// Whether it says that it speaks for others.
    #[serde(default)]
    pub gateway: bool,
    /// The hook that is or was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// How often the hook was asked.
    #[serde(default)]
    pub attempts: u32,
    /// What the hook's last failure said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Why it was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was asked first.
    pub asked_at: String,
    /// From when on it counts for nothing.
    pub expires_at: String,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<String>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

/// Turns a device away.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// Why; operators see it.
    #[serde(default)]
    pub reason: String,
}

/// A connector or a hook of the server's configuration.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// `connector` or `hook`.
    pub kind: String,
}

/// Whether a neighbour could work right now.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct NeighbourCheck {
    /// Its name.
    pub name: String,
    /// Whether it could.
    pub works: bool,
    /// Where it could not: the code of the fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where it could not: what happened and what to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
