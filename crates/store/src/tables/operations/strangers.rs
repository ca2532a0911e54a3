//! Steps in words that only newer servers know: they are left to those, and keep nothing else from going on.

use domain::plan::{Action, Gate, StepState};
use domain::{OperationId, StepKey, Timestamp};

use crate::StoreError;
use crate::driver::{Sql, params};

/// A step that is left to a newer server, and its word that this one does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Which step.
    pub key: StepKey,
    /// The word.
    pub word: String,
}

/// The condition under which this server knows every word of a step; `of` stands before each column.
pub(super) fn known(of: &str) -> String {
    let list = |words: Vec<&str>| format!("('{}')", words.join("', '"));
    format!(
        "{of}action IN {} AND {of}gate IN {} AND {of}state IN {}",
        list(Action::ALL.iter().map(|it| it.word()).collect()),
        list(Gate::ALL.iter().map(|it| it.word()).collect()),
        list(StepState::ALL.iter().map(|it| it.word()).collect())
    )
}

/// The condition under which an operation, the number in `operation`, has no step that this server does not know: where
/// it stands could not be told.
pub(super) fn all_known(operation: &str) -> String {
    format!("NOT EXISTS (SELECT 1 FROM steps u WHERE u.operation = {operation} AND NOT ({}))", known("u."))
}

/// Whether an operation has steps that this server does not know.
pub(super) fn are_in(sql: Sql<'_>, operation: OperationId) -> Result<bool, StoreError> {
    let text = format!("SELECT 1 FROM steps WHERE operation = ? AND NOT ({}) LIMIT 1", known(""));
    sql.exists(&text, params![operation])
}

/// A step that this server does not know, and that keeps one which is due at a connector.
pub(super) fn one_due(sql: Sql<'_>, connector: &str, now: Timestamp) -> Result<Option<Stranger>, StoreError> {
    let text = format!(
        "SELECT u.operation, u.step, u.action, u.gate, u.state
         FROM steps s JOIN steps u ON u.operation = s.operation
         WHERE s.state IN ('due', 'running') AND s.connector = ? AND s.due_at <= ? AND NOT ({}) LIMIT 1",
        known("u.")
    );
    sql.first(&text, params![connector, now], |row| {
        let key = StepKey { operation: OperationId(row.unsigned(0)?), index: row.int(1)? as u32 };
        let word = match (Action::from_word(row.text(2)?), Gate::from_word(row.text(3)?)) {
            (None, _) => row.string(2)?,
            (_, None) => row.string(3)?,
            _ => row.string(4)?,
        };
        Ok(Stranger { key, word })
    })
}
