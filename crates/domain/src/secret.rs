//! Secrets and what we compare in their place.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A text that must not be seen: wiped when dropped, printed as `Secret(…)`, never compared in clear.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself. Every caller is a place where a secret leaves; keep them few.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A keyed digest of a secret (HMAC-SHA-256 under the server's pepper): useless to whoever reads it,
/// enough to recognise the secret when it is offered again. Compared in constant time.
#[derive(Clone, Copy)]
pub struct Verifier(pub [u8; 32]);

impl PartialEq for Verifier {
    fn eq(&self, other: &Verifier) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Verifier {}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        assert_eq!(format!("{:?} {:?}", Secret::new("hush"), Verifier([7; 32])), "Secret(…) Verifier(…)");
    }
}
