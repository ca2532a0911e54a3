//! Devices that are known by a certificate, as unmodified clients show it over MQTT with TLS.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Answer, Group, Http};
use e2e::muster::{Ended, ended};
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use e2e::python::Python;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use testkit::http::HttpConnection;
use testkit::process::{Process, Stream};
use testkit::wait::eventually;

const TELEMETRY: &str = "v1/devices/me/telemetry";
/// Exit codes of mosquitto's programs: what the CONNACK says in MQTT 3.1.1 and in 5.
const REFUSED: [(&str, i32); 2] = [("mqttv311", 5), ("mqttv5", 0x87)];
const TLS: [&str; 2] = ["tlsv1.2", "tlsv1.3"];

#[test]
fn a_known_certificate_opens_in_every_version_and_unknown_and_expired_ones_do_not() -> Result<()> {
    let site = Site::start()?;
    let pem = site.identity("pump-1", 2100)?;
    ensure!(site.provision("pump-1", &pem)? == base64_of(&pem), "another certificate was told");
    site.identity("stranger", 2100)?;
    let old = site.identity("old", 2020)?;
    site.provision("old", &old)?;
    for (number, (tls, (version, refused))) in
        TLS.iter().flat_map(|tls| REFUSED.map(|it| (*tls, it))).enumerate()
    {
        let words = ["--tls-version", tls, "-V", version];
        site.publishes("pump-1", &words, number)?;
        ensure!(site.latest("pump-1")? == json!(number));
        for who in ["stranger", "old"] {
            let told = site.publish(Some(who), &words, 99)?;
            ensure!(told.code == refused, "{who} {words:?}: {told:?}");
        }
    }
    site.publishes("pump-1", &["-V", "mqttv31", "-i", "any"], 7)?;
    for code in ["certificate-unknown", "certificate-expired"] {
        eventually("the attempt in the journal", PATIENCE, || {
            let told = site.server.muster().ok()?.json(&["attempts", "--limit", "100"]).ok()?;
            told.as_array()?.iter().find(|row| row["code"] == code).cloned()
        })?;
    }
    site.server.must_be_running()
}

#[test]
fn words_beside_a_certificate_do_not_count_and_without_one_a_token_opens() -> Result<()> {
    let site = Site::start()?;
    let pem = site.identity("pump-1", 2100)?;
    site.provision("pump-1", &pem)?;
    site.publishes("pump-1", &["-u", "nobody", "-P", "wrong", "-i", "whoever"], 1)?;
    ensure!(site.latest("pump-1")? == json!(1));
    let answer = Http::open(site.server.address().http())?.provision(&group().ask("plain"))?;
    let token = answer.into_token()?;
    for tls in TLS {
        let told = site.publish(None, &["--tls-version", tls, "-u", &token], 2)?;
        ensure!(told.code == 0, "{told:?}");
    }
    ensure!(site.latest("plain")? == json!(2));
    // Everybody can know what a certificate is called: nobody is let in by it.
    let known = site.credentials("pump-1")?["credentialsId"].clone();
    let known = known.as_str().context("the certificate's id")?;
    for words in [&["-u", known][..], &["-i", known], &["-u", known, "-P", known], &["-u", &base64_of(&pem)]]
    {
        ensure!(site.publish(None, words, 3)?.code != 0, "{words:?}");
    }
    let http = Http::open(site.server.address().http())?.telemetry(known, &json!({"temperature": 4}))?;
    ensure!(http.status == 401 && site.latest("pump-1")? == json!(1), "{http:?}");
    Ok(())
}

#[test]
fn the_fingerprint_of_a_certificate_stands_for_it_as_openssl_prints_it() -> Result<()> {
    let site = Site::start()?;
    site.identity("pump-1", 2100)?;
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(site.file("pump-1.pem"));
    let printed = ended(&mut openssl)?.out;
    let (_, fingerprint) = printed.trim().split_once('=').with_context(|| printed.clone())?;
    let told = site.provision("pump-1", fingerprint)?;
    ensure!(told == fingerprint.replace(':', "").to_lowercase(), "{told}");
    site.publishes("pump-1", &[], 5)?;
    ensure!(site.latest("pump-1")? == json!(5));
    site.identity("stranger", 2100)?;
    ensure!(site.publish(Some("stranger"), &[], 6)?.code == 5);
    Ok(())
}

/// As ThingsBoard's own documentation makes them: version 1, and under an authority of one's own.
#[test]
fn a_certificate_of_an_authority_opens_with_its_chain_and_a_broken_chain_does_not() -> Result<()> {
    let site = Site::start()?;
    site.openssl(&[
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca-key.pem -out ca.pem",
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout other-key.pem -out other.pem",
        "req -new -newkey rsa:2048 -nodes -subj /CN=pump-1 -keyout pump-1-key.pem -out pump-1.csr",
        "x509 -req -in pump-1.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -out pump-1.pem",
    ])?;
    let leaf = fs::read_to_string(site.file("pump-1.pem"))?;
    site.provision("pump-1", &leaf)?;
    for tls in TLS {
        site.publishes("pump-1", &["--tls-version", tls], 1)?;
        for (issuer, works) in [("ca.pem", true), ("other.pem", false)] {
            let chain = leaf.clone() + &fs::read_to_string(site.file(issuer))?;
            fs::write(site.file("chain.pem"), chain)?;
            fs::copy(site.file("pump-1-key.pem"), site.file("chain-key.pem"))?;
            let told = site.publish(Some("chain"), &["--tls-version", tls], 2)?;
            // A broken chain is the end of the handshake: there is no CONNACK that could say so.
            let refused = told.code != 0 && !REFUSED.iter().any(|(_, code)| told.code == *code);
            ensure!(if works { told.code == 0 } else { refused }, "{issuer}, {tls}: {told:?}");
        }
    }
    Ok(())
}

#[test]
fn another_credential_ends_the_session_and_lets_the_old_certificate_out() -> Result<()> {
    let site = Site::start()?;
    let old = site.identity("pump-1", 2100)?;
    let new = site.identity("pump-1-new", 2100)?;
    site.provision("pump-1", &old)?;
    let subscribing = site.client("mosquitto_sub", Some("pump-1"));
    let mut listening = site.server.setup().neighbour("stdbuf");
    // What it says is wanted when it says it.
    listening.arg("-oL").arg(subscribing.get_program()).args(subscribing.get_args());
    let mut listening = Process::start(listening.args(["-d", "-t", "v1/devices/me/attributes"]))?;
    eventually("the subscription", PATIENCE, || {
        listening.lines(Stream::Out).iter().any(|line| line.contains("SUBACK")).then_some(())
    })?;
    site.rest("POST", "/api/plugins/telemetry/DEVICE/{id}/attributes/SHARED_SCOPE", &json!({"interval": 5}))?;
    eventually("the attribute", PATIENCE, || {
        listening.lines(Stream::Out).iter().any(|line| line == "{\"interval\":5}").then_some(())
    })
    .with_context(|| listening.transcript())?;

    let mut credentials = site.credentials("pump-1")?;
    ensure!(credentials["credentialsType"] == "X509_CERTIFICATE", "{credentials}");
    ensure!(credentials["credentialsValue"] == base64_of(&old), "{credentials}");
    credentials["credentialsId"] = Value::Null;
    credentials["credentialsValue"] = json!(new);
    site.rest("POST", "/api/device/credentials", &credentials)?;
    // It connects anew by itself, and is refused.
    listening.wait(PATIENCE)?;
    ensure!(site.publish(Some("pump-1"), &[], 1)?.code == 5);
    site.publishes("pump-1-new", &[], 2)?;
    ensure!(site.latest("pump-1")? == json!(2));

    site.server.muster()?.ok(&["device", "disable", "pump-1"])?;
    ensure!(site.publish(Some("pump-1-new"), &[], 3)?.code == 5);
    site.server.muster()?.ok(&["device", "enable", "pump-1"])?;
    site.publishes("pump-1-new", &[], 4)
}

#[test]
fn a_device_brings_its_certificate_over_mqtt_in_the_session_that_shows_another() -> Result<()> {
    let site = Site::start()?;
    let pem = site.identity("pump-1", 2100)?;
    site.identity("stranger", 2100)?;
    let mut ask = group().ask("pump-1");
    ask["credentialsType"] = json!("X509_CERTIFICATE");
    ask["hash"] = json!(pem);
    let mut asking = site.client("mosquitto_rr", Some("stranger"));
    asking.args(["-V", "5", "-u", "provision", "-t", "/provision/request", "-e", "/provision/response"]);
    let told = ended(asking.args(["-W", "30", "-m", &ask.to_string()]))?;
    let granted = Answer::Granted { kind: "X509_CERTIFICATE".to_owned(), value: json!(base64_of(&pem)) };
    ensure!(Answer::read(told.out.as_bytes()) == granted, "{told:?}");
    site.publishes("pump-1", &[], 1)?;
    ask["deviceName"] = json!("pump-2");
    let again = Http::open(site.server.address().http())?.provision(&ask)?;
    let why = "Device credentials are already assigned to another device!".to_owned();
    ensure!(again == Answer::Refused { status: "FAILURE".to_owned(), why }, "{again:?}");
    Ok(())
}

#[test]
fn thingsboards_sdk_shows_its_certificate() -> Result<()> {
    let site = Site::start()?;
    let pem = site.identity("pump-1", 2100)?;
    site.provision("pump-1", &pem)?;
    let there = site.server.address().mqtts();
    let mut device = Command::new(Python::DeviceSdk.interpreter()?);
    device.arg(e2e::own("programs/device_certificate.py"));
    device.args([there.ip().to_string(), there.port().to_string()]);
    device.args(["server.pem", "pump-1.pem", "pump-1-key.pem"].map(|name| site.file(name))).arg("31");
    let told = ended(&mut device)?;
    ensure!(told.code == 0 && told.out.contains("sent"), "{told:?}");
    ensure!(site.latest("pump-1")? == json!(31));
    Ok(())
}

/// A server that is spoken to over TLS, a profile that lets devices in, and files of certificates beside it.
struct Site {
    server: Musterd,
}

impl Site {
    fn start() -> Result<Site> {
        let setup = Setup::serve("")?;
        let there = setup.address().mqtts();
        let own = rcgen::generate_simple_self_signed(vec![there.ip().to_string()])?;
        let (certificate, key) = (setup.home().join("server.pem"), setup.home().join("server-key.pem"));
        fs::write(&certificate, own.cert.pem())?;
        fs::write(&key, own.signing_key.serialize_pem())?;
        let setup = setup
            .setting("MQTTS__BIND", there.to_string())
            .setting("MQTTS__CERTIFICATE", certificate)
            .setting("MQTTS__KEY", key);
        let server = setup.start()?;
        let profile = ["profile", "create", "site", "--strategy", "create-new"];
        let given = ["--provision-key", SEED_KEY, "--provision-secret", SEED_SECRET];
        server.muster()?.ok(&[&profile[..], &given].concat())?;
        Ok(Site { server })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.server.setup().home().join(name)
    }

    /// A new key and its certificate, valid to the end of this year, in files of this name; the certificate in PEM.
    fn identity(&self, name: &str, until: i32) -> Result<String> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        fs::write(self.file(&format!("{name}.pem")), &pem)?;
        fs::write(self.file(&format!("{name}-key.pem")), key.serialize_pem())?;
        Ok(pem)
    }

    fn openssl(&self, lines: &[&str]) -> Result<()> {
        for line in lines {
            let mut openssl = Command::new("openssl");
            let told = ended(openssl.current_dir(self.server.setup().home()).args(line.split(' ')))?;
            ensure!(told.code == 0, "openssl {line}: {}", told.err);
        }
        Ok(())
    }

    /// Provisions with a certificate; what the device is told that it holds.
    fn provision(&self, name: &str, hash: &str) -> Result<String> {
        let mut ask = group().ask(name);
        ask["credentialsType"] = json!("X509_CERTIFICATE");
        ask["hash"] = json!(hash);
        match Http::open(self.server.address().http())?.provision(&ask)? {
            Answer::Granted { kind, value: Value::String(value) } if kind == "X509_CERTIFICATE" => Ok(value),
            other => anyhow::bail!("{other:?}"),
        }
    }

    /// A program of mosquitto's that connects over TLS, with the certificate of that name.
    fn client(&self, program: &str, certificate: Option<&str>) -> Command {
        let there = self.server.address().mqtts();
        let mut command = self.server.setup().neighbour(program);
        command.args(["-h", &there.ip().to_string(), "-p", &there.port().to_string()]);
        command.arg("--cafile").arg(self.file("server.pem"));
        if let Some(name) = certificate {
            command.arg("--cert").arg(self.file(&format!("{name}.pem")));
            command.arg("--key").arg(self.file(&format!("{name}-key.pem")));
        }
        command
    }

    fn publish(&self, certificate: Option<&str>, words: &[&str], temperature: usize) -> Result<Ended> {
        let message = json!({"temperature": temperature}).to_string();
        let mut command = self.client("mosquitto_pub", certificate);
        ended(command.args(words).args(["-q", "1", "-t", TELEMETRY, "-m", &message]))
    }

    fn publishes(&self, certificate: &str, words: &[&str], temperature: usize) -> Result<()> {
        let told = self.publish(Some(certificate), words, temperature)?;
        ensure!(told.code == 0, "{words:?}: {told:?}\n{}", self.server.process().transcript());
        Ok(())
    }

    /// The latest temperature of a device.
    fn latest(&self, device: &str) -> Result<Value> {
        let told = self.server.muster()?.json(&["device", "telemetry", device])?;
        let of = |row: &&Value| row["key"] == "temperature";
        let row = told.as_array().into_iter().flatten().find(of).with_context(|| told.to_string())?;
        Ok(row["value"].clone())
    }

    /// One call of ThingsBoard's REST about the device `pump-1`.
    fn rest(&self, verb: &str, path: &str, body: &Value) -> Result<Value> {
        let id = self.server.muster()?.json(&["device", "show", "pump-1"])?["id"].clone();
        let path = path.replace("{id}", id.as_str().context("the device has an id")?);
        let secret = fs::read_to_string(self.server.setup().folder().join("keys/admin-secret"))?;
        let bearer = format!("ApiKey {}", secret.trim_end());
        let headers = [("X-Authorization", bearer.as_str())];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut http = HttpConnection::open(self.server.address().http())?;
        let reply = http.request(verb, &path, &headers, body.as_bytes())?;
        ensure!(reply.status == 200, "{}", reply.text());
        Ok(serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    fn credentials(&self, device: &str) -> Result<Value> {
        ensure!(device == "pump-1");
        self.rest("GET", "/api/device/{id}/credentials", &Value::Null)
    }
}

fn group() -> Group {
    Group::new(SEED_KEY, SEED_SECRET)
}

/// What stands between the first and the last line of a PEM, in one line.
fn base64_of(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect()
}
