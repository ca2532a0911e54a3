//! MQTT 3.1.1 for the generator: whole conversations, one connection each.

use crate::load::{Heard, Talk};
use crate::names::{LENGTH, Names};

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Connects, is answered, and takes its leave: the least that a broker does for a client.
pub struct Greeting {
    connect: Vec<u8>,
}

impl Greeting {
    /// With this user name.
    pub fn new(user: &str) -> Greeting {
        Greeting { connect: connect(user) }
    }
}

impl Talk for Greeting {
    fn begin(&mut self, _: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.connect);
    }

    fn hear(&mut self, _: usize, heard: &[u8], out: &mut Vec<u8>) -> Heard {
        match packet(heard) {
            None => Heard::Part,
            Some(Packet { kind: CONNACK, content: [_, 0], .. }) => {
                out.extend_from_slice(&DISCONNECT);
                Heard::Over
            }
            Some(_) => Heard::Wrong,
        }
    }
}

/// Connects, subscribes to the answer and asks for a provisioning in one go, hears the answer, takes its leave.
pub struct Provision {
    connect: Vec<u8>,
    ask: Vec<u8>,
    hole: usize,
    names: Names,
}

impl Provision {
    /// ThingsBoard's conversation with this provision key and secret.
    pub fn new(key: &str, secret: &str, names: Names) -> Provision {
        let name = "_".repeat(LENGTH);
        let json = format!(
            r#"{{"deviceName":"{name}","provisionDeviceKey":"{key}","provisionDeviceSecret":"{secret}"}}"#
        );
        let mut ask = subscribe("/provision/response");
        ask.extend(publish("/provision/request", &json));
        let hole = ask.len() - json.len() + r#"{"deviceName":""#.len();
        Provision { connect: connect("provision"), ask, hole, names }
    }

    fn ask(&mut self, out: &mut Vec<u8>) -> Heard {
        self.ask[self.hole..self.hole + LENGTH].copy_from_slice(&self.names.make());
        out.extend_from_slice(&self.ask);
        Heard::Said
    }
}

impl Talk for Provision {
    fn begin(&mut self, _: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.connect);
    }

    /// First comes CONNACK alone, then SUBACK and the answer.
    fn hear(&mut self, _: usize, heard: &[u8], out: &mut Vec<u8>) -> Heard {
        let mut rest = heard;
        while let Some(packet) = packet(rest) {
            match packet.kind {
                CONNACK if packet.content == [0, 0] => return self.ask(out),
                CONNACK => return Heard::Wrong,
                kind if kind & 0xf0 == PUBLISH => return farewell(packet.content, out),
                _ => rest = packet.rest,
            }
        }
        Heard::Part
    }
}

fn farewell(answer: &[u8], out: &mut Vec<u8>) -> Heard {
    if !answer.ends_with(br#""status":"SUCCESS"}"#) {
        return Heard::Wrong;
    }
    out.extend_from_slice(&DISCONNECT);
    Heard::Over
}

struct Packet<'a> {
    kind: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

/// The first packet, once all of it has come.
fn packet(heard: &[u8]) -> Option<Packet<'_>> {
    let (&kind, rest) = heard.split_first()?;
    let (length, rest) = remaining_length(rest)?;
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Packet { kind, content, rest })
}

fn remaining_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let last = bytes.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    let (digits, rest) = bytes.split_at(last + 1);
    let length = digits.iter().rev().fold(0, |length, digit| length << 7 | usize::from(digit & 0x7f));
    Some((length, rest))
}

fn connect(user: &str) -> Vec<u8> {
    let mut content = text("MQTT");
    content.extend([4, 0x82, 0, 60]);
    content.extend(text(""));
    content.extend(text(user));
    framed(0x10, &content)
}

fn subscribe(filter: &str) -> Vec<u8> {
    let mut content = vec![0, 1];
    content.extend(text(filter));
    content.push(0);
    framed(0x82, &content)
}

fn publish(topic: &str, payload: &str) -> Vec<u8> {
    let mut content = text(topic);
    content.extend(payload.as_bytes());
    framed(PUBLISH, &content)
}

fn framed(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut length = content.len();
    while length > 127 {
        packet.push(length as u8 & 0x7f | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(content);
    packet
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBACK: [u8; 5] = [0x90, 3, 0, 1, 0];

    fn answer(json: &str) -> Vec<u8> {
        [&SUBACK[..], &publish("/provision/response", json)].concat()
    }

    #[test]
    fn a_conversation_asks_after_the_greeting_and_ends_with_the_answer() {
        let mut talk = Provision::new("k", "s", Names::after(0));
        let mut out = Vec::new();
        talk.begin(0, &mut out);
        assert_eq!(out, b"\x10\x17\0\x04MQTT\x04\x82\0\x3c\0\0\0\x09provision");
        out.clear();
        assert_eq!(talk.hear(0, &[CONNACK, 2, 0, 0], &mut out), Heard::Said);
        assert!(out.windows(18).any(|part| part == b"/provision/request"));
        let answer = answer(r#"{"credentialsValue":"x","status":"SUCCESS"}"#);
        assert_eq!(talk.hear(0, &answer[..9], &mut out), Heard::Part);
        assert_eq!(talk.hear(0, &answer, &mut out), Heard::Over);
        assert!(out.ends_with(&DISCONNECT));
    }

    #[test]
    fn a_refusal_is_not_what_was_wanted() {
        let mut talk = Provision::new("k", "s", Names::after(0));
        assert_eq!(talk.hear(0, &[CONNACK, 2, 0, 5], &mut Vec::new()), Heard::Wrong);
        assert_eq!(talk.hear(0, &answer(r#"{"status":"FAILURE"}"#), &mut Vec::new()), Heard::Wrong);
    }

    #[test]
    fn long_packets_have_long_lengths() {
        let packet = publish("t", &"x".repeat(300));
        assert_eq!(remaining_length(&packet[1..]).unwrap().0, 303);
    }
}
