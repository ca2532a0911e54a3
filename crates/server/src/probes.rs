//! `/healthz`, `/readyz`, `/metrics`: what watches the server, not what uses it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use engine::Registry;
use metrics::{Gauge, gauge};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::api::auth;
use crate::hub::sessions::Sessions;
use crate::listeners::{Peer, Stopping};

/// The text format of Prometheus.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct Probed {
    registry: Registry,
    figures: PrometheusHandle,
    sessions: Arc<Sessions>,
    devices_connected: Gauge,
    stopping: Stopping,
    /// Whether a peer on a loopback address is on this machine, and no proxy that speaks for others.
    loopback_is_here: bool,
}

/// The probes. Anybody may ask the first two, which answer with one word; figures are for this machine and
/// for operators of the whole server.
pub(crate) fn router(
    registry: Registry,
    figures: PrometheusHandle,
    sessions: Arc<Sessions>,
    stopping: Stopping,
    loopback_is_here: bool,
) -> Router {
    let devices_connected = gauge!("muster_devices_connected");
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_figures))
        .with_state(Probed { registry, figures, sessions, devices_connected, stopping, loopback_is_here })
}

async fn ready(State(probed): State<Probed>) -> Response {
    if probed.stopping.is_asked() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    if probed.registry.why_locked().is_some() {
        return (StatusCode::SERVICE_UNAVAILABLE, "locked\n").into_response();
    }
    "ready\n".into_response()
}

async fn show_figures(
    State(probed): State<Probed>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let from_here = probed.loopback_is_here && peer.address.is_loopback();
    if !from_here && !auth::is_operator(&probed.registry, &headers, Some(peer.address)).await {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    probed.devices_connected.set(u32::try_from(probed.sessions.count()).unwrap_or(u32::MAX));
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], probed.figures.render()).into_response()
}
