//! Client attributes that a device posts (thingsboard page, section 9.1).

use super::telemetry::{self, TelemetryError, Value};

/// Reads `{"key":value,…}`; values are converted as for telemetry.
///
/// # Errors
/// [`TelemetryError`]; then nothing of the payload counts.
pub fn parse(payload: &[u8]) -> Result<Vec<(String, Value)>, TelemetryError> {
    telemetry::pairs(payload)
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
}
