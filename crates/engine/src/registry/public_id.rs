//! Public ids of devices: derived from the device's key, so that they need no column and no index, and
//! encrypted, so that they show neither order nor the fleet's size.
//!
//! A UUID of version 8 (RFC 9562, section 5.8): `C ‖ T` with `T = PRF("tag", key)` cut to 10 bytes with the
//! version and variant bits set, and `C = key ⊕ PRF("mask", T)`, 6 bytes. The function is the keyed
//! verifier; no credential can be one of its inputs here, for credentials hold no control characters.

use domain::{CredentialKeys, DeviceKey};

const TAG_BYTES: usize = 10;

/// The public id of a device.
pub(crate) fn public_id(keys: &dyn CredentialKeys, device: DeviceKey) -> String {
    let tag = tag(keys, device);
    let masked = device.0 ^ mask(keys, tag);
    let number = u128::from(masked) << 80 | tag;
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The device that a public id names; `None` where the text is none of ours.
pub(super) fn device_of(keys: &dyn CredentialKeys, text: &str) -> Option<DeviceKey> {
    let hex: String = text.split('-').collect();
    if text.len() != 36 || hex.len() != 32 {
        return None;
    }
    let number = u128::from_str_radix(&hex, 16).ok()?;
    let read_tag = number & ((1 << 80) - 1);
    let masked = u64::try_from(number >> 80).ok()?;
    let device = DeviceKey(masked ^ mask(keys, read_tag));
    (tag(keys, device) == read_tag).then_some(device)
}

fn tag(keys: &dyn CredentialKeys, device: DeviceKey) -> u128 {
    let mut tag = prf(keys, "tag", u128::from(device.0), TAG_BYTES);
    tag = tag & !(0xf << 76) | 0x8 << 76;
    tag & !(0x3 << 62) | 0x2 << 62
}

fn mask(keys: &dyn CredentialKeys, tag: u128) -> u64 {
    u64::try_from(prf(keys, "mask", tag, 6)).unwrap_or_default()
}

fn prf(keys: &dyn CredentialKeys, purpose: &str, input: u128, bytes: usize) -> u128 {
    let output = keys.verifier(&format!("device-id\0{purpose}\0{input}"));
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
