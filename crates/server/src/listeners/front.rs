//! What stands before a listener: balancers that may say who is really at the other end, and how they say it.
//!
//! With `proxy_protocol` every connection begins with a header, before TLS; one that does not, or that comes from
//! somewhere else than a trusted proxy, is closed. In HTTP a trusted proxy may say it with `X-Forwarded-For` too. What
//! anybody else says of the kind changes nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use ipnet::IpNet;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use wire::proxy_protocol::{FIXED_BYTES, Fixed};

/// How long a balancer may take for its header.
const INTRODUCED_WITHIN: Duration = Duration::from_secs(5);
/// The header that each proxy adds the address of its own peer to.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The proxies before one listener. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Front {
    proxy_protocol: bool,
    trusted: Arc<[IpNet]>,
}

impl Front {
    /// Whether connections begin with a header, and whose word counts.
    pub fn new(proxy_protocol: bool, trusted: &[IpNet]) -> Front {
        Front { proxy_protocol, trusted: trusted.into() }
    }

    /// Who is at the other end of a connection; `None` where it has to be closed.
    pub(super) async fn introduced(&self, stream: &mut TcpStream, socket: SocketAddr) -> Option<IpAddr> {
        let own = socket.ip().to_canonical();
        if !self.proxy_protocol {
            return Some(own);
        }
        if !self.trusts(own) {
            return None;
        }
        let header = tokio::time::timeout(INTRODUCED_WITHIN, header(stream)).await;
        Some(header.ok()?.ok()??.unwrap_or(own))
    }

    /// Who asks, where `peer` is at the other end: from the right the first that is no trusted proxy. What is no address
    /// ends the search: nobody vouches for what stands before it.
    pub(super) fn asking(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let mut asking = peer;
        let values = headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>();
        let said = values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for said in said {
            let Some(address) = address(said) else { break };
            asking = address;
            if !self.trusts(address) {
                break;
            }
        }
        asking
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

async fn header(stream: &mut TcpStream) -> io::Result<Option<Option<IpAddr>>> {
    let mut fixed = [0; FIXED_BYTES];
    stream.read_exact(&mut fixed).await?;
    let Some(fixed) = Fixed::parse(&fixed) else { return Ok(None) };
    let mut rest = vec![0; fixed.rest];
    stream.read_exact(&mut rest).await?;
    Ok(fixed.source(&rest))
}

/// An address as proxies write it: some with a port, those of IPv6 in brackets then.
fn address(said: &[u8]) -> Option<IpAddr> {
    let said = std::str::from_utf8(said).ok()?.trim();
    let address = said.parse().or_else(|_| said.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(peer: &str, said: &[&str]) -> String {
        let front = Front::new(false, &["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for said in said {
            headers.append(FORWARDED_FOR, said.parse().unwrap());
        }
        front.asking(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_trusted_proxy_is_believed_up_to_the_first_stranger_from_the_right() {
        assert_eq!(asking("10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(asking("10.0.0.1", &["203.0.113.9, 192.0.2.7, 10.0.0.2"]), "192.0.2.7");
        assert_eq!(asking("10.0.0.1", &["203.0.113.9", "192.0.2.7 , fd00::3"]), "192.0.2.7");
        assert_eq!(asking("10.0.0.1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(asking("10.0.0.1", &["192.0.2.7:80"]), "192.0.2.7");
        assert_eq!(asking("10.0.0.1", &["10.0.0.3"]), "10.0.0.3");
        assert_eq!(asking("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_a_stranger_or_no_address_says_changes_nothing() {
        assert_eq!(asking("192.0.2.7", &["10.0.0.1"]), "192.0.2.7");
        assert_eq!(asking("10.0.0.1", &["192.0.2.7, unknown"]), "10.0.0.1");
        assert_eq!(asking("10.0.0.1", &["unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(asking("10.0.0.1", &[""]), "10.0.0.1");
    }
}
