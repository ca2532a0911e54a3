//! Behind a real balancer the journal names the devices, and nobody else's word counts.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::muster::{Muster, ended};
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use rustix::net::{AddressFamily, SocketType};
use testkit::process::Process;
use testkit::wait::{eventually, free_ports};

/// Only haproxy comes from there; devices have other addresses of this machine.
const SETTINGS: &str = "[http]\ntrusted_proxies = [\"127.0.0.1/32\"]\n\
     [mqtt]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1/32\"]\n";

/// What stands before the backends that the page shows.
const FRONTENDS: &str = "
defaults
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend http
  mode http
  bind 127.0.0.1:HTTP
  default_backend muster-http
frontend mqtt
  mode tcp
  bind 127.0.0.1:MQTT
  default_backend muster-mqtt
";

/// A server behind haproxy.
struct Behind {
    server: Musterd,
    muster: Muster,
    http: SocketAddr,
    mqtt: u16,
    _haproxy: Process,
}

impl Behind {
    fn open() -> Result<Behind> {
        let server = Setup::serve(SETTINGS)?.start()?;
        let muster = server.muster()?;
        let group = ["--provision-key", SEED_KEY, "--provision-secret", SEED_SECRET];
        muster.ok(&[&["profile", "create", "pumps", "--strategy", "create-new"][..], &group].concat())?;
        let [http, mqtt] = free_ports()?;
        let page = fs::read_to_string(e2e::own("../docs/guides/balancer.md"))?;
        let backends = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
        let backends = backends.context("no backends on the page")?;
        let backends = backends
            .replace("10.0.1.7:8080", &server.address().http().to_string())
            .replace("10.0.1.7:1883", &server.address().mqtt().to_string());
        let config = FRONTENDS.replace(":HTTP", &format!(":{http}")).replace(":MQTT", &format!(":{mqtt}"));
        let config = config + &backends;
        let file = server.setup().home().join("haproxy.cfg");
        fs::write(&file, config)?;
        let haproxy = Process::start(server.setup().neighbour("haproxy").args(["-db", "-f"]).arg(&file))?;
        eventually("haproxy takes connections", PATIENCE, || TcpStream::connect(("127.0.0.1", mqtt)).ok())?;
        let http = (Ipv4Addr::LOCALHOST, http).into();
        Ok(Behind { server, muster, http, mqtt, _haproxy: haproxy })
    }

    /// Provisions over HTTP from an address of this machine, and what curl prints.
    fn post(&self, from: &str, to: SocketAddr, name: &str, headers: &[&str]) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--interface", from]);
        curl.args(headers.iter().flat_map(|header| ["--header", header]));
        curl.args(["--data", &body(name), &format!("http://{to}/api/v1/provision")]);
        Ok(ended(&mut curl)?.out)
    }

    /// Where the journal says that the request of this name came from.
    fn source(&self, name: &str) -> Result<String> {
        let attempts = self.muster.json(&["attempts"])?;
        let attempts = attempts.as_array().context("a list")?;
        let of_name = attempts.iter().find(|attempt| attempt["name"] == name);
        Ok(of_name.context("no attempt")?["source"].as_str().context("no source")?.to_owned())
    }
}

fn body(name: &str) -> String {
    serde_json::json!({
        "deviceName": name, "provisionDeviceKey": SEED_KEY, "provisionDeviceSecret": SEED_SECRET,
    })
    .to_string()
}

#[test]
fn the_journal_names_the_device_and_not_the_balancer() -> Result<()> {
    let behind = Behind::open()?;
    let answer = behind.post("127.0.0.9", behind.http, "by-http", &[])?;
    ensure!(answer.contains("SUCCESS"), "{answer}");
    ensure!(behind.source("by-http")? == "127.0.0.9");

    let mut client = Command::new("mosquitto_rr");
    client.args(["-V", "5", "-W", "10", "-A", "127.0.0.8", "-h", "127.0.0.1", "-u", "provision"]);
    client.args(["-p", &behind.mqtt.to_string(), "-t", "/provision/request", "-e", "/provision/response"]);
    let heard = ended(client.args(["-m", &body("by-mqtt")]))?;
    ensure!(heard.out.contains("SUCCESS"), "{heard:?}");
    ensure!(behind.source("by-mqtt")? == "127.0.0.8");
    Ok(())
}

#[test]
fn a_forged_header_changes_nothing() -> Result<()> {
    let behind = Behind::open()?;
    let forged = ["X-Forwarded-For: 203.0.113.1"];
    // Through the balancer, which adds what it sees, and past it.
    for (name, to) in [("through", behind.http), ("past", behind.server.address().http())] {
        let answer = behind.post("127.0.0.9", to, name, &forged)?;
        ensure!(answer.contains("SUCCESS"), "{answer}");
        ensure!(behind.source(name)? == "127.0.0.9", "{name}: {}", behind.source(name)?);
    }
    Ok(())
}

#[test]
fn a_connection_that_no_balancer_introduces_is_closed_without_a_word() -> Result<()> {
    let behind = Behind::open()?;
    let v2 = *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x01\x7f\0\0\x01\x12\x34\x07\x5b";
    let v1 = b"PROXY TCP4 203.0.113.1 127.0.0.1 4660 1883\r\n";
    let connect = b"\x10\x17\0\x04MQTT\x04\x82\0\x3c\0\0\0\x09provision";
    let cases: [(&str, &[u8]); 3] = [("127.0.0.1", connect), ("127.0.0.1", v1), ("127.0.0.9", &v2)];
    for (from, first) in cases {
        let heard = said(&behind, from, first)?;
        ensure!(heard.is_empty(), "{from} {first:?}: {heard:?}");
    }
    // The same from whom it may come.
    let heard = said(&behind, "127.0.0.1", &[&v2[..], connect].concat())?;
    ensure!(heard == [0x20, 2, 0, 0], "{heard:?}");
    Ok(())
}

/// What is heard after these bytes, up to the length of a CONNACK or the end.
fn said(behind: &Behind, from: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = connected(from, behind.server.address().mqtt())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    let mut heard = Vec::new();
    // A reset is an end too.
    let _ = (&mut stream).take(4).read_to_end(&mut heard);
    Ok(heard)
}

fn connected(from: &str, to: SocketAddr) -> Result<TcpStream> {
    let from = SocketAddr::new(from.parse()?, 0);
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &from)?;
    rustix::net::connect(&socket, &to)?;
    Ok(socket.into())
}
