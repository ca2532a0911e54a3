//! `Idempotency-Key`: a call that makes something is carried out once, however often it comes.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use domain::OperatorRefusal;
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
    key.map(|key| Some(key.to_owned())).ok_or_else(|| No::of(OperatorRefusal::IdempotencyKeyInvalid))
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
    let body = to_bytes(body, MOST_BODY_BYTES)
        .await
        .map_err(|_| No::new(OperatorRefusal::BodyTooLarge, "The body is too long, or ended early."))?;
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
            Once::Other => return Err(No::of(OperatorRefusal::IdempotencyKeyReused)),
            Once::Unknown => return Err(No::of(OperatorRefusal::IdempotencyOutcomeUnknown)),
            Once::Full => return Err(No::of(OperatorRefusal::IdempotencyKeysFull)),
            Once::Ended { status, answer } => return told(status, answer).map(Some),
        }
    }
    Err(No::of(OperatorRefusal::IdempotencyRunning))
}

/// The answer of before.
fn told(status: u16, answer: Option<String>) -> Result<Response, No> {
    let Some(answer) = answer else { return Err(No::of(OperatorRefusal::IdempotencyAnswerWithheld)) };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let json = if status.is_success() { "application/json" } else { PROBLEM_CONTENT_TYPE };
    let (tag, answer) = parted(&answer);
    let mut headers = HeaderMap::new();
    headers.extend(tag.and_then(|tag| HeaderValue::from_str(tag).ok()).map(|tag| (header::ETAG, tag)));
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    if !answer.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(json));
    }
    Ok((status, headers, answer.to_owned()).into_response())
}

/// What is kept of an answer: its body, and before it a line with its tag, where it has one. No body begins like a tag.
fn together(tag: Option<&HeaderValue>, body: String) -> String {
    match tag.and_then(|tag| tag.to_str().ok()) {
        Some(tag) => format!("{tag}\n{body}"),
        None => body,
    }
}

fn parted(kept: &str) -> (Option<&str>, &str) {
    match kept.split_once('\n') {
        Some((tag, body)) if tag.starts_with('"') => (Some(tag), body),
        _ => (None, kept),
    }
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
    let kept = kept.map(|body| together(parts.headers.get(header::ETAG), body));
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
