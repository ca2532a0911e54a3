//! DISCONNECT and AUTH (sections 3.14 and 3.15).

use bytes::BytesMut;

use super::properties::{Place, Properties};
use super::publish::{decode_ending, write_ending};
use super::reader::Reader;
use super::{DecodeError, EncodeError, ReasonCode, Version};

/// The sender will close the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disconnect {
    /// Why (MQTT 5.0; before, always normal).
    pub reason: ReasonCode,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
}

impl Disconnect {
    /// A DISCONNECT without properties.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self { reason, properties: Properties::default() }
    }

    pub(super) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let (reason, properties) = decode_ending(reader, version, Place::Disconnect)?;
        Ok(Self { reason, properties })
    }

    pub(super) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        write_ending(self.reason, &self.properties, version, out)
    }
}

/// One message of an extended authentication.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Auth {
    /// Success, continue or re-authenticate.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties,
}

impl Auth {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (reason, properties) = decode_ending(reader, Version::V5, Place::Auth)?;
        Ok(Self { reason, properties })
    }

    pub(super) fn write(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        write_ending(self.reason, &self.properties, Version::V5, out)
    }
}
