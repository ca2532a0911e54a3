//! One verb for many devices.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Change, Selector, or_default};

/// Which devices one call is about: those of a selector, or those of these names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    /// All devices that it finds; `{}` finds all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// The devices of these names, 10000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// How many they are: where the selector finds another number, nothing is done. Whatever shuts devices out by a
    /// selector needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_count: Option<u64>,
    /// Only tell what would become of each.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub dry_run: bool,
    /// The note that `devices:label` gives them; `null` or empty takes it away.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub label: Change<String>,
    /// The labels that `devices:label` gives them, by key; `null` takes one away.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "Option<BTreeMap<String, Option<String>>>")]
    pub labels: BTreeMap<String, Option<String>>,
}

/// One line of an answer for many devices (`application/x-ndjson`): a result for each as it is known, the summary
/// last. An answer without a summary was cut short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum BulkEvent {
    /// What became of one device.
    Device(BulkDevice),
    /// What became of all.
    Summary(BulkSummary),
}

/// What became of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkDevice {
    /// Its registration id.
    pub name: String,
    /// What became of it.
    pub result: BulkResult,
    /// For an error: the code that programs test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For an error: what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What became of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BulkResult {
    /// It is changed.
    Changed,
    /// It would be changed; only where that was all that was asked for.
    WouldChange,
    /// It was so already.
    Unchanged,
    /// It was refused.
    Error,
}

/// The counts of a call for many devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct BulkSummary {
    /// Devices that were changed, or would be.
    pub changed: u64,
    /// Devices that were so already.
    pub unchanged: u64,
    /// Devices that were refused.
    pub errors: u64,
}
