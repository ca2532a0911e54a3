//! Our own operator API, `/api/muster/v1`: the shapes that the server and the command line share.
//!
//! Keys are `snake_case`; words of a fixed set are spelled as on the command line
//! (`create-new`, `return-existing`). Every point in time is RFC 3339 text in UTC, made by the server;
//! durations carry their unit in their name. An absent optional field and `null` mean the same, except
//! in a [`Change`].

mod backups;
mod bulk;
mod devices;
mod freezes;
mod joining;
mod journal;
mod operations;
mod operators;
mod profiles;
mod secrets;
mod selector;
mod sign_on;
mod traces;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use backups::*;
pub use bulk::*;
pub use devices::*;
pub use freezes::*;
pub use joining::*;
pub use journal::*;
pub use operations::*;
pub use operators::*;
pub use profiles::*;
pub use secrets::*;
pub use selector::*;
pub use sign_on::*;
pub use traces::*;

/// The path below which the operator API lives.
pub const BASE_PATH: &str = "/api/muster/v1";

/// The media type of a [`Problem`].
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// Why a call was not carried out (RFC 9457, section 3.1), with our refusal code and a hint.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Problem {
    /// A reference that names the kind of problem; `about:blank` where the status says it all.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// A short sentence for the kind of problem.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The code that programs test, such as `device-exists`.
    pub code: String,
    /// What to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// The rows, in the order of the listing.
    pub items: Vec<T>,
    /// The cursor to ask the next page with; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a partial update does to one field: an absent member keeps it, `null` clears it, anything else
/// sets it. Fields of this type need `#[serde(default, skip_serializing_if = "Change::is_keep")]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// Leave the field as it is.
    #[default]
    Keep,
    /// Remove the value.
    Clear,
    /// Put this value in its place.
    Set(T),
}

impl<T> Change<T> {
    /// Whether the field stays as it is.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The field's value after the change.
    pub fn apply(self, present: Option<T>) -> Option<T> {
        match self {
            Self::Keep => present,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => serializer.serialize_some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::deserialize(deserializer)? {
            Some(value) => Self::Set(value),
            None => Self::Clear,
        })
    }
}

/// Reads `null` as what is absent.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// What may be put there, or `null`; that the field may be absent is said by its default.
impl<T: JsonSchema> JsonSchema for Change<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}Change", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_applies_to_what_is_there() {
        assert_eq!(Change::Keep.apply(Some(1)), Some(1));
        assert_eq!(Change::Clear.apply(Some(1)), None);
        assert_eq!(Change::Set(2).apply(Some(1)), Some(2));
    }
}
