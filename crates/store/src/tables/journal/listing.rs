//! Reading the journal backwards: all writers' entries in the order of their times.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use domain::TenantId;

use super::{ATTEMPT, JournalEntry, JournalPage, JournalQuery, Position, read_entry, writers};
use crate::StoreError;
use crate::driver::{Row, Sql, params};

/// Most entries that one page looks at, however few it finds.
const MOST_SCANNED: usize = 10_000;
/// Entries of one writer that are read at once, at first and at most.
const LEAST_READ: usize = 16;
const MOST_READ: usize = 1_000;

/// How far each writer's entries were read: a place in the journal of all servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Vec<Position>);

impl Cursor {
    /// Before all that there is.
    pub fn start() -> Cursor {
        Cursor(Vec::new())
    }

    pub(super) fn at(positions: impl Iterator<Item = Position>) -> Cursor {
        Cursor(positions.collect())
    }

    /// How far a writer's entries were read.
    pub(super) fn of(&self, writer: u64) -> Position {
        let known = self.0.iter().find(|position| position.writer == writer);
        known.copied().unwrap_or(Position { writer, number: 0 })
    }

    /// Moves on to an entry.
    pub fn pass(&mut self, entry: Position) {
        match self.0.iter_mut().find(|position| position.writer == entry.writer) {
            Some(position) => *position = entry,
            None => self.0.push(entry),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, position) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}.{}", position.writer, position.number)?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Cursor, ()> {
        let position = |part: &str| {
            let (writer, number) = part.split_once('.')?;
            let position = Position { writer: writer.parse().ok()?, number: number.parse().ok()? };
            position.is_storable().then_some(position)
        };
        text.split(',').map(position).collect::<Option<Vec<_>>>().map(Cursor).ok_or(())
    }
}

/// One writer's entries, the newest first.
struct Stream {
    writer: u64,
    /// Everything from here on was read.
    before: Position,
    at_once: usize,
    found: VecDeque<JournalEntry>,
    ended: bool,
}

pub(super) fn page(sql: Sql<'_>, query: &JournalQuery<'_>) -> Result<JournalPage, StoreError> {
    let mut streams: Vec<Stream> = match query.before {
        Some(cursor) => cursor.0.iter().copied().map(Stream::before).collect(),
        None => writers(sql)?.into_iter().map(Stream::whole).collect(),
    };
    let mut page = JournalPage { entries: Vec::new(), next: None };
    let mut left = MOST_SCANNED;
    while page.entries.len() < query.limit {
        for stream in &mut streams {
            stream.fill(sql, query, &mut left)?;
        }
        // Whose newest entry is not known may have the newest of all.
        if streams.iter().any(Stream::is_unknown) {
            break;
        }
        let newest = streams
            .iter_mut()
            .filter(|stream| !stream.found.is_empty())
            .max_by_key(|stream| stream.found.front().map(|entry| (entry.at, entry.position)));
        let Some(entry) = newest.and_then(|stream| stream.found.pop_front()) else { return Ok(page) };
        page.entries.push(entry);
    }
    let is_over = streams.iter().all(|stream| stream.ended && stream.found.is_empty());
    page.next = (!is_over).then(|| Cursor(streams.iter().map(Stream::place).collect()));
    Ok(page)
}

impl Stream {
    fn whole(writer: u64) -> Stream {
        Stream::before(Position { writer, number: Position::END })
    }

    fn before(before: Position) -> Stream {
        Stream { writer: before.writer, before, at_once: LEAST_READ, found: VecDeque::new(), ended: false }
    }

    /// Reads on until something is found, or there is nothing left, or enough was looked at.
    fn fill(&mut self, sql: Sql<'_>, query: &JournalQuery<'_>, left: &mut usize) -> Result<(), StoreError> {
        let text = "SELECT position, at, tenant, device, kind, actor, detail FROM journal
                    WHERE position < ? AND position > ? ORDER BY position DESC LIMIT ?";
        let floor = Position { writer: self.writer, number: 0 }.packed();
        while self.found.is_empty() && !self.ended && *left > 0 {
            let at_once = self.at_once.max(query.limit).min(MOST_READ).min(*left);
            let mut scanned = 0;
            sql.each(text, params![self.before.packed(), floor, at_once as u64], |row| {
                scanned += 1;
                self.before = Position::unpack(row.int(0)?);
                if wanted(query, row)? {
                    self.found.push_back(read_entry(row)?);
                }
                Ok(true)
            })?;
            self.ended = scanned < at_once;
            self.at_once = (self.at_once * 4).min(MOST_READ);
            *left -= scanned;
        }
        Ok(())
    }

    fn is_unknown(&self) -> bool {
        self.found.is_empty() && !self.ended
    }

    /// Where to go on.
    fn place(&self) -> Position {
        let next =
            self.found.front().map(|entry| Position { number: entry.position.number + 1, ..entry.position });
        let end = Position { writer: self.writer, number: 0 };
        next.unwrap_or(if self.ended { end } else { self.before })
    }
}

fn wanted(query: &JournalQuery<'_>, row: &Row<'_>) -> Result<bool, StoreError> {
    if !is_of_tenant(query, row)? || !is_about(query, row)? {
        return Ok(false);
    }
    if query.kinds.is_empty() {
        return Ok(true);
    }
    Ok(row.text(4).is_ok_and(|kind| query.kinds.contains(&kind)))
}

/// An attempt that names no tenant's things belongs to the default one; what was done to the server does not.
fn is_of_tenant(query: &JournalQuery<'_>, row: &Row<'_>) -> Result<bool, StoreError> {
    let Some(wanted) = query.tenant else { return Ok(true) };
    let tenant = row.unsigned(2)?;
    let is_nobodys = || Ok::<_, StoreError>(tenant == 0 && row.text(4)? == ATTEMPT);
    Ok(wanted.0 == tenant || wanted == TenantId::DEFAULT && is_nobodys()?)
}

/// Kinds whose entries may know no device, as it is not there yet, but name it.
const NAMING: [&str; 7] = [
    ATTEMPT,
    "question-asked",
    "question-answered",
    "question-forgotten",
    "approval-given",
    "approval-rejected",
    "report-signed",
];

/// What is said of a device before it comes in names no device, but a name.
fn is_about(query: &JournalQuery<'_>, row: &Row<'_>) -> Result<bool, StoreError> {
    let Some((device, name)) = query.about else { return Ok(true) };
    if row.opt_unsigned(3)? == Some(device.0) {
        return Ok(true);
    }
    let named = || Ok::<_, StoreError>(read_entry(row)?.detail.is_some_and(|detail| detail["name"] == name));
    Ok(NAMING.contains(&row.text(4)?) && named()?)
}
