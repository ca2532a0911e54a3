//! Bulk import (section 11.5): a file with commas in it, and what its columns mean.

use serde::Serialize;
use serde_json::Value;

use super::members::{Members, Unreadable};

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// The name.
    Name,
    /// The name of the profile.
    Type,
    /// The operators' own note.
    Label,
    /// `additionalInfo.description`
    Description,
    /// `additionalInfo.gateway`
    IsGateway,
    /// A token.
    AccessToken,
    /// A certificate.
    X509,
    /// A part of MQTT basic credentials.
    MqttClientId,
    /// A part of MQTT basic credentials.
    MqttUserName,
    /// A part of MQTT basic credentials.
    MqttPassword,
    /// An attribute that the device sees.
    SharedAttribute(Option<String>),
    /// An attribute that it does not see.
    ServerAttribute(Option<String>),
    /// A value of a time series.
    Timeseries(Option<String>),
    /// Of edges, which are not here.
    Ignored,
}

/// A cell's value, as it is typed.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkRequest {
    /// The file.
    pub file: String,
    /// What its columns hold, in their order.
    pub columns: Vec<Column>,
    /// What stands between cells.
    pub delimiter: u8,
    /// Whether the first line names the columns.
    pub header: bool,
    /// Whether attributes and time series of devices that are there already are written.
    pub update: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkResult {
    /// How many devices are new.
    pub created: u64,
    /// How many were there.
    pub updated: u64,
    /// How many rows came to nothing.
    pub errors: u64,
    /// Why; a text for each.
    pub errors_list: Vec<String>,
}

impl BulkRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(body: &[u8]) -> Result<BulkRequest, Unreadable> {
        let mut members = Members::parse(body)?;
        let file = members.text("file")?.filter(|file| !file.is_empty());
        let file = file.ok_or_else(|| Unreadable("`file` is missing or empty".to_owned()))?;
        let mapping = members.object("mapping")?;
        let mut mapping = mapping.ok_or_else(|| Unreadable("`mapping` is missing".to_owned()))?;
        let columns = match mapping.take("columns") {
            Some(Value::Array(columns)) if !columns.is_empty() => {
                columns.into_iter().map(column).collect::<Result<Vec<_>, _>>()?
            }
            _ => return Err(Unreadable("`mapping.columns` is missing or empty".to_owned())),
        };
        let delimiter = match mapping.text("delimiter")?.as_deref() {
            None => b',',
            Some(text) if text.len() == 1 && !matches!(text, "\"" | "\r" | "\n") => text.as_bytes()[0],
            Some(_) => return Err(Unreadable("`mapping.delimiter` is not one ASCII character".to_owned())),
        };
        let header = mapping.flag("header")?.unwrap_or(true);
        let update = mapping.flag("update")?.unwrap_or(false);
        Ok(BulkRequest { file, columns, delimiter, header, update })
    }
}

fn column(value: Value) -> Result<Column, Unreadable> {
    let mut members = Members::of(value)?;
    let kind = members.text("type")?.unwrap_or_default();
    let key = members.text("key")?.filter(|key| !key.is_empty());
    Ok(match kind.as_str() {
        "NAME" => Column::Name,
        "TYPE" => Column::Type,
        "LABEL" => Column::Label,
        "DESCRIPTION" => Column::Description,
        "IS_GATEWAY" => Column::IsGateway,
        "ACCESS_TOKEN" => Column::AccessToken,
        "X509" => Column::X509,
        "MQTT_CLIENT_ID" => Column::MqttClientId,
        "MQTT_USER_NAME" => Column::MqttUserName,
        "MQTT_PASSWORD" => Column::MqttPassword,
        "SHARED_ATTRIBUTE" => Column::SharedAttribute(key),
        "SERVER_ATTRIBUTE" => Column::ServerAttribute(key),
        "TIMESERIES" => Column::Timeseries(key),
        "ROUTING_KEY" | "SECRET" => Column::Ignored,
        other if other.starts_with("LWM2M_") || other.starts_with("SNMP_") => {
            return Err(Unreadable(format!("Columns of type {other} are not taken by this server")));
        }
        other => return Err(Unreadable(format!("Unknown column type: {other}"))),
    })
}

/// A cell of an attribute or a time series: a number (with a point or a comma), a yes or no, else its text.
#[must_use]
pub fn typed(cell: &str) -> Value {
    match cell {
        _ if cell.eq_ignore_ascii_case("true") => Value::Bool(true),
        _ if cell.eq_ignore_ascii_case("false") => Value::Bool(false),
        _ => number(&cell.replacen(',', ".", 1)).unwrap_or_else(|| Value::String(cell.to_owned())),
    }
}

fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !plain || !digits.starts_with(|c: char| c.is_ascii_digit()) || digits.ends_with('.') {
        return None;
    }
    match text.parse::<i64>() {
        Ok(number) => Some(number.into()),
        Err(_) => text.parse::<f64>().ok().filter(|_| text.contains('.')).map(Value::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_typed_as_thingsboard_types_them() {
        for (cell, value) in [
            ("5", Value::from(5)),
            ("1.5", Value::from(1.5)),
            ("1,5", Value::from(1.5)),
            ("007", Value::from(7)),
            ("-3", Value::from(-3)),
            ("TRUE", Value::from(true)),
            ("{\"x\":1}", Value::from("{\"x\":1}")),
            ("1.2.3", Value::from("1.2.3")),
            ("", Value::from("")),
            ("1.", Value::from("1.")),
        ] {
            assert_eq!(typed(cell), value, "{cell}");
        }
    }

    #[test]
    fn what_is_left_out_has_a_default_and_what_is_wrong_is_said() {
        let read = |mapping: &str| {
            BulkRequest::parse(format!(r#"{{"file":"name\nx\n","mapping":{mapping}}}"#).as_bytes())
        };
        let request = read(r#"{"columns":[{"type":"NAME"}]}"#).unwrap();
        assert_eq!((request.delimiter, request.header, request.update), (b',', true, false));
        for mapping in [
            "{}",
            r#"{"columns":[]}"#,
            r#"{"columns":[{"type":"NOTHING"}]}"#,
            r#"{"columns":[{"type":"LWM2M_CLIENT_ENDPOINT"}]}"#,
            r#"{"columns":[{"type":"NAME"}],"delimiter":";;"}"#,
            r#"{"columns":[{"type":"NAME"}],"delimiter":""}"#,
        ] {
            assert!(read(mapping).is_err(), "{mapping}");
        }
    }
}
