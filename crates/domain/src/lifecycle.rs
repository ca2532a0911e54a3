//! The states of a device and the moves between them.

use crate::Refusal;

/// Where a device stands. `Resting` is a state in which it may stay when it is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceState {
    /// Announced by an operator; it has not asked yet. It may hold credentials that an operator gave it beforehand:
    /// it connects with them, and is told them when it asks.
    Expected,
    /// It has credentials that it may not know yet: steps before the reply are still to be done.
    Provisioning,
    /// It holds credentials.
    Provisioned,
    /// A step before the reply failed for good; an operator decides.
    Failed,
    /// Shut out by an operator; remembers where it stood.
    Disabled {
        /// Where it goes when it is enabled.
        was: Resting,
    },
    /// It has left: its credentials are void, its neighbours are being told, and it can still be taken back.
    Decommissioning,
    /// It is gone; its history is kept, its name is free.
    Decommissioned,
}

/// A state that can be disabled and taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resting {
    /// See [`DeviceState::Expected`].
    Expected,
    /// See [`DeviceState::Provisioning`].
    Provisioning,
    /// See [`DeviceState::Provisioned`].
    Provisioned,
    /// See [`DeviceState::Failed`].
    Failed,
}

impl DeviceState {
    /// Every state, with the word under which it rests and travels.
    pub const ALL: &'static [(DeviceState, &'static str)] = &[
        (DeviceState::Expected, "expected"),
        (DeviceState::Provisioning, "provisioning"),
        (DeviceState::Provisioned, "provisioned"),
        (DeviceState::Failed, "failed"),
        (DeviceState::Disabled { was: Resting::Expected }, "disabled-expected"),
        (DeviceState::Disabled { was: Resting::Provisioning }, "disabled-provisioning"),
        (DeviceState::Disabled { was: Resting::Provisioned }, "disabled-provisioned"),
        (DeviceState::Disabled { was: Resting::Failed }, "disabled-failed"),
        (DeviceState::Decommissioning, "decommissioning"),
        (DeviceState::Decommissioned, "decommissioned"),
    ];

    /// The word of this state.
    pub fn word(self) -> &'static str {
        // Every state stands in the list: a test walks over all of them.
        DeviceState::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }

    /// The state of a word.
    pub fn from_word(word: &str) -> Option<DeviceState> {
        DeviceState::ALL.iter().find(|(_, known)| *known == word).map(|(state, _)| *state)
    }

    /// The device receives credentials; `waits` where steps have to be done before it is told.
    ///
    /// # Errors
    /// Why it cannot in this state.
    pub fn provision(self, waits: bool) -> Result<DeviceState, Refusal> {
        match self {
            DeviceState::Expected | DeviceState::Provisioned if waits => Ok(DeviceState::Provisioning),
            DeviceState::Expected | DeviceState::Provisioned => Ok(DeviceState::Provisioned),
            DeviceState::Provisioning => Err(Refusal::OperationRunning),
            DeviceState::Failed => Err(Refusal::OperationStopped),
            DeviceState::Disabled { .. } => Err(Refusal::DeviceDisabled),
            DeviceState::Decommissioning | DeviceState::Decommissioned => Err(Refusal::DeviceLeaving),
        }
    }

    /// The last step before the reply is done.
    #[must_use]
    pub fn finish(self) -> DeviceState {
        self.moved(Resting::Provisioning, Resting::Provisioned)
    }

    /// A step before the reply has failed for good.
    #[must_use]
    pub fn fail(self) -> DeviceState {
        self.moved(Resting::Provisioning, Resting::Failed)
    }

    /// An operator lets a failed step be tried again.
    #[must_use]
    pub fn resume(self) -> DeviceState {
        self.moved(Resting::Failed, Resting::Provisioning)
    }

    /// An operator shuts the device out; a disabled one stays as it is, and so does one that leaves.
    #[must_use]
    pub fn disable(self) -> DeviceState {
        Resting::of(self).map_or(self, |was| DeviceState::Disabled { was })
    }

    /// An operator lets it in again; one that is not disabled stays as it is.
    #[must_use]
    pub fn enable(self) -> DeviceState {
        match self {
            DeviceState::Disabled { was } => was.state(),
            other => other,
        }
    }

    /// The device leaves; from any state but those of leaving.
    pub fn decommission(self) -> Option<DeviceState> {
        (!self.is_leaving()).then_some(DeviceState::Decommissioning)
    }

    /// An operator takes a leaving device back: it is expected, as if it had never come.
    pub fn restore(self) -> Option<DeviceState> {
        (self == DeviceState::Decommissioning).then_some(DeviceState::Expected)
    }

    /// Whether it has asked and was given what it asked for.
    pub fn has_come(self) -> bool {
        matches!(self, DeviceState::Provisioned | DeviceState::Disabled { was: Resting::Provisioned })
    }

    /// An operator lets a device that has come in do so anew; one that is shut out stays so.
    pub fn reset(self) -> Option<DeviceState> {
        self.has_come().then(|| self.moved(Resting::Provisioned, Resting::Expected))
    }

    /// Whether it leaves or has left.
    pub fn is_leaving(self) -> bool {
        matches!(self, DeviceState::Decommissioning | DeviceState::Decommissioned)
    }

    /// Whether it was given credentials, whether or not it knows them yet.
    pub fn has_credentials(self) -> bool {
        matches!(self, DeviceState::Provisioning | DeviceState::Provisioned | DeviceState::Failed)
    }

    /// Whether credentials, where the device has any, may be used now.
    pub fn may_connect(self) -> bool {
        matches!(self, DeviceState::Expected | DeviceState::Provisioned)
    }

    /// From one resting state to another, whether or not it is shut out meanwhile.
    fn moved(self, from: Resting, to: Resting) -> DeviceState {
        match self {
            DeviceState::Disabled { was } if was == from => DeviceState::Disabled { was: to },
            state if state == from.state() => to.state(),
            other => other,
        }
    }
}

impl Resting {
    fn of(state: DeviceState) -> Option<Resting> {
        match state {
            DeviceState::Expected => Some(Resting::Expected),
            DeviceState::Provisioning => Some(Resting::Provisioning),
            DeviceState::Provisioned => Some(Resting::Provisioned),
            DeviceState::Failed => Some(Resting::Failed),
            _ => None,
        }
    }

    fn state(self) -> DeviceState {
        match self {
            Resting::Expected => DeviceState::Expected,
            Resting::Provisioning => DeviceState::Provisioning,
            Resting::Provisioned => DeviceState::Provisioned,
            Resting::Failed => DeviceState::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_STATE: [DeviceState; 10] = [
        DeviceState::Expected,
        DeviceState::Provisioning,
        DeviceState::Provisioned,
        DeviceState::Failed,
        DeviceState::Disabled { was: Resting::Expected },
        DeviceState::Disabled { was: Resting::Provisioning },
        DeviceState::Disabled { was: Resting::Provisioned },
        DeviceState::Disabled { was: Resting::Failed },
        DeviceState::Decommissioning,
        DeviceState::Decommissioned,
    ];

    #[test]
    fn every_state_comes_back_from_its_word() {
        for state in EVERY_STATE {
            assert_eq!(DeviceState::from_word(state.word()), Some(state));
        }
    }

    #[test]
    fn enabling_takes_a_device_back_to_where_it_stood() {
        for state in EVERY_STATE {
            let disabled = state.disable();
            assert!(!disabled.may_connect());
            assert_eq!(disabled.disable(), disabled);
            assert!(disabled.provision(false).is_err());
            assert_eq!(disabled.enable(), state.enable());
        }
    }

    #[test]
    fn an_operation_ends_the_same_way_for_a_device_that_is_shut_out_meanwhile() {
        let waiting = DeviceState::Expected.provision(true).unwrap();
        assert_eq!(waiting.finish(), DeviceState::Provisioned);
        assert_eq!(waiting.fail().resume().finish(), DeviceState::Provisioned);
        assert_eq!(waiting.disable().finish().enable(), DeviceState::Provisioned);
        assert_eq!(waiting.disable().fail().enable(), DeviceState::Failed);
        assert_eq!(DeviceState::Decommissioning.finish(), DeviceState::Decommissioning);
    }

    #[test]
    fn who_leaves_can_be_taken_back_until_it_is_gone() {
        for state in EVERY_STATE {
            let left = state.decommission();
            assert_eq!(left.is_none(), state.is_leaving());
            assert!(left.is_none_or(|left| left.restore() == Some(DeviceState::Expected)));
            assert_eq!(state.restore().is_some(), state == DeviceState::Decommissioning);
        }
    }
}
