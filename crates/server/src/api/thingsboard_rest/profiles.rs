//! Device profiles (section 11.4).

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use domain::name::{self, Name};
use domain::{Power, Refusal, Secret, Strategy};
use engine::Registry;
use engine::registry::{IdKind, Operator, ProfileSave, ProfileView, Tenant};
use serde_json::json;
use wire::thingsboard::rest::EntityId;
use wire::thingsboard::rest::page::Page;
use wire::thingsboard::rest::profiles::{
    Notes, Profile, ProfileData, ProfileInfo, ProfileName, ProfileRequest, ProvisionConfiguration,
};

use super::ask::{Asked, Id, Read, Turn, tenant, unknown_property};
use super::devices::revision;
use super::error::Wrong;
use super::login::blocking;

/// What a profile made for a device says of itself.
const MADE_BY_ITSELF: &str = "Default device profile";
const ALLOW_CREATE: &str = "ALLOW_CREATE_NEW_DEVICES";
const CHECK: &str = "CHECK_PRE_PROVISIONED_DEVICES";
const DISABLED: &str = "DISABLED";

/// `POST /api/deviceProfile`
pub(super) async fn save(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Read(body): Read,
) -> Result<Json<Profile>, Wrong> {
    let request = ProfileRequest::parse(&body)?;
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        let default = registry.default_profile(&operator, &tenant)?;
        let default = registry.public_id(IdKind::Profile, default.profile.id.0);
        if request.default && request.id.as_ref() != Some(&default) {
            let told = "Another default device profile is present in scope of current tenant!";
            return Err(Wrong::bad_request(told));
        }
        let saved = registry.save_profile(&operator, &tenant, &save_of(request)?)?;
        one(registry, &operator, &tenant, saved)
    })
    .await
}

/// `GET /api/deviceProfile/{id}`
pub(super) async fn show(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Id(id): Id,
) -> Result<Json<Profile>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        let found = registry.profile_by_id(&tenant, &id)?;
        one(registry, &operator, &tenant, found)
    })
    .await
}

/// `DELETE /api/deviceProfile/{id}`
pub(super) async fn remove(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Id(id): Id,
) -> Result<StatusCode, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        registry.default_profile(&operator, &tenant)?;
        registry.delete_profile(&operator, &tenant, &id)?;
        Ok(StatusCode::OK)
    })
    .await
}

/// `POST /api/deviceProfile/{id}/default`
pub(super) async fn make_default(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Id(id): Id,
) -> Result<Json<Profile>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        let made = registry.set_default_profile(&operator, &tenant, &id)?;
        one(registry, &operator, &tenant, made)
    })
    .await
}

/// `GET /api/deviceProfiles`
pub(super) async fn list(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    asked: Asked,
) -> Result<Json<Page<Profile>>, Wrong> {
    let turn = asked.turn()?;
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        let (found, total) = turned(all(registry, &operator, &tenant)?, &turn)?;
        let shown = shown(registry, &operator, &tenant, found)?;
        Ok(Json(Page::new(shown, total, turn.page, turn.size)))
    })
    .await
}

/// `GET /api/deviceProfileInfos`
pub(super) async fn infos(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    asked: Asked,
) -> Result<Json<Page<ProfileInfo>>, Wrong> {
    let turn = asked.turn()?;
    let transport = asked.get("transportType").filter(|kind| !kind.is_empty()).map(str::to_owned);
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        let mut found = all(registry, &operator, &tenant)?;
        found.retain(|view| {
            transport.as_ref().is_none_or(|kind| *kind == Notes::read(view.notes.as_deref()).transport_type)
        });
        let (found, total) = turned(found, &turn)?;
        let data = found.into_iter().map(|view| info(registry, &tenant, view)).collect();
        Ok(Json(Page::new(data, total, turn.page, turn.size)))
    })
    .await
}

/// `GET /api/deviceProfileInfo/{id}`
pub(super) async fn show_info(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Id(id): Id,
) -> Result<Json<ProfileInfo>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        Ok(Json(info(registry, &tenant, registry.profile_by_id(&tenant, &id)?)))
    })
    .await
}

/// `GET /api/deviceProfileInfo/default`
pub(super) async fn default_info(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<ProfileInfo>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        Ok(Json(info(registry, &tenant, registry.default_profile(&operator, &tenant)?)))
    })
    .await
}

/// `GET /api/deviceProfile/names`
pub(super) async fn names(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    asked: Asked,
) -> Result<Json<Vec<ProfileName>>, Wrong> {
    let active_only = asked.get("activeOnly") == Some("true");
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        let mut found = all(registry, &operator, &tenant)?;
        if active_only {
            let used = registry.profiles_in_use(&tenant)?;
            found.retain(|view| used.contains(&view.profile.name));
        }
        let named = |view: ProfileView| ProfileName { id: id(registry, &view), name: view.profile.name };
        Ok(Json(found.into_iter().map(named).collect()))
    })
    .await
}

/// All profiles by name, the default one among them.
fn all(registry: &Registry, operator: &Operator, tenant: &Tenant) -> Result<Vec<ProfileView>, Wrong> {
    registry.default_profile(operator, tenant)?;
    Ok(registry.profiles(tenant)?)
}

/// The page that is asked for, and how many there are on all of them.
fn turned(mut found: Vec<ProfileView>, turn: &Turn) -> Result<(Vec<ProfileView>, u64), Wrong> {
    if let Some(text) = turn.text.as_deref().map(str::to_lowercase) {
        found.retain(|view| view.profile.name.to_lowercase().contains(&text));
    }
    match turn.sort.as_ref().map(|(property, _)| property.as_str()) {
        Some("name") => found.sort_by(|one, other| one.profile.name.cmp(&other.profile.name)),
        Some("createdTime" | "id") | None => found.sort_by_key(|view| view.profile.id),
        Some("type" | "transportType" | "isDefault" | "description" | "defaultRuleChainName") => {}
        Some(other) => return Err(unknown_property(other)),
    }
    if turn.sort.as_ref().is_some_and(|(_, descending)| *descending) {
        found.reverse();
    }
    let total = found.len() as u64;
    let skip = usize::try_from(turn.page.saturating_mul(turn.size)).unwrap_or(usize::MAX);
    let take = usize::try_from(turn.size).unwrap_or(usize::MAX);
    Ok((found.into_iter().skip(skip).take(take).collect(), total))
}

fn save_of(request: ProfileRequest) -> Result<ProfileSave, Wrong> {
    let name = request.name.unwrap_or_default();
    if name.chars().count() > name::MAX_CHARS {
        let told = format!("Validation error: name length must be equal or less than {}", name::MAX_CHARS);
        return Err(Wrong::bad_request(told));
    }
    match Name::parse(&name) {
        Err(Refusal::NameBlank) => {
            return Err(Wrong::bad_request("Device profile name should be specified!"));
        }
        Err(_) => return Err(Wrong::bad_request("Validation error: name is malformed")),
        Ok(_) => {}
    }
    required(request.kind.as_deref(), "type")?;
    required(request.transport_type.as_deref(), "transport type")?;
    if !matches!(request.notes.transport_type.as_str(), "DEFAULT" | "MQTT" | "COAP") {
        let told = format!("Transport type {} is not served by this server", request.notes.transport_type);
        return Err(Wrong::bad_request(told));
    }
    if request.default_queue_name.is_some() {
        return Err(Wrong::bad_request("Device profile is referencing to non-existent queue!"));
    }
    if !request.has_data {
        return Err(Wrong::bad_request("Device profile data should be specified!"));
    }
    let provision_type = request.provision_type.as_deref().unwrap_or(DISABLED);
    if request.configured_type.as_deref().is_some_and(|configured| configured != provision_type) {
        let told = "provisionType and the type of provisionConfiguration differ";
        return Err(Wrong::bad_request(told));
    }
    Ok(ProfileSave {
        strategy: strategy(provision_type)?,
        id: request.id,
        name,
        provision_key: request.provision_device_key,
        provision_secret: request.provision_device_secret.map(|secret| Secret::new(secret.expose())),
        notes: request.notes.to_text(),
        revision: request.version.map(revision),
    })
}

fn required(value: Option<&str>, what: &str) -> Result<(), Wrong> {
    match value {
        Some(value) if !value.is_empty() => Ok(()),
        _ => Err(Wrong::bad_request(format!("Device profile {what} should be specified!"))),
    }
}

fn strategy(provision_type: &str) -> Result<Strategy, Wrong> {
    match provision_type {
        DISABLED => Ok(Strategy::Disabled),
        ALLOW_CREATE => Ok(Strategy::CreateNew),
        CHECK => Ok(Strategy::CheckPreProvisioned),
        "X509_CERTIFICATE_CHAIN" => {
            Err(Wrong::bad_request("X509_CERTIFICATE_CHAIN is not served by this server"))
        }
        other => Err(Wrong::bad_request(format!("Unknown provision type: {other}"))),
    }
}

fn provision_type(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::CreateNew => ALLOW_CREATE,
        Strategy::CheckPreProvisioned => CHECK,
        Strategy::Disabled => DISABLED,
    }
}

fn one(
    registry: &Registry,
    operator: &Operator,
    tenant: &Tenant,
    view: ProfileView,
) -> Result<Json<Profile>, Wrong> {
    let shown = shown(registry, operator, tenant, vec![view])?.pop();
    shown.map(Json).ok_or_else(Wrong::internal)
}

/// Profiles as ThingsBoard shows them: with their secrets, for whoever may see what devices are let in with.
fn shown(
    registry: &Registry,
    operator: &Operator,
    tenant: &Tenant,
    views: Vec<ProfileView>,
) -> Result<Vec<Profile>, Wrong> {
    let open: Vec<&ProfileView> =
        views.iter().filter(|view| view.profile.strategy != Strategy::Disabled).collect();
    let secrets = match operator.role.may(Power::Operate) {
        true => registry.provision_secrets(operator, tenant, &open)?,
        false => open.iter().map(|_| None).collect(),
    };
    let mut secrets = secrets.into_iter();
    let each = |view: ProfileView| {
        let closed = view.profile.strategy == Strategy::Disabled;
        let secret = if closed { None } else { secrets.next().flatten() };
        profile(registry, tenant, view, secret)
    };
    Ok(views.into_iter().map(each).collect())
}

fn profile(registry: &Registry, tenant: &Tenant, view: ProfileView, secret: Option<Secret>) -> Profile {
    let notes = Notes::read(view.notes.as_deref());
    let kind = provision_type(view.profile.strategy);
    let made_by_itself = view.notes.is_none().then(|| MADE_BY_ITSELF.to_owned());
    let open = view.profile.strategy != Strategy::Disabled;
    Profile {
        id: id(registry, &view),
        created_time: view.created_at.0,
        tenant_id: EntityId::new("TENANT", registry.public_id(IdKind::Tenant, tenant.id.0)),
        name: view.profile.name,
        description: notes.description.or(made_by_itself),
        image: notes.image,
        kind: "DEFAULT",
        transport_type: notes.transport_type,
        provision_type: kind,
        default_rule_chain_id: None,
        default_dashboard_id: None,
        default_queue_name: None,
        provision_device_key: Some(view.profile.provision_key).filter(|_| open),
        firmware_id: None,
        software_id: None,
        default_edge_rule_chain_id: None,
        external_id: None,
        version: view.revision,
        default: view.is_default,
        profile_data: ProfileData {
            configuration: json!({ "type": "DEFAULT" }),
            transport_configuration: notes.transport_configuration,
            provision_configuration: ProvisionConfiguration {
                kind,
                provision_device_secret: secret.map(|secret| wire::Secret::new(secret.expose())),
            },
            alarms: notes.alarms,
        },
    }
}

fn info(registry: &Registry, tenant: &Tenant, view: ProfileView) -> ProfileInfo {
    let notes = Notes::read(view.notes.as_deref());
    ProfileInfo {
        id: id(registry, &view),
        tenant_id: EntityId::new("TENANT", registry.public_id(IdKind::Tenant, tenant.id.0)),
        name: view.profile.name,
        image: notes.image,
        default_dashboard_id: None,
        kind: "DEFAULT",
        transport_type: notes.transport_type,
    }
}

fn id(registry: &Registry, view: &ProfileView) -> EntityId {
    EntityId::new("DEVICE_PROFILE", registry.public_id(IdKind::Profile, view.profile.id.0))
}
