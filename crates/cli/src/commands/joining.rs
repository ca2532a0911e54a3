//! Flags of profiles for what joining takes beside the proof.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::Value;
use wire::admin::{Change, Gate, ProfileStep};

use crate::failure::Failure;
use crate::values;

/// What is done outside for each device, who is asked before, and what a device begins with.
#[derive(Debug, Args)]
pub(crate) struct JoiningFlags {
    /// What is done outside for each device, and when: CONNECTOR:GATE, with before-reply, with-reply, after-reply
    /// or on-first-connection; may be repeated, and takes the place of all steps before
    #[arg(long, value_name = "CONNECTOR:GATE", value_parser = step)]
    step: Vec<ProfileStep>,
    /// Do nothing outside any more
    #[arg(long, conflicts_with = "step")]
    no_steps: bool,
    /// The hook that is asked before a device is let in; empty = none
    #[arg(long, value_name = "NAME", value_parser = |text: &str| values::clearable(text, |text| Ok(text.to_owned())))]
    pub(super) hook: Option<Change<String>>,
    /// Whether a person has to approve each device
    #[arg(long, value_enum)]
    approval: Option<Switch>,
    /// The attributes that a device begins with: a JSON object, or @FILE; empty = none
    #[arg(long, value_name = "JSON")]
    initial_attributes: Option<String>,
    /// For how long a device that leaves can be taken back, such as 24h
    #[arg(long, value_name = "DURATION", value_parser = values::seconds)]
    pub(super) grace: Option<u64>,
}

/// On or off.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Switch {
    /// Yes
    On,
    /// No
    Off,
}

impl JoiningFlags {
    pub(super) fn approval(&self) -> Option<bool> {
        self.approval.map(|switch| matches!(switch, Switch::On))
    }

    /// The steps, where something was said of them.
    pub(super) fn steps(&self) -> Option<Vec<ProfileStep>> {
        (self.no_steps || !self.step.is_empty()).then(|| self.step.clone())
    }

    pub(super) fn attributes(&self) -> Result<Change<Value>, Failure> {
        let Some(given) = &self.initial_attributes else { return Ok(Change::Keep) };
        let text = match given.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(Path::new(file))
                .map_err(|error| Failure::usage(format!("cannot read {file}: {error}")))?,
            None => given.clone(),
        };
        if text.trim().is_empty() {
            return Ok(Change::Clear);
        }
        let parsed = serde_json::from_str(&text)
            .map_err(|error| Failure::usage(format!("the initial attributes are no JSON: {error}")))?;
        Ok(Change::Set(parsed))
    }
}

fn step(text: &str) -> Result<ProfileStep, String> {
    let (connector, gate) = text.rsplit_once(':').ok_or("it is CONNECTOR:GATE, such as erp:before-reply")?;
    let gate = serde_json::from_value::<Gate>(Value::from(gate)).map_err(|_| {
        format!("`{gate}` is none of before-reply, with-reply, after-reply, on-first-connection")
    })?;
    Ok(ProfileStep { connector: connector.to_owned(), gate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_names_its_connector_and_its_gate() {
        let known = step("erp:on-first-connection").unwrap();
        assert_eq!((known.connector.as_str(), known.gate), ("erp", Gate::OnFirstConnection));
        assert!(step("erp").is_err() && step("erp:later").is_err());
    }
}
