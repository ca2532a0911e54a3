//! MQTT packets as a test writes and reads them: MQTT 3.1.1, sections 3.1 to 3.9, and the same packets of
//! MQTT 5 without properties.

/// What CONNECT says.
#[derive(Debug, Clone, Default)]
pub struct Connect<'a> {
    /// The client id.
    pub client_id: &'a str,
    /// The user name, where there is one.
    pub user_name: Option<&'a str>,
    /// The password, where there is one.
    pub password: Option<&'a str>,
    /// Whether it speaks MQTT 5 instead of 3.1.1.
    pub five: bool,
}

/// CONNECT with a clean session and a keep-alive of 60 s.
#[must_use]
pub fn connect(connect: &Connect<'_>) -> Vec<u8> {
    let mut body = text("MQTT");
    let flags = 2 | u8::from(connect.user_name.is_some()) << 7 | u8::from(connect.password.is_some()) << 6;
    body.extend([if connect.five { 5 } else { 4 }, flags, 0, 60]);
    body.extend(connect.five.then_some(0));
    body.extend(text(connect.client_id));
    for part in [connect.user_name, connect.password].into_iter().flatten() {
        body.extend(text(part));
    }
    packet(0x10, &body)
}

/// SUBSCRIBE with packet id 1, one filter, QoS 1.
#[must_use]
pub fn subscribe(filter: &str, five: bool) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(five.then_some(0));
    body.extend(text(filter));
    body.push(1);
    packet(0x82, &body)
}

/// PUBLISH, QoS 1 where it has a packet id, else QoS 0.
#[must_use]
pub fn publish(topic: &str, id: Option<u16>, payload: &[u8], five: bool) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.into_iter().flat_map(u16::to_be_bytes));
    body.extend(five.then_some(0));
    body.extend(payload);
    packet(if id.is_some() { 0x32 } else { 0x30 }, &body)
}

/// The payload of a PUBLISH on a topic; `None` for any other packet.
#[must_use]
pub fn payload<'a>(packet: &'a [u8], topic: &str, five: bool) -> Option<&'a [u8]> {
    let first = *packet.first()?;
    let header = 1 + packet.iter().skip(1).position(|byte| byte & 0x80 == 0)? + 1;
    let body = (first >> 4 == 3).then(|| packet.get(header..))??;
    let rest = body.strip_prefix(text(topic).as_slice())?;
    let id = if first & 0x06 == 0 { 0 } else { 2 };
    let properties = if five { 1 + usize::from(*rest.get(id)?) } else { 0 };
    rest.get(id + properties..)
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let digit = (length & 0x7f) as u8;
        length >>= 7;
        bytes.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_is_as_the_standard_says() {
        let token = Connect { user_name: Some("tok"), ..Connect::default() };
        assert_eq!(connect(&token), b"\x10\x11\x00\x04MQTT\x04\x82\x00\x3c\x00\x00\x00\x03tok");
        let five = Connect { client_id: "c", five: true, ..Connect::default() };
        assert_eq!(connect(&five), b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c");
    }

    #[test]
    fn a_payload_comes_back_as_it_was_sent() {
        for (id, five) in [(None, false), (Some(7), false), (None, true), (Some(7), true)] {
            let long = vec![b'x'; 200];
            assert_eq!(payload(&publish("/t", id, &long, five), "/t", five), Some(long.as_slice()));
        }
        assert_eq!(payload(&publish("/t", None, b"x", false), "/u", false), None);
        assert_eq!(payload(&[0xd0, 0], "/t", false), None);
    }
}
