//! Certificates, as bytes of a handshake and as texts.
//!
//! Beyond not panicking: what was read as bytes is read as their text too, every part of it lies within the bytes, and
//! nothing may stand behind them; a text that is kept is kept again as it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::x509::{Certificate, Named};

fuzz_target!(|bytes: &[u8]| {
    if let Some(certificate) = Certificate::parse(bytes) {
        check_parts(bytes, &certificate);
        let named = Named::Certificate(bytes.to_vec());
        assert_eq!(Named::parse(&named.text()), Ok(named));
        assert!(Certificate::parse(&[bytes, b"\0"].concat()).is_none(), "something stands behind it");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(named) = Named::parse(text) {
        assert_eq!(Named::parse(&named.text()), Ok(named));
    }
});

fn check_parts(bytes: &[u8], certificate: &Certificate<'_>) {
    let within = bytes.as_ptr_range();
    for part in [
        certificate.signed,
        certificate.signature_algorithm,
        certificate.signature,
        certificate.key_info,
        certificate.key_algorithm,
        certificate.key,
    ] {
        let part = part.as_ptr_range();
        assert!(within.start <= part.start && part.end <= within.end);
    }
}
