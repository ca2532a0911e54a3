//! Backups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A backup that is being made, was made, or failed.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Backup {
    /// Its name: that of its folder on the server's machine.
    pub name: String,
    /// How it stands.
    pub state: BackupState,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<String>,
    /// Its length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The key-encryption keys that it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kek_ids: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a backup stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupState {
    /// It is being made.
    Running,
    /// It is whole.
    Done,
    /// It could not be made.
    Failed,
}

/// Asks for a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupCreate {
    /// Its name; absent = the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
