//! Remote calls, in both directions (thingsboard page, section 9.1): a device is asked for something, or asks.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json;

/// The method by which SDKs ask, at the start of every session, what they may send.
pub const SESSION_LIMITS: &str = "getSessionLimits";

/// A call.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Call {
    /// The method.
    pub method: String,
    /// What belongs to it; absent is `null`.
    #[serde(default)]
    pub params: Value,
}

/// A call of ours, as a device that polls is told of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NumberedCall {
    /// Its number, which the answer names.
    pub id: u32,
    /// The call.
    #[serde(flatten)]
    pub call: Call,
}

/// Bytes that are no call: not a JSON object with a `method` that is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("payload is not a JSON object with a `method`")]
pub struct NoCall;

impl Call {
    /// Reads `{"method":"…","params":…}`.
    ///
    /// # Errors
    /// [`NoCall`].
    pub fn parse(payload: &[u8]) -> Result<Call, NoCall> {
        let is_object = payload.trim_ascii_start().starts_with(b"{");
        serde_json::from_slice(payload).ok().filter(|_| is_object).ok_or(NoCall)
    }

    /// The call as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json::to_vec(self)
    }
}

impl NumberedCall {
    /// The call as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json::to_vec(self)
    }
}

/// What a session may send, for a device or for a gateway; there are no rates.
#[must_use]
pub fn session_limits(gateway: bool, most_bytes: usize, most_in_flight: usize) -> Value {
    let none = json!({"messages": "", "telemetryMessages": "", "telemetryDataPoints": ""});
    let mut limits =
        json!({"maxPayloadSize": most_bytes, "maxInflightMessages": most_in_flight, "rateLimits": none});
    if let Some(limits) = limits.as_object_mut().filter(|_| gateway) {
        limits.insert("gatewayRateLimits".to_owned(), none);
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_a_method_and_perhaps_parameters() {
        let call = Call::parse(br#" {"method":"m","params":[1],"timeout":5}"#).unwrap();
        assert_eq!(call, Call { method: "m".into(), params: json!([1]) });
        assert_eq!(Call::parse(br#"{"method":"m"}"#).unwrap().to_json(), br#"{"method":"m","params":null}"#);
        let numbered = NumberedCall { id: 0, call };
        assert_eq!(numbered.to_json(), br#"{"id":0,"method":"m","params":[1]}"#);
        for wrong in ["", "{}", r#"{"method":1}"#, r#"["m"]"#, r#"{"method":"m""#] {
            assert_eq!(Call::parse(wrong.as_bytes()), Err(NoCall), "{wrong}");
        }
    }

    #[test]
    fn a_gateway_is_told_of_two_limits() {
        assert!(session_limits(false, 1, 2).get("gatewayRateLimits").is_none());
        assert_eq!(session_limits(true, 1, 2)["gatewayRateLimits"]["messages"], "");
    }
}
