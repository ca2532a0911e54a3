//! What devices tell once they are in: telemetry and client attributes.
//!
//! A writer of its own, so that provisioning does not wait for it. An acknowledged value is synced.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use domain::{Refusal, Timestamp};
use store::{Sample, Scope, Value};
use tokio::sync::oneshot;

use crate::device_auth::Connected;
use crate::provisioner::Shared;
use crate::queue::{self, Message};

/// Most posts that are written together.
const MOST_IN_BATCH: usize = 1024;

/// A value as a device sent it.
#[derive(Clone, Debug)]
pub struct NewSample {
    /// What sort of value it is.
    pub scope: Scope,
    /// Its key.
    pub key: String,
    /// When it was measured, where the device said so.
    pub at: Option<Timestamp>,
    /// The value.
    pub value: Value,
}

/// Takes what devices tell.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
    queue: SyncSender<Message<Post>>,
    patience: Duration,
}

pub(crate) struct Post {
    samples: Vec<Sample>,
    reply: oneshot::Sender<Result<(), Refusal>>,
}

impl Hub {
    pub(crate) fn new(shared: Arc<Shared>, queue: SyncSender<Message<Post>>, patience: Duration) -> Hub {
        Hub { shared, queue, patience }
    }

    /// Stores what a device sent; returns once it is synced.
    ///
    /// # Errors
    /// `request-malformed` where a value cannot be stored, `queue-full`, `deadline-passed`, `shutting-down`, or
    /// what the store says.
    pub async fn publish(&self, device: &Connected, samples: Vec<NewSample>) -> Result<(), Refusal> {
        if samples.is_empty() {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let samples = self.stamped(device, samples);
        // One value that cannot be stored would fail the values of everybody in its batch.
        if !samples.iter().all(Sample::is_storable) {
            return Err(Refusal::RequestMalformed);
        }
        queue::send(&self.queue, Post { samples, reply })?;
        queue::answer(answer, self.patience).await?
    }

    fn stamped(&self, device: &Connected, samples: Vec<NewSample>) -> Vec<Sample> {
        let now = self.shared.clock.now();
        let stamp = |sample: NewSample| Sample {
            device: device.device,
            scope: sample.scope,
            key: sample.key,
            at: sample.at.unwrap_or(now),
            value: sample.value,
        };
        samples.into_iter().map(stamp).collect()
    }
}

/// The thread that writes what devices tell; ends when it is told to, after what waits.
pub(crate) fn run(shared: &Shared, inbox: &Receiver<Message<Post>>) {
    let mut stopping = false;
    loop {
        let mut posts = Vec::new();
        stopping |= queue::fill(&mut posts, inbox, MOST_IN_BATCH, stopping);
        if posts.is_empty() && stopping {
            return;
        }
        write(shared, posts);
    }
}

fn write(shared: &Shared, posts: Vec<Post>) {
    let (samples, replies): (Vec<Vec<Sample>>, Vec<_>) =
        posts.into_iter().map(|post| (post.samples, post.reply)).unzip();
    let samples: Vec<Sample> = samples.into_iter().flatten().collect();
    let result = shared.store.telemetry().append(&samples, shared.clock.now());
    if let Err(error) = &result {
        tracing::warn!(%error, values = samples.len(), "telemetry was not stored");
    } else {
        shared.metrics.samples(samples.len());
    }
    let result = result.map_err(|error| error.refusal());
    for reply in replies {
        // Who is gone has left its value behind all the same.
        let _ = reply.send(result);
    }
}
