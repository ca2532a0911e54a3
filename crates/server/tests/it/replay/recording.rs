//! The recorded exchanges, as they are written down.

use serde::Deserialize;
use serde_json::{Map, Value};

/// All of them, in the order in which they were sent.
pub(super) struct Recording {
    pub(super) vectors: Vec<Vector>,
    shapes: Map<String, Value>,
}

/// One exchange.
pub(super) struct Vector {
    pub(super) section: String,
    pub(super) name: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Map<String, Value>,
    pub(super) body: Value,
    pub(super) answer: Answer,
}

/// What ThingsBoard said.
pub(super) struct Answer {
    pub(super) status: Option<u64>,
    pub(super) body: Value,
}

#[derive(Deserialize)]
struct File {
    about: About,
    vectors: Vec<Written>,
}

#[derive(Deserialize)]
struct About {
    shapes: Map<String, Value>,
}

#[derive(Deserialize)]
struct Written {
    name: String,
    section: String,
    request: Map<String, Value>,
    answer: Map<String, Value>,
}

impl Recording {
    pub(super) fn read() -> Recording {
        let file: File = serde_json::from_str(include_str!("vectors.json")).unwrap();
        let vectors = file.vectors.into_iter().map(Vector::of).collect();
        Recording { vectors, shapes: file.about.shapes }
    }

    /// The value with whole shapes in the place of `$like`.
    pub(super) fn expand(&self, value: &Value) -> Value {
        match value {
            Value::Object(members) if members.contains_key("$like") => self.like(members),
            Value::Object(members) => members
                .iter()
                .map(|(key, value)| (key.clone(), self.expand(value)))
                .collect::<Map<_, _>>()
                .into(),
            Value::Array(values) => values.iter().map(|value| self.expand(value)).collect::<Vec<_>>().into(),
            other => other.clone(),
        }
    }

    fn like(&self, members: &Map<String, Value>) -> Value {
        let mut whole = self.shapes[members["$like"].as_str().unwrap()].clone();
        for (path, value) in members.iter().filter(|(path, _)| !path.starts_with('$')) {
            let mut place = &mut whole;
            for part in path.split('.') {
                place = &mut place[part];
            }
            *place = self.expand(value);
        }
        for gone in members.get("$without").and_then(Value::as_array).into_iter().flatten() {
            whole.as_object_mut().unwrap().remove(gone.as_str().unwrap());
        }
        whole
    }
}

impl Vector {
    fn of(written: Written) -> Vector {
        let text =
            |name: &str| written.request.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Vector {
            method: text("method"),
            path: text("path"),
            headers: written.request.get("headers").and_then(Value::as_object).cloned().unwrap_or_default(),
            body: written.request.get("body").cloned().unwrap_or_default(),
            answer: Answer {
                status: written.answer.get("status").and_then(Value::as_u64),
                body: written.answer.get("body").cloned().unwrap_or_default(),
            },
            section: written.section,
            name: written.name,
        }
    }
}
