//! Where a listener listens.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// One place to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Both loopback addresses, the second where the machine has it: `localhost:8080`.
    Loopback(u16),
    /// One address: `192.0.2.1:8080`, `[::]:8080`.
    Address(SocketAddr),
}

impl Bind {
    /// The addresses that must work, and those that may be missing.
    pub fn addresses(self) -> (SocketAddr, Option<Ipv6Addr>) {
        match self {
            Bind::Loopback(port) => ((Ipv4Addr::LOCALHOST, port).into(), Some(Ipv6Addr::LOCALHOST)),
            Bind::Address(address) => (address, None),
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(self) -> bool {
        match self {
            Bind::Loopback(_) => true,
            Bind::Address(address) => address.ip().to_canonical().is_loopback(),
        }
    }
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Bind, String> {
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(Bind::Loopback(port));
        }
        text.parse().map(Bind::Address).map_err(|_| {
            format!(
                "`{text}` is not an address with a port, like `0.0.0.0:8080`, `[::]:8080` or `localhost:8080`"
            )
        })
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Loopback(port) => write!(f, "localhost:{port}"),
            Bind::Address(address) => address.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Bind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bind, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
