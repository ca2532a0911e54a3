//! Devices that are told of their attributes, called, and answered: over MQTT and HTTP, against operators who set
//! and call.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use engine::registry::{Operator, PROVISION_STATE, Search, Whose};
use engine::{AttributeScope, Call, CallFailure};
use serde_json::{Value, json};
use store::DeviceOrder;
use testkit::http::{HttpConnection, Reply};
use testkit::mqtt::MqttConnection;
use testkit::receiver::Receiver as Neighbour;

use crate::conversation::packets::{V5, packet};
use crate::running::Running;

const PATIENCE: Duration = Duration::from_secs(30);

fn running() -> Running {
    let running = Running::start(|_| {});
    running.profile("main", "the-key", "the-secret");
    running
}

fn operator() -> Operator {
    Running::operator()
}

struct Device<'a> {
    running: &'a Running,
    id: String,
    token: String,
}

impl<'a> Device<'a> {
    fn new(running: &'a Running, name: &str) -> Device<'a> {
        let token = running.provision("the-key", "the-secret", name);
        let id = running.registry().device(&running.tenant(), name).unwrap().id;
        Device { running, id, token }
    }

    fn save(&self, scope: AttributeScope, values: &[(&str, Value)]) {
        let values: Vec<_> = values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let (registry, tenant) = (self.running.registry(), self.running.tenant());
        registry.save_attributes(&operator(), &tenant, &self.id, scope, &values).unwrap();
    }

    fn delete(&self, whose: Whose, keys: &[&str]) {
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        let (registry, tenant) = (self.running.registry(), self.running.tenant());
        registry.delete_attributes(&operator(), &tenant, &self.id, whose, &keys).unwrap();
    }

    fn attributes(&self, whose: Option<Whose>) -> Vec<(String, Value)> {
        let found = self.running.registry().attributes(&self.running.tenant(), &self.id, whose).unwrap();
        found.into_iter().map(|it| (it.key, it.value)).collect()
    }

    fn connect(&self, filters: &[&str]) -> Mqtt {
        let mut mqtt = Mqtt(MqttConnection::open(self.running.mqtt()).unwrap());
        mqtt.say(&format!("connect user={} client=c", self.token));
        mqtt.hears("connack 0");
        for (at, filter) in filters.iter().enumerate() {
            mqtt.say(&format!("subscribe {} {filter} 1", at + 1));
            mqtt.hears(&format!("suback {} 1", at + 1));
        }
        mqtt
    }

    /// Waits over HTTP, on a thread of its own.
    fn poll(&self, path: &str) -> Receiver<Reply> {
        let (told, reply) = channel();
        let (address, target) = (self.running.http(), format!("/api/v1/{}/{path}", self.token));
        std::thread::spawn(move || {
            let mut http = HttpConnection::open(address).unwrap();
            // A test that is over does not listen any more.
            let _ = told.send(http.get(&target).unwrap());
        });
        reply
    }

    /// Calls the device, on a thread of its own.
    fn call(&self, answered: bool, patience: Duration) -> Receiver<Result<Value, CallFailure>> {
        let (registry, tenant) = (self.running.registry().clone(), self.running.tenant());
        let key = registry.callee(&operator(), &tenant, &self.id, "setX").unwrap();
        let call = Call { method: "setX".into(), params: json!({"v": 1}), answered, patience };
        let calling = registry.call(key, call);
        let (told, result) = channel();
        self.running.spawn(async move {
            // As above.
            let _ = told.send(calling.await);
        });
        result
    }
}

struct Mqtt(MqttConnection);

impl Mqtt {
    fn say(&mut self, line: &str) {
        self.0.send(&packet(line, V5)).unwrap();
    }

    fn hears(&mut self, line: &str) {
        assert_eq!(self.0.read_packet().unwrap(), Some(packet(line, V5)), "{line}");
    }
}

fn heard<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn shared_attributes_reach_a_session_that_listens_and_no_other() {
    let running = running();
    let device = Device::new(&running, "a");
    let mut deaf = Device::new(&running, "deaf").connect(&[]);
    let mut mqtt = device.connect(&["v1/devices/me/attributes"]);
    device.save(AttributeScope::Shared, &[("interval", json!(10)), ("mode", json!({"fast": true}))]);
    mqtt.hears(r#"publish 1:1 v1/devices/me/attributes {"interval":10,"mode":{"fast":true}}"#);
    device.save(AttributeScope::Server, &[("secret", json!("not for devices"))]);
    device.delete(Whose::Shared, &["mode", "never-there"]);
    mqtt.hears(r#"publish 1:2 v1/devices/me/attributes {"deleted":["mode"]}"#);
    mqtt.say("publish 1:9 v1/devices/me/attributes/request/1 {}");
    mqtt.hears("puback 9");
    mqtt.hears(r#"publish 1:3 v1/devices/me/attributes/response/1 {"shared":{"interval":10}}"#);
    deaf.say("pingreq");
    deaf.hears("pingresp");
}

#[test]
fn a_session_that_does_not_acknowledge_is_told_what_stands_once_it_does() {
    let running = running();
    let device = Device::new(&running, "slow");
    let mut mqtt = device.connect(&["v1/devices/me/attributes"]);
    for number in 1..=200 {
        device.save(AttributeScope::Shared, &[("n", json!(number))]);
    }
    for id in 1..=u16::MAX {
        let heard = mqtt.0.read_packet().unwrap().unwrap();
        mqtt.say(&format!("puback {id}"));
        if heard.ends_with(br#"{"n":200}"#) {
            return;
        }
    }
    panic!("the last value never came");
}

#[test]
fn a_poll_hears_of_attributes_that_change_while_it_waits() {
    let running = running();
    let device = Device::new(&running, "h");
    let poll = device.poll("attributes/updates?timeout=30000");
    // The poll may not have arrived yet; what is set before is not told.
    let reply = testkit::wait::eventually("an update", PATIENCE, || {
        device.save(AttributeScope::Shared, &[("interval", json!(11))]);
        poll.try_recv().ok()
    });
    let reply = reply.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"interval":11}"#));
}

#[test]
fn who_is_connected_is_found_by_that_on_every_page() {
    let running = running();
    let [session, polling, silent] = ["session", "polling", "silent"].map(|name| Device::new(&running, name));
    let _mqtt = session.connect(&[]);
    let _reply = polling.poll("attributes/updates?timeout=20000");
    let found = |connected, page| {
        let search = Search { connected: Some(connected), order: DeviceOrder::Name, ..Search::default() };
        let found = running.registry().search_devices(&running.tenant(), &search, page, 1).unwrap();
        (found.devices.into_iter().map(|device| device.name).collect::<Vec<_>>(), found.total)
    };
    testkit::wait::eventually("the poll", PATIENCE, || (found(true, 0).1 == 2).then_some(())).unwrap();
    assert_eq!(found(true, 0), (vec!["polling".to_owned()], 2));
    assert_eq!(found(true, 1), (vec!["session".to_owned()], 2));
    assert_eq!(found(false, 0), (vec!["silent".to_owned()], 1));
    assert_eq!(found(false, 1), (Vec::new(), 1));
    drop(silent);
}

#[test]
fn a_call_reaches_a_session_and_its_answer_the_operator() {
    let running = running();
    let device = Device::new(&running, "a");
    let mut mqtt = device.connect(&["v1/devices/me/rpc/request/+"]);
    let result = device.call(true, PATIENCE);
    mqtt.hears(r#"publish 1:1 v1/devices/me/rpc/request/1 {"method":"setX","params":{"v":1}}"#);
    mqtt.say(r#"publish 0 v1/devices/me/rpc/response/1 {"ok":true}"#);
    assert_eq!(heard(&result), Ok(json!({"ok": true})));
    let result = device.call(false, PATIENCE);
    assert_eq!(heard(&result), Ok(Value::Null));
}

#[test]
fn a_call_waits_for_a_device_that_subscribes_or_polls_in_time() {
    let running = running();
    let device = Device::new(&running, "late");
    let result = device.call(true, PATIENCE);
    let mut mqtt = device.connect(&["v2/r/req/+"]);
    mqtt.hears(r#"publish 1:1 v2/r/req/1 {"method":"setX","params":{"v":1}}"#);
    mqtt.say(r#"publish 0 v2/r/res/1 "text""#);
    assert_eq!(heard(&result), Ok(json!("text")));

    let poller = Device::new(&running, "poller");
    let result = poller.call(true, PATIENCE);
    let reply = heard(&poller.poll("rpc?timeout=30000"));
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"id":2,"method":"setX","params":{"v":1}}"#));
    let mut http = HttpConnection::open(running.http()).unwrap();
    let told = http.post_json(&format!("/api/v1/{}/rpc/2", poller.token), "[1]").unwrap();
    assert_eq!((told.status, told.body.len()), (200, 0));
    assert_eq!(heard(&result), Ok(json!([1])));

    let nobody = Device::new(&running, "nobody");
    assert_eq!(heard(&nobody.call(true, Duration::from_millis(1))), Err(CallFailure::NobodyListens));
}

#[test]
fn a_poll_ends_with_its_device_its_credentials_its_successor_and_the_server() {
    let mut running = running();
    let (operator, tenant) = (operator(), running.tenant());
    let waits = |name: &str| {
        let device = Device::new(&running, name);
        let poll = device.poll("rpc?timeout=300000");
        (device, poll)
    };
    // Whether the poll has arrived or not: it ends.
    let (_, deleted) = waits("deleted");
    running.registry().delete_device(&operator, &tenant, "deleted").unwrap();
    let reply = heard(&deleted);
    assert!(reply.status == 403 && reply.text() == "Device was deleted!" || reply.status == 401, "{reply:?}");
    let (_, disabled) = waits("disabled");
    running.registry().disable_device(&operator, &tenant, "disabled").unwrap();
    assert_eq!(heard(&disabled).status, 401);
    let (device, first) = waits("replaced");
    let second = device.poll("rpc?timeout=300000");
    let third = [&first, &second].map(|poll| poll.recv_timeout(Duration::from_millis(500)).ok());
    assert_eq!(third.iter().flatten().map(|reply| reply.status).collect::<Vec<_>>(), [408]);
    drop(device);
    let stopped = running.stop();
    let last = if third[0].is_some() { heard(&second) } else { heard(&first) };
    assert_eq!(last.status, 408);
    running.wait(stopped);
}

#[test]
fn who_deletes_the_provision_state_lets_the_device_come_in_anew() {
    let running = running();
    let device = Device::new(&running, "again");
    device.save(AttributeScope::Server, &[("room", json!(3)), (PROVISION_STATE, json!("provisioned"))]);
    let state = ("provisionState".to_owned(), json!("provisioned"));
    assert_eq!(device.attributes(None), [state, ("room".to_owned(), json!(3))]);
    device.delete(Whose::Server, &[PROVISION_STATE]);
    assert_eq!(device.attributes(None), [("room".to_owned(), json!(3))]);
    assert_eq!(heard(&device.poll("attributes")).status, 200);
    let again = Device::new(&running, "again");
    assert_eq!((&again.id, &again.token), (&device.id, &device.token));
    assert_eq!(again.attributes(Some(Whose::Server)).len(), 2);
    let lie = [(PROVISION_STATE.to_owned(), json!("blocked"))];
    let (registry, tenant) = (running.registry(), running.tenant());
    let told = registry.save_attributes(&operator(), &tenant, &device.id, AttributeScope::Server, &lie);
    assert_eq!(told.unwrap_err().code(), "value-invalid");
}

#[test]
fn a_hook_answers_what_devices_ask() {
    let neighbour = Neighbour::start().unwrap();
    let text = neighbour.settings("hooks.oracle");
    let file = std::path::Path::new("musterd.toml");
    let read = server::config::Config::read(&text, file, &[]).unwrap();
    let running = Running::start(|config| {
        config.hooks = read.hooks;
        config.devices.calls_hook = "oracle".into();
    });
    running.profile("main", "the-key", "the-secret");
    let device = Device::new(&running, "asks");
    let answer = r#"{"device":"asks","method":"getTime","params":[1]}"#;
    let mut http = HttpConnection::open(running.http()).unwrap();
    let path = format!("/api/v1/{}/rpc", device.token);
    let reply = http.post_json(&path, r#"{"method":"getTime","params":[1]}"#).unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, answer));
    let mut mqtt = device.connect(&["v1/devices/me/rpc/response/+"]);
    mqtt.say(r#"publish 1:5 v1/devices/me/rpc/request/7 {"method":"getTime","params":[1]}"#);
    mqtt.hears("puback 5");
    mqtt.hears(&format!("publish 1:1 v1/devices/me/rpc/response/7 {answer}"));
    assert_eq!(neighbour.violations().unwrap(), [""; 0]);
    drop(neighbour);
    let reply = http.post_json(&path, r#"{"method":"getTime"}"#).unwrap();
    assert_eq!(reply.status, 503, "{}", reply.text());
}
