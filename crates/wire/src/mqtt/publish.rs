//! PUBLISH and its acknowledgements (sections 3.3 to 3.7).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::properties::{Place, Properties};
use super::reader::Reader;
use super::{DecodeError, EncodeError, PacketId, Qos, ReasonCode, Version, writer};

/// How a message is delivered: the quality of service with the packet identifier that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce(PacketId),
    /// QoS 2.
    ExactlyOnce(PacketId),
}

impl Delivery {
    /// The quality of service.
    #[must_use]
    pub fn qos(self) -> Qos {
        match self {
            Self::AtMostOnce => Qos::AtMostOnce,
            Self::AtLeastOnce(_) => Qos::AtLeastOnce,
            Self::ExactlyOnce(_) => Qos::ExactlyOnce,
        }
    }

    /// The packet identifier, above QoS 0.
    #[must_use]
    pub fn packet_id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce(id) | Self::ExactlyOnce(id) => Some(id),
        }
    }
}

/// A message.
#[derive(Clone, PartialEq, Eq)]
pub struct Publish {
    /// Whether it may have been sent before; never at QoS 0.
    pub dup: bool,
    /// Whether it is kept for later subscribers.
    pub retain: bool,
    /// Quality of service and packet identifier.
    pub delivery: Delivery,
    /// Topic; empty only in MQTT 5.0 with a topic alias.
    pub topic: String,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
    /// The message; shares the memory of the packet it was read from.
    pub payload: Bytes,
}

impl Publish {
    /// A message without flags and properties.
    pub fn new(topic: impl Into<String>, delivery: Delivery, payload: impl Into<Bytes>) -> Self {
        Self {
            dup: false,
            retain: false,
            delivery,
            topic: topic.into(),
            properties: Properties::default(),
            payload: payload.into(),
        }
    }

    pub(super) fn flags(&self) -> u8 {
        u8::from(self.dup) << 3 | (self.delivery.qos() as u8) << 1 | u8::from(self.retain)
    }

    pub(super) fn decode(flags: u8, reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let (dup, retain) = (flags & 0x08 != 0, flags & 0x01 != 0);
        let qos = Qos::from_bits(flags >> 1 & 0x03)?;
        if dup && qos == Qos::AtMostOnce {
            return Err(DecodeError::Malformed("DUP at QoS 0"));
        }
        let topic = reader.topic()?.to_owned();
        let delivery = decode_delivery(qos, reader)?;
        let properties = Properties::decode(reader, version, Place::Publish)?;
        if topic.is_empty() && properties.topic_alias().is_none() {
            return Err(DecodeError::Malformed("topic is empty"));
        }
        Ok(Self { dup, retain, delivery, topic, properties, payload: reader.rest() })
    }

    pub(super) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.reserve(self.topic.len() + self.payload.len() + 16);
        writer::text(&self.topic, out)?;
        if let Some(id) = self.delivery.packet_id() {
            out.put_u16(id.get());
        }
        self.properties.write(version, out)?;
        out.put_slice(&self.payload);
        Ok(())
    }
}

impl fmt::Debug for Publish {
    /// Shows the length of the payload only: it may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("dup", &self.dup)
            .field("retain", &self.retain)
            .field("delivery", &self.delivery)
            .field("topic", &self.topic)
            .field("properties", &self.properties)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .finish()
    }
}

fn decode_delivery(qos: Qos, reader: &mut Reader<'_>) -> Result<Delivery, DecodeError> {
    Ok(match qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce(reader.packet_id()?),
        Qos::ExactlyOnce => Delivery::ExactlyOnce(reader.packet_id()?),
    })
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The packet that is acknowledged.
    pub packet_id: PacketId,
    /// How it went (MQTT 5.0; before, always success).
    pub reason: ReasonCode,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
}

impl Ack {
    /// An acknowledgement without properties.
    #[must_use]
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, properties: Properties::default() }
    }

    pub(super) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let (reason, properties) = decode_ending(reader, version, Place::Ack)?;
        Ok(Self { packet_id, reason, properties })
    }

    pub(super) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16(self.packet_id.get());
        write_ending(self.reason, &self.properties, version, out)
    }
}

/// Reason and properties at the end of a packet. A sender may leave out the properties, and the reason
/// too if it is 0 (sections 3.4.2.1, 3.14.2.1, 3.15.2.1). Before MQTT 5.0 there is nothing.
pub(super) fn decode_ending(
    reader: &mut Reader<'_>,
    version: Version,
    place: Place,
) -> Result<(ReasonCode, Properties), DecodeError> {
    if version != Version::V5 || reader.is_empty() {
        return Ok((ReasonCode::SUCCESS, Properties::default()));
    }
    let reason = ReasonCode(reader.u8()?);
    if reader.is_empty() {
        return Ok((reason, Properties::default()));
    }
    Ok((reason, Properties::decode(reader, version, place)?))
}

/// Writes reason and properties in the shortest form. Where both stand, a real server writes the empty
/// properties too (`40 04 pp pp 99 00`), and so do we; success alone is left out.
pub(super) fn write_ending(
    reason: ReasonCode,
    properties: &Properties,
    version: Version,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    if version != Version::V5 || reason == ReasonCode::SUCCESS && properties.is_empty() {
        return Ok(());
    }
    out.put_u8(reason.0);
    properties.write(version, out)
}
