//! Devices: saved, looked at, deleted (section 11.4).

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use domain::name::{self, Name};
use domain::{Refusal, Secret};
use engine::Registry;
use engine::registry::{
    self as ours, Chosen, DeviceSave, IdKind, Operator, ProfileWanted, RegistryError, Tenant, Uniquify, What,
};
use serde_json::{Value, json};
use wire::thingsboard::rest::EntityId;
use wire::thingsboard::rest::devices::{
    Device, DeviceData, DeviceRequest, DeviceWithCredentials, EntitySubtype, Info,
};
use wire::thingsboard::rest::members::Unreadable;

use super::ask::{Asked, Id, Read, tenant};
use super::credentials::chosen;
use super::error::Wrong;
use super::login::blocking;

/// The most bytes of `additionalInfo`.
const MOST_INFO_BYTES: usize = 64 << 10;

/// `POST /api/device`
pub(super) async fn save(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    asked: Asked,
    Read(body): Read,
) -> Result<Json<Device>, Wrong> {
    let request = DeviceRequest::parse(&body)?;
    let token = asked.get("accessToken").filter(|token| !token.is_empty() && request.id.is_none());
    let credentials = token.map(|token| Chosen::Token(Secret::new(token)));
    let save = save_of(request, credentials, uniquify(&asked)?)?;
    blocking(&registry, move |registry| saved(registry, &operator, &save)).await
}

/// `POST /api/device-with-credentials`
pub(super) async fn save_with_credentials(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    asked: Asked,
    Read(body): Read,
) -> Result<Json<Device>, Wrong> {
    let request = DeviceWithCredentials::parse(&body)?;
    let credentials = chosen(&request.credentials)?;
    let save = save_of(request.device, Some(credentials), uniquify(&asked)?)?;
    blocking(&registry, move |registry| saved(registry, &operator, &save)).await
}

/// `GET /api/device/{id}`
pub(super) async fn show(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Id(id): Id,
) -> Result<Json<Device>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        Ok(Json(device(registry, &tenant, registry.device_by_id(&tenant, &id)?)))
    })
    .await
}

/// `GET /api/device/info/{id}`
pub(super) async fn show_info(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Id(id): Id,
) -> Result<Json<Device>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        Ok(Json(device_info(registry, &tenant, registry.device_by_id(&tenant, &id)?)))
    })
    .await
}

/// `DELETE /api/device/{id}`
pub(super) async fn remove(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Id(id): Id,
) -> Result<StatusCode, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        registry.remove_device(&operator, &tenant, &id)?;
        Ok(StatusCode::OK)
    })
    .await
}

/// `GET /api/device/types`
pub(super) async fn types(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Vec<EntitySubtype>>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        let tenant_id = EntityId::new("TENANT", registry.public_id(IdKind::Tenant, tenant.id.0));
        let subtype = |kind| EntitySubtype { tenant_id: tenant_id.clone(), entity_type: "DEVICE", kind };
        Ok(Json(registry.profiles_in_use(&tenant)?.into_iter().map(subtype).collect()))
    })
    .await
}

fn saved(registry: &Registry, operator: &Operator, save: &DeviceSave) -> Result<Json<Device>, Wrong> {
    let tenant = tenant(registry, operator)?;
    let saved = registry.save_device(operator, &tenant, save).map_err(save_wrong)?;
    Ok(Json(device(registry, &tenant, saved.device)))
}

/// A profile that is not there is the mistake of who named it.
pub(super) fn save_wrong(error: RegistryError) -> Wrong {
    match error {
        RegistryError::NotFound { what: What::Profile, .. } => {
            Wrong::bad_request("Device is referencing non existing device profile!")
        }
        error => error.into(),
    }
}

/// What is to be saved, once it keeps ThingsBoard's rules.
pub(super) fn save_of(
    request: DeviceRequest,
    credentials: Option<Chosen>,
    uniquify: Option<Uniquify>,
) -> Result<DeviceSave, Wrong> {
    check(&request)?;
    let gateway = request.is_gateway();
    let profile = match (request.device_profile_id, request.kind.filter(|kind| !kind.is_empty())) {
        (Some(id), _) => ProfileWanted::Id(id),
        (None, Some(name)) => ProfileWanted::Named(name.trim().to_owned()),
        (None, None) => ProfileWanted::Default,
    };
    Ok(DeviceSave {
        revision: request.version.filter(|_| request.id.is_some()).map(revision),
        id: request.id,
        name: request.name.unwrap_or_default(),
        profile,
        label: request.label,
        additional_info: request.additional_info.map(|info| info.to_string()),
        gateway,
        credentials,
        uniquify,
    })
}

/// No revision is negative.
pub(super) fn revision(version: i64) -> u64 {
    u64::try_from(version).unwrap_or(0)
}

fn check(request: &DeviceRequest) -> Result<(), Wrong> {
    let label = request.label.as_deref().unwrap_or_default();
    let name = request.name.as_deref().unwrap_or_default();
    let kind = request.kind.as_deref().unwrap_or_default();
    let mut broken = Vec::new();
    if request
        .additional_info
        .as_ref()
        .is_some_and(|info| !is_plain(info) || info.to_string().len() > MOST_INFO_BYTES)
    {
        broken.push("additionalInfo is malformed".to_owned());
    }
    for (member, text) in [("label", label), ("name", name), ("type", kind)] {
        broken.extend(broken_rule(member, text));
    }
    if !broken.is_empty() {
        return Err(Wrong::bad_request(format!("Validation error: {}", broken.join(", "))));
    }
    if name.contains('\0') {
        return Err(Wrong::bad_request("Device name should not contain 0x00 symbol!"));
    }
    match Name::parse(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(Wrong::bad_request("Device name should be specified!")),
    }
}

fn broken_rule(member: &str, text: &str) -> Option<String> {
    if text.chars().count() > name::MAX_CHARS {
        return Some(format!("{member} length must be equal or less than {}", name::MAX_CHARS));
    }
    let malformed = matches!(Name::parse(text), Err(Refusal::NameMalformed)) && !text.contains('\0');
    malformed.then(|| format!("{member} is malformed"))
}

/// Whether no text in it holds markup or a template.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => name::is_plain(text),
        Value::Array(values) => values.iter().all(is_plain),
        Value::Object(members) => members.iter().all(|(key, value)| name::is_plain(key) && is_plain(value)),
        _ => true,
    }
}

/// What becomes of a name that is taken (version 4.3 and later).
fn uniquify(asked: &Asked) -> Result<Option<Uniquify>, Wrong> {
    let counting = match asked.get("uniquifyStrategy") {
        None | Some("RANDOM") => false,
        Some("INCREMENTAL") => true,
        Some(other) => return Err(Wrong::bad_request(format!("Unknown uniquifyStrategy: {other}"))),
    };
    match asked.get("nameConflictPolicy") {
        None | Some("FAIL") => Ok(None),
        Some("UNIQUIFY") => {
            let separator = asked.get("uniquifySeparator").unwrap_or("_").to_owned();
            Ok(Some(Uniquify { separator, counting }))
        }
        Some(other) => Err(Wrong::bad_request(format!("Unknown nameConflictPolicy: {other}"))),
    }
}

/// A device as ThingsBoard shows it.
pub(super) fn device(registry: &Registry, tenant: &Tenant, device: ours::Device) -> Device {
    let gateway = device.gateway.then(|| json!({ "gateway": true }));
    Device {
        id: EntityId::new("DEVICE", device.id),
        created_time: device.created_at.0,
        tenant_id: EntityId::new("TENANT", registry.public_id(IdKind::Tenant, tenant.id.0)),
        customer_id: EntityId::no_customer(),
        name: device.name,
        kind: device.profile,
        label: device.label,
        device_profile_id: EntityId::new(
            "DEVICE_PROFILE",
            registry.public_id(IdKind::Profile, device.profile_key.0),
        ),
        firmware_id: None,
        software_id: None,
        external_id: None,
        version: device.revision,
        info: None,
        additional_info: match device.additional_info {
            Some(info) => serde_json::from_str(&info).ok(),
            None => gateway,
        },
        device_data: DeviceData::default(),
    }
}

/// A device info as ThingsBoard shows it.
pub(super) fn device_info(registry: &Registry, tenant: &Tenant, ours: ours::Device) -> Device {
    let info = Info {
        customer_title: None,
        customer_is_public: false,
        device_profile_name: ours.profile.clone(),
        active: ours.connected,
    };
    Device { info: Some(info), ..device(registry, tenant, ours) }
}

impl From<Unreadable> for Wrong {
    fn from(unreadable: Unreadable) -> Wrong {
        Wrong::bad_request(unreadable.0)
    }
}
