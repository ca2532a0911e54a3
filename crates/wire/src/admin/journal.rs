//! Attempts, explanations, audit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One attempt to provision, or several equal ones.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Attempt {
    /// When; of several equal ones the last.
    pub at: String,
    /// Name of the tenant, as far as the attempt named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The address it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The protocol it came by, such as `thingsboard-mqtt`.
    pub wire: String,
    /// Name of the profile, as far as the attempt named one that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The registration id it named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// For a refusal: its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For a refusal: what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
    /// For a refusal: what to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How many equal ones this row stands for.
    pub count: u64,
}

/// Something that happened: an entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Event {
    /// The place behind it, from where reading can go on; the `id` of a server-sent event.
    pub place: String,
    /// When.
    pub at: String,
    /// What: the kind of the entry.
    pub kind: String,
    /// Who.
    pub actor: String,
    /// Name of the tenant, where it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Public id of the device it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// More about it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

/// Events that follow a place.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Events {
    /// The events, those of each server in their order.
    pub items: Vec<Event>,
    /// The place to go on from; always there, as there may be more later.
    pub next: String,
    /// Whether there is more already.
    pub more: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptOutcome {
    /// A device was provisioned.
    Granted,
    /// The same asked again and got the same.
    Unchanged,
    /// It was refused.
    Refused,
}

/// What would happen to a registration id under one profile, and why.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Explain {
    /// The registration id that was asked for.
    pub registration_id: String,
    /// Name of the profile this answer is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What a request would get.
    pub verdict: Verdict,
    /// Every check, in the order they are made.
    pub checks: Vec<ExplainedCheck>,
    /// What the device tried last, where it is among the newest attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Attempt>,
}

/// What a request would get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check that could be judged passes, none is open.
    Admitted,
    /// At least one check says no.
    Refused,
    /// No check says no, but one could not be judged.
    Unknown,
}

/// One check of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ExplainedCheck {
    /// The check's name.
    pub check: String,
    /// What it says.
    pub answer: CheckAnswer,
    /// For a no: the code of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What it found, in a sentence.
    pub sentence: String,
    /// What to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckAnswer {
    /// Nothing against it.
    Pass,
    /// This one refuses.
    No,
    /// It cannot be judged from what was asked.
    Unknown,
}

/// The heads of all journal chains at one moment: what `audit head` exports and `audit verify` compares.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct AuditHead {
    /// When it was taken.
    pub at: String,
    /// One head for each writer.
    pub writers: Vec<AuditWriter>,
}

/// The chain of one writer.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct AuditWriter {
    /// The writer's name.
    pub writer: String,
    /// How many entries its chain has.
    pub entries: u64,
    /// Number of its newest entry.
    pub head_number: u64,
    /// Link of its newest entry, in lower-case hex.
    pub head_link: String,
}

/// Asks to verify the journal, against a head that was exported before if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditVerifyRequest {
    /// The exported head; without one a cut tail cannot be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<AuditHead>,
}

/// What verifying the journal found.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct AuditVerify {
    /// The chains as found.
    pub writers: Vec<AuditWriter>,
    /// Whether there is no fault.
    pub ok: bool,
    /// What is wrong, in the order found.
    pub faults: Vec<AuditFault>,
}

/// One fault in the journal.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct AuditFault {
    /// The writer's name.
    pub writer: String,
    /// Number of the entry.
    pub number: u64,
    /// What is wrong with it.
    pub fault: String,
}
