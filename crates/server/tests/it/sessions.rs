//! Sessions of devices over MQTT: one a device, ended when its credential is void, and nothing lost.

use std::net::TcpStream;
use std::time::Duration;

use engine::registry::NewProfile;
use testkit::mqtt::{MqttConnection, from_hex};
use testkit::wait::eventually;

use crate::conversation::packets::{V3, V5, packet};
use crate::running::Running;

const PATIENCE: Duration = Duration::from_secs(30);

fn running() -> Running {
    let running = Running::start(|_| {});
    running.profile("main", "the-key", "the-secret");
    running
}

struct Client {
    mqtt: MqttConnection,
    level: u8,
}

impl Client {
    fn connect(running: &Running, level: u8, line: &str) -> Client {
        let mut client = Client { mqtt: MqttConnection::open(running.mqtt()).unwrap(), level };
        client.say(line);
        client.hears("connack 0");
        client
    }

    fn say(&mut self, line: &str) {
        self.mqtt.send(&packet(line, self.level)).unwrap();
    }

    fn hears(&mut self, line: &str) {
        assert_eq!(self.mqtt.read_packet().unwrap(), Some(packet(line, self.level)), "{line}");
    }

    /// In MQTT 5 with this reason, before without a word.
    fn is_ended(&mut self, reason: &str) {
        if self.level == V5 {
            self.hears(&format!("disconnect {reason}"));
        }
        assert_eq!(self.mqtt.read_packet_hex().unwrap(), None);
    }
}

#[test]
fn a_new_session_of_a_device_ends_the_one_before() {
    let running = running();
    let token = running.provision("the-key", "the-secret", "a");
    for level in [V3, V5] {
        let mut first = Client::connect(&running, level, &format!("connect user={token} client=c"));
        let mut second = Client::connect(&running, level, &format!("connect user={token} client=other"));
        first.is_ended("0x8e");
        second.say("pingreq");
        second.hears("pingresp");
    }
}

#[test]
fn one_client_id_may_belong_to_several_devices_at_once() {
    let running = running();
    let tokens = ["a", "b"].map(|name| running.provision("the-key", "the-secret", name));
    let mut clients =
        tokens.map(|token| Client::connect(&running, V3, &format!("connect user={token} client=same")));
    for client in &mut clients {
        client.say("pingreq");
        client.hears("pingresp");
    }
}

#[test]
fn a_device_that_is_deleted_or_disabled_is_out_at_once() {
    let running = running();
    let (operator, tenant) = (Running::operator(), running.tenant());
    for level in [V3, V5] {
        for (name, deleted) in [("a", true), ("b", false)] {
            let name = format!("{name}{level}");
            let token = running.provision("the-key", "the-secret", &name);
            let mut client = Client::connect(&running, level, &format!("connect user={token} client=c"));
            if deleted {
                running.registry().delete_device(&operator, &tenant, &name).unwrap();
            } else {
                running.registry().disable_device(&operator, &tenant, &name).unwrap();
            }
            client.is_ended("0x98");
            let mut again = Client { mqtt: MqttConnection::open(running.mqtt()).unwrap(), level };
            again.say(&format!("connect user={token} client=c"));
            again.hears(if level == V5 { "connack 0x86" } else { "connack 5" });
        }
    }
}

#[test]
fn a_rotated_credential_ends_the_session_that_used_the_old_one() {
    let running = Running::start(|_| {});
    running.profile_with("main", "the-key", "the-secret", |profile: &mut NewProfile| {
        profile.reprovision = domain::Reprovision::Rotate;
    });
    let token = running.provision("the-key", "the-secret", "a");
    let mut client = Client::connect(&running, V5, &format!("connect user={token} client=c"));
    let new = running.provision("the-key", "the-secret", "a");
    client.is_ended("0x98");
    Client::connect(&running, V5, &format!("connect user={new} client=c"));
}

#[test]
fn what_a_device_published_before_it_vanished_is_stored() {
    let running = running();
    let token = running.provision("the-key", "the-secret", "a");
    for (number, reset) in (0..40).map(|number| (number, number % 2 == 0)) {
        let stream = TcpStream::connect(running.mqtt()).unwrap();
        let connect = packet(&format!("connect user={token}"), V3);
        let publish = packet(&format!("publish 0 v1/devices/me/telemetry {{\"k{number}\":1}}"), V3);
        std::io::Write::write_all(&mut &stream, &[connect, publish].concat()).unwrap();
        if reset {
            // Closing a socket with unread bytes, here the CONNACK, is a reset and no FIN.
            stream.peek(&mut [0]).unwrap();
        }
        drop(stream);
    }
    let stored = || (running.telemetry("a").len() == 40).then_some(());
    eventually("all forty values", PATIENCE, stored).unwrap();
}

#[test]
fn a_packet_that_is_too_large_ends_the_session() {
    let running = running();
    let token = running.provision("the-key", "the-secret", "a");
    for level in [V3, V5] {
        let mut client = Client::connect(&running, level, &format!("connect user={token} client=c"));
        client.mqtt.send(&from_hex("30 80 80 04").unwrap()).unwrap();
        client.is_ended("0x81");
    }
}

#[test]
fn a_session_answers_sixteen_requests() {
    let running = running();
    let mut client = Client::connect(&running, V5, "connect user=provision client=c");
    client.say("subscribe 1 /provision/response 0");
    client.hears("suback 1 0");
    for _ in 0..16 {
        client.say("publish 0 /provision/request {}");
        client.hears(
            r#"publish 0 /provision/response {"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}"#,
        );
    }
    client.say("publish 0 /provision/request {}");
    client.is_ended("0x97");
}

#[test]
fn a_client_that_is_silent_for_longer_than_it_said_is_ended() {
    let running = running();
    let mut client = Client { mqtt: MqttConnection::open(running.mqtt()).unwrap(), level: V5 };
    // As `connect user=provision`, with a keep alive of one second.
    client
        .mqtt
        .send(&from_hex("10 19 0004 4d515454 05 82 0001 00 0001 63 0009 70726f766973696f6e").unwrap())
        .unwrap();
    client.hears("connack 0");
    client.is_ended("0x8d");
}

#[test]
fn a_client_with_one_place_gets_its_answers_one_after_the_other() {
    let running = running();
    let mut client = Client { mqtt: MqttConnection::open(running.mqtt()).unwrap(), level: V5 };
    // As `connect user=provision`, with Receive Maximum 1.
    client
        .mqtt
        .send(&from_hex("10 1c 0004 4d515454 05 82 003c 03 210001 0001 63 0009 70726f766973696f6e").unwrap())
        .unwrap();
    client.hears("connack 0");
    let answer = |id| {
        format!(
            r#"publish 1:{id} /provision/response {{"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}}"#
        )
    };
    client.say("publish 0 /provision/request {}");
    client.say("publish 0 /provision/request {}");
    client.say("pingreq");
    client.hears(&answer(1));
    client.hears("pingresp");
    client.say("puback 1");
    client.hears(&answer(2));
}

#[test]
fn an_answer_that_its_client_does_not_take_is_not_waited_for() {
    let running = running();
    let mut client = Client { mqtt: MqttConnection::open(running.mqtt()).unwrap(), level: V5 };
    // As `connect user=provision`, with Maximum Packet Size 112 and Receive Maximum 1.
    let connect = "10 21 0004 4d515454 05 82 003c 08 2700000070 210001 0001 63 0009 70726f766973696f6e";
    client.mqtt.send(&from_hex(connect).unwrap()).unwrap();
    client.hears("connack 0");
    client.say(r#"publish 0 /provision/request {"provisionDeviceKey":"the-key","provisionDeviceSecret":"the-secret"}"#);
    client.say("publish 0 /provision/request {}");
    client.hears(
        r#"publish 1:2 /provision/response {"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}"#,
    );
}

#[test]
fn a_device_that_only_pings_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let on_it = |config: &mut server::config::Config| config.directory = folder.path().join("data");
    let running = Running::start(on_it);
    running.profile("main", "the-key", "the-secret");
    let token = running.provision("the-key", "the-secret", "a");
    let mut client = Client::connect(&running, V5, &format!("connect user={token} client=c"));
    let connected = running.registry().now();
    let is_later = || (running.registry().now() > connected).then_some(());
    eventually("a later moment", PATIENCE, is_later).unwrap();
    client.say("pingreq");
    client.hears("pingresp");
    // What is not written yet is written when the server stops.
    drop(running);
    let running = Running::start(on_it);
    let device = running.registry().device(&running.tenant(), "a").unwrap();
    assert!(device.seen_at > Some(connected), "{:?} {connected:?}", device.seen_at);
}
