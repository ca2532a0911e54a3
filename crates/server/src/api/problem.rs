//! How the operator API says no: problem details (RFC 9457).

use axum::Json;
use axum::extract::OriginalUri;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Kind;
use engine::StoreError;
use engine::registry::{AuthenticationRefusal, RegistryError};
use wire::admin::{PROBLEM_CONTENT_TYPE, Problem};

/// A no, on its way to the operator.
#[derive(Debug)]
pub struct No(Box<Problem>);

impl No {
    /// A no with a code that programs test.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> No {
        No(Box::new(Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: Some(detail.into()),
            code: code.to_owned(),
            hint: None,
        }))
    }

    /// The same, with something to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> No {
        self.0.hint = Some(hint.into());
        self
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
        let refusal = domain::Refusal::Internal;
        No::new(StatusCode::INTERNAL_SERVER_ERROR, refusal.code(), refusal.sentence()).hint(refusal.hint())
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
        No::new(registry_status(&error), error.code(), error.to_string()).hint(error.hint())
    }
}

impl From<AuthenticationRefusal> for No {
    fn from(refusal: AuthenticationRefusal) -> No {
        let status = match &refusal {
            AuthenticationRefusal::Unknown
            | AuthenticationRefusal::Expired
            | AuthenticationRefusal::Revoked
            | AuthenticationRefusal::Password
            | AuthenticationRefusal::Disabled => StatusCode::UNAUTHORIZED,
            AuthenticationRefusal::SignOn { refusal, .. } => sign_on_status(refusal.kind()),
            AuthenticationRefusal::TooMany | AuthenticationRefusal::Busy => StatusCode::TOO_MANY_REQUESTS,
            AuthenticationRefusal::Store(error) => store_status(error),
        };
        let no = No::new(status, refusal.code(), refusal.to_string());
        match refusal.hint() {
            Some(hint) => no.hint(hint),
            None => no,
        }
    }
}

fn sign_on_status(kind: Kind) -> StatusCode {
    match kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNAUTHORIZED,
    }
}

fn registry_status(error: &RegistryError) -> StatusCode {
    match error {
        RegistryError::NotFound { .. } => StatusCode::NOT_FOUND,
        RegistryError::Exists { .. }
        | RegistryError::ProvisionKeyInUse
        | RegistryError::VersionChanged { .. }
        | RegistryError::RevisionChanged { .. }
        | RegistryError::CredentialsInUse { .. }
        | RegistryError::ProfileInUse { .. }
        | RegistryError::DefaultProfile { .. }
        | RegistryError::OtherProfile { .. }
        | RegistryError::NotStopped { .. }
        | RegistryError::StepNotOpen { .. }
        | RegistryError::Decided { .. }
        | RegistryError::Leaving { .. }
        | RegistryError::NotLeaving { .. }
        | RegistryError::GraceOver { .. }
        | RegistryError::Joined { .. }
        | RegistryError::BackupRunning
        | RegistryError::TracesExhausted
        | RegistryError::KekUnavailable(_)
        | RegistryError::KekNeeded { .. } => StatusCode::CONFLICT,
        RegistryError::Invalid { .. } | RegistryError::CredentialsRefused(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        RegistryError::Forbidden | RegistryError::RoleInsufficient { .. } => StatusCode::FORBIDDEN,
        RegistryError::StandChanged { .. } => StatusCode::PRECONDITION_FAILED,
        RegistryError::Store(error) => store_status(error),
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
    No::new(StatusCode::NOT_FOUND, "path-not-found", format!("Nothing answers at `{}`.", uri.path()))
}

/// The path exists, but not with this method.
pub async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> No {
    let detail = format!("`{}` does not take {method}.", uri.path());
    No::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}
