//! What clients ask before anything else.

use axum::Json;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::registry::{LEAST_PASSWORD_CHARS, MOST_PASSWORD_CHARS};
use wire::thingsboard::ErrorCode;
use wire::thingsboard::rest::login::{PasswordPolicy, SystemInfo};

use super::error::Wrong;

/// The version of ThingsBoard whose interface is spoken.
const SPOKEN: &str = "4.2.0";

/// `GET /api/system/info`
pub(super) async fn info() -> Json<SystemInfo> {
    Json(SystemInfo {
        version: SPOKEN.to_owned(),
        artifact: "application".to_owned(),
        name: "thingsboard".to_owned(),
        kind: "CE".to_owned(),
    })
}

/// `GET /api/noauth/activate`: nobody is activated here; scripts ask to see whether anybody answers.
pub(super) async fn activate(RawQuery(query): RawQuery) -> Response {
    if query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("activateToken="))) {
        return StatusCode::CONFLICT.into_response();
    }
    let message = r#"Parameter conditions "activateToken" not met for actual request parameters: "#;
    Wrong::framework(StatusCode::BAD_REQUEST, ErrorCode::BAD_REQUEST_PARAMS, message).into_response()
}

/// `POST /api/noauth/oauth2Clients`: there are none.
pub(super) async fn oauth2_clients() -> Json<[(); 0]> {
    Json([])
}

/// `GET /api/noauth/userPasswordPolicy`
pub(super) async fn password_policy() -> Json<PasswordPolicy> {
    Json(PasswordPolicy {
        minimum_length: LEAST_PASSWORD_CHARS,
        maximum_length: MOST_PASSWORD_CHARS,
        minimum_uppercase_letters: None,
        minimum_lowercase_letters: None,
        minimum_digits: None,
        minimum_special_characters: None,
        allow_whitespaces: true,
        force_user_to_reset_password_if_not_valid: false,
        password_expiration_period_days: None,
        password_reuse_frequency_days: None,
    })
}
