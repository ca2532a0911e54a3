//! TLS 1.2 and 1.3 with a certificate from files that may change while the server runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::Acceptor;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::Stop;
use super::client_certificates::AnyHolder;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Handshakes at a time, for each processor.
const HANDSHAKES_PER_CORE: usize = 64;

/// How long a handshake waits for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Whether those who connect are asked for a certificate of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// They are not.
    Unasked,
    /// They may show one, and whoever they are is judged later.
    Asked,
}

/// A certificate that follows its files.
#[derive(Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    clients: Clients,
    current: ArcSwap<ServerConfig>,
    seen: Mutex<[Option<Stamp>; 2]>,
}

/// What changes when a file changes.
type Stamp = (SystemTime, u64);

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn open(certificate: &Path, key: &Path, clients: Clients) -> anyhow::Result<Certificate> {
        let seen = Mutex::new([stamp(certificate), stamp(key)]);
        let current = ArcSwap::new(server_config(certificate, key, clients)?);
        Ok(Certificate { certificate: certificate.to_owned(), key: key.to_owned(), clients, current, seen })
    }

    /// Reads the files again. One that cannot be used changes nothing and is logged.
    pub fn reload(&self) {
        *self.seen.lock() = self.stamps();
        match server_config(&self.certificate, &self.key, self.clients) {
            Ok(config) => {
                self.current.store(config);
                tracing::info!(path = %self.certificate.display(), "the certificate was read anew");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(path = %self.certificate.display(), error, "the old certificate stays");
            }
        }
    }

    /// Reads the files again whenever they have changed, until it is time to stop.
    pub async fn follow(&self, mut stop: Stop) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.asked() => return,
                _ = looks.tick() => {}
            }
            if *self.seen.lock() != self.stamps() {
                self.reload();
            }
        }
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [stamp(&self.certificate), stamp(&self.key)]
    }
}

/// How the connections of a listener become encrypted. A clone is the same.
#[derive(Clone)]
pub struct Handshakes {
    certificate: Arc<Certificate>,
    within: Duration,
    turns: Arc<Semaphore>,
}

impl Handshakes {
    /// Under this certificate; whoever takes longer than `within` is given up.
    pub fn new(certificate: Arc<Certificate>, within: Duration) -> Handshakes {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Handshakes { certificate, within, turns: Arc::new(Semaphore::new(cores * HANDSHAKES_PER_CORE)) }
    }

    /// The encrypted connection; `None` where it came to nothing. Each runs in its caller's own task. Whoever says nothing
    /// has no turn, and whoever waits for one because others dawdle goes on without.
    pub(super) async fn shake(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let handshake = async {
            let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await.ok()?;
            let _turn = tokio::time::timeout(LONGEST_WAIT, self.turns.acquire()).await;
            begun.into_stream(self.certificate.current.load_full()).await.ok()
        };
        tokio::time::timeout(self.within, handshake).await.ok()?
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// What a certificate and its key become.
///
/// # Errors
/// If a file cannot be read, holds nothing of the kind, or the two do not belong together.
pub fn server_config(certificate: &Path, key: &Path, clients: Clients) -> anyhow::Result<Arc<ServerConfig>> {
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let config = match clients {
        Clients::Unasked => config.with_no_client_auth(),
        Clients::Asked => config.with_client_cert_verifier(Arc::new(AnyHolder::new(&default_provider()))),
    };
    let config = config.with_single_cert(read_chain(certificate)?, read_key(key)?).with_context(|| {
        format!("{} and {} cannot be used together", certificate.display(), key.display())
    })?;
    Ok(Arc::new(config))
}

fn read_chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let told = || format!("{} holds no certificate chain in PEM", path.display());
    let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.with_context(told)?;
    anyhow::ensure!(!chain.is_empty(), told());
    Ok(chain)
}

fn read_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path)
        .with_context(|| format!("{} holds no private key in PEM", path.display()))
}
