//! What devices tell once they are in: telemetry and client attributes.
//!
//! A writer of its own, so that provisioning does not wait for it. An acknowledged value is synced.

mod own;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use domain::{Refusal, Timestamp};
use store::{Sample, Scope, Value};
use tokio::sync::oneshot;

use crate::device_auth::Connected;
use crate::queue::{self, Message};
use crate::shared::Shared;

pub(crate) use own::claim_verifier;
pub use own::{Keys, Own, Wanted};

/// How long posts are gathered while they come faster than they are written: fewer syncs, which
/// provisioning waits for as well. A lone post does not wait.
const PACE: Duration = Duration::from_millis(4);
/// Most posts that are written together.
const MOST_IN_BATCH: usize = 1024;
/// Most bytes of values that are written together: a post may hold thousands, and all others wait for them.
const MOST_BYTES_TOGETHER: usize = 1 << 20;
/// Most bytes of values that wait for their write: a bounded number of posts alone bounds no memory.
const MOST_BYTES_WAITING: usize = 64 << 20;

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
    waiting: Arc<AtomicUsize>,
    patience: Duration,
}

pub(crate) struct Post {
    samples: Vec<Sample>,
    room: Room,
    reply: oneshot::Sender<Result<(), Refusal>>,
}

/// A post's share of the room for what waits; given back when it is dropped.
struct Room {
    bytes: usize,
    waiting: Arc<AtomicUsize>,
}

impl Hub {
    pub(crate) fn new(shared: Arc<Shared>, queue: SyncSender<Message<Post>>, patience: Duration) -> Hub {
        Hub { shared, queue, waiting: Arc::default(), patience }
    }

    /// A device gave a sign of life, whatever it said.
    pub fn heard_of(&self, device: &Connected) {
        self.shared.heard_of(device.device);
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
        self.shared.heard_of(device.device);
        let (reply, answer) = oneshot::channel();
        let samples = self.stamped(device, samples);
        // One value that cannot be stored would fail the values of everybody in its batch.
        if !samples.iter().all(Sample::is_storable) {
            return Err(Refusal::RequestMalformed);
        }
        let room = Room::take(&samples, &self.waiting).ok_or(Refusal::QueueFull)?;
        if let Some((refusal, _)) = queue::send(&self.queue, Post { samples, room, reply }) {
            return Err(refusal);
        }
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

impl Room {
    /// `None` while too much waits already.
    fn take(samples: &[Sample], waiting: &Arc<AtomicUsize>) -> Option<Room> {
        let bytes = samples.iter().map(size).sum();
        let room = Room { bytes, waiting: Arc::clone(waiting) };
        let before = waiting.fetch_add(bytes, Ordering::Relaxed);
        (before == 0 || before + bytes <= MOST_BYTES_WAITING).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The bytes that a value takes while it waits.
fn size(sample: &Sample) -> usize {
    let text = match &sample.value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bool(_) | Value::Integer(_) | Value::Double(_) => 0,
    };
    size_of::<Sample>() + sample.key.len() + text
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
        let busy = posts.len() > 1;
        for together in portions(posts) {
            write_or_refuse(shared, together);
        }
        if busy && !stopping {
            std::thread::sleep(PACE);
        }
    }
}

/// Cuts a batch so that no write holds more than a bounded number of bytes, or else a single post.
fn portions(posts: Vec<Post>) -> Vec<Vec<Post>> {
    let mut portions: Vec<Vec<Post>> = Vec::new();
    let mut left = 0;
    for post in posts {
        match portions.last_mut() {
            Some(portion) if post.room.bytes <= left => {
                left -= post.room.bytes;
                portion.push(post);
            }
            _ => {
                left = MOST_BYTES_TOGETHER.saturating_sub(post.room.bytes);
                portions.push(vec![post]);
            }
        }
    }
    portions
}

/// A panic costs these posts their answer, not the server its only writer.
fn write_or_refuse(shared: &Shared, posts: Vec<Post>) {
    if catch_unwind(AssertUnwindSafe(|| write(shared, posts))).is_err() {
        tracing::error!("a batch of values failed; its devices are told to try again");
    }
}

fn write(shared: &Shared, posts: Vec<Post>) {
    let (samples, waiting): (Vec<Vec<Sample>>, Vec<_>) =
        posts.into_iter().map(|post| (post.samples, (post.reply, post.room))).unzip();
    let samples: Vec<Sample> = samples.into_iter().flatten().collect();
    let result = shared.store.telemetry().append(&samples, shared.clock.now());
    if let Err(error) = &result {
        tracing::warn!(%error, values = samples.len(), "telemetry was not stored");
    } else {
        shared.metrics.samples(samples.len());
    }
    let result = result.map_err(|error| error.refusal());
    for (reply, _room) in waiting {
        // Who is gone has left its value behind all the same.
        let _ = reply.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::DeviceKey;

    fn sample(text: &str) -> Sample {
        let (device, at) = (DeviceKey(1), Timestamp(0));
        Sample { device, scope: Scope::Timeseries, key: "k".into(), at, value: Value::Text(text.into()) }
    }

    fn post(samples: Vec<Sample>, waiting: &Arc<AtomicUsize>) -> Option<Post> {
        let room = Room::take(&samples, waiting)?;
        Some(Post { samples, room, reply: oneshot::channel().0 })
    }

    #[test]
    fn posts_that_wait_are_bounded_by_their_bytes() {
        let waiting = Arc::default();
        let text = "x".repeat(1 << 20);
        let posts: Vec<Post> = std::iter::from_fn(|| post(vec![sample(&text)], &waiting)).collect();
        assert!((60..64).contains(&posts.len()), "{}", posts.len());
        assert!(post(vec![sample("")], &waiting).is_some());
        drop(posts);
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn posts_of_many_values_are_written_apart_from_their_neighbours() {
        let waiting = Arc::default();
        let many = || post(vec![sample("x"); 8000], &waiting).unwrap();
        let one = || post(vec![sample("x")], &waiting).unwrap();
        let portions = portions(vec![one(), many(), one(), many(), many(), one()]);
        assert_eq!(portions.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1, 2]);
    }
}
