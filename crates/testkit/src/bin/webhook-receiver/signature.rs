//! Whether a call is ours, whole, and of now: written from the manual, not from the server's code.

use aws_lc_rs::hmac;

/// How far apart the clocks may be, in seconds.
const TOLERANCE: u64 = 300;

/// The secrets that calls may be signed with.
pub(crate) struct Secrets(Vec<hmac::Key>);

impl Secrets {
    pub(crate) fn new<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Secrets {
        Secrets(texts.into_iter().map(|text| hmac::Key::new(hmac::HMAC_SHA256, text)).collect())
    }

    /// What is wrong with a call, if anything is.
    pub(crate) fn fault(&self, header: Option<&str>, body: &[u8], now: u64) -> Option<&'static str> {
        let Some(header) = header else { return Some("a call without a signature") };
        let parts: Vec<(&str, &str)> = header.split(',').filter_map(|part| part.split_once('=')).collect();
        let Some((_, time)) = parts.iter().find(|(name, _)| *name == "t") else {
            return Some("a signature without a time");
        };
        let message = [time.as_bytes(), b".", body].concat();
        let mut given = parts.iter().filter(|(name, _)| *name == "v1").filter_map(|(_, hex)| bytes(hex));
        let is_ours = |tag: &[u8]| self.0.iter().any(|key| hmac::verify(key, &message, tag).is_ok());
        if !given.any(|tag| is_ours(&tag)) {
            return Some("a wrong signature");
        }
        let fresh = time.parse::<u64>().is_ok_and(|time| time.abs_diff(now) <= TOLERANCE);
        (!fresh).then_some("a stale signature")
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // By `printf '1795651200.{"a":1}' | openssl dgst -sha256 -hmac correct-horse-battery`.
    const GOOD: &str = "t=1795651200,v1=16a8ffeb3b42af4618d66bb691c9e270349be48e9d8a08fc10ddf90610f1ee2a";

    fn fault(header: Option<&str>, body: &str, now: u64) -> Option<&'static str> {
        Secrets::new([&b"correct-horse-battery"[..]]).fault(header, body.as_bytes(), now)
    }

    #[test]
    fn only_what_is_signed_and_fresh_is_taken() {
        assert_eq!(fault(Some(GOOD), "{\"a\":1}", 1_795_651_300), None);
        assert_eq!(fault(Some(GOOD), "{\"a\":2}", 1_795_651_300), Some("a wrong signature"));
        assert_eq!(fault(Some(GOOD), "{\"a\":1}", 1_795_651_501), Some("a stale signature"));
        let moved = GOOD.replace("1795651200", "1795651201");
        assert_eq!(fault(Some(&moved), "{\"a\":1}", 1_795_651_300), Some("a wrong signature"));
        let exchanged = GOOD.replace("v1=", "v1=00,v1=");
        assert_eq!(fault(Some(&exchanged), "{\"a\":1}", 1_795_651_300), None);
        assert!(fault(None, "{}", 0).is_some() && fault(Some("v1=00"), "{}", 0).is_some());
    }
}
