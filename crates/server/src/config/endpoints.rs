//! Sections `[connectors.NAME]` and `[hooks.NAME]`: other people's servers.

use std::path::{Path, PathBuf};

use engine::ports::SystemClock;
use ipnet::IpNet;
use serde::Deserialize;
use toml::Table;

use super::check::LONGEST_LEASE_S;
use super::{Config, DEFAULTS, seconds};
use crate::outbound::{self, Keys, SignedCalls};

/// The sections whose parts have names of the operator's choice.
pub(super) const SECTIONS: [&str; 2] = ["connectors", "hooks"];

/// One server to call. Every key is documented in [`DEFAULTS`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// How it is spoken to.
    pub kind: EndpointKind,
    /// Its address.
    pub url: String,
    /// The file of the shared secret.
    pub secret_file: PathBuf,
    /// The file of the secret before; empty means none.
    pub previous_secret_file: PathBuf,
    /// Time for one call, in seconds.
    pub timeout_s: u32,
    /// Time for connecting, in seconds.
    pub connect_timeout_s: u32,
    /// The most calls at a time.
    pub concurrency: u32,
    /// Whether plain HTTP will do.
    pub allow_http: bool,
    /// Networks that may be called although they are not public.
    pub allow_networks: Vec<IpNet>,
    /// The only certificates that are trusted; empty means those of the system.
    pub root_certificate: PathBuf,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointKind {
    /// Signed POSTs.
    Webhook,
}

impl Endpoint {
    /// What the client takes. Whoever waits for an answer waits for a turn as long as a call may take.
    pub fn outbound(&self) -> outbound::Settings {
        outbound::Settings {
            url: self.url.clone(),
            allow_http: self.allow_http,
            allow_networks: self.allow_networks.clone(),
            root_certificate: named(&self.root_certificate).map(Path::to_owned),
            timeout: seconds(self.timeout_s),
            connect_timeout: seconds(self.connect_timeout_s),
            concurrency: usize::try_from(self.concurrency).unwrap_or(usize::MAX),
            patience: seconds(self.timeout_s),
        }
    }

    /// A client that signs with these secrets.
    ///
    /// # Errors
    /// If the address may not be called, or a file cannot be used.
    pub fn signed_calls(&self) -> anyhow::Result<SignedCalls> {
        self.signed(&self.outbound())
    }

    /// The same for steps and questions: they wait for their turns until their leases end.
    ///
    /// # Errors
    /// As [`Endpoint::signed_calls`].
    pub fn leased_calls(&self) -> anyhow::Result<SignedCalls> {
        self.signed(&outbound::Settings { patience: seconds(LONGEST_LEASE_S), ..self.outbound() })
    }

    fn signed(&self, settings: &outbound::Settings) -> anyhow::Result<SignedCalls> {
        let files = [self.secret_file.as_path()].into_iter().chain(named(&self.previous_secret_file));
        SignedCalls::new(settings, Keys::read(files)?, Box::new(SystemClock))
    }
}

pub(super) fn named(path: &Path) -> Option<&Path> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

/// The defaults of one server. They stand in [`DEFAULTS`] behind a `#` without a blank, because there is no
/// server to call unless somebody names one.
pub(super) fn defaults() -> Option<Table> {
    let is_setting = |line: &&str| !line.is_empty() && !line.starts_with([' ', '#']);
    let settings: Vec<&str> =
        DEFAULTS.lines().filter_map(|line| line.strip_prefix('#')).filter(is_setting).collect();
    let mut parts: Table = settings.join("\n").parse().ok()?;
    match parts.remove("connectors")?.as_table_mut()?.remove("NAME")? {
        toml::Value::Table(part) => Some(part),
        _ => None,
    }
}

/// Whether a part may be called so.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

/// What the kinds of values cannot say.
pub(super) fn problems(config: &Config) -> Vec<(String, String)> {
    let connectors = config.connectors.iter().map(|part| ("connectors", part));
    let parts = connectors.chain(config.hooks.iter().map(|part| ("hooks", part)));
    let calls = &config.devices.calls_hook;
    let unnamed = (!calls.is_empty() && !config.hooks.contains_key(calls))
        .then(|| ("devices.calls_hook".to_owned(), format!("there is no [hooks.{calls}]")));
    parts
        .flat_map(|(section, (name, endpoint))| {
            let place = move |(key, told)| (format!("{section}.{name}.{key}"), told);
            problems_of(endpoint, config.operations.lease_s).into_iter().map(place)
        })
        .chain(unnamed)
        .collect()
}

fn problems_of(endpoint: &Endpoint, lease_s: u32) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let ranges = [
        ("timeout_s", endpoint.timeout_s, 1, 60),
        ("connect_timeout_s", endpoint.connect_timeout_s, 1, 60),
        ("concurrency", endpoint.concurrency, 1, 1024),
    ];
    for (key, value, least, most) in ranges {
        if !(least..=most).contains(&value) {
            found.push((key, format!("{value} is not between {least} and {most}")));
        }
    }
    if endpoint.timeout_s >= lease_s {
        found.push(("timeout_s", format!("a call must end before operations.lease_s ({lease_s}) does")));
    }
    if endpoint.url.is_empty() {
        found.push(("url", "it is needed".to_owned()));
    } else if let Some(problem) = outbound::address_problem(&endpoint.outbound()) {
        found.push(("url", problem));
    }
    if named(&endpoint.secret_file).is_none() {
        found.push(("secret_file", "it is needed".to_owned()));
    }
    let secrets =
        [("secret_file", &endpoint.secret_file), ("previous_secret_file", &endpoint.previous_secret_file)];
    for (key, path) in secrets {
        found.extend(named(path).and_then(|path| unusable(key, Keys::read([path]))));
    }
    let roots = named(&endpoint.root_certificate);
    found.extend(roots.and_then(|path| unusable("root_certificate", outbound::read_roots(path))));
    found
}

pub(super) fn unusable<T>(key: &'static str, read: anyhow::Result<T>) -> Option<(&'static str, String)> {
    read.err().map(|error| (key, format!("{error:#}")))
}
