//! Tie entries: one writer signs where all chains end, so that a tail of another one cannot be cut off unseen.

use serde::{Deserialize, Serialize};

use super::{Head, Position};
use crate::journal_chain::{Link, SALT_BYTES, WHOLE};

/// How often chains are tied to each other, in milliseconds.
pub(crate) const EVERY_MS: u64 = 10_000;

/// The detail of a tie entry.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Tie {
    v: u32,
    heads: Vec<Tied>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Tied {
    writer: u64,
    number: u64,
    link: String,
}

impl Tie {
    pub(crate) fn of(heads: &[Head]) -> Tie {
        let tied = |head: &Head| Tied {
            writer: head.position.writer,
            number: head.position.number,
            link: head.link.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        Tie { v: super::DETAIL_VERSION, heads: heads.iter().map(tied).collect() }
    }

    /// The heads that a stored detail names; none where it cannot be read, which its own link then shows.
    pub(super) fn read(detail: &[u8]) -> Vec<Head> {
        let json = detail.get(1 + SALT_BYTES..).filter(|_| detail.first() == Some(&WHOLE));
        let tie: Option<Tie> = json.and_then(|json| serde_json::from_slice(json).ok());
        tie.map_or_else(Vec::new, |tie| tie.heads.iter().filter_map(Tied::head).collect())
    }
}

impl Tied {
    fn head(&self) -> Option<Head> {
        let position = Position { writer: self.writer, number: self.number };
        Some(Head { position, link: unhex(&self.link)? })
    }
}

fn unhex(text: &str) -> Option<Link> {
    let mut link = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (at, byte) in link.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(link)
}

/// Whether there is something to sign: our own chain went on, or another one by more than its own tie.
pub(crate) fn is_due(own: u64, before: &[Head], now: &[Head]) -> bool {
    now.iter().any(|head| {
        let known = before.iter().find(|it| it.position.writer == head.position.writer);
        let known = known.map_or(0, |it| it.position.number);
        let most = if head.position.writer == own { known } else { known + 1 };
        head.position.number > most
    })
}
