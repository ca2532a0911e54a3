//! A neighbour in memory: it holds what it was told, and fails as it is ordered to.

use std::collections::HashMap;

use domain::plan::{Action, Receipt, StepKey};
use engine::{Connector, DeviceView, Ensured, Fault, Task};
use parking_lot::Mutex;

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// Nothing is done; later it may work.
    ForNow,
    /// Nothing is done, until an operator has done something.
    ForGood,
    /// The work is done, and nobody hears of it.
    Unheard,
}

/// A call as it arrived, however it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) action: Action,
    pub(crate) key: StepKey,
    /// What is to be undone, by the receipt that came with it.
    pub(crate) external_id: Option<String>,
}

#[derive(Default)]
struct State {
    /// What it holds: its own name for each device.
    holds: HashMap<String, String>,
    /// How many things it ever made or removed.
    changes: u64,
    calls: Vec<(String, Call)>,
    orders: Vec<(Action, Failing)>,
}

pub(crate) struct Neighbour {
    name: &'static str,
    state: Mutex<State>,
}

impl Neighbour {
    pub(crate) fn new(name: &'static str) -> Neighbour {
        Neighbour { name, state: Mutex::default() }
    }

    /// The next so many calls for this fail so.
    pub(crate) fn fail(&self, action: Action, how: Failing, times: usize) {
        self.state.lock().orders.extend(vec![(action, how); times]);
    }

    /// Its own name for the device of that name, where it knows it.
    pub(crate) fn holds(&self, device: &str) -> Option<String> {
        self.state.lock().holds.get(device).cloned()
    }

    pub(crate) fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// What it was told of a device, in order.
    pub(crate) fn calls(&self, device: &str) -> Vec<Call> {
        let state = self.state.lock();
        state.calls.iter().filter(|(of, _)| of == device).map(|(_, call)| call.clone()).collect()
    }

    /// One call: the work, unless an order forbids it, and the answer.
    fn called<T>(
        &self,
        device: &DeviceView,
        call: Call,
        work: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Fault> {
        let mut state = self.state.lock();
        let order = state.orders.iter().position(|(action, _)| *action == call.action);
        let how = order.map(|at| state.orders.remove(at).1);
        state.calls.push((device.name.clone(), call));
        match how {
            None => Ok(work(&mut state)),
            Some(Failing::ForNow) => Err(Fault::temporary("down", "it is down")),
            Some(Failing::ForGood) => Err(Fault::permanent("unfit", "the device is unfit")),
            Some(Failing::Unheard) => {
                work(&mut state);
                Err(Fault::temporary("unheard", "the connection was cut"))
            }
        }
    }
}

impl State {
    fn make(&mut self, neighbour: &str, device: &str) -> String {
        if let Some(known) = self.holds.get(device) {
            return known.clone();
        }
        self.changes += 1;
        let external_id = format!("{neighbour}-{}", self.changes);
        self.holds.insert(device.to_owned(), external_id.clone());
        external_id
    }

    fn remove(&mut self, device: &str) {
        self.changes += u64::from(self.holds.remove(device).is_some());
    }
}

impl Connector for Neighbour {
    fn name(&self) -> &str {
        self.name
    }

    fn ensure<'a>(&'a self, device: &'a DeviceView, key: &'a StepKey) -> Task<'a, Result<Ensured, Fault>> {
        let call = Call { action: Action::Ensure, key: *key, external_id: None };
        let made = self.called(device, call, |state| state.make(self.name, &device.name));
        let ensured = |external_id| Ensured { receipt: Receipt { external_id, detail: None } };
        Box::pin(async move { made.map(ensured) })
    }

    fn retire<'a>(
        &'a self,
        device: &'a DeviceView,
        key: &'a StepKey,
        receipt: Option<&'a Receipt>,
    ) -> Task<'a, Result<(), Fault>> {
        let external_id = receipt.map(|receipt| receipt.external_id.clone());
        let call = Call { action: Action::Retire, key: *key, external_id };
        let undone = self.called(device, call, |state| state.remove(&device.name));
        Box::pin(async move { undone })
    }

    fn check(&self) -> Task<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
}
