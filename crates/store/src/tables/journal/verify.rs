//! Is the journal what was written? A walk along every chain.

use std::collections::{BTreeMap, HashSet};

use super::{Head, Position, TIE, Tie};
use crate::StoreError;
use crate::driver::{Database, Row, Sql, params};
use crate::journal_chain::{self, Header, Link, START};
use crate::secrets::Keys;

/// Most entries that verification reads in one read transaction.
const STRETCH: u32 = 2_000;
/// Most faults that verification tells one by one.
const MOST_FAULTS: usize = 1_000;

/// What a walk along all chains found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Entries that were looked at.
    pub entries: u64,
    /// Entries whose detail was erased; their chain holds all the same.
    pub erased: u64,
    /// The ends of the chains as they stand.
    pub heads: Vec<Head>,
    /// What is wrong, in the order of the journal; the first thousand.
    pub faults: Vec<Fault>,
}

/// Something wrong with the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub position: Position,
    /// What.
    pub wrong: Wrong,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The entry, or its place, is not what was written.
    Changed,
    /// Entries from here up to this number are not there.
    Missing {
        /// The last number that is missing.
        until: u64,
    },
    /// The entry names a journal key that is not there.
    KeyUnknown,
    /// The chain ends before an entry that an exported head knows.
    Cut,
    /// The entry is not the one that an exported head knows.
    Replaced,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Position { writer, number } = self.position;
        match self.wrong {
            Wrong::Changed => write!(f, "writer {writer}, entry {number}: changed, or not in its place"),
            Wrong::Missing { until } => write!(f, "writer {writer}, entries {number} to {until}: missing"),
            Wrong::KeyUnknown => write!(f, "writer {writer}, entry {number}: its journal key is not there"),
            Wrong::Cut => write!(f, "writer {writer}: cut off before entry {number}"),
            Wrong::Replaced => write!(f, "writer {writer}, entry {number}: not the one that the head names"),
        }
    }
}

/// Runs its argument in a read transaction.
pub(crate) trait Read {
    fn stored(
        &self,
        f: &dyn Fn(Sql<'_>) -> Result<Vec<Stored>, StoreError>,
    ) -> Result<Vec<Stored>, StoreError>;
    fn link(&self, position: Position) -> Result<Option<Vec<u8>>, StoreError>;
}

impl Read for Database {
    fn stored(
        &self,
        f: &dyn Fn(Sql<'_>) -> Result<Vec<Stored>, StoreError>,
    ) -> Result<Vec<Stored>, StoreError> {
        self.read(f)
    }

    fn link(&self, position: Position) -> Result<Option<Vec<u8>>, StoreError> {
        let text = "SELECT link FROM journal WHERE position = ?";
        self.peek(|sql| sql.first(text, params![position.packed()], |row| row.bytes(0).map(<[u8]>::to_vec)))
    }
}

/// What tie entries say of chains.
#[derive(Default)]
struct Ties {
    /// Of each writer the largest number that a tie names and that is not there.
    absent: BTreeMap<u64, u64>,
    /// What was compared already: servers sign the same end again and again.
    compared: HashSet<Position>,
}

impl Ties {
    fn compare(
        &mut self,
        head: &Head,
        read: &impl Read,
        verification: &mut Verification,
    ) -> Result<(), StoreError> {
        if head.position.number == 0 || !self.compared.insert(head.position) {
            return Ok(());
        }
        match read.link(head.position)? {
            Some(link) if link == head.link => {}
            Some(_) => verification.tell(head.position, Wrong::Replaced),
            None => {
                let most = self.absent.entry(head.position.writer).or_default();
                *most = head.position.number.max(*most);
            }
        }
        Ok(())
    }

    /// What is missing in the middle of a chain was told before; what is missing behind its end was not.
    fn end(self, verification: &mut Verification) {
        for (writer, number) in self.absent {
            let end = verification.heads.iter().find(|head| head.position.writer == writer);
            if end.is_none_or(|end| end.position.number < number) {
                verification.tell(Position { writer, number }, Wrong::Cut);
            }
        }
    }
}

/// Walks along all chains, in read transactions that are short however long the journal is.
///
/// Ties compare the chains with each other.
pub(crate) fn verify(
    keys: &Keys,
    known: &[Head],
    read: &impl Read,
    writers: &[u64],
) -> Result<Verification, StoreError> {
    let mut verification = Verification::default();
    let mut ties = Ties::default();
    for writer in writers {
        let mut walk = Walk::new(*writer, keys, known);
        loop {
            let from = walk.at.packed();
            let entries = read.stored(&|sql| stretch(sql, from))?;
            if entries.is_empty() {
                break;
            }
            entries.iter().for_each(|entry| walk.step(entry, &mut verification));
            for head in std::mem::take(&mut walk.tied) {
                ties.compare(&head, read, &mut verification)?;
            }
        }
        walk.end(&mut verification);
    }
    ties.end(&mut verification);
    let cut = known.iter().filter(|head| !writers.contains(&head.position.writer));
    verification.faults.extend(cut.map(|head| Fault { position: head.position, wrong: Wrong::Cut }));
    Ok(verification)
}

/// An entry as it is stored.
pub(crate) struct Stored {
    position: Position,
    at: i64,
    tenant: u64,
    device: Option<u64>,
    kind: String,
    actor: String,
    key_id: u32,
    detail: Vec<u8>,
    link: Vec<u8>,
}

/// The walk along one chain. After a fault it goes on from the link that is stored, so that one fault is
/// told once.
struct Walk<'a> {
    keys: &'a Keys,
    known: Vec<&'a Head>,
    at: Position,
    /// The link of the entry before; `None` where that is missing.
    link: Option<Link>,
    /// What ties that hold have signed, and is to be compared.
    tied: Vec<Head>,
}

impl<'a> Walk<'a> {
    fn new(writer: u64, keys: &'a Keys, known: &'a [Head]) -> Walk<'a> {
        let known = known.iter().filter(|head| head.position.writer == writer).collect();
        Walk { keys, known, at: Position { writer, number: 0 }, link: Some(START), tied: Vec::new() }
    }

    fn step(&mut self, entry: &Stored, verification: &mut Verification) {
        let expected = self.at.number + 1;
        if entry.position.number > expected {
            let position = Position { number: expected, ..self.at };
            verification.tell(position, Wrong::Missing { until: entry.position.number - 1 });
            self.link = None;
        }
        match self.judge(entry) {
            Some(wrong) => verification.tell(entry.position, wrong),
            None if entry.kind == TIE => self.tied.extend(Tie::read(&entry.detail)),
            None => {}
        }
        verification.entries += 1;
        verification.erased += u64::from(entry.detail.first() == Some(&journal_chain::DIGEST));
        self.link = entry.link.as_slice().try_into().ok();
        self.at = entry.position;
    }

    fn judge(&self, entry: &Stored) -> Option<Wrong> {
        if entry.detail.is_empty() {
            return Some(Wrong::Changed);
        }
        let Some(key) = self.keys.journal_key(entry.key_id) else { return Some(Wrong::KeyUnknown) };
        if let Some(previous) = &self.link {
            let link = journal_chain::link(key, previous, &entry.header(), &entry.detail);
            if !link.is_some_and(|link| journal_chain::same(&link, &entry.link)) {
                return Some(Wrong::Changed);
            }
        }
        let replaced = |head: &&&Head| head.position == entry.position && head.link != *entry.link;
        self.known.iter().find(replaced).map(|_| Wrong::Replaced)
    }

    fn end(self, verification: &mut Verification) {
        for head in self.known.iter().filter(|head| head.position > self.at) {
            verification.tell(head.position, Wrong::Cut);
        }
        verification.heads.push(Head { position: self.at, link: self.link.unwrap_or(START) });
    }
}

impl Verification {
    fn tell(&mut self, position: Position, wrong: Wrong) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(Fault { position, wrong });
        }
    }
}

impl Stored {
    fn unreadable(position: Position) -> Stored {
        Stored {
            position,
            at: 0,
            tenant: 0,
            device: None,
            kind: String::new(),
            actor: String::new(),
            key_id: 0,
            detail: Vec::new(),
            link: Vec::new(),
        }
    }

    fn header(&self) -> Header<'_> {
        Header {
            writer: self.position.writer,
            number: self.position.number,
            at: self.at,
            tenant: self.tenant,
            device: self.device,
            key_id: self.key_id,
            kind: &self.kind,
            actor: &self.actor,
        }
    }
}

fn stretch(sql: Sql<'_>, after: i64) -> Result<Vec<Stored>, StoreError> {
    let text = "SELECT position, at, tenant, device, kind, actor, key_id, detail, link FROM journal
               WHERE position > ? AND position < ? ORDER BY position LIMIT ?";
    let end = Position { writer: Position::unpack(after).writer + 1, number: 0 }.packed();
    sql.query(text, params![after, end, STRETCH], read_stored)
}

/// A row whose columns are not even of the right types is an entry that links to nothing.
fn read_stored(row: &Row<'_>) -> Result<Stored, StoreError> {
    let position = Position::unpack(row.int(0)?);
    Ok(read_columns(row, position).unwrap_or_else(|_| Stored::unreadable(position)))
}

fn read_columns(row: &Row<'_>, position: Position) -> Result<Stored, StoreError> {
    Ok(Stored {
        position,
        at: row.int(1)?,
        tenant: row.unsigned(2)?,
        device: row.opt_unsigned(3)?,
        kind: row.string(4)?,
        actor: row.string(5)?,
        key_id: u32::try_from(row.int(6)?).map_err(|_| StoreError::corrupt("the key of", position))?,
        detail: row.bytes(7)?.to_vec(),
        link: row.bytes(8)?.to_vec(),
    })
}
