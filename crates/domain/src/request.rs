//! What a device asks, in no protocol's words.

use std::net::IpAddr;

use crate::{TenantId, Verifier, Wish};

/// One request for provisioning: who I say I am, why you may believe it, what I would like to have.
#[derive(Debug)]
pub struct Request {
    /// Who I say I am.
    pub claim: Claim,
    /// Why you may believe it.
    pub evidence: Evidence,
    /// The credentials I would like to have.
    pub wish: Wish,
    /// Whether the device says it speaks for others.
    pub gateway: bool,
    /// Where it came from.
    pub origin: Origin,
}

/// What a device says of itself, before anything is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The tenant that the listener belongs to, where it belongs to one: a wall nobody crosses.
    pub within: Option<TenantId>,
    /// The registration id as it was sent; `None` asks the server to make one.
    pub registration_id: Option<String>,
}

/// What should prove the claim. Secrets that were offered are verifiers here: the domain compares, it
/// never holds one in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// One secret for many devices: the key names the profile, the secret proves that we may use it.
    GroupSecret {
        /// The provision key, an identifier.
        key: String,
        /// The verifier of the provision secret.
        secret: Verifier,
    },
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The peer's address.
    pub source: IpAddr,
    /// The wire it spoke.
    pub wire: Wire,
}

/// The wires devices speak, by the names that journals, metrics and the manual use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// ThingsBoard over HTTP.
    ThingsboardHttp,
    /// ThingsBoard over MQTT.
    ThingsboardMqtt,
}

impl Wire {
    /// Every wire there is.
    pub const ALL: &'static [Wire] = &[Wire::ThingsboardHttp, Wire::ThingsboardMqtt];

    /// Its name everywhere.
    pub fn name(self) -> &'static str {
        match self {
            Wire::ThingsboardHttp => "thingsboard-http",
            Wire::ThingsboardMqtt => "thingsboard-mqtt",
        }
    }
}
