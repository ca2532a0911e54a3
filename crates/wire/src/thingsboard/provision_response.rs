//! The provision response (thingsboard page, section 3).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::CredentialsType;
use crate::json;
use crate::secret::Secret;

/// The text of every NOT_FOUND (section 1, row 3).
pub const NOT_FOUND_MESSAGE: &str = "Provision data was not found!";

/// The text of a FAILURE that tells no detail (section 1, row 3).
pub const PLAIN_FAILURE_MESSAGE: &str = "Failed to provision device!";

/// What a device is told.
#[derive(Debug, Clone)]
pub enum ProvisionResponse {
    /// It is provisioned, with these credentials.
    Success {
        /// What it logs in with from now on.
        credentials: Credentials,
    },
    /// Key and secret prove nothing.
    NotFound,
    /// It proved itself and is refused.
    Failure {
        /// The reason.
        error_msg: String,
    },
}

/// What a device logs in with.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A token.
    AccessToken(Secret),
    /// MQTT credentials; a part that does not count is empty.
    MqttBasic {
        /// The client id.
        client_id: String,
        /// The user name; may log in alone, so kept like a secret.
        user_name: Secret,
        /// The password.
        password: Secret,
    },
    /// The stored certificate text.
    X509(String),
}

/// Why bytes are not a provision response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionResponseError {
    /// Not a JSON object with a status.
    #[error("response is not a JSON object with a status")]
    NotAResponse,
    /// A status that does not exist.
    #[error("response has an unknown status")]
    UnknownStatus,
    /// A success without credentials that we understand.
    #[error("response has no usable credentials")]
    NoCredentials,
}

impl ProvisionResponse {
    /// A refusal of a device that proved itself.
    pub fn failure(error_msg: impl Into<String>) -> Self {
        Self::Failure { error_msg: error_msg.into() }
    }

    /// The answer as ThingsBoard writes it, key by key (sections 3.1 and 3.2).
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        match self {
            Self::Success { credentials } => credentials.to_json(),
            Self::NotFound => json::to_vec(&Refused { error_msg: NOT_FOUND_MESSAGE, status: "NOT_FOUND" }),
            Self::Failure { error_msg } => json::to_vec(&Refused { error_msg, status: "FAILURE" }),
        }
    }

    /// Reads an answer, as a client.
    ///
    /// # Errors
    /// [`ProvisionResponseError`]
    pub fn parse(body: &[u8]) -> Result<Self, ProvisionResponseError> {
        let fields: Fields<'_> =
            serde_json::from_slice(body).map_err(|_| ProvisionResponseError::NotAResponse)?;
        match &*fields.status {
            "SUCCESS" => Ok(Self::Success { credentials: fields.credentials()? }),
            "NOT_FOUND" => Ok(Self::NotFound),
            "FAILURE" => Ok(Self::failure(fields.error_msg.unwrap_or_default())),
            _ => Err(ProvisionResponseError::UnknownStatus),
        }
    }
}

impl Credentials {
    /// Which kind they are.
    #[must_use]
    pub fn credentials_type(&self) -> CredentialsType {
        match self {
            Self::AccessToken(_) => CredentialsType::AccessToken,
            Self::MqttBasic { .. } => CredentialsType::MqttBasic,
            Self::X509(_) => CredentialsType::X509Certificate,
        }
    }

    fn to_json(&self) -> Vec<u8> {
        match self {
            Self::AccessToken(token) => self.write(&token.expose()),
            Self::X509(certificate) => self.write(certificate),
            Self::MqttBasic { client_id, user_name, password } => self.write(&Basic {
                client_id: client_id.into(),
                user_name: user_name.expose().into(),
                password: password.expose().into(),
            }),
        }
    }

    fn write(&self, credentials_value: &impl Serialize) -> Vec<u8> {
        let credentials_type = self.credentials_type().as_str();
        json::to_vec(&Granted { credentials_value, credentials_type, status: "SUCCESS" })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Granted<'a, T> {
    credentials_value: &'a T,
    credentials_type: &'a str,
    status: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused<'a> {
    error_msg: &'a str,
    status: &'a str,
}

/// `userName` here, `username` in the request (section 1, row 9).
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Basic<'a> {
    #[serde(borrow)]
    client_id: Cow<'a, str>,
    #[serde(borrow)]
    user_name: Cow<'a, str>,
    #[serde(borrow)]
    password: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    error_msg: Option<String>,
    #[serde(borrow)]
    credentials_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    credentials_value: Option<&'a RawValue>,
}

impl Fields<'_> {
    fn credentials(&self) -> Result<Credentials, ProvisionResponseError> {
        self.known_credentials().ok_or(ProvisionResponseError::NoCredentials)
    }

    fn known_credentials(&self) -> Option<Credentials> {
        let kind = CredentialsType::from_word(self.credentials_type.as_deref()?)?;
        let value = self.credentials_value?.get();
        match kind {
            CredentialsType::AccessToken => serde_json::from_str(value).ok().map(Credentials::AccessToken),
            CredentialsType::X509Certificate => serde_json::from_str(value).ok().map(Credentials::X509),
            CredentialsType::MqttBasic => serde_json::from_str::<Basic<'_>>(value).ok().map(Basic::into),
            CredentialsType::Lwm2mCredentials => None,
        }
    }
}

impl From<Basic<'_>> for Credentials {
    fn from(basic: Basic<'_>) -> Self {
        Self::MqttBasic {
            client_id: basic.client_id.into_owned(),
            user_name: Secret::new(basic.user_name),
            password: Secret::new(basic.password),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the answer, compares, and reads it back.
    fn check(response: &ProvisionResponse, expected: &str) {
        let json = response.to_json();
        assert_eq!(std::str::from_utf8(&json).unwrap(), expected);
        assert_eq!(ProvisionResponse::parse(&json).unwrap().to_json(), json);
    }

    #[test]
    fn every_answer_is_written_in_thingsboards_key_order() {
        let success = |credentials| ProvisionResponse::Success { credentials };
        check(
            &success(Credentials::AccessToken("A1B2C3D4E5F6G7H8I9J0".into())),
            r#"{"credentialsValue":"A1B2C3D4E5F6G7H8I9J0","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}"#,
        );
        check(
            &success(Credentials::MqttBasic {
                client_id: String::new(),
                user_name: "u".into(),
                password: "p\"".into(),
            }),
            r#"{"credentialsValue":{"clientId":"","userName":"u","password":"p\""},"credentialsType":"MQTT_BASIC","status":"SUCCESS"}"#,
        );
        check(
            &success(Credentials::X509("MIIB+/=".into())),
            r#"{"credentialsValue":"MIIB+/=","credentialsType":"X509_CERTIFICATE","status":"SUCCESS"}"#,
        );
        check(
            &ProvisionResponse::NotFound,
            r#"{"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}"#,
        );
        check(
            &ProvisionResponse::failure("Device with this name already exists"),
            r#"{"errorMsg":"Device with this name already exists","status":"FAILURE"}"#,
        );
    }

    #[test]
    fn what_a_client_cannot_use_is_an_error() {
        use ProvisionResponseError::{NoCredentials, NotAResponse, UnknownStatus};
        for (body, error) in [
            ("", NotAResponse),
            ("{}", NotAResponse),
            (r#"{"provisionDeviceStatus":"SUCCESS"}"#, NotAResponse),
            (r#"{"status":"UNKNOWN"}"#, UnknownStatus),
            (r#"{"status":"SUCCESS"}"#, NoCredentials),
            (r#"{"status":"SUCCESS","credentialsType":"LWM2M_CREDENTIALS"}"#, NoCredentials),
            (r#"{"status":"SUCCESS","credentialsType":"ACCESS_TOKEN","credentialsValue":{}}"#, NoCredentials),
        ] {
            assert_eq!(ProvisionResponse::parse(body.as_bytes()).unwrap_err(), error, "{body}");
        }
    }

    #[test]
    fn debug_shows_no_credentials() {
        let credentials = Credentials::MqttBasic {
            client_id: "c".into(),
            user_name: "HIDDEN".into(),
            password: "HIDDEN".into(),
        };
        assert!(!format!("{:?}", ProvisionResponse::Success { credentials }).contains("HIDDEN"));
    }
}
