//! MQTT packets as readable lines, both ways, for 3.1.1 and 5. Written from the standards and on its own, so
//! that what is compared does not come from the code under test.
//!
//! `connect [client=X] [user=X] [password=X] [persistent]`, `connack CODE`, `subscribe ID FILTER QOS`,
//! `suback ID CODE`, `unsubscribe ID FILTER`, `unsuback ID CODE` (3.1.1 has no code), `publish QOS[:ID] TOPIC
//! PAYLOAD`, `puback|pubrec|pubrel|pubcomp ID [CODE]`, `pingreq`, `pingresp`, `disconnect [CODE]`, `hex BYTES`.

use super::text::bytes;

/// Protocol level of MQTT 3.1.1.
pub(crate) const V3: u8 = 4;
/// Protocol level of MQTT 5.
pub(crate) const V5: u8 = 5;

/// The bytes of a line.
pub(crate) fn packet(line: &str, level: u8) -> Vec<u8> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    let word = |at: usize| rest.split(' ').nth(at).unwrap_or_else(|| panic!("too short: {line}"));
    match kind {
        "hex" => testkit::mqtt::from_hex(rest).unwrap(),
        "connect" => connect(rest, level),
        "connack" => framed(0x20, &[&[0, number(word(0))][..], properties(level)].concat()),
        "subscribe" => {
            let body = [&id(word(0))[..], properties(level), &text(word(1)), &[number(word(2))]].concat();
            framed(0x82, &body)
        }
        "suback" => framed(0x90, &[&id(word(0))[..], properties(level), &[number(word(1))]].concat()),
        "unsubscribe" => framed(0xa2, &[&id(word(0))[..], properties(level), &text(word(1))].concat()),
        "unsuback" if level == V3 => framed(0xb0, &id(word(0))),
        "unsuback" => framed(0xb0, &[&id(word(0))[..], properties(level), &[number(word(1))]].concat()),
        "publish" => publish(rest, level),
        "puback" => ack(0x40, rest, level),
        "pubrec" => ack(0x50, rest, level),
        "pubrel" => ack(0x62, rest, level),
        "pubcomp" => ack(0x70, rest, level),
        "pingreq" => framed(0xc0, &[]),
        "pingresp" => framed(0xd0, &[]),
        "disconnect" if rest.is_empty() => framed(0xe0, &[]),
        "disconnect" => framed(0xe0, &[number(word(0)), 0]),
        _ => panic!("no such packet: {line}"),
    }
}

fn connect(rest: &str, level: u8) -> Vec<u8> {
    let find = |name: &str| rest.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let (user, password) = (find("user"), find("password"));
    let clean = if rest.contains("persistent") { 0 } else { 0x02 };
    let flags = clean | if user.is_some() { 0x80 } else { 0 } | if password.is_some() { 0x40 } else { 0 };
    let mut body = [&text("MQTT")[..], &[level, flags, 0, 60], properties(level)].concat();
    for field in [Some(find("client").unwrap_or_default()), user, password].into_iter().flatten() {
        body.extend(text(field));
    }
    framed(0x10, &body)
}

fn publish(rest: &str, level: u8) -> Vec<u8> {
    let mut words = rest.splitn(3, ' ');
    let (delivery, topic) = (words.next().unwrap(), words.next().unwrap());
    let payload = words.next().map(bytes).unwrap_or_default();
    let (qos, packet_id) = match delivery.split_once(':') {
        Some((qos, packet_id)) => (number(qos), id(packet_id).to_vec()),
        None => (number(delivery), Vec::new()),
    };
    framed(0x30 | qos << 1, &[&text(topic)[..], &packet_id, properties(level), &payload].concat())
}

/// In MQTT 5 a reason other than 0 is followed by empty properties, as a real server writes it.
fn ack(first: u8, rest: &str, level: u8) -> Vec<u8> {
    let (packet_id, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    match reason {
        "" => framed(first, &id(packet_id)),
        _ if level == V3 => panic!("3.1.1 has no reasons: {rest}"),
        reason => framed(first, &[&id(packet_id)[..], &[number(reason), 0]].concat()),
    }
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let more = if length >= 128 { 0x80 } else { 0 };
        packet.push(u8::try_from(length % 128).unwrap() | more);
        length /= 128;
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn properties(level: u8) -> &'static [u8] {
    if level == V5 { &[0] } else { &[] }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&length[..], text.as_bytes()].concat()
}

fn id(word: &str) -> [u8; 2] {
    word.parse::<u16>().unwrap_or_else(|_| panic!("no packet id: {word}")).to_be_bytes()
}

fn number(word: &str) -> u8 {
    let parsed = word.strip_prefix("0x").map_or_else(|| word.parse(), |hex| u8::from_str_radix(hex, 16));
    parsed.unwrap_or_else(|_| panic!("no byte: {word}"))
}
