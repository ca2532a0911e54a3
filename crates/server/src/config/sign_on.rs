//! Section `[sign_on]`: by whose word people sign on.

use std::path::{Path, PathBuf};

use domain::Secret;
use domain::sign_on::{Mapping, Rules};
use ipnet::IpNet;
use serde::Deserialize;

use super::endpoints::{named, unusable};
use super::seconds;
use crate::outbound;

/// The most bytes of a client's secret.
const MOST_SECRET_BYTES: usize = 1024;

/// Section `[sign_on]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOn {
    /// An OpenID provider.
    pub openid: OpenId,
}

/// Section `[sign_on.openid]`. Every key is documented in [`super::DEFAULTS`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenId {
    /// The provider; empty means none.
    pub issuer: String,
    /// What we are called there.
    pub client_id: String,
    /// The file of the client's secret; empty means that it has none.
    pub client_secret_file: PathBuf,
    /// What the provider is asked to tell.
    pub scopes: Vec<String>,
    /// The claim that carries groups.
    pub claim: String,
    /// What groups may do here.
    pub roles: Vec<String>,
    /// The domains of e-mail addresses that may sign on.
    pub email_domains: Vec<String>,
    /// Where the provider sends a person back to.
    pub redirect_uri: String,
    /// How long a session lasts without a new word of the provider, in hours.
    pub session_h: u32,
    /// Time for one call, in seconds.
    pub timeout_s: u32,
    /// Time for connecting, in seconds.
    pub connect_timeout_s: u32,
    /// Whether plain HTTP will do.
    pub allow_http: bool,
    /// Networks that may be called although they are not public.
    pub allow_networks: Vec<IpNet>,
    /// The only certificates that are trusted; empty means those of the system.
    pub root_certificate: PathBuf,
}

impl OpenId {
    /// Whether there is a provider.
    pub fn is_on(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// Whose word counts, and for what. Mappings that cannot be read are left out; the check has told them.
    pub fn rules(&self) -> Rules {
        Rules {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            mappings: self.roles.iter().filter_map(|text| Mapping::parse(text)).collect(),
            email_domains: self.email_domains.clone(),
        }
    }

    /// The client's secret, if it has one.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn client_secret(&self) -> anyhow::Result<Option<Secret>> {
        named(&self.client_secret_file).map(read_secret).transpose()
    }

    /// What the client for an address of the provider takes.
    pub fn outbound(&self, url: &str) -> outbound::Settings {
        outbound::Settings {
            url: url.to_owned(),
            allow_http: self.allow_http,
            allow_networks: self.allow_networks.clone(),
            root_certificate: named(&self.root_certificate).map(Path::to_owned),
            timeout: seconds(self.timeout_s),
            connect_timeout: seconds(self.connect_timeout_s),
            concurrency: 8,
            patience: seconds(self.timeout_s),
        }
    }
}

fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    use anyhow::Context;
    let text = zeroize::Zeroizing::new(
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
    );
    let secret = text.trim();
    anyhow::ensure!(
        (1..=MOST_SECRET_BYTES).contains(&secret.len()),
        "{} holds no secret of 1 to {MOST_SECRET_BYTES} bytes",
        path.display()
    );
    Ok(Secret::new(secret))
}

/// What the kinds of values cannot say.
pub(super) fn problems(openid: &OpenId) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let ranges = [
        ("sign_on.openid.session_h", openid.session_h, 1, 720),
        ("sign_on.openid.timeout_s", openid.timeout_s, 1, 60),
        ("sign_on.openid.connect_timeout_s", openid.connect_timeout_s, 1, 60),
    ];
    for (key, value, least, most) in ranges {
        if !(least..=most).contains(&value) {
            found.push((key, format!("{value} is not between {least} and {most}")));
        }
    }
    if openid.is_on() {
        found.extend(problems_of(openid));
    }
    found
}

fn problems_of(openid: &OpenId) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let problem = outbound::address_problem(&openid.outbound(&openid.issuer));
    found.extend(problem.map(|told| ("sign_on.openid.issuer", told)));
    let needed = [
        ("sign_on.openid.client_id", openid.client_id.is_empty()),
        ("sign_on.openid.claim", openid.claim.is_empty()),
        ("sign_on.openid.roles", openid.roles.is_empty()),
    ];
    let missing = needed.into_iter().filter(|(_, empty)| *empty);
    found.extend(missing.map(|(key, _)| (key, "it is needed with a provider".to_owned())));
    let unread = openid.roles.iter().find(|text| Mapping::parse(text).is_none());
    let told = |text| format!("`{text}` is not like `GROUP -> ROLE` or `GROUP -> ROLE in TENANT`");
    found.extend(unread.map(|text| ("sign_on.openid.roles", told(text))));
    if !openid.scopes.iter().any(|scope| scope == "openid") {
        found.push(("sign_on.openid.scopes", "`openid` has to be among them".to_owned()));
    }
    if !reqwest::Url::parse(&openid.redirect_uri).is_ok_and(|url| is_loopback(&url)) {
        let told = "it is not an address of this machine, like http://127.0.0.1/callback";
        found.push(("sign_on.openid.redirect_uri", told.to_owned()));
    }
    found.extend(unusable("sign_on.openid.client_secret_file", openid.client_secret()));
    let roots = named(&openid.root_certificate);
    found.extend(
        roots.and_then(|path| unusable("sign_on.openid.root_certificate", outbound::read_roots(path))),
    );
    found
}

/// Whether only the machine that opens an address answers there.
pub(crate) fn is_loopback(url: &reqwest::Url) -> bool {
    url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"))
}
