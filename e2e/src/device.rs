//! A device that speaks ThingsBoard: provision, then telemetry (thingsboard page, sections 2 to 4 and 9).

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testkit::http::{HttpConnection, Reply};
use testkit::mqtt::MqttConnection;

pub use crate::mqtt::Connect;
use crate::mqtt::{connect, payload, publish, subscribe};

const REQUEST: &str = "/provision/request";
const RESPONSE: &str = "/provision/response";
const TELEMETRY: &str = "v1/devices/me/telemetry";

/// The provision key and secret that a factory puts into its devices.
#[derive(Debug, Clone)]
pub struct Group {
    /// Names the profile.
    pub key: String,
    /// Proves that the device may use it.
    pub secret: String,
}

impl Group {
    /// A pair.
    #[must_use]
    pub fn new(key: &str, secret: &str) -> Self {
        Self { key: key.to_owned(), secret: secret.to_owned() }
    }

    /// The request of a device with this name.
    #[must_use]
    pub fn ask(&self, name: &str) -> Value {
        json!({"deviceName": name, "provisionDeviceKey": self.key, "provisionDeviceSecret": self.secret})
    }
}

/// What a provision request was answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// SUCCESS.
    Granted {
        /// `credentialsType`.
        kind: String,
        /// `credentialsValue`.
        value: Value,
    },
    /// NOT_FOUND or FAILURE.
    Refused {
        /// `status`.
        status: String,
        /// `errorMsg`.
        why: String,
    },
    /// The temporary error of the page's section 4.2: ask again.
    Later,
    /// What the page does not know: status line and body.
    Odd(String),
}

impl Answer {
    /// The token, if it is one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Granted { kind, value } if kind == "ACCESS_TOKEN" => value.as_str(),
            _ => None,
        }
    }

    /// The token.
    ///
    /// # Errors
    /// If it is none.
    pub fn into_token(self) -> Result<String> {
        self.token().map(str::to_owned).with_context(|| format!("no token: {self:?}"))
    }

    /// Whether it is SUCCESS.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        matches!(self, Self::Granted { .. })
    }

    /// What the bytes of an answer say.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        Self::parse(bytes).unwrap_or_else(|| Self::Odd(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let said: Value = serde_json::from_slice(bytes).ok()?;
        let word = |key: &str| said[key].as_str().map(str::to_owned);
        match word("status")?.as_str() {
            "SUCCESS" => Some(Self::Granted {
                kind: word("credentialsType")?,
                value: said["credentialsValue"].clone(),
            }),
            status => Some(Self::Refused { status: status.to_owned(), why: word("errorMsg")? }),
        }
    }
}

/// A device over HTTP, on a kept connection.
#[derive(Debug)]
pub struct Http {
    connection: HttpConnection,
}

impl Http {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self { connection: HttpConnection::open(address)? })
    }

    /// Asks for credentials.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn provision(&mut self, ask: &Value) -> Result<Answer> {
        let reply = self.connection.post_json("/api/v1/provision", &ask.to_string())?;
        Ok(match reply.status {
            200 => Answer::read(&reply.body),
            503 => Answer::Later,
            _ => Answer::Odd(format!("{}: {}", reply.status_line, reply.text())),
        })
    }

    /// Posts telemetry with a token; the reply as it came.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn telemetry(&mut self, token: &str, values: &Value) -> Result<Reply> {
        self.connection.post_json(&format!("/api/v1/{token}/telemetry"), &values.to_string())
    }
}

/// A device over MQTT, with an accepted CONNECT.
#[derive(Debug)]
pub struct Mqtt {
    connection: MqttConnection,
    five: bool,
    last_id: u16,
}

impl Mqtt {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens, or CONNECT is refused.
    pub fn open(address: SocketAddr, who: &Connect<'_>) -> Result<Self> {
        match Self::knock(address, who)? {
            Ok(device) => Ok(device),
            Err(code) => bail!("CONNECT was refused with {code:#04x}"),
        }
    }

    /// Connects; the inner error is the code of a refusal.
    ///
    /// # Errors
    /// If nobody listens, or answers.
    pub fn knock(address: SocketAddr, who: &Connect<'_>) -> Result<Result<Self, u8>> {
        let mut connection = MqttConnection::open(address)?;
        connection.send(&connect(who))?;
        let packet = connection.read_packet()?.context("closed without a CONNACK")?;
        let [0x20, _, _, code, ..] = packet[..] else { bail!("no CONNACK: {packet:02x?}") };
        if code != 0 {
            return Ok(Err(code));
        }
        Ok(Ok(Self { connection, five: who.five, last_id: 0 }))
    }

    /// Connects for provisioning only.
    ///
    /// # Errors
    /// As [`Mqtt::open`].
    pub fn open_to_provision(address: SocketAddr) -> Result<Self> {
        Self::open(address, &Connect { user_name: Some("provision"), ..Connect::default() })
    }

    /// Connects with a token.
    ///
    /// # Errors
    /// As [`Mqtt::open`].
    pub fn open_with_token(address: SocketAddr, token: &str) -> Result<Self> {
        Self::open(address, &Connect { user_name: Some(token), ..Connect::default() })
    }

    /// Asks for credentials. A closed connection is the temporary error.
    ///
    /// # Errors
    /// If the connection ends otherwise.
    pub fn provision(&mut self, ask: &Value) -> Result<Answer> {
        let id = self.next_id();
        let request = publish(REQUEST, Some(id), ask.to_string().as_bytes(), self.five);
        self.connection.send(&[subscribe(RESPONSE, self.five), request].concat())?;
        while let Some(packet) = self.connection.read_packet()? {
            if let Some(payload) = payload(&packet, RESPONSE, self.five) {
                return Ok(Answer::read(payload));
            }
        }
        Ok(Answer::Later)
    }

    /// Publishes telemetry at QoS 1; whether it was acknowledged before the connection ended.
    ///
    /// # Errors
    /// If the connection is gone, or the acknowledgement is another's.
    pub fn telemetry(&mut self, values: &Value) -> Result<bool> {
        let id = self.next_id();
        self.connection.send(&publish(TELEMETRY, Some(id), values.to_string().as_bytes(), self.five))?;
        let Some(packet) = self.connection.read_packet()? else { return Ok(false) };
        let [high, low] = id.to_be_bytes();
        ensure!(packet.starts_with(&[0x40]) && packet.get(2..4) == Some(&[high, low]), "{packet:02x?}");
        Ok(packet.get(4).is_none_or(|reason| *reason < 0x80))
    }

    /// The bytes below, for what no device does.
    pub fn raw(&mut self) -> &mut MqttConnection {
        &mut self.connection
    }

    fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id % u16::MAX + 1;
        self.last_id
    }
}
