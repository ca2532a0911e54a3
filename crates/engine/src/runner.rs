//! Carries steps out and asks hooks, here or wherever the registry is shared: claims what is due under a lease,
//! lets connectors work side by side, and records what became of it, many results in one transaction.
//!
//! A result that could not be recorded is kept until it can: what a neighbour has made must not be forgotten.

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::task::Poll;
use std::time::{Duration, Instant};

use domain::plan::{Action, Receipt, back_off_ms};
use domain::{CredentialKeys, Entropy, QuestionId};
use futures_util::FutureExt;
use store::{
    Advance, Advanced, Capacity, Claim, ClaimedQuestion, ClaimedStep, Finished, HookSaid, Said, StepFault,
    StepResult,
};
use tokio::runtime::Runtime;

use crate::lines::Lines;
use crate::ports::{Asked, Attributes, Connector, DeviceView, Fault, Hook, HookAnswer, Ports};
use crate::registry::public_id;
use crate::shared::Shared;
use crate::trouble::Trouble;

/// How often the registry is asked for work that nobody here was told of: back-offs that are over, leases that
/// another server has lost.
const POLL: Duration = Duration::from_millis(200);
/// How long before the end of its lease a call is given up.
const MARGIN: Duration = Duration::from_secs(1);
/// How long the end of what is under way is waited for when the server stops.
const FAREWELL: Duration = Duration::from_secs(10);
/// The same for hooks: whoever else asks them does so under the same key.
const HOOK_FAREWELL: Duration = Duration::from_secs(1);

/// What the runner is told.
pub(crate) enum Event {
    /// Something may be due.
    Poke,
    /// A step came to its end.
    Step(StepEnd),
    /// A hook was asked.
    Hook(HookEnd),
    /// Claim no more, and end.
    Stop,
}

pub(crate) struct StepEnd {
    step: Box<ClaimedStep>,
    result: Result<Option<Receipt>, Fault>,
}

pub(crate) struct HookEnd {
    hook: String,
    id: QuestionId,
    fence: u64,
    attempts: u32,
    result: Result<HookAnswer, Fault>,
}

/// The thread that does durable work.
pub(crate) struct Runner {
    shared: Arc<Shared>,
    connectors: HashMap<String, Arc<dyn Connector>>,
    hooks: HashMap<String, Arc<dyn Hook>>,
    entropy: Box<dyn Entropy + Send>,
    lease: Duration,
    runtime: Runtime,
    events: Sender<Event>,
    steps: Lines,
    questions: Lines,
    finished: Vec<Finished>,
    said: Vec<HookSaid>,
    looking: Trouble,
    recording: Trouble,
    poked: bool,
    stopping: bool,
}

impl Runner {
    /// A runner with what neighbours there are.
    ///
    /// # Errors
    /// Where its threads cannot be started.
    pub(crate) fn new(
        shared: Arc<Shared>,
        ports: &Ports,
        lease: Duration,
        events: Sender<Event>,
    ) -> std::io::Result<Runner> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("steps")
            .enable_all()
            .build()?;
        Ok(Runner {
            shared,
            connectors: ports.connectors.iter().map(|it| (it.name().to_owned(), Arc::clone(it))).collect(),
            hooks: ports.hooks.iter().map(|it| (it.name().to_owned(), Arc::clone(it))).collect(),
            entropy: (ports.entropy)(),
            lease,
            runtime,
            events,
            steps: Lines::new(ports.connectors.iter().map(|it| (it.name(), it.most_at_once()))),
            questions: Lines::new(ports.hooks.iter().map(|it| (it.name(), it.most_at_once()))),
            finished: Vec::new(),
            said: Vec::new(),
            looking: Trouble::new("whether steps are due could not be looked up"),
            recording: Trouble::new("steps and questions could not be taken up or recorded"),
            poked: true,
            stopping: false,
        })
    }

    /// Works until it is told to stop, then waits a while for what is under way.
    pub(crate) fn run(mut self, inbox: &Receiver<Event>) {
        if let Err(error) = self.shared.store.release_own_steps(self.shared.clock.now()) {
            tracing::warn!(%error, "steps that this server held are taken up when their leases end");
        }
        self.release_questions();
        let mut last = Instant::now();
        let mut stopped_at = None;
        loop {
            self.hear(inbox);
            if self.stopping && self.is_over(*stopped_at.get_or_insert_with(Instant::now)) {
                self.release_questions();
                // A resolver that hangs is not waited for.
                return self.runtime.shutdown_background();
            }
            if last.elapsed() >= POLL {
                last = Instant::now();
                self.poked |= self.is_work_due();
            }
            self.turn_or_wait();
        }
    }

    /// Another server, or the next start, asks at once what nobody here waits for any more.
    fn release_questions(&self) {
        if let Err(error) = self.shared.store.release_own_questions(self.shared.clock.now()) {
            tracing::warn!(%error, "questions that this server held are asked again when their leases end");
        }
    }

    fn is_over(&self, stopped_at: Instant) -> bool {
        let waited = stopped_at.elapsed();
        let asked = if waited > HOOK_FAREWELL { 0 } else { self.questions.under_way() };
        let open = self.steps.under_way() + self.finished.len() + self.said.len() + asked;
        open == 0 || waited > FAREWELL
    }

    /// Waits for one event, and takes all that are there.
    fn hear(&mut self, inbox: &Receiver<Event>) {
        match inbox.recv_timeout(POLL) {
            Ok(event) => self.take(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.stopping = true,
        }
        while let Ok(event) = inbox.try_recv() {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Poke => self.poked = true,
            Event::Stop => self.stopping = true,
            Event::Step(end) => {
                self.steps.end(&end.step.connector);
                self.shared
                    .metrics
                    .step(&end.step.connector, end.result.as_ref().map(drop).map_err(|it| it.permanent));
                let finished = finished(end, &mut *self.entropy);
                self.finished.push(finished);
            }
            Event::Hook(end) => {
                self.questions.end(&end.hook);
                let said = said(end, &mut *self.entropy);
                self.said.push(said);
            }
        }
    }

    fn is_work_due(&mut self) -> bool {
        self.looking.tell(self.shared.store.is_work_due(self.shared.clock.now())).unwrap_or(false)
    }

    /// A panic or an error costs time, not a result.
    fn turn_or_wait(&mut self) {
        if catch_unwind(AssertUnwindSafe(|| self.turn())).is_err() {
            tracing::error!("a turn of the steps failed; it is tried again");
            std::thread::sleep(POLL);
        }
    }

    fn turn(&mut self) {
        let wanted = std::mem::take(&mut self.poked) && !self.stopping;
        if wanted || !self.finished.is_empty() {
            self.turn_steps();
        }
        if wanted || !self.said.is_empty() {
            self.turn_questions();
        }
    }

    /// What is recorded stays until it is: also where this fails in the middle.
    fn turn_steps(&mut self) {
        let (capacity, until) = (self.capacity(&self.steps), self.until());
        let advance = Advance { finished: &self.finished, claim: self.claim(&capacity) };
        match self.recording.tell(self.shared.store.advance(&advance, self.shared.clock.now())) {
            Some(advanced) => {
                self.finished.clear();
                self.advanced(advanced, until);
            }
            None => std::thread::sleep(POLL),
        }
    }

    fn advanced(&mut self, advanced: Advanced, until: Instant) {
        for key in &advanced.refused {
            tracing::warn!(step = %key, "a step's result came after its lease was lost; its receipt is refused");
        }
        self.shared.waiting.settle(&self.shared, &advanced.statuses);
        for step in advanced.claimed {
            self.begin_step(step, until);
        }
    }

    fn turn_questions(&mut self) {
        let (capacity, until) = (self.capacity(&self.questions), self.until());
        let (claim, now) = (self.claim(&capacity), self.shared.clock.now());
        match self.recording.tell(self.shared.store.advance_questions(&self.said, claim, now)) {
            Some(claimed) => {
                self.said.clear();
                claimed.into_iter().for_each(|question| self.ask(question, until));
            }
            None => std::thread::sleep(POLL),
        }
    }

    /// Without the server's keys nobody outside could be told who a device is.
    fn capacity(&self, lines: &Lines) -> Capacity {
        let idle = self.stopping || self.shared.store.keys().is_err();
        if idle { Capacity::default() } else { lines.capacity() }
    }

    fn claim<'r>(&self, capacity: &'r Capacity) -> Claim<'r> {
        Claim { capacity, lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX) }
    }

    /// When the calls of what is claimed from now on are given up. The lease itself begins later, in the claim.
    fn until(&self) -> Instant {
        Instant::now() + self.lease.saturating_sub(MARGIN)
    }

    fn begin_step(&mut self, step: ClaimedStep, until: Instant) {
        self.steps.begin(&step.connector);
        let connector = self.connectors.get(&step.connector).cloned();
        let locked = |_| Fault::temporary("secrets-locked", "the server's own keys are locked");
        let view = self.shared.store.keys().map_err(locked).and_then(|keys| device_view(&step, keys));
        let events = self.events.clone();
        let work = async move {
            let result = match (view, connector) {
                (Err(fault), _) => Err(fault),
                (Ok(_), None) => Err(unknown_connector(&step.connector)),
                (Ok(view), Some(connector)) => unharmed(carry_out(&*connector, &step, &view, until)).await,
            };
            (step, result)
        };
        self.runtime.spawn(async move {
            let (step, result) = work.await;
            // The runner is gone: the lease will end by itself.
            let _ = events.send(Event::Step(StepEnd { step: Box::new(step), result }));
        });
    }

    fn ask(&mut self, question: ClaimedQuestion, until: Instant) {
        let name = question.row.hook.clone().unwrap_or_default();
        self.questions.begin(&name);
        let hook = self.hooks.get(&name).cloned();
        let events = self.events.clone();
        self.runtime.spawn(async move {
            let result = match hook {
                None => Err(unknown_connector(&name)),
                Some(hook) => unharmed(ask(&*hook, &question, until)).await,
            };
            let (id, fence, attempts) = (question.row.standing.id, question.fence, question.row.attempts);
            let _ = events.send(Event::Hook(HookEnd { hook: name, id, fence, attempts, result }));
        });
    }
}

/// One call to a neighbour, which never takes longer than the lease.
async fn carry_out(
    connector: &dyn Connector,
    step: &ClaimedStep,
    view: &DeviceView,
    until: Instant,
) -> Result<Option<Receipt>, Fault> {
    let work = async {
        match step.action {
            Action::Ensure => connector.ensure(view, &step.key).await.map(|ensured| Some(ensured.receipt)),
            Action::Retire => connector.retire(view, &step.key, step.receipt.as_ref()).await.map(|()| None),
        }
    };
    in_time(until, work).await
}

async fn ask(hook: &dyn Hook, question: &ClaimedQuestion, until: Instant) -> Result<HookAnswer, Fault> {
    let row = &question.row;
    let unreadable = |_| Fault::permanent("question-unreadable", "the source of the question cannot be read");
    let asked = Asked {
        tenant: question.tenant.clone(),
        profile: question.profile.clone(),
        registration_id: Some(row.name.clone()),
        source: row.source.parse().map_err(unreadable)?,
        wire: domain::Wire::ALL
            .iter()
            .map(|wire| wire.name())
            .find(|name| *name == row.wire)
            .unwrap_or("unknown"),
        gateway: row.gateway,
    };
    let key = domain::StepKey { operation: domain::OperationId(row.standing.id.0), index: 0 };
    in_time(until, hook.ask(&asked, &key)).await
}

/// What a call comes to, if it does by then. A process that stood still may wake up long after its leases: so the
/// time is looked at first, and what has not been sent by then never is.
async fn in_time<T>(until: Instant, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let (mut work, mut over) = (pin!(work), pin!(tokio::time::sleep_until(until.into())));
    poll_fn(|context| {
        if over.as_mut().poll(context).is_ready() || Instant::now() >= until {
            let slow = "there was no answer before the step's lease ended";
            return Poll::Ready(Err(Fault::temporary("lease-ended", slow)));
        }
        work.as_mut().poll(context)
    })
    .await
}

/// A call that panics has failed like any other: its turn is given back, its step is tried again.
async fn unharmed<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let panicked =
        |_| Fault::temporary("call-panicked", "the call failed by a mistake of this server; see its log");
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|it| Err(panicked(it)))
}

fn unknown_connector(name: &str) -> Fault {
    let message = format!(
        "`{name}` is not in this server's configuration; add it to [connectors] or [hooks], or write the step off"
    );
    Fault::temporary("connector-unknown", message)
}

/// What a neighbour is told of a device.
pub(crate) fn device_view(step: &ClaimedStep, keys: &dyn CredentialKeys) -> Result<DeviceView, Fault> {
    let unreadable = |_| Fault::permanent("attributes-unreadable", "the device's attributes cannot be read");
    let attribute = |(key, value): &(String, String)| Ok((key.clone(), serde_json::from_str(value)?));
    let attributes: serde_json::Result<Attributes> = step.attributes.iter().map(attribute).collect();
    Ok(DeviceView {
        id: public_id::public_id(keys, step.device.key),
        name: step.device.name.clone(),
        tenant: step.tenant.clone(),
        profile: step.profile.clone(),
        label: step.label.clone(),
        gateway: step.device.gateway,
        state: step.device.state,
        attributes: attributes.map_err(unreadable)?,
    })
}

pub(crate) fn finished(end: StepEnd, entropy: &mut dyn Entropy) -> Finished {
    let result = match end.result {
        Ok(receipt) => StepResult::Done(receipt),
        Err(fault) => StepResult::Fault(step_fault(fault, end.step.attempts, entropy)),
    };
    Finished { key: end.step.key, fence: end.step.fence, result }
}

fn said(end: HookEnd, entropy: &mut dyn Entropy) -> HookSaid {
    let said = match end.result {
        Ok(HookAnswer::Allow { attributes }) => {
            Said::Allow(attributes.map(|attributes| serde_json::Value::Object(attributes).to_string()))
        }
        Ok(HookAnswer::Deny { reason }) => Said::Deny(reason),
        Err(fault) => Said::Nothing(step_fault(fault, end.attempts, entropy)),
    };
    HookSaid { id: end.id, fence: end.fence, said }
}

/// A fault with the moment of the next try: never before the neighbour wishes it.
pub(crate) fn step_fault(fault: Fault, attempts: u32, entropy: &mut dyn Entropy) -> StepFault {
    let asked = fault.retry_after.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    StepFault {
        permanent: fault.permanent,
        code: fault.code.to_owned(),
        message: fault.message,
        again_in_ms: back_off_ms(attempts, entropy.next_u64()).max(asked.min(LONGEST_ASKED_MS)),
    }
}

/// The longest that a neighbour may put us off at once, in milliseconds: an hour.
const LONGEST_ASKED_MS: u64 = 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that waits for its turn once, and says how often it went on. The process stands still meanwhile.
    async fn frozen(stands_still: Duration, until: Instant) -> (u32, Result<(), Fault>) {
        let mut steps = 0;
        let work = poll_fn(|context| {
            steps += 1;
            if steps == 2 {
                return Poll::Ready(Ok(()));
            }
            std::thread::sleep(stands_still);
            context.waker().wake_by_ref();
            Poll::Pending
        });
        let result = in_time(until, work).await;
        (steps, result)
    }

    #[tokio::test]
    async fn a_process_that_wakes_up_after_its_lease_sends_nothing_more() {
        let soon = Duration::from_millis(200);
        let (steps, result) = frozen(soon * 2, Instant::now() + soon).await;
        assert_eq!((steps, result.unwrap_err().code), (1, "lease-ended"));
        let (steps, result) = frozen(Duration::ZERO, Instant::now()).await;
        assert_eq!((steps, result.unwrap_err().code), (0, "lease-ended"));
        let (steps, result) = frozen(Duration::ZERO, Instant::now() + Duration::from_secs(600)).await;
        assert!(steps == 2 && result.is_ok());
    }
}
