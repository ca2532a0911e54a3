//! `/operations`, `/approvals`, `/neighbours`

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use engine::Registry;
use engine::registry::{self as ours, OperationsWanted, Operator, RegistryError, Tenant};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::admin::{Approval, Neighbour, NeighbourCheck, Operation, Page, Rejection};

use super::extract::{Ask, Body, InTenant, Named, blocking};
use super::problem::No;
use super::shapes;

/// Which operations.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationsQuery {
    /// Name of the tenant; absent = the caller's own, or the default one.
    tenant: Option<String>,
    /// All operations of the device of this name; absent = those of all that are not done.
    device: Option<String>,
    /// Only those that have stopped.
    #[serde(default)]
    stopped: bool,
    /// Where the page before ended: its `next`.
    cursor: Option<String>,
    /// The most rows of a page.
    limit: Option<usize>,
}

/// `GET /operations`: those that are not done, or all of one device; the newest first.
pub(super) async fn list(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(asked): Ask<OperationsQuery>,
) -> Result<Json<Page<Operation>>, No> {
    let (operations, next) = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, asked.tenant.as_deref())?;
        let wanted = OperationsWanted {
            device: asked.device.as_deref(),
            stopped: asked.stopped,
            before: cursor(asked.cursor.as_deref())?,
            limit: asked.limit,
        };
        registry.operations(&tenant, &wanted)
    })
    .await?;
    let items = operations.into_iter().map(shapes::operation).collect();
    Ok(Json(Page { items, next: next.map(|number| number.to_string()) }))
}

/// `GET /operations/{id}`
pub(super) async fn show(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(id): Named,
) -> Result<Json<Operation>, No> {
    let operation = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.operation(&tenant, number(&id)?)
    })
    .await?;
    Ok(Json(shapes::operation(operation)))
}

/// `POST /operations/{id}/resume`
pub(super) async fn resume(
    registry: State<Registry>,
    operator: Extension<Operator>,
    within: Ask<InTenant>,
    id: Named,
) -> Result<Json<Operation>, No> {
    change(registry, operator, within, id, Registry::resume_operation).await
}

/// `POST /operations/{id}/unwind`
pub(super) async fn unwind(
    registry: State<Registry>,
    operator: Extension<Operator>,
    within: Ask<InTenant>,
    id: Named,
) -> Result<Json<Operation>, No> {
    change(registry, operator, within, id, Registry::unwind_operation).await
}

/// `POST /operations/{id}/steps/{step}/write-off`
pub(super) async fn write_off(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Path((id, step)): Path<(String, String)>,
) -> Result<Json<Operation>, No> {
    let operation = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        let step = u32::try_from(number(&step)?).unwrap_or(u32::MAX);
        registry.write_off_step(&operator, &tenant, number(&id)?, step)
    })
    .await?;
    Ok(Json(shapes::operation(operation)))
}

async fn change(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(id): Named,
    work: fn(&Registry, &Operator, &Tenant, u64) -> Result<ours::Operation, RegistryError>,
) -> Result<Json<Operation>, No> {
    let operation = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        work(registry, &operator, &tenant, number(&id)?)
    })
    .await?;
    Ok(Json(shapes::operation(operation)))
}

/// Which questions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalsQuery {
    /// Name of the tenant; absent = the caller's own, or the default one.
    tenant: Option<String>,
    /// Also those that have an answer.
    #[serde(default)]
    all: bool,
    /// Where the page before ended: its `next`.
    cursor: Option<String>,
    /// The most rows of a page.
    limit: Option<usize>,
}

/// `GET /approvals`: what waits for an answer, the oldest first; with `all` also what has one.
pub(super) async fn approvals(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(asked): Ask<ApprovalsQuery>,
) -> Result<Json<Page<Approval>>, No> {
    let (approvals, next) = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, asked.tenant.as_deref())?;
        registry.approvals(&tenant, asked.all, cursor(asked.cursor.as_deref())?, asked.limit)
    })
    .await?;
    let items = approvals.into_iter().map(shapes::approval).collect();
    Ok(Json(Page { items, next: next.map(|number| number.to_string()) }))
}

/// `POST /approvals/{id}/approve`
pub(super) async fn approve(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(id): Named,
) -> Result<Json<Approval>, No> {
    let approval = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.approve(&operator, &tenant, number(&id)?)
    })
    .await?;
    Ok(Json(shapes::approval(approval)))
}

/// `POST /approvals/{id}/reject`
pub(super) async fn reject(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(id): Named,
    Body(asked): Body<Rejection>,
) -> Result<Json<Approval>, No> {
    let approval = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.reject(&operator, &tenant, number(&id)?, &asked.reason)
    })
    .await?;
    Ok(Json(shapes::approval(approval)))
}

/// `DELETE /approvals/{id}`: the device that asks again is asked about anew.
pub(super) async fn forget(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(id): Named,
) -> Result<StatusCode, No> {
    blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.forget_approval(&operator, &tenant, number(&id)?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /neighbours`
pub(super) async fn neighbours(State(registry): State<Registry>) -> Json<Page<Neighbour>> {
    Json(shapes::whole(registry.neighbours(), |neighbour| Neighbour {
        name: neighbour.name,
        kind: if neighbour.is_hook { "hook" } else { "connector" }.to_owned(),
    }))
}

/// `POST /neighbours/{name}/test`
pub(super) async fn test(
    State(registry): State<Registry>,
    Named(name): Named,
) -> Result<Json<NeighbourCheck>, No> {
    let fault = registry.test_neighbour(&name).await?.err();
    let code = fault.as_ref().map(|fault| fault.code.to_owned());
    Ok(Json(NeighbourCheck { name, works: fault.is_none(), code, detail: fault.map(|fault| fault.message) }))
}

fn cursor(text: Option<&str>) -> Result<Option<u64>, RegistryError> {
    text.map(number).transpose()
}

/// Numbers are the server's own: what is none names nothing.
fn number(text: &str) -> Result<u64, RegistryError> {
    text.parse().map_err(|_| RegistryError::invalid("id", "it is not a number."))
}
