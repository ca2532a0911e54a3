//! The device paths over HTTP (sections 4.2 and 9.2).

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use domain::{Kind, Origin, Refusal};
use engine::Connected;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use wire::thingsboard::{ErrorBody, ErrorCode, ProvisionResponse};

use super::Settings;
use super::device::Post;
use super::provision::{self, Told};
use crate::listeners::http::{Body, BodyError, read};
use crate::protocols::Faces;

/// The longest body, in bytes (section 4.2).
const MAX_BODY: usize = 65_536;

/// What an answer says that asks for patience, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Answers a request to a path below `/api/v1/`.
pub(super) async fn answer(
    request: Request<Body>,
    origin: Origin,
    settings: Settings,
    faces: &Faces,
) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let Some(path) = Path::parse(parts.uri.path()) else { return not_found() };
    if parts.method != Method::POST {
        return method_not_allowed(&parts.method);
    }
    match path {
        Path::Provision => match read(body, MAX_BODY).await {
            Ok(body) => provision(&body, origin, settings, faces).await,
            Err(error) => unread(error),
        },
        Path::Post { token, post } => match faces.device_auth.by_token(&token, origin, None).await {
            Ok(device) => store(&device, post, body, faces).await,
            Err(refusal) => refused(refusal),
        },
    }
}

/// What a path names.
enum Path<'a> {
    Provision,
    Post { token: Cow<'a, str>, post: Post },
}

impl Path<'_> {
    fn parse(path: &str) -> Option<Path<'_>> {
        let rest = path.strip_prefix("/api/v1/")?;
        if rest == "provision" {
            return Some(Path::Provision);
        }
        let (token, last) = rest.split_once('/')?;
        let post = match last {
            "telemetry" => Post::Telemetry,
            "attributes" => Post::Attributes,
            _ => return None,
        };
        Some(Path::Post { token: percent_decoded(token)?, post })
    }
}

/// A part of a path with its `%xx` undone (RFC 3986, section 2.1); `None` where that is no text.
fn percent_decoded(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut pieces = part.split('%');
    bytes.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

async fn provision(body: &[u8], origin: Origin, settings: Settings, faces: &Faces) -> Response<Bytes> {
    match provision::provision(body, origin, settings, faces).await {
        Told::Response(response) => json(StatusCode::OK, response.to_json()),
        Told::NotJson(_) if body.is_empty() => bad_request("Request body is missing"),
        Told::NotJson(_) => bad_request("Request is not a JSON object"),
        Told::Later => later(json(StatusCode::SERVICE_UNAVAILABLE, plain_failure())),
        Told::TooMany => later(json(StatusCode::TOO_MANY_REQUESTS, plain_failure())),
    }
}

fn plain_failure() -> Vec<u8> {
    ProvisionResponse::failure(wire::thingsboard::PLAIN_FAILURE_MESSAGE).to_json()
}

async fn store(device: &Connected, post: Post, body: Body, faces: &Faces) -> Response<Bytes> {
    let body = match read(body, MAX_BODY).await {
        Ok(body) => body,
        Err(error) => return unread(error),
    };
    if body.is_empty() {
        return bad_request("Request body is missing");
    }
    let samples = match post.read(&body) {
        Ok(samples) => samples,
        Err(error) => return bad_request(&error.to_string()),
    };
    match faces.hub.publish(device, samples).await {
        Ok(()) => empty(StatusCode::OK),
        Err(refusal) => refused(refusal),
    }
}

fn unread(error: BodyError) -> Response<Bytes> {
    match error {
        BodyError::TooLarge => too_large(),
        BodyError::Broken => bad_request("Request body could not be read"),
    }
}

/// A token that is not known and one that may not be used look the same.
fn refused(refusal: Refusal) -> Response<Bytes> {
    match refusal.kind() {
        Kind::Unproven | Kind::Forbidden | Kind::NotFound | Kind::Conflict => empty(StatusCode::UNAUTHORIZED),
        Kind::Malformed => bad_request("Request cannot be stored"),
        Kind::TooMany => {
            later(error(StatusCode::TOO_MANY_REQUESTS, "Too many requests", ErrorCode::TOO_MANY_REQUESTS))
        }
        Kind::Unavailable | Kind::Internal => {
            later(error(StatusCode::SERVICE_UNAVAILABLE, "Service is unavailable", ErrorCode::GENERAL))
        }
    }
}

fn bad_request(message: &str) -> Response<Bytes> {
    error(StatusCode::BAD_REQUEST, message, ErrorCode::BAD_REQUEST_PARAMS)
}

fn not_found() -> Response<Bytes> {
    error(StatusCode::NOT_FOUND, "Requested item wasn't found!", ErrorCode::ITEM_NOT_FOUND)
}

fn method_not_allowed(method: &Method) -> Response<Bytes> {
    let message = format!("Request method '{method}' is not supported");
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &message, ErrorCode::BAD_REQUEST_PARAMS);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
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

fn json(status: StatusCode, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

fn later(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_a_path_may_be_percent_encoded() {
        for (part, expected) in [
            ("abc", Some("abc")),
            ("a%2Fb%20c", Some("a/b c")),
            ("%C3%bc", Some("ü")),
            ("%", None),
            ("%2", None),
            ("%+1", None),
            ("%zz", None),
            ("%ff", None),
            ("%ü", None),
        ] {
            assert_eq!(percent_decoded(part).as_deref(), expected, "{part}");
        }
    }

    #[test]
    fn only_whole_paths_are_known() {
        assert!(matches!(Path::parse("/api/v1/provision"), Some(Path::Provision)));
        assert!(matches!(Path::parse("/api/v1/t/telemetry"), Some(Path::Post { post: Post::Telemetry, .. })));
        for unknown in [
            "/api/v1/provision/",
            "/api/v1/provision/x",
            "/api/v1/t",
            "/api/v1/t/telemetry/x",
            "/api/v1/t/rpc",
        ] {
            assert!(Path::parse(unknown).is_none(), "{unknown}");
        }
    }
}
