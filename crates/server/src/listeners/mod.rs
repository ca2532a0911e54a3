//! Sockets, TLS, limits: who connects, and how long they may take. No meaning.

pub mod http;
pub mod mqtt;
mod sockets;
mod stop;
pub mod tls;

use std::net::{IpAddr, SocketAddr};

pub use sockets::{Limit, bind};
pub use stop::{Stop, Stopper, Stopping, stopper};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// Whether what it sends is encrypted on the way.
    pub encrypted: bool,
}

impl Peer {
    /// Its address; an IPv4 address in IPv6 clothes is IPv4.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}
