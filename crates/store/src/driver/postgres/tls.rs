//! TLS towards the database, in libpq's words: disable, prefer, require, verify-ca, verify-full.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreError;

/// Whose certificate is trusted.
#[derive(Clone)]
pub(super) enum Trust {
    /// Anybody's: whoever listens cannot read, whoever sits in between can.
    Anybody,
    /// Those that lead to these roots, whatever name they bear.
    Chain(Arc<RootCertStore>),
    /// Those that lead to these roots and bear the name of the host.
    Name(Arc<RootCertStore>),
}

/// What a word of `sslmode` asks for.
///
/// # Errors
/// An unknown word; verification without a root certificate; a root certificate that cannot be read.
pub(super) fn mode(word: Option<&str>, root: Option<&Path>) -> Result<(SslMode, Trust), String> {
    let roots = root.map(read_roots).transpose()?.map(Arc::new);
    let needed = |word| {
        roots
            .clone()
            .ok_or_else(|| format!("sslmode={word} needs a root certificate: set database.root_certificate"))
    };
    // A root certificate that was given is used, as libpq does.
    let chain = || roots.clone().map_or(Trust::Anybody, Trust::Chain);
    match word.unwrap_or("prefer") {
        "disable" => Ok((SslMode::Disable, Trust::Anybody)),
        "allow" | "prefer" => Ok((SslMode::Prefer, Trust::Anybody)),
        "require" => Ok((SslMode::Require, chain())),
        "verify-ca" => Ok((SslMode::Require, Trust::Chain(needed("verify-ca")?))),
        "verify-full" => Ok((SslMode::Require, Trust::Name(needed("verify-full")?))),
        other => Err(format!(
            "sslmode is disable, prefer, require, verify-ca or verify-full, not `{}`",
            other.chars().take(20).collect::<String>()
        )),
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let pem = std::fs::read(path).map_err(|error| told(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.map_err(|error| told(&error))?).map_err(|error| told(&error))?;
    }
    if roots.is_empty() { Err(told(&"it holds no certificate")) } else { Ok(roots) }
}

pub(super) fn connector(trust: &Trust) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let failed = |error: &dyn std::fmt::Display| StoreError::Unavailable(format!("TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let verifier = |roots: &Arc<RootCertStore>| {
        WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| failed(&error))
    };
    let lenient = |inner| Arc::new(Lenient { inner, provider: Arc::clone(&provider) });
    let config = match trust {
        Trust::Name(roots) => builder.with_webpki_verifier(verifier(roots)?),
        Trust::Chain(roots) => {
            builder.dangerous().with_custom_certificate_verifier(lenient(Some(verifier(roots)?)))
        }
        Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(lenient(None)),
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

/// Verifies the chain but not the name, or nothing but that the other side holds its key.
#[derive(Debug)]
struct Lenient {
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
