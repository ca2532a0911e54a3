//! Envelope format 1 (secrets-at-rest page, section 4): one data key per value, wrapped by a key-encryption key.
//!
//! ```text
//! u8   format = 1
//! u8   suite  = 1: AES-256-GCM, nonces of 12 bytes
//! u16  length of the key-encryption key's id (big-endian), and the id in ASCII
//! u16  length of the wrapped data key, and the wrapped data key
//! nonce ‖ ciphertext ‖ tag
//! ```

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::kek::{KeyError, KeyProvider};

const FORMAT: u8 = 1;
const SUITE_AES_256_GCM: u8 = 1;
const MAX_ID_BYTES: usize = 64;
/// The length of a nonce of AES-256-GCM.
pub(super) const NONCE_BYTES: usize = 12;

/// What a value belongs to; part of what its tag covers, so that it opens nowhere else.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) tenant: &'a str,
    pub(super) kind: &'a str,
    pub(super) record: &'a str,
    pub(super) field: &'a str,
    pub(super) generation: u64,
}

/// Which of the two layers a tag belongs to.
#[derive(Clone, Copy)]
pub(super) enum Layer {
    /// The wrapped data key.
    Dek,
    /// The value.
    Data,
}

/// What is drawn anew for each value.
pub(super) struct Fresh {
    pub(super) dek: Zeroizing<[u8; 32]>,
    pub(super) nonce: [u8; NONCE_BYTES],
}

impl Context<'_> {
    /// The additional data of a layer: each part with its length before it.
    pub(super) fn aad(&self, layer: Layer) -> Vec<u8> {
        let layer = match layer {
            Layer::Dek => "dek",
            Layer::Data => "data",
        };
        let generation = self.generation.to_string();
        let mut aad = b"provsec/v1\0".to_vec();
        for part in [layer, self.tenant, self.kind, self.record, self.field, &generation] {
            push_sized(&mut aad, part.as_bytes());
        }
        aad
    }
}

/// Seals a value.
pub(super) fn seal(
    kek: &dyn KeyProvider,
    context: &Context<'_>,
    clear: &[u8],
    fresh: &Fresh,
) -> Result<Vec<u8>, KeyError> {
    if kek.id().is_empty() || kek.id().len() > MAX_ID_BYTES || !kek.id().is_ascii() {
        return Err(KeyError("the key-encryption key's id needs 1 to 64 ASCII characters".to_owned()));
    }
    let wrapped = kek.wrap(&fresh.dek, &context.aad(Layer::Dek))?;
    let mut blob = vec![FORMAT, SUITE_AES_256_GCM];
    push_sized(&mut blob, kek.id().as_bytes());
    push_sized(&mut blob, &wrapped);
    blob.extend(encrypt(&fresh.dek, fresh.nonce, &context.aad(Layer::Data), clear)?);
    Ok(blob)
}

/// Opens a value; `None` where anything at all is wrong with it.
pub(super) fn open(kek: &dyn KeyProvider, context: &Context<'_>, blob: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let [FORMAT, SUITE_AES_256_GCM, rest @ ..] = blob else { return None };
    let (id, rest) = split_sized(rest)?;
    let (wrapped, body) = split_sized(rest)?;
    if id != kek.id().as_bytes() {
        return None;
    }
    let dek = kek.unwrap(wrapped, &context.aad(Layer::Dek)).ok()?;
    decrypt(&dek, &context.aad(Layer::Data), body)
}

/// The same value with its data key wrapped by another key-encryption key; `None` where it does not open. The
/// value itself is neither opened nor changed.
pub(super) fn rewrap(
    old: &dyn KeyProvider,
    new: &dyn KeyProvider,
    context: &Context<'_>,
    blob: &[u8],
) -> Option<Vec<u8>> {
    let [FORMAT, SUITE_AES_256_GCM, rest @ ..] = blob else { return None };
    let (id, rest) = split_sized(rest)?;
    let (wrapped, body) = split_sized(rest)?;
    if id != old.id().as_bytes() {
        return None;
    }
    let aad = context.aad(Layer::Dek);
    let dek = old.unwrap(wrapped, &aad).ok()?;
    let mut blob = vec![FORMAT, SUITE_AES_256_GCM];
    push_sized(&mut blob, new.id().as_bytes());
    push_sized(&mut blob, &new.wrap(&dek, &aad).ok()?);
    blob.extend_from_slice(body);
    Some(blob)
}

/// The id of the key-encryption key that sealed a value.
pub(super) fn kek_id(blob: &[u8]) -> Option<&str> {
    let [FORMAT, _, rest @ ..] = blob else { return None };
    std::str::from_utf8(split_sized(rest)?.0).ok()
}

/// `nonce ‖ ciphertext ‖ tag` by AES-256-GCM.
pub(super) fn encrypt(
    key: &[u8; 32],
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    clear: &[u8],
) -> Result<Vec<u8>, KeyError> {
    // The clear text goes into a buffer that never grows again, so that no copy of it is left behind.
    let mut sealed = Vec::with_capacity(NONCE_BYTES + clear.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(clear);
    let (_, body) = sealed.split_at_mut(NONCE_BYTES);
    let tag = cipher(key)
        .and_then(|cipher| {
            cipher.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body).ok()
        })
        .ok_or_else(|| KeyError("a value could not be sealed".to_owned()))?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Undoes [`encrypt`]; `None` where anything is wrong.
pub(super) fn decrypt(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let mut clear = Zeroizing::new(body.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = cipher(key)?.open_in_place(nonce, Aad::from(aad), &mut clear).ok()?.len();
    clear.truncate(length);
    Some(clear)
}

fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

fn push_sized(out: &mut Vec<u8>, part: &[u8]) {
    let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&part[..usize::from(length)]);
}

fn split_sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::super::kek::tests::FixedNonce;
    use super::*;

    const CONTEXT: Context<'_> = Context {
        tenant: "acme",
        kind: "broker_credential",
        record: "robots/dev1",
        field: "password",
        generation: 1,
    };
    const CLEAR: &[u8] = b"381pvYSuC6akr450";
    const AAD: &str = "70726f767365632f763100000464617461000461636d65001162726f6b65725f63726564656e7469616c000b726f626f74732f64657631000870617373776f7264000131";
    const BLOB: &str = "0101000c66696c653a323032362d3031003ca0a1a2a3a4a5a6a7a8a9aaabc6395e0e61ee24984a4cadf82b57eef1409d6b23a682745ba4371cbd43964b3e0199a4d1e12ef178b03e93d7c5fcc0c3b0b1b2b3b4b5b6b7b8b9babb05c21b37e47a9b7b713b7c917109a8064a3cf60c9cab3b97f5a95815ce2bd950";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn kek() -> FixedNonce {
        FixedNonce::new(
            "file:2026-01",
            std::array::from_fn(|at| at as u8),
            std::array::from_fn(|at| 0xa0 + at as u8),
        )
    }

    fn sealed() -> Vec<u8> {
        let dek = Zeroizing::new(std::array::from_fn(|at| 0x20 + at as u8));
        let nonce = std::array::from_fn(|at| 0xb0 + at as u8);
        seal(&kek(), &CONTEXT, CLEAR, &Fresh { dek, nonce }).unwrap()
    }

    #[test]
    fn the_vector_of_the_page_is_made_and_opened_byte_for_byte() {
        assert_eq!(hex(&CONTEXT.aad(Layer::Data)), AAD);
        assert_eq!(hex(&sealed()), BLOB);
        assert_eq!(open(&kek(), &CONTEXT, &sealed()).unwrap().as_slice(), CLEAR);
        assert_eq!(kek_id(&sealed()), Some("file:2026-01"));
    }

    #[test]
    fn a_rewrapped_value_opens_with_the_new_key_alone_and_its_body_stays() {
        let new = super::super::LocalKek::new("file:2", Zeroizing::new([9; 32]));
        let rewrapped = rewrap(&kek(), &new, &CONTEXT, &sealed()).unwrap();
        assert_eq!(open(&new, &CONTEXT, &rewrapped).unwrap().as_slice(), CLEAR);
        assert!(open(&kek(), &CONTEXT, &rewrapped).is_none());
        let body = 12 + CLEAR.len() + 16;
        assert_eq!(rewrapped[rewrapped.len() - body..], sealed()[sealed().len() - body..]);
        let moved = Context { generation: 2, ..CONTEXT };
        assert!(rewrap(&kek(), &new, &moved, &sealed()).is_none());
    }

    #[test]
    fn every_single_flipped_bit_fails() {
        let blob = sealed();
        for bit in 0..blob.len() * 8 {
            let mut flipped = blob.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&kek(), &CONTEXT, &flipped).is_none(), "bit {bit}");
        }
        for length in 0..blob.len() {
            assert!(open(&kek(), &CONTEXT, &blob[..length]).is_none(), "{length} bytes");
        }
    }

    #[test]
    fn a_value_opens_in_no_other_place() {
        let others = [
            Context { tenant: "acmf", ..CONTEXT },
            Context { kind: "pepper", ..CONTEXT },
            Context { record: "robots/dev2", ..CONTEXT },
            Context { field: "token", ..CONTEXT },
            Context { generation: 2, ..CONTEXT },
            Context { tenant: "acm", kind: "ebroker_credential", ..CONTEXT },
        ];
        for other in others {
            assert!(open(&kek(), &other, &sealed()).is_none());
        }
    }
}
