//! Questions that wait for an answer, and answers that wait for their device.

mod answered;
mod claims;

use std::collections::{HashMap, hash_map};

use domain::{Origin, ProfileId, QuestionId, StandingQuestion, TenantId, Timestamp, Verdict, question};

use super::operations::StepFault;
use super::{Change, View};
use crate::StoreError;
use crate::driver::{Param, Row, Sql, params};
use crate::error::storable;
use crate::tables::journal::{NewEntry, Pen, What};

pub(crate) use answered::{is_any_over, sweep as sweep_answered};
pub(crate) use claims::{claim, is_any_due, release_own};

/// A question to be asked about a request that has proven itself.
#[derive(Clone, Debug)]
pub struct NewQuestion {
    /// The tenant.
    pub tenant: TenantId,
    /// The profile it came under.
    pub profile: ProfileId,
    /// What the device calls itself.
    pub name: String,
    /// Where it came from.
    pub origin: Origin,
    /// The kind of credential it would like to have.
    pub credential: &'static str,
    /// Whether it says that it speaks for others.
    pub gateway: bool,
    /// What has to be asked.
    pub question: domain::Question,
}

/// A question as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionRow {
    /// Which, and what was said.
    pub standing: StandingQuestion,
    /// The tenant.
    pub tenant: TenantId,
    /// The profile.
    pub profile: ProfileId,
    /// What the device calls itself.
    pub name: String,
    /// The address it asked from first.
    pub source: String,
    /// The wire it asked by.
    pub wire: String,
    /// The kind of credential it would like to have.
    pub credential: String,
    /// Whether it says that it speaks for others.
    pub gateway: bool,
    /// The hook that is or was asked.
    pub hook: Option<String>,
    /// Whether a person has to approve.
    pub person: bool,
    /// Why it was denied, in the words of whoever did.
    pub reason: Option<String>,
    /// When it was asked first.
    pub asked_at: Timestamp,
    /// When it was decided, and by whom.
    pub decided_at: Option<Timestamp>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// How often the hook was asked.
    pub attempts: u32,
    /// The code of the hook's last fault.
    pub fault: Option<String>,
    /// What it said.
    pub fault_message: Option<String>,
}

/// A question that is ours to ask a hook.
#[derive(Clone, Debug)]
pub struct ClaimedQuestion {
    /// The question.
    pub row: QuestionRow,
    /// The fencing number to report with.
    pub fence: u64,
    /// The name of the tenant.
    pub tenant: String,
    /// The name of the profile.
    pub profile: String,
}

/// What a hook said to a claimed question.
#[derive(Clone, Debug)]
pub struct HookSaid {
    /// Which question.
    pub id: QuestionId,
    /// The fencing number under which it was claimed.
    pub fence: u64,
    /// What it said.
    pub said: Said,
}

/// What was said.
#[derive(Clone, Debug)]
pub enum Said {
    /// It may come in, and begins with these attributes; a JSON object.
    Allow(Option<String>),
    /// It may not, and why.
    Deny(String),
    /// It did not answer.
    Nothing(StepFault),
}

const COLUMNS: &str = "question, verdict, attributes, expires_at, tenant, profile, name_key, source, wire,
    credential, gateway, hook, person, reason, asked_at, decided_at, decided_by, attempts, fault, fault_message";
/// The longest reason that is kept, in characters.
const MOST_REASON_CHARS: usize = 500;

impl View<'_> {
    /// The questions of a tenant that wait for a person or a hook; with `decided` also those that were answered.
    /// The oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn questions(
        &self,
        tenant: TenantId,
        decided: bool,
        after: Option<QuestionId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<QuestionRow>, StoreError> {
        let open = if decided { "" } else { "AND verdict IN ('awaits-hook', 'awaits-person')" };
        let text = format!(
            "SELECT {COLUMNS} FROM questions WHERE tenant = ? AND expires_at > ? AND question > ? {open}
             ORDER BY question LIMIT ?"
        );
        let after = after.map_or(0, |after| after.0.cast_signed());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.sql.query(&text, params![tenant, now, after, limit], read)
    }

    /// One question, if it belongs to that tenant.
    ///
    /// # Errors
    /// What the database says.
    pub fn question(&self, tenant: TenantId, id: QuestionId) -> Result<Option<QuestionRow>, StoreError> {
        let text = format!("SELECT {COLUMNS} FROM questions WHERE question = ? AND tenant = ?");
        self.sql.first(&text, params![id, tenant], read)
    }
}

impl Change<'_> {
    /// A person decides, whatever a hook has said or will say. Counts from now on for as long as a question does.
    /// `false` where a person has decided already, or nothing is asked any more.
    ///
    /// # Errors
    /// What the database says.
    pub fn decide_question(
        &mut self,
        id: QuestionId,
        verdict: &Verdict,
        reason: Option<&str>,
        by: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let open = format!(
            "SELECT 1 FROM questions WHERE question = ? AND (decided_by IS NULL OR decided_by LIKE 'hook:%'){}",
            self.sql.for_update()
        );
        Ok(self.sql.exists(&open, params![id])? && settle(self.sql, id, verdict, reason, by, now)?)
    }

    /// Forgets a question, whatever was said: the device that asks again is asked about anew.
    ///
    /// # Errors
    /// What the database says.
    pub fn forget_question(&mut self, id: QuestionId) -> Result<bool, StoreError> {
        Ok(self.sql.execute("DELETE FROM questions WHERE question = ?", params![id])? > 0)
    }
}

/// The questions that stand for names under profiles, in their order.
pub(crate) fn standing(
    sql: Sql<'_>,
    keys: &[(TenantId, ProfileId, &str)],
) -> Result<Vec<Option<StandingQuestion>>, StoreError> {
    let text = "SELECT question, verdict, attributes, expires_at FROM questions
                WHERE tenant = ? AND profile = ? AND name_key = ?";
    keys.iter()
        .map(|(tenant, profile, name)| sql.first(text, params![*tenant, *profile, *name], read_standing))
        .collect()
}

/// What was said to questions, in the order of `ids`; `None` where one is gone.
pub(crate) fn verdicts(
    sql: Sql<'_>,
    ids: &[QuestionId],
) -> Result<Vec<Option<StandingQuestion>>, StoreError> {
    let text = "SELECT question, verdict, attributes, expires_at FROM questions WHERE question = ?";
    ids.iter().map(|id| sql.first(text, params![*id], read_standing)).collect()
}

/// Records questions; one that stands already is joined, one that has expired is asked anew. `None` where a
/// tenant has too many that wait.
pub(crate) fn park(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    questions: &[NewQuestion],
    now: Timestamp,
) -> Result<Vec<Option<QuestionId>>, StoreError> {
    let mut waiting = HashMap::new();
    questions.iter().map(|question| park_one(sql, pen, question, &mut waiting, now)).collect()
}

/// `waiting` holds how many questions of each tenant wait, as far as that was counted.
fn park_one(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    new: &NewQuestion,
    waiting: &mut HashMap<TenantId, u64>,
    now: Timestamp,
) -> Result<Option<QuestionId>, StoreError> {
    let expired =
        "DELETE FROM questions WHERE tenant = ? AND profile = ? AND name_key = ? AND expires_at <= ?";
    sql.execute(expired, params![new.tenant, new.profile, &new.name, now])?;
    let key = (new.tenant, new.profile, new.name.as_str());
    if let Some(standing) = standing(sql, &[key])?.into_iter().flatten().next() {
        return Ok(Some(standing.id));
    }
    let waiting = match waiting.entry(new.tenant) {
        hash_map::Entry::Occupied(counted) => counted.into_mut(),
        hash_map::Entry::Vacant(first) => first.insert(count_open(sql, new.tenant, now)?),
    };
    if *waiting >= question::MOST_OPEN {
        return Ok(None);
    }
    let verdict = if new.question.hook.is_some() { AWAITS_HOOK } else { AWAITS_PERSON };
    let text =
        "INSERT INTO questions (tenant, profile, name_key, source, wire, credential, gateway, hook, person,
                    verdict, asked_at, expires_at, attempts, due_at, fence)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0)
                ON CONFLICT (tenant, profile, name_key) DO NOTHING RETURNING question";
    let source = new.origin.source.to_string();
    let values = params![
        new.tenant,
        new.profile,
        storable(&new.name, "the device's name")?,
        &source,
        new.origin.wire.name(),
        new.credential,
        new.gateway.then_some(true),
        new.question.hook.as_deref(),
        new.question.person.then_some(true),
        verdict,
        now,
        now.plus_ms(question::KEPT_MS),
        sql.now(now)?,
    ];
    let Some(id) = sql.first(text, values, |row| Ok(QuestionId(row.unsigned(0)?)))? else {
        // Another server asked the same meanwhile.
        return Ok(standing(sql, &[key])?.into_iter().flatten().next().map(|standing| standing.id));
    };
    let detail = serde_json::json!({
        "question": id.0, "name": new.name, "hook": new.question.hook, "person": new.question.person,
        "source": source, "wire": new.origin.wire.name(),
    });
    journal(pen, new.tenant, "question-asked", "device", detail, now)?;
    *waiting += 1;
    Ok(Some(id))
}

fn count_open(sql: Sql<'_>, tenant: TenantId, now: Timestamp) -> Result<u64, StoreError> {
    let text = "SELECT count(*) FROM questions
                WHERE tenant = ? AND expires_at > ? AND verdict IN ('awaits-hook', 'awaits-person')";
    sql.one(text, params![tenant, now], |row| row.unsigned(0))
}

/// Whether a question or an answer has expired.
pub(crate) fn is_any_expired(sql: Sql<'_>, now: Timestamp) -> Result<bool, StoreError> {
    sql.exists("SELECT 1 FROM questions WHERE expires_at <= ? LIMIT 1", params![now])
}

/// Deletes what has expired, at most `limit`; how many.
pub(crate) fn delete_expired(sql: Sql<'_>, limit: u32, now: Timestamp) -> Result<u64, StoreError> {
    let text = format!(
        "DELETE FROM questions WHERE question IN
             (SELECT question FROM questions WHERE expires_at <= ? ORDER BY expires_at LIMIT ?{})",
        sql.skip_locked("questions")
    );
    sql.execute(&text, params![now, limit])
}

/// Records what hooks said; one that says yes hands on to a person where one has to approve.
pub(crate) fn answer(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    answers: &[HookSaid],
    now: Timestamp,
) -> Result<(), StoreError> {
    // A person may decide on another server at this moment: who comes first counts.
    let text = format!(
        "SELECT {COLUMNS} FROM questions WHERE question = ? AND verdict = 'awaits-hook' AND fence = ?{}",
        sql.for_update()
    );
    for answer in answers {
        let Some(row) = sql.first(&text, params![answer.id, answer.fence], read)? else { continue };
        match &answer.said {
            Said::Allow(attributes) => allow(sql, pen, &row, attributes.as_deref(), now)?,
            Said::Deny(reason) => deny(sql, pen, &row, reason, now)?,
            Said::Nothing(fault) => postpone(sql, &row, fault, now)?,
        }
    }
    Ok(())
}

fn allow(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    row: &QuestionRow,
    attributes: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let attributes = attributes.map(|text| storable(text, "an answer's attributes")).transpose()?;
    sql.execute(
        "UPDATE questions SET attributes = ? WHERE question = ?",
        params![attributes, row.standing.id],
    )?;
    if row.person {
        let text = "UPDATE questions SET verdict = 'awaits-person' WHERE question = ?";
        sql.execute(text, params![row.standing.id])?;
    } else {
        let verdict = Verdict::Allowed { attributes: attributes.map(str::to_owned) };
        settle(sql, row.standing.id, &verdict, None, &by_hook(row), now)?;
    }
    told(pen, row, "allowed", None, now)
}

fn deny(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    row: &QuestionRow,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    settle(sql, row.standing.id, &Verdict::Denied, Some(reason), &by_hook(row), now)?;
    told(pen, row, "denied", Some(reason), now)
}

/// Asked again later; a fault for good waits for an operator, who may decide in the hook's place.
fn postpone(sql: Sql<'_>, row: &QuestionRow, fault: &StepFault, now: Timestamp) -> Result<(), StoreError> {
    let message: String = fault.message.chars().filter(|c| *c != '\0').take(MOST_REASON_CHARS).collect();
    let text =
        "UPDATE questions SET due_at = ?, server = NULL, fault = ?, fault_message = ? WHERE question = ?";
    let again = sql.now(now)?.plus_ms(fault.again_in_ms);
    sql.execute(text, params![again, storable(&fault.code, "a fault")?, &message, row.standing.id])?;
    Ok(())
}

fn settle(
    sql: Sql<'_>,
    id: QuestionId,
    verdict: &Verdict,
    reason: Option<&str>,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let reason: Option<String> =
        reason.map(|reason| reason.chars().filter(|c| *c != '\0').take(MOST_REASON_CHARS).collect());
    let text = "UPDATE questions SET verdict = ?, reason = ?, decided_by = ?, decided_at = ?, expires_at = ?,
                    fault = NULL, fault_message = NULL
                WHERE question = ?";
    let until = now.plus_ms(question::KEPT_MS);
    let changed = sql.execute(text, params![verdict_word(verdict), reason.as_deref(), by, now, until, id])?;
    Ok(changed > 0)
}

/// Uses an answer up, in the transaction that lets its device in. `false` where it is not there any more.
pub(crate) fn use_up(sql: Sql<'_>, id: QuestionId) -> Result<bool, StoreError> {
    let text = "DELETE FROM questions WHERE question = ? AND verdict = 'allowed'";
    Ok(sql.execute(text, params![id])? > 0)
}

/// As [`use_up`], of many on PostgreSQL: how many of them were there.
pub(crate) fn use_up_all(sql: Sql<'_>, ids: &[QuestionId]) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let ids: Vec<i64> = ids.iter().map(|id| id.0.cast_signed()).collect();
    let text = "DELETE FROM questions WHERE question = ANY(?) AND verdict = 'allowed'";
    sql.execute(text, &[Param::array(&ids)])
}

fn by_hook(row: &QuestionRow) -> String {
    format!("hook:{}", row.hook.as_deref().unwrap_or_default())
}

fn told(
    pen: &mut Pen<'_>,
    row: &QuestionRow,
    verdict: &str,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let detail = serde_json::json!({
        "question": row.standing.id.0, "name": row.name, "verdict": verdict, "reason": reason,
    });
    journal(pen, row.tenant, "question-answered", &by_hook(row), detail, now)
}

fn journal(
    pen: &mut Pen<'_>,
    tenant: TenantId,
    kind: &str,
    actor: &str,
    detail: serde_json::Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let what = What::Audit { kind: kind.to_owned(), actor: actor.to_owned(), detail };
    pen.append(&NewEntry { tenant: Some(tenant), device: None, what }, now)
}

const AWAITS_HOOK: &str = "awaits-hook";
const AWAITS_PERSON: &str = "awaits-person";

fn verdict_word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::AwaitsHook => AWAITS_HOOK,
        Verdict::AwaitsPerson => AWAITS_PERSON,
        Verdict::Allowed { .. } => "allowed",
        Verdict::Denied => "denied",
    }
}

fn read_standing(row: &Row<'_>) -> Result<StandingQuestion, StoreError> {
    let verdict = match row.text(1)? {
        AWAITS_HOOK => Verdict::AwaitsHook,
        AWAITS_PERSON => Verdict::AwaitsPerson,
        "allowed" => Verdict::Allowed { attributes: row.opt_string(2)? },
        "denied" => Verdict::Denied,
        other => return Err(StoreError::corrupt("the verdict of a question", other)),
    };
    Ok(StandingQuestion { id: QuestionId(row.unsigned(0)?), verdict, expires_at: row.time(3)? })
}

fn read(row: &Row<'_>) -> Result<QuestionRow, StoreError> {
    Ok(QuestionRow {
        standing: read_standing(row)?,
        tenant: TenantId(row.unsigned(4)?),
        profile: ProfileId(row.unsigned(5)?),
        name: row.string(6)?,
        source: row.string(7)?,
        wire: row.string(8)?,
        credential: row.string(9)?,
        gateway: row.opt_int(10)?.is_some(),
        hook: row.opt_string(11)?,
        person: row.opt_int(12)?.is_some(),
        reason: row.opt_string(13)?,
        asked_at: row.time(14)?,
        decided_at: row.opt_time(15)?,
        decided_by: row.opt_string(16)?,
        attempts: row.int(17)? as u32,
        fault: row.opt_string(18)?,
        fault_message: row.opt_string(19)?,
    })
}

impl From<QuestionId> for Param<'_> {
    fn from(question: QuestionId) -> Self {
        Param::Int(question.0.cast_signed())
    }
}
