//! Why an operator was told no.

use domain::{Refusal, Role};
use store::StoreError;

/// What sort of thing was looked for, as operators call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A tenant.
    Tenant,
    /// An operator token.
    OperatorToken,
    /// An account of an operator.
    Account,
    /// A profile.
    Profile,
    /// A group secret.
    GroupSecret,
    /// A stop of provisioning.
    Freeze,
    /// A trace of a device.
    Trace,
    /// A device.
    Device,
    /// An operation.
    Operation,
    /// A question that waits for a person.
    Approval,
    /// A connector or a hook.
    Connector,
    /// The credentials of a device.
    Credentials,
    /// A key-encryption key.
    Kek,
    /// A backup.
    Backup,
}

impl What {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            What::Tenant => "tenant",
            What::OperatorToken => "operator token",
            What::Account => "account",
            What::Profile => "profile",
            What::GroupSecret => "group secret",
            What::Freeze => "stop of provisioning by",
            What::Trace => "trace of",
            What::Device => "device",
            What::Operation => "operation",
            What::Approval => "approval",
            What::Connector => "connector",
            What::Credentials => "credential set",
            What::Kek => "key-encryption key",
            What::Backup => "backup",
        }
    }

    fn codes(self) -> (&'static str, &'static str) {
        match self {
            What::Tenant => ("tenant-not-found", "tenant-exists"),
            What::OperatorToken => ("operator-token-not-found", "operator-token-exists"),
            What::Account => ("account-not-found", "account-exists"),
            What::Profile => ("profile-not-found", "profile-exists"),
            What::GroupSecret => ("group-secret-not-found", "group-secret-exists"),
            What::Freeze => ("freeze-not-found", "freeze-exists"),
            What::Trace => ("trace-not-found", "trace-exists"),
            What::Device => ("device-not-found", "device-exists"),
            What::Operation => ("operation-not-found", "operation-exists"),
            What::Approval => ("approval-not-found", "approval-exists"),
            What::Connector => ("connector-not-found", "connector-exists"),
            What::Credentials => ("credentials-not-found", "credentials-exist"),
            What::Kek => ("kek-not-found", "kek-exists"),
            What::Backup => ("backup-not-found", "backup-exists"),
        }
    }

    fn listing(self) -> &'static str {
        match self {
            What::Tenant => "See which there are: muster tenant list.",
            What::OperatorToken => "See which there are: muster operator token list.",
            What::Account => "See which there are: muster operator list.",
            What::Profile => "See which there are: muster profile list.",
            What::GroupSecret => "See which there are: muster profile show NAME.",
            What::Freeze => "See which there are: muster freeze list.",
            What::Trace => "See which there are: muster trace list.",
            What::Device => "See which there are: muster device list.",
            What::Operation => "See which there are: muster operation list.",
            What::Approval => "See which there are: muster approval list --all.",
            What::Connector => "See which there are: muster connector list.",
            What::Credentials => "Give the device credentials, or let it provision.",
            What::Kek => "See which there are: muster secrets list.",
            What::Backup => "See which there are: muster backup list.",
        }
    }
}

/// Why the registry did not do what an operator asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such thing, or none that this operator may see.
    #[error("There is no {} `{name}`.", what.word())]
    NotFound {
        /// What was looked for.
        what: What,
        /// Under which name.
        name: String,
    },
    /// The name is taken.
    #[error("There is a {} `{name}` already.", what.word())]
    Exists {
        /// What it collides with.
        what: What,
        /// Its name.
        name: String,
    },
    /// Another profile, of whatever tenant, has this provision key.
    #[error("Another profile has this provision key.")]
    ProvisionKeyInUse,
    /// The change was made for a version that no longer stands.
    #[error("The profile has changed meanwhile: it is at version {present}.")]
    VersionChanged {
        /// The version that stands now.
        present: u64,
    },
    /// The save was made for a revision that no longer stands.
    #[error("The {} has changed meanwhile: it is at revision {present}.", what.word())]
    RevisionChanged {
        /// What has changed.
        what: What,
        /// The revision that stands now.
        present: u64,
    },
    /// The credentials belong to another device.
    #[error("The credentials belong to another device.")]
    CredentialsInUse {
        /// Whether that is one of another tenant.
        elsewhere: bool,
    },
    /// The credentials break the rules.
    #[error("{}", .0.sentence())]
    CredentialsRefused(Refusal),
    /// Devices belong to the profile.
    #[error("Devices belong to the profile `{name}`.")]
    ProfileInUse {
        /// The profile.
        name: String,
    },
    /// Every tenant has a default profile.
    #[error("`{name}` is the tenant's default profile.")]
    DefaultProfile {
        /// The profile.
        name: String,
    },
    /// The device belongs to another profile.
    #[error("The device `{name}` belongs to the profile `{profile}`.")]
    OtherProfile {
        /// The device.
        name: String,
        /// The profile it belongs to.
        profile: String,
    },
    /// No step of the operation has failed for good, or its device does not wait for it.
    #[error("Operation {operation} has not stopped before its device was answered.")]
    NotStopped {
        /// The operation.
        operation: u64,
    },
    /// There is no such step that could be written off now.
    #[error("Step {step} of operation {operation} is not open: it is over, running now, or not there.")]
    StepNotOpen {
        /// The operation.
        operation: u64,
        /// The step.
        step: u32,
    },
    /// Another person was first.
    #[error("Question {question} was decided already, by {by}: {verdict}.")]
    Decided {
        /// The question.
        question: u64,
        /// Who decided.
        by: String,
        /// What was said.
        verdict: &'static str,
    },
    /// The change was made for something that no longer stands so.
    #[error("`{name}` has changed meanwhile.")]
    StandChanged {
        /// Its name.
        name: String,
    },
    /// The device is on its way out, or gone.
    #[error("The device `{name}` is being decommissioned already.")]
    Leaving {
        /// The device.
        name: String,
    },
    /// The device is not on its way out.
    #[error("The device `{name}` is not being decommissioned.")]
    NotLeaving {
        /// The device.
        name: String,
    },
    /// The device was on its way out for so long that it cannot be taken back.
    #[error("The grace period of the device `{name}` is over.")]
    GraceOver {
        /// The device.
        name: String,
    },
    /// Neighbours know the device.
    #[error("The device `{name}` is known to neighbours, who have to be told that it leaves.")]
    Joined {
        /// The device.
        name: String,
    },
    /// A value that breaks the rules.
    #[error("`{field}` cannot be used: {detail}")]
    Invalid {
        /// The field, as the API spells it.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// One backup at a time.
    #[error("Another backup is being made.")]
    BackupRunning,
    /// As many devices are traced as can be.
    #[error("As many devices are traced as can be at a time.")]
    TracesExhausted,
    /// The key-encryption key cannot be had.
    #[error("The key cannot be had: {0}.")]
    KekUnavailable(String),
    /// Sealed values need the key-encryption key.
    #[error("{values} sealed values need the key-encryption key `{id}`.")]
    KekNeeded {
        /// The key.
        id: String,
        /// How many need it; 0 where it is the one that seals.
        values: u64,
    },
    /// Operators of one tenant may not do this.
    #[error("This token is limited to one tenant; what was asked for concerns the whole server.")]
    Forbidden,
    /// The operator's role does not allow it.
    #[error("The role `{}` does not allow this.", role.word())]
    RoleInsufficient {
        /// The role.
        role: Role,
    },
    /// The store did not do it.
    #[error("{}", .0.refusal().sentence())]
    Store(#[source] StoreError),
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> RegistryError {
        match error {
            // Databases differ in what they take; that is no failure of ours.
            StoreError::Unstorable(what) => RegistryError::invalid(
                what,
                "the database does not take it, as it does not take the character U+0000.",
            ),
            error => RegistryError::Store(error),
        }
    }
}

impl RegistryError {
    /// The stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            RegistryError::NotFound { what, .. } => what.codes().0,
            RegistryError::Exists { what, .. } => what.codes().1,
            RegistryError::ProvisionKeyInUse => "provision-key-in-use",
            RegistryError::VersionChanged { .. } => "version-changed",
            RegistryError::RevisionChanged { .. } => "revision-changed",
            RegistryError::StandChanged { .. } => "precondition-failed",
            RegistryError::CredentialsInUse { elsewhere: false } => Refusal::CredentialsInUse.code(),
            RegistryError::CredentialsInUse { elsewhere: true } => Refusal::CredentialsInUseElsewhere.code(),
            RegistryError::CredentialsRefused(refusal) => refusal.code(),
            RegistryError::ProfileInUse { .. } => "profile-in-use",
            RegistryError::DefaultProfile { .. } => "profile-default",
            RegistryError::OtherProfile { .. } => Refusal::DeviceOfOtherProfile.code(),
            RegistryError::NotStopped { .. } => "operation-not-stopped",
            RegistryError::StepNotOpen { .. } => "step-not-open",
            RegistryError::Decided { .. } => "approval-decided",
            RegistryError::Leaving { .. } => Refusal::DeviceLeaving.code(),
            RegistryError::NotLeaving { .. } => "device-not-leaving",
            RegistryError::GraceOver { .. } => "grace-over",
            RegistryError::Joined { .. } => "device-joined",
            RegistryError::Invalid { .. } => "value-invalid",
            RegistryError::BackupRunning => "backup-running",
            RegistryError::TracesExhausted => "traces-exhausted",
            RegistryError::KekUnavailable(_) => "kek-unavailable",
            RegistryError::KekNeeded { .. } => "kek-needed",
            RegistryError::Forbidden => "right-missing",
            RegistryError::RoleInsufficient { .. } => "role-insufficient",
            RegistryError::Store(error) => error.refusal().code(),
        }
    }

    /// What to try.
    pub fn hint(&self) -> &'static str {
        match self {
            RegistryError::NotFound { what, .. } => what.listing(),
            RegistryError::Exists { .. } => "Choose another name, or change the one that is there.",
            RegistryError::ProvisionKeyInUse => {
                "Choose another key, or leave it out and let the server make one."
            }
            RegistryError::VersionChanged { .. } => {
                "Look at it again (muster profile show) and repeat the change."
            }
            RegistryError::RevisionChanged { .. } => "Look at it again and repeat the save.",
            RegistryError::StandChanged { .. } => {
                "Look at it again, and repeat the change with its new ETag."
            }
            RegistryError::CredentialsInUse { .. } => "Choose others, or let the server make a token.",
            RegistryError::CredentialsRefused(refusal) => refusal.hint(),
            RegistryError::ProfileInUse { .. } => "Delete the devices, or give them another profile.",
            RegistryError::DefaultProfile { .. } => "Make another one the default first.",
            RegistryError::OtherProfile { .. } => "Delete the device and add it under the other profile.",
            RegistryError::NotStopped { .. } | RegistryError::StepNotOpen { .. } => {
                "Look at its steps: muster operation show NUMBER."
            }
            RegistryError::Decided { .. } => {
                "Let the device be asked about anew: muster approval forget NUMBER."
            }
            RegistryError::Leaving { .. } => "See how far it is: muster device timeline NAME.",
            RegistryError::NotLeaving { .. } => "Look at its state: muster device show NAME.",
            RegistryError::GraceOver { .. } => {
                "Once every neighbour knows, it may come anew: muster device show NAME."
            }
            RegistryError::Joined { .. } => "Let it leave: muster device decommission NAME --grace 0s.",
            RegistryError::Invalid { .. } => "Correct the value and try again.",
            RegistryError::BackupRunning => "Wait for it: muster backup list.",
            RegistryError::TracesExhausted => "End some: muster trace list, muster trace off NAME.",
            RegistryError::KekUnavailable(_) => {
                "Put the key where the server looks for it, or correct [keys] in its configuration."
            }
            RegistryError::KekNeeded { values: 0, .. } => {
                "It is the one that seals. Take another one first: muster secrets kek add."
            }
            RegistryError::KekNeeded { .. } => "Wrap them by the new key first: muster secrets kek rewrap.",
            RegistryError::Forbidden => "Use a token for the whole server: muster operator token create.",
            RegistryError::RoleInsufficient { .. } => {
                "Ask somebody whose role allows it, or an admin for another role: muster operator set --role."
            }
            RegistryError::Store(error) => error.refusal().hint(),
        }
    }

    pub(super) fn not_found(what: What, name: &str) -> RegistryError {
        RegistryError::NotFound { what, name: name.to_owned() }
    }

    /// A value that breaks the rules, told by whoever read it.
    pub fn invalid(field: &'static str, detail: impl Into<String>) -> RegistryError {
        RegistryError::Invalid { field, detail: detail.into() }
    }

    /// A rule for devices' names, told to an operator.
    pub(super) fn broken_rule(field: &'static str, refusal: Refusal) -> RegistryError {
        RegistryError::invalid(field, refusal.sentence())
    }
}
