//! Who calls? `X-Authorization` before `Authorization`, `Bearer JWT` or `ApiKey KEY` (section 11.1).

use std::net::IpAddr;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use domain::Secret;
use engine::Registry;
use engine::registry::{AuthenticationRefusal, IdKind, Operator, Session, TokenFault};
use wire::thingsboard::rest::login::Claims;

use super::super::Need;
use super::super::auth::source;
use super::ROUTES;
use super::error::Wrong;

/// The header that comes first.
const X_AUTHORIZATION: &str = "x-authorization";
/// What our operators' tokens begin with.
const OPERATOR_TOKEN: &str = "mst_";

/// The session that a request goes on with; `None` where an API key opened the door.
#[derive(Clone, Debug)]
pub(super) struct Signed(pub(super) Option<Session>);

/// Tells handlers who asks, as `Extension<Operator>` and `Extension<Signed>`. Nobody else gets further, but to
/// where everybody may go.
pub(super) async fn recognise(
    State(registry): State<Registry>,
    mut request: Request,
    next: Next,
) -> Result<Response, Wrong> {
    if !is_open(request.extensions().get::<MatchedPath>()) {
        let source = source(request.extensions());
        let (operator, signed) = authenticate(&registry, shown(request.headers())?, source).await?;
        request.extensions_mut().insert(operator);
        request.extensions_mut().insert(signed);
    }
    Ok(next.run(request).await)
}

/// Lets only those through whose role allows what a route needs.
pub(super) async fn allow(need: Need, request: Request, next: Next) -> Result<Response, Wrong> {
    let operator = request.extensions().get::<Operator>().ok_or_else(Wrong::no_token)?;
    need.check(operator)?;
    Ok(next.run(request).await)
}

fn is_open(path: Option<&MatchedPath>) -> bool {
    path.is_some_and(|path| ROUTES.iter().any(|route| route.path == path.as_str() && route.need.is_none()))
}

async fn authenticate(
    registry: &Registry,
    shown: Shown,
    source: Option<IpAddr>,
) -> Result<(Operator, Signed), Wrong> {
    let registry = registry.clone();
    let judged = tokio::task::spawn_blocking(move || judge(&registry, &shown, source)).await;
    judged.map_err(|_| Wrong::internal())?
}

fn judge(registry: &Registry, shown: &Shown, source: Option<IpAddr>) -> Result<(Operator, Signed), Wrong> {
    match shown {
        Shown::Session(token) => {
            let session = session(registry, token, source)?;
            Ok((session.operator.clone(), Signed(Some(session))))
        }
        Shown::Key(key) => Ok((registry.authenticate(key, source)?, Signed(None))),
    }
}

/// What a request shows of who asks.
enum Shown {
    Session(Secret),
    Key(Secret),
}

fn shown(headers: &HeaderMap) -> Result<Shown, Wrong> {
    let value = headers.get(X_AUTHORIZATION).or_else(|| headers.get(header::AUTHORIZATION));
    let value = value.and_then(|value| value.to_str().ok()).map(str::trim).ok_or_else(Wrong::no_token)?;
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let rest = rest.trim();
    if rest.is_empty() && (value.is_empty() || scheme.eq_ignore_ascii_case("bearer")) {
        return Err(Wrong::no_token());
    }
    let secret = Secret::new(rest);
    if scheme.eq_ignore_ascii_case("apikey") {
        return Ok(Shown::Key(secret));
    }
    match scheme.eq_ignore_ascii_case("bearer") {
        // Our own tokens are taken where scripts know of bearers only.
        true if rest.starts_with(OPERATOR_TOKEN) => Ok(Shown::Key(secret)),
        true => Ok(Shown::Session(secret)),
        false => Err(AuthenticationRefusal::Unknown.into()),
    }
}

/// Whether a bearer's text has the form of a session's token, and not of an operator token.
pub(in crate::api) fn looks_like_session(token: &str) -> bool {
    token.matches('.').count() == 2
}

/// The session that an access token belongs to.
pub(in crate::api) fn session(
    registry: &Registry,
    token: &Secret,
    source: Option<IpAddr>,
) -> Result<Session, AuthenticationRefusal> {
    let claims = claims(registry, token)?;
    if claims.is_refresh() {
        return Err(AuthenticationRefusal::Unknown);
    }
    resume(registry, &claims, source)
}

/// What a token says, if it was signed here and has not expired.
pub(super) fn claims(registry: &Registry, token: &Secret) -> Result<Claims, AuthenticationRefusal> {
    let claims: Claims = registry.read_token(token.expose()).map_err(|fault| match fault {
        TokenFault::Malformed => AuthenticationRefusal::Unknown,
        TokenFault::Signature => AuthenticationRefusal::Expired,
        TokenFault::Locked => AuthenticationRefusal::Store(engine::StoreError::Locked),
    })?;
    if claims.exp.saturating_mul(1000) <= registry.now().0 {
        return Err(AuthenticationRefusal::Expired);
    }
    Ok(claims)
}

pub(super) fn resume(
    registry: &Registry,
    claims: &Claims,
    source: Option<IpAddr>,
) -> Result<Session, AuthenticationRefusal> {
    let account = registry.number_of(IdKind::Account, &claims.user_id);
    let account = account.ok_or(AuthenticationRefusal::Unknown)?;
    registry.resume(account, claims.epoch, &claims.session_id, source)
}
