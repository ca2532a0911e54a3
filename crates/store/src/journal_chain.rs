//! The tamper-evident chain: each journal entry carries a keyed digest of itself and of the one before it.
//!
//! `link = HMAC-SHA-256(journal key, previous link ‖ header ‖ SHA-256(salt ‖ detail))`; the first entry of
//! a writer follows 32 zero bytes. The header is unambiguous, integers big-endian:
//!
//! ```text
//! "muster/journal/v1" 0x00
//! writer u64, number u64, at i64 (milliseconds since 1970), tenant u64 (0: none)
//! 0x00, or 0x01 and device u64
//! key number u32
//! u16 length and kind, u16 length and actor
//! ```
//! The detail enters as a digest under a random salt of 16 bytes, so ageing and erasure can put the digest
//! in the place of salt and detail, and the chain still holds.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::{constant_time, hmac};

/// A link of the chain.
pub(crate) type Link = [u8; 32];

/// What the first entry of a writer follows.
pub(crate) const START: Link = [0; 32];

pub(crate) const SALT_BYTES: usize = 16;
/// Stored before salt and detail.
pub(crate) const WHOLE: u8 = 1;
/// Stored before the digest that took their place.
pub(crate) const DIGEST: u8 = 0;

/// Who wrote what when, in the form that is chained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) writer: u64,
    pub(crate) number: u64,
    pub(crate) at: i64,
    pub(crate) tenant: u64,
    pub(crate) device: Option<u64>,
    pub(crate) key_id: u32,
    pub(crate) kind: &'a str,
    pub(crate) actor: &'a str,
}

impl Header<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"muster/journal/v1\0");
        out.extend_from_slice(&self.writer.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.at.to_be_bytes());
        out.extend_from_slice(&self.tenant.to_be_bytes());
        out.push(u8::from(self.device.is_some()));
        if let Some(device) = self.device {
            out.extend_from_slice(&device.to_be_bytes());
        }
        out.extend_from_slice(&self.key_id.to_be_bytes());
        for text in [self.kind, self.actor] {
            // Texts that are stored are shorter than this; a longer one that was smuggled in links to nothing.
            out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// The link of an entry. `detail` is what is stored: [`WHOLE`], salt and JSON, or [`DIGEST`] and their digest.
/// `None` where it is neither.
pub(crate) fn link(key: &hmac::Key, previous: &Link, header: &Header<'_>, detail: &[u8]) -> Option<Link> {
    let mut message = Vec::with_capacity(256);
    message.extend_from_slice(previous);
    header.encode(&mut message);
    match detail {
        [WHOLE, salted @ ..] if salted.len() >= SALT_BYTES => {
            message.extend_from_slice(digest(&SHA256, salted).as_ref());
        }
        [DIGEST, digest @ ..] if digest.len() == 32 => message.extend_from_slice(digest),
        _ => return None,
    }
    hmac::sign(key, &message).as_ref().try_into().ok()
}

/// Whether two links are the same, in constant time.
pub(crate) fn same(one: &Link, other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const HEADER: Header<'_> = Header {
        writer: 1,
        number: 2,
        at: 3,
        tenant: 4,
        device: Some(5),
        key_id: 6,
        kind: "attempt",
        actor: "device",
    };

    fn whole(detail: &[u8]) -> Vec<u8> {
        [&[WHOLE][..], &[7; SALT_BYTES], detail].concat()
    }

    fn linked(previous: &Link, header: &Header<'_>, detail: &[u8]) -> Link {
        link(&hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]), previous, header, detail).unwrap()
    }

    #[test]
    fn every_part_of_an_entry_changes_its_link() {
        let changed = [
            Header { writer: 9, ..HEADER },
            Header { number: 9, ..HEADER },
            Header { at: 9, ..HEADER },
            Header { tenant: 9, ..HEADER },
            Header { device: Some(9), ..HEADER },
            Header { device: None, ..HEADER },
            Header { key_id: 9, ..HEADER },
            Header { kind: "attemptd", actor: "evice", ..HEADER },
            HEADER,
        ];
        let mut links: HashSet<Link> = changed.iter().map(|it| linked(&START, it, &whole(b"{}"))).collect();
        links.insert(linked(&START, &HEADER, &whole(b"[]")));
        links.insert(linked(&[1; 32], &HEADER, &whole(b"{}")));
        assert_eq!(links.len(), changed.len() + 2);
    }

    #[test]
    fn the_digest_in_the_place_of_a_detail_keeps_the_link() {
        let detail = whole(b"{}");
        let digest = digest(&SHA256, &detail[1..]);
        let erased = [&[DIGEST][..], digest.as_ref()].concat();
        assert_eq!(linked(&START, &HEADER, &detail), linked(&START, &HEADER, &erased));
    }
}
