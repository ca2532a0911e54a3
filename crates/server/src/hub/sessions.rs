//! Who is connected: one session a device, and the way to close it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{DeviceKey, Generation};
use engine::{Call, CallFailure};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;

use super::calls::{Asked, Calls};
use super::inbox::Inbox;
use super::polls::{Ended, Poll, Polls, Topic};

/// Shards of the registry, so that connecting devices do not wait for each other.
const SHARDS: usize = 64;

/// Places in a session's mailbox. It only ever needs one; a full one belongs to a session that is ending.
const MAILBOX: usize = 8;

/// Why a session is ended from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kick {
    /// The device connected anew (thingsboard page, section 7.2).
    TakenOver,
    /// It was deleted, disabled, or holds other credentials now.
    Void,
}

/// The sessions of all devices.
pub struct Sessions {
    shards: Box<[Mutex<HashMap<DeviceKey, Entry>>]>,
    numbers: AtomicU64,
    closes: AtomicU64,
    calls: Arc<Calls>,
    polls: Arc<Polls>,
}

impl Default for Sessions {
    fn default() -> Sessions {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (numbers, closes) = (AtomicU64::new(0), AtomicU64::new(0));
        Sessions { shards, numbers, closes, calls: Arc::default(), polls: Arc::default() }
    }
}

struct Entry {
    number: u64,
    generation: Generation,
    mailbox: mpsc::Sender<Kick>,
    inbox: Arc<Inbox>,
}

/// A session's place in the registry; leaves it when it is dropped.
pub struct Place {
    sessions: Arc<Sessions>,
    device: DeviceKey,
    number: u64,
    mailbox: mpsc::Receiver<Kick>,
    inbox: Arc<Inbox>,
}

impl Sessions {
    /// Enters a new session of a device, opened with credentials of that generation; the one it had is asked to end.
    pub fn enter(self: &Arc<Sessions>, device: DeviceKey, generation: Generation) -> Place {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let inbox = Arc::<Inbox>::default();
        let entry = Entry { number, generation, mailbox: sender, inbox: Arc::clone(&inbox) };
        let before = self.shard(device).lock().insert(device, entry);
        if let Some(before) = before {
            // A full mailbox holds a reason to end already.
            let _ = before.mailbox.try_send(Kick::TakenOver);
        }
        Place { sessions: Arc::clone(self), device, number, mailbox, inbox }
    }

    /// Enters a poll of a device over HTTP, opened with credentials of that generation; the one of that sort that
    /// it had is over. `None` while there are too many.
    pub fn poll(&self, device: DeviceKey, generation: Generation, topic: Topic) -> Option<Poll> {
        self.polls.enter(device, generation, topic)
    }

    /// The oldest call that a device was not told of; from now on it was.
    pub fn next_call(&self, device: DeviceKey) -> Option<Asked> {
        self.calls.next(device)
    }

    /// A device's answer to a call. One to a call that nobody waits for is nobody's.
    pub fn answer_call(&self, device: DeviceKey, id: u32, value: Value) {
        self.calls.answer(device, id, value);
    }

    /// Ends everything that waits for a device or is waited for by one, from now on.
    pub fn stop_waiting(&self) {
        self.polls.close();
        self.calls.close();
    }

    fn ring(&self, device: DeviceKey) {
        if let Some(entry) = self.shard(device).lock().get(&device) {
            entry.inbox.ring();
        }
        self.polls.with(device, Topic::Calls, Inbox::ring);
    }

    /// Rises whenever sessions are closed: who entered while it rose must show its credentials again.
    pub fn closes(&self) -> u64 {
        self.closes.load(Ordering::SeqCst)
    }

    /// How many devices are connected.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, device: DeviceKey) -> &Mutex<HashMap<DeviceKey, Entry>> {
        // Device keys are handed out one after the other, so their lowest bits spread them evenly.
        let at = usize::try_from(device.0 % SHARDS as u64).unwrap_or(0);
        &self.shards[at]
    }
}

impl engine::Sessions for Sessions {
    fn close(&self, devices: &[DeviceKey], why: engine::Farewell) {
        if devices.is_empty() {
            return;
        }
        self.closes.fetch_add(1, Ordering::SeqCst);
        tracing::debug!(devices = devices.len(), ?why, "closing sessions");
        for device in devices {
            if let Some(entry) = self.shard(*device).lock().get(device) {
                // As above.
                let _ = entry.mailbox.try_send(Kick::Void);
            }
            let deleted = matches!(why, engine::Farewell::Deleted | engine::Farewell::Decommissioned);
            self.polls.end(*device, if deleted { Ended::Deleted } else { Ended::Void });
        }
    }

    fn present(&self, devices: &[DeviceKey]) -> Vec<DeviceKey> {
        self.closes.fetch_add(1, Ordering::SeqCst);
        devices.iter().copied().filter(|device| self.is_connected(*device)).collect()
    }

    fn is_connected(&self, device: DeviceKey) -> bool {
        self.shard(device).lock().contains_key(&device) || self.polls.has(device)
    }

    fn connected(&self) -> Vec<DeviceKey> {
        let mut all: Vec<DeviceKey> = self.polls.devices();
        for shard in &self.shards {
            all.extend(shard.lock().keys().copied());
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    fn close_others(&self, standing: &[(DeviceKey, Option<Generation>)]) {
        for (device, generation) in standing {
            let shard = self.shard(*device).lock();
            if let Some(entry) = shard.get(device).filter(|entry| Some(entry.generation) != *generation) {
                // As above.
                let _ = entry.mailbox.try_send(Kick::Void);
            }
            drop(shard);
            self.polls.end_others(*device, *generation);
        }
    }

    fn shared_changed(&self, device: DeviceKey, keys: &[String]) {
        if let Some(entry) = self.shard(device).lock().get(&device) {
            entry.inbox.changed(keys);
        }
        self.polls.with(device, Topic::Attributes, |inbox| inbox.changed(keys));
    }

    fn call(&self, device: DeviceKey, call: Call) -> engine::Task<'static, Result<Value, CallFailure>> {
        let begun = self.calls.begin(device, call);
        self.ring(device);
        Box::pin(async move { begun?.ended().await })
    }
}

impl Place {
    /// What waits for the session.
    pub fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Waits to be asked to end. May be given up and called again.
    pub async fn kicked(&mut self) -> Kick {
        self.mailbox.recv().await.unwrap_or(Kick::TakenOver)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.sessions.shard(self.device).lock();
        if shard.get(&self.device).is_some_and(|entry| entry.number == self.number) {
            shard.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Sessions as _;
    use futures_util::FutureExt;

    #[test]
    fn a_new_session_ends_the_one_before_and_keeps_its_place_when_that_leaves() {
        let sessions = Arc::new(Sessions::default());
        let mut first = sessions.enter(DeviceKey(65), Generation(1));
        let mut second = sessions.enter(DeviceKey(65), Generation(1));
        let _other = sessions.enter(DeviceKey(1), Generation(1));
        assert_eq!(first.kicked().now_or_never(), Some(Kick::TakenOver));
        drop(first);
        assert_eq!(sessions.count(), 2);
        sessions.close(&[DeviceKey(65)], engine::Farewell::Deleted);
        assert_eq!(second.kicked().now_or_never(), Some(Kick::Void));
        drop(second);
        assert_eq!(sessions.count(), 1);
    }

    #[test]
    fn only_sessions_with_other_credentials_are_closed_when_another_server_changed_a_device() {
        let sessions = Arc::new(Sessions::default());
        let before = sessions.closes();
        let mut places = [1, 2, 3].map(|key| sessions.enter(DeviceKey(key), Generation(7)));
        let asked = [1, 2, 3, 4].map(DeviceKey);
        assert_eq!(sessions.present(&asked), asked[..3]);
        assert_ne!(sessions.closes(), before);
        let standing = [Some(Generation(7)), Some(Generation(8)), None];
        sessions.close_others(&[0, 1, 2].map(|at| (asked[at], standing[at])));
        let kicked = places.each_mut().map(|place| place.kicked().now_or_never());
        assert_eq!(kicked, [None, Some(Kick::Void), Some(Kick::Void)]);
    }

    #[test]
    fn closing_is_noticed_by_who_enters_meanwhile() {
        let sessions = Arc::new(Sessions::default());
        let before = sessions.closes();
        sessions.close(&[DeviceKey(9)], engine::Farewell::Disabled);
        assert_ne!(sessions.closes(), before);
    }
}
