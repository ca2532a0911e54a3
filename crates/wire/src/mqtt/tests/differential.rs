//! The codec against `rmqtt-codec`, another implementation of the same standards.
//!
//! Each reads what the other has written, and packets that were damaged at random get the same verdict from
//! both, except where one is known to be stricter: see [`OURS_IS_STRICTER`] and [`theirs_is_stricter`].

use proptest::prelude::*;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

use super::*;

/// What we refuse and the other codec takes, by the text of our error, each with the reason why we do.
const OURS_IS_STRICTER: &[(&str, &str)] = &[
    ("bytes after the end of the packet", "a packet is as long as it says, in every version"),
    ("password without a user name", "MQTT-3.1.2-22 (3.1.1)"),
    ("will flags without a will", "MQTT-3.1.2-13 and 15 (5.0); the other checks it before 5.0 only"),
    ("will topic is empty", "MQTT-4.7.3-1: a topic has at least one character"),
    ("topic is empty", "MQTT-4.7.3-1; in 5.0 only with an alias"),
    ("topic filter is empty", "MQTT-4.7.3-1"),
    ("topic holds a wildcard", "MQTT-3.3.2-2, and 3.3.2-14 for response topics"),
    ("text holds U+0000", "MQTT-1.5.4-2 (5.0), MQTT-1.5.3-2 (3.1.1)"),
    ("DUP at QoS 0", "MQTT-3.3.1-2"),
    ("reserved bits in subscription options", "MQTT-3.8.3-4 (3.1.1)"),
    ("no reason code", "a SUBACK answers at least one filter, MQTT-3.8.3-1"),
    ("session present in a refusal", "MQTT-3.2.2-6 (5.0), MQTT-3.2.2-4 (3.1.1)"),
    ("integer is longer than needed", "MQTT-1.5.5-1"),
    ("property is 0", "5.0, sections 3.1.2.11.4, 3.3.2.3.4, 3.3.2.3.8"),
    ("property is neither 0 nor 1", "5.0, the section of each property"),
    ("authentication data without a method", "5.0, section 3.1.2.11.10"),
    ("packet type is 0", "said from the first byte; the other waits for the whole packet"),
    ("property is there twice", "5.0, the section of each property"),
];

/// Protocol names and levels that the other codec pairs freely (`MQTT` at level 3, `MQIsdp` at 4).
fn is_level(error: DecodeError) -> bool {
    matches!(error, DecodeError::UnsupportedProtocolLevel(3 | 4))
}

/// What we take and the other codec refuses, each with the reason why we do.
fn theirs_is_stricter(packet: &Packet) -> bool {
    match packet {
        // An empty client id without a clean start is answered with a return code: the session's business.
        Packet::Connect(connect) => {
            connect.client_id.is_empty() && !connect.clean_start
                || left_out_in_31(connect)
                || connect.properties.iter().any(is_zero_expiry)
                || connect.will.as_ref().is_some_and(|will| will.properties.iter().any(is_zero_expiry))
        }
        Packet::Publish(publish) => publish.properties.iter().any(is_zero_expiry),
        _ => false,
    }
}

/// Codes that the standard does not list for a packet are kept: a peer may know more than we do.
fn may_carry_an_unlisted_code(packet: &Packet) -> bool {
    matches!(
        packet,
        Packet::Connack(_)
            | Packet::Puback(_)
            | Packet::Pubrec(_)
            | Packet::Pubrel(_)
            | Packet::Pubcomp(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Disconnect(_)
            | Packet::Auth(_)
    )
}

/// DUP of a repeated packet exists in MQTT 3.1 only.
fn may_be_repeated(packet: &Packet, version: Version) -> bool {
    let repeatable = matches!(packet, Packet::Pubrel(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_));
    version == Version::V31 && repeatable
}

/// MQTT 3.1 lets a sender set a flag and leave the field out.
fn left_out_in_31(connect: &Connect) -> bool {
    connect.version == Version::V31 && (connect.user_name.is_none() || connect.password.is_none())
}

/// A message may expire at once; the other codec takes 0 for malformed.
fn is_zero_expiry(property: &Property) -> bool {
    *property == Property::MessageExpiryInterval(0)
}

/// What the other codec makes of the bytes: nothing while incomplete, an error, or the packet as it writes it.
fn through_the_other(bytes: &[u8], version: Version) -> Result<Option<Bytes>, String> {
    match version {
        Version::V5 => through(&mut v5::Codec::new(0, 0), bytes),
        Version::V31 | Version::V311 => {
            Ok(through(&mut v3::Codec::new(0), bytes)?.map(|written| with_its_own_level(&written)))
        }
    }
}

/// The other codec writes level 4 behind the protocol name of 3.1.
fn with_its_own_level(written: &[u8]) -> Bytes {
    let mut written = written.to_vec();
    let name = b"MQIsdp\x04";
    let at = written.windows(name.len()).take(8).position(|window| window == name);
    if let Some(at) = at {
        written[at + 6] = 3;
    }
    written.into()
}

fn through<P, C>(codec: &mut C, bytes: &[u8]) -> Result<Option<Bytes>, String>
where
    C: Decoder<Item = (P, u32)> + Encoder<P>,
    <C as Decoder>::Error: std::fmt::Debug,
    <C as Encoder<P>>::Error: std::fmt::Debug,
{
    let decoded = codec.decode(&mut BytesMut::from(bytes)).map_err(|error| format!("{error:?}"))?;
    let Some((packet, _)) = decoded else { return Ok(None) };
    let mut out = BytesMut::new();
    codec.encode(packet, &mut out).map_err(|error| format!("not encoded: {error:?}"))?;
    Ok(Some(out.freeze()))
}

/// The packet without what may be said in two ways: the order of properties, and properties that say what
/// holds without them too. The other codec keeps neither.
fn meaning(mut packet: Packet) -> Packet {
    let in_connect = matches!(packet, Packet::Connect(_));
    let plain = |properties: &mut Properties| {
        let mut kept: Vec<_> = properties.iter().filter(|p| !says_nothing(p, in_connect)).cloned().collect();
        kept.sort_by_key(|property| format!("{property:?}"));
        *properties = Properties::from_iter(kept);
    };
    match &mut packet {
        Packet::Connect(connect) => {
            plain(&mut connect.properties);
            connect.will.iter_mut().for_each(|will| plain(&mut will.properties));
        }
        Packet::Connack(connack) => plain(&mut connack.properties),
        Packet::Publish(publish) => plain(&mut publish.properties),
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            plain(&mut ack.properties);
        }
        Packet::Subscribe(subscribe) => plain(&mut subscribe.properties),
        Packet::Suback(suback) => plain(&mut suback.properties),
        Packet::Unsubscribe(unsubscribe) => plain(&mut unsubscribe.properties),
        Packet::Unsuback(unsuback) => plain(&mut unsuback.properties),
        Packet::Disconnect(disconnect) => plain(&mut disconnect.properties),
        Packet::Auth(auth) => plain(&mut auth.properties),
        Packet::Pingreq | Packet::Pingresp => {}
    }
    packet
}

fn says_nothing(property: &Property, in_connect: bool) -> bool {
    match property {
        Property::SessionExpiryInterval(0) => in_connect,
        Property::PayloadFormatIndicator(false)
        | Property::RequestProblemInformation(true)
        | Property::RequestResponseInformation(false)
        | Property::TopicAliasMaximum(0)
        | Property::ReceiveMaximum(u16::MAX)
        | Property::RetainAvailable(true)
        | Property::WildcardSubscriptionAvailable(true)
        | Property::SubscriptionIdentifiersAvailable(true)
        | Property::SharedSubscriptionAvailable(true) => true,
        _ => false,
    }
}

proptest! {
    #[test]
    fn each_reads_what_the_other_has_written((version, packet) in arbitrary::versioned()) {
        let bytes = encoded(&packet, version);
        match through_the_other(&bytes, version) {
            Ok(theirs) => {
                let theirs = theirs.expect("a whole packet");
                assert_same(&meaning(decode(&theirs, version).unwrap()), &meaning(packet));
            }
            Err(error) => prop_assert!(theirs_is_stricter(&packet), "{error}: {packet:?}"),
        }
    }

    #[test]
    fn a_damaged_packet_gets_the_same_verdict_from_both(
        (version, packet) in arbitrary::versioned(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut bytes = encoded(&packet, version).to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let bytes = Bytes::from(bytes);
        compare_verdicts(&bytes, version)?;
    }
}

fn compare_verdicts(bytes: &Bytes, version: Version) -> Result<(), TestCaseError> {
    let ours = read(bytes, version, usize::MAX);
    if let Ok(Some(Packet::Connect(connect))) = &ours
        && (connect.version == Version::V5) != (version == Version::V5)
    {
        return Ok(()); // The other codec has to be told the version beforehand.
    }
    match (ours, through_the_other(bytes, version)) {
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
        (Ok(Some(ours)), Ok(Some(theirs))) => {
            assert_same(&meaning(decode(&theirs, version).unwrap()), &meaning(ours));
        }
        (Ok(Some(ours)), Err(theirs)) => {
            let known = theirs_is_stricter(&ours)
                || may_carry_an_unlisted_code(&ours)
                || may_be_repeated(&ours, version);
            prop_assert!(known, "{theirs}: {ours:?}");
        }
        (Err(ours), theirs) => {
            let listed = OURS_IS_STRICTER.iter().any(|(text, _)| ours.to_string().ends_with(text));
            prop_assert!(listed || is_level(ours), "{ours}, but {theirs:?}");
        }
        (ours, theirs) => prop_assert!(false, "{ours:?}, but {theirs:?}"),
    }
    Ok(())
}

#[test]
fn both_see_the_same_fields_in_a_connect() {
    let ours = Connect {
        version: Version::V311,
        clean_start: true,
        keep_alive_s: 60,
        client_id: "pump-17".to_owned(),
        will: Some(Will {
            qos: Qos::AtLeastOnce,
            retain: true,
            topic: "will/topic".to_owned(),
            payload: Bytes::from_static(b"gone"),
            properties: Properties::default(),
        }),
        user_name: Some("user".into()),
        password: Some("password".into()),
        properties: Properties::default(),
    };
    let bytes = encoded(&Packet::Connect(Box::new(ours)), Version::V311);
    let (theirs, _) = v3::Codec::new(0).decode(&mut BytesMut::from(&bytes[..])).unwrap().unwrap();
    let v3::Packet::Connect(theirs) = theirs else { panic!("not a CONNECT") };
    assert!(theirs.clean_session);
    assert_eq!(theirs.keep_alive, 60);
    assert_eq!(&*theirs.client_id, "pump-17");
    assert_eq!(theirs.username.as_deref(), Some("user"));
    assert_eq!(theirs.password.as_deref(), Some(&b"password"[..]));
    let will = theirs.last_will.unwrap();
    assert_eq!(
        (&*will.topic, &*will.message, will.retain, will.qos.value()),
        ("will/topic", &b"gone"[..], true, 1)
    );
}

#[test]
fn both_see_the_same_fields_in_a_publish() {
    let mut ours = Publish::new("t", Delivery::AtLeastOnce(PacketId::MIN), "payload");
    ours.retain = true;
    ours.properties.push(Property::ResponseTopic("r".to_owned()));
    ours.properties.push(Property::ContentType("c".to_owned()));
    let bytes = encoded(&Packet::Publish(ours), Version::V5);
    let (theirs, _) = v5::Codec::new(0, 0).decode(&mut BytesMut::from(&bytes[..])).unwrap().unwrap();
    let v5::Packet::Publish(theirs) = theirs else { panic!("not a PUBLISH") };
    assert_eq!((theirs.dup, theirs.retain, theirs.qos.value()), (false, true, 1));
    assert_eq!(
        (&*theirs.topic, theirs.packet_id, &*theirs.payload),
        ("t", Some(PacketId::MIN), &b"payload"[..])
    );
    let properties = theirs.properties.unwrap();
    assert_eq!(properties.response_topic.as_deref(), Some("r"));
    assert_eq!(properties.content_type.as_deref(), Some("c"));
}

#[test]
fn both_see_the_same_options_in_a_subscribe() {
    let filter = Filter {
        filter: "a/+".to_owned(),
        qos: Qos::ExactlyOnce,
        no_local: true,
        retain_as_published: false,
        retain_handling: RetainHandling::DoNotSend,
    };
    let ours =
        Subscribe { packet_id: PacketId::MIN, properties: Properties::default(), filters: vec![filter] };
    let bytes = encoded(&Packet::Subscribe(ours), Version::V5);
    let (theirs, _) = v5::Codec::new(0, 0).decode(&mut BytesMut::from(&bytes[..])).unwrap().unwrap();
    let v5::Packet::Subscribe(theirs) = theirs else { panic!("not a SUBSCRIBE") };
    let (filter, options) = &theirs.topic_filters[0];
    assert_eq!((&**filter, options.qos.value()), ("a/+", 2));
    assert!(options.no_local && !options.retain_as_published);
    assert_eq!(options.retain_handling, v5::RetainHandling::NoAtSubscribe);
}
