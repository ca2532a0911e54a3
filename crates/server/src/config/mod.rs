//! Settings: the compiled-in defaults, one file over them, the environment over both.
//!
//! The default file is the schema too: a key that it does not have does not exist, and its value says
//! what kind of value the key takes. So the documentation and the truth cannot drift apart.

mod bind;
mod check;
mod endpoints;
mod place;
mod sign_on;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::Secret;
use ipnet::IpNet;
use serde::Deserialize;

pub use bind::Bind;
pub use endpoints::{Endpoint, EndpointKind};
pub use place::Mistake;
pub(crate) use sign_on::is_loopback;
pub use sign_on::{OpenId, SignOn};

use crate::listeners::Front;

/// The documented defaults.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// All settings. Every key is documented in [`DEFAULTS`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of this server in its log and journal.
    pub name: String,
    /// The folder that holds everything.
    pub directory: PathBuf,
    /// Where keys are.
    pub keys: Keys,
    /// What keeps the data.
    pub database: Database,
    /// Where backups are made.
    pub backup: Backup,
    /// Plain HTTP, and what it shares with HTTPS.
    pub http: Http,
    /// HTTPS.
    pub https: Https,
    /// MQTT, and what it shares with MQTT over TLS.
    pub mqtt: Mqtt,
    /// MQTT over TLS.
    pub mqtts: Mqtts,
    /// What devices that provision are told and allowed.
    pub provisioning: Provisioning,
    /// Neighbours that are kept in step with devices, by name.
    #[serde(default)]
    pub connectors: BTreeMap<String, Endpoint>,
    /// Those who are asked before a decision, by name.
    #[serde(default)]
    pub hooks: BTreeMap<String, Endpoint>,
    /// What connected devices may ask.
    pub devices: Devices,
    /// How durable work is done.
    pub operations: Operations,
    /// By whose word people sign on.
    pub sign_on: SignOn,
    /// How the server ends.
    pub stop: Stop,
    /// The log.
    pub log: Log,
}

/// Section `[keys]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Where the next key-encryption key comes from.
    pub provider: Provider,
    /// The file of the first key; empty means the one in the directory.
    pub file: PathBuf,
    /// The name of the credential.
    pub credential: String,
    /// Where passphrases come from at the start.
    pub passphrase_from: PassphraseFrom,
    /// Section `[keys.pkcs11]`.
    pub pkcs11: Pkcs11,
}

/// A kind of key-encryption keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// A file.
    File,
    /// A credential of the service manager.
    Credential,
    /// A passphrase that somebody knows.
    Passphrase,
    /// A security module.
    Pkcs11,
}

/// Where passphrases come from at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassphraseFrom {
    /// Somebody types one.
    Terminal,
    /// The lines of a file descriptor.
    Descriptor(u32),
    /// Nobody gives one before the server runs.
    Later,
}

/// Section `[keys.pkcs11]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11 {
    /// The module's library.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The label of the first key.
    pub key: String,
    /// The file with the user PIN.
    pub pin_file: PathBuf,
    /// How data keys are wrapped.
    pub mechanism: Mechanism,
}

/// How a security module wraps data keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// The first of the others that the token has.
    Auto,
    /// `CKM_AES_GCM`.
    Gcm,
    /// `CKM_AES_KEY_WRAP_PAD`.
    KeyWrapPad,
}

impl<'de> Deserialize<'de> for PassphraseFrom {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<PassphraseFrom, D::Error> {
        let text = String::deserialize(deserializer)?;
        match (text.as_str(), text.strip_prefix("fd:").and_then(|number| number.parse().ok())) {
            ("terminal", _) => Ok(PassphraseFrom::Terminal),
            ("later", _) => Ok(PassphraseFrom::Later),
            (_, Some(number)) => Ok(PassphraseFrom::Descriptor(number)),
            _ => Err(serde::de::Error::custom("it takes `terminal`, `later` or `fd:` and a number")),
        }
    }
}

/// Section `[database]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The address of a PostgreSQL, which may hold a password; empty means SQLite.
    #[serde(deserialize_with = "secret")]
    pub url: Secret,
    /// The same for sealed secrets; empty means beside the rest.
    #[serde(deserialize_with = "secret")]
    pub secrets_url: Secret,
    /// The certificates that PostgreSQL's own must lead to.
    pub root_certificate: PathBuf,
    /// The most connections for the main tables.
    pub connections: u32,
}

impl Database {
    /// What the store is opened with.
    pub fn backend(&self) -> store::Backend {
        if self.url.expose().is_empty() {
            return store::Backend::Directory;
        }
        let root = Some(self.root_certificate.clone()).filter(|path| !path.as_os_str().is_empty());
        store::Backend::Postgres(store::Postgres {
            url: self.url.clone(),
            secrets_url: Some(self.secrets_url.clone()).filter(|url| !url.expose().is_empty()),
            root_certificate: root,
            connections: self.connections as usize,
        })
    }
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

/// Section `[backup]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// The folder; empty means the one in the directory.
    pub directory: PathBuf,
}

/// Section `[http]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where it listens.
    pub bind: Vec<Bind>,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The proxies whose word on who is at the other end counts.
    pub trusted_proxies: Vec<IpNet>,
    /// The most connections at a time.
    pub connections: u32,
    /// Time for the header of a request, in seconds.
    pub header_timeout_s: u32,
    /// Time for the body of a request, in seconds.
    pub body_timeout_s: u32,
    /// Time that a kept connection may do nothing, in seconds.
    pub idle_timeout_s: u32,
    /// The longest header, in bytes.
    pub header_bytes: u32,
}

impl Http {
    /// What stands before it.
    pub fn front(&self) -> Front {
        Front::new(self.proxy_protocol, &self.trusted_proxies)
    }
}

/// Section `[https]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// Where it listens.
    pub bind: Vec<Bind>,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The proxies whose word on who is at the other end counts.
    pub trusted_proxies: Vec<IpNet>,
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// Time for the handshake, in seconds.
    pub handshake_timeout_s: u32,
}

impl Https {
    /// What stands before it.
    pub fn front(&self) -> Front {
        Front::new(self.proxy_protocol, &self.trusted_proxies)
    }
}

/// Section `[mqtt]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Where it listens.
    pub bind: Vec<Bind>,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The proxies whose word on who is at the other end counts.
    pub trusted_proxies: Vec<IpNet>,
    /// The most connections at a time.
    pub connections: u32,
    /// Time from connecting to the end of CONNECT, in seconds.
    pub connect_timeout_s: u32,
    /// Whether an unknown client without user name and password may provision.
    pub anonymous_provisioning: bool,
}

impl Mqtt {
    /// What stands before it.
    pub fn front(&self) -> Front {
        Front::new(self.proxy_protocol, &self.trusted_proxies)
    }
}

/// Section `[mqtts]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtts {
    /// Where it listens.
    pub bind: Vec<Bind>,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The proxies whose word on who is at the other end counts.
    pub trusted_proxies: Vec<IpNet>,
    /// The certificate chain, PEM; empty means that of HTTPS.
    pub certificate: PathBuf,
    /// The private key, PEM; empty means that of HTTPS.
    pub key: PathBuf,
    /// Time for the handshake, in seconds.
    pub handshake_timeout_s: u32,
    /// Whether a device's certificate counts only within its dates.
    pub client_dates: bool,
}

impl Mqtts {
    /// What stands before it.
    pub fn front(&self) -> Front {
        Front::new(self.proxy_protocol, &self.trusted_proxies)
    }

    /// The files of its certificate and key, where both are left out those of HTTPS.
    pub fn files<'a>(&'a self, https: &'a Https) -> [&'a Path; 2] {
        let own = [self.certificate.as_path(), self.key.as_path()];
        if own.iter().all(|path| path.as_os_str().is_empty()) {
            return [&https.certificate, &https.key];
        }
        own
    }
}

/// Section `[provisioning]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provisioning {
    /// Whether a proven device is told why it was refused.
    pub error_detail: bool,
    /// Unproven attempts of a source, a second.
    pub unproven_per_second: u32,
    /// Unproven attempts of a source at once.
    pub unproven_burst: u32,
    /// How long a device waits for its answer, in seconds.
    pub patience_s: u32,
    /// Most requests that wait for their decision.
    pub queue: u32,
}

/// Section `[devices]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// The hook that answers what devices ask; empty means that nobody does.
    pub calls_hook: String,
}

/// Section `[operations]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operations {
    /// How long a step belongs to the server that claimed it, in seconds.
    pub lease_s: u32,
}

/// Section `[stop]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Time for requests in flight, in seconds.
    pub grace_s: u32,
}

/// Section `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// The defaults with nothing over them.
    ///
    /// # Errors
    /// Never: a test reads the compiled-in file.
    pub fn defaults() -> Result<Config, Vec<Mistake>> {
        Config::read("", Path::new("(defaults)"), &[])
    }

    /// Reads a file, with what `environment` (name, value) overrides.
    ///
    /// # Errors
    /// Every mistake that was found, with its place.
    pub fn load(file: Option<&Path>, environment: &[(String, String)]) -> Result<Config, Vec<Mistake>> {
        let Some(file) = file else { return Config::read("", Path::new("(defaults)"), environment) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| vec![Mistake::of_file(file, &error.to_string())])?;
        Config::read(&text, file, environment)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(text: &str, file: &Path, environment: &[(String, String)]) -> Result<Config, Vec<Mistake>> {
        check::read(text, file, environment)
    }

    /// The folder in which backups are made.
    pub fn backups(&self) -> PathBuf {
        let own = &self.backup.directory;
        if own.as_os_str().is_empty() { self.directory.join("backups") } else { own.clone() }
    }

    /// Where everything lies.
    pub fn layout(&self) -> crate::layout::Layout {
        crate::layout::Layout::new(&self.directory, &self.keys.file)
    }
}

/// The variables of this process that override settings.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with(check::PREFIX))
        .collect()
}

/// A number of seconds as a duration.
pub fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

#[cfg(test)]
mod tests;
