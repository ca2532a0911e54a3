//! ThingsBoard's own SDK for devices, unchanged, against attributes that operators set and calls that they make.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use e2e::python::Python;
use serde_json::{Value, json};
use testkit::http::{HttpConnection, Reply};
use testkit::process::{Process, Stream};
use testkit::receiver::Receiver;
use testkit::wait::eventually;

#[test]
fn the_sdk_over_mqtt_is_told_of_attributes_called_and_answered() -> Result<()> {
    let stand = Stand::new("mqtt")?;
    ensure!(stand.hears("attributes")? == json!({"client": {"fw": "1.2.3"}}));
    stand.goes_on()?;
    stand.shares(&json!({"interval": 5}))?;
    ensure!(stand.hears("updated")? == json!({"interval": 5}));
    let told = stand.call("twoway")?;
    ensure!((told.status, told.text().as_str()) == (200, r#"{"echo":{"v":1}}"#), "{}", told.text());
    ensure!(stand.hears("called")? == json!({"method": "setX", "params": {"v": 1}}));
    stand.shows_what_the_device_said()
}

#[test]
fn the_sdk_over_http_is_told_of_attributes_called_and_answered() -> Result<()> {
    let stand = Stand::new("http")?;
    ensure!(stand.hears("attributes")? == json!({"client": {"fw": "1.2.3"}}));
    stand.goes_on()?;
    // It is told of what changes while it waits, and it may just be about to.
    eventually("the device to be told", PATIENCE, || {
        stand.shares(&json!({"interval": 5})).ok()?;
        stand.heard("updated").ok()?
    })?;
    ensure!(stand.hears("updated")? == json!({"interval": 5}));
    // This SDK answers a call with a call of its own.
    let told = stand.call("twoway")?;
    let echo = r#"{"method":"setX","params":{"echo":{"v":1}}}"#;
    ensure!((told.status, told.text().as_str()) == (200, echo), "{}", told.text());
    stand.shows_what_the_device_said()
}

/// A server, its hook for devices' calls, an operator, and the SDK at work.
struct Stand {
    server: Musterd,
    receiver: Receiver,
    authorization: String,
    device: Process,
}

impl Stand {
    fn new(wire: &str) -> Result<Stand> {
        let receiver = Receiver::start()?;
        let config = receiver.settings("hooks.oracle") + "[devices]\ncalls_hook = \"oracle\"\n";
        let server = Setup::serve(&config)?.start()?;
        let profile = ["profile", "create", "sdk", "--strategy", "create-new", "--provision-key", SEED_KEY];
        server.muster()?.ok(&[&profile[..], &["--provision-secret", SEED_SECRET]].concat())?;
        let secret = std::fs::read_to_string(server.setup().folder().join("keys/admin-secret"))?;
        let authorization = format!("ApiKey {}", secret.trim_end());
        let device = Stand::device(&server, wire)?;
        let stand = Stand { server, receiver, authorization, device };
        stand.hears("ready")?;
        Ok(stand)
    }

    fn device(server: &Musterd, wire: &str) -> Result<Process> {
        let address: SocketAddr =
            if wire == "mqtt" { server.address().mqtt() } else { server.address().http() };
        let mut command = server.setup().neighbour(Python::DeviceSdk.interpreter()?);
        command.arg(e2e::own("programs/device_sdk.py")).args([wire, &address.ip().to_string()]);
        command.args([&address.port().to_string(), SEED_KEY, SEED_SECRET, "SN-1"]);
        Process::start(&mut command)
    }

    /// The first that the device heard of a sort, if it has.
    fn heard(&self, what: &str) -> Result<Option<Value>> {
        ensure!(!self.device.has_ended(), "the device has ended:\n{}", self.device.transcript());
        let lines = self.device.lines(Stream::Out).into_iter();
        let mut said = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        Ok(said.find(|said| said["what"] == what).map(|said| said["heard"].clone()))
    }

    fn hears(&self, what: &str) -> Result<Value> {
        let heard = eventually(what, PATIENCE, || self.heard(what).transpose());
        heard.with_context(|| self.device.transcript())?
    }

    /// Its own call was answered by the hook.
    fn goes_on(&self) -> Result<()> {
        let answer = json!({"device": "SN-1", "method": "getTime", "params": {"zone": "UTC"}});
        ensure!(self.hears("answered")? == answer, "{}", self.device.transcript());
        ensure!(self.receiver.violations()?.is_empty());
        Ok(())
    }

    /// One call of ThingsBoard's REST.
    fn ask(&self, verb: &str, path: &str, body: &str) -> Result<Reply> {
        let id = self.server.muster()?.json(&["device", "show", "SN-1"])?["id"].clone();
        let path = path.replace("{id}", id.as_str().context("the device has an id")?);
        let headers = [("X-Authorization", self.authorization.as_str())];
        HttpConnection::open(self.server.address().http())?.request(verb, &path, &headers, body.as_bytes())
    }

    fn shares(&self, values: &Value) -> Result<()> {
        let path = "/api/plugins/telemetry/DEVICE/{id}/attributes/SHARED_SCOPE";
        let reply = self.ask("POST", path, &values.to_string())?;
        ensure!(reply.status == 200, "{}", reply.text());
        Ok(())
    }

    fn call(&self, way: &str) -> Result<Reply> {
        let body = json!({"method": "setX", "params": {"v": 1}, "timeout": 30_000}).to_string();
        self.ask("POST", &format!("/api/rpc/{way}/{{id}}"), &body)
    }

    fn shows_what_the_device_said(&self) -> Result<()> {
        let reply =
            self.ask("GET", "/api/plugins/telemetry/DEVICE/{id}/values/attributes/CLIENT_SCOPE", "")?;
        let found: Value = serde_json::from_slice(&reply.body)?;
        ensure!(found[0]["key"] == "fw" && found[0]["value"] == "1.2.3", "{found}");
        Ok(())
    }
}
