//! Attributes of devices (section 11.4).

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use engine::registry::{Attribute, Operator, Registry, Whose};
use engine::{AttributeScope, as_json};
use serde::Deserialize;
use serde_json::Value;
use wire::thingsboard::ErrorCode;
use wire::thingsboard::attributes;
use wire::thingsboard::rest::telemetry::AttributeValue;
use wire::thingsboard::telemetry::TelemetryError;

use super::ask::{checked_id, tenant};
use super::error::Wrong;
use super::login::blocking;
use super::target::{Asked, device, keys, keys_to_delete, of_device, scope};
use super::timeseries::stored;

/// Which keys.
#[derive(Debug, Deserialize)]
pub(super) struct Keys {
    keys: Option<String>,
}

/// `POST /api/plugins/telemetry/{entity}/{id}/attributes/{scope}` and `…/{entity}/{id}/{scope}`
pub(super) async fn save(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((kind, id, scope)): Path<(String, String, String)>,
    body: Bytes,
) -> Result<StatusCode, Wrong> {
    save_to(registry, operator, device(&kind, &id)?, scope, body).await
}

/// `POST /api/plugins/telemetry/{id}/{scope}`
pub(super) async fn save_of_id(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((id, scope)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Wrong> {
    save_to(registry, operator, checked_id(&id)?, scope, body).await
}

async fn save_to(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    id: String,
    word: String,
    body: Bytes,
) -> Result<StatusCode, Wrong> {
    let scope = match scope(&word)? {
        Whose::Server => AttributeScope::Server,
        Whose::Shared => AttributeScope::Shared,
        Whose::Client => {
            return Err(Wrong::bare(StatusCode::BAD_REQUEST, format!("Invalid scope: {word}")));
        }
    };
    let values = values(&body)?;
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        of_device(registry.save_attributes(&operator, &tenant, &id, scope, &values))
    })
    .await?;
    Ok(StatusCode::OK)
}

/// What a body says, in ThingsBoard's words where it says nothing that can be used.
fn values(body: &[u8]) -> Result<Vec<(String, Value)>, Wrong> {
    let bare = |told: &str| Wrong::bare(StatusCode::BAD_REQUEST, told);
    if body.is_empty() {
        let (status, code) = (StatusCode::BAD_REQUEST, ErrorCode::BAD_REQUEST_PARAMS);
        return Err(Wrong::framework(status, code, "Required request body is missing"));
    }
    let json: Value = serde_json::from_slice(body).map_err(|_| bare("Invalid JSON"))?;
    let object = json.as_object().ok_or_else(|| bare("Request is not a JSON object"))?;
    if object.is_empty() {
        return Err(bare("No attributes data found in request body!"));
    }
    if object.values().any(Value::is_null) {
        return Err(Wrong::bad_request("Can't parse value: null"));
    }
    let values = attributes::parse(body).map_err(|error| match error {
        TelemetryError::BlankKey => bare("Key cannot be blank"),
        other => Wrong::bad_request(other.to_string()),
    })?;
    Ok(values.into_iter().map(|(key, value)| (key, as_json(&stored(value)))).collect())
}

/// `GET /api/plugins/telemetry/{entity}/{id}/values/attributes`
pub(super) async fn list(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((kind, id)): Path<(String, String)>,
    Asked(wanted): Asked<Keys>,
) -> Result<Json<Vec<AttributeValue>>, Wrong> {
    shown(registry, operator, device(&kind, &id)?, None, wanted).await
}

/// `GET /api/plugins/telemetry/{entity}/{id}/values/attributes/{scope}`
pub(super) async fn list_scope(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((kind, id, word)): Path<(String, String, String)>,
    Asked(wanted): Asked<Keys>,
) -> Result<Json<Vec<AttributeValue>>, Wrong> {
    shown(registry, operator, device(&kind, &id)?, Some(scope(&word)?), wanted).await
}

async fn shown(
    registry: State<Registry>,
    operator: Extension<Operator>,
    id: String,
    whose: Option<Whose>,
    wanted: Keys,
) -> Result<Json<Vec<AttributeValue>>, Wrong> {
    let keys = keys(wanted.keys.as_deref());
    let found = found(registry, operator, id, whose).await?;
    let found = found.into_iter().filter(|it| keys.is_empty() || keys.contains(&it.key));
    let value = |it: Attribute| AttributeValue { last_update_ts: it.at.0, key: it.key, value: it.value };
    Ok(Json(found.map(value).collect()))
}

/// `GET /api/plugins/telemetry/{entity}/{id}/keys/attributes`
pub(super) async fn list_keys(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((kind, id)): Path<(String, String)>,
) -> Result<Json<Vec<String>>, Wrong> {
    let found = found(registry, operator, device(&kind, &id)?, None).await?;
    Ok(Json(found.into_iter().map(|it| it.key).collect()))
}

/// `GET /api/plugins/telemetry/{entity}/{id}/keys/attributes/{scope}`
pub(super) async fn list_keys_of_scope(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((kind, id, word)): Path<(String, String, String)>,
) -> Result<Json<Vec<String>>, Wrong> {
    let found = found(registry, operator, device(&kind, &id)?, Some(scope(&word)?)).await?;
    Ok(Json(found.into_iter().map(|it| it.key).collect()))
}

async fn found(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    id: String,
    whose: Option<Whose>,
) -> Result<Vec<Attribute>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        of_device(registry.attributes(&tenant, &id, whose))
    })
    .await
}

/// `DELETE /api/plugins/telemetry/{entity}/{id}/{scope}`
pub(super) async fn delete(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((kind, id, scope)): Path<(String, String, String)>,
    Asked(gone): Asked<Keys>,
) -> Result<StatusCode, Wrong> {
    delete_from(registry, operator, device(&kind, &id)?, &scope, gone).await
}

/// `DELETE /api/plugins/telemetry/{id}/{scope}`
pub(super) async fn delete_of_id(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((id, scope)): Path<(String, String)>,
    Asked(gone): Asked<Keys>,
) -> Result<StatusCode, Wrong> {
    delete_from(registry, operator, checked_id(&id)?, &scope, gone).await
}

async fn delete_from(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    id: String,
    word: &str,
    gone: Keys,
) -> Result<StatusCode, Wrong> {
    let (whose, keys) = (scope(word)?, keys_to_delete(gone.keys.as_deref())?);
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        of_device(registry.delete_attributes(&operator, &tenant, &id, whose, &keys))
    })
    .await?;
    Ok(StatusCode::OK)
}
