//! The provision request: one JSON object, the same on every transport (thingsboard page, section 2).

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::provision_response::{PLAIN_FAILURE_MESSAGE, ProvisionResponse};
use crate::json;
use crate::secret::Secret;

/// What a device says when it wants to be provisioned. A field that was absent is `None`; one that was
/// empty is there, and empty. Names are not trimmed yet.
#[derive(Debug, Clone, Default)]
pub struct ProvisionRequest {
    /// The name that the device gives itself.
    pub device_name: Option<String>,
    /// Selects the profile.
    pub provision_device_key: String,
    /// The group secret.
    pub provision_device_secret: Secret,
    /// The kind of credentials it asks for.
    pub credentials_type: Option<CredentialsType>,
    /// A token of its own.
    pub token: Option<Secret>,
    /// An MQTT client id of its own.
    pub client_id: Option<String>,
    /// An MQTT user name of its own. May log in alone, so kept like a secret.
    pub username: Option<Secret>,
    /// An MQTT password of its own.
    pub password: Option<Secret>,
    /// A certificate of its own, or its fingerprint; not a hash, whatever the name says.
    pub hash: Option<String>,
    /// Whether the device will speak for others.
    pub gateway: bool,
}

/// The kinds of credentials (thingsboard page, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialsType {
    /// A token.
    AccessToken,
    /// A certificate.
    X509Certificate,
    /// MQTT client id, user name and password.
    MqttBasic,
    /// Known by name only.
    Lwm2mCredentials,
}

impl CredentialsType {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "ACCESS_TOKEN",
            Self::X509Certificate => "X509_CERTIFICATE",
            Self::MqttBasic => "MQTT_BASIC",
            Self::Lwm2mCredentials => "LWM2M_CREDENTIALS",
        }
    }

    /// The type of that word; case matters.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::AccessToken, Self::X509Certificate, Self::MqttBasic, Self::Lwm2mCredentials]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// Why bytes are not a provision request. Of several reasons the first in this order is given, so that who
/// names no key and secret learns nothing else. No text of the request is in the error's own text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionRequestError {
    /// Not UTF-8, not JSON, not an object, or something behind it.
    #[error("request is not a JSON object")]
    NotAnObject,
    /// The key or the secret is absent or not text.
    #[error("request names no provision key and secret")]
    NoKeyOrSecret,
    /// A field holds `null`, an object or an array.
    #[error("field `{0}` is not text")]
    NotText(&'static str),
    /// A credentials type that does not exist; the word is for the answer.
    #[error("unknown credentials type")]
    UnknownCredentialsType(String),
}

impl ProvisionRequestError {
    /// The answer for the device (section 2, "Bad input"). Over HTTP, [`Self::NotAnObject`] is a status 400
    /// with the error JSON instead.
    #[must_use]
    pub fn response(&self) -> ProvisionResponse {
        match self {
            Self::NotAnObject => ProvisionResponse::failure("Request is not a JSON object"),
            Self::NoKeyOrSecret => ProvisionResponse::NotFound,
            Self::NotText(_) => ProvisionResponse::failure(PLAIN_FAILURE_MESSAGE),
            Self::UnknownCredentialsType(word) => {
                ProvisionResponse::failure(format!("Unknown credentials type: {word}"))
            }
        }
    }
}

impl ProvisionRequest {
    /// A request with key and secret only.
    pub fn new(key: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self { provision_device_key: key.into(), provision_device_secret: secret.into(), ..Self::default() }
    }

    /// Reads a request. Numbers and booleans in text fields become their text, unknown fields are ignored,
    /// of a repeated field the last counts.
    ///
    /// # Errors
    /// [`ProvisionRequestError`]
    pub fn parse(body: &[u8]) -> Result<Self, ProvisionRequestError> {
        let body = std::str::from_utf8(body).map_err(|_| ProvisionRequestError::NotAnObject)?;
        let fields: Fields<'_> =
            serde_json::from_str(body).map_err(|_| ProvisionRequestError::NotAnObject)?;
        fields.into_request()
    }

    /// The name and the provision key in a request that could not be read as a whole, as far as they are there.
    #[must_use]
    pub fn claimed_in(body: &[u8]) -> [Option<String>; 2] {
        let fields: Fields<'_> = serde_json::from_slice(body).unwrap_or_default();
        [fields.device_name, fields.provision_device_key]
            .map(|field| field.and_then(json::text_of).map(Cow::into_owned))
    }

    /// The request as JSON, in the order of the protocol's documentation; absent fields are left out.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json::to_vec(&Written {
            device_name: self.device_name.as_deref(),
            provision_device_key: &self.provision_device_key,
            provision_device_secret: self.provision_device_secret.expose(),
            credentials_type: self.credentials_type.map(CredentialsType::as_str),
            token: self.token.as_ref().map(Secret::expose),
            client_id: self.client_id.as_deref(),
            username: self.username.as_ref().map(Secret::expose),
            password: self.password.as_ref().map(Secret::expose),
            hash: self.hash.as_deref(),
            gateway: self.gateway,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<&'a str>,
    provision_device_key: &'a str,
    provision_device_secret: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    gateway: bool,
}

/// The fields of the document, as written in it.
#[derive(Default)]
struct Fields<'a> {
    device_name: Option<&'a RawValue>,
    provision_device_key: Option<&'a RawValue>,
    provision_device_secret: Option<&'a RawValue>,
    credentials_type: Option<&'a RawValue>,
    token: Option<&'a RawValue>,
    client_id: Option<&'a RawValue>,
    username: Option<&'a RawValue>,
    password: Option<&'a RawValue>,
    hash: Option<&'a RawValue>,
    gateway: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    DeviceName,
    ProvisionDeviceKey,
    ProvisionDeviceSecret,
    CredentialsType,
    Token,
    ClientId,
    Username,
    Password,
    Hash,
    Gateway,
    #[serde(other)]
    Unknown,
}

impl<'a> Fields<'a> {
    fn slot(&mut self, name: &Field) -> Option<&mut Option<&'a RawValue>> {
        Some(match name {
            Field::DeviceName => &mut self.device_name,
            Field::ProvisionDeviceKey => &mut self.provision_device_key,
            Field::ProvisionDeviceSecret => &mut self.provision_device_secret,
            Field::CredentialsType => &mut self.credentials_type,
            Field::Token => &mut self.token,
            Field::ClientId => &mut self.client_id,
            Field::Username => &mut self.username,
            Field::Password => &mut self.password,
            Field::Hash => &mut self.hash,
            Field::Gateway => &mut self.gateway,
            Field::Unknown => return None,
        })
    }

    fn into_request(self) -> Result<ProvisionRequest, ProvisionRequestError> {
        let key = self.provision_device_key.and_then(json::text_of);
        let secret = self.provision_device_secret.and_then(json::text_of);
        let (Some(key), Some(secret)) = (key, secret) else {
            return Err(ProvisionRequestError::NoKeyOrSecret);
        };
        Ok(ProvisionRequest {
            provision_device_key: key.into_owned(),
            provision_device_secret: Secret::new(secret),
            device_name: text("deviceName", self.device_name)?,
            token: text("token", self.token)?.map(Secret::new),
            client_id: text("clientId", self.client_id)?,
            username: text("username", self.username)?.map(Secret::new),
            password: text("password", self.password)?.map(Secret::new),
            hash: text("hash", self.hash)?,
            gateway: text("gateway", self.gateway)?.is_some_and(|text| text.eq_ignore_ascii_case("true")),
            credentials_type: text("credentialsType", self.credentials_type)?
                .map(credentials_type)
                .transpose()?,
        })
    }
}

fn text(name: &'static str, value: Option<&RawValue>) -> Result<Option<String>, ProvisionRequestError> {
    let Some(value) = value else { return Ok(None) };
    let text = json::text_of(value).ok_or(ProvisionRequestError::NotText(name))?;
    Ok(Some(text.into_owned()))
}

fn credentials_type(word: String) -> Result<CredentialsType, ProvisionRequestError> {
    CredentialsType::from_word(&word).ok_or(ProvisionRequestError::UnknownCredentialsType(word))
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a provision request")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key::<Field>()? {
                    match fields.slot(&name) {
                        Some(slot) => *slot = Some(map.next_value()?),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<ProvisionRequest, ProvisionRequestError> {
        ProvisionRequest::parse(body.as_bytes())
    }

    #[test]
    fn a_request_of_the_documentation_is_read() {
        let request = parse(
            r#"{"deviceName":"SN-001234","provisionDeviceKey":"abc123xyz789","provisionDeviceSecret":"secret456def"}"#,
        )
        .unwrap();
        assert_eq!(request.device_name.as_deref(), Some("SN-001234"));
        assert_eq!(request.provision_device_key, "abc123xyz789");
        assert_eq!(request.provision_device_secret.expose(), "secret456def");
        assert!(request.credentials_type.is_none() && request.token.is_none() && !request.gateway);
    }

    #[test]
    fn numbers_and_booleans_in_text_fields_become_their_text() {
        let request = parse(
            r#"{"deviceName":17,"provisionDeviceKey":1.50,"provisionDeviceSecret":true,"gateway":"TRUE"}"#,
        )
        .unwrap();
        assert_eq!(request.device_name.as_deref(), Some("17"));
        assert_eq!(request.provision_device_key, "1.50");
        assert_eq!(request.provision_device_secret.expose(), "true");
        assert!(request.gateway);
    }

    #[test]
    fn of_a_repeated_field_the_last_counts_and_unknown_ones_do_not() {
        let request = parse(
            r#"{"x":{"provisionDeviceKey":1},"provisionDeviceKey":"a","provisionDeviceSecret":"s","provisionDeviceKey":"b","token":null,"token":"t"}"#,
        )
        .unwrap();
        assert_eq!(request.provision_device_key, "b");
        assert_eq!(request.token.map(|token| token.expose().to_owned()).as_deref(), Some("t"));
    }

    #[test]
    fn what_is_not_a_json_object_is_told_so() {
        let bad: [&[u8]; 10] = [
            b"",
            b"{",
            b"[]",
            b"null",
            b"\"x\"",
            b"{'a':1}",
            b"{} x",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"\x08\x02",
        ];
        for body in bad {
            let error = ProvisionRequest::parse(body).unwrap_err();
            assert_eq!(error, ProvisionRequestError::NotAnObject, "{body:?}");
            assert_eq!(
                error.response().to_json(),
                br#"{"errorMsg":"Request is not a JSON object","status":"FAILURE"}"#
            );
        }
    }

    #[test]
    fn without_key_and_secret_nothing_else_is_said() {
        for body in [
            "{}",
            r#"{"provisionDeviceKey":"k"}"#,
            r#"{"provisionDeviceSecret":"s","credentialsType":"X"}"#,
            r#"{"provisionDeviceKey":null,"provisionDeviceSecret":"s","token":{}}"#,
            r#"{"provisionDeviceKey":"k","provisionDeviceSecret":["a","b"]}"#,
        ] {
            let error = parse(body).unwrap_err();
            assert_eq!(error, ProvisionRequestError::NoKeyOrSecret, "{body}");
            assert_eq!(
                error.response().to_json(),
                br#"{"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}"#
            );
        }
    }

    #[test]
    fn an_unknown_credentials_type_is_named_in_the_answer() {
        for (written, word) in [(r#""access_token""#, "access_token"), ("7", "7"), (r#""""#, "")] {
            let body = format!(
                r#"{{"provisionDeviceKey":"k","provisionDeviceSecret":"s","credentialsType":{written}}}"#
            );
            let error = parse(&body).unwrap_err();
            assert_eq!(error, ProvisionRequestError::UnknownCredentialsType(word.to_owned()));
            let answer = format!(r#"{{"errorMsg":"Unknown credentials type: {word}","status":"FAILURE"}}"#);
            assert_eq!(error.response().to_json(), answer.as_bytes());
        }
    }

    #[test]
    fn null_an_object_or_an_array_in_a_text_field_is_an_error() {
        for field in ["deviceName", "token", "clientId", "username", "password", "hash", "credentialsType"] {
            for value in ["null", "{}", "[]", "[1,2]"] {
                let body =
                    format!(r#"{{"provisionDeviceKey":"k","provisionDeviceSecret":"s","{field}":{value}}}"#);
                assert_eq!(parse(&body).unwrap_err(), ProvisionRequestError::NotText(field));
            }
        }
    }

    #[test]
    fn a_written_request_is_read_back() {
        let mut request = ProvisionRequest::new("k\"", "s\\");
        request.device_name = Some("pump-17".into());
        request.credentials_type = Some(CredentialsType::MqttBasic);
        request.username = Some("u".into());
        request.gateway = true;
        let json = request.to_json();
        assert_eq!(
            std::str::from_utf8(&json).unwrap(),
            r#"{"deviceName":"pump-17","provisionDeviceKey":"k\"","provisionDeviceSecret":"s\\","credentialsType":"MQTT_BASIC","username":"u","gateway":true}"#
        );
        assert_eq!(ProvisionRequest::parse(&json).unwrap().to_json(), json);
    }

    #[test]
    fn debug_shows_no_secret() {
        let body = r#"{"provisionDeviceKey":"k","provisionDeviceSecret":"HIDDEN","token":"HIDDEN","username":"HIDDEN","password":"HIDDEN"}"#;
        assert!(!format!("{:?}", parse(body).unwrap()).contains("HIDDEN"));
    }
}
