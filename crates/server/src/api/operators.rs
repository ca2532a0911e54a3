//! `/operator-tokens`

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use engine::Registry;
use engine::registry::{NewOperatorToken, Operator, RegistryError, What};
use wire::admin::{OperatorToken, OperatorTokenCreate, OperatorTokenCreated, Page};

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
            role: domain::Role::Admin,
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
