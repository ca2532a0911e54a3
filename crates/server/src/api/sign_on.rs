//! `/sign-on/openid`: how somebody gets a session here by the word of an OpenID provider. Open to everyone, for
//! whoever signs on has nothing to show yet.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::Extensions;
use axum::routing::{get, post};
use axum::{Json, Router};
use domain::SignOnRefusal;
use engine::Registry;
use engine::registry::{AuthenticationRefusal, Session};
use wire::admin::{BASE_PATH, OpenIdDevice, OpenIdOffered, OpenIdShown, SignedOn};
use wire::thingsboard::rest::login::TOKEN_LIFE_S;

use super::auth::source;
use super::extract::{Body, blocking};
use super::problem::No;
use super::thingsboard_rest;
use crate::sign_on::SignOn;

/// Answers three paths.
pub fn router(registry: Registry) -> Router {
    Router::new()
        .route(&format!("{BASE_PATH}/sign-on/openid"), get(offered).post(sign_on))
        .route(&format!("{BASE_PATH}/sign-on/openid/device"), post(begin_device))
        .with_state(registry)
}

/// The provider, if there is one.
type Provider = Option<Extension<Arc<SignOn>>>;

fn provider(provider: Provider) -> Result<Arc<SignOn>, No> {
    let found = provider.map(|Extension(provider)| provider);
    found.ok_or_else(|| AuthenticationRefusal::from(SignOnRefusal::Off).into())
}

/// `GET /sign-on/openid`
async fn offered(configured: Provider) -> Result<Json<OpenIdOffered>, No> {
    Ok(Json(provider(configured)?.offered().await?))
}

/// `POST /sign-on/openid/device`
async fn begin_device(
    State(registry): State<Registry>,
    configured: Provider,
    extensions: Extensions,
) -> Result<Json<OpenIdDevice>, No> {
    Ok(Json(provider(configured)?.begin_device(&registry, source(&extensions)).await?))
}

/// `POST /sign-on/openid`
async fn sign_on(
    State(registry): State<Registry>,
    configured: Provider,
    extensions: Extensions,
    Body(shown): Body<OpenIdShown>,
) -> Result<Json<SignedOn>, No> {
    let session = provider(configured)?.exchange(&registry, shown, source(&extensions)).await?;
    issue(&registry, session).await
}

async fn issue(registry: &Registry, session: Session) -> Result<Json<SignedOn>, No> {
    let name = session.name.clone();
    let tokens = blocking(registry, move |registry| thingsboard_rest::tokens(registry, &session)).await?;
    Ok(Json(SignedOn {
        name,
        token: tokens.token,
        expires_in_s: TOKEN_LIFE_S.unsigned_abs(),
        refresh_token: tokens.refresh_token,
    }))
}
