//! The error JSON of ThingsBoard's HTTP interfaces (thingsboard page, section 11.2).

use serde::{Deserialize, Serialize};

use crate::json;

/// What an HTTP error says, in the key order of ThingsBoard's own errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// The HTTP status.
    pub status: u16,
    /// What happened. Never holds anything of the request.
    pub message: String,
    /// One of [`ErrorCode`].
    pub error_code: u16,
    /// When, in milliseconds since 1970.
    pub timestamp: i64,
}

impl ErrorBody {
    /// The body as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json::to_vec(self)
    }
}

/// The same in the key order of the framework beneath ThingsBoard, which says no where ThingsBoard is not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameworkErrorBody {
    /// As [`ErrorBody::message`].
    pub message: String,
    /// As [`ErrorBody::error_code`].
    pub error_code: u16,
    /// As [`ErrorBody::status`].
    pub status: u16,
    /// As [`ErrorBody::timestamp`].
    pub timestamp: i64,
}

impl FrameworkErrorBody {
    /// The body as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json::to_vec(self)
    }
}

/// The values of `errorCode`.
#[derive(Debug)]
pub struct ErrorCode;

impl ErrorCode {
    /// General error (500).
    pub const GENERAL: u16 = 2;
    /// Who asks is not known (401).
    pub const AUTHENTICATION: u16 = 10;
    /// The token has expired (401).
    pub const TOKEN_EXPIRED: u16 = 11;
    /// Not allowed (403).
    pub const PERMISSION_DENIED: u16 = 20;
    /// A value is not usable (400).
    pub const INVALID_ARGUMENTS: u16 = 30;
    /// The request is not usable (400, 405).
    pub const BAD_REQUEST_PARAMS: u16 = 31;
    /// There is no such thing (404).
    pub const ITEM_NOT_FOUND: u16 = 32;
    /// Asked too often (429).
    pub const TOO_MANY_REQUESTS: u16 = 33;
    /// It was changed meanwhile (409).
    pub const VERSION_CONFLICT: u16 = 35;
    /// No more of them are allowed (403).
    pub const ENTITIES_LIMIT: u16 = 41;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_stand_in_thingsboards_own_order() {
        let body = ErrorBody {
            status: 400,
            message: "Request is not a JSON object".to_owned(),
            error_code: ErrorCode::BAD_REQUEST_PARAMS,
            timestamp: 1_700_000_000_000,
        };
        assert_eq!(
            std::str::from_utf8(&body.to_json()).unwrap(),
            r#"{"status":400,"message":"Request is not a JSON object","errorCode":31,"timestamp":1700000000000}"#
        );
    }
}
