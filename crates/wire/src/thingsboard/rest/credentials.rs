//! Credentials of devices (sections 6 and 11.3).

use serde::Serialize;
use serde_json::Value;

use super::EntityId;
use super::members::{Members, Unreadable};
use crate::Secret;

/// The credentials of a device.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Their own public id.
    pub id: PlainId,
    /// When they were made, in milliseconds since 1970.
    pub created_time: i64,
    /// The device.
    pub device_id: EntityId,
    /// `ACCESS_TOKEN`, `MQTT_BASIC` or `X509_CERTIFICATE`.
    pub credentials_type: &'static str,
    /// The token, the user name, or a hash.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub credentials_id: Secret,
    /// Of MQTT_BASIC: its parts, as JSON text. Of X509_CERTIFICATE: the base64 of its DER, or its fingerprint.
    #[serde(serialize_with = "Secret::serialize_clear_option")]
    pub credentials_value: Option<Secret>,
    /// Rises with every save.
    pub version: u64,
}

/// An id that does not say what it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlainId {
    /// A UUID.
    pub id: String,
}

/// Credentials as a client sends them.
#[derive(Debug, Default)]
pub struct CredentialsRequest {
    /// Their own id.
    pub id: Option<String>,
    /// The device.
    pub device_id: Option<String>,
    /// What sort they are.
    pub credentials_type: Option<String>,
    /// The token.
    pub credentials_id: Option<Secret>,
    /// Of MQTT_BASIC: its parts, as JSON text. Of X509_CERTIFICATE: the certificate.
    pub credentials_value: Option<Secret>,
    /// The version that the client has seen.
    pub version: Option<i64>,
}

impl CredentialsRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it; never a value of it.
    pub fn parse(body: &[u8]) -> Result<CredentialsRequest, Unreadable> {
        CredentialsRequest::of(Members::parse(body)?)
    }

    /// Reads the members of an object.
    ///
    /// # Errors
    /// As [`CredentialsRequest::parse`].
    pub fn of(mut members: Members) -> Result<CredentialsRequest, Unreadable> {
        Ok(CredentialsRequest {
            id: members.id("id", None)?,
            device_id: members.id("deviceId", Some("DEVICE"))?,
            credentials_type: members.text("credentialsType")?,
            credentials_id: members.text("credentialsId")?.map(Secret::new),
            credentials_value: members.text("credentialsValue")?.map(Secret::new),
            version: members.number("version")?,
        })
    }
}

/// The parts of MQTT basic credentials, as they stand in `credentialsValue`.
#[derive(Debug, Clone, Default)]
pub struct BasicValue {
    /// The MQTT client id; empty where it does not count.
    pub client_id: String,
    /// The MQTT user name; empty where it does not count.
    pub user_name: String,
    /// The MQTT password; empty where it does not count.
    pub password: Secret,
}

impl BasicValue {
    /// Reads the JSON text; `None` where it is none, or has a member that is not known.
    #[must_use]
    pub fn parse(text: &str) -> Option<BasicValue> {
        let Ok(Value::Object(members)) = serde_json::from_str(text) else { return None };
        let mut value = BasicValue::default();
        for (name, part) in members {
            let part = match part {
                Value::String(text) => text,
                Value::Null => String::new(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            match name.as_str() {
                "clientId" => value.client_id = part,
                "userName" => value.user_name = part,
                "password" => value.password = Secret::new(part),
                _ => return None,
            }
        }
        Some(value)
    }

    /// The JSON text; parts that do not count are null.
    #[must_use]
    pub fn to_text(&self) -> Secret {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Written<'a> {
            client_id: Option<&'a str>,
            user_name: Option<&'a str>,
            password: Option<&'a str>,
        }
        fn part(text: &str) -> Option<&str> {
            (!text.is_empty()).then_some(text)
        }
        let written = Written {
            client_id: part(&self.client_id),
            user_name: part(&self.user_name),
            password: part(self.password.expose()),
        };
        Secret::new(serde_json::to_string(&written).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_basic_credentials_come_back_and_others_are_not_taken() {
        let value = BasicValue::parse(r#"{"clientId":"c","userName":null}"#).unwrap();
        assert_eq!(value.to_text().expose(), r#"{"clientId":"c","userName":null,"password":null}"#);
        for text in ["", "x", "[]", r#"{"clientId":"c","username":"x"}"#, r#"{"clientId":{}}"#] {
            assert!(BasicValue::parse(text).is_none(), "{text}");
        }
    }
}
