//! What operators' tools speak: our own API, below [`wire::admin::BASE_PATH`].
//!
//! The router is built from one list, [`ROUTES`]; a test walks the same list and finds that every route
//! refuses a stranger, another tenant's token and an expired one. What is open to everyone is a list of its own,
//! [`OPEN`].

mod audit;
pub mod auth;
mod backups;
mod bulk;
mod devices;
mod extract;
mod feed;
mod freezes;
mod import;
mod leaving;
mod once;
pub mod openapi;
mod operations;
mod operators;
pub mod problem;
mod profiles;
pub mod recover;
mod routes;
mod secrets;
mod selectors;
mod shapes;
mod sign_on;
mod tagged;
mod tenants;
pub mod thingsboard_rest;
mod traces;

use std::collections::BTreeMap;

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, any, get};
use axum::{Extension, Router};
use engine::Registry;
use wire::admin::BASE_PATH;

use crate::listeners::Stopping;

pub use routes::{Need, OPEN, Open, ROUTES, Route, Verb};

/// The most bytes of a request's JSON body. An import streams and has no such limit.
const MOST_BODY_BYTES: usize = 1024 * 1024;

/// The whole operator API. It answers everything below its base path, so it can be merged with the rest of
/// a listener. The listener puts its
/// [`Peer`](crate::listeners::Peer) among the request's extensions.
pub fn router(registry: Registry, stopping: Stopping) -> Router {
    let mut paths: BTreeMap<&'static str, MethodRouter<Registry>> = BTreeMap::new();
    for route in ROUTES {
        let guarded =
            (route.mount)().route_layer(from_fn_with_state((registry.clone(), route.need), auth::guard));
        let present = paths.remove(route.path).unwrap_or_default();
        paths.insert(route.path, present.merge(guarded));
    }
    for route in OPEN {
        let present = paths.remove(route.path).unwrap_or_default();
        paths.insert(route.path, present.merge((route.mount)()));
    }
    let router = paths.into_iter().fold(Router::new(), |router, (path, methods)| {
        router.route(&format!("{BASE_PATH}{path}"), methods.fallback(problem::method_not_allowed))
    });
    let described = get(openapi::serve).fallback(problem::method_not_allowed);
    router
        .route(&format!("{BASE_PATH}{}", openapi::PATH), described)
        .route(BASE_PATH, any(problem::no_such_path))
        .route(&format!("{BASE_PATH}/"), any(problem::no_such_path))
        .route(&format!("{BASE_PATH}/{{*rest}}"), any(problem::no_such_path))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .layer(Extension(feed::Readers::new(stopping.clone())))
        .layer(Extension(stopping))
        .with_state(registry)
}
