//! What the engine counts. Handles are made once: a look-up by name for each request would cost more than
//! the request's parsing.

use std::collections::HashMap;

use domain::{Outcome, Refusal, Wire};
use metrics::{Counter, Gauge, Histogram};

/// Counters of the engine.
pub(crate) struct Metrics {
    granted: HashMap<Wire, Counter>,
    refused: HashMap<(Wire, Refusal), Counter>,
    logins: HashMap<(Wire, bool), Counter>,
    sent_away: HashMap<Wire, Counter>,
    batch: Histogram,
    depth: Gauge,
    samples: Counter,
}

impl Metrics {
    /// Makes every handle; the recorder must be installed before.
    pub(crate) fn new() -> Metrics {
        let wires = || Wire::ALL.iter().copied();
        Metrics {
            granted: wires().map(|wire| (wire, granted(wire))).collect(),
            refused: wires()
                .flat_map(|wire| {
                    Refusal::ALL.iter().map(move |refusal| ((wire, *refusal), refused(wire, *refusal)))
                })
                .collect(),
            logins: wires()
                .flat_map(|wire| [true, false].map(|accepted| ((wire, accepted), login(wire, accepted))))
                .collect(),
            sent_away: wires().map(|wire| (wire, sent_away(wire))).collect(),
            batch: metrics::histogram!("muster_batch_requests"),
            depth: metrics::gauge!("muster_queue_depth"),
            samples: metrics::counter!("muster_telemetry_values_total"),
        }
    }

    pub(crate) fn provisioning(&self, wire: Wire, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Granted(_) => self.granted.get(&wire),
            Outcome::Refused(refusal) => self.refused.get(&(wire, *refusal)),
        };
        if let Some(counter) = counter {
            counter.increment(1);
        }
    }

    /// A request that would have waited for an answer or a step was told to come again: too many wait.
    pub(crate) fn sent_away(&self, wire: Wire) {
        if let Some(counter) = self.sent_away.get(&wire) {
            counter.increment(1);
        }
    }

    pub(crate) fn login(&self, wire: Wire, accepted: bool) {
        if let Some(counter) = self.logins.get(&(wire, accepted)) {
            counter.increment(1);
        }
    }

    /// A batch of so many requests was taken from the queue.
    #[expect(clippy::cast_precision_loss, reason = "a batch has at most a few hundred requests")]
    pub(crate) fn batch(&self, requests: usize) {
        self.batch.record(requests as f64);
    }

    /// So many requests wait in the queue.
    #[expect(clippy::cast_precision_loss, reason = "the queue holds a few thousand requests")]
    pub(crate) fn enqueued(&self, requests: usize) {
        self.depth.increment(requests as f64);
    }

    /// So many requests wait no more.
    #[expect(clippy::cast_precision_loss, reason = "the queue holds a few thousand requests")]
    pub(crate) fn dequeued(&self, requests: usize) {
        self.depth.decrement(requests as f64);
    }

    /// A step came to its end: done, to be tried again, or failed for good.
    pub(crate) fn step(&self, connector: &str, result: Result<(), bool>) {
        let outcome = match result {
            Ok(()) => "done",
            Err(false) => "again",
            Err(true) => "failed",
        };
        // Steps are few beside requests, so a look-up for each does no harm.
        metrics::counter!("muster_steps_total", "connector" => connector.to_owned(), "outcome" => outcome)
            .increment(1);
    }

    pub(crate) fn samples(&self, stored: usize) {
        self.samples.increment(stored as u64);
    }
}

fn granted(wire: Wire) -> Counter {
    metrics::counter!("muster_provisionings_total", "wire" => wire.name(), "outcome" => "granted")
}

fn refused(wire: Wire, refusal: Refusal) -> Counter {
    metrics::counter!("muster_provisionings_total", "wire" => wire.name(), "outcome" => refusal.code())
}

fn sent_away(wire: Wire) -> Counter {
    metrics::counter!("muster_waits_cut_short_total", "wire" => wire.name())
}

fn login(wire: Wire, accepted: bool) -> Counter {
    let outcome = if accepted { "accepted" } else { "refused" };
    metrics::counter!("muster_logins_total", "wire" => wire.name(), "outcome" => outcome)
}
