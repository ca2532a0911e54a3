//! The face for operators: tenants, their tokens, profiles and devices.
//!
//! Every function blocks for as long as the store takes; asynchronous callers hand them to a thread that
//! may block. A change and its journal entry are one transaction.

mod accounts;
mod approvals;
mod attributes;
mod backups;
mod bulk;
mod credentials;
mod devices;
mod error;
mod explain;
mod feed;
mod finding;
mod freezes;
mod guesses;
mod import;
mod installers;
mod journal;
mod labels;
mod leaving;
mod once;
mod operations;
mod operators;
mod passwords;
mod profiles;
pub(crate) mod public_id;
mod saving;
mod secrets;
mod selecting;
mod sessions;
mod sign_on;
mod telemetry;
mod tenants;
mod traces;

use std::net::IpAddr;
use std::sync::Arc;

use domain::{Entropy, Power, Role, Secret, TenantId, Timestamp};
use store::Store;

pub use accounts::{AccountChange, AccountView, LEAST_PASSWORD_CHARS, MOST_PASSWORD_CHARS, NewAccount};
pub use approvals::Approval;
pub use attributes::{Attribute, CLAIMING_DATA, PROVISION_STATE, Whose};
pub use backups::{Backup, BackupState};
pub use bulk::{BulkResults, BulkVerb, Done, Targets};
pub use credentials::{Chosen, CredentialsSave, DeviceCredentials};
pub use devices::{Device, DevicePage};
pub use error::{RegistryError, Unique, What};
pub use explain::{ExplainedCheck, Explanation, Supposed};
pub use feed::{Event, Events, From as FeedFrom};
pub use finding::{Found, Search};
pub use freezes::{FreezeView, Stopped};
pub use import::{Imported, NewDevice};
pub use journal::{Attempt, AttemptOutcome, AttemptPage, AttemptQuery};
pub use labels::DeviceChange;
pub use leaving::{Left, Life, MOST_TOGETHER, Signed};
pub use once::{Once, OnceCall};
pub use operations::{Neighbour, Operation, OperationsWanted};
pub use operators::{AuthenticationRefusal, NewOperatorToken, OperatorToken};
pub use profiles::{
    Limits, LimitsChange, NewProfile, ProfileChange, ProfileSave, ProfileView, Rotation, SecretView, To,
};
pub use public_id::IdKind;
pub use saving::{DeviceSave, ProfileWanted, Saved, Uniquify};
pub use secrets::{Reset, SecretsView};
pub use selecting::{DeviceQuery, MOST_PER_PAGE, Selector};
pub use sessions::{Session, TokenFault};
pub use sign_on::Claimed;
pub use store::{DeviceOrder, Kek, Progress, Tenant, Verified, Walk};
pub use telemetry::{NewPoint, Reading};

use crate::ports::Ports;
use crate::throttle::{Rate, Throttle};
use crate::traces::Traces;

/// How many failed authentications of operators are looked at, for each source.
const OPERATOR_FAILURES: Rate = Rate { per_second: 20, burst: 50 };

/// Who acts, and from where: what the journal says of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// What the journal calls the actor.
    pub actor: String,
    /// Where the operator may do it.
    pub right: Right,
    /// What the operator may do.
    pub role: Role,
    /// By which right the operator is let in.
    pub who: Who,
    /// The address the call came from; `None` for the server itself.
    pub source: Option<IpAddr>,
}

/// Where an operator may do what its role allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// In every tenant, and on the server itself.
    Server,
    /// Within one tenant.
    Tenant(TenantId),
}

/// By which right an operator is let in. The numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The server itself.
    Server,
    /// The holder of a token.
    Token(u64),
    /// A person with an account.
    Account(u64),
}

/// Whom the registry tells of a change, once it is recorded.
#[derive(Clone)]
pub struct Told {
    /// A profile is not what it was: nothing goes on with an older one.
    pub profiles_changed: Arc<dyn Fn() + Send + Sync>,
    /// A step may be due.
    pub work_due: Arc<dyn Fn() + Send + Sync>,
}

impl Told {
    /// Nobody listens.
    pub fn nobody() -> Told {
        Told { profiles_changed: Arc::new(|| ()), work_due: Arc::new(|| ()) }
    }
}

/// The registry, as operators see it. A clone is the same registry.
#[derive(Clone)]
pub struct Registry {
    store: Store,
    ports: Ports,
    profiles_changed: Arc<dyn Fn() + Send + Sync>,
    work_due: Arc<dyn Fn() + Send + Sync>,
    failures: Arc<Throttle>,
    /// The first admin's secret, which is kept on this machine.
    admin: Option<Arc<Secret>>,
    backups: Arc<backups::Backups>,
    traces: Arc<Traces>,
    doorkeepers: Arc<passwords::Doorkeepers>,
    guesses: Arc<guesses::Guesses>,
    sign_on: sign_on::SignOn,
    /// How a thing has to stand for a change of it to be made.
    expected: Option<Arc<[String]>>,
}

// === impl Operator ===

impl Operator {
    /// The server itself, for what it does without being asked over the API.
    pub fn server(task: &str) -> Operator {
        Operator {
            actor: format!("server:{task}"),
            right: Right::Server,
            role: Role::Admin,
            who: Who::Server,
            source: None,
        }
    }

    /// Whether this operator's role allows it.
    ///
    /// # Errors
    /// `role-insufficient`.
    pub fn require(&self, power: Power) -> Result<(), RegistryError> {
        if self.role.may(power) { Ok(()) } else { Err(RegistryError::RoleInsufficient { role: self.role }) }
    }

    /// Whether this operator may act for the whole server.
    ///
    /// # Errors
    /// `right-missing` for an operator of one tenant.
    pub fn require_server(&self) -> Result<(), RegistryError> {
        match self.right {
            Right::Server => Ok(()),
            Right::Tenant(_) => Err(RegistryError::Forbidden),
        }
    }

    /// Whether it hears, as an operator of this tenant, of requests that name no tenant's things: those belong to the
    /// default tenant.
    fn hears_nobodys(&self, tenant: TenantId) -> bool {
        tenant == TenantId::DEFAULT || self.require_server().is_ok()
    }
}

// === impl Registry ===

impl Registry {
    /// A registry over `store`. `told` is called after changes that the engine has to hear of.
    pub fn new(store: Store, ports: Ports, told: Told) -> Registry {
        let failures = Arc::new(Throttle::new(OPERATOR_FAILURES));
        let Told { profiles_changed, work_due } = told;
        let traces = Arc::new(Traces::new(Arc::clone(&ports.clock)));
        Registry {
            traces,
            store,
            ports,
            profiles_changed,
            work_due,
            failures,
            admin: None,
            backups: Arc::default(),
            doorkeepers: Arc::default(),
            guesses: Arc::default(),
            sign_on: sign_on::SignOn::default(),
            expected: None,
        }
    }

    /// The same with the secret of the first admin, which opens the server while its own keys are locked.
    #[must_use]
    pub fn with_admin(self, secret: Secret) -> Registry {
        Registry { admin: Some(Arc::new(secret)), ..self }
    }

    /// What hears what traced devices say.
    pub fn listener(&self) -> Arc<Traces> {
        Arc::clone(&self.traces)
    }

    /// The same, which changes a device or a profile only while that stands in one of these ways (`stand` of
    /// [`Device`], the version of a profile); for changes of one thing.
    #[must_use]
    pub fn only_while(&self, stands: Vec<String>) -> Registry {
        Registry { expected: Some(stands.into()), ..self.clone() }
    }

    /// Whether a thing stands as whoever changes it thinks.
    fn check_stand(&self, name: &str, stand: &str) -> Result<(), RegistryError> {
        if self.expected.as_ref().is_none_or(|expected| expected.iter().any(|wanted| wanted == stand)) {
            return Ok(());
        }
        Err(RegistryError::StandChanged { name: name.to_owned() })
    }

    /// The moment it is now, by the clock that stamps the journal.
    pub fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    fn entropy(&self) -> Box<dyn Entropy + Send> {
        (self.ports.entropy)()
    }

    fn random_secret(&self, prefix: &str, length: usize) -> Secret {
        let random = zeroize::Zeroizing::new(domain::name::random_text(length, &mut *self.entropy()));
        Secret::new(format!("{prefix}{}", random.as_str()))
    }
}

#[cfg(test)]
mod tests;
