//! Signing on over an OpenID provider: `/sign-on/openid`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Where people sign on.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct OpenIdOffered {
    /// The provider, as it calls itself.
    pub issuer: String,
    /// What the server is called there.
    pub client_id: String,
    /// Where a browser begins.
    pub authorization_endpoint: String,
    /// Where the provider sends it back to: an address of the person's own machine. Without a port any will do.
    pub redirect_uri: String,
    /// What the provider is asked to tell.
    pub scopes: Vec<String>,
    /// Whether somebody may sign on by a code on another machine.
    pub device: bool,
}

/// What somebody shows to sign on.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
#[serde(tag = "grant", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OpenIdShown {
    /// What the provider gave to the browser (RFC 6749, section 4.1; RFC 7636).
    Code {
        /// The code.
        #[serde(serialize_with = "Secret::serialize_clear")]
        code: Secret,
        /// What the challenge was made of.
        #[serde(serialize_with = "Secret::serialize_clear")]
        code_verifier: Secret,
        /// Where the browser was sent back to.
        redirect_uri: String,
        /// What the token has to repeat.
        nonce: String,
    },
    /// What signing on at another machine began with (RFC 8628).
    Device {
        /// The code that nobody types.
        #[serde(serialize_with = "Secret::serialize_clear")]
        device_code: Secret,
    },
    /// A token of the provider's.
    Token {
        /// The token.
        #[serde(serialize_with = "Secret::serialize_clear")]
        token: Secret,
    },
}

/// Signing on at another machine has begun.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub struct OpenIdDevice {
    /// To be shown again until somebody has signed on.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub device_code: Secret,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_uri_complete: Option<String>,
    /// How long the codes are good.
    pub expires_in_s: u64,
    /// How long to wait before asking again.
    pub interval_s: u64,
}

/// Somebody has signed on.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub struct SignedOn {
    /// The account.
    pub name: String,
    /// For `Authorization: Bearer`.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub token: Secret,
    /// How long it is good.
    pub expires_in_s: u64,
    /// For another token, by `POST /api/auth/token`.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub refresh_token: Secret,
}
