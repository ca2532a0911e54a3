//! Answers that are kept: of each tenant the newest.

use domain::{QuestionId, TenantId, Timestamp, question};

use crate::StoreError;
use crate::driver::{Sql, params};
use crate::tables;

/// What is answered, as the index `questions_answered` has it.
const ANSWERED: &str = "decided_at IS NOT NULL";

/// Deletes answers beyond what a tenant may keep, the oldest first and at most `limit` of each tenant. Whether there may
/// be more.
pub(crate) fn sweep(sql: Sql<'_>, limit: u32) -> Result<bool, StoreError> {
    let mut more = false;
    for (tenant, last) in over(sql)? {
        more |= delete(sql, tenant, last, limit)? >= u64::from(limit);
    }
    Ok(more)
}

/// Whether any tenant has more answers than it may keep.
pub(crate) fn is_any_over(sql: Sql<'_>) -> Result<bool, StoreError> {
    Ok(!over(sql)?.is_empty())
}

/// The newest answer that is not kept, of each tenant that has one.
fn over(sql: Sql<'_>) -> Result<Vec<(TenantId, (Timestamp, QuestionId))>, StoreError> {
    let wanted = tables::wanted("questions", "tenant", ANSWERED);
    let tenants = format!("{wanted} SELECT name FROM wanted WHERE name IS NOT NULL");
    let mut over = Vec::new();
    for tenant in sql.query(&tenants, params![], |row| Ok(TenantId(row.unsigned(0)?)))? {
        let text = format!(
            "SELECT decided_at, question FROM questions WHERE tenant = ? AND {ANSWERED}
             ORDER BY decided_at DESC, question DESC LIMIT 1 OFFSET ?"
        );
        let read = |row: &crate::driver::Row<'_>| Ok((row.time(0)?, QuestionId(row.unsigned(1)?)));
        let last = sql.first(&text, params![tenant, question::MOST_ANSWERED], read)?;
        over.extend(last.map(|last| (tenant, last)));
    }
    Ok(over)
}

fn delete(
    sql: Sql<'_>,
    tenant: TenantId,
    (decided_at, question): (Timestamp, QuestionId),
    limit: u32,
) -> Result<u64, StoreError> {
    let text = format!(
        "DELETE FROM questions WHERE question IN
             (SELECT question FROM questions
              WHERE tenant = ? AND {ANSWERED} AND (decided_at, question) <= (?, ?)
              ORDER BY decided_at, question LIMIT ?{})",
        sql.skip_locked("questions")
    );
    sql.execute(&text, params![tenant, decided_at, question, limit])
}
