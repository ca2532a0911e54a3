//! Tokens that are derived, not stored; layout 1 (secrets-at-rest page, section 2).
//!
//! ```text
//! T = HMAC-SHA-256(km, kid u8 ‖ tenant u64 ‖ device u64 ‖ generation u64)[0..16]     integers big-endian
//! C = device u48 ⊕ HMAC-SHA-256(ke, T)[0..6]
//! token = base 62 of kid ‖ C ‖ T, 31 characters
//! ```
//! A token carries its device's number, encrypted, so it is found without an index; T proves the rest.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use domain::{Credential, DeviceKey, DeviceRecord, Generation, Secret, TenantId};
use zeroize::Zeroize;

const TAG_BYTES: usize = 16;
const DEVICE_BYTES: usize = 6;
/// Characters of a token.
const TOKEN_CHARS: usize = 31;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62 to the 10th, the largest power of 62 in 64 bits: ten characters are taken at a time.
const TEN_CHARS: u128 = 839_299_365_868_340_224;

/// What makes and recognises derived tokens.
pub(super) struct TokenKeys {
    kid: u8,
    enc: hmac::Key,
    mac: hmac::Key,
}

/// A token that has the right form: which device it names, and what has to be confirmed.
pub struct Resolved {
    /// The device whose row is to be read.
    pub device: DeviceKey,
    tag: [u8; TAG_BYTES],
}

impl TokenKeys {
    pub(super) fn new(kid: u8, token_key: &[u8; 32]) -> TokenKeys {
        let token_key = hmac::Key::new(HMAC_SHA256, token_key);
        let derive =
            |label: &str| hmac::Key::new(HMAC_SHA256, hmac::sign(&token_key, label.as_bytes()).as_ref());
        TokenKeys { kid, enc: derive("muster/token/v1/enc"), mac: derive("muster/token/v1/mac") }
    }

    pub(super) fn mint(&self, tenant: TenantId, device: DeviceKey, generation: Generation) -> Secret {
        let tag = self.tag(tenant, device, generation);
        let mut bytes = [0; 24];
        let [_, kid, rest @ ..] = &mut bytes;
        *kid = self.kid;
        let (cipher, plain_tag) = rest.split_at_mut(DEVICE_BYTES);
        cipher.copy_from_slice(&self.cross(device, &tag));
        plain_tag.copy_from_slice(&tag);
        let token = Secret::new(to_base_62(&bytes));
        bytes.zeroize();
        token
    }

    pub(super) fn resolve(&self, token: &str) -> Option<Resolved> {
        let bytes = from_base_62(token)?;
        let [0, kid, rest @ ..] = bytes else { return None };
        let (cipher, tag) = rest.split_at(DEVICE_BYTES);
        let tag: [u8; TAG_BYTES] = tag.try_into().ok()?;
        let mut number = [0; 8];
        number[2..].copy_from_slice(cipher);
        let crossed = self.cross(DeviceKey(u64::from_be_bytes(number)), &tag);
        number[2..].copy_from_slice(&crossed);
        (kid == self.kid).then_some(Resolved { device: DeviceKey(u64::from_be_bytes(number)), tag })
    }

    pub(super) fn confirms(&self, resolved: &Resolved, device: &DeviceRecord) -> bool {
        let Credential::Derived(generation) = device.credential else { return false };
        let tag = self.tag(device.tenant, device.key, generation);
        resolved.device == device.key && verify_slices_are_equal(&tag, &resolved.tag).is_ok()
    }

    fn tag(&self, tenant: TenantId, device: DeviceKey, generation: Generation) -> [u8; TAG_BYTES] {
        let mut message = [0; 25];
        message[0] = self.kid;
        message[1..9].copy_from_slice(&tenant.0.to_be_bytes());
        message[9..17].copy_from_slice(&device.0.to_be_bytes());
        message[17..].copy_from_slice(&generation.0.to_be_bytes());
        first(&hmac::sign(&self.mac, &message))
    }

    /// Encrypts the device's number, or undoes it: the same both ways.
    fn cross(&self, device: DeviceKey, tag: &[u8; TAG_BYTES]) -> [u8; DEVICE_BYTES] {
        let mut crossed: [u8; DEVICE_BYTES] = first(&hmac::sign(&self.enc, tag));
        let [_, _, number @ ..] = device.0.to_be_bytes();
        crossed.iter_mut().zip(number).for_each(|(byte, part)| *byte ^= part);
        crossed
    }
}

fn first<const N: usize>(tag: &hmac::Tag) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&tag.as_ref()[..N]);
    bytes
}

/// 192 bits, most significant first, as 31 characters; the first 8 bits have to be 0.
fn to_base_62(bytes: &[u8; 24]) -> String {
    let mut limbs = limbs(bytes);
    let mut text = [b'0'; TOKEN_CHARS];
    for chunk in text.rchunks_mut(10) {
        let mut digits = divide(&mut limbs);
        for place in chunk.iter_mut().rev() {
            *place = ALPHABET[(digits % 62) as usize];
            digits /= 62;
        }
    }
    text.iter().map(|byte| char::from(*byte)).collect()
}

/// Undoes [`to_base_62`]; `None` for another length, other characters, or 2^192 and above.
fn from_base_62(token: &str) -> Option<[u8; 24]> {
    if token.len() != TOKEN_CHARS {
        return None;
    }
    let mut limbs = [0_u64; 3];
    for byte in token.bytes() {
        let mut carry = u128::from(digit(byte)?);
        for limb in limbs.iter_mut().rev() {
            let product = u128::from(*limb) * 62 + carry;
            *limb = product as u64;
            carry = product >> 64;
        }
        if carry != 0 {
            return None;
        }
    }
    let mut bytes = [0; 24];
    bytes.chunks_exact_mut(8).zip(limbs).for_each(|(part, limb)| part.copy_from_slice(&limb.to_be_bytes()));
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'Z' => Some(byte - b'A' + 10),
        b'a'..=b'z' => Some(byte - b'a' + 36),
        _ => None,
    }
}

fn limbs(bytes: &[u8; 24]) -> [u64; 3] {
    let mut limbs = [0; 3];
    for (limb, part) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        *limb = part.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    }
    limbs
}

/// Divides by 62 to the 10th and returns what is left over.
fn divide(limbs: &mut [u64; 3]) -> u64 {
    limbs.iter_mut().fold(0, |rest: u64, limb| {
        let part = u128::from(rest) << 64 | u128::from(*limb);
        *limb = (part / TEN_CHARS) as u64;
        (part % TEN_CHARS) as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{DeviceState, ProfileId, Timestamp, Version};
    use proptest::prelude::*;

    fn keys(kid: u8) -> TokenKeys {
        TokenKeys::new(kid, &std::array::from_fn(|at| at as u8))
    }

    fn device(tenant: u64, key: u64, generation: u64) -> DeviceRecord {
        DeviceRecord {
            key: DeviceKey(key),
            tenant: TenantId(tenant),
            name: "pump".into(),
            profile: ProfileId(1),
            state: DeviceState::Provisioned,
            state_since: Timestamp(0),
            credential: Credential::Derived(Generation(generation)),
            gateway: false,
            owed: domain::Owed::default(),
            version: Version(1),
        }
    }

    fn mint(keys: &TokenKeys, device: &DeviceRecord) -> Secret {
        keys.mint(device.tenant, device.key, device.credential.generation().unwrap())
    }

    #[test]
    fn the_vector_of_the_page_is_made_and_recognised() {
        let pump = device(1, 17, 0x0123_4567_89ab_cdef);
        let token = mint(&keys(1), &pump);
        assert_eq!(token.expose(), "0Jg0uY8CXOxjV6TPp006rGcDK9RCbAq");
        let resolved = keys(1).resolve(token.expose()).unwrap();
        assert_eq!(resolved.device, DeviceKey(17));
        assert!(keys(1).confirms(&resolved, &pump));
    }

    #[test]
    fn what_is_not_a_token_resolves_to_nothing() {
        let too_large = "0".to_owned() + &"z".repeat(30);
        let limit = to_limit();
        for text in [
            "",
            "0",
            &"0".repeat(32),
            &"z".repeat(31),
            &("-".to_owned() + &"0".repeat(30)),
            "ünïcödé-ünïcödé-ünïcö",
            &limit,
        ] {
            assert!(keys(0).resolve(text).is_none(), "{text}");
        }
        assert!(from_base_62(&too_large).is_some());
    }

    /// 2^184 itself: kid 0 of a number one byte too long.
    fn to_limit() -> String {
        let mut bytes = [0; 24];
        bytes[0] = 1;
        to_base_62(&bytes)
    }

    #[test]
    fn a_token_of_another_key_resolves_to_nothing() {
        assert!(keys(2).resolve(mint(&keys(1), &device(1, 17, 3)).expose()).is_none());
    }

    #[test]
    fn a_device_that_chose_its_credentials_has_no_derived_token() {
        let pump = device(1, 17, 3);
        let resolved = keys(1).resolve(mint(&keys(1), &pump).expose()).unwrap();
        let chosen = Credential::Token(Generation(3), domain::Verifier([0; 32]));
        assert!(!keys(1).confirms(&resolved, &DeviceRecord { credential: chosen, ..pump }));
    }

    proptest! {
        #[test]
        fn a_token_is_recognised_for_its_own_tenant_device_and_generation_only(
            tenant: u64, key in 0..DeviceKey::END, generation: u64, other: u64, kid: u8,
        ) {
            let (keys, pump) = (keys(kid), device(tenant, key, generation));
            let token = mint(&keys, &pump);
            prop_assert_eq!(token.expose().len(), TOKEN_CHARS);
            let resolved = keys.resolve(token.expose()).unwrap();
            prop_assert_eq!(resolved.device, pump.key);
            prop_assert!(keys.confirms(&resolved, &pump));
            prop_assert!(other == tenant || !keys.confirms(&resolved, &device(other, key, generation)));
            prop_assert!(other == generation || !keys.confirms(&resolved, &device(tenant, key, other)));
            prop_assert!(!keys.confirms(&resolved, &device(tenant, key ^ 1, generation)));
        }

        #[test]
        fn base_62_comes_back(bytes: [u8; 23]) {
            let mut padded = [0; 24];
            padded[1..].copy_from_slice(&bytes);
            prop_assert_eq!(from_base_62(&to_base_62(&padded)), Some(padded));
        }
    }
}
