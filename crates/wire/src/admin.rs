//! Our own operator API, `/api/muster/v1`: the shapes that the server and the command line share.
//!
//! Keys are `snake_case`; words of a fixed set are spelled as on the command line
//! (`create-new`, `return-existing`). Every point in time is RFC 3339 text in UTC, made by the server;
//! durations carry their unit in their name. An absent optional field and `null` mean the same, except
//! in a [`Change`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret::Secret;

/// The path below which the operator API lives.
pub const BASE_PATH: &str = "/api/muster/v1";

/// The media type of a [`Problem`].
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

// === Answers in general ===

/// Why a call was not carried out (RFC 9457, section 3.1), with our refusal code and a hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A reference that names the kind of problem; `about:blank` where the status says it all.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// A short sentence for the kind of problem.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The code that programs test, such as `device-exists`.
    pub code: String,
    /// What to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows, in the order of the listing.
    pub items: Vec<T>,
    /// The cursor to ask the next page with; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a partial update does to one field: an absent member keeps it, `null` clears it, anything else
/// sets it. Fields of this type need `#[serde(default, skip_serializing_if = "Change::is_keep")]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// Leave the field as it is.
    #[default]
    Keep,
    /// Remove the value.
    Clear,
    /// Put this value in its place.
    Set(T),
}

impl<T> Change<T> {
    /// Whether the field stays as it is.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The field's value after the change.
    pub fn apply(self, present: Option<T>) -> Option<T> {
        match self {
            Self::Keep => present,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => serializer.serialize_some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::deserialize(deserializer)? {
            Some(value) => Self::Set(value),
            None => Self::Clear,
        })
    }
}

// === Tenants and operators ===

/// A tenant: the outer wall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Public id.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// When it was made.
    pub created_at: String,
}

/// Asks for a new tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantCreate {
    /// Unique name.
    pub name: String,
}

/// What an operator token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorRight {
    /// Everything, in every tenant.
    Server,
    /// Everything within one tenant.
    Tenant,
}

/// An operator token as listed; the token itself was shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorToken {
    /// Public id, by which it is revoked.
    pub id: String,
    /// The operator's own note.
    pub label: String,
    /// What it opens.
    pub right: OperatorRight,
    /// Name of the tenant, for [`OperatorRight::Tenant`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// When it ends by itself; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// Asks for a new operator token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorTokenCreate {
    /// Name of the tenant it is limited to; absent = the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The operator's own note.
    #[serde(default)]
    pub label: String,
    /// Life in seconds; absent = no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
}

/// A new operator token. This answer is the only one that carries it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperatorTokenCreated {
    /// The token, for `Authorization: Bearer`.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub token: Secret,
    /// Its row as listed from now on.
    #[serde(flatten)]
    pub listed: OperatorToken,
}

// === Profiles ===

/// How a profile admits devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// A device nobody knows is created.
    CreateNew,
    /// Only devices that were added before.
    CheckPreProvisioned,
    /// Nobody.
    Disabled,
}

/// What happens when a provisioned device asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reprovision {
    /// It is refused.
    Refuse,
    /// It gets the same credentials, within the redelivery window.
    ReturnExisting,
    /// It gets new credentials, and the old ones are void.
    Rotate,
}

/// What a pre-provisioned device may do about its credentials (thingsboard page, section 1, row 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreProvisionedCredentials {
    /// Credentials it brings replace the stored ones.
    Accept,
    /// The stored ones are returned.
    Keep,
}

/// A profile: settings shared by devices of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Public id.
    pub id: String,
    /// Name of its tenant.
    pub tenant: String,
    /// Unique name within the tenant.
    pub name: String,
    /// How it admits devices.
    pub strategy: Strategy,
    /// What happens when a provisioned device asks again.
    pub reprovision: Reprovision,
    /// How long an equal request gets the same grant, in seconds.
    pub redelivery_window_s: u64,
    /// What a pre-provisioned device may do about its credentials.
    pub pre_provisioned_credentials: PreProvisionedCredentials,
    /// The identifier that devices name it by; not a secret.
    pub provision_key: String,
    /// Its group secrets, newest first; never their text.
    pub secrets: Vec<ProfileSecret>,
    /// Raised by every change.
    pub version: u64,
    /// When it was made.
    pub created_at: String,
}

/// What may be seen of a group secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileSecret {
    /// Its number within the profile.
    pub slot: u32,
    /// When it was made.
    pub created_at: String,
    /// When it ends; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// How many devices it may still bring in; absent = any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u64>,
    /// Source networks it is accepted from (`10.0.0.0/8`); empty = anywhere.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Pattern that the registration id must match; absent = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_pattern: Option<String>,
    /// Whether it is the newest one; an older one is on its way out.
    pub current: bool,
}

/// Limits on a group secret, counted from when they are set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretLimits {
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// How many devices it may bring in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
    /// Source networks it is accepted from; empty = anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Pattern that the registration id must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_pattern: Option<String>,
}

/// Changes to the limits of the current group secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretLimitsSet {
    /// When it ends.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub expires_at: Change<String>,
    /// How many more devices it may bring in.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub uses: Change<u64>,
    /// Source networks it is accepted from; cleared or empty = anywhere.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub networks: Change<Vec<String>>,
    /// Pattern that the registration id must match.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub name_pattern: Change<String>,
}

impl SecretLimitsSet {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Asks for a new profile. Key and secret are made by the server where they are absent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileCreate {
    /// Name of the tenant; absent = the caller's own, or the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Unique name within the tenant.
    pub name: String,
    /// How it admits devices.
    pub strategy: Strategy,
    /// What happens when a provisioned device asks again; absent = refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reprovision: Option<Reprovision>,
    /// How long an equal request gets the same grant, in seconds; absent = the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redelivery_window_s: Option<u64>,
    /// What a pre-provisioned device may do about its credentials; absent = accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_provisioned_credentials: Option<PreProvisionedCredentials>,
    /// The identifier that devices name it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision_key: Option<String>,
    /// The group secret.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "Secret::serialize_clear_option"
    )]
    pub provision_secret: Option<Secret>,
    /// Limits on the group secret.
    #[serde(default)]
    pub limits: SecretLimits,
}

/// A profile that was made, or whose secret was rotated. The only answer that carries the group secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfileCreated {
    /// The group secret.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub provision_secret: Secret,
    /// The profile as listed from now on, with its provision key.
    #[serde(flatten)]
    pub profile: Profile,
}

/// Changes to a profile; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSet {
    /// The version this change was made for; absent = whatever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How it admits devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// What happens when a provisioned device asks again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reprovision: Option<Reprovision>,
    /// How long an equal request gets the same grant, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redelivery_window_s: Option<u64>,
    /// What a pre-provisioned device may do about its credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_provisioned_credentials: Option<PreProvisionedCredentials>,
    /// A new group secret takes the place of the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_secret: Option<RotateSecret>,
    /// Limits of the current group secret (the new one, if it is rotated by the same call).
    #[serde(default, skip_serializing_if = "SecretLimitsSet::is_empty")]
    pub limits: SecretLimitsSet,
}

/// Replaces the current group secret.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// The new secret; absent = the server makes one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "Secret::serialize_clear_option"
    )]
    pub secret: Option<Secret>,
    /// How long the old one stays valid beside it, in seconds.
    #[serde(default)]
    pub overlap_s: u64,
}

// === Devices ===

/// Where a device is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// Adds a device that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCreate {
    /// Its registration id.
    pub name: String,
    /// Name of its profile.
    pub profile: String,
    /// The operator's own note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// One line of an import's answer (`application/x-ndjson`): a result for each row as it is known, the
/// summary last. An answer without a summary was cut short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ImportEvent {
    /// What became of one row.
    Row(ImportRow),
    /// What became of all.
    Summary(ImportSummary),
}

/// What became of one row of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueScope {
    /// A reading.
    Telemetry,
    /// An attribute that the device set.
    Client,
}

// === Attempts, explanations, audit ===

/// One attempt to provision, or several equal ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How many equal ones this row stands for.
    pub count: u64,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// What a request would get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// When it was taken.
    pub at: String,
    /// One head for each writer.
    pub writers: Vec<AuditWriter>,
}

/// The chain of one writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditVerifyRequest {
    /// The exported head; without one a cut tail cannot be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<AuditHead>,
}

/// What verifying the journal found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerify {
    /// The chains as found.
    pub writers: Vec<AuditWriter>,
    /// Whether there is no fault.
    pub ok: bool,
    /// What is wrong, in the order found.
    pub faults: Vec<AuditFault>,
}

/// One fault in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFault {
    /// The writer's name.
    pub writer: String,
    /// Number of the entry.
    pub number: u64,
    /// What is wrong with it.
    pub fault: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_tells_keep_clear_and_set_apart() {
        let set: SecretLimitsSet = serde_json::from_str(r#"{"uses":null,"name_pattern":"a.*"}"#).unwrap();
        assert_eq!(set.expires_at, Change::Keep);
        assert_eq!(set.uses, Change::Clear);
        assert_eq!(set.name_pattern, Change::Set("a.*".to_owned()));
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"{"uses":null,"name_pattern":"a.*"}"#);
    }

    #[test]
    fn a_change_applies_to_what_is_there() {
        assert_eq!(Change::Keep.apply(Some(1)), Some(1));
        assert_eq!(Change::Clear.apply(Some(1)), None);
        assert_eq!(Change::Set(2).apply(Some(1)), Some(2));
    }

    #[test]
    fn the_created_answers_carry_the_secret_and_their_debug_does_not() {
        let created = OperatorTokenCreated {
            token: "mst_abc".into(),
            listed: OperatorToken {
                id: "t1".into(),
                label: "ci".into(),
                right: OperatorRight::Server,
                tenant: None,
                expires_at: None,
                created_at: "2026-11-23T18:00:00Z".into(),
                revoked_at: None,
            },
        };
        let json = serde_json::to_string(&created).unwrap();
        assert_eq!(
            json,
            r#"{"token":"mst_abc","id":"t1","label":"ci","right":"server","created_at":"2026-11-23T18:00:00Z"}"#
        );
        assert!(!format!("{created:?}").contains("mst_abc"));
        let back: OperatorTokenCreated = serde_json::from_str(&json).unwrap();
        assert_eq!(back.token.expose(), "mst_abc");
        assert_eq!(back.listed, created.listed);
    }

    #[test]
    fn a_profile_is_asked_for_with_a_name_and_a_strategy_only() {
        let create: ProfileCreate =
            serde_json::from_str(r#"{"name":"p","strategy":"check-pre-provisioned"}"#).unwrap();
        assert_eq!(create.strategy, Strategy::CheckPreProvisioned);
        assert_eq!(create.limits, SecretLimits::default());
        assert!(
            serde_json::from_str::<ProfileCreate>(r#"{"name":"p","strategy":"disabled","x":1}"#).is_err()
        );
    }

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
