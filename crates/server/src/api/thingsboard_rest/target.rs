//! Which device, which scope, which keys: what the paths and queries of attributes, time series and calls share.

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use engine::registry::{RegistryError, What, Whose};

use super::ask::checked_id;
use super::error::Wrong;

/// Sorts of things that ThingsBoard knows; only devices are here.
const OTHERS: [&str; 12] = [
    "TENANT",
    "CUSTOMER",
    "USER",
    "DASHBOARD",
    "ASSET",
    "ALARM",
    "RULE_CHAIN",
    "RULE_NODE",
    "ENTITY_VIEW",
    "DEVICE_PROFILE",
    "ASSET_PROFILE",
    "EDGE",
];

/// What a query says; where it cannot be read, the answer is ThingsBoard's error JSON.
pub(super) struct Asked<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asked<T>, Wrong> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Asked(asked)).map_err(|error| Wrong::bad_request(error.body_text()))
    }
}

/// The public id of a device in a path.
pub(super) fn device(kind: &str, id: &str) -> Result<String, Wrong> {
    if OTHERS.contains(&kind) {
        return Err(Wrong::not_found("Requested item wasn't found!"));
    }
    if kind != "DEVICE" {
        let sort = "org.thingsboard.server.common.data.EntityType";
        return Err(Wrong::bad_request(format!("No enum constant {sort}.{kind}")));
    }
    checked_id(id)
}

/// A scope of attributes.
pub(super) fn scope(word: &str) -> Result<Whose, Wrong> {
    match word {
        "SERVER_SCOPE" => Ok(Whose::Server),
        "SHARED_SCOPE" => Ok(Whose::Shared),
        "CLIENT_SCOPE" => Ok(Whose::Client),
        _ => Err(Wrong::bad_request(format!(
            "Method parameter 'scope': Failed to convert value [{word}]; it is SERVER_SCOPE, SHARED_SCOPE or \
             CLIENT_SCOPE"
        ))),
    }
}

/// Keys between commas; nothing where none is named.
pub(super) fn keys(text: Option<&str>) -> Vec<String> {
    text.and_then(wire::thingsboard::attributes::keys).unwrap_or_default()
}

/// The keys that a deletion has to name.
pub(super) fn keys_to_delete(text: Option<&str>) -> Result<Vec<String>, Wrong> {
    match keys(text) {
        keys if !keys.is_empty() => Ok(keys),
        _ if text.is_some() => Err(Wrong::bare(StatusCode::BAD_REQUEST, "Empty keys: []")),
        _ => Err(Wrong::bad_request("Required request parameter 'keys' is not present")),
    }
}

/// What the registry says of a device, where a device that is not there is told in bare words.
pub(super) fn of_device<T>(result: Result<T, RegistryError>) -> Result<T, Wrong> {
    result.map_err(|error| match error {
        RegistryError::NotFound { what: What::Device, .. } => {
            Wrong::bare(StatusCode::NOT_FOUND, "Device with requested id wasn't found!")
        }
        error => error.into(),
    })
}
