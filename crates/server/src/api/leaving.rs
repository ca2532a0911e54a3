//! `/devices/{name}/decommission` and what belongs to it.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use domain::DeviceState;
use engine::Registry;
use engine::registry::{BulkVerb, Life, Operator, RegistryError, Selector, Tenant};
use schemars::JsonSchema;
use serde::Deserialize;
use store::journal::JournalEntry;
use wire::admin::{
    self, Decommission, DecommissionMany, Decommissioned, DepartureReport, Page, ReportKey, SignedReport,
    TimelineEntry,
};

use super::extract::{Ask, Body, Course, InTenant, Named, blocking};
use super::problem::No;
use super::shapes::{self, instant};
use super::tagged::{IfMatch, Tagged};
use super::{bulk, selectors};

/// What a signature is over, before a zero byte and the text.
const FORMAT: &str = "muster/departure-report/v1";

/// `POST /devices/{name}/decommission`
pub(super) async fn decommission(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(name): Named,
    expected: IfMatch,
    Body(asked): Body<Decommission>,
) -> Result<Tagged<admin::Device>, No> {
    let device = blocking(&expected.of(registry), move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.decommission_device(&operator, &tenant, &name, milliseconds(asked.grace_s))
    })
    .await?;
    Ok(shapes::tagged_device(device))
}

/// `POST /devices/{name}/restore`
pub(super) async fn restore(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(name): Named,
) -> Result<Tagged<admin::Device>, No> {
    let device = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.restore_device(&operator, &tenant, &name)
    })
    .await?;
    Ok(shapes::tagged_device(device))
}

/// `POST /devices:decommission`: some hundreds of those that are named, or, of a rehearsal, that a selector finds, and
/// `next` leads on; or, where `application/x-ndjson` is accepted, all that a selector finds with a line for each.
pub(super) async fn decommission_many(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    headers: HeaderMap,
    course: Course,
    Body(asked): Body<DecommissionMany>,
) -> Result<Response, No> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let lines = accept.is_some_and(|accept| accept.contains("application/x-ndjson"));
    let (cursor, names) = (asked.cursor, asked.names);
    if lines && cursor.is_some() {
        let detail = "all that are found are taken where the answer is a line for each; there are no pages.";
        return Err(RegistryError::invalid("cursor", detail).into());
    }
    if !lines && asked.expected_count.is_some() {
        let detail =
            "it is for answers with a line for each: ask for them with `Accept: application/x-ndjson`.";
        return Err(RegistryError::invalid("expected_count", detail).into());
    }
    let selector = admin::Selector {
        profile: asked.profile,
        state: asked.state,
        labels: asked.labels,
        label: asked.label,
        name_prefix: asked.name_prefix,
        text: asked.text,
        seen_after: asked.seen_after,
        seen_before: asked.seen_before,
    };
    let selector = Selector { names, ..selectors::asked(selector)? };
    let grace = milliseconds(asked.grace_s);
    let limits = bulk::Limits { expected_count: asked.expected_count, dry_run: asked.dry_run };
    limits.check(&selector)?;
    if lines {
        let verb = BulkVerb::Decommission(grace);
        return bulk::run(registry, operator, asked.tenant, course, (selector, limits), verb).await;
    }
    let left = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, asked.tenant.as_deref())?;
        registry.decommission_devices(&operator, &tenant, &selector, grace, cursor.as_deref(), asked.dry_run)
    })
    .await?;
    let left = Decommissioned { names: left.names, would_retire: left.would_retire, next: left.next };
    Ok(Json(left).into_response())
}

/// Which entries of a timeline.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimelineQuery {
    /// Name of the tenant; absent = the caller's own, or the default one.
    tenant: Option<String>,
    /// Where the page before ended: its `next`.
    cursor: Option<String>,
    /// The most rows of a page.
    limit: Option<usize>,
}

/// `GET /devices/{name}/timeline`: what happened to a device, the newest first.
pub(super) async fn timeline(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(asked): Ask<TimelineQuery>,
    Named(name): Named,
) -> Result<Json<Page<TimelineEntry>>, No> {
    let (entries, next) = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, asked.tenant.as_deref())?;
        registry.timeline(&tenant, &name, asked.cursor.as_deref(), asked.limit)
    })
    .await?;
    let entry = |entry: JournalEntry| TimelineEntry {
        at: instant(entry.at),
        kind: entry.kind,
        actor: entry.actor,
        detail: entry.detail.unwrap_or_default(),
    };
    Ok(Json(Page { items: entries.into_iter().map(entry).collect(), next }))
}

/// `POST /devices/{name}/report`: what the device has left behind, signed.
pub(super) async fn report(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(name): Named,
) -> Result<Json<SignedReport>, No> {
    let signed = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        let life = registry.life(&tenant, &name)?;
        let heads = registry.heads_for_report()?;
        let report = serde_json::to_string(&described(registry, &tenant, life, &heads)).unwrap_or_default();
        let text = [FORMAT.as_bytes(), b"\0", report.as_bytes()].concat();
        let signed = registry.sign_report(&operator, &tenant, &name, &text)?;
        Ok(SignedReport {
            format: FORMAT.to_owned(),
            report,
            public_key: hex(&signed.public_key),
            signature: hex(&signed.signature),
        })
    })
    .await?;
    Ok(Json(signed))
}

/// `GET /report-key`
pub(super) async fn report_key(State(registry): State<Registry>) -> Result<Json<ReportKey>, No> {
    let key = blocking(&registry, Registry::report_key).await?;
    Ok(Json(ReportKey { public_key: hex(&key) }))
}

fn described(registry: &Registry, tenant: &Tenant, life: Life, heads: &[store::Head]) -> DepartureReport {
    let over = life.steps.iter().all(|step| step.record.state.is_over());
    let known: Vec<_> = life.steps.iter().map(|step| step.record.clone()).collect();
    let gone = life.device.state.is_leaving() || life.device.state == DeviceState::Expected;
    DepartureReport {
        version: 1,
        server: registry.server_name(),
        made_at: instant(registry.now()),
        tenant: tenant.name.clone(),
        device_id: life.device.id,
        device: life.device.name,
        profile: life.device.profile,
        state: life.device.state.word().to_owned(),
        state_since: instant(life.device.state_since),
        step_count: life.steps.len(),
        complete: gone && over && domain::plan::leaving(&known).is_empty(),
        steps: life.steps.into_iter().map(shapes::step).collect(),
        journal_heads: heads
            .iter()
            .map(|head| (format!("{}.{}", head.position.writer, head.position.number), hex(&head.link)))
            .collect(),
    }
}

fn milliseconds(seconds: Option<u64>) -> Option<u64> {
    seconds.map(|seconds| seconds.saturating_mul(1000))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
