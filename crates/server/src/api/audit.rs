//! `/attempts`, `/explain`, `/audit`

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Extension, State};
use domain::admission::Answer;
use engine::Registry;
use engine::registry::{self as ours, AttemptQuery, Operator, RegistryError, Supposed};
use schemars::JsonSchema;
use serde::Deserialize;
use store::journal::{Fault, Head, Position, Verification, Wrong};
use wire::admin::{self, Attempt, AuditHead, AuditVerify, AuditVerifyRequest, Explain, Page};

use super::extract::{Ask, Body, blocking};
use super::problem::No;
use super::shapes;

/// Which attempts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttemptsQuery {
    /// Name of the tenant.
    tenant: Option<String>,
    /// Only attempts that named this registration id.
    name: Option<String>,
    /// Where the page before ended: its `next`.
    cursor: Option<String>,
    /// The most rows of a page.
    limit: Option<usize>,
}

/// `GET /attempts`: the newest first. Without `tenant` an operator of the server sees those of all.
pub(super) async fn attempts(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(asked): Ask<AttemptsQuery>,
) -> Result<Json<Page<Attempt>>, No> {
    let page = blocking(&registry, move |registry| {
        let query = AttemptQuery {
            tenant: asked.tenant.as_deref(),
            name: asked.name.as_deref(),
            before: asked.cursor.as_deref(),
            limit: asked.limit,
        };
        registry.attempts(&operator, query)
    })
    .await?;
    let items = page.attempts.into_iter().map(attempt).collect();
    Ok(Json(Page { items, next: page.next }))
}

/// What is to be explained.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    /// The registration id that is asked about.
    registration_id: String,
    /// Name of the tenant.
    tenant: Option<String>,
    /// Name of the profile; absent = each of the tenant's.
    profile: Option<String>,
    /// The address that the device would come from.
    source: Option<IpAddr>,
}

/// `GET /explain`: one answer, or one for each profile.
pub(super) async fn explain(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(asked): Ask<ExplainQuery>,
) -> Result<Json<Page<Explain>>, No> {
    let explained = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, asked.tenant.as_deref())?;
        let supposed = Supposed {
            registration_id: &asked.registration_id,
            profile: asked.profile.as_deref(),
            source: asked.source,
        };
        let explanations = registry.explain(&operator, &tenant, &supposed)?;
        Ok((asked.registration_id, explanations))
    })
    .await?;
    let (registration_id, explanations) = explained;
    Ok(Json(shapes::whole(explanations, |told| explanation(&registration_id, &told))))
}

/// `GET /audit/head`
pub(super) async fn head(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<AuditHead>, No> {
    let at = shapes::instant(registry.now());
    let heads = blocking(&registry, move |registry| registry.journal_heads(&operator)).await?;
    Ok(Json(AuditHead { at, writers: heads.iter().map(audit_writer).collect() }))
}

/// `POST /audit/verify`
pub(super) async fn verify(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<AuditVerifyRequest>,
) -> Result<Json<AuditVerify>, No> {
    let found = blocking(&registry, move |registry| {
        let heads = asked.head.as_ref().map(heads_asked).transpose()?;
        registry.verify_journal(&operator, heads.as_deref())
    })
    .await?;
    Ok(Json(verification(&found)))
}

fn attempt(attempt: ours::Attempt) -> admin::Attempt {
    let refusal = attempt.refusal();
    admin::Attempt {
        at: shapes::instant(attempt.at),
        tenant: attempt.tenant,
        source: attempt.source,
        wire: attempt.wire,
        profile: attempt.profile,
        name: attempt.name,
        outcome: match attempt.outcome {
            ours::AttemptOutcome::Granted => admin::AttemptOutcome::Granted,
            ours::AttemptOutcome::Unchanged => admin::AttemptOutcome::Unchanged,
            ours::AttemptOutcome::Refused(_) => admin::AttemptOutcome::Refused,
        },
        code: match attempt.outcome {
            ours::AttemptOutcome::Refused(code) => Some(code),
            _ => None,
        },
        sentence: refusal.map(|refusal| refusal.sentence().to_owned()),
        hint: refusal.map(|refusal| refusal.hint().to_owned()),
        count: attempt.count,
    }
}

fn explanation(registration_id: &str, explanation: &ours::Explanation) -> admin::Explain {
    let verdict = match (explanation.refused_by(), explanation.is_open()) {
        (Some(_), _) => admin::Verdict::Refused,
        (None, true) => admin::Verdict::Unknown,
        (None, false) => admin::Verdict::Admitted,
    };
    admin::Explain {
        registration_id: registration_id.to_owned(),
        profile: explanation.profile.clone(),
        verdict,
        checks: explanation.checks.iter().map(explained_check).collect(),
        last_attempt: explanation.last_attempt.clone().map(attempt),
    }
}

fn explained_check(check: &ours::ExplainedCheck) -> admin::ExplainedCheck {
    let (answer, code) = match check.answer {
        Answer::Pass => (admin::CheckAnswer::Pass, None),
        Answer::No(refusal) => (admin::CheckAnswer::No, Some(refusal.code().to_owned())),
        Answer::Unknown => (admin::CheckAnswer::Unknown, None),
    };
    admin::ExplainedCheck {
        check: check.check.to_owned(),
        answer,
        code,
        sentence: check.sentence().to_owned(),
        hint: check.hint().map(str::to_owned),
    }
}

fn audit_writer(head: &Head) -> admin::AuditWriter {
    admin::AuditWriter {
        writer: head.position.writer.to_string(),
        entries: head.position.number,
        head_number: head.position.number,
        head_link: head.link.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn heads_asked(asked: &admin::AuditHead) -> Result<Vec<Head>, RegistryError> {
    let heads = asked.writers.iter().map(head_asked).collect::<Option<_>>();
    let heads = heads.filter(|_| shapes::instant_asked(&asked.at).is_ok());
    heads.ok_or_else(|| RegistryError::invalid("head", "it is not what `muster audit head` exported."))
}

fn head_asked(asked: &admin::AuditWriter) -> Option<Head> {
    let (writer, link) = asked.writer.parse().ok().zip(link(&asked.head_link))?;
    Some(Head { position: Position { writer, number: asked.head_number }, link })
}

fn link(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        hex.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

fn verification(found: &Verification) -> admin::AuditVerify {
    admin::AuditVerify {
        writers: found.heads.iter().map(audit_writer).collect(),
        ok: found.faults.is_empty(),
        faults: found.faults.iter().map(audit_fault).collect(),
    }
}

fn audit_fault(fault: &Fault) -> admin::AuditFault {
    let Position { writer, number } = fault.position;
    admin::AuditFault { writer: writer.to_string(), number, fault: wrong(fault.wrong) }
}

fn wrong(wrong: Wrong) -> String {
    match wrong {
        Wrong::Changed => "it was changed, or stands in another's place".to_owned(),
        Wrong::Missing { until } => format!("the entries from here to {until} are missing"),
        Wrong::KeyUnknown => "it names a journal key that is not there".to_owned(),
        Wrong::Cut => "the chain was cut off before it".to_owned(),
        Wrong::Replaced => "it is not the entry that the exported head names".to_owned(),
    }
}
