//! Devices whose answer waits for something: a question's verdict, or steps of an operation.
//!
//! Nothing here is needed after a restart: what they wait for is in the registry, and a device that asks again
//! finds it there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use domain::plan::Phase;
use domain::{DeviceKey, Outcome, Promise, QuestionId, Refusal, TenantId, Timestamp, Verdict, Wire};
use parking_lot::Mutex;
use store::{OperationStatus, StoreError};

use crate::batch::Job;
use crate::fair_queue::FairQueue;
use crate::seats::{Seat, Seats};
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

/// A request, and what it is told where it has to come again.
type Asked = (Job, Refusal);

#[derive(Default)]
struct Inner {
    questions: HashMap<QuestionId, Vec<Asked>>,
    devices: HashMap<DeviceKey, Vec<Promised>>,
    seats: Seats,
}

impl Waiting {
    /// So many may wait of each wire, in the order of [`Wire::ALL`].
    pub(crate) fn new(seats: [usize; Wire::ALL.len()]) -> Waiting {
        Waiting(Mutex::new(Inner { seats: Seats::new(seats), ..Inner::default() }))
    }

    /// A request waits for the answer to a question, of a person's or of a hook's. Where there is no seat for it, or for
    /// another one in its place, that one comes again; the question stays.
    pub(crate) fn for_answer(&self, shared: &Shared, question: QuestionId, by_person: bool, job: Job) {
        let told = pending(by_person);
        let wait = |inner: &mut Inner, job| inner.questions.entry(question).or_default().push((job, told));
        self.seated(shared, job, told, wait);
    }

    /// A request waits for steps of its device's operation, or comes again as in [`Waiting::for_answer`].
    pub(crate) fn for_steps(&self, shared: &Shared, job: Job, promise: Promise) {
        let wait = |inner: &mut Inner, job| {
            inner.devices.entry(promise.device).or_default().push((job, promise));
        };
        self.seated(shared, job, Refusal::OperationRunning, wait);
    }

    fn seated(&self, shared: &Shared, job: Job, told: Refusal, wait: impl FnOnce(&mut Inner, Job)) {
        let mut inner = self.0.lock();
        let (wire, tenant) = (job.wire(), job.tenant());
        let sent_away = match inner.seats.take(wire, tenant) {
            Seat::None => Some((job, told)),
            seat => {
                wait(&mut inner, job);
                if let Seat::InPlaceOf(other) = seat { inner.newest_of(wire, other) } else { None }
            }
        };
        drop(inner);
        if let Some((job, told)) = sent_away {
            shared.metrics.sent_away(job.wire());
            job.refuse(shared, told);
        }
    }

    /// Operations have moved: whose answer need not wait any more is answered.
    pub(crate) fn settle(&self, shared: &Shared, statuses: &[OperationStatus]) {
        for status in statuses {
            if status.keeps_waiting && status.phase != Phase::Stopped
                || !status.keeps_waiting && !status.answerable
            {
                continue;
            }
            for (job, promise) in self.0.lock().promised(status.device) {
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
        let mut inner = self.0.lock();
        let asked = inner.questions.remove(&question).unwrap_or_default();
        asked.iter().for_each(|(job, _)| inner.seats.leave(job.wire(), job.tenant()));
        asked.into_iter().map(|(job, _)| job).collect()
    }

    /// Takes out whose patience ends.
    pub(crate) fn impatient(&self, over: impl Fn(&Job) -> bool) -> (Vec<(QuestionId, Job)>, Vec<Promised>) {
        let mut inner = self.0.lock();
        let (mut questions, mut devices) = (Vec::new(), Vec::new());
        for (id, jobs) in &mut inner.questions {
            questions.extend(jobs.extract_if(.., |(job, _)| over(job)).map(|(job, _)| (*id, job)));
        }
        for jobs in inner.devices.values_mut() {
            devices.extend(jobs.extract_if(.., |(job, _)| over(job)));
        }
        let gone = questions.iter().map(|(_, job)| job).chain(devices.iter().map(|(job, _)| job));
        gone.for_each(|job| inner.seats.leave(job.wire(), job.tenant()));
        inner.forget_empty();
        (questions, devices)
    }
}

impl Inner {
    fn promised(&mut self, device: DeviceKey) -> Vec<Promised> {
        let promised = self.devices.remove(&device).unwrap_or_default();
        promised.iter().for_each(|(job, _)| self.seats.leave(job.wire(), job.tenant()));
        promised
    }

    /// Takes out who came last of a tenant, and what that one is told. Looks at everybody who waits: only a server whose
    /// seats are all taken does so.
    fn newest_of(&mut self, wire: Wire, tenant: TenantId) -> Option<Asked> {
        let of_it = |job: &Job| job.wire() == wire && job.tenant() == tenant;
        let asked = self.questions.values().flatten().map(|(job, _)| job);
        let jobs = asked.chain(self.devices.values().flatten().map(|(job, _)| job));
        let newest = jobs.filter(|job| of_it(job)).map(|job| job.asked_at).max()?;
        let is_it = |job: &Job| of_it(job) && job.asked_at == newest;
        let asked = self.questions.values_mut().find_map(|jobs| take_out(jobs, |(job, _)| is_it(job)));
        let mut promised =
            || self.devices.values_mut().find_map(|jobs| take_out(jobs, |(job, _)| is_it(job)));
        let out = asked.or_else(|| promised().map(|(job, _)| (job, Refusal::OperationRunning)));
        self.seats.leave(wire, tenant);
        self.forget_empty();
        out
    }

    fn forget_empty(&mut self) {
        self.questions.retain(|_, jobs| !jobs.is_empty());
        self.devices.retain(|_, jobs| !jobs.is_empty());
    }
}

fn take_out<T>(all: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> Option<T> {
    let at = all.iter().position(is_it)?;
    Some(all.swap_remove(at))
}

/// Who has still to answer.
fn pending(by_person: bool) -> Refusal {
    if by_person { Refusal::ApprovalPending } else { Refusal::HookPending }
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
            job.refuse(self.shared, pending(person));
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
        let kept = promise.keep(
            |tenant, device, generation| keys.mint(tenant, device, generation),
            |tenant, device, generation| shared.store.sealed_credential(tenant, device, generation),
        );
        let grant = match kept {
            Ok(grant) => grant,
            Err(error) => return self.refuse(shared, error.refusal()),
        };
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
