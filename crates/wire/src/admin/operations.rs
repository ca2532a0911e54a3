//! Durable work and its parts, and how devices leave.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Gate;

/// An operation: the durable work behind one decision.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Operation {
    /// Its number.
    pub id: u64,
    /// The name of its device.
    pub device: String,
    /// `join`, `leave` or `unwind`.
    pub kind: String,
    /// `before-reply`, `obligations`, `stopped` or `done`.
    pub phase: String,
    /// When it began.
    pub began_at: String,
    /// When nothing was left to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Its steps, in the order of the plan.
    pub steps: Vec<Step>,
}

/// A step of an operation.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Step {
    /// The operation it belongs to.
    pub operation: u64,
    /// Its place in the plan, from 0.
    pub step: u32,
    /// `ensure` or `retire`.
    pub action: String,
    /// With which connector.
    pub connector: String,
    /// When it is due.
    pub gate: Gate,
    /// `waiting`, `due`, `running`, `done`, `failed`, `abandoned` or `absorbed`.
    pub state: String,
    /// How often it was begun.
    pub attempts: u32,
    /// The device's name outside, by the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// More of the neighbour's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// The code of the last fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What the last fault said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_message: Option<String>,
    /// When it is tried (again), where it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
    /// Which server holds or held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// When it changed last.
    pub changed_at: String,
}

/// Lets one device leave.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decommission {
    /// The grace period in seconds; absent = the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_s: Option<u64>,
}

/// Lets the devices that a selector finds leave, some hundreds a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecommissionMany {
    /// Name of the tenant; absent = the caller's own, or the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only devices of this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Only devices in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only devices with exactly this note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only devices with all of these labels: `KEY=VALUE,KEY=VALUE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Only devices whose name begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_prefix: Option<String>,
    /// Only devices with this text in name or note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Only devices that were heard of then or later, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_after: Option<String>,
    /// Only devices that were heard of, and last before then, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_before: Option<String>,
    /// The grace period in seconds; absent = each profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_s: Option<u64>,
    /// Only devices of these names, 500 at most: those that somebody has agreed to. Who came in since stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// How many they are: where it is another number, nothing is done. Only where the answer is a line for each, and
    /// needed there where no names are said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_count: Option<u64>,
    /// Where the call before ended; not beside `names`, and not where the answer is a line for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only tell which.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came of one call for many devices.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Decommissioned {
    /// The names of those that leave now, or would.
    pub names: Vec<String>,
    /// How many of them each neighbour would be told to undo; only where that was all that was asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub would_retire: BTreeMap<String, u64>,
    /// Where the next call goes on; absent where all were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One thing that happened to a device.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: String,
    /// What: the kind of the journal's entry.
    pub kind: String,
    /// Who.
    pub actor: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

/// What a device has left behind, for whoever has to prove it. The text of a [`SignedReport`].
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct DepartureReport {
    /// The version of this shape: 1.
    pub version: u32,
    /// The name of the server that made it.
    pub server: String,
    /// When it was made.
    pub made_at: String,
    /// The name of the tenant.
    pub tenant: String,
    /// The device: its public id.
    pub device_id: String,
    /// Its registration id.
    pub device: String,
    /// The name of its profile.
    pub profile: String,
    /// Where it stands: `decommissioned` once everyone knows and the grace period is over.
    pub state: String,
    /// Since when.
    pub state_since: String,
    /// How many steps there are: a report from which one was taken does not add up.
    pub step_count: usize,
    /// Every step that was ever planned for it, with its receipt.
    pub steps: Vec<Step>,
    /// Whether no neighbour is left that may still know it.
    pub complete: bool,
    /// The ends of the journal's chains when it was made: `writer.number` and the link in hexadecimal.
    pub journal_heads: Vec<(String, String)>,
}

/// A report and its signature.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct SignedReport {
    /// What was signed: `muster/departure-report/v1`.
    pub format: String,
    /// The exact text that is signed: JSON of a [`DepartureReport`].
    pub report: String,
    /// The public key, Ed25519 (RFC 8032), 32 bytes in hexadecimal.
    pub public_key: String,
    /// The signature over the format, a zero byte and the text, 64 bytes in hexadecimal.
    pub signature: String,
}

/// The key that reports are signed with, for keeping elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ReportKey {
    /// Ed25519, 32 bytes in hexadecimal.
    pub public_key: String,
}
