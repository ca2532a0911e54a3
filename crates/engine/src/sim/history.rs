//! One history: its settings, its events, and what must be true after each of them.

use std::collections::HashMap;
use std::sync::Arc;

use domain::attestation::{Trust, attest};
use domain::plan::{Action, Gate, Receipt, StepKey, StepRule};
use domain::profile::Joining;
use domain::{
    Claim, CredentialKeys, DeviceState, Evidence, Grant, Held, Origin, Outcome, Refusal, Reprovision,
    Request, Secret, Strategy, Wire, Wish,
};
use store::{
    Advance, Capacity, Claim as Lease, ClaimedQuestion, ClaimedStep, Finished, StepFault, StepResult,
};
use tokio::sync::oneshot;

use super::Chance;
use super::model::{Mark, Model, Neighbour};
use super::world::World;
use crate::batch::Job;
use crate::registry::{Limits, NewProfile, OperationsWanted, public_id};

const EVENTS: usize = 30;
pub(super) const DEVICES: usize = 3;
pub(super) const LEASE_MS: u64 = 30_000;
const GATES: [Gate; 4] = [Gate::BeforeReply, Gate::WithReply, Gate::AfterReply, Gate::OnFirstConnection];
/// Rounds within which everything has to end once faults have stopped.
const MOST_ROUNDS: usize = 40;

pub(super) struct History<'w> {
    pub(super) world: &'w mut World,
    pub(super) chance: Chance,
    pub(super) names: Vec<String>,
    pub(super) models: Vec<Model>,
    pub(super) profile: String,
    pub(super) rules: Vec<StepRule>,
    pub(super) asks: bool,
    pub(super) uses: Option<u64>,
    pub(super) grace_ms: u64,
    pub(super) neighbour: Neighbour,
    /// Steps that a server holds, and whether the neighbour has done them already.
    pub(super) under_way: Vec<(ClaimedStep, bool)>,
    /// The newest fence of each step that was ever claimed.
    pub(super) fences: HashMap<StepKey, u64>,
    pub(super) asked: Vec<ClaimedQuestion>,
    pub(super) waiting: Vec<(usize, oneshot::Receiver<Outcome>)>,
    /// The last token that each device was given.
    pub(super) tokens: Vec<Option<Secret>>,
    pub(super) trace: Vec<String>,
}

/// Lives through a history.
pub(super) fn live(world: &mut World, seed: u64) {
    let mut history = History::new(world, seed);
    for _ in 0..EVENTS {
        history.event();
        history.check();
    }
    history.end();
}

impl<'w> History<'w> {
    fn new(world: &'w mut World, seed: u64) -> History<'w> {
        let mut chance = Chance(seed);
        world.crash(chance.draw());
        let rule = |chance: &mut Chance, at: usize| StepRule {
            connector: ["erp", "crm", "vpn"][at].to_owned(),
            gate: GATES[chance.below(GATES.len())],
        };
        let rules: Vec<StepRule> = (0..chance.below(4)).map(|at| rule(&mut chance, at)).collect();
        let (hook, approval) = (chance.one_in(4), chance.one_in(4));
        let uses = chance.one_in(3).then(|| 1 + chance.below(4) as u64);
        let profile = format!("p-{seed}");
        let joining = Joining {
            hook: hook.then(|| "gate".to_owned()),
            approval,
            steps: rules.clone(),
            initial_attributes: chance.one_in(2).then(|| r#"{"site":"a"}"#.to_owned()),
        };
        let reprovision = Reprovision::ALL[chance.below(3)];
        let grace_ms = 60_000 * chance.below(3) as u64;
        let wanted = NewProfile {
            name: profile.clone(),
            strategy: Strategy::CreateNew,
            reprovision,
            provision_key: Some(profile.clone()),
            provision_secret: Some(Secret::new("secret")),
            grace_period_ms: grace_ms,
            limits: Limits { uses, ..Limits::default() },
            joining,
            ..NewProfile::default()
        };
        world.store_profile(wanted);
        let names = (0..DEVICES).map(|number| format!("d-{seed}-{number}")).collect();
        History {
            world,
            chance,
            names,
            models: vec![Model::default(); DEVICES],
            profile,
            rules,
            asks: hook || approval,
            uses,
            grace_ms,
            neighbour: Neighbour::default(),
            under_way: Vec::new(),
            fences: HashMap::new(),
            asked: Vec::new(),
            waiting: Vec::new(),
            tokens: vec![None; DEVICES],
            trace: Vec::new(),
        }
    }

    fn event(&mut self) {
        match self.chance.below(16) {
            0..=3 => self.ask(),
            4 | 5 => self.claim(),
            6 | 7 => self.finish(true),
            8 => self.hook(true),
            9 => self.person(),
            10 | 11 => self.operator(),
            12 => self.connect(),
            13 => self.pass_time(),
            14 if self.chance.one_in(3) => self.crash(),
            14 => self.give_up(),
            _ => self.complete(),
        }
    }

    pub(super) fn note(&mut self, what: String) {
        self.trace.push(what);
    }

    // === devices ===

    fn ask(&mut self) {
        let device = self.chance.below(DEVICES);
        let secret = if self.chance.one_in(10) { "wrong" } else { "secret" };
        let twins = 1 + usize::from(self.chance.one_in(5));
        self.note(format!("ask {device} x{twins} {secret}"));
        let mut jobs = Vec::new();
        for _ in 0..twins {
            match self.job(device, secret) {
                Ok((job, answer)) => {
                    jobs.push(job);
                    self.waiting.push((device, answer));
                }
                Err(refusal) => assert_eq!((refusal, secret), (Refusal::ProofInvalid, "wrong")),
            }
        }
        let rival = self.chance.one_in(4) && !jobs.is_empty() && self.models[device].state.is_some();
        if rival {
            self.rival_disables(device);
        }
        self.batches(jobs);
        // Whoever is not taken by now had nothing to come between.
        if rival && self.world.rival.lock().take().is_none() {
            self.note(format!("a rival disabled {device}"));
            self.models[device].state = self.models[device].state.map(DeviceState::disable);
        }
    }

    /// Another server's operator shuts the device out, right between the facts and the record.
    fn rival_disables(&mut self, device: usize) {
        let (registry, operator) = (self.world.registry.clone(), self.world.operator.clone());
        let (tenant, name) = (self.world.tenant.clone(), self.names[device].clone());
        let act = move || drop(registry.disable_device(&operator, &tenant, &name).unwrap());
        *self.world.rival.lock() = Some(Box::new(act));
    }

    fn job(&self, device: usize, secret: &str) -> Result<(Job, oneshot::Receiver<Outcome>), Refusal> {
        let shared = &self.world.shared;
        let request = Request {
            claim: Claim { within: None, registration_id: Some(self.names[device].clone()) },
            evidence: Evidence::GroupSecret {
                key: self.profile.clone(),
                secret: shared.store.keys().unwrap().verifier(secret),
            },
            wish: Wish::ServerMade,
            gateway: false,
            origin: Origin { source: [192, 0, 2, 1].into(), wire: Wire::ThingsboardHttp },
        };
        let profile = shared.profiles.by_key(&self.profile, &shared.store).unwrap();
        let attested = attest(request, &Trust { profile })?;
        let (reply, answer) = oneshot::channel();
        Ok((Job { attested, reply, asked_at: self.world.now() }, answer))
    }

    /// Batches until nobody has to come again; before and after each the rows say what was recorded.
    fn batches(&mut self, mut jobs: Vec<Job>) {
        for _ in 0..8 {
            if jobs.is_empty() {
                break;
            }
            let before: Vec<_> = self.names.iter().map(|name| self.world.record(name)).collect();
            jobs = self.world.batcher.batch(jobs);
            for (device, before) in before.into_iter().enumerate() {
                let after = self.world.record(&self.names[device]);
                let old = before.and_then(|record| record.credential.generation());
                let new = after.as_ref().and_then(|record| record.credential.generation());
                if let Some(record) = after.filter(|_| new.is_some() && new != old) {
                    self.joined(device, &record);
                }
            }
            self.answers();
        }
        assert!(jobs.is_empty(), "a request comes again and again: {:?}", self.trace);
    }

    fn joined(&mut self, device: usize, record: &domain::DeviceRecord) {
        let state = self.models[device].state;
        let may = state.is_none()
            || matches!(state, Some(DeviceState::Provisioned))
            || matches!(state, Some(DeviceState::Expected));
        assert!(may, "{state:?} was provisioned: {:?}", self.trace);
        if !matches!(state, Some(DeviceState::Provisioned))
            && let Some(uses) = &mut self.uses
        {
            assert!(*uses > 0, "more uses than there were: {:?}", self.trace);
            *uses -= 1;
        }
        let gates: Vec<Gate> = self.rules.iter().map(|rule| rule.gate).collect();
        let operation = self.last_operation(device).unwrap_or(0);
        self.models[device].joins(record.key, operation, &gates);
        self.tokens[device] = None;
    }

    fn last_operation(&self, device: usize) -> Option<u64> {
        let wanted = OperationsWanted { device: Some(&self.names[device]), ..OperationsWanted::default() };
        let (operations, _) = self.world.registry.operations(&self.world.tenant, &wanted).unwrap();
        operations.first().map(|operation| operation.row.id.0)
    }

    /// Looks at the answers that are there.
    fn answers(&mut self) {
        let mut still = Vec::new();
        for (device, mut answer) in std::mem::take(&mut self.waiting) {
            match answer.try_recv() {
                Ok(Outcome::Granted(grant)) => self.granted(device, &grant),
                Ok(Outcome::Refused(_)) | Err(oneshot::error::TryRecvError::Closed) => {}
                Err(oneshot::error::TryRecvError::Empty) => still.push((device, answer)),
            }
        }
        self.waiting = still;
    }

    /// A grant is of a record that stands, and of a device whose answer waits for nothing.
    fn granted(&mut self, device: usize, grant: &Grant) {
        let record = self.world.record(&self.names[device]).expect("a grant of a device that is not there");
        assert_eq!(record.state.enable(), DeviceState::Provisioned, "{:?}", self.trace);
        let Held::Token(token) = &grant.held else { panic!("the server makes tokens here") };
        let keys = self.world.store.keys().unwrap();
        let resolved = keys.resolve(token.expose()).unwrap();
        assert!(keys.confirms(&resolved, &record), "a token that does not open: {:?}", self.trace);
        self.tokens[device] = Some(token.clone());
    }

    fn connect(&mut self) {
        let device = self.chance.below(DEVICES);
        let (Some(token), Some(record)) = (&self.tokens[device], self.world.record(&self.names[device]))
        else {
            return;
        };
        let keys = self.world.store.keys().unwrap();
        let known = keys.resolve(token.expose()).is_some_and(|resolved| keys.confirms(&resolved, &record));
        if known && record.state.may_connect() {
            let generation = record.credential.generation().unwrap();
            self.world.store.connected(&[(record.key, generation)], self.world.now()).unwrap();
            self.note(format!("connect {device}"));
        }
    }

    // === steps ===

    fn claim(&mut self) {
        let limit = 1 + self.chance.below(3);
        self.advance(&[], limit);
    }

    fn advance(&mut self, finished: &[Finished], limit: usize) -> bool {
        let claim = Lease { capacity: &Capacity::for_each(limit), lease_ms: LEASE_MS };
        let advanced = self.world.store.advance(&Advance { finished, claim }, self.world.now()).unwrap();
        for finished in finished.iter().filter(|it| !advanced.refused.contains(&it.key)) {
            let newest = self.fences.get(&finished.key);
            assert_eq!(newest, Some(&finished.fence), "a lost lease is believed: {:#?}", self.trace);
        }
        for step in &advanced.claimed {
            self.fences.insert(step.key, step.fence);
            self.note(format!(
                "claim {} {:?} {} fence {}",
                step.key, step.action, step.connector, step.fence
            ));
        }
        self.under_way.extend(advanced.claimed.into_iter().map(|step| (step, false)));
        if advanced.refused.is_empty() {
            self.mark(finished);
        }
        self.world.shared.waiting.settle(&self.world.shared, &advanced.statuses);
        self.answers();
        advanced.refused.is_empty()
    }

    fn mark(&mut self, finished: &[Finished]) {
        for finished in finished {
            let mark = match &finished.result {
                StepResult::Done(_) => Mark::Done,
                StepResult::Fault(fault) if fault.permanent => Mark::Failed,
                StepResult::Fault(_) => continue,
            };
            for model in &mut self.models {
                model.marks(finished.key.operation.0, finished.key.index, mark);
            }
        }
    }

    /// One step that is under way comes to its end, in one of many ways.
    fn finish(&mut self, faults: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let (step, worked) = self.under_way.swap_remove(self.chance.below(self.under_way.len()));
        let way = if faults { self.chance.below(8) } else { 0 };
        self.note(format!("finish {} way {way}", step.key));
        if way < 6 && !worked {
            self.work(&step);
        }
        let again_in_ms = 1000;
        let fault = |permanent| {
            StepResult::Fault(StepFault {
                permanent,
                code: "sim".into(),
                message: String::new(),
                again_in_ms,
            })
        };
        let id = self.id(&step);
        let result = match way {
            0..=3 => StepResult::Done(
                (step.action == Action::Ensure).then_some(Receipt { external_id: id, detail: None }),
            ),
            // The work was done, and the answer was lost.
            4 | 6 => fault(false),
            // The server that did the work is gone: nobody reports.
            5 => return,
            _ => fault(true),
        };
        self.advance(&[Finished { key: step.key, fence: step.fence, result }], 0);
    }

    /// The neighbour does what it is asked. A call never outlives its lease, so neither does its work.
    fn work(&mut self, step: &ClaimedStep) {
        let id = self.id(step);
        match step.action {
            Action::Ensure => self.neighbour.ensure(&step.connector, &id, step.key.operation.0),
            Action::Retire => self.neighbour.retire(&step.connector, &id),
        }
    }

    fn id(&self, step: &ClaimedStep) -> String {
        public_id::public_id(self.world.store.keys().unwrap(), step.device.key)
    }

    // === time and ends ===

    fn pass_time(&mut self) {
        let ms = [1_000, 5_000, 31_000, 200_000][self.chance.below(4)];
        self.note(format!("time {ms}"));
        self.pass(ms);
    }

    /// What is under way never outlives its lease: it was done before, or given up. Its result may come later,
    /// when nobody believes it any more.
    fn pass(&mut self, ms: i64) {
        if ms as u64 >= LEASE_MS {
            for (step, worked) in std::mem::take(&mut self.under_way) {
                if self.chance.one_in(2) {
                    if !worked {
                        self.work(&step);
                    }
                    self.under_way.push((step, true));
                }
            }
        }
        self.world.later(ms);
    }

    /// The devices stop waiting.
    fn give_up(&mut self) {
        self.note("give up".to_owned());
        drop(self.world.shared.waiting.impatient(|_| true));
        self.answers();
    }

    fn crash(&mut self) {
        self.note("crash".to_owned());
        let seed = self.chance.draw();
        self.world.crash(seed);
        self.under_way.clear();
        self.asked.clear();
        self.waiting.clear();
        if self.chance.one_in(2) {
            self.world.store.release_own_steps(self.world.now()).unwrap();
        }
    }

    fn complete(&mut self) {
        self.world.store.complete_leaving(16, self.world.now()).unwrap();
        for (device, model) in self.models.iter_mut().enumerate() {
            let gone = self.world.record(&self.names[device]).is_none();
            if gone && model.state == Some(DeviceState::Decommissioning) {
                *model = Model::default();
                self.tokens[device] = None;
            }
        }
    }

    /// Who waits for an answer that is there by now is decided again.
    fn decide_again(&mut self) {
        let (questions, _) = self.world.shared.waiting.impatient(|_| true);
        self.batches(questions.into_iter().map(|(_, job)| job).collect());
    }

    /// The registry is what the model says.
    fn check(&mut self) {
        for (device, model) in self.models.iter().enumerate() {
            let state = self.world.record(&self.names[device]).map(|record| record.state);
            assert_eq!(state, model.state, "device {device}: {:#?}", self.trace);
        }
    }

    /// Faults stop: every operation ends, everyone leaves, and nothing is left anywhere.
    fn end(&mut self) {
        self.note("faults stop".to_owned());
        if self.asks {
            self.hook(false);
            self.decide_again();
        }
        for round in 0..MOST_ROUNDS {
            self.pass(20_000);
            self.complete();
            self.advance(&[], 8);
            while !self.under_way.is_empty() {
                self.finish(false);
            }
            for device in 0..DEVICES {
                self.mend(device, 6);
                self.leave(device);
            }
            self.check();
            self.forget_questions();
            let idle = !self.world.store.is_work_due(self.world.now()).unwrap();
            if idle && self.models.iter().all(|model| model.state.is_none()) {
                break;
            }
            assert!(round + 1 < MOST_ROUNDS, "it does not end: {:#?}", self.trace);
        }
        assert_eq!(self.neighbour.holds(), 0, "an orphan: {:?} {:#?}", self.neighbour, self.trace);
    }

    fn forget_questions(&mut self) {
        let (registry, operator, tenant) = (&self.world.registry, &self.world.operator, &self.world.tenant);
        let (approvals, _) = registry.approvals(tenant, true, None, None).unwrap();
        for approval in approvals {
            registry.forget_approval(operator, tenant, approval.row.standing.id.0).unwrap();
        }
    }

    fn leave(&mut self, device: usize) {
        let (registry, operator, tenant) = (&self.world.registry, &self.world.operator, &self.world.tenant);
        if self.models[device].state.is_some_and(|state| !state.is_leaving()) {
            registry.decommission_device(operator, tenant, &self.names[device], Some(0)).unwrap();
            self.models[device].state = Some(DeviceState::Decommissioning);
        }
    }
}

impl World {
    fn store_profile(&self, wanted: NewProfile) {
        // The names in it are those of no configuration: the registry would refuse them.
        let joining = wanted.joining.clone();
        let plain = NewProfile { joining: Joining::default(), ..wanted };
        let name = plain.name.clone();
        self.registry.create_profile(&self.operator, &self.tenant, plain).unwrap();
        self.store
            .write(|change: &mut store::Change<'_>| {
                let row = change.profile_by_name(self.tenant.id, &name)?.expect("it was just made");
                let profile = domain::Profile { joining: joining.clone(), ..row.profile };
                change.update_profile(&profile).map(drop)
            })
            .unwrap();
        let _ = Arc::strong_count(&self.shared);
    }
}
