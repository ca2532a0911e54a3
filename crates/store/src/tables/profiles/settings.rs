//! What joining and leaving take, in the shape in which it rests: JSON, version 1. A profile for which nothing
//! was said has none.

use domain::plan::{Gate, StepRule};
use domain::profile::{DEFAULT_GRACE_PERIOD_MS, Joining};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::StoreError;
use crate::error::storable;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Resting {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hook: Option<String>,
    #[serde(default)]
    approval: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<RestingStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    initial_attributes: Option<Box<RawValue>>,
    grace_period_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct RestingStep {
    connector: String,
    gate: String,
}

/// The settings as they are stored; nothing where nothing was said.
pub(super) fn write(joining: &Joining, grace_period_ms: u64) -> Result<Option<String>, StoreError> {
    if *joining == Joining::default() && grace_period_ms == DEFAULT_GRACE_PERIOD_MS {
        return Ok(None);
    }
    let step = |rule: &StepRule| RestingStep {
        connector: rule.connector.clone(),
        gate: rule.gate.word().to_owned(),
    };
    let attributes = joining.initial_attributes.clone().map(RawValue::from_string).transpose();
    let resting = Resting {
        v: VERSION,
        hook: joining.hook.clone(),
        approval: joining.approval,
        steps: joining.steps.iter().map(step).collect(),
        initial_attributes: attributes.map_err(|_| StoreError::Unstorable("initial attributes"))?,
        grace_period_ms,
    };
    let text = serde_json::to_string(&resting).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    storable(&text, "a profile's settings")?;
    Ok(Some(text))
}

/// The settings as they were stored.
pub(super) fn read(text: Option<&str>) -> Result<(Joining, u64), StoreError> {
    let Some(text) = text else { return Ok((Joining::default(), DEFAULT_GRACE_PERIOD_MS)) };
    let resting: Resting =
        serde_json::from_str(text).map_err(|_| StoreError::corrupt("the settings of a profile", text))?;
    let steps = resting.steps.into_iter().map(|step| {
        let gate = Gate::from_word(&step.gate).ok_or_else(|| StoreError::corrupt("a gate", &step.gate))?;
        Ok(StepRule { connector: step.connector, gate })
    });
    let joining = Joining {
        hook: resting.hook,
        approval: resting.approval,
        steps: steps.collect::<Result<_, StoreError>>()?,
        initial_attributes: resting.initial_attributes.map(|value| value.get().to_owned()),
    };
    Ok((joining, resting.grace_period_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_as_they_were_and_nothing_is_stored_as_nothing() {
        assert_eq!(write(&Joining::default(), DEFAULT_GRACE_PERIOD_MS).unwrap(), None);
        let rule = |connector: &str, gate| StepRule { connector: connector.into(), gate };
        let joining = Joining {
            hook: Some("gatekeeper".into()),
            approval: true,
            steps: vec![rule("erp", Gate::BeforeReply), rule("crm", Gate::OnFirstConnection)],
            initial_attributes: Some(r#"{"site":"a","limits":[1,2]}"#.into()),
        };
        let stored = write(&joining, 5000).unwrap();
        assert_eq!(read(stored.as_deref()).unwrap(), (joining, 5000));
        assert_eq!(read(None).unwrap(), (Joining::default(), DEFAULT_GRACE_PERIOD_MS));
    }
}
