//! Answers that are kept: of each tenant the newest.

use domain::{QuestionId, TenantId, Timestamp, question};

use crate::StoreError;
use crate::driver::{Sql, params};
use crate::tables;

/// What is answered, as the index `questions_answered` has it.
const ANSWERED: &str = "decided_at IS NOT NULL";

/// The newest answer that is not kept any more.
struct Last {
    tenant: TenantId,
    decided_at: Timestamp,
    question: QuestionId,
}

/// Deletes answers beyond what a tenant may keep, the oldest first and at most `limit` of each tenant. Whether there may
/// be more.
pub(crate) fn sweep(sql: Sql<'_>, limit: u32) -> Result<bool, StoreError> {
    let mut more = false;
    for last in over(sql)? {
        more |= delete(sql, &last, limit)? >= u64::from(limit);
    }
    Ok(more)
}

/// Whether any tenant has more answers than it may keep.
pub(crate) fn is_any_over(sql: Sql<'_>) -> Result<bool, StoreError> {
    Ok(!over(sql)?.is_empty())
}

/// Of each tenant that has more than it may keep.
fn over(sql: Sql<'_>) -> Result<Vec<Last>, StoreError> {
    let wanted = tables::wanted("questions", "tenant", ANSWERED);
    let tenants = format!("{wanted} SELECT name FROM wanted WHERE name IS NOT NULL");
    let mut over = Vec::new();
    for tenant in sql.query(&tenants, params![], |row| Ok(TenantId(row.unsigned(0)?)))? {
        let text = format!(
            "SELECT decided_at, question FROM questions WHERE tenant = ? AND {ANSWERED}
             ORDER BY decided_at DESC, question DESC LIMIT 1 OFFSET ?"
        );
        over.extend(sql.first(&text, params![tenant, question::MOST_ANSWERED], |row| {
            Ok(Last { tenant, decided_at: row.time(0)?, question: QuestionId(row.unsigned(1)?) })
        })?);
    }
    Ok(over)
}

fn delete(sql: Sql<'_>, last: &Last, limit: u32) -> Result<u64, StoreError> {
    let text = format!(
        "DELETE FROM questions WHERE question IN
             (SELECT question FROM questions
              WHERE tenant = ? AND {ANSWERED} AND (decided_at, question) <= (?, ?)
              ORDER BY decided_at, question LIMIT ?{})",
        sql.skip_locked("questions")
    );
    sql.execute(&text, params![last.tenant, last.decided_at, last.question, limit])
}
