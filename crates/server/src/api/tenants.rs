//! `/tenants`

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use engine::Registry;
use engine::registry::Operator;
use wire::admin::{Page, Tenant, TenantCreate};

use super::extract::{Body, blocking};
use super::problem::No;
use super::shapes;

/// `GET /tenants`
pub(super) async fn list(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Page<Tenant>>, No> {
    let tenants = blocking(&registry, move |registry| registry.tenants(&operator)).await?;
    Ok(Json(shapes::whole(tenants, shapes::tenant)))
}

/// `POST /tenants`
pub(super) async fn create(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<TenantCreate>,
) -> Result<(StatusCode, Json<Tenant>), No> {
    let tenant = blocking(&registry, move |registry| registry.create_tenant(&operator, &asked.name)).await?;
    Ok((StatusCode::CREATED, Json(shapes::tenant(tenant))))
}
