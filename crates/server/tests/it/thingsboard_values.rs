//! ThingsBoard's REST for attributes, time series and calls, beside devices that are connected.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use domain::{Role, Secret};
use engine::registry::NewAccount;
use serde_json::{Value, json};
use testkit::http::{HttpConnection, Reply};
use testkit::mqtt::MqttConnection;

use crate::conversation::packets::{V3, packet};
use crate::running::Running;
use crate::thingsboard_rest::PASSWORD;

const PATIENCE: Duration = Duration::from_secs(30);
const UNKNOWN: &str = "11111111-2222-1333-8444-555555555555";

/// A server, an operator of each role in ThingsBoard's clothes, and a device.
struct House {
    running: Running,
    token: String,
    device: String,
    device_token: String,
}

impl House {
    fn new() -> House {
        let running = Running::start(|_| {});
        running.profile("main", "the-key", "the-secret");
        for role in [Role::Operator, Role::Viewer] {
            let password = Some(Secret::new(PASSWORD));
            let new = NewAccount { name: role.word(), tenant: Some("default"), role, password };
            running.registry().create_account(&Running::operator(), &new).unwrap();
        }
        let device_token = running.provision("the-key", "the-secret", "a");
        let device = running.registry().device(&running.tenant(), "a").unwrap().id;
        let token = log_in(&running, Role::Operator);
        House { running, token, device, device_token }
    }

    /// `{id}` in the path is the device's.
    fn ask(&self, verb: &str, path: &str, body: &str) -> Reply {
        send(&self.running, &self.token, verb, &path.replace("{id}", &self.device), body)
    }

    fn json(&self, path: &str) -> Value {
        let reply = self.ask("GET", path, "");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// Asks on a thread of its own.
    fn begin(&self, path: &str, body: &str) -> Receiver<Reply> {
        let (told, reply) = channel();
        let (address, token) = (self.running.http(), self.token.clone());
        let (path, body) = (path.replace("{id}", &self.device), body.to_owned());
        std::thread::spawn(move || {
            let mut http = HttpConnection::open(address).unwrap();
            let headers = [("X-Authorization", format!("Bearer {token}"))];
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            // A test that is over does not listen any more.
            let _ = told.send(http.request("POST", &path, &headers, body.as_bytes()).unwrap());
        });
        reply
    }
}

fn log_in(running: &Running, role: Role) -> String {
    let body = json!({ "username": role.word(), "password": PASSWORD }).to_string();
    let mut http = HttpConnection::open(running.http()).unwrap();
    let reply = http.post_json("/api/auth/login", &body).unwrap();
    let tokens: Value = serde_json::from_slice(&reply.body).unwrap();
    tokens["token"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}

fn send(running: &Running, token: &str, verb: &str, path: &str, body: &str) -> Reply {
    let mut http = HttpConnection::open(running.http()).unwrap();
    let bearer = format!("Bearer {token}");
    let headers = [("X-Authorization", bearer.as_str()), ("Content-Type", "text/plain")];
    http.request(verb, path, &headers, body.as_bytes()).unwrap()
}

const SERVER: &str = "/api/plugins/telemetry/DEVICE/{id}/attributes/SERVER_SCOPE";
const SHORT: &str = "/api/plugins/telemetry/DEVICE/{id}/SERVER_SCOPE";
const VALUES: &str = "/api/plugins/telemetry/DEVICE/{id}/values/attributes";

/// Keys and values, without their moments.
fn pairs(list: &Value) -> Vec<(String, Value)> {
    let pair = |it: &Value| {
        assert!(it["lastUpdateTs"].as_i64().is_some_and(|at| at > 1_600_000_000_000), "{it}");
        (it["key"].as_str().unwrap().to_owned(), it["value"].clone())
    };
    list.as_array().unwrap().iter().map(pair).collect()
}

#[test]
fn attributes_are_saved_read_and_deleted_by_every_path() {
    let house = House::new();
    let body = r#"{"s":"text","n":5,"d":1.5,"b":true,"j":{"x":[1,2]},"numText":"17"}"#;
    let shared = "/api/plugins/telemetry/DEVICE/{id}/attributes/SHARED_SCOPE";
    for (path, body) in [
        (SERVER, body),
        (SHORT, r#"{"s2":"x"}"#),
        ("/api/plugins/telemetry/{id}/SERVER_SCOPE", r#"{"s3":[1,"x"]}"#),
        (shared, r#"{"sh":"text","interval":10}"#),
    ] {
        let reply = house.ask("POST", path, body);
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{path}: {}", reply.text());
    }
    let found = pairs(&house.json(&format!("{VALUES}?keys=n,sh,numText,j,none")));
    let expected =
        [("j", json!({"x": [1, 2]})), ("n", json!(5)), ("numText", json!(17)), ("sh", json!("text"))];
    assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value)));
    let keys = house.json("/api/plugins/telemetry/DEVICE/{id}/keys/attributes/SHARED_SCOPE");
    assert_eq!(keys, json!(["interval", "sh"]));
    assert_eq!(house.json(&format!("{VALUES}/CLIENT_SCOPE")), json!([]));
    for (path, keys) in [(SHORT, "s,s2,none"), ("/api/plugins/telemetry/{id}/SERVER_SCOPE", "s3")] {
        assert_eq!(house.ask("DELETE", &format!("{path}?keys={keys}"), "").status, 200);
    }
    let keys = house.json("/api/plugins/telemetry/DEVICE/{id}/keys/attributes");
    assert_eq!(keys, json!(["b", "d", "j", "n", "numText", "provisionState", "interval", "sh"]));
}

#[test]
fn attributes_are_refused_in_thingsboards_words() {
    let house = House::new();
    let unknown = format!("/api/plugins/telemetry/DEVICE/{UNKNOWN}/attributes/SERVER_SCOPE");
    let client = "/api/plugins/telemetry/DEVICE/{id}/attributes/CLIENT_SCOPE";
    for (verb, path, body, status, told) in [
        ("POST", client, r#"{"c":1}"#, 400, "Invalid scope: CLIENT_SCOPE"),
        ("POST", SERVER, "{", 400, "Invalid JSON"),
        ("POST", SERVER, "[]", 400, "Request is not a JSON object"),
        ("POST", SERVER, "{}", 400, "No attributes data found in request body!"),
        ("POST", SERVER, r#"{" ":1}"#, 400, "Key cannot be blank"),
        ("POST", &unknown, r#"{"x":1}"#, 404, "Device with requested id wasn't found!"),
        ("DELETE", &format!("{SHORT}?keys="), "", 400, "Empty keys: []"),
    ] {
        let reply = house.ask(verb, path, body);
        assert_eq!((reply.status, reply.text().as_str()), (status, told), "{verb} {path} {body}");
        assert_eq!(reply.header("content-type"), Some("text/plain;charset=UTF-8"));
    }
    let wrong = "/api/plugins/telemetry/DEVICE/x/attributes/SERVER_SCOPE";
    let thing = "/api/plugins/telemetry/THING/{id}/attributes/SERVER_SCOPE";
    let other = "/api/plugins/telemetry/DEVICE/{id}/OTHER_SCOPE";
    for (verb, path, body, status, code, told) in [
        ("POST", wrong, r#"{"x":1}"#, 400, 31, "Invalid UUID string: x"),
        ("POST", thing, r#"{"x":1}"#, 400, 31, "No enum constant"),
        ("POST", other, r#"{"x":1}"#, 400, 31, "Method parameter 'scope': Failed to convert"),
        ("POST", SERVER, "", 400, 31, "Required request body is missing"),
        ("POST", SERVER, r#"{"nul":null}"#, 400, 31, "Can't parse value: null"),
        ("POST", SERVER, r#"{"provisionState":"x"}"#, 400, 31, "the server keeps it"),
        ("DELETE", SHORT, "", 400, 31, "Required request parameter 'keys'"),
        ("DELETE", SERVER, "", 405, 31, "Request method 'DELETE' is not supported"),
    ] {
        let reply = house.ask(verb, path, body);
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{}", reply.text()));
        let found = (reply.status, json["errorCode"].as_u64(), json["status"].as_u64());
        assert_eq!(found, (status, Some(code), Some(status.into())), "{verb} {path} {body}: {json}");
        assert!(json["message"].as_str().unwrap().contains(told), "{json}");
    }
}

#[test]
fn a_viewer_reads_and_changes_nothing() {
    let house = House::new();
    let viewer = log_in(&house.running, Role::Viewer);
    let send = |verb: &str, path: &str| {
        send(&house.running, &viewer, verb, &path.replace("{id}", &house.device), r#"{"x":1}"#).status
    };
    assert_eq!(send("GET", VALUES), 200);
    assert_eq!(send("GET", "/api/plugins/telemetry/DEVICE/{id}/values/timeseries"), 200);
    for path in [SERVER, SHORT, "/api/plugins/telemetry/DEVICE/{id}/timeseries/ANY", "/api/rpc/oneway/{id}"] {
        assert_eq!(send("POST", path), 403, "{path}");
    }
    assert_eq!(send("DELETE", &format!("{SHORT}?keys=x")), 403);
}

#[test]
fn the_provision_state_is_there_once_the_device_has_come_and_deleting_it_lets_it_come_anew() {
    let house = House::new();
    let state = format!("{VALUES}/SERVER_SCOPE?keys=provisionState");
    assert_eq!(pairs(&house.json(&state)), [("provisionState".to_owned(), json!("provisioned"))]);
    let again = || {
        let body =
            r#"{"deviceName":"a","provisionDeviceKey":"the-key","provisionDeviceSecret":"the-secret"}"#;
        let mut http = HttpConnection::open(house.running.http()).unwrap();
        http.post_json("/api/v1/provision", body).unwrap().text()
    };
    assert!(again().contains("FAILURE"));
    assert_eq!(house.ask("DELETE", &format!("{SHORT}?keys=provisionState"), "").status, 200);
    assert_eq!(house.json(&state), json!([]));
    assert!(again().contains(&house.device_token));
    assert_eq!(house.json(&state).as_array().unwrap().len(), 1);
}

#[test]
fn the_secret_of_a_claim_is_shown_to_nobody() {
    let house = House::new();
    let claim = r#"{"claimingData":{"secretKey":"only-the-owner-knows","expirationTime":4102444800000}}"#;
    assert_eq!(house.ask("POST", SERVER, claim).status, 200);
    assert!(!house.json(VALUES).to_string().contains("only-the-owner-knows"));
    let database = std::fs::read(house.running.folder().join("data/db/main.db-wal")).unwrap();
    assert!(!database.windows(20).any(|window| window == b"only-the-owner-knows"));
    for wrong in [r#"{"claimingData":"x"}"#, r#"{"claimingData":{"secretKey":"x"}}"#] {
        let reply = house.ask("POST", SERVER, wrong);
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(!reply.text().contains("\"x\""));
    }
}

const SERIES: &str = "/api/plugins/telemetry/DEVICE/{id}/timeseries/ANY";
const POINTS: &str = "/api/plugins/telemetry/DEVICE/{id}/values/timeseries";

#[test]
fn time_series_are_saved_read_put_together_and_deleted() {
    let house = House::new();
    for body in [
        r#"{"ts":1500000000000,"values":{"t":20.5,"n":1,"s":"x","b":false,"j":{"a":1}}}"#,
        r#"[{"ts":1500000001000,"values":{"t":21.5}},{"ts":1500000002000,"values":{"t":"22.5"}}]"#,
        r#"{"ts":1500000003000,"values":{"t":23}}"#,
    ] {
        assert_eq!(house.ask("POST", SERIES, body).status, 200, "{body}");
    }
    assert_eq!(house.ask("POST", &format!("{SERIES}/86400"), r#"{"now":1}"#).status, 200);
    let keys = house.json("/api/plugins/telemetry/DEVICE/{id}/keys/timeseries");
    assert_eq!(keys, json!(["b", "j", "n", "now", "s", "t"]));
    let old = 1_500_000_000_000_i64;
    let one = |ts: i64, value: Value| json!([{ "ts": ts, "value": value }]);
    let text = house.json(&format!("{POINTS}?keys=t,n,s,b,j"));
    let expected = json!({"t": one(old + 3000, json!("23")), "n": one(old, json!("1")), "s": one(old, json!("x")),
        "b": one(old, json!("false")), "j": one(old, json!("{\"a\":1}"))});
    assert_eq!(text, expected);
    let strict = house.json(&format!("{POINTS}?keys=t,j&useStrictDataTypes=true"));
    assert_eq!(strict, json!({"t": one(old + 3000, json!(23)), "j": one(old, json!({"a": 1}))}));
    assert_eq!(house.json(&format!("{POINTS}?keys=none"))["none"][0]["value"], Value::Null);
    let history = format!("{POINTS}?keys=t&startTs=1500000000000&endTs=1500000010000");
    let values = |json: Value| -> Vec<Value> {
        json["t"].as_array().unwrap().iter().map(|point| point["value"].clone()).collect()
    };
    assert_eq!(values(house.json(&history)), ["23", "22.5", "21.5", "20.5"]);
    let first = house.json(&format!("{history}&limit=2&orderBy=ASC&useStrictDataTypes=true"));
    assert_eq!(values(first), [20.5, 21.5]);
    let mean = house.json(&format!("{history}&interval=10000&agg=AVG"));
    assert_eq!(mean, json!({"t": one(old + 5000, json!("21.875"))}));
    let empty = format!("{POINTS}?keys=t&startTs=1500000010000&endTs=1500000000000");
    assert_eq!(house.json(&empty), json!({}));
    assert_eq!(house.ask("GET", &format!("{history}&agg=X"), "").status, 400);
    assert_eq!(house.ask("GET", &format!("{POINTS}?startTs=x"), "").status, 400);

    let delete = "/api/plugins/telemetry/DEVICE/{id}/timeseries/delete";
    let newest = "startTs=1500000002500&endTs=1500000010000&rewriteLatestIfDeleted=true";
    assert_eq!(house.ask("DELETE", &format!("{delete}?keys=t&{newest}"), "").status, 200);
    assert_eq!(house.json(&format!("{POINTS}?keys=t"))["t"], one(old + 2000, json!("22.5")));
    assert_eq!(house.ask("DELETE", &format!("{delete}?keys=t&deleteAllDataForKeys=true"), "").status, 200);
    assert_eq!(house.json(&history), json!({}));
    for query in ["", "?keys=t"] {
        assert_eq!(house.ask("DELETE", &format!("{delete}{query}"), "").status, 400, "{query}");
    }
}

#[test]
fn time_series_are_refused_in_thingsboards_words() {
    let house = House::new();
    let unknown = format!("/api/plugins/telemetry/DEVICE/{UNKNOWN}/timeseries/ANY");
    for (path, body, status, told) in [
        (SERIES, "{", 400, "Unable to parse time series payload: Invalid JSON body!"),
        (SERIES, "{}", 400, "No time series data found in request body!"),
        (
            SERIES,
            r#"{"x":null}"#,
            400,
            "Unable to parse time series payload. Invalid JSON body: Can't parse value: null",
        ),
        (&unknown, r#"{"x":1}"#, 404, "Device with requested id wasn't found!"),
    ] {
        let reply = house.ask("POST", path, body);
        assert_eq!((reply.status, reply.text().as_str()), (status, told), "{path} {body}");
    }
}

#[test]
fn a_call_reaches_a_device_that_polls_and_its_answer_whoever_called() {
    let house = House::new();
    let device = |path: &str, body: Option<&str>| {
        let mut http = HttpConnection::open(house.running.http()).unwrap();
        let path = format!("/api/v1/{}/{path}", house.device_token);
        match body {
            Some(body) => http.post_json(&path, body).unwrap(),
            None => http.get(&path).unwrap(),
        }
    };
    let body = r#"{"method":"setX","params":{"v":1},"timeout":30000}"#;
    for (path, answer) in
        [("/api/rpc/twoway/{id}", r#"{"ok":true}"#), ("/api/plugins/rpc/twoway/{id}", "\"text\"")]
    {
        let answered = house.begin(path, body);
        let asked = device("rpc?timeout=30000", None);
        let call: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!((&call["method"], &call["params"]), (&json!("setX"), &json!({"v": 1})));
        assert_eq!(device(&format!("rpc/{}", call["id"]), Some(answer)).status, 200);
        let reply = answered.recv_timeout(PATIENCE).unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, answer));
    }
    let answered = house.begin("/api/rpc/oneway/{id}", body);
    assert_eq!(device("rpc?timeout=30000", None).status, 200);
    let reply = answered.recv_timeout(PATIENCE).unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, 0));
}

#[test]
fn a_call_that_comes_to_nothing_is_told_by_status() {
    let house = House::new();
    let body = r#"{"method":"m","params":"str","timeout":1}"#;
    let alone = ["/api/rpc/twoway/{id}", "/api/plugins/rpc/oneway/{id}"].map(|path| house.begin(path, body));
    let alone = alone.map(|reply| reply.recv_timeout(PATIENCE).unwrap()).map(|it| (it.status, it.body.len()));
    assert_eq!(alone, [(504, 0), (409, 0)]);
    let mut mqtt = MqttConnection::open(house.running.mqtt()).unwrap();
    for line in [
        format!("connect user={} client=c", house.device_token),
        "subscribe 1 v1/devices/me/rpc/request/+ 0".into(),
    ] {
        mqtt.send(&packet(&line, V3)).unwrap();
        mqtt.read_packet().unwrap().unwrap();
    }
    let told = ["/api/rpc/twoway/{id}", "/api/plugins/rpc/twoway/{id}"].map(|path| house.begin(path, body));
    assert_eq!(told.map(|reply| reply.recv_timeout(PATIENCE).unwrap().status), [504, 408]);
    for (path, body, status) in [
        ("/api/rpc/oneway/{id}", "{", 400),
        ("/api/rpc/oneway/{id}", r#"{"params":{}}"#, 400),
        ("/api/rpc/oneway/{id}", r#"{"method":"m","persistent":true}"#, 400),
        ("/api/rpc/oneway/x", body, 400),
        (&format!("/api/rpc/oneway/{UNKNOWN}"), body, 404),
        ("/api/rpc/oneway/{id}", &format!(r#"{{"method":"m","params":"{}"}}"#, "x".repeat(65_536)), 413),
    ] {
        assert_eq!(house.ask("POST", path, body).status, status, "{path} {}", &body[..body.len().min(60)]);
    }
}
