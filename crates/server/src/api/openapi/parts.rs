//! What the types of a handler say about its call.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::Schemas;
use crate::api::extract::{Ask, Body, Course, Named, NoBody};
use crate::api::problem::No;
use crate::api::tagged::{IfMatch, Tagged};

/// What is known of a call from the types of its handler.
#[derive(Default)]
pub(in crate::api) struct Shape {
    /// Parameters of the query and the header.
    pub(super) parameters: Vec<Value>,
    /// The request's body by media type.
    pub(super) body: Option<Value>,
    /// The answer's body by media type.
    pub(super) answer: Option<Value>,
    /// Statuses of refusals that other calls do not have.
    pub(super) refusals: Vec<u16>,
    /// Whether the answer has a tag.
    pub(super) is_tagged: bool,
}

/// An argument of a handler.
pub(in crate::api) trait Part {
    /// Adds what it takes out of the request; what takes nothing that a caller chooses adds nothing.
    fn tell(_shape: &mut Shape, _schemas: &mut Schemas) {}
}

/// A result of a handler.
pub(in crate::api) trait Answer {
    /// Adds what it puts into the answer.
    fn tell(shape: &mut Shape, schemas: &mut Schemas);
}

/// A handler whose arguments and result are known.
pub(in crate::api) trait Endpoint<Parts> {
    /// Adds what all of them say.
    fn tell(shape: &mut Shape, schemas: &mut Schemas);
}

/// What the types of a handler say.
pub(in crate::api) fn shape_of<Parts, E: Endpoint<Parts>>(_handler: &E, schemas: &mut Schemas) -> Shape {
    let mut shape = Shape::default();
    E::tell(&mut shape, schemas);
    shape
}

macro_rules! endpoints {
    ($(($($part:ident)*))*) => {$(
        impl<F, Work, A, $($part,)*> Endpoint<($($part,)*)> for F
        where
            F: Fn($($part),*) -> Work,
            Work: Future<Output = A>,
            A: Answer,
            $($part: Part,)*
        {
            fn tell(shape: &mut Shape, schemas: &mut Schemas) {
                $($part::tell(shape, schemas);)*
                A::tell(shape, schemas);
            }
        }
    )*};
}

endpoints! { () (P1) (P1 P2) (P1 P2 P3) (P1 P2 P3 P4) (P1 P2 P3 P4 P5) (P1 P2 P3 P4 P5 P6) (P1 P2 P3 P4 P5 P6 P7) }

impl<T> Part for State<T> {}
impl<T> Part for Extension<T> {}
impl<T> Part for Option<Extension<T>> {}
impl Part for Course {}
impl Part for NoBody {}
impl Part for Extensions {}
impl Part for HeaderMap {}
impl Part for axum::body::Body {}
// What varies in a path stands in the path.
impl Part for Named {}
impl<T> Part for Path<T> {}

impl<T: JsonSchema> Part for Ask<T> {
    fn tell(shape: &mut Shape, schemas: &mut Schemas) {
        shape.parameters.append(&mut schemas.query::<T>());
    }
}

impl Part for IfMatch {
    fn tell(shape: &mut Shape, _schemas: &mut Schemas) {
        shape.refusals.push(412);
        shape.parameters.push(json!({
            "name": "If-Match",
            "in": "header",
            "required": false,
            "description": "The ETag of what is to be changed: where it has changed since, nothing is done.",
            "schema": { "type": "string" },
        }));
    }
}

impl<T: JsonSchema> Answer for Tagged<T> {
    fn tell(shape: &mut Shape, schemas: &mut Schemas) {
        shape.is_tagged = true;
        <Json<T> as Answer>::tell(shape, schemas);
    }
}

impl<T: JsonSchema> Part for Body<T> {
    fn tell(shape: &mut Shape, schemas: &mut Schemas) {
        shape.body = Some(content("application/json", &schemas.asked::<T>()));
    }
}

impl<T: JsonSchema> Answer for Json<T> {
    fn tell(shape: &mut Shape, schemas: &mut Schemas) {
        shape.answer = Some(content("application/json", &schemas.answered::<T>()));
    }
}

impl<A: Answer> Answer for Result<A, No> {
    fn tell(shape: &mut Shape, schemas: &mut Schemas) {
        A::tell(shape, schemas);
    }
}

impl<A: Answer> Answer for (StatusCode, A) {
    fn tell(shape: &mut Shape, schemas: &mut Schemas) {
        A::tell(shape, schemas);
    }
}

impl Answer for StatusCode {
    fn tell(_shape: &mut Shape, _schemas: &mut Schemas) {}
}

/// Says nothing; [`amend`](super::told::amend) has to.
impl Answer for Response {
    fn tell(_shape: &mut Shape, _schemas: &mut Schemas) {}
}

/// A body of one media type.
pub(super) fn content(media_type: &str, schema: &Value) -> Value {
    Value::Object(Map::from_iter([(media_type.to_owned(), json!({ "schema": schema }))]))
}
