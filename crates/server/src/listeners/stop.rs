//! The wish to stop, as everybody hears it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Says that the server is to stop.
#[derive(Debug)]
pub struct Stopper {
    wish: watch::Sender<bool>,
    stopping: Stopping,
}

/// Hears that the server is to stop, and keeps it from ending while it lives.
#[derive(Clone, Debug)]
pub struct Stop {
    wish: watch::Receiver<bool>,
    stopping: Stopping,
}

/// Sees whether the server is to stop, and keeps nothing from ending.
#[derive(Clone, Debug, Default)]
pub struct Stopping(Arc<AtomicBool>);

/// The two ends.
pub fn stopper() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    let stopping = Stopping::default();
    (Stopper { wish: sender, stopping: stopping.clone() }, Stop { wish: receiver, stopping })
}

impl Stopper {
    /// Asks everybody to stop.
    pub fn stop(&self) {
        self.stopping.0.store(true, Ordering::Release);
        self.wish.send_replace(true);
    }

    /// Waits until nobody holds a [`Stop`] any more.
    pub async fn everybody_is_gone(&self) {
        self.wish.closed().await;
    }
}

impl Stop {
    /// For those who only want to know.
    pub fn stopping(&self) -> Stopping {
        self.stopping.clone()
    }

    /// Waits until it is time.
    pub async fn asked(&mut self) {
        // The sender going away is a wish to stop too.
        let _ = self.wish.wait_for(|stop| *stop).await;
    }
}

impl Stopping {
    /// Whether it is time.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
