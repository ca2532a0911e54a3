//! Signatures that are checked without any server.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

/// Whether an Ed25519 signature (RFC 8032) over `message` is by this key; both in hexadecimal.
pub(crate) fn is_valid(public_key: &str, message: &[u8], signature: &str) -> bool {
    let (Some(key), Some(signature)) = (unhex(public_key), unhex(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(message, &signature).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 2.
    const KEY: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    const SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

    #[test]
    fn only_the_signed_message_is_valid() {
        assert!(is_valid(KEY, &[0x72], SIGNATURE));
        assert!(!is_valid(KEY, &[0x73], SIGNATURE));
        assert!(!is_valid(KEY, &[0x72], &SIGNATURE.replace('9', "8")));
        assert!(!is_valid("", &[0x72], SIGNATURE) && !is_valid("zz", &[0x72], "é"));
    }
}
