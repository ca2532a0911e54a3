//! Values of devices as JSON.

use serde_json::Value as Json;
use store::Value;

/// A value that a device told, as JSON. What cannot be said in JSON is text.
pub fn as_json(value: &Value) -> Json {
    match value {
        Value::Bool(yes) => (*yes).into(),
        Value::Integer(number) => (*number).into(),
        Value::Double(number) => {
            serde_json::Number::from_f64(*number).map_or_else(|| number.to_string().into(), Json::Number)
        }
        Value::Text(text) => text.clone().into(),
        Value::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()),
    }
}
