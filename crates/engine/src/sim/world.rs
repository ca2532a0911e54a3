//! The real engine over a real store, with a clock that stands still.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::{DeviceKey, DeviceRecord, Entropy, Generation, Timestamp};
use parking_lot::Mutex;
use store::Store;
use store::secrets::LocalKek;
use zeroize::Zeroizing;

use crate::batch::Batcher;
use crate::ports::{Clock, Farewell, Ports, Sessions};
use crate::registry::{Operator, Registry, Tenant, Told};
use crate::shared::Shared;
use crate::throttle::Rate;

/// A clock that only the history moves.
#[derive(Default)]
pub(super) struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

pub(super) struct Nobody;

impl Sessions for Nobody {
    fn close(&self, _: &[DeviceKey], _: Farewell) {}

    fn present(&self, _: &[DeviceKey]) -> Vec<DeviceKey> {
        Vec::new()
    }

    fn close_others(&self, _: &[(DeviceKey, Option<Generation>)]) {}
}

/// What happens elsewhere between the facts of a decision and its record.
pub(super) type Rival = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// Chance that repeats itself. A decision that is going to be recorded draws from it: that is when the rival acts.
struct Dice(super::Chance, Rival);

impl Entropy for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        let act = self.1.lock().take();
        if let Some(act) = act {
            act();
        }
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.0.draw().to_be_bytes()[..chunk.len()]);
        }
    }
}

pub(super) struct World {
    pub(super) clock: Arc<Hands>,
    pub(super) store: Store,
    pub(super) registry: Registry,
    pub(super) operator: Operator,
    pub(super) tenant: Tenant,
    pub(super) shared: Arc<Shared>,
    pub(super) batcher: Batcher,
    pub(super) rival: Rival,
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) fn new() -> World {
        // Memory where there is some: what is tested here is not the disk.
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = made.unwrap();
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000_000)));
        let kek = Arc::new(LocalKek::new("test", Zeroizing::new([7; 32])));
        let options = store::Options {
            dir: folder.path().to_owned(),
            server: "sim".to_owned(),
            backend: store::Backend::Directory,
        };
        let store = Store::open(options, kek, clock.now()).unwrap();
        let ports = Ports { clock: clock.clone(), ..Ports::system(Arc::new(Nobody)) };
        let registry = Registry::new(store.clone(), ports, Told::nobody());
        let operator = Operator::server("sim");
        let tenant = registry.tenant(&operator, None).unwrap();
        let shared = shared(&store, &clock);
        let rival = Rival::default();
        let batcher = batcher(&shared, 0, &rival);
        World { clock, store, registry, operator, tenant, shared, batcher, rival, _folder: folder }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn later(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    /// Everything in memory is gone; what is recorded stays.
    pub(super) fn crash(&mut self, seed: u64) {
        self.shared = shared(&self.store, &self.clock);
        self.batcher = batcher(&self.shared, seed, &self.rival);
    }

    pub(super) fn record(&self, name: &str) -> Option<DeviceRecord> {
        self.store.gather(&[(self.tenant.id, name)]).unwrap().pop().flatten()
    }
}

fn shared(store: &Store, clock: &Arc<Hands>) -> Arc<Shared> {
    let events = std::sync::mpsc::channel().0;
    Arc::new(Shared::new(store.clone(), clock.clone(), Rate::default(), events))
}

fn batcher(shared: &Arc<Shared>, seed: u64, rival: &Rival) -> Batcher {
    let dice = Dice(super::Chance(seed), Arc::clone(rival));
    Batcher::new(Arc::clone(shared), Arc::new(Nobody), Box::new(dice), 1 << 40)
}
