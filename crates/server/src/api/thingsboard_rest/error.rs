//! How ThingsBoard says no: `{"status","message","errorCode","timestamp"}` (sections 11.2 and 14.2).

use std::time::SystemTime;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Kind, Refusal};
use engine::registry::{AuthenticationRefusal, RegistryError, Unique, What};
use wire::thingsboard::{ErrorBody, ErrorCode, FrameworkErrorBody};

/// A no, on its way to a client of ThingsBoard's.
#[derive(Debug)]
pub(crate) struct Wrong {
    status: StatusCode,
    code: u16,
    message: String,
    voice: Voice,
    allow: Option<String>,
}

/// In which of its voices ThingsBoard says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// Its own error JSON.
    Own,
    /// The error JSON of the framework beneath it: another order of keys.
    Framework,
    /// Bare text.
    Bare,
}

impl Wrong {
    /// A no in ThingsBoard's own error JSON. `code` is one of [`ErrorCode`].
    pub(crate) fn new(status: StatusCode, code: u16, message: impl Into<String>) -> Wrong {
        Wrong { status, code, message: message.into(), voice: Voice::Own, allow: None }
    }

    /// A no in the words of the framework beneath ThingsBoard.
    pub(crate) fn framework(status: StatusCode, code: u16, message: impl Into<String>) -> Wrong {
        Wrong { voice: Voice::Framework, ..Wrong::new(status, code, message) }
    }

    /// A no that is bare text.
    pub(crate) fn bare(status: StatusCode, message: impl Into<String>) -> Wrong {
        Wrong { voice: Voice::Bare, ..Wrong::new(status, ErrorCode::GENERAL, message) }
    }

    /// 400, for a request that is not usable.
    pub(crate) fn bad_request(message: impl Into<String>) -> Wrong {
        Wrong::new(StatusCode::BAD_REQUEST, ErrorCode::BAD_REQUEST_PARAMS, message)
    }

    /// 401: nothing that says who asks.
    pub(crate) fn no_token() -> Wrong {
        Wrong::unauthorized("Authentication failed")
    }

    /// 401 with this text.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Wrong {
        Wrong::new(StatusCode::UNAUTHORIZED, ErrorCode::AUTHENTICATION, message)
    }

    /// 401 for a token whose time is over, or which was not made here.
    pub(crate) fn expired() -> Wrong {
        Wrong::new(StatusCode::UNAUTHORIZED, ErrorCode::TOKEN_EXPIRED, "Token has expired")
    }

    /// 403: known, but not allowed.
    pub(crate) fn forbidden() -> Wrong {
        let message = "You don't have permission to perform this operation!";
        Wrong::new(StatusCode::FORBIDDEN, ErrorCode::PERMISSION_DENIED, message)
    }

    /// 404 for a thing that is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Wrong {
        Wrong::new(StatusCode::NOT_FOUND, ErrorCode::ITEM_NOT_FOUND, message)
    }

    /// 404 for a path at which nothing answers.
    pub(crate) fn no_such_path(path: &str) -> Wrong {
        let message = format!("No static resource {}.", path.trim_matches('/'));
        Wrong::framework(StatusCode::NOT_FOUND, ErrorCode::ITEM_NOT_FOUND, message)
    }

    /// 405, with what the path takes.
    pub(crate) fn method_not_supported(method: &Method, allow: &str) -> Wrong {
        let message = format!("Request method '{method}' is not supported");
        let wrong = Wrong::framework(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BAD_REQUEST_PARAMS, message);
        Wrong { allow: Some(allow.to_owned()), ..wrong }
    }

    /// 501: ThingsBoard does it, and this server does not.
    pub(crate) fn not_served(message: impl Into<String>) -> Wrong {
        Wrong::new(StatusCode::NOT_IMPLEMENTED, ErrorCode::BAD_REQUEST_PARAMS, message)
    }

    /// The same error JSON, where it is a part of an answer.
    pub(crate) fn to_value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body().1).unwrap_or_default()
    }

    /// What it says.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// 500: our fault.
    pub(crate) fn internal() -> Wrong {
        let refusal = domain::Refusal::Internal;
        Wrong::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::GENERAL, refusal.sentence())
    }

    /// 503: what was asked for takes longer than the server goes on.
    pub(crate) fn stopping() -> Wrong {
        let message = "The server stops; what was done stays. The same again does the rest.";
        Wrong::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::GENERAL, message)
    }

    fn body(&self) -> (&'static str, Vec<u8>) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let timestamp = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let (status, message, error_code) = (self.status.as_u16(), self.message.clone(), self.code);
        match self.voice {
            Voice::Own => {
                ("application/json", ErrorBody { status, message, error_code, timestamp }.to_json())
            }
            Voice::Framework => {
                ("application/json", FrameworkErrorBody { message, error_code, status, timestamp }.to_json())
            }
            Voice::Bare => ("text/plain;charset=UTF-8", message.into_bytes()),
        }
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let (content_type, body) = self.body();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(Ok(allow)) = self.allow.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::ALLOW, allow);
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS || self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<RegistryError> for Wrong {
    fn from(error: RegistryError) -> Wrong {
        let message = error.to_string();
        match &error {
            RegistryError::Store(store) => {
                tracing::warn!(error = %store, "a call of ThingsBoard's REST failed");
                Wrong::new(unavailable(store.refusal().kind()), ErrorCode::GENERAL, message)
            }
            RegistryError::Forbidden | RegistryError::RoleInsufficient { .. } => Wrong::forbidden(),
            RegistryError::NotFound { what, name } => Wrong::not_found(missing(*what, name)),
            RegistryError::VersionChanged { .. } => {
                Wrong::new(StatusCode::CONFLICT, ErrorCode::VERSION_CONFLICT, message)
            }
            RegistryError::RevisionChanged { what, .. } => {
                let told = match what {
                    What::Device => "Device was already changed by someone else",
                    What::Profile => "Device profile was already changed by someone else",
                    _ => "Entity was already changed by someone else",
                };
                Wrong::new(StatusCode::CONFLICT, ErrorCode::VERSION_CONFLICT, told)
            }
            error => Wrong::bad_request(words(error).map_or(message, str::to_owned)),
        }
    }
}

fn missing(what: What, name: &str) -> String {
    match what {
        What::Device => format!("Device with id [{name}] is not found"),
        What::Profile => format!("Device profile with id [{name}] is not found"),
        _ => "Requested item wasn't found!".to_owned(),
    }
}

/// What ThingsBoard says where we would say it otherwise (sections 6.2 and 11.4).
fn words(error: &RegistryError) -> Option<&'static str> {
    Some(match error {
        RegistryError::Exists { what: Unique::Device, .. } => "Device with such name already exists!",
        RegistryError::Exists { what: Unique::Profile, .. } => {
            "Device profile with such name already exists!"
        }
        RegistryError::ProvisionKeyInUse => "Device profile with such provision device key already exists!",
        RegistryError::CredentialsInUse { elsewhere: false } => {
            "Device credentials are already assigned to another device!"
        }
        // Nobody learns what devices of other tenants hold.
        RegistryError::CredentialsInUse { elsewhere: true } => "Failed to provision device!",
        RegistryError::CredentialsRefused(Refusal::BasicIdentityMissing) => {
            "Both mqtt client id and user name are empty!"
        }
        RegistryError::CredentialsRefused(Refusal::BasicPasswordWithoutUser) => {
            "Password cannot be specified along with client id"
        }
        RegistryError::ProfileInUse { .. } => {
            "The device profile referenced by the devices cannot be deleted!"
        }
        RegistryError::DefaultProfile { .. } => "Deletion of Default Device Profile is prohibited!",
        _ => return None,
    })
}

impl From<AuthenticationRefusal> for Wrong {
    fn from(refusal: AuthenticationRefusal) -> Wrong {
        match &refusal {
            AuthenticationRefusal::Unknown
            | AuthenticationRefusal::Password
            | AuthenticationRefusal::SignOn { .. } => Wrong::unauthorized("Invalid username or password"),
            AuthenticationRefusal::Expired | AuthenticationRefusal::Revoked => Wrong::expired(),
            AuthenticationRefusal::Disabled => Wrong::unauthorized("User account is not active"),
            AuthenticationRefusal::TooMany | AuthenticationRefusal::Busy => {
                Wrong::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TOO_MANY_REQUESTS, "Too many requests")
            }
            AuthenticationRefusal::Store(error) => {
                let message = error.refusal().sentence();
                Wrong::new(unavailable(error.refusal().kind()), ErrorCode::GENERAL, message)
            }
        }
    }
}

fn unavailable(kind: Kind) -> StatusCode {
    match kind {
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
