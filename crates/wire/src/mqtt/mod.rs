//! MQTT 3.1, 3.1.1 and 5.0: packets as bytes and as types, for both sides of a connection.
//!
//! Reading takes two steps. [`frame`] looks at the fixed header only and says how long the packet is, or
//! that it is too large, before anything is allocated for it. [`decode`] takes exactly one such packet.
//! A payload is a slice of the packet's bytes, not a copy: whoever keeps it keeps the whole read buffer
//! alive.
//!
//! The decoder is as strict as the standards; what it leaves to the session are rules that need the
//! session's state or are answered with a reason code (placement of wildcards in a filter, an empty
//! client id without a clean start, topic aliases, packets in the wrong direction).
//!
//! Section numbers are those of MQTT 5.0 (OASIS, 2019) unless another version is named.

mod connect;
mod disconnect;
mod properties;
mod publish;
mod reader;
mod reason;
mod subscribe;
mod writer;

use bytes::{BufMut, Bytes, BytesMut};

pub use connect::{Connack, Connect, Will};
pub use disconnect::{Auth, Disconnect};
pub use properties::{Properties, Property};
pub use publish::{Ack, Delivery, Publish};
pub use reason::{ReasonCode, return_code};
pub use subscribe::{Filter, RetainHandling, Suback, Subscribe, Unsuback, Unsubscribe};

use reader::Reader;

/// Identifies a packet that is acknowledged (section 2.2.1). Zero does not exist.
pub type PacketId = std::num::NonZeroU16;

/// The largest remaining length that a fixed header can say (section 1.5.5).
pub const MAX_REMAINING_LENGTH: usize = 268_435_455;

/// The version of the protocol that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: level 4.
    V311,
    /// MQTT 5.0: level 5.
    V5,
}

impl Version {
    /// The protocol level in CONNECT (section 3.1.2.2).
    #[must_use]
    pub fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }

    /// The protocol name in CONNECT (section 3.1.2.1).
    #[must_use]
    pub fn protocol_name(self) -> &'static str {
        match self {
            Self::V31 => "MQIsdp",
            Self::V311 | Self::V5 => "MQTT",
        }
    }
}

/// Quality of service (section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// 0
    AtMostOnce = 0,
    /// 1
    AtLeastOnce = 1,
    /// 2
    ExactlyOnce = 2,
}

impl Qos {
    /// The level for two bits of a packet.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] for 3 and beyond.
    pub(crate) fn from_bits(bits: u8) -> Result<Self, DecodeError> {
        match bits {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            _ => Err(DecodeError::Malformed("QoS is 3")),
        }
    }
}

/// Why bytes are not a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The fixed header announces more than the receiver takes.
    #[error("packet of {size} bytes, at most {limit} are taken")]
    TooLarge {
        /// Length of the packet with its fixed header, in bytes.
        size: usize,
        /// The receiver's limit, in bytes.
        limit: usize,
    },
    /// CONNECT asks for a version that does not exist or that does not belong to its protocol name.
    #[error("protocol level {0} is not supported")]
    UnsupportedProtocolLevel(u8),
    /// The bytes break the format.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// The packet is well formed and says something that MQTT 5.0 forbids.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
}

impl DecodeError {
    /// What MQTT 5.0 calls it in a DISCONNECT or a CONNACK.
    #[must_use]
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::TooLarge { .. } => ReasonCode::PACKET_TOO_LARGE,
            Self::UnsupportedProtocolLevel(_) => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            Self::Malformed(_) => ReasonCode::MALFORMED_PACKET,
            Self::Protocol(_) => ReasonCode::PROTOCOL_ERROR,
        }
    }
}

/// Why a packet cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A text or binary field is longer than 65 535 bytes.
    #[error("field of {0} bytes, 65535 is the most")]
    FieldTooLong(usize),
    /// The packet is longer than a fixed header can say.
    #[error("packet of {0} bytes, 268435455 is the most")]
    PacketTooLong(usize),
    /// The packet does not exist in this version.
    #[error("AUTH exists only in MQTT 5.0")]
    NotInVersion,
}

/// A control packet (section 2.1.2).
#[derive(Debug, Clone)]
pub enum Packet {
    /// Client asks to connect.
    Connect(Box<Connect>),
    /// Server answers a CONNECT.
    Connack(Connack),
    /// A message, either way.
    Publish(Publish),
    /// Answers a message at QoS 1.
    Puback(Ack),
    /// First answer to a message at QoS 2.
    Pubrec(Ack),
    /// Answers a PUBREC.
    Pubrel(Ack),
    /// Answers a PUBREL.
    Pubcomp(Ack),
    /// Client asks for topics.
    Subscribe(Subscribe),
    /// Server answers a SUBSCRIBE.
    Suback(Suback),
    /// Client no longer wants topics.
    Unsubscribe(Unsubscribe),
    /// Server answers an UNSUBSCRIBE.
    Unsuback(Unsuback),
    /// Client asks whether the server is there.
    Pingreq,
    /// Server is there.
    Pingresp,
    /// The sender will close the connection.
    Disconnect(Disconnect),
    /// One message of an extended authentication, MQTT 5.0 only.
    Auth(Auth),
}

/// Length of the first packet in `buffer`, fixed header included, as soon as its fixed header is there;
/// the packet itself may be incomplete. `limit` is the longest packet taken, in bytes; 0 takes none.
///
/// # Errors
/// [`DecodeError::TooLarge`] beyond `limit`; [`DecodeError::Malformed`] for packet type 0 and for a
/// remaining length of more than four bytes.
pub fn frame(buffer: &[u8], limit: usize) -> Result<Option<usize>, DecodeError> {
    let Some((&first, rest)) = buffer.split_first() else { return Ok(None) };
    if first >> 4 == 0 {
        return Err(DecodeError::Malformed("packet type is 0"));
    }
    let Some((remaining, width)) = reader::varint(rest)? else { return Ok(None) };
    let size = 1 + width + remaining;
    if size > limit {
        return Err(DecodeError::TooLarge { size, limit });
    }
    Ok(Some(size))
}

/// Decodes one whole packet, as long as [`frame`] said. A CONNECT says its version itself; for all other
/// packets it is the connection's.
///
/// # Errors
/// Any [`DecodeError`]; the connection cannot go on after one.
pub fn decode(packet: &Bytes, version: Version) -> Result<Packet, DecodeError> {
    let mut reader = Reader::new(packet);
    let first = reader.u8()?;
    let length = reader.remaining_length(version)?;
    if length != reader.len() {
        return Err(DecodeError::Malformed("remaining length is not the packet's"));
    }
    let kind = first >> 4;
    check_flags(kind, first & 0x0f, version)?;
    let packet = decode_body(kind, first & 0x0f, &mut reader, version)?;
    if !reader.is_empty() {
        return Err(DecodeError::Malformed("bytes after the end of the packet"));
    }
    Ok(packet)
}

/// The low four bits of the first byte are fixed for all packets but PUBLISH (section 2.1.3). In 3.1
/// packets that are repeated carry the DUP flag.
fn check_flags(kind: u8, flags: u8, version: Version) -> Result<(), DecodeError> {
    let good = match kind {
        kind::PUBLISH => true,
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE if version == Version::V31 => flags & 0x07 == 2,
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => flags == 2,
        _ => flags == 0,
    };
    if good { Ok(()) } else { Err(DecodeError::Malformed("reserved flags of the fixed header")) }
}

fn decode_body(
    kind: u8,
    flags: u8,
    reader: &mut Reader<'_>,
    version: Version,
) -> Result<Packet, DecodeError> {
    Ok(match kind {
        kind::CONNECT => Packet::Connect(Box::new(Connect::decode(reader)?)),
        kind::CONNACK => Packet::Connack(Connack::decode(reader, version)?),
        kind::PUBLISH => Packet::Publish(Publish::decode(flags, reader, version)?),
        kind::PUBACK => Packet::Puback(Ack::decode(reader, version)?),
        kind::PUBREC => Packet::Pubrec(Ack::decode(reader, version)?),
        kind::PUBREL => Packet::Pubrel(Ack::decode(reader, version)?),
        kind::PUBCOMP => Packet::Pubcomp(Ack::decode(reader, version)?),
        kind::SUBSCRIBE => Packet::Subscribe(Subscribe::decode(reader, version)?),
        kind::SUBACK => Packet::Suback(Suback::decode(reader, version)?),
        kind::UNSUBSCRIBE => Packet::Unsubscribe(Unsubscribe::decode(reader, version)?),
        kind::UNSUBACK => Packet::Unsuback(Unsuback::decode(reader, version)?),
        kind::PINGREQ => Packet::Pingreq,
        kind::PINGRESP => Packet::Pingresp,
        kind::DISCONNECT => Packet::Disconnect(Disconnect::decode(reader, version)?),
        kind::AUTH if version == Version::V5 => Packet::Auth(Auth::decode(reader)?),
        _ => return Err(DecodeError::Malformed("packet type does not exist")),
    })
}

impl Packet {
    /// Appends the packet to `out` as `version` writes it; fields that the version does not have are left
    /// out. A CONNECT is written in its own version. On an error `out` is as before.
    ///
    /// # Errors
    /// [`EncodeError`] if a field or the packet is too long, or for AUTH before MQTT 5.0.
    pub fn encode(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        let result = self.write(version, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        if matches!(self, Self::Auth(_)) && version != Version::V5 {
            return Err(EncodeError::NotInVersion);
        }
        out.put_u8(self.first_byte());
        writer::length_prefixed(out, |out| self.write_body(version, out))
    }

    fn first_byte(&self) -> u8 {
        match self {
            Self::Connect(_) => kind::CONNECT << 4,
            Self::Connack(_) => kind::CONNACK << 4,
            Self::Publish(publish) => kind::PUBLISH << 4 | publish.flags(),
            Self::Puback(_) => kind::PUBACK << 4,
            Self::Pubrec(_) => kind::PUBREC << 4,
            Self::Pubrel(_) => kind::PUBREL << 4 | 2,
            Self::Pubcomp(_) => kind::PUBCOMP << 4,
            Self::Subscribe(_) => kind::SUBSCRIBE << 4 | 2,
            Self::Suback(_) => kind::SUBACK << 4,
            Self::Unsubscribe(_) => kind::UNSUBSCRIBE << 4 | 2,
            Self::Unsuback(_) => kind::UNSUBACK << 4,
            Self::Pingreq => kind::PINGREQ << 4,
            Self::Pingresp => kind::PINGRESP << 4,
            Self::Disconnect(_) => kind::DISCONNECT << 4,
            Self::Auth(_) => kind::AUTH << 4,
        }
    }

    fn write_body(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Connect(connect) => connect.write(out),
            Self::Connack(connack) => connack.write(version, out),
            Self::Publish(publish) => publish.write(version, out),
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                ack.write(version, out)
            }
            Self::Subscribe(subscribe) => subscribe.write(version, out),
            Self::Suback(suback) => suback.write(version, out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.write(version, out),
            Self::Unsuback(unsuback) => unsuback.write(version, out),
            Self::Pingreq | Self::Pingresp => Ok(()),
            Self::Disconnect(disconnect) => disconnect.write(version, out),
            Self::Auth(auth) => auth.write(out),
        }
    }
}

/// The packet types (section 2.1.2).
mod kind {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const CONNACK: u8 = 2;
    pub(super) const PUBLISH: u8 = 3;
    pub(super) const PUBACK: u8 = 4;
    pub(super) const PUBREC: u8 = 5;
    pub(super) const PUBREL: u8 = 6;
    pub(super) const PUBCOMP: u8 = 7;
    pub(super) const SUBSCRIBE: u8 = 8;
    pub(super) const SUBACK: u8 = 9;
    pub(super) const UNSUBSCRIBE: u8 = 10;
    pub(super) const UNSUBACK: u8 = 11;
    pub(super) const PINGREQ: u8 = 12;
    pub(super) const PINGRESP: u8 = 13;
    pub(super) const DISCONNECT: u8 = 14;
    pub(super) const AUTH: u8 = 15;
}

#[cfg(test)]
mod tests;
