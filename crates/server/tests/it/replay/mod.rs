//! The recorded exchanges of a running ThingsBoard, played against us in their order.
//!
//! Each is answered alike, in status and in every member of the body, or stands in `differences.txt` with its reason.
//! What stands there without need fails too, so that the list says no more and no less than what differs.

mod alike;
mod recording;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Role, Secret};
use engine::registry::NewAccount;
use serde_json::{Value, json};
use testkit::http::{HttpConnection, Reply};

use crate::running::Running;
use alike::{Alike, Versions};
use recording::{Recording, Vector};

/// What the recorded accounts sign on with here: a password of theirs is too short for us.
const PASSWORD: &str = "a password of some length";
const TENANT: &str = "tenant@thingsboard.org";
const CUSTOMER: &str = "customer@thingsboard.org";

/// How the reason of those begins that would leave something behind which the recorded ones after it do not expect.
const NOT_SENT: &str = "not sent: ";

/// What was done between two recorded exchanges without being recorded: before which one, and what.
const MEANWHILE: &[(&str, &str, &str, &str)] = &[
    ("delete, unused", "POST", "/api/deviceProfile/<uuid:profile-default>/default", ""),
    (
        "list, textSearch in label only",
        "POST",
        "/api/device",
        r#"{"name":"vec-lab","type":"default","label":"xyzzy"}"#,
    ),
];

/// Ids that were looked up without that being recorded, by the name of their device.
const LOOKED_UP: &[(&str, &str)] = &[
    ("uuid:device:b3", "vec-b3"),
    ("uuid:50", "vec-b4"),
    ("uuid:52", "vec-b5"),
    ("uuid:54", "vec-b1"),
    ("uuid:57", "vec-b28"),
];

#[test]
fn the_recorded_exchanges_are_answered_alike_or_differ_for_a_reason() {
    let recording = Recording::read();
    let differences = differences();
    let mut player = Player::new(&recording);
    let (mut wrong, mut alike) = (String::new(), 0);
    let mut needed = BTreeMap::new();
    for vector in &recording.vectors {
        let whole = (vector.section.clone(), "*".to_owned());
        if differences.contains_key(&whole) {
            needed.insert(whole, true);
            continue;
        }
        let listed = (vector.section.clone(), vector.name.clone());
        if differences.get(&listed).is_some_and(|reason| reason.starts_with(NOT_SENT)) {
            needed.insert(listed, true);
            continue;
        }
        match (player.play(vector), differences.contains_key(&listed)) {
            (Ok(()), false) => alike += 1,
            (Err(_), true) => drop(needed.insert(listed, true)),
            (Ok(()), true) => {
                writeln!(wrong, "{} :: {} is alike, and stands in the list", listed.0, listed.1).unwrap();
            }
            (Err(why), false) => writeln!(wrong, "{} :: {} :: {why}", listed.0, listed.1).unwrap(),
        }
    }
    for (section, name) in differences.keys().filter(|listed| !needed.contains_key(*listed)) {
        writeln!(wrong, "{section} :: {name} stands in the list, and is not among the recorded").unwrap();
    }
    assert!(wrong.is_empty(), "{} of {} are alike;\n{wrong}", alike, recording.vectors.len());
    assert!(alike > 200, "{alike} are alike");
}

/// The list of differences: section, name (`*` for all of the section), reason.
fn differences() -> HashMap<(String, String), String> {
    let mut listed = HashMap::new();
    for line in
        include_str!("differences.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let parts: Vec<&str> = line.split(" :: ").collect();
        let [section, name, reason] = parts[..] else { panic!("not three parts: {line}") };
        assert!(reason.len() > 10, "no reason: {line}");
        let before = listed.insert((section.to_owned(), name.to_owned()), reason.to_owned());
        assert!(before.is_none(), "listed twice: {line}");
    }
    listed
}

/// Sends what was recorded, with our own ids and tokens in the place of theirs.
struct Player<'a> {
    running: Running,
    recording: &'a Recording,
    bound: HashMap<String, String>,
    versions: Versions,
}

impl<'a> Player<'a> {
    fn new(recording: &'a Recording) -> Player<'a> {
        // The details of a refused provisioning are ours; what is compared is what ThingsBoard says.
        let running = Running::start(|config| config.provisioning.error_detail = false);
        let mut bound = HashMap::new();
        for (name, role, word) in
            [(TENANT, Role::Admin, "jwt:tenant"), (CUSTOMER, Role::Viewer, "jwt:customer")]
        {
            let password = Some(Secret::new(PASSWORD));
            let new = NewAccount { name, tenant: Some("default"), role, password };
            running.registry().create_account(&Running::operator(), &new).unwrap();
            let tokens = signed_on(&running, name);
            bound.insert(word.to_owned(), tokens["token"].as_str().unwrap().to_owned());
            if word == "jwt:tenant" {
                bound.insert("jwt:refresh".to_owned(), tokens["refreshToken"].as_str().unwrap().to_owned());
            }
        }
        // A session of its own, for it is logged out.
        bound.insert("jwt".to_owned(), signed_on(&running, TENANT)["token"].as_str().unwrap().to_owned());
        let session = |word: &str| bound[word].clone();
        let (access, refresh) = (session("jwt:tenant"), session("jwt:refresh"));
        bound.insert("jwt: the access token".to_owned(), access.clone());
        bound.insert("jwt: the refresh token".to_owned(), refresh);
        bound.insert("jwt: wrong signature".to_owned(), spoilt(&access));
        certificates(&mut bound);
        Player { running, recording, bound, versions: Versions::new() }
    }

    /// Plays one exchange and compares.
    fn play(&mut self, vector: &Vector) -> Result<(), String> {
        self.meanwhile(vector);
        let expected = &vector.answer;
        let wanted = self.recording.expand(&expected.body);
        let reply = self.send(vector).inspect_err(|_| self.refused(&wanted))?;
        let body = self.body(&reply);
        if body.get("version").is_none() {
            self.refused(&wanted);
        }
        let mut alike = Alike { bound: &mut self.bound, versions: &mut self.versions, found: Vec::new() };
        alike.compare("", &wanted, &body);
        let mut found = alike.found;
        if Some(u64::from(reply.status)) != expected.status {
            found.insert(0, format!("status {} for {:?}", reply.status, expected.status));
        }
        if found.is_empty() { Ok(()) } else { Err(format!("{} | {}", found.join("; "), reply.text())) }
    }

    fn meanwhile(&mut self, vector: &Vector) {
        for (_, method, path, body) in MEANWHILE.iter().filter(|(name, ..)| *name == vector.name) {
            let path = self.filled(path).unwrap();
            self.ask(method, &path, body);
        }
        for (word, name) in LOOKED_UP {
            if vector.path.contains(&format!("<{word}>")) && !self.bound.contains_key(*word) {
                let found = self.ask("GET", &format!("/api/tenant/devices?deviceName={name}"), "");
                self.bound.insert((*word).to_owned(), found["id"]["id"].as_str().unwrap().to_owned());
            }
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let bearer = format!("Bearer {}", self.bound["jwt:tenant"]);
        let headers = [("X-Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let mut http = HttpConnection::open(self.running.http()).unwrap();
        let reply = http.request(method, path, &headers, body.as_bytes()).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// What ThingsBoard did has raised a version there, and not here.
    fn refused(&mut self, wanted: &Value) {
        let recorded = wanted.get("version").and_then(Value::as_i64);
        let of = wanted.as_object().and_then(alike::identity);
        if let (Some(recorded), Some(of)) = (recorded, of)
            && let Some(version) = self.versions.get_mut(of)
        {
            version.0 = recorded;
        }
    }

    /// The version that stands here in the place of the one that was recorded.
    fn translated(&self, value: &Value) -> Value {
        let mut value = value.clone();
        let versions =
            value.as_object().and_then(alike::identity).and_then(|of| self.versions.get(of)).copied();
        if let (Some((recorded, ours)), Some(version)) =
            (versions, value.get("version").and_then(Value::as_i64))
        {
            value["version"] = json!(ours + version - recorded);
        }
        value
    }

    fn body(&self, reply: &Reply) -> Value {
        if reply.body.is_empty() {
            return Value::Null;
        }
        let json = reply.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        match serde_json::from_slice(&reply.body) {
            Ok(value) if json => value,
            _ => Value::String(reply.text()),
        }
    }

    fn send(&self, vector: &Vector) -> Result<Reply, String> {
        let path = self.filled(&vector.path)?;
        let mut headers = Vec::new();
        let mut content_type = Some("application/json".to_owned());
        let mut accept = Some("application/json".to_owned());
        for (name, value) in &vector.headers {
            let value = value.as_str().map(|value| self.filled(value)).transpose()?;
            match name.as_str() {
                "Content-Type" => content_type = value,
                "Accept" => accept = value,
                _ => headers.extend(value.map(|value| (name.clone(), value))),
            }
        }
        let body = self.request_body(vector)?;
        headers.extend(accept.map(|value| ("Accept".to_owned(), value)));
        headers
            .extend(content_type.filter(|_| body.is_some()).map(|value| ("Content-Type".to_owned(), value)));
        let borrowed: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut http = HttpConnection::open(self.running.http()).map_err(|error| error.to_string())?;
        let body = body.unwrap_or_default();
        http.request(&vector.method, &path, &borrowed, &body).map_err(|error| error.to_string())
    }

    fn request_body(&self, vector: &Vector) -> Result<Option<Vec<u8>>, String> {
        let body = match &vector.body {
            Value::Null => return Ok(None),
            Value::String(text) => {
                made(text).map_or_else(|| self.filled(text).map(String::into_bytes), Ok)?
            }
            other => {
                self.filled_value(&self.translated(&self.recording.expand(other)))?.to_string().into_bytes()
            }
        };
        if !vector.path.starts_with("/api/auth/login") {
            return Ok(Some(body));
        }
        let mut text = String::from_utf8_lossy(&body).into_owned();
        for theirs in ["tenant", "customer"] {
            let ours = format!(r#""password":"{PASSWORD}""#);
            text = text.replace(&format!(r#""password":"{theirs}""#), &ours);
        }
        Ok(Some(text.into_bytes()))
    }

    fn filled_value(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) if text == "<timestamp>" => json!(1_700_000_000_000_i64),
            Value::String(text) => Value::String(self.filled(text)?),
            Value::Array(values) => {
                values.iter().map(|value| self.filled_value(value)).collect::<Result<_, _>>()?
            }
            Value::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), self.filled_value(value)?)))
                    .collect::<Result<_, String>>()?,
            ),
            other => other.clone(),
        })
    }

    /// The text with everything between `<` and `>` that is a placeholder filled in.
    fn filled(&self, text: &str) -> Result<String, String> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some(at) = rest.find('<') {
            let Some(end) = rest[at..].find('>') else { break };
            filled += &rest[..at];
            let word = &rest[at + 1..at + end];
            filled += &self.word(word)?.unwrap_or_else(|| format!("<{word}>"));
            rest = &rest[at + end + 1..];
        }
        Ok(filled + rest)
    }

    /// What stands for a placeholder; `None` where it is none.
    fn word(&self, word: &str) -> Result<Option<String>, String> {
        if let Some((count, text)) = word.split_once(" x ")
            && let Ok(count) = count.parse()
        {
            return Ok(Some(text.repeat(count)));
        }
        if let Some(name) = word.strip_prefix("UUID:").and_then(|word| word.strip_suffix(" in capitals")) {
            let name = name.replace("DEVICE", "device");
            return Ok(self.bound.get(&format!("uuid:{name}")).map(|id| id.to_uppercase()));
        }
        if let Some(bound) = self.bound.get(word) {
            return Ok(Some(bound.clone()));
        }
        if let Some(hash) = alike::hash(word, &self.bound) {
            return Ok(Some(hash));
        }
        let placeholder = ["uuid:", "jwt", "token20:", "pem:", "base64 der:"];
        if placeholder.iter().any(|prefix| word.starts_with(prefix)) {
            return Err(format!("nothing is known for <{word}>"));
        }
        Ok(None)
    }
}

/// Certificates of our own in the place of those that were recorded, in all the forms in which they stand there.
fn certificates(bound: &mut HashMap<String, String>) {
    for name in ["leaf", "leaf2", "ca", "ca2"] {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert;
        bound.insert(format!("pem:{name}"), made.pem());
        bound.insert(format!("base64 der:{name}"), STANDARD.encode(made.der()));
    }
}

fn signed_on(running: &Running, name: &str) -> Value {
    let mut http = HttpConnection::open(running.http()).unwrap();
    let body = json!({ "username": name, "password": PASSWORD }).to_string();
    let reply = http.post_json("/api/auth/login", &body).unwrap();
    serde_json::from_slice(&reply.body).unwrap()
}

/// A token whose signature is another one.
fn spoilt(token: &str) -> String {
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    format!("{rest}.{other}{}", &signature[1..])
}

/// A body that is described where it is too long, or no text.
fn made(text: &str) -> Option<Vec<u8>> {
    if let Some(count) = text.strip_suffix(" bytes of JSON>").and_then(|text| text.strip_prefix('<')) {
        let frame = r#"{"name":"","type":"default"}"#;
        let filler = "x".repeat(count.parse::<usize>().ok()? - frame.len());
        return Some(frame.replacen("\"\"", &format!("\"{filler}\""), 1).into_bytes());
    }
    if let Some(count) =
        text.strip_suffix(" x a>").and_then(|text| text.strip_prefix("<JSON: additionalInfo.x is "))
    {
        let count: usize = count.parse().ok()?;
        let info = json!({ "name": format!("vec-ai{count}"), "type": "default", "additionalInfo": { "x": "a".repeat(count) } });
        return Some(info.to_string().into_bytes());
    }
    if let Some(rest) = text.strip_prefix("<bytes ef bb bf>") {
        return Some([b"\xef\xbb\xbf", rest.as_bytes()].concat());
    }
    let (before, after) = text.split_once("<byte ff>")?;
    Some([before.as_bytes(), b"\xff", after.as_bytes()].concat())
}
