//! What the engine needs from outside: time, chance, the sessions it may close, the neighbours it keeps in step
//! with devices and the people it asks.

mod calls;
mod neighbours;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use domain::{DeviceKey, Entropy, Generation, Timestamp};
use std::sync::Arc;

pub use calls::{Call, CallFailure, Caller};
pub use neighbours::{Asked, Attributes, Connector, DeviceView, Ensured, Fault, Hook, HookAnswer, Task};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The moment it is now.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The operating system's random numbers, taken a page at a time: a system call for each would cost more
/// than what they are used for.
pub struct SystemEntropy {
    source: SystemRandom,
    page: [u8; 1024],
    used: usize,
}

impl Default for SystemEntropy {
    fn default() -> SystemEntropy {
        SystemEntropy { source: SystemRandom::new(), page: [0; 1024], used: 1024 }
    }
}

impl SystemEntropy {
    fn refill(&mut self) {
        #[expect(clippy::expect_used, reason = "without random numbers nothing can go on safely")]
        self.source.fill(&mut self.page).expect("the operating system has random numbers");
        self.used = 0;
    }
}

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(self.page.len()) {
            if self.used + chunk.len() > self.page.len() {
                self.refill();
            }
            chunk.copy_from_slice(&self.page[self.used..self.used + chunk.len()]);
            self.page[self.used..self.used + chunk.len()].fill(0);
            self.used += chunk.len();
        }
    }
}

/// Whoever holds the connections of devices.
pub trait Sessions: Send + Sync {
    /// Closes every session of these devices.
    fn close(&self, devices: &[DeviceKey], why: Farewell);

    /// Something about these devices was changed by another server: says which of them have a session here.
    /// From now on, whoever enters one has to show its credentials again if it did so before.
    fn present(&self, devices: &[DeviceKey]) -> Vec<DeviceKey>;

    /// Whether a device has a session here.
    fn is_connected(&self, device: DeviceKey) -> bool {
        !self.present(&[device]).is_empty()
    }

    /// All devices with a session here.
    fn connected(&self) -> Vec<DeviceKey> {
        Vec::new()
    }

    /// Closes the sessions of these devices, unless they were opened with the credentials of that generation.
    fn close_others(&self, standing: &[(DeviceKey, Option<Generation>)]);

    /// Attributes that a device shares were set or taken away: whoever listens here for it is told what stands now.
    fn shared_changed(&self, _device: DeviceKey, _keys: &[String]) {}

    /// Asks a device for something. It may have until the call's end to come for it.
    fn call(&self, _device: DeviceKey, _call: Call) -> Task<'static, Result<serde_json::Value, CallFailure>> {
        Box::pin(async { Err(CallFailure::NobodyListens) })
    }
}

/// Why a session is closed from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The device was deleted.
    Deleted,
    /// An operator disabled it.
    Disabled,
    /// It holds other credentials now.
    CredentialChanged,
    /// It leaves.
    Decommissioned,
}

/// What the engine is given.
#[derive(Clone)]
pub struct Ports {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Makes a source of chance; each thread that needs one asks for its own.
    pub entropy: Arc<dyn Fn() -> Box<dyn Entropy + Send> + Send + Sync>,
    /// The sessions of devices.
    pub sessions: Arc<dyn Sessions>,
    /// The neighbours that devices are made known to.
    pub connectors: Arc<[Arc<dyn Connector>]>,
    /// Those who are asked before a device is let in.
    pub hooks: Arc<[Arc<dyn Hook>]>,
}

impl Ports {
    /// The machine's own clock and random numbers.
    pub fn system(sessions: Arc<dyn Sessions>) -> Ports {
        Ports {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(|| Box::<SystemEntropy>::default()),
            sessions,
            connectors: Arc::new([]),
            hooks: Arc::new([]),
        }
    }
}
