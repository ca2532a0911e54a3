//! The packets of `testdata/mqtt`: recorded from real clients and servers, or written by hand from the
//! standards.

use super::*;
use crate::secret::Secret;

const PACKETS: &str = include_str!("../../../testdata/mqtt/packets.txt");
const MALFORMED: &str = include_str!("../../../testdata/mqtt/malformed.txt");

/// One line `version | name | hex | rest`; `#` begins a comment.
struct Line<'a> {
    version: Version,
    name: &'a str,
    bytes: Bytes,
    rest: &'a str,
}

fn lines(file: &str) -> impl Iterator<Item = Line<'_>> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let mut columns = line.splitn(4, '|').map(str::trim);
        let mut column = || columns.next().unwrap_or_default();
        Line { version: version(column()), name: column(), bytes: from_hex(column()), rest: column() }
    })
}

fn version(column: &str) -> Version {
    match column {
        "3.1" => Version::V31,
        "3.1.1" => Version::V311,
        "5" => Version::V5,
        other => panic!("no version: {other}"),
    }
}

fn from_hex(text: &str) -> Bytes {
    text.split_ascii_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect::<Vec<_>>().into()
}

#[test]
fn every_recorded_packet_is_read_and_written_back_to_the_byte() {
    for line in lines(PACKETS) {
        let packet =
            decode(&line.bytes, line.version).unwrap_or_else(|error| panic!("{}: {error}", line.name));
        assert_eq!(encoded(&packet, line.version), line.bytes, "{}", line.name);
    }
}

#[test]
fn every_malformed_packet_is_refused_for_its_own_reason() {
    for line in lines(MALFORMED) {
        let error = read(&line.bytes, line.version, 65_536).map(|packet| packet.is_some());
        let error = error.expect_err(line.name);
        assert_eq!(error.to_string(), line.rest, "{}", line.name);
    }
}

fn named(name: &str) -> Packet {
    let line = lines(PACKETS).find(|line| line.name == name).unwrap();
    decode(&line.bytes, line.version).unwrap()
}

#[test]
fn the_refusals_of_a_running_thingsboard_mean_what_they_say() {
    for (name, reason) in [
        ("wrong token is refused", return_code::NOT_AUTHORIZED),
        ("wrong token is refused, 5", ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        ("anonymous is refused", return_code::IDENTIFIER_REJECTED),
        ("anonymous is refused, 5", ReasonCode::CLIENT_IDENTIFIER_NOT_VALID),
    ] {
        let Packet::Connack(connack) = named(name) else { panic!("{name} is no CONNACK") };
        assert_eq!(connack, Connack::new(reason), "{name}");
    }
}

#[test]
fn the_connect_of_a_device_carries_its_token_as_user_name() {
    let Packet::Connect(connect) = named("SDK device connects with its token, 5") else {
        panic!("not a CONNECT")
    };
    assert_eq!(connect.version, Version::V5);
    assert_eq!(connect.keep_alive_s, 120);
    assert_eq!(connect.client_id, "");
    assert_eq!(connect.user_name.as_ref().map(Secret::expose), Some("A1B2C3D4E5F6G7H8I9J0"));
    assert!(connect.password.is_none() && connect.clean_start);
}

#[test]
fn the_connect_of_a_request_tool_says_how_much_it_takes() {
    let Packet::Connect(connect) = named("request tool connects, receive maximum 1") else {
        panic!("not a CONNECT")
    };
    assert_eq!(connect.properties.receive_maximum(), Some(1));
    assert_eq!(connect.properties.maximum_packet_size(), None);
}

#[test]
fn errors_name_the_reason_that_mqtt_5_sends() {
    for (error, code) in [
        (DecodeError::TooLarge { size: 2, limit: 1 }, 0x95),
        (DecodeError::UnsupportedProtocolLevel(6), 0x84),
        (DecodeError::Malformed("x"), 0x81),
        (DecodeError::Protocol("x"), 0x82),
    ] {
        assert_eq!(error.reason(), ReasonCode(code));
    }
}
