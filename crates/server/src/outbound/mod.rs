//! Calls to other people's servers: one HTTP client with limits on everything, for connectors and hooks.
//!
//! A call goes to the one address that the configuration names, never through a proxy of the environment, and
//! follows no redirect: an answer that sends us elsewhere is an error. What may be called is in [`addresses`].
//! The clock runs from the moment a call has its turn to the last byte of the answer. Waiting for the turn has an
//! end of its own.
//!
//! What fails becomes a [`Fault`]. Temporary is whatever may pass by itself: nobody listens, no turn or no answer in
//! time, a connection cut, 408, 425, 429, 5xx, also a name that does not resolve. A certificate that does not verify
//! is temporary too: the usual cause is one that has run out, nothing was sent, and it is mended at the other
//! end, where nobody can resume our steps. Permanent is what asks for an operator here or a change there: every
//! other status, an answer that cannot be understood or is too large, an address that may not be called.
//!
//! The address may hold a secret in its path or query, so faults and logs show scheme, host and port alone.

mod addresses;
mod faults;
mod signed;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use engine::Fault;
use ipnet::IpNet;
use reqwest::header::{ACCEPT, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, StatusCode, Url};
use tokio::sync::{Semaphore, SemaphorePermit};

use addresses::Rules;
pub use signed::{Delivery, Keys, SignedCalls};

/// The largest answer that is read, in bytes.
pub const ANSWER_BYTES: usize = 64 * 1024;

/// How long a kept connection may do nothing. Shorter than what common servers and balancers wait, so that they
/// seldom close one just as it is taken up again.
const IDLE: Duration = Duration::from_secs(30);

/// Whom to call, and with which limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address.
    pub url: String,
    /// Whether `http` will do.
    pub allow_http: bool,
    /// Networks that may be called although they are not public.
    pub allow_networks: Vec<IpNet>,
    /// The only certificates, PEM, that are trusted; `None` means those of the system.
    pub root_certificate: Option<PathBuf>,
    /// Time for one call.
    pub timeout: Duration,
    /// Time for connecting, the handshake included.
    pub connect_timeout: Duration,
    /// The most calls at a time; others wait for their turn.
    pub concurrency: usize,
    /// How long they do.
    pub patience: Duration,
}

/// A client for one address.
#[derive(Debug)]
pub struct Outbound {
    client: Client,
    url: Url,
    turns: Semaphore,
    concurrency: usize,
    patience: Duration,
}

/// An answer of status 2xx, or of another that the caller has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The body, at most [`ANSWER_BYTES`].
    pub body: Vec<u8>,
}

impl Outbound {
    /// Prepares to call; nothing is sent yet.
    ///
    /// # Errors
    /// What is wrong with the settings, in the words of [`address_problem`] or of the file that cannot be read.
    pub fn new(settings: &Settings) -> anyhow::Result<Outbound> {
        let url = address(settings)?;
        let mut client = Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .dns_resolver(Rules::new(&settings.allow_networks))
            .timeout(settings.timeout)
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.concurrency);
        if let Some(roots) = roots(settings, &url)? {
            client = client.tls_certs_only(roots);
        }
        let client = client.build().context("cannot prepare for HTTPS")?;
        let (concurrency, patience) = (settings.concurrency, settings.patience);
        Ok(Outbound { client, url, turns: Semaphore::new(concurrency), concurrency, patience })
    }

    /// The most calls at a time.
    pub fn most_at_once(&self) -> usize {
        self.concurrency
    }

    /// Scheme, host and port, for faults and logs.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Posts a body and reads the answer; the statuses in `also` count as answers like 2xx.
    ///
    /// # Errors
    /// As the module says.
    pub async fn post(&self, headers: HeaderMap, body: Vec<u8>, also: &[StatusCode]) -> Result<Reply, Fault> {
        let _turn = self.turn().await?;
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(|error| faults::of_call(&self.origin(), &error))?;
        let status = response.status();
        let wait = faults::retry_after(response.headers().get(RETRY_AFTER));
        let body = self.read(&mut response).await;
        if status.is_success() || also.contains(&status) {
            return Ok(Reply { status, body: body? });
        }
        Err(faults::of_status(&self.origin(), status, wait, &body.unwrap_or_default()))
    }

    /// Gets what is there, whatever its status.
    ///
    /// # Errors
    /// As the module says, but for statuses.
    pub async fn get(&self) -> Result<Reply, Fault> {
        let _turn = self.turn().await?;
        let request = self.client.get(self.url.clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(|error| faults::of_call(&self.origin(), &error))?;
        let (status, body) = (response.status(), self.read(&mut response).await?);
        Ok(Reply { status, body })
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Fault> {
        match tokio::time::timeout(self.patience, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(Fault::temporary("unreachable", "the server is stopping")),
            Err(_) => Err(faults::no_turn(&self.origin(), self.concurrency)),
        }
    }

    async fn read(&self, response: &mut reqwest::Response) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(piece) =
            response.chunk().await.map_err(|error| faults::of_call(&self.origin(), &error))?
        {
            if body.len() + piece.len() > ANSWER_BYTES {
                return Err(faults::too_large(&self.origin()));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// What is wrong with an address, if anything is; for whoever writes the configuration.
pub fn address_problem(settings: &Settings) -> Option<String> {
    address(settings).err().map(|error| error.to_string())
}

fn address(settings: &Settings) -> anyhow::Result<Url> {
    let url = Url::parse(&settings.url).context("it is not an address, like https://crm.example/muster")?;
    match url.scheme() {
        "https" => {}
        "http" if settings.allow_http => {}
        "http" => {
            anyhow::bail!("what is sent could be read on the way: use https, or set `allow_http = true`")
        }
        other => anyhow::bail!("`{other}` is not https"),
    }
    anyhow::ensure!(
        url.username().is_empty() && url.password().is_none(),
        "a user name or password does not belong into an address"
    );
    // The resolver never sees an address that is written as a number.
    if let Some(literal) = literal(&url)
        && !Rules::new(&settings.allow_networks).allow(literal)
    {
        anyhow::bail!("{literal} is not a public address: name its network in `allow_networks` to call it");
    }
    Ok(url)
}

fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Where nothing is encrypted no certificate is needed, also on a machine that has none.
fn roots(settings: &Settings, url: &Url) -> anyhow::Result<Option<Vec<Certificate>>> {
    match &settings.root_certificate {
        Some(path) => read_roots(path).map(Some),
        None if url.scheme() == "http" => Ok(Some(Vec::new())),
        None => Ok(None),
    }
}

/// The certificates in a file.
///
/// # Errors
/// If it cannot be read or holds none.
pub fn read_roots(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let roots = Certificate::from_pem_bundle(&pem).ok().filter(|roots| !roots.is_empty());
    roots.with_context(|| format!("{} holds no certificate in PEM", path.display()))
}

#[cfg(test)]
mod tests;
