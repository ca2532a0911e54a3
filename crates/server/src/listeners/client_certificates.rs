//! Certificates that clients show in a handshake: taken from whoever holds the private key, and judged later.
//!
//! No root is known here, and none is looked for: a device is known by its very certificate. Of a chain each certificate
//! has to be signed with the key of the next one, and nothing more (thingsboard page, section 8).

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use wire::x509::Certificate;

/// The most certificates of a chain: each costs the checking of a signature.
const MOST_IN_CHAIN: usize = 10;

/// Lets in whoever shows no certificate, or one whose private key he has.
#[derive(Debug)]
pub(super) struct AnyHolder {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyHolder {
    pub(super) fn new(provider: &CryptoProvider) -> AnyHolder {
        AnyHolder { algorithms: provider.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AnyHolder {
    /// None: a client that is told names of issuers keeps a certificate of another one to itself.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= MOST_IN_CHAIN {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let mut below = read(end_entity)?;
        for issuer in intermediates {
            let issuer = read(issuer)?;
            if !self.has_signed(&issuer, &below) {
                return Err(CertificateError::BadSignature.into());
            }
            below = issuer;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let holder = read(certificate)?;
        let of_scheme = |(scheme, _): &&(SignatureScheme, _)| *scheme == signed.scheme;
        let mapped = self.algorithms.mapping.iter().find(of_scheme);
        let mut algorithms = mapped.into_iter().flat_map(|(_, algorithms)| *algorithms);
        match algorithms.any(|it| fits(*it, &holder, message, signed.signature())) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(read(certificate)?.key_info);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl AnyHolder {
    fn has_signed(&self, issuer: &Certificate<'_>, below: &Certificate<'_>) -> bool {
        let named = |it: &&&dyn SignatureVerificationAlgorithm| {
            it.signature_alg_id().as_ref() == below.signature_algorithm
        };
        let mut algorithms = self.algorithms.all.iter().filter(named);
        algorithms.any(|it| fits(*it, issuer, below.signed, below.signature))
    }
}

fn read<'a>(certificate: &'a CertificateDer<'_>) -> Result<Certificate<'a>, Error> {
    Certificate::parse(certificate).ok_or_else(|| CertificateError::BadEncoding.into())
}

/// Whether the holder's key has made this signature.
fn fits(
    algorithm: &dyn SignatureVerificationAlgorithm,
    holder: &Certificate<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    algorithm.public_key_alg_id().as_ref() == holder.key_algorithm
        && algorithm.verify_signature(holder.key, message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::crypto::aws_lc_rs::default_provider;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn judged(chain: &[CertificateDer<'static>]) -> Result<(), Error> {
        let verifier = AnyHolder::new(&default_provider());
        verifier
            .verify_client_cert(&chain[0], &chain[1..], UnixTime::since_unix_epoch(Default::default()))
            .map(drop)
    }

    #[test]
    fn each_certificate_of_a_chain_is_signed_with_the_key_of_the_next() {
        let (issuer, stranger) = (authority(), authority());
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(Vec::new()).unwrap().signed_by(&key, &issuer).unwrap();
        let [leaf, issuer, stranger] = [leaf.der(), issuer.der(), stranger.der()].map(Clone::clone);
        assert_eq!(judged(std::slice::from_ref(&leaf)), Ok(()));
        assert_eq!(judged(&[leaf.clone(), issuer.clone()]), Ok(()));
        let broken = Err(CertificateError::BadSignature.into());
        assert_eq!(judged(&[leaf.clone(), stranger.clone()]), broken);
        assert_eq!(judged(&[leaf, issuer, stranger]), broken);
    }

    #[test]
    fn what_is_no_certificate_and_a_chain_without_end_are_not_taken() {
        assert_eq!(judged(&[CertificateDer::from(b"0".to_vec())]), Err(CertificateError::BadEncoding.into()));
        let issuer = authority().der().clone();
        assert_eq!(judged(&vec![issuer.clone(); MOST_IN_CHAIN]), Ok(()));
        assert!(judged(&vec![issuer; MOST_IN_CHAIN + 1]).is_err());
    }
}
