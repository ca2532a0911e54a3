//! TLS 1.2 and 1.3 with a certificate from files that may change while the server runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::Stop;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A certificate that follows its files.
#[derive(Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
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
    pub fn open(certificate: &Path, key: &Path) -> anyhow::Result<Certificate> {
        let seen = Mutex::new([stamp(certificate), stamp(key)]);
        let current = ArcSwap::new(server_config(certificate, key)?);
        Ok(Certificate { certificate: certificate.to_owned(), key: key.to_owned(), current, seen })
    }

    /// Reads the files again. One that cannot be used changes nothing and is logged.
    pub fn reload(&self) {
        *self.seen.lock() = self.stamps();
        match server_config(&self.certificate, &self.key) {
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

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [stamp(&self.certificate), stamp(&self.key)]
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
pub fn server_config(certificate: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(read_chain(certificate)?, read_key(key)?)
        .with_context(|| {
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
