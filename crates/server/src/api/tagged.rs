//! Entity tags: what a device or a profile is, in a few characters (RFC 9110, section 8.8.3).
//!
//! A tag is strong: how the row stands, and a digest of what is told. `If-Match` asks only for the former, so that what
//! merely passes by (when a device was heard of) keeps nobody from a change.

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::Registry;
use serde::Serialize;

use super::problem::No;

/// A JSON body with its tag.
pub(super) struct Tagged<T> {
    pub(super) stand: String,
    pub(super) body: T,
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let text = serde_json::to_vec(&self.body).unwrap_or_default();
        let digest: String =
            digest(&SHA256, &text).as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let mut response = Json(self.body).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}-{digest}\"", self.stand)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// `If-Match`: how the thing has to stand.
pub(super) struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// The registry, which changes the thing only while it stands so.
    pub(super) fn of(self, registry: Registry) -> Registry {
        match self.0 {
            Some(stands) => registry.only_while(stands),
            None => registry,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = No;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, No> {
        let tags = tags(&parts.headers, &header::IF_MATCH);
        // `*` is whatever is there; the call finds out whether anything is.
        if tags.is_empty() || tags.iter().any(|tag| tag == "*") {
            return Ok(IfMatch(None));
        }
        // A weak tag matches nothing here (section 13.1.1).
        let strong = tags.iter().filter_map(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
        let stands = strong.map(|tag| tag.split_once('-').map_or(tag, |(stand, _)| stand).to_owned());
        Ok(IfMatch(Some(stands.collect())))
    }
}

/// Answers 304 where the caller has what would be told.
pub(super) fn unless_known(method: &Method, asked: &HeaderMap, response: Response) -> Response {
    let Some(tag) = response.headers().get(header::ETAG).cloned() else { return response };
    let known = |known: &String| known == "*" || known.trim_start_matches("W/").as_bytes() == tag.as_bytes();
    let is_known = tags(asked, &header::IF_NONE_MATCH).iter().any(known);
    if method != Method::GET || response.status() != StatusCode::OK || !is_known {
        return response;
    }
    (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response()
}

/// Our tags hold no comma.
fn tags(headers: &HeaderMap, name: &header::HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("\u{fffd}"));
    values
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().to_owned())
        .filter(|tag| !tag.is_empty())
        .collect()
}
