//! Signing on: what is asked, and what tokens say (sections 11.1 and 14.2).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::EntityId;
use crate::Secret;
use crate::json::text_of;

/// The life of an access token, in seconds.
pub const TOKEN_LIFE_S: i64 = 9_000;
/// The life of a refresh token, in seconds.
pub const REFRESH_LIFE_S: i64 = 604_800;
/// Who issues the tokens, as clients expect it.
pub const ISSUER: &str = "thingsboard.io";
/// The scope of everybody here.
pub const TENANT_ADMIN: &str = "TENANT_ADMIN";
/// The scope that makes a token one for refreshing only.
pub const REFRESH_TOKEN: &str = "REFRESH_TOKEN";

/// `POST /api/auth/login`
#[derive(Debug)]
pub struct LoginRequest {
    /// The account.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginFields<'a> {
    #[serde(borrow)]
    username: &'a RawValue,
    #[serde(borrow)]
    password: &'a RawValue,
}

impl LoginRequest {
    /// Reads the body; `None` where a member is missing, empty, or one that is not known.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<LoginRequest> {
        let fields: LoginFields<'_> = serde_json::from_slice(body).ok()?;
        let username = text_of(fields.username)?.into_owned();
        let password = Secret::new(text_of(fields.password)?);
        (!username.is_empty() && !password.is_empty()).then_some(LoginRequest { username, password })
    }
}

/// `POST /api/auth/token`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefreshRequest {
    /// A token whose scope is [`REFRESH_TOKEN`].
    pub refresh_token: Secret,
}

/// `POST /api/auth/changePassword`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangePassword {
    /// The present one.
    pub current_password: Secret,
    /// The new one.
    pub new_password: Secret,
}

/// The answer to both.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// For [`TOKEN_LIFE_S`].
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub token: Secret,
    /// For [`REFRESH_LIFE_S`].
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub refresh_token: Secret,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// The account's name.
    pub sub: String,
    /// The account's public id.
    pub user_id: String,
    /// One scope.
    pub scopes: Vec<String>,
    /// The session that a logout ends.
    pub session_id: String,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// [`ISSUER`].
    pub iss: String,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// Of access tokens only: whether the account may sign on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Never here.
    pub is_public: bool,
    /// Of access tokens only: the tenant's public id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// Of access tokens only: nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// Of refresh tokens only: what makes each different.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Ours: the state of the account for which it was made.
    pub epoch: u64,
}

impl Claims {
    /// Whether it is good for nothing but refreshing.
    #[must_use]
    pub fn is_refresh(&self) -> bool {
        self.scopes.iter().any(|scope| scope == REFRESH_TOKEN)
    }
}

/// `GET /api/auth/user`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Its public id.
    pub id: EntityId,
    /// When it was made, in milliseconds since 1970.
    pub created_time: i64,
    /// The tenant it works in.
    pub tenant_id: EntityId,
    /// Nobody.
    pub customer_id: EntityId,
    /// What it signs on with.
    pub email: String,
    /// [`TENANT_ADMIN`].
    pub authority: String,
    /// Not kept here.
    pub first_name: Option<String>,
    /// Not kept here.
    pub last_name: Option<String>,
    /// Not kept here.
    pub phone: Option<String>,
    /// The state of the account.
    pub version: u64,
    /// As the e-mail.
    pub name: String,
    /// Not kept here.
    pub additional_info: Option<serde_json::Value>,
}

/// `GET /api/noauth/userPasswordPolicy`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordPolicy {
    /// In characters.
    pub minimum_length: usize,
    /// In characters.
    pub maximum_length: usize,
    /// No rule here.
    pub minimum_uppercase_letters: Option<u32>,
    /// No rule here.
    pub minimum_lowercase_letters: Option<u32>,
    /// No rule here.
    pub minimum_digits: Option<u32>,
    /// No rule here.
    pub minimum_special_characters: Option<u32>,
    /// They are allowed.
    pub allow_whitespaces: bool,
    /// Never.
    pub force_user_to_reset_password_if_not_valid: bool,
    /// Never.
    pub password_expiration_period_days: Option<u32>,
    /// Never.
    pub password_reuse_frequency_days: Option<u32>,
}

/// `GET /api/system/info`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SystemInfo {
    /// The version of the interface that is spoken.
    pub version: String,
    /// What answers.
    pub artifact: String,
    /// What answers.
    pub name: String,
    /// `CE`
    #[serde(rename = "type")]
    pub kind: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_needs_two_members_and_no_other() {
        let read = |body: &str| LoginRequest::parse(body.as_bytes());
        let good = read(r#"{"username":"a@b","password":"x"}"#).unwrap();
        assert_eq!((good.username.as_str(), good.password.expose()), ("a@b", "x"));
        assert_eq!(read(r#"{"username":"a","password":5}"#).unwrap().password.expose(), "5");
        for body in [
            "",
            "{}",
            "[]",
            "garbage",
            r#"{"username":"a"}"#,
            r#"{"username":null,"password":"x"}"#,
            r#"{"username":"a","password":""}"#,
            r#"{"username":"a","password":"x","rememberMe":true}"#,
        ] {
            assert!(read(body).is_none(), "{body}");
        }
    }
}
