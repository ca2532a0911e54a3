//! Certificates of devices: as texts that people and programs hand over, and as the bytes of a handshake.
//!
//! Nothing here judges a signature. [`Certificate`] says what was signed, by which algorithm and with which key, and
//! whoever has the algorithms judges.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Reader, SliceReader, Tag, Tagged};
use x509_cert::time::Time;

/// The most characters of a certificate's text (thingsboard page, section 6.1).
pub const MAX_TEXT_CHARS: usize = 16 << 10;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Hexadecimal digits of a SHA-256.
const FINGERPRINT_DIGITS: usize = 64;

/// Why a text names no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It has more than [`MAX_TEXT_CHARS`] characters.
    #[error("the certificate is longer than {MAX_TEXT_CHARS} characters")]
    TooLong,
    /// It is neither a certificate nor a fingerprint.
    #[error("neither an X.509 certificate in PEM or base64 nor a SHA-256 fingerprint")]
    NoCertificate,
}

/// What a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A certificate: its DER.
    Certificate(Vec<u8>),
    /// The SHA-256 of a certificate's DER, in lower-case hexadecimal.
    Fingerprint(String),
}

impl Named {
    /// Reads a text (thingsboard page, section 6.3): a certificate in PEM or as base64 of its DER, or a fingerprint in
    /// hexadecimal. Of several certificates the first counts; white space never does.
    ///
    /// # Errors
    /// [`TextError`]
    pub fn parse(text: &str) -> Result<Named, TextError> {
        let first = text.split_once(BEGIN).map_or(text, |(_, behind)| behind);
        let first = first.split(END).next().unwrap_or_default();
        let plain: String = first.chars().filter(|c| !c.is_whitespace()).collect();
        if let Some(fingerprint) = fingerprint(&plain) {
            return Ok(Named::Fingerprint(fingerprint));
        }
        if plain.len() > MAX_TEXT_CHARS {
            return Err(TextError::TooLong);
        }
        let der = STANDARD.decode(&plain).map_err(|_| TextError::NoCertificate)?;
        let is_certificate = Certificate::parse(&der).is_some();
        is_certificate.then_some(Named::Certificate(der)).ok_or(TextError::NoCertificate)
    }

    /// What it is kept as: the base64 of a certificate's DER in one line, or the digits of a fingerprint.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Named::Certificate(der) => STANDARD.encode(der),
            Named::Fingerprint(digits) => digits.clone(),
        }
    }
}

/// 64 hexadecimal digits, or 32 pairs of them with colons in between.
fn fingerprint(text: &str) -> Option<String> {
    let digits = match text.contains(':') {
        true => text.split(':').map(|pair| (pair.len() == 2).then_some(pair)).collect::<Option<String>>()?,
        false => text.to_owned(),
    };
    let fits = digits.len() == FINGERPRINT_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| digits.to_ascii_lowercase())
}

/// The parts of a certificate (RFC 5280, section 4.1) that a handshake and a login need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// What its issuer has signed, as DER.
    pub signed: &'a [u8],
    /// The algorithm of that signature: the contents of its `AlgorithmIdentifier`.
    pub signature_algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    /// The holder's public key with its algorithm, as DER.
    pub key_info: &'a [u8],
    /// The contents of the key's `AlgorithmIdentifier`.
    pub key_algorithm: &'a [u8],
    /// The key itself.
    pub key: &'a [u8],
    /// From when on it is valid, in seconds since 1970.
    pub not_before_s: i64,
    /// The last second in which it is valid, since 1970.
    pub not_after_s: i64,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate's DER; `None` where it is none, or something stands behind it.
    #[must_use]
    pub fn parse(der: &'a [u8]) -> Option<Certificate<'a>> {
        let read = x509_cert::Certificate::from_der(der).ok()?;
        let [signed, signature_algorithm, signature] = elements(der)?[..] else { return None };
        let mut parts = elements(signed)?.into_iter();
        // Version 1 is left out; behind it are serial number, algorithm, issuer, validity and subject.
        let behind = if tag(parts.as_slice().first()?)?.is_context_specific() { 6 } else { 5 };
        let key_info = parts.nth(behind)?;
        let [key_algorithm, key] = elements(key_info)?[..] else { return None };
        let validity = read.tbs_certificate.validity;
        Some(Certificate {
            signed,
            signature_algorithm: contents(signature_algorithm)?,
            signature: whole_bytes(signature)?,
            key_info,
            key_algorithm: contents(key_algorithm)?,
            key: whole_bytes(key)?,
            not_before_s: seconds(validity.not_before),
            not_after_s: seconds(validity.not_after),
        })
    }
}

impl fmt::Debug for Certificate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}..={})", self.not_before_s, self.not_after_s)
    }
}

fn seconds(time: Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

fn tag(der: &[u8]) -> Option<Tag> {
    Some(AnyRef::from_der(der).ok()?.tag())
}

/// What is in a DER element.
fn contents(der: &[u8]) -> Option<&[u8]> {
    Some(AnyRef::from_der(der).ok()?.value())
}

/// The elements of a DER sequence, each with its header.
fn elements(der: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = SliceReader::new(contents(der)?).ok()?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        found.push(reader.tlv_bytes().ok()?);
    }
    Some(found)
}

/// The bytes of a BIT STRING that has no unused bits.
fn whole_bytes(der: &[u8]) -> Option<&[u8]> {
    contents(der)?.strip_prefix(&[0])
}

#[cfg(test)]
mod tests;
