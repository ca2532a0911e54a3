//! Calls that are carried out once, however often they come.

use domain::{Timestamp, Verifier};

use super::Change;
use crate::StoreError;
use crate::driver::params;
use crate::error::storable;

/// For how long a call is remembered.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;
/// The most calls of one caller that are remembered.
const MOST: u64 = 10_000;

/// Whether a call is to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is: it never came before.
    New,
    /// It came with another request.
    Other,
    /// It was begun then, and has not ended.
    Unended(Timestamp),
    /// It has ended so.
    Ended {
        /// The status of its answer.
        status: u16,
        /// The answer; `None` where that holds what is shown once only.
        answer: Option<String>,
    },
    /// Its caller has too many.
    Full,
}

impl Change<'_> {
    /// Remembers that a call begins, unless it did before.
    ///
    /// # Errors
    /// [`StoreError::Full`] while the disk is short of room; what the database says.
    pub fn begin_once(
        &mut self,
        call: &Verifier,
        owner: &str,
        request: &Verifier,
        now: Timestamp,
    ) -> Result<Begun, StoreError> {
        let over = Timestamp(now.0.saturating_sub(REMEMBERED_MS.cast_signed()));
        self.sql.execute("DELETE FROM once WHERE begun_at < ?", params![over])?;
        let standing = "SELECT request, begun_at, status, answer FROM once WHERE call = ?";
        let found = self.sql.first(standing, params![call], |row| {
            Ok((Verifier(row.array(0)?), row.time(1)?, row.opt_unsigned(2)?, row.opt_string(3)?))
        })?;
        if let Some((present, begun_at, status, answer)) = found {
            return Ok(match status.and_then(|status| u16::try_from(status).ok()) {
                _ if present != *request => Begun::Other,
                Some(status) => Begun::Ended { status, answer },
                None => Begun::Unended(begun_at),
            });
        }
        let count =
            format!("SELECT count(*) FROM (SELECT 1 FROM once WHERE owner = ? LIMIT {MOST}) AS present");
        if self.sql.one(&count, params![owner], |row| row.unsigned(0))? >= MOST {
            return Ok(Begun::Full);
        }
        self.room_to_grow()?;
        let insert =
            "INSERT INTO once (call, owner, request, begun_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
        let inserted = self.sql.execute(insert, params![call, owner, request, now])? > 0;
        Ok(if inserted { Begun::New } else { Begun::Unended(now) })
    }

    /// Remembers how a call ended.
    ///
    /// # Errors
    /// [`StoreError::Unstorable`], what the database says.
    pub fn end_once(&mut self, call: &Verifier, status: u16, answer: Option<&str>) -> Result<(), StoreError> {
        let answer = answer.map(|answer| storable(answer, "an answer")).transpose()?;
        let sql = "UPDATE once SET status = ?, answer = ? WHERE call = ?";
        self.sql.execute(sql, params![u32::from(status), answer, call])?;
        Ok(())
    }

    /// Forgets a call of which nothing came.
    ///
    /// # Errors
    /// What the database says.
    pub fn forget_once(&mut self, call: &Verifier) -> Result<(), StoreError> {
        self.sql.execute("DELETE FROM once WHERE call = ?", params![call])?;
        Ok(())
    }
}
