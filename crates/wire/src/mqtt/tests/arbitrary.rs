//! Any packet that a version can say.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::*;
use crate::secret::{Secret, SecretBytes};

const CONNECT: &[u8] = &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x27, 0x26];
const WILL: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26];
const CONNACK: &[u8] =
    &[0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x27, 0x28, 0x29, 0x2a, 0x26];
const PUBLISH: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x0b, 0x23, 0x26, 0x26];
const ACK: &[u8] = &[0x1f, 0x26, 0x26];
const SUBSCRIBE: &[u8] = &[0x0b, 0x26];
const UNSUBSCRIBE: &[u8] = &[0x26, 0x26];
const DISCONNECT: &[u8] = &[0x11, 0x1c, 0x1f, 0x26];
const AUTH: &[u8] = &[0x15, 0x16, 0x1f, 0x26];

pub(super) fn version() -> impl Strategy<Value = Version> {
    select(vec![Version::V31, Version::V311, Version::V5])
}

/// Any packet with its version.
pub(super) fn versioned() -> impl Strategy<Value = (Version, Packet)> {
    version().prop_flat_map(|version| packet(version).prop_map(move |packet| (version, packet)))
}

fn packet(version: Version) -> BoxedStrategy<Packet> {
    let common = prop_oneof![
        4 => connect(version).prop_map(|connect| Packet::Connect(Box::new(connect))),
        2 => connack(version).prop_map(Packet::Connack),
        4 => publish(version).prop_map(Packet::Publish),
        1 => ack(version, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]).prop_map(Packet::Puback),
        1 => ack(version, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]).prop_map(Packet::Pubrec),
        1 => ack(version, &[0x00, 0x92]).prop_map(Packet::Pubrel),
        1 => ack(version, &[0x00, 0x92]).prop_map(Packet::Pubcomp),
        2 => subscribe(version).prop_map(Packet::Subscribe),
        2 => suback(version).prop_map(Packet::Suback),
        2 => unsubscribe(version).prop_map(Packet::Unsubscribe),
        2 => unsuback(version).prop_map(Packet::Unsuback),
        1 => Just(Packet::Pingreq),
        1 => Just(Packet::Pingresp),
        2 => disconnect(version).prop_map(Packet::Disconnect),
    ];
    match version {
        Version::V5 => prop_oneof![14 => common, 1 => auth().prop_map(Packet::Auth)].boxed(),
        Version::V31 | Version::V311 => common.boxed(),
    }
}

fn text() -> impl Strategy<Value = String> {
    "[ -~äß€😀\u{1}\u{fffd}]{0,12}"
}

fn topic() -> impl Strategy<Value = String> {
    "[ !-*,-~äß€😀/]{1,24}".prop_map(|topic| topic.replace('#', "/"))
}

fn filter() -> impl Strategy<Value = String> {
    "[a-z/+#ä]{1,24}"
}

/// Mostly short; sometimes as long as it takes for a remaining length of three bytes.
fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        9 => vec(any::<u8>(), 0..200),
        1 => (any::<u8>(), 0..20_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ]
    .prop_map(Bytes::from)
}

fn binary() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    any::<PacketId>()
}

fn qos() -> impl Strategy<Value = Qos> {
    select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
}

fn connect(version: Version) -> impl Strategy<Value = Connect> {
    let user_name = option::of(text().prop_map(Secret::from));
    let password = option::of(vec(any::<u8>(), 0..20).prop_map(SecretBytes::new));
    let head = (any::<bool>(), any::<u16>(), text(), properties(version, CONNECT));
    (head, option::of(will(version)), user_name, password).prop_map(
        move |(head, will, user_name, password)| {
            let (clean_start, keep_alive_s, client_id, properties) = head;
            let password = password.filter(|_| version == Version::V5 || user_name.is_some());
            Connect { version, clean_start, keep_alive_s, client_id, will, user_name, password, properties }
        },
    )
}

fn will(version: Version) -> impl Strategy<Value = Will> {
    (qos(), any::<bool>(), topic(), binary(), properties(version, WILL)).prop_map(
        |(qos, retain, topic, payload, properties)| Will { qos, retain, topic, payload, properties },
    )
}

fn connack(version: Version) -> impl Strategy<Value = Connack> {
    let codes = if version == Version::V5 { vec![0, 0x81, 0x84, 0x86, 0x97] } else { (0..=5).collect() };
    (any::<bool>(), select(codes), properties(version, CONNACK)).prop_map(|(present, code, properties)| {
        Connack { session_present: present && code == 0, reason: ReasonCode(code), properties }
    })
}

fn publish(version: Version) -> impl Strategy<Value = Publish> {
    let flags = (any::<bool>(), any::<bool>(), qos(), packet_id());
    (flags, topic(), properties(version, PUBLISH), payload()).prop_map(
        |((dup, retain, qos, packet_id), topic, properties, payload)| {
            let delivery = match qos {
                Qos::AtMostOnce => Delivery::AtMostOnce,
                Qos::AtLeastOnce => Delivery::AtLeastOnce(packet_id),
                Qos::ExactlyOnce => Delivery::ExactlyOnce(packet_id),
            };
            let dup = dup && qos != Qos::AtMostOnce;
            Publish { dup, retain, delivery, topic, properties, payload }
        },
    )
}

fn ack(version: Version, codes: &'static [u8]) -> impl Strategy<Value = Ack> {
    (packet_id(), reason(version, codes), properties(version, ACK))
        .prop_map(|(packet_id, reason, properties)| Ack { packet_id, reason, properties })
}

fn subscribe(version: Version) -> impl Strategy<Value = Subscribe> {
    (packet_id(), properties(version, SUBSCRIBE), vec(filter_with_options(version), 1..5))
        .prop_map(|(packet_id, properties, filters)| Subscribe { packet_id, properties, filters })
}

fn filter_with_options(version: Version) -> impl Strategy<Value = Filter> {
    let handling = vec![RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
    (filter(), qos(), any::<bool>(), any::<bool>(), select(handling)).prop_map(
        move |(filter, qos, no_local, retain_as_published, retain_handling)| match version {
            Version::V5 => Filter { filter, qos, no_local, retain_as_published, retain_handling },
            Version::V31 | Version::V311 => Filter::new(filter, qos),
        },
    )
}

fn suback(version: Version) -> impl Strategy<Value = Suback> {
    let codes = if version == Version::V5 { vec![0, 1, 2, 0x80, 0x8f, 0x97] } else { vec![0, 1, 2, 0x80] };
    (packet_id(), properties(version, ACK), vec(select(codes).prop_map(ReasonCode), 1..5))
        .prop_map(|(packet_id, properties, reasons)| Suback { packet_id, properties, reasons })
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Unsubscribe> {
    (packet_id(), properties(version, UNSUBSCRIBE), vec(filter(), 1..5))
        .prop_map(|(packet_id, properties, filters)| Unsubscribe { packet_id, properties, filters })
}

fn unsuback(version: Version) -> impl Strategy<Value = Unsuback> {
    let count = if version == Version::V5 { 1..5 } else { 0..1 };
    let reason = select(vec![0, 0x11, 0x80, 0x8f]).prop_map(ReasonCode);
    (packet_id(), properties(version, ACK), vec(reason, count))
        .prop_map(|(packet_id, properties, reasons)| Unsuback { packet_id, properties, reasons })
}

fn disconnect(version: Version) -> impl Strategy<Value = Disconnect> {
    (reason(version, &[0x00, 0x04, 0x81, 0x86 + 1, 0x8e, 0x98, 0xa2]), properties(version, DISCONNECT))
        .prop_map(|(reason, properties)| Disconnect { reason, properties })
}

fn auth() -> impl Strategy<Value = Auth> {
    (reason(Version::V5, &[0x00, 0x18, 0x19]), properties(Version::V5, AUTH))
        .prop_map(|(reason, properties)| Auth { reason, properties })
}

/// Before MQTT 5.0 there are no reasons, which reads as success.
fn reason(version: Version, codes: &'static [u8]) -> impl Strategy<Value = ReasonCode> {
    let codes = if version == Version::V5 { codes } else { &[0x00] };
    select(codes).prop_map(ReasonCode)
}

fn properties(version: Version, ids: &'static [u8]) -> BoxedStrategy<Properties> {
    if version != Version::V5 {
        return Just(Properties::default()).boxed();
    }
    subsequence(ids, 0..=ids.len())
        .prop_map(|ids| {
            let method = ids.contains(&0x15);
            ids.into_iter().filter(move |id| *id != 0x16 || method).map(property).collect::<Vec<_>>()
        })
        .prop_flat_map(|properties| properties)
        .prop_shuffle()
        .prop_map(Properties::from_iter)
        .boxed()
}

fn property(id: u8) -> BoxedStrategy<Property> {
    match id {
        0x01 => any::<bool>().prop_map(Property::PayloadFormatIndicator).boxed(),
        0x02 => any::<u32>().prop_map(Property::MessageExpiryInterval).boxed(),
        0x03 => text().prop_map(Property::ContentType).boxed(),
        0x08 => topic().prop_map(Property::ResponseTopic).boxed(),
        0x09 => binary().prop_map(Property::CorrelationData).boxed(),
        0x0b => (1..=268_435_455_u32).prop_map(Property::SubscriptionIdentifier).boxed(),
        0x11 => any::<u32>().prop_map(Property::SessionExpiryInterval).boxed(),
        0x12 => text().prop_map(Property::AssignedClientIdentifier).boxed(),
        0x13 => any::<u16>().prop_map(Property::ServerKeepAlive).boxed(),
        0x15 => text().prop_map(Property::AuthenticationMethod).boxed(),
        0x16 => binary().prop_map(Property::AuthenticationData).boxed(),
        0x17 => any::<bool>().prop_map(Property::RequestProblemInformation).boxed(),
        0x18 => any::<u32>().prop_map(Property::WillDelayInterval).boxed(),
        0x19 => any::<bool>().prop_map(Property::RequestResponseInformation).boxed(),
        0x1a => text().prop_map(Property::ResponseInformation).boxed(),
        0x1c => text().prop_map(Property::ServerReference).boxed(),
        0x1f => text().prop_map(Property::ReasonString).boxed(),
        0x21 => (1..=u16::MAX).prop_map(Property::ReceiveMaximum).boxed(),
        0x22 => any::<u16>().prop_map(Property::TopicAliasMaximum).boxed(),
        0x23 => (1..=u16::MAX).prop_map(Property::TopicAlias).boxed(),
        0x24 => any::<bool>().prop_map(Property::MaximumQos).boxed(),
        0x25 => any::<bool>().prop_map(Property::RetainAvailable).boxed(),
        0x26 => (text(), text()).prop_map(|(name, value)| Property::UserProperty(name, value)).boxed(),
        0x27 => (1..=u32::MAX).prop_map(Property::MaximumPacketSize).boxed(),
        0x28 => any::<bool>().prop_map(Property::WildcardSubscriptionAvailable).boxed(),
        0x29 => any::<bool>().prop_map(Property::SubscriptionIdentifiersAvailable).boxed(),
        0x2a => any::<bool>().prop_map(Property::SharedSubscriptionAvailable).boxed(),
        _ => unreachable!("only existing identifiers are listed above"),
    }
}
