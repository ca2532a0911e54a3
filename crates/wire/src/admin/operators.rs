//! Tenants and operators.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::or_default;
use crate::secret::Secret;

/// A tenant: the outer wall.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Tenant {
    /// Public id.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// When it was made.
    pub created_at: String,
}

/// Asks for a new tenant.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantCreate {
    /// Unique name.
    pub name: String,
}

/// What an operator token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorRight {
    /// Everything, in every tenant.
    Server,
    /// Everything within one tenant.
    Tenant,
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorRole {
    /// Looks at everything but secrets.
    Viewer,
    /// Announces devices, and sees those that it announced.
    Installer,
    /// Runs the fleet.
    Operator,
    /// Guards the fleet.
    Security,
    /// Everything.
    #[default]
    Admin,
}

/// A local account of an operator.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct OperatorAccount {
    /// What it signs on with.
    pub name: String,
    /// What it may do.
    pub role: OperatorRole,
    /// Name of the tenant it is limited to; absent = the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Whether a password opens it.
    pub password: bool,
    /// When it was made.
    pub created_at: String,
    /// When it was changed last.
    pub changed_at: String,
    /// Since when it is shut out, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<String>,
    /// The OpenID provider whose word opens it, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// Asks for a new account.
#[derive(Debug, Clone, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorAccountCreate {
    /// What it signs on with: an e-mail address or another name.
    pub name: String,
    /// What it may do.
    pub role: OperatorRole,
    /// Name of the tenant it is limited to; absent = the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Its password; absent = none opens it yet.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "Secret::serialize_clear_option"
    )]
    pub password: Option<Secret>,
}

/// Changes an account; what is absent stays. Its sessions end.
#[derive(Debug, Clone, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorAccountChange {
    /// What it may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<OperatorRole>,
    /// Whether it is shut out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Its password.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "Secret::serialize_clear_option"
    )]
    pub password: Option<Secret>,
}

/// Gives one's own account another password.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnPassword {
    /// The present one.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub present: Secret,
    /// The new one.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub new: Secret,
}

/// The name of the file, in the folder of the server's keys, in which a recovery is asked for.
pub const RECOVERY_FILE: &str = "recovery.json";

/// What stands in [`RECOVERY_FILE`]: an admin's account that is made, or reset.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// What it signs on with.
    pub name: String,
    /// Its password from now on.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub password: Secret,
}

/// An operator token as listed; the token itself was shown once.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct OperatorToken {
    /// Public id, by which it is revoked.
    pub id: String,
    /// The operator's own note.
    pub label: String,
    /// What it opens.
    pub right: OperatorRight,
    /// What its holder may do.
    #[serde(default)]
    pub role: OperatorRole,
    /// Name of the tenant, for [`OperatorRight::Tenant`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// When it ends by itself; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// Asks for a new operator token.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorTokenCreate {
    /// Name of the tenant it is limited to; absent = the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What its holder may do; absent = everything.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<OperatorRole>")]
    pub role: OperatorRole,
    /// The operator's own note.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<String>")]
    pub label: String,
    /// Life in seconds; absent = no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
}

/// A new operator token. This answer is the only one that carries it.
#[derive(Debug, Clone, JsonSchema, Serialize, Deserialize)]
pub struct OperatorTokenCreated {
    /// The token, for `Authorization: Bearer`.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub token: Secret,
    /// Its row as listed from now on.
    #[serde(flatten)]
    pub listed: OperatorToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_created_answers_carry_the_secret_and_their_debug_does_not() {
        let created = OperatorTokenCreated {
            token: "mst_abc".into(),
            listed: OperatorToken {
                id: "t1".into(),
                label: "ci".into(),
                right: OperatorRight::Server,
                role: OperatorRole::Viewer,
                tenant: None,
                expires_at: None,
                created_at: "2026-11-23T18:00:00Z".into(),
                revoked_at: None,
            },
        };
        let json = serde_json::to_string(&created).unwrap();
        assert_eq!(
            json,
            r#"{"token":"mst_abc","id":"t1","label":"ci","right":"server","role":"viewer","created_at":"2026-11-23T18:00:00Z"}"#
        );
        assert!(!format!("{created:?}").contains("mst_abc"));
        let back: OperatorTokenCreated = serde_json::from_str(&json).unwrap();
        assert_eq!(back.token.expose(), "mst_abc");
        assert_eq!(back.listed, created.listed);
    }
}
