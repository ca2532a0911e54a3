//! Devices, their import and their values.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Change, or_default};

/// Where a device is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// Added, not seen yet.
    Expected,
    /// On its way.
    Provisioning,
    /// Holds credentials.
    Provisioned,
    /// Could not be provisioned.
    Failed,
    /// Switched off by an operator.
    Disabled,
    /// On its way out.
    Decommissioning,
    /// Gone; its history stays.
    Decommissioned,
}

/// The kind of credentials a device holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialsType {
    /// An access token.
    AccessToken,
    /// MQTT client id, user name and password.
    MqttBasic,
    /// An X.509 certificate.
    X509,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Device {
    /// Public id.
    pub id: String,
    /// Its registration id.
    pub name: String,
    /// Name of its profile.
    pub profile: String,
    /// The operator's own note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its labels, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: DeviceState,
    /// Since when.
    pub state_since: String,
    /// What it logs in with; absent before it was provisioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_type: Option<CredentialsType>,
    /// Whether it speaks for other devices.
    #[serde(default)]
    pub gateway: bool,
    /// When it was heard of last, a minute behind at most; absent where it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// The attributes that the server's side gave it; only where one device is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<serde_json::Value>,
    /// Of one that leaves: until when it can be taken back; only where one device is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_until: Option<String>,
    /// The neighbours that may know it; only where one device is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_to: Vec<String>,
    /// What would be undone if it left now, in that order; only where one device is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub would_retire: Vec<Retirement>,
    /// The number of its newest operation, where that is not done; only where one device is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<u64>,
}

/// What a neighbour would be told to undo.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Retirement {
    /// Its place in the plan, from 0.
    pub step: u32,
    /// With which connector.
    pub connector: String,
    /// The device's name outside, by the receipt; absent where an attempt was made whose answer never came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// Adds a device that is expected.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCreate {
    /// Its registration id.
    pub name: String,
    /// Name of its profile.
    pub profile: String,
    /// The operator's own note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its labels, by key.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub labels: BTreeMap<String, String>,
}

/// Changes what operators say of a device; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceSet {
    /// The operator's own note; `null` or empty takes it away.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub label: Change<String>,
    /// Labels by key; `null` takes one away.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "Option<BTreeMap<String, Option<String>>>")]
    pub labels: BTreeMap<String, Option<String>>,
}

/// One line of an import's answer (`application/x-ndjson`): a result for each row as it is known, the
/// summary last. An answer without a summary was cut short.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ImportEvent {
    /// What became of one row.
    Row(ImportRow),
    /// What became of all.
    Summary(ImportSummary),
}

/// What became of one row of an import.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ImportRow {
    /// Line in the file; the header is line 1.
    pub line: u64,
    /// The registration id in it.
    pub name: String,
    /// What became of it.
    pub result: ImportResult,
    /// For an error: the code that programs test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For an error: what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What became of an imported row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportResult {
    /// The device is new.
    Created,
    /// It was there already, just so.
    Unchanged,
    /// It was there and now is as in the row.
    Updated,
    /// The row was refused.
    Error,
}

/// The counts of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema, Serialize, Deserialize)]
pub struct ImportSummary {
    /// New devices.
    pub created: u64,
    /// Devices that were there already.
    pub unchanged: u64,
    /// Devices that changed.
    pub updated: u64,
    /// Refused rows.
    pub errors: u64,
}

/// The last value of one key.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct TelemetryValue {
    /// The key.
    pub key: String,
    /// The value's own time, in milliseconds since 1970; may be the device's word, so any number.
    pub ts_ms: i64,
    /// The value.
    pub value: serde_json::Value,
    /// What kind of value it is.
    pub scope: ValueScope,
}

/// Where a value belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueScope {
    /// A reading.
    Telemetry,
    /// An attribute that the device set.
    Client,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_line_says_whether_it_is_a_row_or_the_summary() {
        let row = ImportEvent::Row(ImportRow {
            line: 2,
            name: "pump-17".into(),
            result: ImportResult::Created,
            code: None,
            detail: None,
        });
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"type":"row","line":2,"name":"pump-17","result":"created"}"#
        );
        let summary = ImportEvent::Summary(ImportSummary { created: 1, ..ImportSummary::default() });
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(json, r#"{"type":"summary","created":1,"unchanged":0,"updated":0,"errors":0}"#);
        assert_eq!(serde_json::from_str::<ImportEvent>(&json).unwrap(), summary);
    }
}
