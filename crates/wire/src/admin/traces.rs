//! Traces: what single devices send and are told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Begins a trace.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceCreate {
    /// The registration id of the device; it need not be known yet.
    pub name: String,
    /// For how long, in seconds: at most a day; 600 where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// A trace, kept by the server that was asked.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Trace {
    /// The registration id of the device.
    pub name: String,
    /// Until when exchanges are kept; they can be read for an hour more.
    pub until: String,
    /// How many exchanges there are.
    pub exchanges: u64,
    /// How many older ones are not kept any more.
    pub dropped: u64,
}

/// A packet of a traced device and what came of it, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Exchange {
    /// When it was over.
    pub at: String,
    /// The address of the device.
    pub source: String,
    /// The wire it spoke.
    pub wire: String,
    /// What sort of packet, in the wire's own words.
    pub packet: String,
    /// What the device sent; absent where there was nothing to be read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sent: String,
    /// What came of it.
    pub outcome: ExchangeOutcome,
    /// Of a refusal its code; of what the wire alone rejects its own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of a refusal: what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
    /// Of a refusal: what to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the device was told; absent where it was told nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub told: String,
}

/// What came of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeOutcome {
    /// It was granted, or taken.
    Accepted,
    /// It was refused.
    Refused,
    /// The wire alone said no.
    Rejected,
}
