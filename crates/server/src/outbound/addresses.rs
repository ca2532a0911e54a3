//! Which addresses calls may go to.
//!
//! Whoever names an address for a webhook can make this server call it. So nothing but the public internet is
//! called unless the configuration says so: not this machine, not the networks around it, not the metadata
//! service of a cloud. What counts is the address that is connected to. Names are resolved here, once, and
//! exactly the addresses that passed are handed to the connector, so a name that resolves differently a moment
//! later changes nothing.
//!
//! Source of truth: IANA's special-purpose address registries for IPv4 and IPv6 (RFC 6890); of IPv6 only global
//! unicast, 2000::/3, is public. Addresses that carry an IPv4 address are judged by that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What may be called besides public addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    networks: Vec<IpNet>,
}

/// Nothing that a name stands for may be called.
#[derive(Debug, thiserror::Error)]
#[error("{address} is not a public address")]
pub(super) struct Forbidden {
    /// The first of them.
    pub(super) address: IpAddr,
}

impl Rules {
    pub(super) fn new(networks: &[IpNet]) -> Rules {
        Rules { networks: networks.to_vec() }
    }

    /// Whether a call may go there.
    pub(super) fn allow(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.networks.iter().any(|network| network.contains(&address))
    }
}

impl Resolve for Rules {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<_> = found.iter().copied().filter(|found| rules.allow(found.ip())).collect();
            match (found.first(), allowed.is_empty()) {
                (Some(first), true) => Err(Forbidden { address: first.ip() }.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18);
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64 and 6to4 reach the IPv4 address that they carry.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_public_v4(carried(high, low)),
        // Teredo, benchmarking, ORCHID and other special purposes.
        [0x2001, second, ..] if second < 0x200 => false,
        // Documentation.
        [0x2001, 0xdb8, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

fn carried(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(networks: &[&str], address: &str) -> bool {
        let networks: Vec<IpNet> = networks.iter().map(|network| network.parse().unwrap()).collect();
        Rules::new(&networks).allow(address.parse().unwrap())
    }

    #[test]
    fn public_addresses_may_be_called() {
        for address in ["1.1.1.1", "100.63.0.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00::1"] {
            assert!(allow(&[], address), "{address}");
        }
        for address in ["::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::"] {
            assert!(allow(&[], address), "{address}");
        }
    }

    #[test]
    fn whatever_is_near_may_not() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!allow(&[], address), "{address}");
            assert!(!allow(&[], &format!("::ffff:{address}")), "mapped {address}");
            assert!(!allow(&[], &format!("64:ff9b::{address}")), "through NAT64 {address}");
        }
        for address in [
            "::",
            "::1",
            "::127.0.0.1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
        ] {
            assert!(!allow(&[], address), "{address}");
        }
    }

    #[test]
    fn the_configuration_opens_networks_and_no_more() {
        assert!(allow(&["127.0.0.0/8"], "127.3.2.1"));
        assert!(allow(&["127.0.0.0/8"], "::ffff:127.3.2.1"));
        assert!(allow(&["fd00::/8"], "fd12::1"));
        assert!(!allow(&["127.0.0.0/8"], "10.0.0.1"));
        assert!(!allow(&["10.1.0.0/16"], "10.2.0.1"));
        assert!(!allow(&["127.0.0.0/8"], "::1"));
    }

    #[tokio::test]
    async fn a_name_resolves_to_what_is_allowed_or_to_an_error() {
        let resolve = |rules: Rules| async move { rules.resolve("localhost".parse().unwrap()).await };
        let error = resolve(Rules::default()).await.err().unwrap();
        assert!(error.downcast_ref::<Forbidden>().is_some_and(|found| found.address.is_loopback()));
        let rules = Rules::new(&["127.0.0.0/8".parse().unwrap()]);
        let found: Vec<SocketAddr> = resolve(rules).await.unwrap().collect();
        assert!(
            !found.is_empty() && found.iter().all(|found| found.ip() == Ipv4Addr::LOCALHOST),
            "{found:?}"
        );
    }
}
