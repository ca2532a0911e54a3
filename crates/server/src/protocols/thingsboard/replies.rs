//! Answers over HTTP (sections 4.2, 9.2 and 11.2).

use std::time::SystemTime;

use bytes::Bytes;
use domain::{Kind, Refusal};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Response, StatusCode};
use wire::thingsboard::{ErrorBody, ErrorCode};

use crate::listeners::http::BodyError;

/// The longest body, in bytes (section 4.2).
pub(super) const MAX_BODY: usize = 65_536;

/// What an answer says that asks for patience, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

pub(super) fn unread(error: BodyError) -> Response<Bytes> {
    match error {
        BodyError::TooLarge => too_large(),
        BodyError::Broken => bad_request("Request body could not be read"),
    }
}

/// A token that is not known and one that may not be used look the same.
pub(super) fn refused(refusal: Refusal) -> Response<Bytes> {
    match refusal.kind() {
        Kind::Unproven | Kind::Forbidden | Kind::NotFound | Kind::Conflict => empty(StatusCode::UNAUTHORIZED),
        Kind::Malformed => bad_request("Request cannot be stored"),
        Kind::TooMany => too_many(),
        Kind::Unavailable | Kind::Internal => unavailable("Service is unavailable"),
    }
}

pub(super) fn bad_request(message: &str) -> Response<Bytes> {
    error(StatusCode::BAD_REQUEST, message, ErrorCode::BAD_REQUEST_PARAMS)
}

/// Nobody can answer now, in these words.
pub(super) fn unavailable(message: &str) -> Response<Bytes> {
    later(error(StatusCode::SERVICE_UNAVAILABLE, message, ErrorCode::GENERAL))
}

pub(super) fn too_many() -> Response<Bytes> {
    later(error(StatusCode::TOO_MANY_REQUESTS, "Too many requests", ErrorCode::TOO_MANY_REQUESTS))
}

/// Plain words, as ThingsBoard says some things.
pub(super) fn words(status: StatusCode, words: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(words.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
    response
}

pub(super) fn not_found() -> Response<Bytes> {
    error(StatusCode::NOT_FOUND, "Requested item wasn't found!", ErrorCode::ITEM_NOT_FOUND)
}

pub(super) fn method_not_allowed(method: &Method, allowed: &'static str) -> Response<Bytes> {
    let message = format!("Request method '{method}' is not supported");
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &message, ErrorCode::BAD_REQUEST_PARAMS);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A JSON string, without a content type.
fn too_large() -> Response<Bytes> {
    let mut response = empty(StatusCode::PAYLOAD_TOO_LARGE);
    *response.body_mut() = Bytes::from(format!("\"Payload size exceeds the limit of {MAX_BODY} bytes\""));
    response
}

/// The error JSON of section 11.2.
fn error(status: StatusCode, message: &str, error_code: u16) -> Response<Bytes> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let timestamp = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let body = ErrorBody { status: status.as_u16(), message: message.to_owned(), error_code, timestamp };
    json(status, body.to_json())
}

pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

pub(super) fn later(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    response
}
