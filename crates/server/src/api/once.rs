//! `Idempotency-Key`: a call that makes something is carried out once, however often it comes.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use engine::Registry;
use engine::registry::{Once, OnceCall, Operator};
use wire::admin::{BASE_PATH, PROBLEM_CONTENT_TYPE};

use super::MOST_BODY_BYTES;
use super::extract::blocking;
use super::problem::No;
use super::routes::Verb;

/// The header.
pub(super) const HEADER: &str = "idempotency-key";
/// The calls that take it, below the base path; and whether their answers show something once only.
const CALLS: [(&str, bool); 6] = [
    ("/devices", false),
    ("/freezes", false),
    ("/operator-tokens", true),
    ("/operators", false),
    ("/profiles", true),
    ("/tenants", false),
];
/// The longest key.
const MOST_KEY_BYTES: usize = 255;
/// The longest answer that is kept.
const MOST_ANSWER_BYTES: usize = 64 * 1024;
/// How often, and after which rests, the end of the same call is looked for.
const LOOKS: u32 = 100;
const REST: Duration = Duration::from_millis(50);

/// Whether a route takes the header.
pub(super) fn takes(verb: Verb, path: &str) -> bool {
    verb == Verb::Post && CALLS.iter().any(|(call, _)| *call == path)
}

/// The key of a request, where it has one that counts.
///
/// # Errors
/// `idempotency-key-invalid`.
pub(super) fn key(request: &Request) -> Result<Option<String>, No> {
    let Some(value) = request.headers().get(HEADER) else { return Ok(None) };
    let path = request.uri().path().strip_prefix(BASE_PATH).unwrap_or_default();
    if request.method() != axum::http::Method::POST || !takes(Verb::Post, path) {
        return Ok(None);
    }
    let key = value.to_str().ok().filter(|key| (1..=MOST_KEY_BYTES).contains(&key.len()));
    key.map(|key| Some(key.to_owned())).ok_or_else(|| {
        let detail = "`Idempotency-Key` has 1 to 255 visible characters of ASCII.";
        No::new(StatusCode::BAD_REQUEST, "idempotency-key-invalid", detail)
    })
}

/// Carries a call out, or tells what came of it.
pub(super) async fn run(
    registry: Registry,
    operator: Operator,
    key: String,
    request: Request,
    next: Next,
) -> Result<Response, No> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MOST_BODY_BYTES).await.map_err(|_| {
        No::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too long, or ended early.")
    })?;
    let path = parts.uri.path().strip_prefix(BASE_PATH).unwrap_or_default();
    let shows_once = CALLS.iter().any(|(call, shows_once)| *call == path && *shows_once);
    let call = parts.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
    let (asking, hashed) = (operator.clone(), body.clone());
    let once = blocking(&registry, move |registry| registry.once_call(&asking, &call, &key, &hashed)).await?;
    if let Some(answer) = earlier(&registry, &operator, once).await? {
        return Ok(answer);
    }
    let request = Request::from_parts(parts, Body::from(body));
    // Whoever hangs up does not end it: how it ended is remembered for when they come again.
    let work = tokio::spawn(async move {
        let answer = next.run(request).await;
        remember(&registry, once, answer, shows_once).await
    });
    work.await.map_err(|_| No::internal())?
}

/// What came of the same call before; `None` where it is to be carried out.
async fn earlier(registry: &Registry, operator: &Operator, once: OnceCall) -> Result<Option<Response>, No> {
    for _ in 0..LOOKS {
        let asking = operator.clone();
        match blocking(registry, move |registry| registry.begin_once(&asking, &once)).await? {
            Once::Go => return Ok(None),
            Once::Running => tokio::time::sleep(REST).await,
            Once::Other => {
                let detail = "This `Idempotency-Key` came with another request.";
                return Err(No::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail)
                    .hint("Take a new key for each thing that is to be made."));
            }
            Once::Unknown => {
                let detail = "The server ended while it carried this call out; nobody knows how far it came.";
                return Err(No::new(StatusCode::CONFLICT, "idempotency-outcome-unknown", detail)
                    .hint("Look whether it was made; if not, ask again with a new key."));
            }
            Once::Full => {
                let detail = "10000 calls with keys of this caller are remembered, for 24 hours each.";
                return Err(No::new(StatusCode::TOO_MANY_REQUESTS, "idempotency-keys-full", detail));
            }
            Once::Ended { status, answer } => return told(status, answer).map(Some),
        }
    }
    let detail = "The same call is being carried out.";
    Err(No::new(StatusCode::CONFLICT, "idempotency-running", detail).hint("Ask again in a moment."))
}

/// The answer of before.
fn told(status: u16, answer: Option<String>) -> Result<Response, No> {
    let Some(answer) = answer else {
        let detail =
            "The call was carried out. Its answer held a secret, which was shown then and never again.";
        return Err(No::new(StatusCode::CONFLICT, "idempotency-answer-withheld", detail)
            .hint("If the answer was lost: rotate the secret, or revoke the token and make another one."));
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let json = if status.is_success() { "application/json" } else { PROBLEM_CONTENT_TYPE };
    let mut headers = HeaderMap::new();
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    if !answer.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(json));
    }
    Ok((status, headers, answer).into_response())
}

async fn remember(
    registry: &Registry,
    once: OnceCall,
    answer: Response,
    shows_once: bool,
) -> Result<Response, No> {
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| No::internal())?;
    let status = parts.status;
    let kept = kept(&body).filter(|_| !(shows_once && status.is_success()));
    let remembered = blocking(registry, move |registry| {
        let ended = (!status.is_server_error()).then_some((status.as_u16(), kept.as_deref()));
        registry.end_once(&once, ended)
    });
    if remembered.await.is_err() {
        tracing::warn!("how a call ended could not be remembered; the same key will hear that nobody knows");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn kept(body: &Bytes) -> Option<String> {
    String::from_utf8(body.to_vec()).ok().filter(|body| body.len() <= MOST_ANSWER_BYTES)
}
