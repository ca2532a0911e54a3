//! What the faces for devices and the threads behind them share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use domain::{DeviceKey, Generation, Refusal, Timestamp};
use parking_lot::Mutex;
use store::Store;

use crate::attempts::Attempts;
use crate::metrics::Metrics;
use crate::ports::Clock;
use crate::profiles::ProfileCache;
use crate::runner::Event;
use crate::throttle::{Rate, Throttle};
use crate::waiting::Waiting;

/// Most devices that wait for it to be written that they were heard of.
const MOST_SEEN: usize = 1 << 20;

/// One for all of them.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) profiles: ProfileCache,
    pub(crate) throttle: Throttle,
    pub(crate) attempts: Attempts,
    pub(crate) metrics: Metrics,
    /// Devices whose answer waits for something.
    pub(crate) waiting: Waiting,
    /// Devices to which something was owed when they logged in, and the generation that they showed.
    pub(crate) connections: Mutex<HashSet<(DeviceKey, Generation)>>,
    /// When devices were heard of, until that is written.
    pub(crate) seen: Mutex<HashMap<DeviceKey, Timestamp>>,
    /// Where the runner hears that something may be due.
    pub(crate) runner: Sender<Event>,
}

impl Shared {
    /// Everything empty; `runner` is where work is announced.
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, unproven: Rate, runner: Sender<Event>) -> Shared {
        Shared {
            store,
            clock,
            profiles: ProfileCache::default(),
            throttle: Throttle::new(unproven),
            attempts: Attempts::default(),
            metrics: Metrics::new(),
            waiting: Waiting::default(),
            connections: Mutex::default(),
            seen: Mutex::default(),
            runner,
        }
    }

    /// A device was heard of. What is not written yet is lost with a power cut: nobody was promised it.
    pub(crate) fn heard_of(&self, device: DeviceKey) {
        self.still_unwritten(&[(device, self.clock.now())]);
    }

    /// When devices were heard of has still to be written; of two moments the later one.
    pub(crate) fn still_unwritten(&self, heard: &[(DeviceKey, Timestamp)]) {
        let mut seen = self.seen.lock();
        for (device, at) in heard {
            if seen.len() < MOST_SEEN || seen.contains_key(device) {
                let latest = seen.entry(*device).or_insert(*at);
                *latest = (*latest).max(*at);
            }
        }
    }

    /// Says that a step or a question may be due.
    pub(crate) fn poke(&self) {
        // A runner that is gone leaves its work to the next start.
        let _ = self.runner.send(Event::Poke);
    }
}

/// Runs what waits for another process on a thread that may wait.
pub(crate) async fn elsewhere<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(f).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a look-up ended in a panic");
        Err(Refusal::StoreUnavailable)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use store::secrets::LocalKek;
    use store::{Backend, Options};

    use super::*;
    use crate::ports::SystemClock;

    #[test]
    fn what_could_not_be_written_takes_nothing_back_that_was_heard_since() {
        let folder = tempfile::tempdir().unwrap();
        let kek = Arc::new(LocalKek::new("test", zeroize::Zeroizing::new([7; 32])));
        let options =
            Options { dir: folder.path().into(), server: "test".into(), backend: Backend::Directory };
        let store = Store::open(options, kek, Timestamp(1)).unwrap();
        let (runner, _inbox) = std::sync::mpsc::channel();
        let shared = Shared::new(store, Arc::new(SystemClock), Rate::default(), runner);
        let (one, two) = (DeviceKey(1), DeviceKey(2));
        shared.still_unwritten(&[(one, Timestamp(9))]);
        shared.still_unwritten(&[(one, Timestamp(5)), (two, Timestamp(5))]);
        let seen = shared.seen.lock().clone();
        assert_eq!(seen, HashMap::from([(one, Timestamp(9)), (two, Timestamp(5))]));
    }
}
