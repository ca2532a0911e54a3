//! Public ids: derived from our own numbers, so that they need no column and no index, and
//! encrypted, so that they show neither order nor the fleet's size.
//!
//! A UUID of version 8 (RFC 9562, section 5.8): `C ‖ T` with `T = PRF("tag", key)` cut to 10 bytes with the
//! version and variant bits set, and `C = key ⊕ PRF("mask", T)`, 6 bytes. The function is the keyed
//! verifier; no credential can be one of its inputs here, for credentials hold no control characters.

use domain::{CredentialKeys, DeviceKey};

const TAG_BYTES: usize = 10;

/// The sort of thing that an id names. An id of one sort is none of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// A device.
    Device,
    /// The credentials of a device, by the device's number.
    Credential,
    /// A profile.
    Profile,
    /// A tenant.
    Tenant,
    /// An account of an operator.
    Account,
    /// A token of an operator.
    OperatorToken,
}

impl IdKind {
    fn label(self) -> &'static str {
        match self {
            IdKind::Device => "device-id",
            IdKind::Credential => "credential-id",
            IdKind::Profile => "profile-id",
            IdKind::Tenant => "tenant-id",
            IdKind::Account => "account-id",
            IdKind::OperatorToken => "operator-token-id",
        }
    }
}

/// The public id of a device.
pub(crate) fn public_id(keys: &dyn CredentialKeys, device: DeviceKey) -> String {
    id_of(keys, IdKind::Device, device.0)
}

/// The device that a public id names; `None` where the text is none of ours.
pub(super) fn device_of(keys: &dyn CredentialKeys, text: &str) -> Option<DeviceKey> {
    number_of(keys, IdKind::Device, text).map(DeviceKey)
}

/// The public id of a number below 2^48.
pub(super) fn id_of(keys: &dyn CredentialKeys, kind: IdKind, number: u64) -> String {
    let tag = tag(keys, kind, number);
    let masked = number ^ mask(keys, kind, tag);
    let number = u128::from(masked) << 80 | tag;
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The number that a public id stands for; `None` where the text is none of ours, or of another sort.
pub(super) fn number_of(keys: &dyn CredentialKeys, kind: IdKind, text: &str) -> Option<u64> {
    let hex: String = text.split('-').collect();
    if text.len() != 36 || hex.len() != 32 {
        return None;
    }
    let id = u128::from_str_radix(&hex, 16).ok()?;
    let read_tag = id & ((1 << 80) - 1);
    let masked = u64::try_from(id >> 80).ok()?;
    let number = masked ^ mask(keys, kind, read_tag);
    (tag(keys, kind, number) == read_tag).then_some(number)
}

fn tag(keys: &dyn CredentialKeys, kind: IdKind, number: u64) -> u128 {
    let mut tag = prf(keys, kind, "tag", u128::from(number), TAG_BYTES);
    tag = tag & !(0xf << 76) | 0x8 << 76;
    tag & !(0x3 << 62) | 0x2 << 62
}

fn mask(keys: &dyn CredentialKeys, kind: IdKind, tag: u128) -> u64 {
    u64::try_from(prf(keys, kind, "mask", tag, 6)).unwrap_or_default()
}

fn prf(keys: &dyn CredentialKeys, kind: IdKind, purpose: &str, input: u128, bytes: usize) -> u128 {
    let output = keys.verifier(&format!("{}\0{purpose}\0{input}", kind.label()));
    output.0.iter().take(bytes).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;
    use domain::Verifier;

    struct Test;

    impl CredentialKeys for Test {
        fn verifier(&self, text: &str) -> Verifier {
            let key = hmac::Key::new(hmac::HMAC_SHA256, b"test");
            Verifier(hmac::sign(&key, text.as_bytes()).as_ref().try_into().unwrap())
        }

        fn sha3_256_hex(&self, _: &str) -> String {
            String::new()
        }
    }

    #[test]
    fn an_id_leads_back_to_its_device_and_looks_like_a_uuid_of_version_8() {
        for key in [0, 1, 2, 17, DeviceKey::END - 1] {
            let id = public_id(&Test, DeviceKey(key));
            assert_eq!(device_of(&Test, &id), Some(DeviceKey(key)), "{id}");
            assert_eq!(id.as_bytes()[14], b'8');
            assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        }
    }

    #[test]
    fn an_id_of_one_sort_is_none_of_another() {
        let id = id_of(&Test, IdKind::Tenant, 1);
        assert_eq!(number_of(&Test, IdKind::Tenant, &id), Some(1));
        assert_eq!(number_of(&Test, IdKind::Profile, &id), None);
    }

    #[test]
    fn what_is_no_id_of_ours_names_nobody() {
        let id = public_id(&Test, DeviceKey(17));
        let changed = id.replace(|character: char| character.is_ascii_digit(), "7");
        for text in [
            "",
            "17",
            &changed,
            &id.replace('-', ""),
            &format!("{id}0"),
            "ffffffff-ffff-8fff-bfff-ffffffffffff",
        ] {
            assert_eq!(device_of(&Test, text), None, "{text}");
        }
    }
}
