//! The codec against recorded packets, against itself and against another codec.

mod arbitrary;
mod differential;
mod vectors;

use proptest::prelude::*;

use super::*;

fn encoded(packet: &Packet, version: Version) -> Bytes {
    let mut out = BytesMut::new();
    packet.encode(version, &mut out).unwrap();
    out.freeze()
}

/// The first packet of a buffer, decoded once it is complete.
fn read(buffer: &Bytes, version: Version, limit: usize) -> Result<Option<Packet>, DecodeError> {
    match frame(buffer, limit)? {
        Some(length) if length <= buffer.len() => decode(&buffer.slice(..length), version).map(Some),
        _ => Ok(None),
    }
}

fn assert_same(left: &Packet, right: &Packet) {
    macro_rules! equal {
        ($($kind:ident)*) => {
            match (left, right) {
                (Packet::Connect(left), Packet::Connect(right)) => assert_same_connect(left, right),
                $((Packet::$kind(left), Packet::$kind(right)) => assert_eq!(left, right),)*
                (Packet::Pingreq, Packet::Pingreq) | (Packet::Pingresp, Packet::Pingresp) => {}
                _ => panic!("{left:?} is another kind than {right:?}"),
            }
        };
    }
    equal!(Connack Publish Puback Pubrec Pubrel Pubcomp Subscribe Suback Unsubscribe Unsuback Disconnect Auth);
}

fn assert_same_connect(left: &Connect, right: &Connect) {
    assert_eq!(left.version, right.version);
    assert_eq!(left.clean_start, right.clean_start);
    assert_eq!(left.keep_alive_s, right.keep_alive_s);
    assert_eq!(left.client_id, right.client_id);
    assert_eq!(left.will, right.will);
    let user_name = |connect: &Connect| connect.user_name.as_ref().map(|name| name.expose().to_owned());
    assert_eq!(user_name(left), user_name(right));
    let password = |connect: &Connect| connect.password.as_ref().map(|password| password.expose().to_owned());
    assert_eq!(password(left), password(right));
    assert_eq!(left.properties, right.properties);
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_as_it_was((version, packet) in arbitrary::versioned()) {
        let bytes = encoded(&packet, version);
        prop_assert_eq!(frame(&bytes, bytes.len()), Ok(Some(bytes.len())));
        assert_same(&decode(&bytes, version).unwrap(), &packet);
    }

    #[test]
    fn a_packet_that_has_not_arrived_whole_is_no_packet(
        (version, packet) in arbitrary::versioned(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = encoded(&packet, version);
        let part = bytes.slice(..cut.index(bytes.len()));
        prop_assert!(read(&part, version, usize::MAX).unwrap().is_none());
        prop_assert!(decode(&part, version).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        version in arbitrary::version(),
    ) {
        let bytes = Bytes::from(bytes);
        let _ = read(&bytes, version, 256);
        let _ = decode(&bytes, version);
    }

    #[test]
    fn a_damaged_packet_is_an_error_or_one_that_can_be_written_again(
        (version, packet) in arbitrary::versioned(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&packet, version).to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(Some(packet)) = read(&bytes.into(), version, usize::MAX) {
            let version = if let Packet::Connect(connect) = &packet { connect.version } else { version };
            assert_same(&decode(&encoded(&packet, version), version).unwrap(), &packet);
        }
    }
}

#[test]
fn a_packet_beyond_the_limit_is_refused_from_its_header_alone() {
    let header = [0x30, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(frame(&header, 65_536), Err(DecodeError::TooLarge { size: 268_435_460, limit: 65_536 }));
    assert_eq!(frame(&header, 268_435_460), Ok(Some(268_435_460)));
}

#[test]
fn a_limit_of_zero_takes_nothing() {
    assert_eq!(frame(&[0xc0, 0x00], 0), Err(DecodeError::TooLarge { size: 2, limit: 0 }));
    assert_eq!(frame(&[0xc0, 0x00], 2), Ok(Some(2)));
}

#[test]
fn a_payload_is_not_copied() {
    let packet = encoded(&Packet::Publish(Publish::new("t", Delivery::AtMostOnce, "payload")), Version::V311);
    let Packet::Publish(publish) = decode(&packet, Version::V311).unwrap() else { panic!("not a PUBLISH") };
    assert!(packet.as_ptr_range().contains(&publish.payload.as_ptr()));
}

#[test]
fn a_packet_that_cannot_be_written_leaves_the_buffer_as_it_was() {
    let mut out = BytesMut::from(&b"before"[..]);
    let publish = Packet::Publish(Publish::new("t".repeat(65_536), Delivery::AtMostOnce, ""));
    assert_eq!(publish.encode(Version::V311, &mut out), Err(EncodeError::FieldTooLong(65_536)));
    let auth = Packet::Auth(Auth::default());
    assert_eq!(auth.encode(Version::V311, &mut out), Err(EncodeError::NotInVersion));
    assert_eq!(out, b"before"[..]);
}

#[test]
fn debug_shows_no_credentials_payloads_or_property_values() {
    let bytes = encoded(
        &Packet::Connect(Box::new(Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive_s: 60,
            client_id: "pump-17".to_owned(),
            will: Some(Will {
                qos: Qos::AtMostOnce,
                retain: false,
                topic: "t".to_owned(),
                payload: "HIDDEN".into(),
                properties: Properties::default(),
            }),
            user_name: Some("HIDDEN".into()),
            password: Some("HIDDEN".into()),
            properties: [Property::UserProperty("HIDDEN".to_owned(), "HIDDEN".to_owned())]
                .into_iter()
                .collect(),
        })),
        Version::V5,
    );
    assert!(!format!("{:?}", decode(&bytes, Version::V5).unwrap()).contains("HIDDEN"));
    let publish = Publish::new("t", Delivery::AtMostOnce, "HIDDEN");
    assert!(!format!("{publish:?}").contains("HIDDEN"));
}
