//! `/operators` and `/operator-tokens`

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use domain::Secret;
use engine::Registry;
use engine::registry::{AccountChange, NewAccount, NewOperatorToken, Operator, RegistryError, What};
use wire::admin::{
    OperatorAccount, OperatorAccountChange, OperatorAccountCreate, OperatorToken, OperatorTokenCreate,
    OperatorTokenCreated, OwnPassword, Page,
};

use super::extract::{Body, Named, blocking};
use super::problem::No;
use super::shapes;

/// `GET /operator-tokens`
pub(super) async fn list(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Page<OperatorToken>>, No> {
    let tokens = blocking(&registry, move |registry| registry.operator_tokens(&operator)).await?;
    Ok(Json(shapes::whole(tokens, shapes::operator_token)))
}

/// `POST /operator-tokens`
pub(super) async fn create(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<OperatorTokenCreate>,
) -> Result<(StatusCode, Json<OperatorTokenCreated>), No> {
    let (token, listed) = blocking(&registry, move |registry| {
        let life_ms = asked.expires_in_s.map(|seconds| seconds.saturating_mul(1000));
        let wanted = NewOperatorToken {
            role: shapes::to_role(asked.role),
            tenant: asked.tenant.as_deref(),
            label: &asked.label,
            life_ms,
        };
        registry.create_operator_token(&operator, wanted)
    })
    .await?;
    let token = wire::Secret::new(token.expose());
    Ok((StatusCode::CREATED, Json(OperatorTokenCreated { token, listed: shapes::operator_token(listed) })))
}

/// `DELETE /operator-tokens/{id}`
pub(super) async fn revoke(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Named(id): Named,
) -> Result<StatusCode, No> {
    let Ok(number) = id.parse() else {
        return Err(RegistryError::NotFound { what: What::OperatorToken, name: id }.into());
    };
    blocking(&registry, move |registry| registry.revoke_operator_token(&operator, number)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /operators`
pub(super) async fn accounts(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Page<OperatorAccount>>, No> {
    let accounts = blocking(&registry, move |registry| registry.accounts(&operator)).await?;
    Ok(Json(shapes::whole(accounts, shapes::account)))
}

/// `POST /operators`
pub(super) async fn add(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<OperatorAccountCreate>,
) -> Result<(StatusCode, Json<OperatorAccount>), No> {
    let account = blocking(&registry, move |registry| {
        let new = NewAccount {
            name: &asked.name,
            tenant: asked.tenant.as_deref(),
            role: shapes::to_role(asked.role),
            password: asked.password.as_ref().map(clear),
        };
        registry.create_account(&operator, &new)
    });
    Ok((StatusCode::CREATED, Json(shapes::account(account.await?))))
}

/// `PATCH /operators/{name}`
pub(super) async fn set(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Named(name): Named,
    Body(asked): Body<OperatorAccountChange>,
) -> Result<Json<OperatorAccount>, No> {
    let wanted = AccountChange {
        role: asked.role.map(shapes::to_role),
        disabled: asked.disabled,
        password: asked.password.as_ref().map(clear),
        epoch: None,
    };
    let changed = blocking(&registry, move |registry| registry.change_account(&operator, &name, &wanted));
    Ok(Json(shapes::account(changed.await?)))
}

/// `DELETE /operators/{name}`
pub(super) async fn remove(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Named(name): Named,
) -> Result<StatusCode, No> {
    blocking(&registry, move |registry| registry.delete_account(&operator, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /whoami/password`
pub(super) async fn own_password(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<OwnPassword>,
) -> Result<StatusCode, No> {
    registry.change_password(operator, clear(&asked.present), clear(&asked.new)).await??;
    Ok(StatusCode::NO_CONTENT)
}

fn clear(secret: &wire::Secret) -> Secret {
    Secret::new(secret.expose())
}
