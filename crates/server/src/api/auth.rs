//! Who calls? `Authorization: Bearer`, compared by keyed verifier.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{Extensions, HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use domain::{OperatorRefusal, Secret};
use engine::Registry;
use engine::registry::{AuthenticationRefusal, Operator, Right};
use schemars::JsonSchema;
use serde::Serialize;
use wire::admin::{OperatorRight, OperatorRole};

use crate::listeners::Peer;
use crate::sign_on::{For, SignOn};

use super::problem::No;
use super::routes::Need;
use super::tagged::unless_known;
use super::{once, shapes, thingsboard_rest};

/// Lets only those through who have what a route needs, and tells the handler who it is.
pub(super) async fn guard(
    State((registry, need)): State<(Registry, Need)>,
    mut request: Request,
    next: Next,
) -> Result<Response, No> {
    let bearer = Bearer {
        token: bearer(request.headers()),
        sign_on: request.extensions().get::<Arc<SignOn>>().cloned(),
        source: source(request.extensions()),
        need,
    };
    let operator = bearer.recognised(&registry).await?;
    request.extensions_mut().insert(operator.clone());
    request.extensions_mut().insert(bearer);
    if let Some(key) = once::key(&request)? {
        return once::run(registry, operator, key, request, next).await;
    }
    let (method, headers) = (request.method().clone(), request.headers().clone());
    Ok(unless_known(&method, &headers, next.run(request).await))
}

/// What a caller showed, for answers that last: the right to hear them may end before they do.
#[derive(Clone)]
pub(super) struct Bearer {
    token: Option<Secret>,
    sign_on: Option<Arc<SignOn>>,
    source: Option<IpAddr>,
    need: Need,
}

impl Bearer {
    /// Who it is, by what stands now, and with what its route needs.
    pub(super) async fn recognised(&self, registry: &Registry) -> Result<Operator, No> {
        let operator =
            authenticate(registry, self.sign_on.as_deref(), self.token.clone(), self.source).await?;
        self.need.check(&operator)?;
        Ok(operator)
    }
}

/// Whether a request carries the token of an operator of the whole server, for what is not part of the
/// API but not for everyone either. A failure counts as one.
pub async fn is_operator(registry: &Registry, headers: &HeaderMap, source: Option<IpAddr>) -> bool {
    authenticate(registry, None, bearer(headers), source)
        .await
        .is_ok_and(|operator| operator.right == Right::Server)
}

/// The peer's address, where the listener noted it.
pub(super) fn source(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>().map(|peer| peer.address)
}

async fn authenticate(
    registry: &Registry,
    sign_on: Option<&SignOn>,
    token: Option<Secret>,
    source: Option<IpAddr>,
) -> Result<Operator, No> {
    let Some(token) = token else {
        metrics::counter!("muster_operator_failures_total", "code" => "token-missing").increment(1);
        return Err(No::of(OperatorRefusal::TokenMissing));
    };
    if let Some(sign_on) = sign_on.filter(|sign_on| sign_on.is_meant_by(token.expose())) {
        let session = sign_on.recognise(registry, &token, For::Call, source).await?;
        return Ok(session.operator);
    }
    let registry = registry.clone();
    let done = tokio::task::spawn_blocking(move || {
        if thingsboard_rest::looks_like_session(token.expose()) {
            return thingsboard_rest::session(&registry, &token, source).map(|session| session.operator);
        }
        registry.authenticate(&token, source)
    })
    .await;
    done.map_err(|_| No::internal())?.map_err(refused)
}

fn refused(refusal: AuthenticationRefusal) -> No {
    metrics::counter!("muster_operator_failures_total", "code" => refusal.code()).increment(1);
    No::from(refusal)
}

fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Secret::new(token))
}

/// Who the caller is.
#[derive(JsonSchema, Serialize)]
pub(super) struct WhoAmI {
    /// What stands in the journal for the caller.
    actor: String,
    /// How far its rights reach.
    right: OperatorRight,
    /// What it may do.
    role: OperatorRole,
    /// Name of the tenant it is limited to; absent = the whole server.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
}

/// `GET /whoami`
pub(super) async fn whoami(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<WhoAmI>, No> {
    let asking = operator.clone();
    let tenant = match operator.right {
        Right::Server => None,
        Right::Tenant(_) => {
            super::extract::blocking(&registry, move |registry| registry.tenants(&asking)).await?.pop()
        }
    };
    Ok(Json(WhoAmI {
        actor: operator.actor,
        right: shapes::right(operator.right),
        role: shapes::role(operator.role),
        tenant: tenant.map(|tenant| tenant.name),
    }))
}
