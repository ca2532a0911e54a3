//! What statements over devices are put together from.

use domain::{DeviceKey, ProfileId, TenantId, Timestamp};

use crate::driver::{Param, Sql};

/// A piece of a statement with what stands for its `?`.
#[derive(Debug, Default)]
pub(super) struct Clause {
    pub(super) text: String,
    values: Vec<Value>,
}

/// A parameter that lives as long as its statement.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Int(i64),
    Text(String),
}

impl Clause {
    pub(super) fn add(&mut self, text: &str, values: impl IntoIterator<Item = Value>) {
        self.text.push_str(text);
        self.values.extend(values);
    }

    /// The parameters of the whole, with those of what comes behind.
    pub(super) fn params_and<'a>(&'a self, behind: &'a [Value]) -> Vec<Param<'a>> {
        self.values.iter().chain(behind).map(Value::param).collect()
    }
}

impl Value {
    fn param(&self) -> Param<'_> {
        match self {
            Value::Int(number) => Param::from(*number),
            Value::Text(text) => Param::from(text.as_str()),
        }
    }
}

/// Nothing that is stored holds U+0000, and not every database takes it.
impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.replace('\0', "\u{fffd}"))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Int(number.cast_signed())
    }
}

impl From<TenantId> for Value {
    fn from(tenant: TenantId) -> Value {
        tenant.0.into()
    }
}

impl From<ProfileId> for Value {
    fn from(profile: ProfileId) -> Value {
        profile.0.into()
    }
}

impl From<DeviceKey> for Value {
    fn from(key: DeviceKey) -> Value {
        key.0.into()
    }
}

impl From<Timestamp> for Value {
    fn from(moment: Timestamp) -> Value {
        Value::Int(moment.0)
    }
}

/// ` AND` the text stands in name or note.
pub(super) fn text_matches(clause: &mut Clause, sql: Sql<'_>, text: &str) {
    clause.add(" AND (", []);
    text_stands(clause, sql, text);
    clause.add(")", []);
}

/// The text stands in name or note, whatever the case of the letters A to Z.
pub(super) fn text_stands(clause: &mut Clause, sql: Sql<'_>, text: &str) {
    let wanted = text.to_ascii_lowercase();
    let (condition, wanted) = if sql.is_postgres() {
        // As the indexes have it.
        ("lower(name_key) LIKE ? OR lower(label) LIKE ?", format!("%{}%", escaped(&wanted)))
    } else {
        ("instr(lower(name_key), ?) > 0 OR instr(lower(label), ?) > 0", wanted)
    };
    clause.add(condition, [wanted.as_str().into(), wanted.as_str().into()]);
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// What the index of texts is asked for so that it finds every text with this one in it; `None` where it is too short.
pub(super) fn trigrams(text: &str) -> Option<String> {
    /// More narrow it no further.
    const MOST: usize = 24;
    let characters: Vec<char> = text.replace('\0', "\u{fffd}").chars().collect();
    let quoted = |three: &[char]| format!("\"{}\"", three.iter().collect::<String>().replace('"', "\"\""));
    let all: Vec<String> = characters.windows(3).take(MOST).map(quoted).collect();
    (!all.is_empty()).then(|| all.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_asked_for_by_all_its_threes() {
        assert_eq!(trigrams("ab"), None);
        assert_eq!(trigrams("pump").as_deref(), Some("\"pum\" AND \"ump\""));
        assert_eq!(trigrams("a\"b").as_deref(), Some("\"a\"\"b\""));
    }

    #[test]
    fn what_a_pattern_means_stands_for_itself() {
        assert_eq!(escaped("50%_\\"), "50\\%\\_\\\\");
    }
}
