//! Calls to devices (sections 9.1 and 11.4): `/api/rpc/…`, and the older `/api/plugins/rpc/…`, whose failures have
//! other statuses.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use engine::registry::{Operator, Registry};
use engine::{Call, CallFailure};
use wire::thingsboard::rest::telemetry::CallRequest;

use super::ask::{checked_id, tenant};
use super::error::Wrong;
use super::login::blocking;
use super::target::of_device;

/// The longest body, in bytes: what a device can be sent.
const MOST_BYTES: usize = 65_536;
/// How long a call takes where nobody says, and at least and at most.
const USUAL_PATIENCE_MS: u64 = 10_000;
const PATIENCE_MS: std::ops::RangeInclusive<u64> = 5_000..=300_000;

/// With which statuses failures are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paths {
    New,
    Old,
}

/// `POST /api/rpc/oneway/{id}`
pub(super) async fn oneway(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Wrong> {
    call(registry, operator, id, &body, false, Paths::New).await
}

/// `POST /api/rpc/twoway/{id}`
pub(super) async fn twoway(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Wrong> {
    call(registry, operator, id, &body, true, Paths::New).await
}

/// `POST /api/plugins/rpc/oneway/{id}`
pub(super) async fn old_oneway(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Wrong> {
    call(registry, operator, id, &body, false, Paths::Old).await
}

/// `POST /api/plugins/rpc/twoway/{id}`
pub(super) async fn old_twoway(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Wrong> {
    call(registry, operator, id, &body, true, Paths::Old).await
}

async fn call(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    id: String,
    body: &[u8],
    answered: bool,
    paths: Paths,
) -> Result<Response, Wrong> {
    if body.len() > MOST_BYTES {
        let told = format!("\"Payload size exceeds the limit of {MOST_BYTES} bytes\"");
        return Err(Wrong::bare(StatusCode::PAYLOAD_TOO_LARGE, told));
    }
    let id = checked_id(&id)?;
    let asked: CallRequest =
        serde_json::from_slice(body).map_err(|_| Wrong::bad_request("Invalid request body"))?;
    if asked.persistent {
        return Err(Wrong::bad_request("Persistent calls are not served: leave out `persistent`"));
    }
    let patience = asked.timeout.unwrap_or(USUAL_PATIENCE_MS).clamp(*PATIENCE_MS.start(), *PATIENCE_MS.end());
    let method = asked.method.clone();
    let device = blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        of_device(registry.callee(&operator, &tenant, &id, &method))
    })
    .await?;
    let CallRequest { method, params, .. } = asked;
    let call = Call { method, params, answered, patience: Duration::from_millis(patience) };
    Ok(match registry.call(device, call).await {
        Ok(value) if answered => Json(value).into_response(),
        Ok(_) => StatusCode::OK.into_response(),
        Err(failure) => status(failure, paths).into_response(),
    })
}

fn status(failure: CallFailure, paths: Paths) -> StatusCode {
    match (failure, paths) {
        (CallFailure::NobodyListens | CallFailure::NoAnswer, Paths::New) => StatusCode::GATEWAY_TIMEOUT,
        (CallFailure::NobodyListens, Paths::Old) => StatusCode::CONFLICT,
        (CallFailure::NoAnswer, Paths::Old) => StatusCode::REQUEST_TIMEOUT,
        (CallFailure::TooMany, _) => StatusCode::TOO_MANY_REQUESTS,
        (CallFailure::Stopping, _) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
