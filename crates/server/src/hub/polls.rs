//! Devices that wait over HTTP: one poll of a sort for each device, and no more than a number in total.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{DeviceKey, Generation};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Inbox;

/// The most polls at a time.
const MOST: usize = 10_000;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Attributes that the device shares.
    Attributes,
    /// Calls.
    Calls,
}

impl Topic {
    const ALL: [Topic; 2] = [Topic::Attributes, Topic::Calls];
}

/// Why a poll is over although nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The device polls anew.
    Replaced,
    /// The device was deleted.
    Deleted,
    /// Its credentials are void.
    Void,
    /// The server is stopping.
    Stopping,
}

/// All polls.
pub(super) struct Polls {
    open: Mutex<Open>,
    most: usize,
}

#[derive(Default)]
struct Open {
    polls: HashMap<(DeviceKey, Topic), Entry>,
    numbers: u64,
    closed: bool,
}

struct Entry {
    number: u64,
    generation: Generation,
    inbox: Arc<Inbox>,
    end: watch::Sender<Option<Ended>>,
}

/// One poll; it leaves its place when it is dropped.
pub struct Poll {
    polls: Arc<Polls>,
    at: (DeviceKey, Topic),
    number: u64,
    /// What waits for it.
    pub inbox: Arc<Inbox>,
    end: watch::Receiver<Option<Ended>>,
}

impl Default for Polls {
    fn default() -> Polls {
        Polls { open: Mutex::default(), most: MOST }
    }
}

impl Polls {
    /// Enters a poll; the one that the device had of that sort is over. `None` while there are too many.
    pub(super) fn enter(
        self: &Arc<Polls>,
        device: DeviceKey,
        generation: Generation,
        topic: Topic,
    ) -> Option<Poll> {
        let at = (device, topic);
        let mut open = self.open.lock();
        if open.polls.len() >= self.most && !open.polls.contains_key(&at) {
            return None;
        }
        open.numbers += 1;
        let (end, ended) = watch::channel(open.closed.then_some(Ended::Stopping));
        let inbox = Arc::<Inbox>::default();
        let number = open.numbers;
        let entry = Entry { number, generation, inbox: Arc::clone(&inbox), end };
        if let Some(before) = open.polls.insert(at, entry) {
            before.end.send_replace(Some(Ended::Replaced));
        }
        Some(Poll { polls: Arc::clone(self), at, number, inbox, end: ended })
    }

    /// Does something with what waits for a device.
    pub(super) fn with(&self, device: DeviceKey, topic: Topic, then: impl FnOnce(&Inbox)) {
        if let Some(entry) = self.open.lock().polls.get(&(device, topic)) {
            then(&entry.inbox);
        }
    }

    pub(super) fn has(&self, device: DeviceKey) -> bool {
        let open = self.open.lock();
        Topic::ALL.iter().any(|topic| open.polls.contains_key(&(device, *topic)))
    }

    /// All devices that have one.
    pub(super) fn devices(&self) -> Vec<DeviceKey> {
        self.open.lock().polls.keys().map(|(device, _)| *device).collect()
    }

    /// Ends the polls of a device.
    pub(super) fn end(&self, device: DeviceKey, why: Ended) {
        self.end_if(device, why, |_| true);
    }

    /// Ends those that were not opened with the credentials of that generation.
    pub(super) fn end_others(&self, device: DeviceKey, standing: Option<Generation>) {
        self.end_if(device, Ended::Void, |generation| Some(generation) != standing);
    }

    fn end_if(&self, device: DeviceKey, why: Ended, condition: impl Fn(Generation) -> bool) {
        let open = self.open.lock();
        let polls = Topic::ALL.iter().filter_map(|topic| open.polls.get(&(device, *topic)));
        polls.filter(|entry| condition(entry.generation)).for_each(|entry| {
            entry.end.send_replace(Some(why));
        });
    }

    /// Ends all of them, and those that are still to come.
    pub(super) fn close(&self) {
        let mut open = self.open.lock();
        open.closed = true;
        for entry in open.polls.values() {
            entry.end.send_replace(Some(Ended::Stopping));
        }
    }
}

impl Poll {
    /// Waits until it is over.
    pub async fn ended(&mut self) -> Ended {
        match self.end.wait_for(Option::is_some).await {
            Ok(why) => why.unwrap_or(Ended::Replaced),
            // Whoever took the place has told why before.
            Err(_) => Ended::Replaced,
        }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        let mut open = self.polls.open.lock();
        if open.polls.get(&self.at).is_some_and(|entry| entry.number == self.number) {
            open.polls.remove(&self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const DEVICE: DeviceKey = DeviceKey(3);

    fn polls(most: usize) -> Arc<Polls> {
        Arc::new(Polls { open: Mutex::default(), most })
    }

    fn enter(polls: &Arc<Polls>, device: u64, topic: Topic) -> Option<Poll> {
        polls.enter(DeviceKey(device), Generation(1), topic)
    }

    #[test]
    fn a_device_has_one_poll_of_a_sort_and_all_have_a_number_together() {
        let polls = polls(2);
        let mut first = enter(&polls, 3, Topic::Calls).unwrap();
        let mut other = enter(&polls, 3, Topic::Attributes).unwrap();
        assert!(enter(&polls, 4, Topic::Calls).is_none());
        let mut second = enter(&polls, 3, Topic::Calls).unwrap();
        assert_eq!(first.ended().now_or_never(), Some(Ended::Replaced));
        assert_eq!((second.ended().now_or_never(), other.ended().now_or_never()), (None, None));
        drop(first);
        assert!(enter(&polls, 4, Topic::Calls).is_none());
        drop(second);
        assert!(enter(&polls, 4, Topic::Calls).is_some());
    }

    #[test]
    fn polls_end_with_their_credentials_and_with_the_server() {
        let polls = polls(9);
        let mut poll = enter(&polls, 3, Topic::Calls).unwrap();
        polls.end_others(DEVICE, Some(Generation(1)));
        assert_eq!(poll.ended().now_or_never(), None);
        polls.end_others(DEVICE, None);
        assert_eq!(poll.ended().now_or_never(), Some(Ended::Void));
        polls.end(DEVICE, Ended::Deleted);
        assert_eq!(poll.ended().now_or_never(), Some(Ended::Deleted));
        let mut waiting = enter(&polls, 4, Topic::Calls).unwrap();
        polls.close();
        assert_eq!(waiting.ended().now_or_never(), Some(Ended::Stopping));
        assert_eq!(enter(&polls, 5, Topic::Calls).unwrap().ended().now_or_never(), Some(Ended::Stopping));
    }
}
