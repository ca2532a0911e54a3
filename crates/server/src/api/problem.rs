//! How the operator API says no: problem details (RFC 9457).

use axum::Json;
use axum::extract::OriginalUri;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Kind, OperatorRefusal, Refusal, Said};
use engine::StoreError;
use engine::registry::{AuthenticationRefusal, RegistryError};
use wire::admin::{PROBLEM_CONTENT_TYPE, Problem};

/// A no, on its way to the operator.
#[derive(Debug)]
pub struct No(Box<Problem>);

impl No {
    /// A no, with what happened in particular.
    pub fn new(refusal: OperatorRefusal, detail: impl Into<String>) -> No {
        No::told(status_of(refusal), refusal.into(), detail.into(), refusal.hint())
    }

    /// A no of which nothing more is to be said.
    pub fn of(refusal: OperatorRefusal) -> No {
        No::new(refusal, refusal.sentence())
    }

    fn told(status: StatusCode, said: Said, detail: String, hint: &str) -> No {
        No(Box::new(Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: Some(detail),
            code: said.code().to_owned(),
            hint: Some(hint.to_owned()),
        }))
    }

    /// The code that programs test.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What happened, in a sentence.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// A failure of ours that nobody can do anything about from outside.
    pub fn internal() -> No {
        let refusal = Refusal::Internal;
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        No::told(status, refusal.into(), refusal.sentence().to_owned(), refusal.hint())
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_CONTENT_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<RegistryError> for No {
    fn from(error: RegistryError) -> No {
        if let RegistryError::Store(store) = &error {
            tracing::warn!(error = %store, "a call of the operator API failed");
        }
        No::told(registry_status(&error), error.said(), error.to_string(), error.hint())
    }
}

impl From<AuthenticationRefusal> for No {
    fn from(refusal: AuthenticationRefusal) -> No {
        let status = match &refusal {
            AuthenticationRefusal::Store(error) => store_status(error),
            refusal => status_by_kind(match refusal.said() {
                Said::Operator(refusal) => refusal.kind(),
                Said::Device(refusal) => refusal.kind(),
                Said::SignOn(refusal) => refusal.kind(),
            }),
        };
        No::told(status, refusal.said(), refusal.to_string(), refusal.hint())
    }
}

/// The HTTP status of a no to an operator.
pub fn status_of(refusal: OperatorRefusal) -> StatusCode {
    match refusal {
        OperatorRefusal::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        OperatorRefusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        OperatorRefusal::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        OperatorRefusal::ValueInvalid
        | OperatorRefusal::CountMissing
        | OperatorRefusal::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        refusal => status_by_kind(refusal.kind()),
    }
}

fn status_by_kind(kind: Kind) -> StatusCode {
    match kind {
        Kind::Malformed => StatusCode::BAD_REQUEST,
        Kind::Unproven => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What devices are told by these words is another thing where an operator asks.
fn registry_status(error: &RegistryError) -> StatusCode {
    match (error, error.said()) {
        (RegistryError::Store(error), _) => store_status(error),
        (RegistryError::CredentialsRefused(_), _) => StatusCode::UNPROCESSABLE_ENTITY,
        (_, Said::Operator(refusal)) => status_of(refusal),
        _ => StatusCode::CONFLICT,
    }
}

fn store_status(error: &StoreError) -> StatusCode {
    match error.refusal().kind() {
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Nothing answers at this path.
pub async fn no_such_path(OriginalUri(uri): OriginalUri) -> No {
    No::new(OperatorRefusal::PathNotFound, format!("Nothing answers at `{}`.", uri.path()))
}

/// The path exists, but not with this method.
pub async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> No {
    let detail = format!("`{}` does not take {method}.", uri.path());
    No::new(OperatorRefusal::MethodNotAllowed, detail)
}
