//! The schemas of the wire types, as an OpenAPI document holds them.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// Gathers the schemas that calls refer to. What is asked and what is answered differ: an answer leaves out what is
/// not there, a question may also say `null`.
pub(in crate::api) struct Schemas {
    asked: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Schemas {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Schemas {
            asked: settings()
                .with_transform(RecursiveTransform(tidied))
                .with_transform(RecursiveTransform(without_default))
                .for_deserialize()
                .into_generator(),
            answered: settings()
                .with_transform(RecursiveTransform(tidied))
                .with_transform(RecursiveTransform(always_there))
                .with_transform(RecursiveTransform(without_null))
                .for_serialize()
                .into_generator(),
        }
    }

    /// The schema of a request's body.
    pub(super) fn asked<T: JsonSchema>(&mut self) -> Value {
        self.asked.subschema_for::<T>().to_value()
    }

    /// The schema of an answer's body.
    pub(super) fn answered<T: JsonSchema>(&mut self) -> Value {
        self.answered.subschema_for::<T>().to_value()
    }

    /// The parameters of a query.
    pub(super) fn query<T: JsonSchema>(&mut self) -> Vec<Value> {
        let mut schema = T::json_schema(&mut self.asked);
        RecursiveTransform(tidied).transform(&mut schema);
        without_default(&mut schema);
        without_null(&mut schema);
        let required = |name: &str| {
            schema
                .get("required")
                .and_then(Value::as_array)
                .is_some_and(|all| all.iter().any(|one| one == name))
        };
        let Some(Value::Object(properties)) = schema.get("properties") else { return Vec::new() };
        properties.iter().map(|(name, schema)| parameter(name, required(name), schema.clone())).collect()
    }

    /// All schemas by their names. One that is both asked and answered stands as it is asked, which is the stricter.
    pub(super) fn into_definitions(mut self) -> Map<String, Value> {
        let mut all = self.answered.take_definitions(true);
        all.extend(self.asked.take_definitions(true));
        all
    }
}

fn parameter(name: &str, required: bool, mut schema: Value) -> Value {
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    let mut parameter = json!({ "name": name, "in": "query", "required": required, "schema": schema });
    if let Some(description) = description {
        parameter["description"] = description;
    }
    parameter
}

/// What generators of clients read best: words of a fixed set as one `enum`, points in time as such.
fn tidied(schema: &mut Schema) {
    both_said(schema);
    words_together(schema);
    times_marked(schema);
}

/// What refers to one schema and adds fields to it, a line with its `type`, as `allOf`: makers of clients leave out what
/// stands beside a `$ref`.
fn both_said(schema: &mut Schema) {
    let (Some(reference), Some(_)) = (schema.get("$ref").cloned(), schema.get("properties")) else { return };
    schema.remove("$ref");
    let added: Map<String, Value> = ["type", "properties", "required"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), schema.remove(key)?)))
        .collect();
    schema.insert("allOf".to_owned(), json!([{ "$ref": reference }, added]));
}

/// One `enum` for what stands as a choice of single words, with what each of them says.
fn words_together(schema: &mut Schema) {
    let Some(Value::Array(choices)) = schema.get("oneOf") else { return };
    let each: Option<Vec<_>> = choices.iter().map(words).collect();
    let Some(each) = each else { return };
    let mut said = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    for (words, description) in &each {
        for word in words {
            said += &format!("\n- `{}`: {description}", word.as_str().unwrap_or_default());
        }
    }
    let all: Vec<Value> = each.into_iter().flat_map(|(words, _)| words).collect();
    schema.remove("oneOf");
    schema.insert("type".to_owned(), json!("string"));
    schema.insert("enum".to_owned(), json!(all));
    schema.insert("description".to_owned(), json!(said));
}

fn words(choice: &Value) -> Option<(Vec<Value>, String)> {
    let description = choice.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(word) = choice.get("const").filter(|word| word.is_string()) {
        return Some((vec![word.clone()], description));
    }
    Some((choice.get("enum")?.as_array()?.clone(), description))
}

/// Every point in time is RFC 3339 text (see [`wire::admin`]), and known by its name.
fn times_marked(schema: &mut Schema) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (name, property) in properties {
        let is_time = matches!(name.as_str(), "at" | "since" | "last_seen" | "seen_after" | "seen_before")
            || ["_at", "_since", "_until"].iter().any(|end| name.ends_with(end));
        let is_text = match property.get("type") {
            Some(Value::Array(types)) => types.contains(&json!("string")),
            other => other == Some(&json!("string")),
        };
        if is_time && is_text {
            property["format"] = json!("date-time");
        }
    }
}

/// A field that has a default may be left out. Makers of clients take a default for a reason to ask for the field.
fn without_default(schema: &mut Schema) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        property.remove("default");
    }
}

/// A default is for whoever reads an older server; ours writes the field always.
fn always_there(schema: &mut Schema) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    let with_default = |(name, property): (&String, &mut Value)| {
        property.as_object_mut()?.remove("default").map(|_| json!(name))
    };
    let written: Vec<Value> = properties.iter_mut().filter_map(with_default).collect();
    if written.is_empty() {
        return;
    }
    let required = schema.ensure_object().entry("required").or_insert_with(|| json!([]));
    if let Value::Array(required) = required {
        required.extend(written);
        // Fields whose default is a function's stand there already.
        required.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
        required.dedup();
    }
}

/// What may be absent is then not there; it is never `null`.
fn without_null(schema: &mut Schema) {
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (name, property) in properties {
        if !required.contains(&json!(name)) {
            drop_null(property);
        }
    }
}

fn drop_null(property: &mut Value) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            property["type"] = only.clone();
        }
    }
    let Some(Value::Array(choices)) = property.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type") != Some(&json!("null")));
    let [Value::Object(only)] = choices.as_slice() else { return };
    let only = only.clone();
    if let Value::Object(property) = property {
        property.remove("anyOf");
        property.extend(only);
    }
}
