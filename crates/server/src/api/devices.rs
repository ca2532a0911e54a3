//! `/devices`

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use engine::Registry;
use engine::registry::{Device, DeviceQuery, NewDevice, Operator, RegistryError, Tenant};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::admin::{self, DeviceCreate, DeviceSet, Page, TelemetryValue};

use super::extract::{Ask, Body, InTenant, Named, blocking};
use super::problem::No;
use super::tagged::{IfMatch, Tagged};
use super::{selectors, shapes};

/// What a listing of devices is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Name of the tenant; absent = the caller's own, or the default one.
    tenant: Option<String>,
    /// Only devices of this profile.
    profile: Option<String>,
    /// Only devices in this state.
    state: Option<String>,
    /// Only devices with all of these labels: `KEY=VALUE,KEY=VALUE`.
    labels: Option<String>,
    /// Only devices with exactly this note.
    label: Option<String>,
    /// Only devices whose name begins so.
    name_prefix: Option<String>,
    /// Only devices with this text in name or note.
    text: Option<String>,
    /// Only devices that were heard of then or later.
    seen_after: Option<String>,
    /// Only devices that were heard of, and last before then.
    seen_before: Option<String>,
    /// Where the page before ended: its `next`.
    cursor: Option<String>,
    /// The most rows of a page.
    limit: Option<usize>,
}

/// `GET /devices`
pub(super) async fn list(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(asked): Ask<ListQuery>,
) -> Result<Json<Page<admin::Device>>, No> {
    let page = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, asked.tenant.as_deref())?;
        let selector = selectors::asked(admin::Selector {
            profile: asked.profile,
            state: asked.state,
            labels: asked.labels,
            label: asked.label,
            name_prefix: asked.name_prefix,
            text: asked.text,
            seen_after: asked.seen_after,
            seen_before: asked.seen_before,
        })?;
        let (after, limit) = (asked.cursor.as_deref(), asked.limit);
        registry.devices_of(&operator, &tenant, DeviceQuery { selector: Some(&selector), after, limit })
    })
    .await?;
    let items = page.devices.into_iter().map(shapes::device).collect();
    Ok(Json(Page { items, next: page.next }))
}

/// `POST /devices`
pub(super) async fn add(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Body(asked): Body<DeviceCreate>,
) -> Result<(StatusCode, Tagged<admin::Device>), No> {
    let device = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        let labels = asked.labels.into_iter().collect();
        let wanted = NewDevice { name: asked.name, profile: asked.profile, label: asked.label, labels };
        registry.add_device(&operator, &tenant, &wanted)
    })
    .await?;
    Ok((StatusCode::CREATED, shapes::tagged_device(device)))
}

/// `GET /devices/{name}`
pub(super) async fn show(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(name): Named,
) -> Result<Tagged<admin::Device>, No> {
    let life = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.look(&operator, &tenant, &name)?;
        registry.life(&tenant, &name)
    })
    .await?;
    Ok(Tagged { stand: life.device.stand.clone(), body: shapes::life(life) })
}

/// `PATCH /devices/{name}`
pub(super) async fn set(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(name): Named,
    expected: IfMatch,
    Body(asked): Body<DeviceSet>,
) -> Result<Tagged<admin::Device>, No> {
    let device = blocking(&expected.of(registry), move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.change_device(&operator, &tenant, &name, &selectors::change(asked.label, asked.labels))
    })
    .await?;
    Ok(shapes::tagged_device(device))
}

/// `POST /devices/{name}/disable`
pub(super) async fn disable(
    registry: State<Registry>,
    operator: Extension<Operator>,
    within: Ask<InTenant>,
    name: Named,
    expected: IfMatch,
) -> Result<Tagged<admin::Device>, No> {
    one(registry, operator, within, name, (expected, Registry::disable_device)).await
}

/// `POST /devices/{name}/enable`
pub(super) async fn enable(
    registry: State<Registry>,
    operator: Extension<Operator>,
    within: Ask<InTenant>,
    name: Named,
    expected: IfMatch,
) -> Result<Tagged<admin::Device>, No> {
    one(registry, operator, within, name, (expected, Registry::enable_device)).await
}

/// `DELETE /devices/{name}`
pub(super) async fn remove(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(name): Named,
    expected: IfMatch,
) -> Result<StatusCode, No> {
    blocking(&expected.of(registry), move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.delete_device(&operator, &tenant, &name)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /devices/{name}/telemetry`: the last value of each key.
pub(super) async fn telemetry(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(name): Named,
) -> Result<Json<Page<TelemetryValue>>, No> {
    let latest = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.telemetry(&tenant, &name)
    })
    .await?;
    Ok(Json(shapes::whole(latest, shapes::telemetry)))
}

async fn one(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(name): Named,
    (expected, work): (
        IfMatch,
        impl FnOnce(&Registry, &Operator, &Tenant, &str) -> Result<Device, RegistryError> + Send + 'static,
    ),
) -> Result<Tagged<admin::Device>, No> {
    let device = blocking(&expected.of(registry), move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        work(registry, &operator, &tenant, &name)
    })
    .await?;
    Ok(shapes::tagged_device(device))
}
