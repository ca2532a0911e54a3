//! Someone who makes the secrets, hears every answer, and knows which answer may carry which secret.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::address::Address;
use e2e::device::{Answer, Connect};
use e2e::mqtt;
use e2e::muster::{Ended, Muster};
use e2e::musterd::Musterd;
use e2e::search::Search;
use e2e::settings::Chance;
use serde_json::Value;
use testkit::http::{HttpConnection, Reply};
use testkit::mqtt::MqttConnection;

/// The answers that may carry a secret, and no other may.
#[derive(Debug, Clone)]
enum Carries {
    Nothing,
    /// SUCCESS carries the device's own token or password (thingsboard page, section 3.1).
    OwnCredentials(String),
    /// A new operator token is shown this once.
    NewOperatorToken(String),
    /// A new group secret is shown this once.
    NewGroupSecret(String),
}

struct Heard {
    from: String,
    bytes: Vec<u8>,
    carries: Carries,
}

/// See above.
pub(crate) struct Witness {
    address: Address,
    chance: Chance,
    search: Search,
    heard: Vec<Heard>,
}

impl Witness {
    pub(crate) fn new(address: Address, seed: u64) -> Self {
        Self { address, chance: Chance::new(seed), search: Search::default(), heard: Vec::new() }
    }

    pub(crate) fn search(&self) -> &Search {
        &self.search
    }

    /// A new secret that looks like none of the server's.
    pub(crate) fn mint(&mut self, what: &str) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut letter = || char::from(LETTERS[self.chance.below(LETTERS.len() as u64) as usize]);
        let secret: String = (0..24).map(|_| letter()).collect();
        self.knows(what, &secret);
        secret
    }

    /// Takes note of a secret that somebody else made.
    pub(crate) fn knows(&mut self, what: &str, secret: &str) {
        self.search.add(what, secret.as_bytes());
    }

    pub(crate) fn knows_the_keys(&mut self, server: &Musterd) -> Result<()> {
        let keys = server.setup().folder().join("keys");
        self.search.add("the key-encryption key", &fs::read(keys.join("kek"))?);
        let admin = fs::read_to_string(keys.join("admin-secret"))?;
        self.knows("the admin secret", admin.trim());
        Ok(())
    }

    pub(crate) fn heard_nothing_it_should_not(&self) -> Result<()> {
        for heard in &self.heard {
            let found = match &heard.carries {
                Carries::Nothing => self.search.find(&heard.bytes),
                Carries::OwnCredentials(own)
                | Carries::NewOperatorToken(own)
                | Carries::NewGroupSecret(own) => self.search.find_besides(&heard.bytes, own.as_bytes()),
            };
            ensure!(found.is_empty(), "{} carries {found:?}", heard.from);
        }
        Ok(())
    }

    // === HTTP ===

    /// Any request; its answer must carry nothing.
    pub(crate) fn http(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply> {
        let reply = HttpConnection::open(self.address.http())?.request(method, target, headers, body)?;
        self.hear("HTTP", &reply, Carries::Nothing);
        Ok(reply)
    }

    /// A provision request; SUCCESS carries the device's own credentials.
    pub(crate) fn provision_by_http(&mut self, ask: &Value) -> Result<Answer> {
        let mut connection = HttpConnection::open(self.address.http())?;
        let reply = connection.post_json("/api/v1/provision", &ask.to_string())?;
        let answer = Answer::read(&reply.body);
        let carries = self.own_credentials(&answer, ask);
        self.hear("provisioning by HTTP", &reply, carries);
        Ok(answer)
    }

    fn hear(&mut self, from: &str, reply: &Reply, carries: Carries) {
        let headers = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let head = format!("{}\n{}", reply.status_line, headers.collect::<String>());
        self.heard.push(Heard {
            from: format!("{from}: {head}{}", reply.text()),
            bytes: [head.as_bytes(), &reply.body].concat(),
            carries,
        });
    }

    /// A token that the device did not choose is a new secret.
    fn own_credentials(&mut self, answer: &Answer, ask: &Value) -> Carries {
        let Answer::Granted { value, .. } = answer else { return Carries::Nothing };
        let own = value.as_str().or(value["password"].as_str()).unwrap_or_default().to_owned();
        let chosen = ask["token"].is_string() || ask["username"].is_string();
        if !chosen && self.search.find(own.as_bytes()).is_empty() {
            self.knows("a derived token", &own);
        }
        Carries::OwnCredentials(own)
    }

    // === MQTT ===

    /// Sends packets at once and hears what comes back, until so many packets came or the server closes.
    pub(crate) fn mqtt(&mut self, packets: &[Vec<u8>], answers: usize) -> Result<Vec<Vec<u8>>> {
        let heard = exchange(self.address, packets, answers)?;
        self.heard.push(Heard {
            from: format!("MQTT: {heard:02x?}"),
            bytes: heard.concat(),
            carries: Carries::Nothing,
        });
        Ok(heard)
    }

    /// A provision request; SUCCESS carries the device's own credentials.
    pub(crate) fn provision_by_mqtt(&mut self, ask: &Value, five: bool) -> Result<Answer> {
        let provision = Connect { user_name: Some("provision"), five, ..Connect::default() };
        let packets = [
            mqtt::connect(&provision),
            mqtt::subscribe("/provision/response", five),
            mqtt::publish("/provision/request", Some(2), ask.to_string().as_bytes(), five),
        ];
        let heard = exchange(self.address, &packets, 4)?;
        let payload = heard.iter().find_map(|packet| mqtt::payload(packet, "/provision/response", five));
        let answer = Answer::read(payload.with_context(|| format!("no answer: {heard:02x?}"))?);
        let carries = self.own_credentials(&answer, ask);
        let from = format!("provisioning by MQTT: {answer:?}");
        self.heard.push(Heard { from, bytes: heard.concat(), carries });
        Ok(answer)
    }

    // === Operators ===

    /// A call of the operator's program that must print nothing secret, however it ends.
    pub(crate) fn muster(&mut self, muster: &Muster, words: &[&str]) -> Result<Ended> {
        let ended = muster.run(words)?;
        self.hear_program(words, &ended, Carries::Nothing);
        Ok(ended)
    }

    /// A call that makes an operator token.
    pub(crate) fn new_operator_token(&mut self, muster: &Muster, words: &[&str]) -> Result<String> {
        let (ended, token) = self.shown_once(muster, words, "token")?;
        self.knows("an operator token", &token);
        self.hear_program(words, &ended, Carries::NewOperatorToken(token.clone()));
        Ok(token)
    }

    /// A call that makes a group secret; the key and the secret.
    pub(crate) fn new_group_secret(&mut self, muster: &Muster, words: &[&str]) -> Result<String> {
        let (ended, secret) = self.shown_once(muster, words, "provision_secret")?;
        if self.search.find(secret.as_bytes()).is_empty() {
            self.knows("a provision secret of the server's making", &secret);
        }
        self.hear_program(words, &ended, Carries::NewGroupSecret(secret.clone()));
        Ok(secret)
    }

    fn shown_once(&self, muster: &Muster, words: &[&str], member: &str) -> Result<(Ended, String)> {
        let ended = muster.run(&[&["-o", "json"], words].concat())?;
        ensure!(ended.code == 0, "{words:?}: {ended:?}");
        let shown: Value = serde_json::from_str(&ended.out)?;
        let secret = shown[member].as_str().with_context(|| format!("{words:?} shows no {member}"))?;
        Ok((ended.clone(), secret.to_owned()))
    }

    fn hear_program(&mut self, words: &[&str], ended: &Ended, carries: Carries) {
        let bytes = format!("{}{}", ended.out, ended.err).into_bytes();
        self.heard.push(Heard { from: format!("muster {words:?}: {ended:?}"), bytes, carries });
    }
}

fn exchange(address: Address, packets: &[Vec<u8>], answers: usize) -> Result<Vec<Vec<u8>>> {
    let mut connection = MqttConnection::open(address.mqtt())?;
    connection.send(&packets.concat())?;
    let mut heard = Vec::new();
    while heard.len() < answers
        && let Some(packet) = connection.read_packet()?
    {
        heard.push(packet);
    }
    Ok(heard)
}
