//! Those outside whom durable work talks to: connectors, which keep a neighbour in step with a device, and hooks,
//! which answer before a decision.
//!
//! A step runs at least once: a server may die between the neighbour's act and the record of it. So every call
//! carries a [`StepKey`], the same at each try, and every neighbour is asked in words that may be repeated.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use domain::{DeviceState, Receipt, StepKey};

/// Work that a caller waits for; boxed, so that connectors can stand in one list.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A JSON object with the values that a device begins with.
pub type Attributes = serde_json::Map<String, serde_json::Value>;

/// The most calls at once where a neighbour says nothing else.
const MOST_AT_ONCE: usize = 32;

/// Keeps one neighbour in step with devices. It keeps its own limit of time: no call stays open without end.
pub trait Connector: Send + Sync {
    /// The operator's name for it, from the configuration.
    fn name(&self) -> &str;

    /// The most calls that it makes at once; others wait for their turn.
    fn most_at_once(&self) -> usize {
        MOST_AT_ONCE
    }

    /// Makes the outside match the device. Safe to repeat with the same key: the second time changes nothing and
    /// gives the same receipt.
    fn ensure<'a>(&'a self, device: &'a DeviceView, key: &'a StepKey) -> Task<'a, Result<Ensured, Fault>>;

    /// Undoes what the receipt describes; `None` where an attempt was made whose answer never came. Succeeds if
    /// nothing is left.
    fn retire<'a>(
        &'a self,
        device: &'a DeviceView,
        key: &'a StepKey,
        receipt: Option<&'a Receipt>,
    ) -> Task<'a, Result<(), Fault>>;

    /// Could it work right now? Changes nothing outside.
    fn check(&self) -> Task<'_, Result<(), Fault>>;
}

/// Answers questions before a decision: other people's logic behind a webhook.
pub trait Hook: Send + Sync {
    /// The operator's name for it, from the configuration.
    fn name(&self) -> &str;

    /// The most calls that it makes at once; others wait for their turn.
    fn most_at_once(&self) -> usize {
        MOST_AT_ONCE
    }

    /// Asks whether a proven device may come in. Safe to repeat with the same key.
    fn ask<'a>(&'a self, asked: &'a Asked, key: &'a StepKey) -> Task<'a, Result<HookAnswer, Fault>>;

    /// Could it answer right now? Changes nothing outside.
    fn check(&self) -> Task<'_, Result<(), Fault>>;
}

/// What a neighbour is told of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceView {
    /// The public id, a UUID.
    pub id: String,
    /// The name in the tenant.
    pub name: String,
    /// The tenant's name.
    pub tenant: String,
    /// The profile's name.
    pub profile: String,
    /// The label, where an operator gave one.
    pub label: Option<String>,
    /// Whether it speaks for others.
    pub gateway: bool,
    /// Where it stands.
    pub state: DeviceState,
    /// The attributes it was born with.
    pub attributes: Attributes,
}

/// The neighbour matches the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// The proof, and what leaving needs.
    pub receipt: Receipt,
}

/// What a hook is asked about: a request whose evidence has proven itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The tenant's name.
    pub tenant: String,
    /// The profile's name.
    pub profile: String,
    /// What the device calls itself; `None` asks us to make a name.
    pub registration_id: Option<String>,
    /// Where it came from.
    pub source: IpAddr,
    /// The wire it spoke.
    pub wire: &'static str,
    /// Whether it says that it speaks for others.
    pub gateway: bool,
}

/// What a hook says.
#[derive(Clone, Debug, PartialEq)]
pub enum HookAnswer {
    /// It may come in.
    Allow {
        /// Attributes to begin with, beside those of the profile.
        attributes: Option<Attributes>,
    },
    /// It may not.
    Deny {
        /// Why, for the operator's journal.
        reason: String,
    },
}

/// What outside of us failed, and whether it is worth trying again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Trying again changes nothing until an operator has done something.
    pub permanent: bool,
    /// Stable, for metrics and filters.
    pub code: &'static str,
    /// What happened and what to try, for the operator; never a secret.
    pub message: String,
    /// When the neighbour wishes to be asked again, where it said so.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault that may pass by itself.
    pub fn temporary(code: &'static str, message: impl Into<String>) -> Fault {
        Fault { permanent: false, code, message: message.into(), retry_after: None }
    }

    /// A fault that stays until an operator has done something.
    pub fn permanent(code: &'static str, message: impl Into<String>) -> Fault {
        Fault { permanent: true, code, message: message.into(), retry_after: None }
    }
}
