//! `/devices:disable`, `/devices:enable`, `/devices:label` and the like: many devices with one call, a line for each.

use std::io;

use axum::body::Body as Stream;
use axum::extract::{Extension, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use domain::OperatorRefusal;
use engine::Registry;
use engine::registry::{BulkResults, BulkVerb, Done, Operator, RegistryError, Selector, Targets, Tenant};
use serde::Serialize;
use tokio::sync::mpsc;
use wire::admin::{Bulk, BulkDevice, BulkEvent, BulkResult, BulkSummary};

use super::extract::{Ask, Body, Course, InTenant, blocking};
use super::problem::No;
use super::selectors;
use crate::listeners::Stopping;

/// The most names in a call.
const MOST_NAMES: usize = 10_000;
/// Pieces of the answer that wait for the caller.
const WAITING_PIECES: usize = 16;

/// What keeps a call from doing more than was meant.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) expected_count: Option<u64>,
    pub(super) dry_run: bool,
}

impl Limits {
    /// Whatever shuts devices out has names, or a number.
    ///
    /// # Errors
    /// `count-missing`.
    pub(super) fn check(self, selector: &Selector) -> Result<(), No> {
        if selector.names.is_some() || self.dry_run || self.expected_count.is_some() {
            return Ok(());
        }
        Err(No::of(OperatorRefusal::CountMissing))
    }
}

/// `POST /devices:disable`
pub(super) async fn disable(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    course: Course,
    Body(asked): Body<Bulk>,
) -> Result<Response, No> {
    described(&asked, false)?;
    let (selector, limits) = chosen(asked)?;
    limits.check(&selector)?;
    run(registry, operator, within.tenant, course, (selector, limits), BulkVerb::Disable).await
}

/// `POST /devices:enable`
pub(super) async fn enable(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    course: Course,
    Body(asked): Body<Bulk>,
) -> Result<Response, No> {
    described(&asked, false)?;
    run(registry, operator, within.tenant, course, chosen(asked)?, BulkVerb::Enable).await
}

/// `POST /devices:label`
pub(super) async fn label(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    course: Course,
    Body(mut asked): Body<Bulk>,
) -> Result<Response, No> {
    described(&asked, true)?;
    let change = selectors::change(std::mem::take(&mut asked.label), std::mem::take(&mut asked.labels));
    change.check()?;
    run(registry, operator, within.tenant, course, chosen(asked)?, BulkVerb::Describe(change)).await
}

/// Labels are said where they are set, and nowhere else.
fn described(asked: &Bulk, wanted: bool) -> Result<(), No> {
    let said = !asked.label.is_keep() || !asked.labels.is_empty();
    match (said, wanted) {
        (false, true) => Err(invalid("labels", "neither `label` nor `labels` says what is to be set.")),
        (true, false) => Err(invalid("labels", "`devices:label` sets them; nothing else does.")),
        _ => Ok(()),
    }
}

fn invalid(field: &'static str, detail: &str) -> No {
    RegistryError::invalid(field, detail).into()
}

pub(super) async fn run(
    registry: Registry,
    operator: Operator,
    tenant: Option<String>,
    course: Course,
    (selector, limits): (Selector, Limits),
    verb: BulkVerb,
) -> Result<Response, No> {
    let stopping = course.begin();
    let (asking, wanted) = (operator.clone(), selector.clone());
    let (tenant, targets) = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&asking, tenant.as_deref())?;
        let targets = registry.targets(&tenant, &wanted)?;
        Ok((tenant, targets))
    })
    .await?;
    if limits.expected_count.is_some_and(|count| count != targets.count()) {
        let detail = format!("They are {} devices; nothing was done.", targets.count());
        return Err(No::new(OperatorRefusal::CountChanged, detail));
    }
    let (answer, lines) = mpsc::channel(WAITING_PIECES);
    let dry_run = limits.dry_run;
    let work = Work { registry, operator, tenant, verb, selector, dry_run, stopping, answer };
    tokio::task::spawn_blocking(move || work.run(targets));
    let lines = futures_util::stream::unfold(lines, |mut lines| async {
        let line: Bytes = lines.recv().await?;
        Some((Ok::<_, io::Error>(line), lines))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Stream::from_stream(lines)).into_response())
}

fn chosen(asked: Bulk) -> Result<(Selector, Limits), No> {
    let limits = Limits { expected_count: asked.expected_count, dry_run: asked.dry_run };
    match (asked.selector, asked.names) {
        (Some(selector), None) => Ok((selectors::asked(selector)?, limits)),
        (None, Some(names)) if names.len() <= MOST_NAMES => {
            Ok((Selector { names: Some(names), ..Selector::default() }, limits))
        }
        (None, Some(_)) => Err(invalid("names", "there are at most 10000 in a call.")),
        _ => Err(invalid("selector", "either `selector` or `names` says which devices.")),
    }
}

/// One call, on its thread.
struct Work {
    registry: Registry,
    operator: Operator,
    tenant: Tenant,
    verb: BulkVerb,
    selector: Selector,
    dry_run: bool,
    stopping: Stopping,
    answer: mpsc::Sender<Bytes>,
}

impl Work {
    /// Without a summary the caller sees that it was cut short: the store failed, or the server stops.
    fn run(self, mut targets: Targets) {
        let mut summary = BulkSummary::default();
        while let Some(some) = targets.take_some() {
            let chosen = (&self.selector, &some);
            let heard =
                match self.registry.bulk(&self.operator, &self.tenant, &self.verb, chosen, self.dry_run) {
                    Ok(results) => self.tell(&self.told(results, &mut summary)),
                    Err(error) => return tracing::warn!(%error, "a call for many devices was cut short"),
                };
            if !goes_on(self.dry_run, heard, &self.stopping) {
                return tracing::info!(left = targets.count(), "a call for many devices ended early");
            }
        }
        self.tell(&[BulkEvent::Summary(summary)]);
    }

    fn told(&self, results: BulkResults, summary: &mut BulkSummary) -> Vec<BulkEvent> {
        let one = |(name, result): (String, Result<Done, RegistryError>)| {
            let (count, result, error) = match result {
                Ok(Done::Changed) if self.dry_run => (&mut summary.changed, BulkResult::WouldChange, None),
                Ok(Done::Changed) => (&mut summary.changed, BulkResult::Changed, None),
                Ok(Done::Unchanged) => (&mut summary.unchanged, BulkResult::Unchanged, None),
                Err(error) => (&mut summary.errors, BulkResult::Error, Some(error)),
            };
            *count += 1;
            let code = error.as_ref().map(|error| error.code().to_owned());
            BulkEvent::Device(BulkDevice { name, result, code, detail: error.map(|error| error.to_string()) })
        };
        results.into_iter().map(one).collect()
    }

    /// Whether somebody listens.
    fn tell(&self, events: &[impl Serialize]) -> bool {
        let mut lines = Vec::with_capacity(events.len() * 60);
        for event in events {
            // The types hold nothing that JSON does not.
            let _ = serde_json::to_writer(&mut lines, event);
            lines.push(b'\n');
        }
        self.answer.blocking_send(lines.into()).is_ok()
    }
}

/// Whether the next piece is taken. Whoever has gone has agreed to all of it, so the rest is done all the same; what
/// would become of devices is of use only to those who hear it.
fn goes_on(dry_run: bool, heard: bool, stopping: &Stopping) -> bool {
    !stopping.is_asked() && (heard || !dry_run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_gone_has_agreed_to_the_rest_unless_it_is_only_told() {
        let (stopper, stop) = crate::listeners::stopper();
        let goes_on = |dry_run, heard| goes_on(dry_run, heard, &stop.stopping());
        assert!(goes_on(false, true) && goes_on(true, true) && goes_on(false, false));
        assert!(!goes_on(true, false));
        stopper.stop();
        assert!(!goes_on(false, true) && !goes_on(false, false) && !goes_on(true, true));
    }
}
