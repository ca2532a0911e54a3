//! `/attempts`, `/explain`, `/audit`

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Extension, State};
use engine::Registry;
use engine::registry::{AttemptQuery, Operator, Supposed};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::admin::{Attempt, AuditHead, AuditVerify, AuditVerifyRequest, Explain, Page};

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
    let items = page.attempts.into_iter().map(shapes::attempt).collect();
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
    Ok(Json(shapes::whole(explanations, |explanation| shapes::explanation(&registration_id, &explanation))))
}

/// `GET /audit/head`
pub(super) async fn head(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<AuditHead>, No> {
    let at = shapes::instant(registry.now());
    let heads = blocking(&registry, move |registry| registry.journal_heads(&operator)).await?;
    Ok(Json(AuditHead { at, writers: heads.iter().map(shapes::audit_writer).collect() }))
}

/// `POST /audit/verify`
pub(super) async fn verify(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<AuditVerifyRequest>,
) -> Result<Json<AuditVerify>, No> {
    let found = blocking(&registry, move |registry| {
        let heads = asked.head.as_ref().map(shapes::heads_asked).transpose()?;
        registry.verify_journal(&operator, heads.as_deref())
    })
    .await?;
    Ok(Json(shapes::verification(&found)))
}
