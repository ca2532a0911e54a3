//! The states of a device and the moves between them.

use crate::Refusal;

/// Where a device stands. `Resting` is a state in which it may stay when it is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceState {
    /// Announced by an operator; it has not come yet.
    Expected,
    /// It holds credentials.
    Provisioned,
    /// Shut out by an operator; remembers where it stood.
    Disabled {
        /// Where it goes when it is enabled.
        was: Resting,
    },
}

/// A state that can be disabled and taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resting {
    /// See [`DeviceState::Expected`].
    Expected,
    /// See [`DeviceState::Provisioned`].
    Provisioned,
}

impl DeviceState {
    /// Every state, with the word under which it rests and travels.
    pub const ALL: &'static [(DeviceState, &'static str)] = &[
        (DeviceState::Expected, "expected"),
        (DeviceState::Provisioned, "provisioned"),
        (DeviceState::Disabled { was: Resting::Expected }, "disabled-expected"),
        (DeviceState::Disabled { was: Resting::Provisioned }, "disabled-provisioned"),
    ];

    /// The word of this state.
    pub fn word(self) -> &'static str {
        match self {
            DeviceState::Expected => "expected",
            DeviceState::Provisioned => "provisioned",
            DeviceState::Disabled { was: Resting::Expected } => "disabled-expected",
            DeviceState::Disabled { was: Resting::Provisioned } => "disabled-provisioned",
        }
    }

    /// The state of a word.
    pub fn from_word(word: &str) -> Option<DeviceState> {
        DeviceState::ALL.iter().find(|(_, known)| *known == word).map(|(state, _)| *state)
    }

    /// The device receives credentials.
    ///
    /// # Errors
    /// `device-disabled` where an operator shut it out.
    pub fn provision(self) -> Result<DeviceState, Refusal> {
        match self {
            DeviceState::Expected | DeviceState::Provisioned => Ok(DeviceState::Provisioned),
            DeviceState::Disabled { .. } => Err(Refusal::DeviceDisabled),
        }
    }

    /// An operator shuts the device out; a disabled one stays as it is.
    #[must_use]
    pub fn disable(self) -> DeviceState {
        match self {
            DeviceState::Expected => DeviceState::Disabled { was: Resting::Expected },
            DeviceState::Provisioned => DeviceState::Disabled { was: Resting::Provisioned },
            disabled @ DeviceState::Disabled { .. } => disabled,
        }
    }

    /// An operator lets it in again; one that is not disabled stays as it is.
    #[must_use]
    pub fn enable(self) -> DeviceState {
        match self {
            DeviceState::Disabled { was: Resting::Expected } => DeviceState::Expected,
            DeviceState::Disabled { was: Resting::Provisioned } => DeviceState::Provisioned,
            resting => resting,
        }
    }

    /// Whether the device holds credentials that may be used now.
    pub fn may_connect(self) -> bool {
        self == DeviceState::Provisioned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_comes_back_from_its_word() {
        for (state, word) in DeviceState::ALL {
            assert_eq!((state.word(), DeviceState::from_word(word)), (*word, Some(*state)));
        }
    }

    #[test]
    fn enabling_takes_a_device_back_to_where_it_stood() {
        for state in [DeviceState::Expected, DeviceState::Provisioned] {
            let disabled = state.disable();
            assert!(!disabled.may_connect());
            assert_eq!(disabled.disable(), disabled);
            assert_eq!(disabled.provision(), Err(Refusal::DeviceDisabled));
            assert_eq!(disabled.enable(), state);
        }
    }
}
