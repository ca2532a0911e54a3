//! What joining and leaving take outside: steps with receipts, and the plans they stand in.
//!
//! A plan is a list, not a graph. Steps gated before the reply run in order; later ones do not wait for each
//! other. A device's steps at one neighbour run one after the other, whatever operation they belong to: a newer
//! operation absorbs what an older one has not begun.

use crate::DeviceState;

/// An operation: the durable work behind one decision. Never used twice, over all tenants; of two operations of
/// one device the later has the larger number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u64);

impl std::fmt::Display for OperationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a step for ever, and is the idempotency key of what is asked outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepKey {
    /// The operation.
    pub operation: OperationId,
    /// The step's place in its plan, from 0 on.
    pub index: u32,
}

impl std::fmt::Display for StepKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.operation, self.index)
    }
}

words! {
    /// What an operation is for.
    OperationKind {
        /// A device comes in, for the first time or again.
        Join = "join",
        /// A device leaves.
        Leave = "leave",
        /// What a join did is undone.
        Unwind = "unwind",
    }
}

words! {
    /// Where an operation stands.
    Phase {
        /// Steps before the reply are still to be done; the device waits. At most one a device.
        BeforeReply = "before-reply",
        /// The device has its answer; steps are left that nobody waits for.
        Obligations = "obligations",
        /// A step failed for good; an operator resumes, unwinds or writes it off.
        Stopped = "stopped",
        /// Nothing is left to do.
        Done = "done",
    }
}

words! {
    /// When a step is due.
    Gate {
        /// Before the device is answered, in the order of the plan; without it there is no grant.
        BeforeReply = "before-reply",
        /// Tried for as long as the device's protocol has patience, else later.
        WithReply = "with-reply",
        /// At once, but nobody waits for it.
        AfterReply = "after-reply",
        /// When the device uses its credentials for the first time.
        OnFirstConnection = "on-first-connection",
    }
}

words! {
    /// What a step does.
    Action {
        /// Makes a neighbour match the device.
        Ensure = "ensure",
        /// Undoes what was made there.
        Retire = "retire",
    }
}

words! {
    /// Where a step stands.
    StepState {
        /// It waits for the steps before it, or for the first connection.
        Waiting = "waiting",
        /// It can be done at its moment.
        Due = "due",
        /// A server holds its lease.
        Running = "running",
        /// Done; its receipt stands.
        Done = "done",
        /// It failed for good.
        Failed = "failed",
        /// An operator wrote it off.
        Abandoned = "abandoned",
        /// A newer operation took its place before it was done.
        Absorbed = "absorbed",
    }
}

impl StepState {
    /// Whether nothing will happen to it any more.
    pub fn is_over(self) -> bool {
        matches!(self, StepState::Done | StepState::Abandoned | StepState::Absorbed)
    }
}

/// A step that an operator asks for in a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRule {
    /// The connector, by the name it has in the configuration.
    pub connector: String,
    /// When it is due.
    pub gate: Gate,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// What it does.
    pub action: Action,
    /// The connector it does it with.
    pub connector: String,
    /// When it is due.
    pub gate: Gate,
    /// What has to be undone, where that is known.
    pub receipt: Option<Receipt>,
}

/// What a neighbour said it has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The device's name outside.
    pub external_id: String,
    /// More of the neighbour's own words, where it had any; JSON.
    pub detail: Option<String>,
}

/// A step as it stands in the registry, for whoever draws a plan from what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// Which.
    pub key: StepKey,
    /// What it does.
    pub action: Action,
    /// With which connector.
    pub connector: String,
    /// Where it stands.
    pub state: StepState,
    /// How often it was begun.
    pub attempts: u32,
    /// Its receipt.
    pub receipt: Option<Receipt>,
}

/// The plan of a device that comes in, from its profile's rules.
pub fn joining(rules: &[StepRule]) -> Vec<PlannedStep> {
    let step = |rule: &StepRule| PlannedStep {
        action: Action::Ensure,
        connector: rule.connector.clone(),
        gate: rule.gate,
        receipt: None,
    };
    rules.iter().map(step).collect()
}

/// The plan of a device that leaves, from everything that was ever begun for it: each neighbour that may know
/// it, the one joined last first. An attempt whose answer never came counts: it may have arrived.
pub fn leaving(steps: &[StepRecord]) -> Vec<PlannedStep> {
    let mut connectors: Vec<&str> = Vec::new();
    let mut latest: Vec<&StepRecord> = steps.iter().collect();
    latest.sort_by_key(|step| std::cmp::Reverse(step.key));
    for step in &latest {
        if !connectors.contains(&step.connector.as_str()) {
            connectors.push(&step.connector);
        }
    }
    connectors.into_iter().filter_map(|connector| retirement(connector, &latest)).collect()
}

/// The step that undoes what a neighbour may hold; `None` where it holds nothing. `latest`: the newest first.
fn retirement(connector: &str, latest: &[&StepRecord]) -> Option<PlannedStep> {
    let begun = latest.iter().filter(|step| step.connector == connector && step.attempts > 0);
    let since: Vec<_> = begun.take_while(|step| !has_retired(step)).collect();
    let ensured = |step: &&&&StepRecord| step.action == Action::Ensure;
    since.iter().find(ensured)?;
    let receipt = since.iter().filter(|step| ensured(step)).find_map(|step| step.receipt.clone());
    let connector = connector.to_owned();
    Some(PlannedStep { action: Action::Retire, connector, gate: Gate::AfterReply, receipt })
}

fn has_retired(step: &StepRecord) -> bool {
    step.action == Action::Retire && step.state == StepState::Done
}

/// A step of an operation, as far as its course depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// When it is due.
    pub gate: Gate,
    /// Where it stands.
    pub state: StepState,
}

/// Where an operation stands, told by all its steps.
pub fn phase(steps: &[Progress]) -> Phase {
    if steps.iter().any(|step| step.state == StepState::Failed) {
        Phase::Stopped
    } else if steps.iter().any(|step| step.keeps_waiting()) {
        Phase::BeforeReply
    } else if steps.iter().any(|step| !step.state.is_over()) {
        Phase::Obligations
    } else {
        Phase::Done
    }
}

/// The places of the steps that wait and may begin now; `connected` once the device has used its credentials.
pub fn released(steps: &[Progress], connected: bool) -> Vec<usize> {
    let first_before = steps.iter().position(|step| step.keeps_waiting());
    let may_begin = |at: usize, step: &Progress| match (first_before, step.gate) {
        (Some(first), _) => at == first,
        (None, Gate::OnFirstConnection) => connected,
        (None, _) => true,
    };
    let waits = |(at, step): &(usize, &Progress)| step.state == StepState::Waiting && may_begin(*at, step);
    steps.iter().enumerate().filter(waits).map(|(at, _)| at).collect()
}

/// Where a join takes its device, told by all its steps.
pub fn device_state(steps: &[Progress], state: DeviceState) -> DeviceState {
    let mut waited_for = steps.iter().filter(|step| step.keeps_waiting()).peekable();
    if waited_for.peek().is_none() {
        return state.resume().finish();
    }
    if waited_for.any(|step| step.state == StepState::Failed) { state.fail() } else { state.resume() }
}

/// Whether everything is over that a device's answer may wait for: what must be done before it, and what is
/// tried with it.
pub fn is_answerable(steps: &[Progress]) -> bool {
    let tried = |step: &Progress| {
        step.gate == Gate::WithReply
            && matches!(step.state, StepState::Due | StepState::Running | StepState::Waiting)
    };
    !steps.iter().any(|step| step.keeps_waiting() || tried(step))
}

impl Progress {
    /// Whether the device cannot be answered because of it.
    fn keeps_waiting(self) -> bool {
        self.gate == Gate::BeforeReply && !self.state.is_over()
    }
}

/// How long to wait before a step is tried again, in milliseconds: doubled each time from one second up to five
/// minutes, and spread by `chance` over half of that, so that a neighbour that comes back is not run over.
pub fn back_off_ms(attempts: u32, chance: u64) -> u64 {
    let whole = FIRST_WAIT_MS.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(LONGEST_WAIT_MS);
    whole / 2 + chance % (whole / 2 + 1)
}

const FIRST_WAIT_MS: u64 = 1000;
const LONGEST_WAIT_MS: u64 = 5 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn step(operation: u64, action: Action, connector: &str, state: StepState, attempts: u32) -> StepRecord {
        let receipt = (state == StepState::Done)
            .then(|| Receipt { external_id: format!("{connector}-{operation}"), detail: None });
        let key = StepKey { operation: OperationId(operation), index: 0 };
        StepRecord { key, action, connector: connector.into(), state, attempts, receipt }
    }

    fn retired(steps: &[StepRecord]) -> Vec<(String, Option<String>)> {
        let plan = leaving(steps);
        assert!(plan.iter().all(|step| step.action == Action::Retire));
        plan.into_iter().map(|step| (step.connector, step.receipt.map(|it| it.external_id))).collect()
    }

    #[test]
    fn who_leaves_is_retired_everywhere_it_may_be_known_and_nowhere_else() {
        use {Action::Ensure, StepState::*};
        let steps = [
            step(1, Ensure, "erp", Done, 1),
            step(2, Ensure, "crm", Failed, 3),
            step(3, Ensure, "wiki", Absorbed, 0),
            step(4, Ensure, "vpn", Running, 1),
        ];
        assert_eq!(
            retired(&steps),
            [("vpn".into(), None), ("crm".into(), None), ("erp".into(), Some("erp-1".into()))]
        );
    }

    #[test]
    fn what_was_retired_is_not_retired_again_unless_it_was_made_anew() {
        use {Action::*, StepState::*};
        let mut steps = vec![step(1, Ensure, "erp", Done, 1), step(2, Retire, "erp", Done, 1)];
        assert_eq!(retired(&steps), []);
        steps.push(step(3, Ensure, "erp", Absorbed, 1));
        assert_eq!(retired(&steps), [("erp".into(), None)]);
    }

    #[test]
    fn a_retirement_that_never_came_through_is_planned_again_with_its_receipt() {
        use {Action::*, StepState::*};
        let steps = [step(1, Ensure, "erp", Done, 1), step(2, Retire, "erp", Absorbed, 5)];
        assert_eq!(retired(&steps), [("erp".into(), Some("erp-1".into()))]);
    }

    fn course(states: &[(Gate, StepState)]) -> Vec<Progress> {
        states.iter().map(|(gate, state)| Progress { gate: *gate, state: *state }).collect()
    }

    #[test]
    fn steps_before_the_reply_go_one_after_the_other_and_the_rest_together_behind_them() {
        use {Gate::*, StepState::*};
        let mut steps = course(&[
            (BeforeReply, Waiting),
            (AfterReply, Waiting),
            (BeforeReply, Waiting),
            (WithReply, Waiting),
            (OnFirstConnection, Waiting),
        ]);
        assert_eq!((released(&steps, false), phase(&steps)), (vec![0], Phase::BeforeReply));
        steps[0].state = Running;
        assert_eq!(released(&steps, false), []);
        steps[0].state = Done;
        assert_eq!(released(&steps, true), [2]);
        steps[2].state = Abandoned;
        assert_eq!((released(&steps, false), phase(&steps)), (vec![1, 3], Phase::Obligations));
        assert_eq!(released(&steps, true), [1, 3, 4]);
        assert!(!is_answerable(&steps));
        steps[3].state = Failed;
        assert!(is_answerable(&steps));
        for step in &mut steps {
            step.state = Done;
        }
        assert_eq!(phase(&steps), Phase::Done);
    }

    #[test]
    fn only_what_the_reply_waits_for_moves_the_device() {
        use {DeviceState::*, Gate::*};
        let of = |gate, step, state| device_state(&course(&[(gate, step)]), state);
        assert_eq!(of(BeforeReply, StepState::Due, Provisioning), Provisioning);
        assert_eq!(of(BeforeReply, StepState::Failed, Provisioning), Failed);
        assert_eq!(of(BeforeReply, StepState::Due, Failed), Provisioning);
        assert_eq!(of(BeforeReply, StepState::Done, Provisioning), Provisioned);
        assert_eq!(of(BeforeReply, StepState::Abandoned, Failed), Provisioned);
        assert_eq!(of(AfterReply, StepState::Failed, Provisioned), Provisioned);
    }

    #[test]
    fn waiting_doubles_is_spread_and_has_an_end() {
        assert_eq!((back_off_ms(1, 0), back_off_ms(1, 500)), (500, 1000));
        assert_eq!(back_off_ms(3, 0), 2000);
        assert_eq!(back_off_ms(u32::MAX, 0), LONGEST_WAIT_MS / 2);
        for chance in [1, 77, u64::MAX] {
            assert!((1000..=2000).contains(&back_off_ms(2, chance)));
        }
    }
}
