//! Devices in pages, by name and by id, and many made at once (sections 11.4 and 11.6).

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::Registry;
use engine::registry::{self as ours, IdKind, Operator, Search};
use serde::Serialize;
use serde_json::Value;
use wire::thingsboard::ErrorCode;
use wire::thingsboard::rest::devices::{Device, DeviceRequest};
use wire::thingsboard::rest::members::{self, Members};
use wire::thingsboard::rest::page::Page;

use super::ask::{Asked, Read, Turn, checked_id, tenant};
use super::credentials::chosen;
use super::devices::{device, device_info, save_of, save_wrong};
use super::error::Wrong;
use super::login::blocking;

/// The most devices that are made by one call.
const MOST_TOGETHER: usize = 10_000;
/// The most rows of a page.
const MOST_PER_PAGE: u64 = 10_000;
/// The most devices that are asked for by id.
const MOST_IDS: usize = 1000;

/// In which form devices are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Device,
    Info,
}

/// `GET /api/tenant/devices`: a page, or one device by name.
pub(super) async fn devices(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    asked: Asked,
) -> Result<Response, Wrong> {
    match asked.get("deviceName") {
        Some(name) => by_name(registry, operator, name.to_owned()).await.map(IntoResponse::into_response),
        None => page(registry, operator, asked, Form::Device).await.map(IntoResponse::into_response),
    }
}

/// `GET /api/tenant/device`
pub(super) async fn named(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    asked: Asked,
) -> Result<Json<Device>, Wrong> {
    by_name(registry, operator, asked.get("deviceName").unwrap_or_default().to_owned()).await
}

/// `GET /api/tenant/deviceInfos`, `GET /api/deviceInfos/all`
pub(super) async fn infos(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    asked: Asked,
) -> Result<Json<Page<Device>>, Wrong> {
    page(registry, operator, asked, Form::Info).await
}

/// `GET /api/devices`
pub(super) async fn by_ids(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    asked: Asked,
) -> Result<Json<Vec<Device>>, Wrong> {
    let Some(ids) = asked.get("deviceIds") else {
        let told = r#"Parameter conditions "deviceIds" not met for actual request parameters: "#;
        return Err(Wrong::framework(StatusCode::BAD_REQUEST, ErrorCode::BAD_REQUEST_PARAMS, told));
    };
    if ids.is_empty() {
        return Err(Wrong::bad_request("Parameter 'deviceIds' can't be empty!"));
    }
    let ids = ids.split(',').map(checked_id).collect::<Result<Vec<_>, _>>()?;
    if ids.len() > MOST_IDS {
        return Err(Wrong::bad_request(format!("At most {MOST_IDS} ids are taken")));
    }
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let found = registry.devices_by_ids(&tenant, &ids)?;
        Ok(Json(found.into_iter().map(|found| device(registry, &tenant, found)).collect()))
    })
    .await
}

/// One of many devices that were to be made.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Made {
    Device(Box<Device>),
    Error { error: Value, name: Option<String> },
}

/// `POST /api/devices`: an array of devices to be made. ThingsBoard's relation query, an object, is not served.
pub(super) async fn make(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Read(body): Read,
) -> Result<Json<Vec<Made>>, Wrong> {
    let elements = match members::document(&body)? {
        Value::Array(elements) => elements,
        Value::Object(_) => {
            let told = "Relation queries are not served by this server; an array of devices makes them";
            return Err(Wrong::not_served(told));
        }
        _ => return Err(Wrong::bad_request("Request body is neither an array nor an object")),
    };
    if elements.len() > MOST_TOGETHER {
        let told = format!("At most {MOST_TOGETHER} devices are made by one call");
        return Err(Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::BAD_REQUEST_PARAMS, told));
    }
    blocking(&registry, move |registry| make_all(registry, &operator, elements).map(Json)).await
}

fn make_all(registry: &Registry, operator: &Operator, elements: Vec<Value>) -> Result<Vec<Made>, Wrong> {
    let tenant = tenant(registry, operator)?;
    let read = |element: Value| {
        let name = element.get("name").and_then(Value::as_str).map(str::to_owned);
        (name, save_from(element))
    };
    let read: Vec<_> = elements.into_iter().map(read).collect();
    let saves: Vec<_> = read.iter().filter_map(|(_, save)| save.as_ref().ok().cloned()).collect();
    let mut saved = registry.save_devices(operator, &tenant, &saves)?.into_iter();
    let told = |(name, save): (Option<String>, Result<_, Wrong>)| {
        let made = save.and_then(|_| match saved.next() {
            Some(saved) => saved.map_err(save_wrong),
            None => Err(Wrong::internal()),
        });
        match made {
            Ok(made) => Made::Device(Box::new(device(registry, &tenant, made.device))),
            Err(wrong) => Made::Error { error: wrong.to_value(), name },
        }
    };
    Ok(read.into_iter().map(told).collect())
}

fn save_from(element: Value) -> Result<ours::DeviceSave, Wrong> {
    let mut request = DeviceRequest::of(Members::of(element)?)?;
    // Made, never changed.
    request.id = None;
    let credentials = request.credentials.take().map(|credentials| chosen(&credentials)).transpose()?;
    save_of(request, credentials, None)
}

async fn by_name(registry: Registry, operator: Operator, name: String) -> Result<Json<Device>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        let found = registry.devices_called(&tenant, &[&name])?.pop();
        let found = found.ok_or_else(|| Wrong::not_found("Requested item wasn't found!"))?;
        Ok(Json(device(registry, &tenant, found)))
    })
    .await
}

async fn page(
    registry: Registry,
    operator: Operator,
    asked: Asked,
    form: Form,
) -> Result<Json<Page<Device>>, Wrong> {
    let turn = asked.turn()?;
    let profile = asked.get("deviceProfileId").filter(|id| !id.is_empty()).map(checked_id).transpose()?;
    let kind = asked.get("type").filter(|kind| !kind.is_empty()).map(str::to_owned);
    let connected = asked.get("active").and_then(|active| active.parse().ok());
    let in_profile_names = form == Form::Info;
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        let profile = match (profile, kind) {
            (Some(id), _) => Some(registry.number_of(IdKind::Profile, &id).unwrap_or(0)),
            (None, Some(name)) => Some(registry.profile_number(&tenant, &name)?.unwrap_or(0)),
            (None, None) => None,
        };
        let search = search(&turn, profile, connected, in_profile_names)?;
        // Scripts ask for 2147483647 rows where they want all: they get them as far as they fit into an answer.
        let most = turn.size.min(MOST_PER_PAGE + 1);
        let found = match turn.page {
            page if page > 0 && turn.size > MOST_PER_PAGE => return Err(too_many(turn.size)),
            page => registry.search_devices(&tenant, &search, page, most)?,
        };
        if found.devices.len() as u64 > MOST_PER_PAGE {
            return Err(too_many(turn.size));
        }
        let shown = |found| match form {
            Form::Device => device(registry, &tenant, found),
            Form::Info => device_info(registry, &tenant, found),
        };
        let data = found.devices.into_iter().map(shown).collect();
        Ok(Json(Page::new(data, found.total, turn.page, turn.size)))
    })
    .await
}

fn search(
    turn: &Turn,
    profile: Option<u64>,
    connected: Option<bool>,
    in_profile_names: bool,
) -> Result<Search, Wrong> {
    let (order, descending) = turn.device_order()?;
    let profile = profile.map(domain::ProfileId);
    Ok(Search { text: turn.text.clone(), in_profile_names, profile, connected, order, descending })
}

fn too_many(size: u64) -> Wrong {
    Wrong::bad_request(format!(
        "Incorrect page link page size '{size}'. There are more than {MOST_PER_PAGE} devices: ask for pages."
    ))
}
