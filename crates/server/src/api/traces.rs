//! `/traces`: what single devices send and are told.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use engine::Registry;
use engine::registry::Operator;
use engine::traces::{Decision, TraceView};
use wire::admin::{Exchange, ExchangeOutcome, Page, Trace, TraceCreate};

use super::extract::{Ask, Body, InTenant, Named, blocking};
use super::problem::No;
use super::shapes;

/// How long a trace is kept up where nobody says.
const USUAL: Duration = Duration::from_secs(600);

/// `GET /traces`
pub(super) async fn list(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
) -> Result<Json<Page<Trace>>, No> {
    let traces = blocking(&registry, move |registry| {
        registry.traces(&operator, &registry.tenant(&operator, within.tenant.as_deref())?)
    });
    Ok(Json(shapes::whole(traces.await?, |view| trace(&view))))
}

/// `POST /traces`
pub(super) async fn begin(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Body(asked): Body<TraceCreate>,
) -> Result<Json<Trace>, No> {
    let begun = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.begin_trace(
            &operator,
            &tenant,
            &asked.name,
            asked.seconds.map_or(USUAL, Duration::from_secs),
        )
    });
    Ok(Json(trace(&begun.await?)))
}

/// `GET /traces/{name}`: the exchanges, the oldest first.
pub(super) async fn show(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Named(name): Named,
    Ask(within): Ask<InTenant>,
) -> Result<Json<Page<Exchange>>, No> {
    let found = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.trace(&operator, &tenant, &name)
    });
    Ok(Json(shapes::whole(found.await?, exchange)))
}

/// `DELETE /traces/{name}`
pub(super) async fn end(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Named(name): Named,
    Ask(within): Ask<InTenant>,
) -> Result<StatusCode, No> {
    blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.end_trace(&operator, &tenant, &name)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn trace(view: &TraceView) -> Trace {
    Trace {
        name: view.name.clone(),
        until: shapes::instant(view.until),
        exchanges: view.exchanges,
        dropped: view.dropped,
    }
}

fn exchange(kept: engine::traces::Exchange) -> Exchange {
    let (outcome, code, refusal) = match kept.decision {
        Decision::Accepted => (ExchangeOutcome::Accepted, None, None),
        Decision::Rejected(word) => (ExchangeOutcome::Rejected, Some(word), None),
        Decision::Refused(refusal) => {
            (ExchangeOutcome::Refused, Some(refusal.code().to_owned()), Some(refusal))
        }
    };
    Exchange {
        at: shapes::instant(kept.at),
        source: kept.source.to_string(),
        wire: kept.wire.to_owned(),
        packet: kept.packet,
        sent: kept.sent,
        outcome,
        code,
        sentence: refusal.map(|refusal| refusal.sentence().to_owned()),
        hint: refusal.map(|refusal| refusal.hint().to_owned()),
        told: kept.told,
    }
}
