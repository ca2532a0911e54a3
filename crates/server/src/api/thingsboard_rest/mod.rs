//! ThingsBoard's REST interface, as people script it: `/api/…` beside our own API.
//!
//! The router is built from one list, [`ROUTES`], like that of our own API. Who asks is found out before
//! anything else (401 comes before 404, 405 and 413); what the role must allow stands in the list.

mod ask;
mod attributes;
mod auth;
mod bulk;
mod calls;
mod credentials;
mod devices;
pub(super) mod error;
mod lists;
mod login;
mod profiles;
mod routes;
mod system;
mod target;
mod timeseries;

use std::collections::BTreeMap;

use axum::extract::{DefaultBodyLimit, OriginalUri};
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, any};
use axum::{Extension, Router};
use engine::Registry;

use crate::listeners::Stopping;

use super::Verb;
use error::Wrong;
pub use routes::{ROUTES, Route};

pub(super) use auth::{looks_like_session, session};
pub(super) use login::tokens;

/// The most bytes of a body, where a handler sets no limit of its own.
const MOST_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The same of a stranger's: what is signed on with is short.
const MOST_STRANGERS_BYTES: usize = 16 * 1024;

/// Where another method is answered like a failed authentication.
const SIGNING_ON: [&str; 2] = ["/api/auth/login", "/api/auth/token"];

/// All of it. The listener puts its [`Peer`](crate::listeners::Peer) among the request's extensions.
pub fn router(registry: Registry, stopping: Stopping) -> Router {
    let mut paths: BTreeMap<&'static str, (MethodRouter<Registry>, Vec<Verb>)> = BTreeMap::new();
    for route in ROUTES {
        let mut mounted = (route.mount)();
        mounted = match route.need {
            Some(need) => mounted.route_layer(from_fn(move |request, next| auth::allow(need, request, next))),
            None => mounted.layer(DefaultBodyLimit::max(MOST_STRANGERS_BYTES)),
        };
        let (present, mut verbs) = paths.remove(route.path).unwrap_or_default();
        verbs.push(route.verb);
        paths.insert(route.path, (present.merge(mounted), verbs));
    }
    let router = paths.into_iter().fold(Router::new(), |router, (path, (methods, verbs))| {
        let allowed = allowed(&verbs);
        let refuse = move |method: Method| async move {
            if SIGNING_ON.contains(&path) {
                return Wrong::unauthorized("Authentication method not supported");
            }
            Wrong::method_not_supported(&method, &allowed)
        };
        router.route(path, methods.fallback(refuse))
    });
    router
        .route("/api", any(nothing_here))
        .route("/api/", any(nothing_here))
        .route("/api/{*rest}", any(nothing_here))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .layer(Extension(stopping))
        .layer(from_fn_with_state(registry.clone(), auth::recognise))
        .with_state(registry)
}

async fn nothing_here(OriginalUri(uri): OriginalUri) -> Wrong {
    Wrong::no_such_path(uri.path())
}

fn allowed(verbs: &[Verb]) -> String {
    let mut words: Vec<_> = verbs.iter().map(|verb| verb.word()).collect();
    words.sort_unstable();
    words.join(", ")
}
