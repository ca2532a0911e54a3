//! Signing on and off (section 11.1).

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{Extensions, StatusCode};
use bytes::Bytes;
use domain::{Secret, Timestamp};
use engine::Registry;
use engine::registry::{AuthenticationRefusal, IdKind, Operator, RegistryError, Session, Who};
use wire::thingsboard::rest::EntityId;
use wire::thingsboard::rest::login::{
    ChangePassword, Claims, ISSUER, LoginRequest, REFRESH_LIFE_S, REFRESH_TOKEN, RefreshRequest,
    TENANT_ADMIN, TOKEN_LIFE_S, Tokens, User,
};

use super::super::auth::source;
use super::auth::{Signed, claims, resume};
use super::error::Wrong;

/// `POST /api/auth/login`
pub(super) async fn login(
    State(registry): State<Registry>,
    extensions: Extensions,
    body: Bytes,
) -> Result<Json<Tokens>, Wrong> {
    let asked = LoginRequest::parse(&body).ok_or_else(Wrong::no_token)?;
    let password = Secret::new(asked.password.expose());
    let session = registry.log_in(asked.username, password, source(&extensions)).await?;
    issue(&registry, session).await
}

/// `POST /api/auth/token`
pub(super) async fn refresh(
    State(registry): State<Registry>,
    extensions: Extensions,
    body: Bytes,
) -> Result<Json<Tokens>, Wrong> {
    let asked: RefreshRequest = serde_json::from_slice(&body).map_err(|_| Wrong::no_token())?;
    if asked.refresh_token.is_empty() {
        return Err(Wrong::no_token());
    }
    let (token, source) = (Secret::new(asked.refresh_token.expose()), source(&extensions));
    let session = blocking(&registry, move |registry| {
        let claims = claims(registry, &token)?;
        if !claims.is_refresh() {
            return Err(Wrong::unauthorized("Invalid Refresh Token scope"));
        }
        Ok(resume(registry, &claims, source)?)
    });
    issue(&registry, session.await?).await
}

/// `POST /api/auth/logout`: the session's tokens are good for nothing from now on.
pub(super) async fn logout(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Extension(Signed(signed)): Extension<Signed>,
) -> Result<StatusCode, Wrong> {
    // An API key has no session: it is revoked by whoever may.
    let Some(session) = signed else { return Ok(StatusCode::OK) };
    blocking(&registry, move |registry| {
        let life_ms = u64::try_from(REFRESH_LIFE_S * 1000).unwrap_or_default();
        Ok(registry.end_session(&operator, &session.id, registry.now().plus_ms(life_ms))?)
    })
    .await?;
    Ok(StatusCode::OK)
}

/// `POST /api/auth/changePassword`: answered with fresh tokens, for those of before are void.
pub(super) async fn change_password(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Extension(Signed(signed)): Extension<Signed>,
    body: Bytes,
) -> Result<Json<Tokens>, Wrong> {
    let asked: ChangePassword =
        serde_json::from_slice(&body).map_err(|_| Wrong::bad_request("Invalid request body"))?;
    let Some(session) = signed else { return Err(Wrong::forbidden()) };
    let clear = |secret: &wire::Secret| Secret::new(secret.expose());
    let (present, new) = (clear(&asked.current_password), clear(&asked.new_password));
    let changed = registry.change_password(operator.clone(), present, new).await;
    changed.map_err(|refusal| match refusal {
        AuthenticationRefusal::Password => Wrong::bad_request("Current password doesn't match!"),
        other => other.into(),
    })??;
    let password = clear(&asked.new_password);
    issue(&registry, registry.log_in(session.name, password, operator.source).await?).await
}

/// `GET /api/auth/user`
pub(super) async fn user(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Extension(Signed(signed)): Extension<Signed>,
) -> Result<Json<User>, Wrong> {
    blocking(&registry, move |registry| Ok(Json(shown(registry, &operator, signed)?))).await
}

/// The operator as a user of ThingsBoard's.
fn shown(registry: &Registry, operator: &Operator, signed: Option<Session>) -> Result<User, Wrong> {
    let (kind, number) = match operator.who {
        Who::Account(number) => (IdKind::Account, number),
        Who::Token(number) => (IdKind::OperatorToken, number),
        Who::Server => (IdKind::OperatorToken, 0),
    };
    let (name, version) = match signed {
        Some(session) => (session.name, session.epoch),
        None => (operator.actor.clone(), 1),
    };
    Ok(User {
        id: EntityId::new("USER", registry.public_id(kind, number)),
        created_time: registry.holder_since(operator)?.unwrap_or(Timestamp(0)).0,
        tenant_id: EntityId::new("TENANT", registry.public_id(IdKind::Tenant, operator.home().0)),
        customer_id: EntityId::no_customer(),
        email: name.clone(),
        authority: TENANT_ADMIN.to_owned(),
        first_name: None,
        last_name: None,
        phone: None,
        version,
        name,
        additional_info: None,
    })
}

async fn issue(registry: &Registry, session: Session) -> Result<Json<Tokens>, Wrong> {
    blocking(registry, move |registry| Ok(Json(tokens(registry, &session)?))).await
}

/// The tokens that carry a session.
pub(in crate::api) fn tokens(registry: &Registry, session: &Session) -> Result<Tokens, RegistryError> {
    let [token, refresh_token] = pair(registry, session).map(|claims| registry.sign_token(&claims));
    let clear = |secret: Secret| wire::Secret::new(secret.expose());
    Ok(Tokens { token: clear(token?), refresh_token: clear(refresh_token?) })
}

/// What the access token and the refresh token of a session say.
fn pair(registry: &Registry, session: &Session) -> [Claims; 2] {
    let now_s = registry.now().0.div_euclid(1000);
    let access = Claims {
        sub: session.name.clone(),
        user_id: registry.public_id(IdKind::Account, session.account),
        scopes: vec![TENANT_ADMIN.to_owned()],
        session_id: session.id.clone(),
        exp: now_s + TOKEN_LIFE_S,
        iss: ISSUER.to_owned(),
        iat: now_s,
        enabled: Some(true),
        is_public: false,
        tenant_id: Some(registry.public_id(IdKind::Tenant, session.operator.home().0)),
        customer_id: Some(wire::thingsboard::rest::NULL_ID.to_owned()),
        jti: None,
        epoch: session.epoch,
    };
    let refresh = Claims {
        scopes: vec![REFRESH_TOKEN.to_owned()],
        exp: now_s + REFRESH_LIFE_S,
        enabled: None,
        tenant_id: None,
        customer_id: None,
        jti: Some(registry.random_id()),
        ..access.clone()
    };
    [access, refresh]
}

/// Runs what waits for the store on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    registry: &Registry,
    work: impl FnOnce(&Registry) -> Result<T, Wrong> + Send + 'static,
) -> Result<T, Wrong> {
    let registry = registry.clone();
    tokio::task::spawn_blocking(move || work(&registry)).await.map_err(|_| Wrong::internal())?
}
