//! Calls to devices that wait: for the device to come for them, then for its answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::DeviceKey;
use engine::{Call, CallFailure};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

/// The most calls that wait for one device.
const MOST_OF_A_DEVICE: usize = 16;
/// The most calls that wait for all devices.
const MOST: usize = 4096;
/// Ids are positive numbers that every client can hold.
const ID_MASK: u32 = (1 << 30) - 1;

/// Calls that wait.
#[derive(Default)]
pub(super) struct Calls {
    waiting: Mutex<Waiting>,
    ids: AtomicU32,
}

#[derive(Default)]
struct Waiting {
    of: HashMap<DeviceKey, Vec<One>>,
    count: usize,
    closed: bool,
}

struct One {
    id: u32,
    call: Call,
    told: bool,
    done: oneshot::Sender<Value>,
}

/// A call as a device is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Its number, which the answer names.
    pub id: u32,
    /// The method.
    pub method: String,
    /// What belongs to it.
    pub params: Value,
}

impl Calls {
    /// A call begins to wait for its device. It is over when what this gives back is dropped.
    pub(super) fn begin(self: &Arc<Calls>, device: DeviceKey, call: Call) -> Result<Begun, CallFailure> {
        let patience = call.patience;
        let (done, answer) = oneshot::channel();
        let id = self.enter(device, call, done)?;
        Ok(Begun { place: Place { id, device, calls: Arc::clone(self) }, answer, patience })
    }

    fn enter(&self, device: DeviceKey, call: Call, done: oneshot::Sender<Value>) -> Result<u32, CallFailure> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(CallFailure::Stopping);
        }
        if waiting.count >= MOST || waiting.of.get(&device).is_some_and(|of| of.len() >= MOST_OF_A_DEVICE) {
            return Err(CallFailure::TooMany);
        }
        // From 1 on: to ThingsBoard's own SDK over HTTP, an answer to a call 0 is a call of the device.
        let id = (self.ids.fetch_add(1, Ordering::Relaxed) & ID_MASK) + 1;
        waiting.count += 1;
        waiting.of.entry(device).or_default().push(One { id, call, told: false, done });
        Ok(id)
    }

    /// The oldest call that the device was not told of; from now on it was. One that needs no answer is over.
    pub(super) fn next(&self, device: DeviceKey) -> Option<Asked> {
        let mut waiting = self.waiting.lock();
        let of = waiting.of.get_mut(&device)?;
        let at = of.iter().position(|one| !one.told)?;
        let one = of.get_mut(at)?;
        one.told = true;
        let Call { method, params, answered, .. } = &one.call;
        let (asked, answered) =
            (Asked { id: one.id, method: method.clone(), params: params.clone() }, *answered);
        if !answered && let Some(one) = waiting.take(device, asked.id) {
            // Whoever called may have gone.
            let _ = one.done.send(Value::Null);
        }
        Some(asked)
    }

    /// A device's answer. One to a call that nobody waits for is nobody's.
    pub(super) fn answer(&self, device: DeviceKey, id: u32, value: Value) {
        let one = self.waiting.lock().take(device, id);
        if let Some(one) = one {
            // As above.
            let _ = one.done.send(value);
        }
    }

    /// Nobody waits any more, from now on.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.of.clear();
        waiting.count = 0;
    }
}

impl Waiting {
    fn take(&mut self, device: DeviceKey, id: u32) -> Option<One> {
        let of = self.of.get_mut(&device)?;
        let at = of.iter().position(|one| one.id == id)?;
        let one = of.remove(at);
        self.count -= 1;
        if of.is_empty() {
            self.of.remove(&device);
        }
        Some(one)
    }
}

/// A call that waits.
pub(super) struct Begun {
    place: Place,
    answer: oneshot::Receiver<Value>,
    patience: Duration,
}

impl Begun {
    /// What the device says.
    pub(super) async fn ended(self) -> Result<Value, CallFailure> {
        match tokio::time::timeout(self.patience, self.answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(CallFailure::Stopping),
            Err(_) if self.place.was_told() => Err(CallFailure::NoAnswer),
            Err(_) => Err(CallFailure::NobodyListens),
        }
    }
}

/// A call's place; given back when whoever called has its answer, or is gone.
struct Place {
    calls: Arc<Calls>,
    device: DeviceKey,
    id: u32,
}

impl Place {
    fn was_told(&self) -> bool {
        let waiting = self.calls.waiting.lock();
        waiting.of.get(&self.device).is_some_and(|of| of.iter().any(|one| one.id == self.id && one.told))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.calls.waiting.lock().take(self.device, self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DEVICE: DeviceKey = DeviceKey(7);

    fn call(answered: bool) -> Call {
        Call { method: "m".into(), params: json!({"a": 1}), answered, patience: Duration::from_secs(5) }
    }

    async fn called(calls: &Arc<Calls>, answered: bool) -> Result<Value, CallFailure> {
        calls.begin(DEVICE, call(answered))?.ended().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_comes_for_and_one_that_is_not_answered_are_told_apart() {
        let calls = Arc::<Calls>::default();
        assert_eq!(called(&calls, true).await, Err(CallFailure::NobodyListens));
        let (result, asked) = tokio::join!(called(&calls, true), async { calls.next(DEVICE) });
        assert_eq!((result, asked.map(|asked| asked.id)), (Err(CallFailure::NoAnswer), Some(2)));
        assert_eq!(calls.waiting.lock().count, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_reaches_its_call_and_no_other() {
        let calls = Arc::<Calls>::default();
        let device = async {
            let first = calls.next(DEVICE).unwrap();
            let second = calls.next(DEVICE).unwrap();
            calls.answer(DeviceKey(8), first.id, json!("foreign"));
            calls.answer(DEVICE, 99, json!("nobody's"));
            calls.answer(DEVICE, second.id, json!(2));
            calls.answer(DEVICE, first.id, json!(1));
            calls.answer(DEVICE, first.id, json!("again"));
            assert_eq!(calls.next(DEVICE), None);
        };
        let (first, second, ()) = tokio::join!(called(&calls, true), called(&calls, true), device);
        assert_eq!((first, second), (Ok(json!(1)), Ok(json!(2))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_is_over_once_the_device_is_told() {
        let calls = Arc::<Calls>::default();
        let (result, asked) = tokio::join!(called(&calls, false), async { calls.next(DEVICE).unwrap() });
        assert_eq!((result, asked.params), (Ok(Value::Null), json!({"a": 1})));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_bounded_and_ends_with_the_server() {
        let calls = Arc::<Calls>::default();
        let many: Vec<_> = (0..MOST_OF_A_DEVICE).map(|_| called(&calls, true)).collect();
        let rest = async {
            assert_eq!(called(&calls, true).await, Err(CallFailure::TooMany));
            calls.close();
            assert_eq!(called(&calls, true).await, Err(CallFailure::Stopping));
        };
        let (ended, ()) = tokio::join!(futures_util::future::join_all(many), rest);
        assert!(ended.iter().all(|end| *end == Err(CallFailure::Stopping)), "{ended:?}");
    }
}
