//! Calls that block, over connections that do not.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::StoreError;

/// Threads that carry the bytes of all connections.
const THREADS: usize = 2;

/// Waits on the calling thread for what the connections' runtime does. A clone is of the same runtime.
#[derive(Clone)]
pub(crate) struct Waiter(Arc<Background>);

/// A runtime that may be dropped anywhere, also where nothing may block.
struct Background(Option<Runtime>, Handle);

impl Waiter {
    /// Starts the runtime.
    ///
    /// # Errors
    /// Where its threads cannot be started.
    pub(crate) fn start() -> Result<Waiter, StoreError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("postgres")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Waiter(Arc::new(Background(Some(runtime), handle))))
    }

    /// What a future comes to. Works on any thread, also on one of another runtime, which it then blocks.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        let _inside = self.0.1.enter();
        let waker = Waker::from(Arc::new(Parked(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// The same, or `None` where it takes too long.
    pub(crate) fn wait_at_most<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        self.wait(async { tokio::time::timeout(time, future).await.ok() })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
