//! An HTTPS client that trusts one test authority and says which certificate it was shown.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use testkit::http::HttpConnection;

use crate::PATIENCE;

/// The name that every certificate of an [`Authority`] is for.
const NAME: &str = "muster.test";

/// A certificate authority for one test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    trust: Arc<ClientConfig>,
}

/// A server's certificate with its key, both PEM, and the certificate as it is shown in a handshake.
#[derive(Debug)]
pub struct Identity {
    /// The chain.
    pub chain: String,
    /// The private key.
    pub key: String,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trust = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let trust = Arc::new(trust.with_root_certificates(roots).with_no_client_auth());
        Ok(Self { issuer, trust })
    }

    /// A new certificate for the server.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn identity(&self) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![NAME.to_owned()])?.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            certificate: certificate.der().clone(),
        })
    }

    /// Connects, with the handshake done; a certificate of another authority is an error.
    ///
    /// # Errors
    /// If nobody listens, or the handshake fails.
    pub fn connect(&self, address: SocketAddr) -> Result<Https> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(NAME)?;
        let mut session = ClientConnection::new(Arc::clone(&self.trust), name)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket).context("the handshake failed")?;
        }
        Ok(Https(HttpConnection::over(StreamOwned::new(session, socket), NAME)))
    }
}

/// A kept connection.
#[derive(Debug)]
pub struct Https(HttpConnection<StreamOwned<ClientConnection, TcpStream>>);

impl Https {
    /// The certificate that the server showed.
    #[must_use]
    pub fn shown(&self) -> Option<CertificateDer<'static>> {
        let shown = self.0.stream().conn.peer_certificates()?;
        Some(shown.first()?.clone().into_owned())
    }

    /// The connection.
    pub fn http(&mut self) -> &mut HttpConnection<StreamOwned<ClientConnection, TcpStream>> {
        &mut self.0
    }
}
