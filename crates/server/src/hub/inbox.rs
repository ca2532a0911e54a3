//! What waits for a session or a poll: keys whose attributes have changed, and answers that took their time.
//!
//! Changes are kept as keys, not as values: whoever tells the device reads what stands by then, so a device that
//! is slow is told less often and never told wrongly.

use std::collections::{BTreeSet, VecDeque};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::mqtt::Answer;

/// The most answers that wait for a device.
const MOST_ANSWERS: usize = 64;

/// What waits.
#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    something: Notify,
}

#[derive(Default)]
struct Waiting {
    changed: BTreeSet<String>,
    answers: VecDeque<Answer>,
}

impl Inbox {
    /// Waits until there is something, or there was since the last time.
    pub async fn something(&self) {
        self.something.notified().await;
    }

    /// Says that there is something.
    pub fn ring(&self) {
        self.something.notify_one();
    }

    /// Attributes with these keys have changed.
    pub fn changed(&self, keys: &[String]) {
        self.waiting.lock().changed.extend(keys.iter().cloned());
        self.ring();
    }

    /// The keys that have changed since this was asked last.
    pub fn take_changed(&self) -> Vec<String> {
        std::mem::take(&mut self.waiting.lock().changed).into_iter().collect()
    }

    /// Something to be sent. A device that takes none of its answers loses the oldest.
    pub fn answer(&self, answer: Answer) {
        let mut waiting = self.waiting.lock();
        if waiting.answers.len() >= MOST_ANSWERS {
            waiting.answers.pop_front();
        }
        waiting.answers.push_back(answer);
        drop(waiting);
        self.ring();
    }

    /// What is to be sent, in the order in which it came.
    pub fn take_answers(&self) -> VecDeque<Answer> {
        std::mem::take(&mut self.waiting.lock().answers)
    }
}
