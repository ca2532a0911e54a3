//! What should be, in plain words: one small state for each device, and what its neighbour should hold.

use std::collections::HashMap;

use domain::plan::Gate;
use domain::{DeviceKey, DeviceState, Timestamp};

/// Where a step of the device's last join stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Open,
    Done,
    Failed,
    Off,
}

/// One device.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// `None` before it came, and after it is gone.
    pub(super) state: Option<DeviceState>,
    /// While it leaves: until when it can be taken back.
    pub(super) grace_until: Option<Timestamp>,
    /// The number of its row, which changes when its name is used anew.
    pub(super) key: Option<DeviceKey>,
    /// The steps of its last join.
    pub(super) steps: Vec<(Gate, Mark)>,
    /// The operation of its last join.
    pub(super) operation: u64,
}

impl Model {
    /// A join was recorded with this plan.
    pub(super) fn joins(&mut self, key: DeviceKey, operation: u64, gates: &[Gate]) {
        self.key = Some(key);
        self.operation = operation;
        self.steps = gates.iter().map(|gate| (*gate, Mark::Open)).collect();
        self.state = Some(DeviceState::Provisioned);
        self.follow();
    }

    /// Something became of a step.
    pub(super) fn marks(&mut self, operation: u64, step: u32, mark: Mark) {
        if operation == self.operation
            && let Some(step) = self.steps.get_mut(step as usize)
        {
            step.1 = mark;
            self.follow();
        }
    }

    /// The device waits for the steps before its reply, and for nothing else.
    fn follow(&mut self) {
        let Some(state) = self.state.filter(|state| !state.is_leaving()) else { return };
        let before =
            || self.steps.iter().filter(|(gate, _)| *gate == Gate::BeforeReply).map(|(_, mark)| *mark);
        let now = if before().any(|mark| mark == Mark::Failed) {
            DeviceState::Failed
        } else if before().any(|mark| mark == Mark::Open) {
            DeviceState::Provisioning
        } else {
            DeviceState::Provisioned
        };
        let waits = matches!(state.enable(), DeviceState::Expected);
        if !waits {
            let out = matches!(state, DeviceState::Disabled { .. });
            self.state = Some(if out { now.disable() } else { now });
        }
    }
}

/// The neighbour: what it holds, by connector and the device's id.
#[derive(Debug, Default)]
pub(super) struct Neighbour(HashMap<(String, String), u64>);

impl Neighbour {
    pub(super) fn ensure(&mut self, connector: &str, device: &str, operation: u64) {
        self.0.insert((connector.to_owned(), device.to_owned()), operation);
    }

    pub(super) fn retire(&mut self, connector: &str, device: &str) {
        self.0.remove(&(connector.to_owned(), device.to_owned()));
    }

    pub(super) fn holds(&self) -> usize {
        self.0.len()
    }
}
