//! Conversations over MQTT.

use testkit::mqtt::{MqttConnection, to_hex};

use super::packets::{V3, V5, packet};
use super::setting::Setting;
use super::text::Variables;

const SUBSCRIBE: &str = "subscribe 1 /provision/response 0";

/// A section of packets, for both versions.
pub(super) fn run(setting: &Setting, lines: &[String]) {
    for (level, own, others) in [(V3, '3', '5'), (V5, '5', '3')] {
        let (running, mut variables) = setting.start();
        let mut client = Client { mqtt: MqttConnection::open(running.mqtt()).unwrap(), level };
        for line in lines.iter().filter(|line| !line[1..].starts_with(others)) {
            let (mark, rest) = line.split_once(' ').unwrap();
            match mark.trim_end_matches(own) {
                ">" if rest == "again" => client.mqtt = MqttConnection::open(running.mqtt()).unwrap(),
                ">" => client.say(&variables.fill(rest)),
                "<" if rest == "closed" => client.hear_the_end(line),
                "<" if rest == "connack assigned" => client.hear_an_assigned_name(line),
                "<" => client.hear(rest, &mut variables, line),
                _ => panic!("no such line: {line}"),
            }
        }
    }
}

/// A section of provision requests and answers: at QoS 0 and 1, subscribed, all sent at once; every wire has
/// a server of its own, because the same names come again.
pub(super) fn provision(setting: &Setting, lines: &[String]) {
    for (level, qos) in [(V3, 0), (V3, 1), (V5, 0), (V5, 1)] {
        let (running, mut variables) = setting.start();
        let mut client = Client { mqtt: MqttConnection::open(running.mqtt()).unwrap(), level };
        client.say("connect client=c user=provision");
        client.say(SUBSCRIBE);
        client.hear("connack 0", &mut variables, "connect");
        client.hear("suback 1 0", &mut variables, SUBSCRIBE);
        for line in lines {
            match line.split_once(' ').unwrap() {
                (">", json) if qos == 0 => {
                    client.say(&format!("publish 0 /provision/request {}", variables.fill(json)));
                }
                (">", json) => {
                    client.say(&format!("publish 1:7 /provision/request {}", variables.fill(json)));
                    client.hear("puback 7", &mut variables, line);
                }
                ("<", json) => {
                    client.hear(&format!("publish 0 /provision/response {json}"), &mut variables, line);
                }
                _ => panic!("no such line: {line}"),
            }
        }
    }
}

struct Client {
    mqtt: MqttConnection,
    level: u8,
}

impl Client {
    fn say(&mut self, line: &str) {
        self.mqtt.send(&packet(line, self.level)).unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    /// Compares the bytes; in a message's payload variables may be bound.
    fn hear(&mut self, expected: &str, variables: &mut Variables, line: &str) {
        let heard = self.mqtt.read_packet().unwrap_or_else(|error| panic!("{line}: {error}"));
        let heard = heard.unwrap_or_else(|| panic!("{line}: the connection was closed"));
        match expected.strip_prefix("publish ") {
            Some(message) => {
                let (head, payload) = split_payload(message);
                let empty = packet(&format!("publish {head} "), self.level);
                let from = heard.len().saturating_sub(payload_length(&heard, &empty));
                let said = String::from_utf8_lossy(&heard[from..]).into_owned();
                variables.expect(payload, &said, line);
                let whole = packet(&format!("publish {head} {said}"), self.level);
                assert_eq!(to_hex(&heard), to_hex(&whole), "MQTT level {}: {line}", self.level);
            }
            None => {
                let whole = packet(&variables.fill(expected), self.level);
                assert_eq!(to_hex(&heard), to_hex(&whole), "MQTT level {}: {line}", self.level);
            }
        }
    }

    /// A success that carries `Assigned Client Identifier` (MQTT 5, section 3.2.2.3.7) and nothing else.
    fn hear_an_assigned_name(&mut self, line: &str) {
        let heard = self.mqtt.read_packet().unwrap().unwrap_or_else(|| panic!("{line}: closed"));
        assert_eq!((heard[0], heard[2], heard[3], heard[5]), (0x20, 0, 0, 0x12), "{}", to_hex(&heard));
        let length = usize::from(u16::from_be_bytes([heard[6], heard[7]]));
        assert!(length > 0 && heard.len() == 8 + length, "{}", to_hex(&heard));
    }

    fn hear_the_end(&mut self, line: &str) {
        let heard = self.mqtt.read_packet_hex().unwrap();
        assert_eq!(heard, None, "MQTT level {}: {line}", self.level);
    }
}

/// `QOS[:ID] TOPIC` and the payload.
fn split_payload(message: &str) -> (&str, &str) {
    let topic_at = message.find(' ').unwrap() + 1;
    let end = message[topic_at..].find(' ').map_or(message.len(), |at| topic_at + at);
    (&message[..end], message.get(end + 1..).unwrap_or_default())
}

/// How much of a packet is payload, given the same packet without one; the length itself may be longer.
fn payload_length(heard: &[u8], empty: &[u8]) -> usize {
    let width = |packet: &[u8]| packet[1..].iter().position(|byte| byte & 0x80 == 0).unwrap_or(0) + 1;
    (heard.len() - 1 - width(heard)).saturating_sub(empty.len() - 1 - width(empty))
}
