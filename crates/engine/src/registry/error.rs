//! Why an operator was told no.

use domain::{OperatorRefusal, Refusal, Role, Said};
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
        }
    }

    /// What is said where it is not there.
    fn absent(self) -> OperatorRefusal {
        match self {
            What::Tenant => OperatorRefusal::TenantNotFound,
            What::OperatorToken => OperatorRefusal::OperatorTokenNotFound,
            What::Account => OperatorRefusal::AccountNotFound,
            What::Profile => OperatorRefusal::ProfileNotFound,
            What::GroupSecret => OperatorRefusal::GroupSecretNotFound,
            What::Freeze => OperatorRefusal::FreezeNotFound,
            What::Trace => OperatorRefusal::TraceNotFound,
            What::Device => OperatorRefusal::DeviceNotFound,
            What::Operation => OperatorRefusal::OperationNotFound,
            What::Approval => OperatorRefusal::ApprovalNotFound,
            What::Connector => OperatorRefusal::ConnectorNotFound,
            What::Credentials => OperatorRefusal::CredentialsNotFound,
            What::Kek => OperatorRefusal::KekNotFound,
        }
    }
}

/// What has a name that nothing else of its sort has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// A tenant.
    Tenant,
    /// An account of an operator.
    Account,
    /// A profile.
    Profile,
    /// A device.
    Device,
    /// A backup.
    Backup,
}

impl Unique {
    /// The word for it, with its article.
    pub fn word(self) -> &'static str {
        match self {
            Unique::Tenant => "a tenant",
            Unique::Account => "an account",
            Unique::Profile => "a profile",
            Unique::Device => "a device",
            Unique::Backup => "a backup",
        }
    }

    /// What is said where there is one already.
    fn present(self) -> Said {
        match self {
            Unique::Tenant => OperatorRefusal::TenantExists.into(),
            Unique::Account => OperatorRefusal::AccountExists.into(),
            Unique::Profile => OperatorRefusal::ProfileExists.into(),
            Unique::Device => Refusal::DeviceExists.into(),
            Unique::Backup => OperatorRefusal::BackupExists.into(),
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
    #[error("There is {} `{name}` already.", what.word())]
    Exists {
        /// What it collides with.
        what: Unique,
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
    /// What it is called in the manual.
    pub fn said(&self) -> Said {
        let said = match self {
            RegistryError::NotFound { what, .. } => what.absent(),
            RegistryError::Exists { what, .. } => return what.present(),
            RegistryError::CredentialsInUse { elsewhere: false } => return Refusal::CredentialsInUse.into(),
            RegistryError::CredentialsInUse { elsewhere: true } => {
                return Refusal::CredentialsInUseElsewhere.into();
            }
            RegistryError::CredentialsRefused(refusal) => return (*refusal).into(),
            RegistryError::OtherProfile { .. } => return Refusal::DeviceOfOtherProfile.into(),
            RegistryError::Leaving { .. } => return Refusal::DeviceLeaving.into(),
            RegistryError::Store(error) => return error.refusal().into(),
            RegistryError::ProvisionKeyInUse => OperatorRefusal::ProvisionKeyInUse,
            RegistryError::VersionChanged { .. } => OperatorRefusal::VersionChanged,
            RegistryError::RevisionChanged { .. } => OperatorRefusal::RevisionChanged,
            RegistryError::StandChanged { .. } => OperatorRefusal::PreconditionFailed,
            RegistryError::ProfileInUse { .. } => OperatorRefusal::ProfileInUse,
            RegistryError::DefaultProfile { .. } => OperatorRefusal::ProfileDefault,
            RegistryError::NotStopped { .. } => OperatorRefusal::OperationNotStopped,
            RegistryError::StepNotOpen { .. } => OperatorRefusal::StepNotOpen,
            RegistryError::Decided { .. } => OperatorRefusal::ApprovalDecided,
            RegistryError::NotLeaving { .. } => OperatorRefusal::DeviceNotLeaving,
            RegistryError::GraceOver { .. } => OperatorRefusal::GraceOver,
            RegistryError::Joined { .. } => OperatorRefusal::DeviceJoined,
            RegistryError::Invalid { .. } => OperatorRefusal::ValueInvalid,
            RegistryError::BackupRunning => OperatorRefusal::BackupRunning,
            RegistryError::TracesExhausted => OperatorRefusal::TracesExhausted,
            RegistryError::KekUnavailable(_) => OperatorRefusal::KekUnavailable,
            RegistryError::KekNeeded { .. } => OperatorRefusal::KekNeeded,
            RegistryError::Forbidden => OperatorRefusal::RightMissing,
            RegistryError::RoleInsufficient { .. } => OperatorRefusal::RoleInsufficient,
        };
        said.into()
    }

    /// The stable word for it.
    pub fn code(&self) -> &'static str {
        self.said().code()
    }

    /// What to try.
    pub fn hint(&self) -> &'static str {
        match self {
            RegistryError::Exists { .. } => OperatorRefusal::TenantExists.hint(),
            RegistryError::CredentialsInUse { .. } => "Choose others, or let the server make a token.",
            RegistryError::OtherProfile { .. } => "Delete the device and add it under the other profile.",
            RegistryError::Leaving { .. } => "See how far it is: muster device timeline NAME.",
            RegistryError::KekNeeded { values: 0, .. } => {
                "It is the one that seals. Take another one first: muster secrets kek add."
            }
            _ => self.said().hint(),
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
