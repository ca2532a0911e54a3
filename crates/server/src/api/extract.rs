//! What handlers take out of a request; whatever cannot be read is told as a problem.

mod strict;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use domain::OperatorRefusal;
use engine::Registry;
use engine::registry::RegistryError;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::No;
use crate::listeners::Stopping;
use crate::listeners::http::Patience;
use strict::Strict;

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

/// The query.
pub(super) struct Ask<T>(pub(super) T);

/// The one varying part of the path, decoded.
pub(super) struct Named(pub(super) String);

/// What a call that takes long has to know: it may take its time, and the server may stop meanwhile.
pub(super) struct Course {
    patience: Option<Patience>,
    stopping: Stopping,
}

impl Course {
    /// Takes the leave to take long; what is left is whether the server stops.
    pub(super) fn begin(self) -> Stopping {
        if let Some(patience) = self.patience {
            patience.grant();
        }
        self.stopping
    }
}

/// The tenant that a call is about.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InTenant {
    /// Its name; absent = the caller's own, or the default one.
    pub(super) tenant: Option<String>,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = No;

    async fn from_request(request: Request, state: &S) -> Result<Self, No> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let refusal = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => OperatorRefusal::BodyTooLarge,
                _ => OperatorRefusal::BodyUnreadable,
            };
            No::new(refusal, rejection.body_text())
        })?;
        parse(&bytes).map(Body)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, No> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(Strict(&mut json)).map_err(|error| {
        let path = error.path().to_string();
        unreadable(&path, error.inner())
    })?;
    json.end().map_err(|error| unreadable(".", &error))?;
    Ok(parsed)
}

/// Names the place. A value that should have been a secret must not come back in an answer.
fn unreadable(path: &str, error: &serde_json::Error) -> No {
    let told = error.to_string();
    let is_secret =
        ["secret", "provision_secret", "token", "passphrase"].iter().any(|field| path.ends_with(field));
    // A field that is not known is told by its name alone.
    let detail = match path {
        _ if is_secret && !told.starts_with("unknown field") => format!("`{path}`: it is of another type"),
        "." => in_plain_words(&told),
        _ => format!("`{path}`: {}", in_plain_words(&told)),
    };
    No::new(OperatorRefusal::BodyMalformed, detail)
}

/// That there is no body, where one would not be read and says something nobody hears.
pub(super) struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = No;

    async fn from_request(request: Request, state: &S) -> Result<Self, No> {
        let bytes = Bytes::from_request(request, state).await;
        let nothing = bytes.is_ok_and(|bytes| matches!(bytes.trim_ascii(), b"" | b"{}"));
        let told = "This call takes no body: what it is about stands in the query.";
        if nothing { Ok(NoBody) } else { Err(No::new(OperatorRefusal::BodyMalformed, told)) }
    }
}

/// What our types are called is nobody else's business.
fn in_plain_words(told: &str) -> String {
    match told.split_once("expected struct ") {
        Some((before, rest)) => {
            let behind = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            format!("{before}expected an object{behind}")
        }
        None => told.to_owned(),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Course {
    type Rejection = No;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, No> {
        let stopping = parts.extensions.get().cloned().ok_or_else(No::internal)?;
        Ok(Course { patience: parts.extensions.get().cloned(), stopping })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Ask<T> {
    type Rejection = No;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, No> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Ask(query)),
            Err(rejection) => Err(No::new(OperatorRefusal::QueryMalformed, rejection.body_text())),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = No;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, No> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Named(name)),
            Err(rejection) => Err(No::new(OperatorRefusal::PathMalformed, rejection.body_text())),
        }
    }
}

/// Runs what waits for the store on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    registry: &Registry,
    work: impl FnOnce(&Registry) -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, No> {
    let registry = registry.clone();
    let done = tokio::task::spawn_blocking(move || work(&registry)).await;
    done.map_err(|_| No::internal())?.map_err(No::from)
}
