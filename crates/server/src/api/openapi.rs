//! The OpenAPI description of the operator API (OpenAPI 3.1.1), made from the code that answers.
//!
//! Paths, methods and roles come from [`ROUTES`] and [`OPEN`], queries, bodies and answers from the types of the handlers'
//! arguments and results ([`parts`]), their schemas from the wire types ([`schemas`]). Only what no type says stands
//! in a table ([`told`]): each call's name, its sentence and its status.

mod parts;
mod schemas;
mod told;

use std::sync::LazyLock;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::Role;
use serde_json::{Map, Value, json};
use wire::admin::{BASE_PATH, PROBLEM_CONTENT_TYPE, Problem};

use super::once;
use super::routes::{Need, OPEN, ROUTES, Verb};

pub(super) use parts::{Shape, shape_of};
pub(super) use schemas::Schemas;

/// Where it is served, below the base path; to everyone, as it says nothing about this server.
pub(super) const PATH: &str = "/openapi.json";

/// The statuses of refusals that every call may meet.
const ALWAYS: [u16; 6] = [400, 401, 403, 429, 500, 503];
/// The statuses of all refusals.
const REFUSALS: [u16; 11] = [400, 401, 403, 404, 409, 412, 413, 422, 429, 500, 503];

/// `GET /openapi.json`
pub(super) async fn serve() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}

/// A route of either list.
struct Call {
    verb: Verb,
    path: &'static str,
    need: Option<Need>,
    shape: fn(&mut Schemas) -> Shape,
}

fn calls() -> impl Iterator<Item = Call> {
    let guarded = ROUTES.iter().map(|route| Call {
        verb: route.verb,
        path: route.path,
        need: Some(route.need),
        shape: route.shape,
    });
    let open =
        OPEN.iter().map(|route| Call { verb: route.verb, path: route.path, need: None, shape: route.shape });
    guarded.chain(open)
}

/// The whole document.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for call in calls() {
        let described = operation(&call, &mut schemas);
        let verbs = paths.entry(call.path).or_insert_with(|| json!({}));
        verbs[call.verb.word().to_lowercase()] = described;
    }
    schemas.answered::<Problem>();
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Muster operator API",
            "description": "What operators' programs speak with Muster. Every refusal is a problem (RFC 9457) with a \
                            code that programs test.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": BASE_PATH }],
        "security": [{ "bearer": [] }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": schemas.into_definitions(),
            "responses": REFUSALS.iter().map(|status| (name_of(*status), refusal(*status))).collect::<Map<_, _>>(),
            "securitySchemes": { "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "An operator token (`muster operator token create`), or the token of a log-in.",
            } },
        },
    })
}

fn operation(call: &Call, schemas: &mut Schemas) -> Value {
    let mut shape = (call.shape)(schemas);
    let told = told::of(call.verb, call.path);
    told::amend(told.id, &mut shape, schemas);
    let mut described = json!({
        "operationId": told.id,
        "summary": told.summary,
        "description": for_whom(call.need),
        "tags": [tag(call.path)],
        "responses": responses(call, told.status, &shape),
    });
    if call.need.is_none() {
        described["security"] = json!([]);
    }
    let mut parameters = path_parameters(call.path);
    parameters.append(&mut shape.parameters);
    if once::takes(call.verb, call.path) {
        parameters.push(idempotency_key());
    }
    if call.verb == Verb::Get && shape.is_tagged {
        parameters.push(if_none_match());
        described["responses"]["304"] = json!({ "description": "It is what the caller has." });
    }
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if let Some(content) = shape.body {
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    described
}

fn if_none_match() -> Value {
    json!({
        "name": "If-None-Match",
        "in": "header",
        "required": false,
        "description": "The ETag of what the caller has: where it is still that, the answer is 304, without a body.",
        "schema": { "type": "string" },
    })
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "The same key with the same body within 24 hours makes nothing new, and is answered as before.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
    })
}

/// What varies in the path.
fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let schema = json!({ "type": "string", "minLength": 1 });
    names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": schema })).collect()
}

fn responses(call: &Call, status: u16, shape: &Shape) -> Value {
    let mut success = json!({ "description": "Done." });
    if let Some(content) = &shape.answer {
        success["content"] = content.clone();
    }
    let mut all = Map::from_iter([(status.to_string(), success)]);
    let asks = !shape.parameters.is_empty() || shape.body.is_some() || call.path.contains('{');
    let changes = call.verb != Verb::Get;
    let more = [(asks, 404), (changes, 409), (shape.body.is_some(), 413), (asks, 422)];
    let more = more.into_iter().filter_map(|(may, status)| may.then_some(status));
    for status in ALWAYS.into_iter().chain(more).chain(shape.refusals.iter().copied()) {
        let reference = format!("#/components/responses/{}", name_of(status));
        all.insert(status.to_string(), json!({ "$ref": reference }));
    }
    Value::Object(all)
}

fn refusal(status: u16) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    let content = Map::from_iter([(PROBLEM_CONTENT_TYPE.to_owned(), json!({ "schema": schema }))]);
    let mut refusal = json!({ "description": reason(status), "content": content });
    if let Some((name, said, kind)) = header_of(status) {
        let header = json!({ "description": said, "required": true, "schema": { "type": kind } });
        refusal["headers"] = Value::Object(Map::from_iter([(name.to_owned(), header)]));
    }
    refusal
}

/// What stands in the head of a refusal: a header's name, what it says, and its kind.
fn header_of(status: u16) -> Option<(&'static str, &'static str, &'static str)> {
    match status {
        401 => Some(("WWW-Authenticate", "How to show a token.", "string")),
        429 | 503 => Some(("Retry-After", "After how many seconds to try again.", "integer")),
        _ => None,
    }
}

/// The name of a refusal among the components.
fn name_of(status: u16) -> String {
    reason(status).replace(' ', "")
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Refused")
}

/// Which roles may call it.
fn for_whom(need: Option<Need>) -> String {
    let Some(need) = need else { return "For everyone.".to_owned() };
    let roles: Vec<_> =
        Role::ALL.iter().filter(|role| role.may(need.power())).map(|role| role.word()).collect();
    let over = if need.is_for_server() { ", of the whole server" } else { "" };
    format!("For the roles {}{over}.", roles.join(", "))
}

/// The first word of a path: what a call is about.
fn tag(path: &'static str) -> &'static str {
    path.trim_start_matches('/').split(['/', ':']).next().unwrap_or_default()
}

fn tags() -> Vec<Value> {
    let mut tags: Vec<_> = calls().map(|call| tag(call.path)).collect();
    tags.dedup();
    tags.sort_unstable();
    tags.dedup();
    tags.into_iter().map(|tag| json!({ "name": tag })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations() -> Vec<(String, Value)> {
        let document = document();
        let paths = document["paths"].as_object().unwrap().clone();
        let verbs = |(path, verbs): (String, Value)| {
            let verbs = verbs.as_object().unwrap().clone();
            verbs.into_iter().map(move |(verb, operation)| (format!("{verb} {path}"), operation))
        };
        paths.into_iter().flat_map(verbs).collect()
    }

    #[test]
    fn every_route_is_told_once_and_nothing_else_is() {
        let mut routes: Vec<_> = calls().map(|call| (call.path, call.verb.word())).collect();
        let mut told: Vec<_> = told::TOLD.iter().map(|told| (told.path, told.verb.word())).collect();
        routes.sort_unstable();
        told.sort_unstable();
        assert_eq!(routes, told, "api/openapi/told.rs does not name the routes of api/routes.rs");
        let mut ids: Vec<_> = told::TOLD.iter().map(|told| told.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), told.len(), "two calls have one name");
    }

    #[test]
    fn what_has_a_tag_is_read_with_the_tag_that_is_known() {
        let is_read = |(_, operation): &(String, Value)| operation["responses"].get("304").is_some();
        let mut tagged: Vec<_> = operations().into_iter().filter(is_read).collect();
        tagged.sort_by(|one, other| one.0.cmp(&other.0));
        for (call, operation) in &tagged {
            assert!(operation["parameters"].to_string().contains("If-None-Match"), "{call}");
        }
        let calls: Vec<_> = tagged.iter().map(|(call, _)| call.as_str()).collect();
        assert_eq!(calls, ["get /devices/{name}", "get /profiles/{name}"]);
    }

    #[test]
    fn every_answer_says_what_is_in_it() {
        for (call, operation) in operations() {
            let answers = operation["responses"].as_object().unwrap();
            let (status, done) = answers.iter().find(|(status, _)| status.starts_with('2')).unwrap();
            assert_eq!(done.get("content").is_none(), status == "204", "{call}: see `told::amend`");
        }
    }

    #[test]
    fn whoever_signs_on_needs_no_token_and_everybody_else_does() {
        let is_open = |operation: &Value| operation.get("security") == Some(&json!([]));
        let open: Vec<_> = operations()
            .into_iter()
            .filter(|(_, operation)| is_open(operation))
            .map(|(call, _)| call)
            .collect();
        assert_eq!(open, ["get /sign-on/openid", "post /sign-on/openid", "post /sign-on/openid/device"]);
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap());
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_a_device_is_can_be_read() {
        let device = &document()["components"]["schemas"]["Device"];
        assert_eq!(device["properties"]["state_since"]["format"], "date-time");
        assert_eq!(
            device["properties"]["label"]["type"], "string",
            "what an answer leaves out is never null"
        );
        let required = device["required"].as_array().unwrap();
        assert!(required.contains(&json!("state")) && !required.contains(&json!("label")));
        let state = &document()["components"]["schemas"]["DeviceState"];
        assert_eq!(state["enum"][0], "expected");
    }
}
