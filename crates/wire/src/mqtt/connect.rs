//! CONNECT and CONNACK (sections 3.1 and 3.2).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::properties::{Place, Properties};
use super::reader::Reader;
use super::{DecodeError, EncodeError, Qos, ReasonCode, Version, writer};
use crate::secret::{Secret, SecretBytes};

mod flag {
    pub(super) const RESERVED: u8 = 0x01;
    pub(super) const CLEAN_START: u8 = 0x02;
    pub(super) const WILL: u8 = 0x04;
    pub(super) const WILL_QOS: u8 = 0x18;
    pub(super) const WILL_RETAIN: u8 = 0x20;
    pub(super) const PASSWORD: u8 = 0x40;
    pub(super) const USER_NAME: u8 = 0x80;
}

/// A client asks to connect.
#[derive(Debug, Clone)]
pub struct Connect {
    /// The version that the connection speaks from now on.
    pub version: Version,
    /// Whether an earlier session is forgotten (clean session, before MQTT 5.0).
    pub clean_start: bool,
    /// The longest pause between packets of the client, in seconds; 0 = any.
    pub keep_alive_s: u16,
    /// The client identifier, may be empty.
    pub client_id: String,
    /// The message to be published when the connection is lost.
    pub will: Option<Will>,
    /// The user name; often an access token, so kept like a secret.
    pub user_name: Option<Secret>,
    /// The password.
    pub password: Option<SecretBytes>,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
}

/// The message to be published when a connection is lost (section 3.1.2.5).
#[derive(Clone, PartialEq, Eq)]
pub struct Will {
    /// Quality of service.
    pub qos: Qos,
    /// Whether it is kept for later subscribers.
    pub retain: bool,
    /// Topic it is published to.
    pub topic: String,
    /// The message.
    pub payload: Bytes,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
}

impl Connect {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = decode_version(reader)?;
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        let keep_alive_s = reader.u16()?;
        let properties = Properties::decode(reader, version, Place::Connect)?;
        Ok(Self {
            version,
            clean_start: flags & flag::CLEAN_START != 0,
            keep_alive_s,
            properties,
            client_id: reader.text()?.to_owned(),
            will: decode_will(flags, reader, version)?,
            user_name: decode_user_name(flags, reader, version)?,
            password: decode_password(flags, reader, version)?,
        })
    }

    pub(super) fn write(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        writer::text(self.version.protocol_name(), out)?;
        out.put_u8(self.version.level());
        out.put_u8(self.flags());
        out.put_u16(self.keep_alive_s);
        self.properties.write(self.version, out)?;
        writer::text(&self.client_id, out)?;
        if let Some(will) = &self.will {
            will.write(self.version, out)?;
        }
        if let Some(user_name) = &self.user_name {
            writer::text(user_name.expose(), out)?;
        }
        if let Some(password) = &self.password {
            writer::binary(password.expose(), out)?;
        }
        Ok(())
    }

    fn flags(&self) -> u8 {
        let mut flags = self.will.as_ref().map_or(0, Will::flags);
        if self.clean_start {
            flags |= flag::CLEAN_START;
        }
        if self.user_name.is_some() {
            flags |= flag::USER_NAME;
        }
        if self.password.is_some() {
            flags |= flag::PASSWORD;
        }
        flags
    }
}

impl Will {
    fn flags(&self) -> u8 {
        let retain = if self.retain { flag::WILL_RETAIN } else { 0 };
        flag::WILL | (self.qos as u8) << 3 | retain
    }

    fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.properties.write(version, out)?;
        writer::text(&self.topic, out)?;
        writer::binary(&self.payload, out)
    }
}

impl fmt::Debug for Will {
    /// Shows the length of the payload only: it may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("properties", &self.properties)
            .finish()
    }
}

fn decode_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    let name = reader.binary()?;
    let level = reader.u8()?;
    match (name, level) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT" | b"MQIsdp", level) => Err(DecodeError::UnsupportedProtocolLevel(level)),
        _ => Err(DecodeError::Malformed("protocol name is unknown")),
    }
}

fn check_flags(flags: u8, version: Version) -> Result<(), DecodeError> {
    if flags & flag::RESERVED != 0 {
        return Err(DecodeError::Malformed("reserved CONNECT flag"));
    }
    if flags & flag::WILL == 0 && flags & (flag::WILL_QOS | flag::WILL_RETAIN) != 0 {
        return Err(DecodeError::Malformed("will flags without a will"));
    }
    if version != Version::V5 && flags & flag::PASSWORD != 0 && flags & flag::USER_NAME == 0 {
        return Err(DecodeError::Malformed("password without a user name"));
    }
    Ok(())
}

fn decode_will(flags: u8, reader: &mut Reader<'_>, version: Version) -> Result<Option<Will>, DecodeError> {
    if flags & flag::WILL == 0 {
        return Ok(None);
    }
    let qos = Qos::from_bits((flags & flag::WILL_QOS) >> 3)?;
    let properties = Properties::decode(reader, version, Place::Will)?;
    let topic = reader.topic()?.to_owned();
    if topic.is_empty() {
        return Err(DecodeError::Malformed("will topic is empty"));
    }
    let payload = reader.shared_binary()?;
    Ok(Some(Will { qos, retain: flags & flag::WILL_RETAIN != 0, topic, payload, properties }))
}

fn decode_user_name(
    flags: u8,
    reader: &mut Reader<'_>,
    version: Version,
) -> Result<Option<Secret>, DecodeError> {
    if flags & flag::USER_NAME == 0 || left_out(reader, version) {
        return Ok(None);
    }
    Ok(Some(Secret::from(reader.text()?)))
}

fn decode_password(
    flags: u8,
    reader: &mut Reader<'_>,
    version: Version,
) -> Result<Option<SecretBytes>, DecodeError> {
    if flags & flag::PASSWORD == 0 || left_out(reader, version) {
        return Ok(None);
    }
    Ok(Some(SecretBytes::new(reader.binary()?)))
}

/// Clients older than MQTT 3.1 may set the flag and leave the field out; the remaining length takes
/// precedence (MQTT 3.1, section 3.1, "User name and password flags").
fn left_out(reader: &Reader<'_>, version: Version) -> bool {
    version == Version::V31 && reader.is_empty()
}

/// The server's answer to a CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connack {
    /// Whether the server continues an earlier session.
    pub session_present: bool,
    /// A [`ReasonCode`] in MQTT 5.0, a [`super::return_code`] before.
    pub reason: ReasonCode,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
}

impl Connack {
    /// An answer without a session and without properties.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self { session_present: false, reason, properties: Properties::default() }
    }

    pub(super) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags > 1 {
            return Err(DecodeError::Malformed("reserved CONNACK flags"));
        }
        let reason = ReasonCode(reader.u8()?);
        if flags == 1 && reason != ReasonCode::SUCCESS {
            return Err(DecodeError::Malformed("session present in a refusal"));
        }
        let properties = Properties::decode(reader, version, Place::Connack)?;
        Ok(Self { session_present: flags == 1, reason, properties })
    }

    pub(super) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u8(self.session_present.into());
        out.put_u8(self.reason.0);
        self.properties.write(version, out)
    }
}
