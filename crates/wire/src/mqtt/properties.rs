//! Properties of MQTT 5.0 packets (section 2.2.2).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::reader::Reader;
use super::{DecodeError, EncodeError, Version, writer};

/// The properties of a packet, in the order in which they stand in it. Empty before MQTT 5.0.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Properties(Vec<Property>);

/// One property (section 2.2.2.2).
#[derive(Clone, PartialEq, Eq)]
pub enum Property {
    /// Whether the payload is text.
    PayloadFormatIndicator(bool),
    /// Life of a message, in seconds.
    MessageExpiryInterval(u32),
    /// What kind of content the payload is.
    ContentType(String),
    /// Topic for an answer.
    ResponseTopic(String),
    /// Ties an answer to its request.
    CorrelationData(Bytes),
    /// Number of a subscription, 1 to 268 435 455.
    SubscriptionIdentifier(u32),
    /// Life of a session after the connection, in seconds.
    SessionExpiryInterval(u32),
    /// The client identifier that the server chose.
    AssignedClientIdentifier(String),
    /// The keep alive that the server chose, in seconds.
    ServerKeepAlive(u16),
    /// Name of the extended authentication.
    AuthenticationMethod(String),
    /// Data of the extended authentication.
    AuthenticationData(Bytes),
    /// Whether the client wants reasons in failures.
    RequestProblemInformation(bool),
    /// Delay before the will is published, in seconds.
    WillDelayInterval(u32),
    /// Whether the client wants response information.
    RequestResponseInformation(bool),
    /// Basis for response topics.
    ResponseInformation(String),
    /// Another server to use.
    ServerReference(String),
    /// Text for people.
    ReasonString(String),
    /// How many messages above QoS 0 may be open, at least 1.
    ReceiveMaximum(u16),
    /// The highest topic alias taken.
    TopicAliasMaximum(u16),
    /// A number in place of the topic, at least 1.
    TopicAlias(u16),
    /// The highest quality of service taken: 0 or 1.
    MaximumQos(bool),
    /// Whether messages may be retained.
    RetainAvailable(bool),
    /// A name and a value, any number of times.
    UserProperty(String, String),
    /// The largest packet taken, in bytes, at least 1.
    MaximumPacketSize(u32),
    /// Whether filters may hold wildcards.
    WildcardSubscriptionAvailable(bool),
    /// Whether subscriptions may have numbers.
    SubscriptionIdentifiersAvailable(bool),
    /// Whether subscriptions may be shared.
    SharedSubscriptionAvailable(bool),
}

/// Where properties stand; says which are allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Connect,
    Will,
    Connack,
    Publish,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Ack,
    Subscribe,
    /// SUBACK and UNSUBACK.
    Suback,
    Unsubscribe,
    Disconnect,
    Auth,
}

impl Properties {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every property, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Property> {
        self.0.iter()
    }

    /// Adds a property at the end.
    pub fn push(&mut self, property: Property) {
        self.0.push(property);
    }

    /// The number that stands for the topic.
    #[must_use]
    pub fn topic_alias(&self) -> Option<u16> {
        self.iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(*alias),
            _ => None,
        })
    }

    /// How many messages above QoS 0 the peer takes at once; absent = 65 535.
    #[must_use]
    pub fn receive_maximum(&self) -> Option<u16> {
        self.iter().find_map(|property| match property {
            Property::ReceiveMaximum(maximum) => Some(*maximum),
            _ => None,
        })
    }

    /// The largest packet that the peer takes, in bytes; absent = any.
    #[must_use]
    pub fn maximum_packet_size(&self) -> Option<u32> {
        self.iter().find_map(|property| match property {
            Property::MaximumPacketSize(size) => Some(*size),
            _ => None,
        })
    }

    /// Reads the properties of `place`; there are none before MQTT 5.0.
    pub(super) fn decode(
        reader: &mut Reader<'_>,
        version: Version,
        place: Place,
    ) -> Result<Self, DecodeError> {
        if version != Version::V5 {
            return Ok(Self::default());
        }
        let length = reader.varint()?;
        let mut part = reader.part(length)?;
        let mut seen = Seen { place, ids: 0 };
        let mut properties = Vec::new();
        while !part.is_empty() {
            let id = part.varint()?;
            seen.take(id)?;
            properties.push(Property::decode(id, &mut part)?);
        }
        seen.check_authentication()?;
        Ok(Self(properties))
    }

    /// Writes them with their length; nothing before MQTT 5.0.
    pub(super) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        if version != Version::V5 {
            return Ok(());
        }
        writer::length_prefixed(out, |out| self.iter().try_for_each(|property| property.write(out)))
    }
}

impl FromIterator<Property> for Properties {
    fn from_iter<I: IntoIterator<Item = Property>>(properties: I) -> Self {
        Self(properties.into_iter().collect())
    }
}

impl fmt::Debug for Properties {
    /// Shows the identifiers only: a value may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Property {
    /// Shows the identifier only: the value may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02x}", self.id())
    }
}

/// Which properties a packet has had so far, as bits by identifier.
struct Seen {
    place: Place,
    ids: u64,
}

impl Seen {
    fn take(&mut self, id: usize) -> Result<(), DecodeError> {
        let bit = if id < 64 { 1_u64 << id } else { 0 };
        if bit & self.place.allowed() == 0 {
            return Err(DecodeError::Malformed("property is not allowed here"));
        }
        if bit & self.ids & !self.place.repeatable() != 0 {
            return Err(DecodeError::Protocol("property is there twice"));
        }
        self.ids |= bit;
        Ok(())
    }

    fn check_authentication(&self) -> Result<(), DecodeError> {
        let data_without_method = self.ids & ids(&[0x15, 0x16]) == ids(&[0x16]);
        if data_without_method {
            return Err(DecodeError::Protocol("authentication data without a method"));
        }
        Ok(())
    }
}

impl Place {
    /// The identifiers allowed here, as bits (table 2-4).
    fn allowed(self) -> u64 {
        const USER: u8 = 0x26;
        const REASON: u8 = 0x1f;
        const CONNECT: u64 = ids(&[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x27, USER]);
        const WILL: u64 = ids(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, USER]);
        const CONNACK: u64 = ids(&[
            0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, REASON, 0x21, 0x22, 0x24, 0x25, 0x27, 0x28, 0x29, 0x2a,
            USER,
        ]);
        const PUBLISH: u64 = ids(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, USER]);
        const REASON_AND_USER: u64 = ids(&[REASON, USER]);
        const SUBSCRIBE: u64 = ids(&[0x0b, USER]);
        const DISCONNECT: u64 = ids(&[0x11, 0x1c, REASON, USER]);
        const AUTH: u64 = ids(&[0x15, 0x16, REASON, USER]);
        match self {
            Self::Connect => CONNECT,
            Self::Will => WILL,
            Self::Connack => CONNACK,
            Self::Publish => PUBLISH,
            Self::Ack | Self::Suback => REASON_AND_USER,
            Self::Subscribe => SUBSCRIBE,
            Self::Unsubscribe => ids(&[USER]),
            Self::Disconnect => DISCONNECT,
            Self::Auth => AUTH,
        }
    }

    /// The identifiers that may stand here more than once: user properties, and in a PUBLISH the numbers
    /// of all subscriptions that match (section 3.3.2.3.8).
    fn repeatable(self) -> u64 {
        if self == Self::Publish { ids(&[0x0b, 0x26]) } else { ids(&[0x26]) }
    }
}

const fn ids(list: &[u8]) -> u64 {
    match list {
        [] => 0,
        [first, rest @ ..] => 1 << *first | ids(rest),
    }
}

impl Property {
    fn id(&self) -> u8 {
        match self {
            Self::PayloadFormatIndicator(_) => 0x01,
            Self::MessageExpiryInterval(_) => 0x02,
            Self::ContentType(_) => 0x03,
            Self::ResponseTopic(_) => 0x08,
            Self::CorrelationData(_) => 0x09,
            Self::SubscriptionIdentifier(_) => 0x0b,
            Self::SessionExpiryInterval(_) => 0x11,
            Self::AssignedClientIdentifier(_) => 0x12,
            Self::ServerKeepAlive(_) => 0x13,
            Self::AuthenticationMethod(_) => 0x15,
            Self::AuthenticationData(_) => 0x16,
            Self::RequestProblemInformation(_) => 0x17,
            Self::WillDelayInterval(_) => 0x18,
            Self::RequestResponseInformation(_) => 0x19,
            Self::ResponseInformation(_) => 0x1a,
            Self::ServerReference(_) => 0x1c,
            Self::ReasonString(_) => 0x1f,
            Self::ReceiveMaximum(_) => 0x21,
            Self::TopicAliasMaximum(_) => 0x22,
            Self::TopicAlias(_) => 0x23,
            Self::MaximumQos(_) => 0x24,
            Self::RetainAvailable(_) => 0x25,
            Self::UserProperty(..) => 0x26,
            Self::MaximumPacketSize(_) => 0x27,
            Self::WildcardSubscriptionAvailable(_) => 0x28,
            Self::SubscriptionIdentifiersAvailable(_) => 0x29,
            Self::SharedSubscriptionAvailable(_) => 0x2a,
        }
    }

    fn decode(id: usize, part: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match id {
            0x01 => Self::PayloadFormatIndicator(flag(part)?),
            0x02 => Self::MessageExpiryInterval(part.u32()?),
            0x03 => Self::ContentType(part.text()?.to_owned()),
            0x08 => Self::ResponseTopic(part.topic()?.to_owned()),
            0x09 => Self::CorrelationData(part.shared_binary()?),
            0x0b => Self::SubscriptionIdentifier(subscription_identifier(part)?),
            0x11 => Self::SessionExpiryInterval(part.u32()?),
            0x12 => Self::AssignedClientIdentifier(part.text()?.to_owned()),
            0x13 => Self::ServerKeepAlive(part.u16()?),
            0x15 => Self::AuthenticationMethod(part.text()?.to_owned()),
            0x16 => Self::AuthenticationData(part.shared_binary()?),
            0x17 => Self::RequestProblemInformation(flag(part)?),
            0x18 => Self::WillDelayInterval(part.u32()?),
            0x19 => Self::RequestResponseInformation(flag(part)?),
            0x1a => Self::ResponseInformation(part.text()?.to_owned()),
            0x1c => Self::ServerReference(part.text()?.to_owned()),
            0x1f => Self::ReasonString(part.text()?.to_owned()),
            0x21 => Self::ReceiveMaximum(not_zero(part.u16()?)?),
            0x22 => Self::TopicAliasMaximum(part.u16()?),
            0x23 => Self::TopicAlias(not_zero(part.u16()?)?),
            0x24 => Self::MaximumQos(flag(part)?),
            0x25 => Self::RetainAvailable(flag(part)?),
            0x26 => Self::UserProperty(part.text()?.to_owned(), part.text()?.to_owned()),
            0x27 => Self::MaximumPacketSize(not_zero(part.u32()?)?),
            0x28 => Self::WildcardSubscriptionAvailable(flag(part)?),
            0x29 => Self::SubscriptionIdentifiersAvailable(flag(part)?),
            0x2a => Self::SharedSubscriptionAvailable(flag(part)?),
            _ => return Err(DecodeError::Malformed("property does not exist")),
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u8(self.id());
        match self {
            Self::PayloadFormatIndicator(flag)
            | Self::RequestProblemInformation(flag)
            | Self::RequestResponseInformation(flag)
            | Self::MaximumQos(flag)
            | Self::RetainAvailable(flag)
            | Self::WildcardSubscriptionAvailable(flag)
            | Self::SubscriptionIdentifiersAvailable(flag)
            | Self::SharedSubscriptionAvailable(flag) => out.put_u8((*flag).into()),
            Self::ServerKeepAlive(value)
            | Self::ReceiveMaximum(value)
            | Self::TopicAliasMaximum(value)
            | Self::TopicAlias(value) => out.put_u16(*value),
            Self::MessageExpiryInterval(value)
            | Self::SessionExpiryInterval(value)
            | Self::WillDelayInterval(value)
            | Self::MaximumPacketSize(value) => out.put_u32(*value),
            Self::SubscriptionIdentifier(value) => writer::varint(*value as usize, out)?,
            Self::CorrelationData(data) | Self::AuthenticationData(data) => writer::binary(data, out)?,
            Self::ContentType(text)
            | Self::ResponseTopic(text)
            | Self::AssignedClientIdentifier(text)
            | Self::AuthenticationMethod(text)
            | Self::ResponseInformation(text)
            | Self::ServerReference(text)
            | Self::ReasonString(text) => writer::text(text, out)?,
            Self::UserProperty(name, value) => {
                writer::text(name, out)?;
                writer::text(value, out)?;
            }
        }
        Ok(())
    }
}

fn flag(part: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match part.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Protocol("property is neither 0 nor 1")),
    }
}

fn subscription_identifier(part: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let value = part.varint()?;
    // Four bytes of seven bits always fit.
    not_zero(u32::try_from(value).unwrap_or(0))
}

fn not_zero<T: Default + PartialEq>(value: T) -> Result<T, DecodeError> {
    if value == T::default() { Err(DecodeError::Protocol("property is 0")) } else { Ok(value) }
}
