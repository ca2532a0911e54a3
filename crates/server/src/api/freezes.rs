//! `/freezes`: the emergency stop.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use engine::Registry;
use engine::registry::{Operator, Stopped};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::admin::{Freeze, FreezeCreate, Page};

use super::extract::{Ask, Body, InTenant, NoBody, blocking};
use super::problem::No;
use super::shapes;

/// What is to go on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Thawing {
    /// Name of the tenant; absent = the caller's own, or the default one.
    tenant: Option<String>,
    /// Name of the profile that goes on; absent = what was stopped of the whole tenant.
    profile: Option<String>,
    /// Slot of the group secret that goes on.
    secret: Option<u64>,
}

/// `GET /freezes`
pub(super) async fn list(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
) -> Result<Json<Page<Freeze>>, No> {
    let freezes = blocking(&registry, move |registry| {
        registry.freezes(&registry.tenant(&operator, within.tenant.as_deref())?)
    });
    Ok(Json(shapes::whole(freezes.await?, shapes::freeze)))
}

/// `POST /freezes`
pub(super) async fn freeze(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Body(asked): Body<FreezeCreate>,
) -> Result<StatusCode, No> {
    blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        let stopped = Stopped { profile: asked.profile, secret: asked.secret };
        registry.freeze(&operator, &tenant, &stopped, &asked.reason)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /freezes`
pub(super) async fn thaw(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(asked): Ask<Thawing>,
    NoBody: NoBody,
) -> Result<StatusCode, No> {
    blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, asked.tenant.as_deref())?;
        registry.thaw(&operator, &tenant, &Stopped { profile: asked.profile, secret: asked.secret })
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
