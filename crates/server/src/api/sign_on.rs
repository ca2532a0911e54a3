//! `/sign-on/openid`: how somebody gets a session here by the word of an OpenID provider. Open to everyone, for
//! whoever signs on has nothing to show yet.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::Extensions;
use domain::SignOnRefusal;
use engine::Registry;
use engine::registry::{AuthenticationRefusal, Session};
use wire::admin::{OpenIdDevice, OpenIdOffered, OpenIdShown, SignedOn};
use wire::thingsboard::rest::login::TOKEN_LIFE_S;

use super::auth::source;
use super::extract::{Body, blocking};
use super::problem::No;
use super::thingsboard_rest;
use crate::sign_on::SignOn;

/// The provider, if there is one.
type Provider = Option<Extension<Arc<SignOn>>>;

fn provider(provider: Provider) -> Result<Arc<SignOn>, No> {
    let found = provider.map(|Extension(provider)| provider);
    found.ok_or_else(|| AuthenticationRefusal::from(SignOnRefusal::Off).into())
}

/// `GET /sign-on/openid`
pub(super) async fn offered(configured: Provider) -> Result<Json<OpenIdOffered>, No> {
    Ok(Json(provider(configured)?.offered().await?))
}

/// `POST /sign-on/openid/device`
pub(super) async fn begin_device(
    State(registry): State<Registry>,
    configured: Provider,
    extensions: Extensions,
) -> Result<Json<OpenIdDevice>, No> {
    Ok(Json(provider(configured)?.begin_device(&registry, source(&extensions)).await?))
}

/// `POST /sign-on/openid`
pub(super) async fn sign_on(
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
