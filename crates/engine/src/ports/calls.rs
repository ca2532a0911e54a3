//! Calls to devices: somebody asks a device for something and waits for what it says.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

/// What a device is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The method, in words that the device knows.
    pub method: String,
    /// What belongs to it.
    pub params: Value,
    /// Whether an answer is waited for; otherwise it is enough that the device was told.
    pub answered: bool,
    /// How long all of it may take.
    pub patience: Duration,
}

/// Why a call came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The device did not come for it.
    NobodyListens,
    /// The device was told, and did not answer in time.
    NoAnswer,
    /// Too many calls wait already.
    TooMany,
    /// The server is stopping.
    Stopping,
}

/// The device that calls us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The public id, a UUID.
    pub id: String,
    /// The name in the tenant.
    pub name: String,
    /// The tenant's name.
    pub tenant: String,
    /// The profile's name.
    pub profile: String,
    /// Where it called from.
    pub source: IpAddr,
}
