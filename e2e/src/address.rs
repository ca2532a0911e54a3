//! A loopback address for each server, so that the well-known ports are always free.
//!
//! A port that was free a moment ago may be taken by the time a program binds it, all the more while
//! another test opens a thousand connections. The whole of 127.0.0.0/8 is loopback on Linux, connections
//! go out from 127.0.0.1, and ports below 32768 are nobody's by chance.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

/// The address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(IpAddr);

impl Address {
    /// One that no other server of this machine's tests has at the moment.
    #[must_use]
    pub fn unused() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [low, high, ..] = std::process::id().to_le_bytes();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Ipv4Addr::new(127, high | 0x80, low, number).into())
    }

    /// 127.0.0.1, for a server in a network namespace of its own.
    #[must_use]
    pub fn usual() -> Self {
        Self(Ipv4Addr::LOCALHOST.into())
    }

    /// Where HTTP is served.
    #[must_use]
    pub fn http(self) -> SocketAddr {
        (self.0, 8080).into()
    }

    /// Where HTTPS is served, by a server that was told to.
    #[must_use]
    pub fn https(self) -> SocketAddr {
        (self.0, 8443).into()
    }

    /// Where MQTT is served.
    #[must_use]
    pub fn mqtt(self) -> SocketAddr {
        (self.0, 1883).into()
    }

    /// Where MQTT over TLS is served, by a server that was told to.
    #[must_use]
    pub fn mqtts(self) -> SocketAddr {
        (self.0, 8883).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_has_an_address_of_its_own() {
        let (a, b) = (Address::unused(), Address::unused());
        assert_ne!(a, b);
        assert!(a.http().ip().is_loopback());
        std::net::TcpListener::bind(a.http()).unwrap();
        std::net::TcpListener::bind(b.http()).unwrap();
    }
}
