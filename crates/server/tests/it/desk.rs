//! A registry on a disk of its own, with a clock that is set by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::{DeviceKey, Generation, Timestamp};
use engine::registry::{Registry, Told};
use engine::{Clock, Farewell, Ports, Sessions};
use store::Store;
use store::secrets::LocalKek;
use zeroize::Zeroizing;

/// A clock that is set by hand.
pub(crate) struct Hands(pub(crate) AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

struct NoSessions;

impl Sessions for NoSessions {
    fn close(&self, _: &[DeviceKey], _: Farewell) {}

    fn present(&self, _: &[DeviceKey]) -> Vec<DeviceKey> {
        Vec::new()
    }

    fn close_others(&self, _: &[(DeviceKey, Option<Generation>)]) {}
}

/// An empty one; the folder is its own.
pub(crate) fn registry() -> (Registry, Arc<Hands>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000_000)));
    (on(&folder, &clock), clock, folder)
}

/// One on a folder.
pub(crate) fn on(folder: &tempfile::TempDir, clock: &Arc<Hands>) -> Registry {
    by(store(folder, clock.now()), clock.clone())
}

/// One over a store that another one may have too.
pub(crate) fn by(store: Store, clock: Arc<dyn Clock>) -> Registry {
    let ports = Ports { clock, ..Ports::system(Arc::new(NoSessions)) };
    Registry::new(store, ports, Told::nobody())
}

/// The store on a folder.
pub(crate) fn store(folder: &tempfile::TempDir, now: Timestamp) -> Store {
    let kek = Arc::new(LocalKek::new("test", Zeroizing::new([7; 32])));
    let options = store::Options {
        dir: folder.path().to_owned(),
        server: "test".to_owned(),
        backend: store::Backend::Directory,
    };
    Store::open(options, kek, now).unwrap()
}
