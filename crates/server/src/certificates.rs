//! Certificates of devices, between the words of the wires and those of the domain.

use aws_lc_rs::digest::{SHA256, digest};
use domain::Timestamp;
use domain::credentials::Certificate;
use domain::login::ShownCertificate;
use wire::x509::{self, Named, TextError};

/// The certificate that a text names.
///
/// # Errors
/// Why it names none.
pub fn named(text: &str) -> Result<Certificate, TextError> {
    let named = Named::parse(text)?;
    let text = named.text();
    let fingerprint = match named {
        Named::Certificate(der) => fingerprint(&der),
        Named::Fingerprint(digits) => digits,
    };
    Ok(Certificate { text, fingerprint })
}

/// The certificate of a handshake; `None` where it cannot be read.
pub fn shown(der: &[u8]) -> Option<ShownCertificate> {
    let read = x509::Certificate::parse(der)?;
    let moment = |seconds: i64| Timestamp(seconds.saturating_mul(1000));
    Some(ShownCertificate {
        fingerprint: fingerprint(der),
        not_before: moment(read.not_before_s),
        // It is valid to the end of the second that it names.
        expires_at: moment(read.not_after_s.saturating_add(1)),
    })
}

fn fingerprint(der: &[u8]) -> String {
    digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
