use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

fn kept_text(text: &str) -> Result<String, TextError> {
    Named::parse(text).map(|named| named.text())
}

fn text_of(der: &[u8]) -> String {
    STANDARD.encode(der)
}

fn made() -> rcgen::Certificate {
    let mut params = CertificateParams::new(vec!["pump-1".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn pem_and_base64_in_any_layout_are_kept_as_one_line() {
    let (certificate, other) = (made(), made());
    let line = STANDARD.encode(certificate.der());
    let pem = certificate.pem();
    let spread = line.chars().map(|c| format!(" {c}\t\r\n")).collect::<String>();
    for text in [
        line.clone(),
        spread,
        pem.clone(),
        pem.replace('\n', "\r\n"),
        pem.replace('\n', ""),
        format!("Bag Attributes: none\n{pem}{}", other.pem()),
    ] {
        assert_eq!(kept_text(&text), Ok(line.clone()), "{text}");
    }
    assert_eq!(text_of(certificate.der()), line);
}

#[test]
fn a_fingerprint_is_kept_in_lower_case_without_its_colons() {
    let kept = "ab".repeat(32);
    for text in [kept.clone(), "AB".repeat(32), ["aB"; 32].join(":"), format!(" {kept}\n")] {
        assert_eq!(kept_text(&text), Ok(kept.clone()), "{text}");
    }
}

#[test]
fn what_names_no_certificate_is_not_kept() {
    let line = STANDARD.encode(made().der());
    let unpadded = line.trim_end_matches('=').to_owned() + "A";
    let cut = STANDARD.encode(&made().der()[..100]);
    let more = STANDARD.encode([made().der(), b"more".as_slice()].concat());
    let short = "a".repeat(63);
    let odd = format!("{}:abab", ["ab"; 30].join(":"));
    for text in ["", "zzz", "not a certificate", &unpadded, &cut, &more, &short, &odd, BEGIN, "MIIB"] {
        assert_eq!(kept_text(text), Err(TextError::NoCertificate), "{text}");
    }
    assert_eq!(kept_text(&"A".repeat(MAX_TEXT_CHARS + 4)), Err(TextError::TooLong));
}

#[test]
fn the_parts_of_a_certificate_are_where_the_standard_has_them() {
    let made = made();
    let read = Certificate::parse(made.der()).unwrap();
    // 2020-01-01 and 2021-01-01, midnight.
    assert_eq!((read.not_before_s, read.not_after_s), (1_577_836_800, 1_609_459_200));
    // ecdsa-with-SHA256, and id-ecPublicKey with prime256v1 (RFC 5758, RFC 5480).
    assert_eq!(read.signature_algorithm, b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02");
    assert_eq!(
        read.key_algorithm,
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
    );
    assert_eq!((read.key.len(), read.key[0]), (65, 4));
    assert!(made.der().starts_with(b"\x30") && read.signed.starts_with(b"\x30"));
}

/// Made by OpenSSL 3.0, which makes version 1 where nobody asks for extensions.
#[test]
fn certificates_of_openssl_are_read_in_all_their_forms() {
    let ed25519: &[u8] = include_bytes!("../../testdata/x509/ed25519.der");
    let others: [&[u8]; 2] =
        [include_bytes!("../../testdata/x509/p256.der"), include_bytes!("../../testdata/x509/version-1.der")];
    assert!([ed25519].into_iter().chain(others).all(|der| Certificate::parse(der).is_some()));
    assert_eq!(kept_text(include_str!("../../testdata/x509/ed25519.pem")), Ok(text_of(ed25519)));
    assert_eq!(kept_text(include_str!("../../testdata/x509/ed25519.txt")), Ok(text_of(ed25519)));
    let fingerprint = include_str!("../../testdata/x509/fingerprint.txt");
    assert_eq!(kept_text(fingerprint), Ok(fingerprint.replace(':', "").to_lowercase()));
}

proptest! {
    #[test]
    fn no_text_and_no_bytes_break_the_reader(text in ".{0,300}", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (kept_text(&text), Certificate::parse(&bytes));
    }

    #[test]
    fn a_spoilt_certificate_is_read_or_not_and_what_is_kept_is_kept_again(at in 0_usize..300, to in any::<u8>()) {
        let mut der = made().der().to_vec();
        let place = at % der.len();
        der[place] = to;
        if let Ok(kept) = kept_text(&STANDARD.encode(&der)) {
            prop_assert_eq!(kept_text(&kept), Ok(kept.clone()));
            prop_assert!(Certificate::parse(&der).is_some());
        }
    }
}
