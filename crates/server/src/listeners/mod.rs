//! Sockets, TLS, limits: who connects, and how long they may take. No meaning.

mod client_certificates;
mod front;
pub mod http;
pub mod mqtt;
mod sockets;
mod stop;
pub mod tls;

use std::net::IpAddr;

pub use front::Front;
pub use sockets::{Limit, bind};
pub use stop::{Stop, Stopper, Stopping, stopper};

/// Who is at the other end. Among a request's extensions, for those who answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; an IPv4 address in IPv6 clothes is IPv4.
    pub address: IpAddr,
    /// Whether what it sends is encrypted on the way.
    pub encrypted: bool,
}
