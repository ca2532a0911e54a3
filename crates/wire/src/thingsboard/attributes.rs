//! Attributes: those that a device posts, those that it asks for, and what it is told of changes (thingsboard
//! page, section 9.1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::telemetry::{self, TelemetryError, Value};
use crate::json;

/// Reads `{"key":value,…}`; values are converted as for telemetry.
///
/// # Errors
/// [`TelemetryError`]; then nothing of the payload counts.
pub fn parse(payload: &[u8]) -> Result<Vec<(String, Value)>, TelemetryError> {
    telemetry::pairs(payload)
}

/// Which attributes a device asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttributesRequest {
    /// Keys of those that it said of itself; `None` asks for none, unless `shared` is `None` too.
    pub client: Option<Vec<String>>,
    /// Keys of those that are shared with it, likewise.
    pub shared: Option<Vec<String>>,
}

impl AttributesRequest {
    /// Reads `{"clientKeys":"a,b","sharedKeys":"c"}`; both parts may be missing, and then all are asked for.
    ///
    /// # Errors
    /// [`TelemetryError::NotAnObject`].
    pub fn parse(payload: &[u8]) -> Result<Self, TelemetryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Request {
            client_keys: Option<String>,
            shared_keys: Option<String>,
        }
        let is_object = payload.trim_ascii_start().starts_with(b"{");
        let request: Option<Request> = serde_json::from_slice(payload).ok().filter(|_| is_object);
        let request = request.ok_or(TelemetryError::NotAnObject)?;
        Ok(Self::of(request.client_keys.as_deref(), request.shared_keys.as_deref()))
    }

    /// The request whose keys are written so.
    #[must_use]
    pub fn of(client_keys: Option<&str>, shared_keys: Option<&str>) -> Self {
        Self { client: client_keys.and_then(keys), shared: shared_keys.and_then(keys) }
    }
}

/// Keys between commas; `None` where there is none.
#[must_use]
pub fn keys(text: &str) -> Option<Vec<String>> {
    let keys: Vec<String> =
        text.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect();
    (!keys.is_empty()).then_some(keys)
}

/// A device's attributes; a part that is empty is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AttributesResponse {
    /// Those that it said of itself.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub client: Map<String, Json>,
    /// Those that are shared with it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub shared: Map<String, Json>,
}

impl AttributesResponse {
    /// The response as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json::to_vec(self)
    }
}

/// Shared attributes that have changed, as a device is told: what they are now, and which are gone.
#[must_use]
pub fn update(mut present: Map<String, Json>, deleted: Vec<String>) -> Vec<u8> {
    if !deleted.is_empty() {
        present.insert("deleted".to_owned(), deleted.into());
    }
    json::to_vec(&present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ts_and_values_are_ordinary_names_of_attributes() {
        assert_eq!(
            parse(br#"{"ts":1,"values":{},"fw":"1.2.3"}"#).unwrap(),
            [
                ("ts".to_owned(), Value::Integer(1)),
                ("values".to_owned(), Value::Json("{}".to_owned())),
                ("fw".to_owned(), Value::Text("1.2.3".to_owned())),
            ]
        );
    }

    #[test]
    fn an_array_is_not_a_set_of_attributes() {
        assert_eq!(parse(b"[{}]"), Err(TelemetryError::NotAnObject));
    }

    #[test]
    fn a_request_names_keys_or_means_all() {
        let parsed = |text: &str| AttributesRequest::parse(text.as_bytes()).unwrap();
        let some = |keys: &[&str]| Some(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
        assert_eq!(parsed("{}"), AttributesRequest::default());
        assert_eq!(parsed(r#"{"clientKeys":"","sharedKeys":null}"#), AttributesRequest::default());
        let both = AttributesRequest { client: some(&["a", "b"]), shared: some(&["c"]) };
        assert_eq!(parsed(r#"{"clientKeys":"a, b,","sharedKeys":"c","more":1}"#), both);
        for wrong in ["", "[]", "1", r#"{"clientKeys":["a"]}"#] {
            assert!(AttributesRequest::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn empty_parts_of_a_response_are_left_out() {
        assert_eq!(AttributesResponse::default().to_json(), b"{}");
        let client: Map<_, _> = [("a".to_owned(), 1.into())].into_iter().collect();
        let response = AttributesResponse { client: client.clone(), ..AttributesResponse::default() };
        assert_eq!(response.to_json(), br#"{"client":{"a":1}}"#);
        assert_eq!(update(client, vec!["b".to_owned()]), br#"{"a":1,"deleted":["b"]}"#);
    }
}
