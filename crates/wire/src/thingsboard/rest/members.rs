//! Bodies as ThingsBoard reads them: a byte order mark, bytes behind the document and a number in a text's place are
//! taken, of two members with one name the last one counts.

use serde_json::{Map, Value};

use super::NULL_ID;

/// A body, or a part of it, that is not what it should be: a sentence for whoever sent it, without any value of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// A JSON object, member by member.
#[derive(Debug, Default)]
pub struct Members(Map<String, Value>);

/// A JSON document of any kind.
///
/// # Errors
/// Where it is none.
pub fn document(body: &[u8]) -> Result<Value, Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Unreadable("Required request body is missing".to_owned()));
    }
    let mut documents = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    match documents.next() {
        Some(Ok(document)) => Ok(document),
        Some(Err(error)) => {
            Err(Unreadable(format!("JSON parse error at line {}, column {}", error.line(), error.column())))
        }
        None => Err(Unreadable("Required request body is missing".to_owned())),
    }
}

impl Members {
    /// Reads an object.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(body: &[u8]) -> Result<Members, Unreadable> {
        Members::of(document(body)?)
    }

    /// The members of a value that is an object.
    ///
    /// # Errors
    /// Where it is none.
    pub fn of(value: Value) -> Result<Members, Unreadable> {
        match value {
            Value::Object(members) => Ok(Members(members)),
            _ => Err(Unreadable("Request body is not a JSON object".to_owned())),
        }
    }

    /// The object as a value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// Takes away a member that may name nothing, because there is no such thing here.
    ///
    /// # Errors
    /// Where it does name something.
    pub fn has_none_of(&mut self, member: &str, what: &str) -> Result<(), Unreadable> {
        let named = self.take(member);
        let id = named.as_ref().and_then(|named| named.get("id")).and_then(Value::as_str);
        if named.is_none() || id == Some(NULL_ID) {
            return Ok(());
        }
        Err(Unreadable(format!("{what} are not served by this server: `{member}`")))
    }

    /// A member; one that is null is not there.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text; numbers and booleans become their text.
    ///
    /// # Errors
    /// Where it is an object or an array.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Unreadable> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(_) => Err(wrong_kind(name, "a text")),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn number(&mut self, name: &str) -> Result<Option<i64>, Unreadable> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = match &value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_i64(),
        };
        number.map(Some).ok_or_else(|| wrong_kind(name, "a whole number"))
    }

    /// A yes or no.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Unreadable> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(wrong_kind(name, "true or false")),
        }
    }

    /// An object.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn object(&mut self, name: &str) -> Result<Option<Members>, Unreadable> {
        let read = |value| Members::of(value).map_err(|_| wrong_kind(name, "an object"));
        self.take(name).map(read).transpose()
    }

    /// The UUID of an id object; `entity` is what it has to name, or nothing where ids of that sort name none.
    ///
    /// # Errors
    /// Where it is no such object.
    pub fn id(&mut self, name: &str, entity: Option<&str>) -> Result<Option<String>, Unreadable> {
        let Some(mut object) = self.object(name)? else { return Ok(None) };
        let kind = object.text("entityType")?;
        if entity.is_some_and(|wanted| kind.as_deref() != Some(wanted)) {
            return Err(wrong_kind(name, &format!("the id of a {}", entity.unwrap_or_default())));
        }
        let Some(id) = object.text("id")? else { return Err(wrong_kind(name, "an id")) };
        uuid(&id).map(Some).ok_or_else(|| Unreadable(format!("Invalid UUID string: {id}")))
    }
}

/// A UUID in lower case; `None` where the text is none.
#[must_use]
pub fn uuid(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let hex = parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (hex && lengths == [8, 4, 4, 4, 12]).then(|| text.to_ascii_lowercase())
}

fn wrong_kind(name: &str, wanted: &str) -> Unreadable {
    Unreadable(format!("JSON parse error: `{name}` is not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_thingsboard_overlooks_is_overlooked() {
        let body = b"\xef\xbb\xbf{\"name\":1,\"name\":17,\"label\":null,\"version\":\"3\"} x";
        let mut members = Members::parse(body).unwrap();
        assert_eq!(members.text("name").unwrap().as_deref(), Some("17"));
        assert_eq!(members.text("label").unwrap(), None);
        assert_eq!(members.number("version").unwrap(), Some(3));
    }

    #[test]
    fn what_is_of_another_kind_is_said_without_its_value() {
        for (body, wanted) in [
            (r#"{"a":{}}"#, "JSON parse error: `a` is not a text"),
            (r#"{"a":["secret"]}"#, "JSON parse error: `a` is not a text"),
        ] {
            let said = Members::parse(body.as_bytes()).unwrap().text("a").unwrap_err();
            assert_eq!(said.to_string(), wanted);
        }
        assert!(Members::parse(b"[]").is_err());
        assert!(Members::parse(b" ").is_err());
        assert!(Members::parse(b"{\"name\":").is_err());
    }

    #[test]
    fn an_id_names_a_thing_of_its_sort() {
        let read = |body: &str, entity| Members::parse(body.as_bytes()).unwrap().id("id", entity);
        let device = r#"{"id":{"entityType":"DEVICE","id":"11111111-2222-1333-8444-55555555555A"}}"#;
        assert_eq!(
            read(device, Some("DEVICE")).unwrap().as_deref(),
            Some("11111111-2222-1333-8444-55555555555a")
        );
        assert!(read(device, Some("ASSET")).is_err());
        assert!(read(r#"{"id":"x"}"#, None).is_err());
        assert!(read(r#"{"id":{"id":"x"}}"#, None).is_err());
        assert_eq!(read(r#"{"id":null}"#, Some("DEVICE")).unwrap(), None);
    }
}
