//! May it be provisioned now? One ordered table of named checks.
//!
//! [`admit`] stops at the first no; [`explain`] runs them all, so that what an operator is told is what
//! devices are told.

use std::net::IpAddr;

use crate::name::Name;
use crate::profile::PreProvisionedCredentials;
use crate::{
    Credential, DeviceRecord, DeviceState, GroupSecret, Profile, Question, Refusal, Reprovision,
    StandingQuestion, Strategy, Timestamp, Verdict, Wish,
};

/// What the checks look at. A part that is `None` is not known, and what depends on it is not judged.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// The name, where there is one.
    pub name: Option<&'a Name>,
    /// Where the request comes from.
    pub source: Option<IpAddr>,
    /// The profile it comes under.
    pub profile: &'a Profile,
    /// The group secret that it offered.
    pub secret: Option<&'a GroupSecret>,
    /// The uses that this secret has left, freshly read.
    pub uses_left: Option<u64>,
    /// The device of that name in the tenant, of whatever profile.
    pub device: Option<&'a DeviceRecord>,
    /// The credentials it would like to have.
    pub wish: Option<&'a Wish>,
    /// The question that stands for this name under this profile.
    pub question: Option<&'a StandingQuestion>,
    /// The moment of asking.
    pub now: Timestamp,
}

/// What one check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing against it.
    Pass,
    /// No, and why.
    No(Refusal),
    /// It depends on something that is not known.
    Unknown,
}

/// One check, by the name under which operators see it.
pub struct Check {
    /// Its name.
    pub name: &'static str,
    judge: fn(&Inquiry<'_>) -> Answer,
}

/// The checks, in the order in which they are asked.
pub const CHECKS: &[Check] = &[
    Check { name: "freeze", judge: freeze },
    Check { name: "strategy", judge: strategy },
    Check { name: "secret-expiry", judge: secret_expiry },
    Check { name: "secret-networks", judge: secret_networks },
    Check { name: "secret-name-pattern", judge: secret_name_pattern },
    Check { name: "device", judge: device },
    Check { name: "credentials", judge: credentials },
    Check { name: "secret-uses", judge: secret_uses },
    Check { name: "question", judge: question },
];

/// Stops at the first no.
///
/// # Errors
/// The refusal of the first check that says no.
pub fn admit(inquiry: &Inquiry<'_>) -> Result<(), Refusal> {
    for check in CHECKS {
        if let Answer::No(refusal) = (check.judge)(inquiry) {
            return Err(refusal);
        }
    }
    Ok(())
}

/// Runs every check.
pub fn explain(inquiry: &Inquiry<'_>) -> Vec<(&'static str, Answer)> {
    CHECKS.iter().map(|check| (check.name, (check.judge)(inquiry))).collect()
}

/// The check that only a device that asks can show the answer of, where this refusal is its answer: `proof` is
/// attestation's, the others are among [`CHECKS`].
pub fn shown_by_asking(refusal: Refusal) -> Option<&'static str> {
    use Refusal as R;
    match refusal {
        R::EvidenceMissing | R::ProfileUnknown | R::ProofInvalid | R::TooManyAttempts => Some("proof"),
        R::CredentialsInUse
        | R::CredentialsInUseElsewhere
        | R::CredentialsTypeUnknown
        | R::CredentialsIncomplete
        | R::CredentialsMalformed
        | R::BasicIdentityMissing
        | R::BasicPasswordWithoutUser
        | R::CertificateMalformed
        | R::Lwm2mUnsupported => Some("credentials"),
        R::ApprovalPending | R::HookPending | R::QuestionsFull => Some("question"),
        _ => None,
    }
}

impl Inquiry<'_> {
    /// Whether an equal request may be told the same again.
    pub fn within_redelivery(&self, device: &DeviceRecord) -> bool {
        self.asks_the_same(device)
            && self.now.since_ms(device.state_since) < self.profile.redelivery_window_ms
    }

    /// Whether it asks for what the device was given already.
    pub fn asks_the_same(&self, device: &DeviceRecord) -> bool {
        let equal = self.wish.is_none_or(|wish| device.credential.answers(wish));
        equal || self.was_ignored(device)
    }

    /// Whether the device may not know its credentials yet: they took longer than it waited, and nobody has
    /// used them. It is told the same again, whatever the policy.
    pub fn is_unanswered(&self, device: &DeviceRecord) -> bool {
        device.owed.answer && device.state == DeviceState::Provisioned && self.asks_the_same(device)
    }

    /// Whether what an expected device brought of its own has been ignored, or it was told what an operator gave it,
    /// and so counts for nothing now.
    fn was_ignored(&self, device: &DeviceRecord) -> bool {
        self.profile.strategy == Strategy::CheckPreProvisioned
            && match device.credential {
                Credential::Derived(_) => {
                    self.profile.pre_provisioned_credentials == PreProvisionedCredentials::Keep
                }
                Credential::Token(..) | Credential::Basic(..) | Credential::Certificate(..) => {
                    matches!(self.wish, Some(Wish::ServerMade))
                }
                Credential::None => false,
            }
    }

    fn is_provisioned(&self) -> bool {
        self.device.is_some_and(|device| device.state.has_credentials())
    }
}

fn require(condition: bool, refusal: Refusal) -> Answer {
    if condition { Answer::Pass } else { Answer::No(refusal) }
}

/// Comes first: an emergency stop is the answer, whatever else would stand against it.
fn freeze(inquiry: &Inquiry<'_>) -> Answer {
    let frozen = inquiry.profile.frozen || inquiry.secret.is_some_and(|secret| secret.frozen);
    match inquiry.secret {
        None if !frozen && inquiry.profile.secrets.iter().any(|secret| secret.frozen) => Answer::Unknown,
        _ => require(!frozen, Refusal::ProvisioningFrozen),
    }
}

fn strategy(inquiry: &Inquiry<'_>) -> Answer {
    require(inquiry.profile.strategy != Strategy::Disabled, Refusal::ProvisioningDisabled)
}

fn secret_expiry(inquiry: &Inquiry<'_>) -> Answer {
    let Some(secret) = inquiry.secret else { return Answer::Unknown };
    require(secret.is_current(inquiry.now), Refusal::SecretExpired)
}

fn secret_networks(inquiry: &Inquiry<'_>) -> Answer {
    match (inquiry.secret, inquiry.source) {
        (Some(secret), _) if secret.networks.is_empty() => Answer::Pass,
        (Some(secret), Some(source)) => require(secret.allows_source(source), Refusal::SourceNotAllowed),
        _ => Answer::Unknown,
    }
}

fn secret_name_pattern(inquiry: &Inquiry<'_>) -> Answer {
    match (inquiry.secret, inquiry.name) {
        (Some(secret), _) if secret.name_pattern.is_none() => Answer::Pass,
        (Some(secret), Some(name)) => require(secret.allows_name(name.as_str()), Refusal::NameNotAllowed),
        _ => Answer::Unknown,
    }
}

fn device(inquiry: &Inquiry<'_>) -> Answer {
    let expected_only = inquiry.profile.strategy == Strategy::CheckPreProvisioned;
    let Some(device) = inquiry.device else {
        let refusal = if inquiry.name.is_some() { Refusal::DeviceUnknown } else { Refusal::NameMissing };
        return require(!expected_only, refusal);
    };
    let taken = if expected_only { Refusal::AlreadyProvisioned } else { Refusal::DeviceExists };
    match device.state {
        _ if device.profile != inquiry.profile.id => {
            let created = Refusal::NameOfOtherProfile;
            Answer::No(if expected_only { Refusal::DeviceOfOtherProfile } else { created })
        }
        DeviceState::Disabled { .. } => Answer::No(Refusal::DeviceDisabled),
        DeviceState::Expected => require(expected_only || device.owed.return_home, Refusal::DeviceAnnounced),
        DeviceState::Provisioning => require(inquiry.asks_the_same(device), Refusal::OperationRunning),
        DeviceState::Provisioned if inquiry.is_unanswered(device) => Answer::Pass,
        DeviceState::Provisioned => require(may_come_again(inquiry, device), taken),
        DeviceState::Failed => Answer::No(Refusal::OperationStopped),
        DeviceState::Decommissioning | DeviceState::Decommissioned => Answer::No(Refusal::DeviceLeaving),
    }
}

fn may_come_again(inquiry: &Inquiry<'_>, device: &DeviceRecord) -> bool {
    match inquiry.profile.reprovision {
        Reprovision::Refuse => false,
        Reprovision::ReturnExisting => inquiry.within_redelivery(device),
        Reprovision::Rotate => true,
    }
}

fn credentials(inquiry: &Inquiry<'_>) -> Answer {
    match inquiry.wish {
        Some(Wish::Unusable(refusal)) => Answer::No(*refusal),
        Some(_) => Answer::Pass,
        None => Answer::Unknown,
    }
}

/// Who only hears again what was decided is not asked about again. A question that does not stand yet is no
/// answer: the decision asks it.
fn question(inquiry: &Inquiry<'_>) -> Answer {
    if Question::of(inquiry.profile).is_none() {
        return Answer::Pass;
    }
    match inquiry.question.filter(|question| inquiry.now < question.expires_at).map(|it| &it.verdict) {
        Some(Verdict::Allowed { .. }) => Answer::Pass,
        Some(Verdict::Denied) => Answer::No(Refusal::ProvisioningDenied),
        Some(Verdict::AwaitsHook) | Some(Verdict::AwaitsPerson) | None => Answer::Unknown,
    }
}

/// Only the move to provisioned spends a use.
fn secret_uses(inquiry: &Inquiry<'_>) -> Answer {
    let Some(secret) = inquiry.secret else { return Answer::Unknown };
    let limited = secret.uses_left.is_some() && !inquiry.is_provisioned();
    require(!limited || inquiry.uses_left != Some(0), Refusal::UsesExhausted)
}
