//! Which hooks are to be asked, each as far as it has room.

use domain::{QuestionId, Timestamp};

use super::{COLUMNS, ClaimedQuestion, read};
use crate::StoreError;
use crate::driver::{Sql, params};
use crate::tables::{self, operations::Claim};

/// What is open, as the index `questions_due` has it.
const OPEN: &str = "verdict = 'awaits-hook'";

/// Whether any hook is to be asked.
pub(crate) fn is_any_due(sql: Sql<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let wanted = tables::wanted("questions", "hook", OPEN);
    let due = format!(
        "SELECT 1 FROM questions WHERE {OPEN} AND hook = wanted.name AND due_at <= ? AND expires_at > ?"
    );
    sql.exists(&format!("{wanted} SELECT 1 FROM wanted WHERE EXISTS ({due})"), params![now, now])
}

/// Questions whose hook is due, ours until their lease ends.
pub(crate) fn claim(
    sql: Sql<'_>,
    claim: Claim<'_>,
    server: &str,
    now: Timestamp,
) -> Result<Vec<ClaimedQuestion>, StoreError> {
    let now = sql.now(now)?;
    let wanted = tables::wanted("questions", "hook", OPEN);
    let hooks = format!("{wanted} SELECT name FROM wanted WHERE name IS NOT NULL");
    let mut claimed = Vec::new();
    for hook in sql.query(&hooks, params![], |row| row.string(0))? {
        for id in due(sql, &hook, claim.capacity.of(&hook), now)? {
            claimed.extend(take(sql, id, now.plus_ms(claim.lease_ms), server)?);
        }
    }
    Ok(claimed)
}

/// Lets be asked again at once what a process of this name asked when it ended: its answer would be refused by the
/// fence. Whoever asks does so under the same key.
pub(crate) fn release_own(sql: Sql<'_>, server: &str, now: Timestamp) -> Result<(), StoreError> {
    let now = sql.now(now)?;
    let text =
        format!("UPDATE questions SET due_at = ?, server = NULL WHERE {OPEN} AND server = ? AND due_at > ?");
    sql.execute(&text, params![now, server, now]).map(drop)
}

fn due(sql: Sql<'_>, hook: &str, limit: usize, now: Timestamp) -> Result<Vec<QuestionId>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT question FROM questions
         WHERE verdict = 'awaits-hook' AND hook = ? AND due_at <= ? AND expires_at > ?
         ORDER BY due_at LIMIT ?{}",
        sql.skip_locked("questions")
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    sql.query(&text, params![hook, now, now, limit], |row| Ok(QuestionId(row.unsigned(0)?)))
}

fn take(
    sql: Sql<'_>,
    id: QuestionId,
    until: Timestamp,
    server: &str,
) -> Result<Option<ClaimedQuestion>, StoreError> {
    let text = "UPDATE questions SET fence = fence + 1, attempts = attempts + 1, due_at = ?, server = ?
                WHERE question = ? RETURNING fence";
    let fence = sql.one(text, params![until, server, id], |row| row.unsigned(0))?;
    let text = format!("SELECT {COLUMNS} FROM questions WHERE question = ?");
    let row = sql.one(&text, params![id], read)?;
    let names = "SELECT t.name, p.name FROM tenants t, profiles p WHERE t.id = ? AND p.id = ?";
    let named =
        sql.first(names, params![row.tenant, row.profile], |row| Ok((row.string(0)?, row.string(1)?)))?;
    Ok(named.map(|(tenant, profile)| ClaimedQuestion { row, fence, tenant, profile }))
}
