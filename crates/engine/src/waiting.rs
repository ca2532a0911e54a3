//! Devices whose answer waits for something: a question's verdict, or steps of an operation.
//!
//! Nothing here is needed after a restart: what they wait for is in the registry, and a device that asks again
//! finds it there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use domain::plan::Phase;
use domain::{DeviceKey, Outcome, Promise, QuestionId, Refusal, Timestamp, Verdict};
use parking_lot::Mutex;
use store::{OperationStatus, StoreError};

use crate::batch::Job;
use crate::fair_queue::FairQueue;
use crate::shared::Shared;
use crate::trouble::Trouble;

/// How often verdicts are looked for, and who has waited long enough.
const PERIOD: Duration = Duration::from_millis(100);
/// How many periods pass before operations are looked for that another server has brought to their end.
const OPERATIONS_EVERY: u32 = 5;
/// How long before its patience ends a device is told why it has to come again.
const MARGIN_MS: u64 = 500;

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Inner>);

/// A request, and what it is given once its steps are done.
type Promised = (Job, Promise);

#[derive(Default)]
struct Inner {
    questions: HashMap<QuestionId, Vec<Job>>,
    devices: HashMap<DeviceKey, Vec<Promised>>,
}

impl Waiting {
    /// A request waits for the answer to a question.
    pub(crate) fn for_answer(&self, question: QuestionId, job: Job) {
        self.0.lock().questions.entry(question).or_default().push(job);
    }

    /// A request waits for steps of its device's operation.
    pub(crate) fn for_steps(&self, job: Job, promise: Promise) {
        self.0.lock().devices.entry(promise.device).or_default().push((job, promise));
    }

    /// Operations have moved: whose answer need not wait any more is answered.
    pub(crate) fn settle(&self, shared: &Shared, statuses: &[OperationStatus]) {
        for status in statuses {
            if status.keeps_waiting && status.phase != Phase::Stopped
                || !status.keeps_waiting && !status.answerable
            {
                continue;
            }
            let waiting = self.0.lock().devices.remove(&status.device).unwrap_or_default();
            for (job, promise) in waiting {
                match status.keeps_waiting {
                    true => job.refuse(shared, Refusal::OperationStopped),
                    false => job.answer(shared, promise, status),
                }
            }
        }
    }

    fn questions(&self) -> Vec<QuestionId> {
        self.0.lock().questions.keys().copied().collect()
    }

    fn devices(&self) -> Vec<DeviceKey> {
        self.0.lock().devices.keys().copied().collect()
    }

    fn answered(&self, question: QuestionId) -> Vec<Job> {
        self.0.lock().questions.remove(&question).unwrap_or_default()
    }

    /// Takes out whose patience ends.
    pub(crate) fn impatient(&self, over: impl Fn(&Job) -> bool) -> (Vec<(QuestionId, Job)>, Vec<Promised>) {
        let mut inner = self.0.lock();
        let (mut questions, mut devices) = (Vec::new(), Vec::new());
        for (id, jobs) in &mut inner.questions {
            questions.extend(jobs.extract_if(.., |job| over(job)).map(|job| (*id, job)));
        }
        for jobs in inner.devices.values_mut() {
            devices.extend(jobs.extract_if(.., |(job, _)| over(job)));
        }
        inner.questions.retain(|_, jobs| !jobs.is_empty());
        inner.devices.retain(|_, jobs| !jobs.is_empty());
        (questions, devices)
    }
}

/// Looks after who waits, until `stop` is closed.
pub(crate) fn run(shared: &Arc<Shared>, requests: &FairQueue<Job>, patience: Duration, stop: &Receiver<()>) {
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let keeper = Keeper { shared, requests, longest_ms: patience_ms - MARGIN_MS.min(patience_ms / 4) };
    let mut trouble = Trouble::new("what devices wait for could not be looked up");
    let mut round: u32 = 0;
    while stop.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        round = round.wrapping_add(1);
        trouble.tell(keeper.look(round.is_multiple_of(OPERATIONS_EVERY)));
        keeper.dismiss(shared.clock.now());
    }
    let (questions, devices) = shared.waiting.impatient(|_| true);
    let jobs = questions.into_iter().map(|(_, job)| job).chain(devices.into_iter().map(|(job, _)| job));
    jobs.for_each(|job| job.refuse(shared, Refusal::ShuttingDown));
}

struct Keeper<'a> {
    shared: &'a Arc<Shared>,
    requests: &'a FairQueue<Job>,
    longest_ms: u64,
}

impl Keeper<'_> {
    fn look(&self, operations: bool) -> Result<(), StoreError> {
        let waiting = &self.shared.waiting;
        let ids = waiting.questions();
        for (id, standing) in ids.iter().zip(self.shared.store.verdicts(&ids)?) {
            let open =
                standing.is_some_and(|it| matches!(it.verdict, Verdict::AwaitsHook | Verdict::AwaitsPerson));
            if !open {
                waiting.answered(*id).into_iter().for_each(|job| self.decide_again(job));
            }
        }
        if operations {
            let devices = waiting.devices();
            let statuses = self.shared.store.operation_statuses(&devices)?;
            waiting.settle(self.shared, &statuses.into_iter().flatten().collect::<Vec<_>>());
        }
        Ok(())
    }

    /// The request joins the next batch, with the answer among its facts. It was let in before its question, so a
    /// full queue takes it back.
    fn decide_again(&self, job: Job) {
        self.shared.metrics.enqueued(1);
        if let Some(job) = self.requests.give_back(job.tenant(), job) {
            self.shared.metrics.dequeued(1);
            job.refuse(self.shared, Refusal::ShuttingDown);
        }
    }

    /// Whoever has waited as long as its protocol has patience is told why it has to come again; or is answered,
    /// where only what is tried with the reply is left.
    fn dismiss(&self, now: Timestamp) {
        let over = |job: &Job| job.is_gone() || now.since_ms(job.asked_at) >= self.longest_ms;
        let (questions, devices) = self.shared.waiting.impatient(over);
        for (id, job) in questions {
            let verdict = self.shared.store.verdicts(&[id]).ok().and_then(|mut it| it.pop().flatten());
            let person = verdict.is_some_and(|it| it.verdict == Verdict::AwaitsPerson);
            job.refuse(self.shared, if person { Refusal::ApprovalPending } else { Refusal::HookPending });
        }
        for (job, promise) in devices {
            let found = self.shared.store.operation_statuses(&[promise.device]);
            match answerable(found.map(|mut it| it.pop().flatten())) {
                Ok(status) => job.answer(self.shared, promise, &status),
                Err(refusal) => job.refuse(self.shared, refusal),
            }
        }
    }
}

/// Where an operation stands that keeps its device waiting no longer, or what the device hears instead. That it
/// leaves is said only where that is known: a device does not come again after it.
fn answerable(found: Result<Option<OperationStatus>, StoreError>) -> Result<OperationStatus, Refusal> {
    match found {
        Ok(Some(status)) if !status.keeps_waiting => Ok(status),
        Ok(Some(_)) => Err(Refusal::OperationRunning),
        Ok(None) => Err(Refusal::DeviceLeaving),
        Err(error) => Err(error.refusal()),
    }
}

impl Job {
    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.reply.is_closed()
    }

    /// Gives what was promised, unless the device was given other credentials meanwhile: then it asks again.
    fn answer(self, shared: &Shared, promise: Promise, status: &OperationStatus) {
        if status.generation == Some(promise.generation) {
            self.grant(shared, promise);
        } else {
            self.refuse(shared, Refusal::OperationRunning);
        }
    }

    /// Gives what was promised.
    pub(crate) fn grant(self, shared: &Shared, promise: Promise) {
        let keys = match shared.store.keys() {
            Ok(keys) => keys,
            Err(error) => return self.refuse(shared, error.refusal()),
        };
        let grant = promise.keep(|tenant, device, generation| keys.mint(tenant, device, generation));
        // The record stands whether or not the device still waits: it asks again, and policy decides.
        let _ = self.reply.send(Outcome::Granted(grant));
    }

    /// Says no, and notes it.
    pub(crate) fn refuse(self, shared: &Shared, refusal: Refusal) {
        shared.attempts.note(self.attempt(shared.clock.now(), None, refusal.code()));
        let _ = self.reply.send(Outcome::Refused(refusal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_not_told_that_it_leaves_where_nobody_could_look() {
        let said = answerable(Err(StoreError::Unavailable("the connection was lost".into())));
        assert_eq!(said.unwrap_err(), Refusal::StoreUnavailable);
        assert_eq!(answerable(Ok(None)).unwrap_err(), Refusal::DeviceLeaving);
    }
}
