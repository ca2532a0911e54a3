//! The header with which a balancer says who is at the other end: PROXY protocol, version 2 (haproxy's
//! `proxy-protocol.txt`, section 2.2). Version 1 is not taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the addresses.
pub const FIXED_BYTES: usize = 16;
/// The most bytes behind them that we read: addresses, and whatever else a balancer says of the connection.
pub const MOST_REST: usize = 4096;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

/// The first part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    kind: Kind,
    /// How many bytes follow.
    pub rest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The connection is the balancer's own, or from where there are no addresses.
    Own,
    Tcp4,
    Tcp6,
}

impl Fixed {
    /// Reads the first [`FIXED_BYTES`]; `None` where they begin no header of version 2 over a stream, or one that is
    /// longer than [`MOST_REST`].
    pub fn parse(bytes: &[u8; FIXED_BYTES]) -> Option<Fixed> {
        let (signature, [command, family, length @ ..]) = bytes.split_first_chunk::<12>()? else {
            return None;
        };
        let [high, low] = *length else { return None };
        let rest = usize::from(u16::from_be_bytes([high, low]));
        let kind = match (*command, *family) {
            (LOCAL, _) | (PROXY, UNSPECIFIED | UNIX_STREAM) => Kind::Own,
            (PROXY, TCP4) => Kind::Tcp4,
            (PROXY, TCP6) => Kind::Tcp6,
            _ => return None,
        };
        (*signature == SIGNATURE && rest <= MOST_REST).then_some(Fixed { kind, rest })
    }

    /// The source that the rest names: `Some(None)` where the connection is what its socket says, `None` where the rest
    /// is too short for its family. What stands behind the addresses is not looked at.
    pub fn source(self, rest: &[u8]) -> Option<Option<IpAddr>> {
        match self.kind {
            Kind::Own => Some(None),
            Kind::Tcp4 if rest.len() >= 12 => {
                rest.first_chunk::<4>().map(|address| Some(Ipv4Addr::from(*address).into()))
            }
            Kind::Tcp6 if rest.len() >= 36 => {
                rest.first_chunk::<16>().map(|address| Some(Ipv6Addr::from(*address).to_canonical()))
            }
            Kind::Tcp4 | Kind::Tcp6 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: u16) -> [u8; FIXED_BYTES] {
        let mut bytes = [0; FIXED_BYTES];
        bytes[..12].copy_from_slice(&SIGNATURE);
        bytes[12..14].copy_from_slice(&[command, family]);
        bytes[14..].copy_from_slice(&rest.to_be_bytes());
        bytes
    }

    fn source(command: u8, family: u8, rest: &[u8]) -> Option<Option<IpAddr>> {
        Fixed::parse(&header(command, family, rest.len() as u16))?.source(rest)
    }

    #[test]
    fn both_families_name_their_source_and_what_follows_is_passed_over() {
        let mut four = vec![192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80];
        assert_eq!(source(PROXY, TCP4, &four), Some(Some("192.0.2.7".parse().unwrap())));
        four.extend([0x02, 0, 1, b'x']);
        assert_eq!(source(PROXY, TCP4, &four), Some(Some("192.0.2.7".parse().unwrap())));
        let six: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let rest = [&six.octets()[..], &[0; 20]].concat();
        assert_eq!(source(PROXY, TCP6, &rest), Some(Some(six.into())));
        let mapped: Ipv6Addr = "::ffff:192.0.2.7".parse().unwrap();
        let rest = [&mapped.octets()[..], &[0; 20]].concat();
        assert_eq!(source(PROXY, TCP6, &rest), Some(Some("192.0.2.7".parse().unwrap())));
    }

    #[test]
    fn the_balancers_own_connections_are_what_their_socket_says() {
        assert_eq!(source(LOCAL, UNSPECIFIED, &[]), Some(None));
        assert_eq!(source(LOCAL, TCP4, &[1; 12]), Some(None));
        assert_eq!(source(PROXY, UNSPECIFIED, &[1; 12]), Some(None));
        assert_eq!(source(PROXY, UNIX_STREAM, &[1; 216]), Some(None));
    }

    #[test]
    fn anything_else_is_no_header() {
        assert_eq!(source(PROXY, TCP4, &[1; 11]), None);
        assert_eq!(source(PROXY, TCP6, &[1; 35]), None);
        for (command, family) in [(0x22, TCP4), (0x11, TCP4), (PROXY, 0x12), (PROXY, 0x22), (PROXY, 0x41)] {
            assert_eq!(source(command, family, &[1; 36]), None, "{command:x} {family:x}");
        }
        assert_eq!(Fixed::parse(b"PROXY TCP4 1.2.3"), None);
        assert_eq!(Fixed::parse(b"GET / HTTP/1.1\r\n"), None);
        assert_eq!(Fixed::parse(&header(PROXY, TCP4, 4097)), None);
    }
}
