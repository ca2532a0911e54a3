//! SUBSCRIBE, UNSUBSCRIBE and their answers (sections 3.8 to 3.11).

use bytes::{BufMut, BytesMut};

use super::properties::{Place, Properties};
use super::reader::Reader;
use super::{DecodeError, EncodeError, PacketId, Qos, ReasonCode, Version, writer};

/// A client asks for topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Identifies the answer.
    pub packet_id: PacketId,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
    /// What it asks for, at least one.
    pub filters: Vec<Filter>,
}

/// One topic filter with its options (section 3.8.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The filter; where its wildcards stand is not checked.
    pub filter: String,
    /// The most that is asked for.
    pub qos: Qos,
    /// Whether the client's own messages stay away (MQTT 5.0).
    pub no_local: bool,
    /// Whether forwarded messages keep their retain flag (MQTT 5.0).
    pub retain_as_published: bool,
    /// What happens to retained messages (MQTT 5.0).
    pub retain_handling: RetainHandling,
}

/// What happens to retained messages when a subscription is made (section 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetainHandling {
    /// They are sent.
    #[default]
    Send = 0,
    /// They are sent if the subscription is new.
    SendIfNew = 1,
    /// They are not sent.
    DoNotSend = 2,
}

impl Filter {
    /// A filter with the options that versions before MQTT 5.0 have.
    pub fn new(filter: impl Into<String>, qos: Qos) -> Self {
        Self {
            filter: filter.into(),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }

    fn decode(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let filter = reader.filter()?.to_owned();
        let options = reader.u8()?;
        let reserved = if version == Version::V5 { 0xc0 } else { 0xfc };
        if options & reserved != 0 {
            return Err(DecodeError::Malformed("reserved bits in subscription options"));
        }
        Ok(Self {
            filter,
            qos: Qos::from_bits(options & 0x03)?,
            no_local: options & 0x04 != 0,
            retain_as_published: options & 0x08 != 0,
            retain_handling: RetainHandling::from_bits(options >> 4)?,
        })
    }

    fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        writer::text(&self.filter, out)?;
        let mut options = self.qos as u8;
        if version == Version::V5 {
            options |= u8::from(self.no_local) << 2;
            options |= u8::from(self.retain_as_published) << 3;
            options |= (self.retain_handling as u8) << 4;
        }
        out.put_u8(options);
        Ok(())
    }
}

impl RetainHandling {
    fn from_bits(bits: u8) -> Result<Self, DecodeError> {
        match bits {
            0 => Ok(Self::Send),
            1 => Ok(Self::SendIfNew),
            2 => Ok(Self::DoNotSend),
            _ => Err(DecodeError::Protocol("retain handling is 3")),
        }
    }
}

impl Subscribe {
    pub(super) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = Properties::decode(reader, version, Place::Subscribe)?;
        let filters = decode_filters(reader, |reader| Filter::decode(reader, version))?;
        Ok(Self { packet_id, properties, filters })
    }

    pub(super) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16(self.packet_id.get());
        self.properties.write(version, out)?;
        self.filters.iter().try_for_each(|filter| filter.write(version, out))
    }
}

fn decode_filters<'a, T>(
    reader: &mut Reader<'a>,
    decode: impl Fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut filters = vec![decode(reader)?];
    while !reader.is_empty() {
        filters.push(decode(reader)?);
    }
    Ok(filters)
}

/// The server's answer to a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suback {
    /// The SUBSCRIBE that is answered.
    pub packet_id: PacketId,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
    /// One code for each filter, in its order.
    pub reasons: Vec<ReasonCode>,
}

impl Suback {
    pub(super) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = Properties::decode(reader, version, Place::Suback)?;
        Ok(Self { packet_id, properties, reasons: decode_reasons(reader)? })
    }

    pub(super) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16(self.packet_id.get());
        self.properties.write(version, out)?;
        write_reasons(&self.reasons, out);
        Ok(())
    }
}

fn decode_reasons(reader: &mut Reader<'_>) -> Result<Vec<ReasonCode>, DecodeError> {
    if reader.is_empty() {
        return Err(DecodeError::Malformed("no reason code"));
    }
    Ok(reader.bytes(reader.len())?.iter().copied().map(ReasonCode).collect())
}

fn write_reasons(reasons: &[ReasonCode], out: &mut BytesMut) {
    out.extend(reasons.iter().map(|reason| reason.0));
}

/// A client no longer wants topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Identifies the answer.
    pub packet_id: PacketId,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
    /// What it no longer wants, at least one.
    pub filters: Vec<String>,
}

impl Unsubscribe {
    pub(super) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = Properties::decode(reader, version, Place::Unsubscribe)?;
        let filters = decode_filters(reader, |reader| reader.filter().map(str::to_owned))?;
        Ok(Self { packet_id, properties, filters })
    }

    pub(super) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16(self.packet_id.get());
        self.properties.write(version, out)?;
        self.filters.iter().try_for_each(|filter| writer::text(filter, out))
    }
}

/// The server's answer to an UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsuback {
    /// The UNSUBSCRIBE that is answered.
    pub packet_id: PacketId,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
    /// One code for each filter, in its order (MQTT 5.0).
    pub reasons: Vec<ReasonCode>,
}

impl Unsuback {
    pub(super) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = Properties::decode(reader, version, Place::Suback)?;
        let reasons = if version == Version::V5 { decode_reasons(reader)? } else { Vec::new() };
        Ok(Self { packet_id, properties, reasons })
    }

    pub(super) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16(self.packet_id.get());
        if version != Version::V5 {
            return Ok(());
        }
        self.properties.write(version, out)?;
        write_reasons(&self.reasons, out);
        Ok(())
    }
}
