//! Waiting requests become one read, many decisions, one write.
//!
//! What is read is not locked: what a decision stands on is compared when it is recorded. Of several requests for one name the
//! first goes on. Where it changes nothing the others are decided against the same facts; else in the next
//! batch, against the facts after its commit. So is who lost a race against another batch or
//! server: it joins the next batch and never makes one of its own.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use domain::attestation::Trust;
use domain::{
    Attested, Decision, DeviceKey, DeviceRecord, Entropy, Facts, Outcome, ProfileId, Promise, Provision,
    Question, Refusal, SecretId, StandingQuestion, TenantId, Timestamp, Verdict, Wire, decide,
};
use store::{Entry, Lost, NewQuestion, Store, StoreError};
use tokio::sync::oneshot;

use crate::attempts::Attempt;
use crate::fair_queue::FairQueue;
use crate::ports::{Farewell, Sessions};
use crate::shared::Shared;

/// Most requests that are decided together.
pub(crate) const MOST_IN_BATCH: usize = 512;
/// Batches that may be under way at once where each waits for another process.
const BATCHES_AT_ONCE: usize = 2;
/// Device keys reserved at once; a restart leaves the rest of a block unused.
const KEY_BLOCK: u64 = 1 << 16;

/// How many threads decide: one where the store has one writer. Where a batch waits for another process, the next is
/// gathered meanwhile; the two are to each other what two servers are.
pub(crate) fn takers(store: &Store) -> usize {
    if store.is_remote() { BATCHES_AT_ONCE } else { 1 }
}

/// A request that has proven itself and waits for its decision.
pub(crate) struct Job {
    pub(crate) attested: Attested,
    pub(crate) reply: oneshot::Sender<Outcome>,
    pub(crate) asked_at: Timestamp,
}

/// The thread that decides and records.
pub(crate) struct Batcher {
    shared: Arc<Shared>,
    sessions: Arc<dyn Sessions>,
    entropy: Box<dyn Entropy + Send>,
    keys: Range<u64>,
    patience_ms: u64,
    /// Requests about which somebody has to be asked, gathered in a batch.
    asking: Vec<(Job, Question)>,
}

/// Facts that stand after a decision, by name and by the secret whose uses are among them.
type Standing = HashMap<(TenantId, String, Option<SecretId>), Facts>;

/// A decision that waits for its record.
struct Ready {
    job: Job,
    provision: Box<Provision>,
}

impl Batcher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        sessions: Arc<dyn Sessions>,
        entropy: Box<dyn Entropy + Send>,
        patience_ms: u64,
    ) -> Batcher {
        Batcher { shared, sessions, entropy, keys: 0..0, patience_ms, asking: Vec::new() }
    }

    /// Works until it is told to stop, then finishes what waits.
    pub(crate) fn run(mut self, inbox: &FairQueue<Job>) {
        loop {
            let waiting = inbox.take(MOST_IN_BATCH);
            if waiting.is_empty() {
                return;
            }
            self.shared.metrics.dequeued(waiting.len());
            let again = self.batch_or_refuse(waiting);
            self.shared.metrics.enqueued(again.len());
            // The last first, so that each tenant's own keep their order. This thread takes, so none is returned.
            for job in again.into_iter().rev() {
                let _ = inbox.give_back(job.tenant(), job);
            }
        }
    }

    /// A panic costs its batch an answer, not the server its only decider.
    fn batch_or_refuse(&mut self, waiting: Vec<Job>) -> Vec<Job> {
        catch_unwind(AssertUnwindSafe(|| self.batch(waiting))).unwrap_or_else(|_| {
            tracing::error!("a batch of requests failed; its devices are told to try again");
            Vec::new()
        })
    }

    /// Carries one batch out and returns who has to come again.
    pub(crate) fn batch(&mut self, waiting: Vec<Job>) -> Vec<Job> {
        let now = self.shared.clock.now();
        self.shared.metrics.batch(waiting.len());
        let (jobs, others) = self.one_for_each_name(waiting, now);
        let facts = match self.facts(&jobs) {
            Ok(facts) => facts,
            Err(error) => {
                self.refuse_all(jobs, &error);
                return others;
            }
        };
        let (mut ready, standing) = self.decide_all(jobs, facts, now);
        let mut again = self.decide_others(others, standing, &mut ready, now);
        self.record(ready, now, &mut again);
        self.park(now);
        again
    }

    /// Waits for a question that stands already; any other is recorded behind this batch.
    fn asks(&mut self, job: Job, question: Question, standing: Option<&StandingQuestion>, now: Timestamp) {
        match standing.filter(|standing| now < standing.expires_at) {
            Some(standing) => {
                let by_person = standing.verdict == Verdict::AwaitsPerson;
                self.shared.waiting.for_answer(&self.shared, standing.id, by_person, job);
            }
            None => self.asking.push((job, question)),
        }
    }

    /// One transaction for all new questions.
    fn park(&mut self, now: Timestamp) {
        let asking = std::mem::take(&mut self.asking);
        if asking.is_empty() {
            return;
        }
        let questions: Vec<NewQuestion> =
            asking.iter().filter_map(|(job, question)| job.new_question(question)).collect();
        match self.shared.store.park(&questions, now) {
            Ok(ids) => {
                for ((job, question), id) in asking.into_iter().zip(ids) {
                    match id {
                        Some(id) => {
                            self.shared.waiting.for_answer(&self.shared, id, question.hook.is_none(), job);
                        }
                        None => self.refuse(job, Refusal::QuestionsFull),
                    }
                }
                self.shared.poke();
            }
            Err(error) => self.refuse_all(asking.into_iter().map(|(job, _)| job).collect(), &error),
        }
    }

    /// The first of each name goes on; who waited beyond its patience is not decided any more.
    fn one_for_each_name(&self, waiting: Vec<Job>, now: Timestamp) -> (Vec<Job>, Vec<Job>) {
        let mut names: HashSet<(TenantId, String)> = HashSet::with_capacity(waiting.len());
        let mut first = Vec::with_capacity(waiting.len());
        let mut again = Vec::new();
        for job in waiting {
            if now.since_ms(job.asked_at) > self.patience_ms || job.reply.is_closed() {
                self.refuse(job, Refusal::DeadlinePassed);
            } else if job.name_key().is_none_or(|(tenant, name)| names.insert((tenant, name.to_owned()))) {
                first.push(job);
            } else {
                again.push(job);
            }
        }
        (first, again)
    }

    /// One read for all names, one for all counters, a key for each.
    fn facts(&mut self, jobs: &[Job]) -> Result<Vec<Facts>, StoreError> {
        let names: Vec<(TenantId, &str)> = jobs.iter().filter_map(Job::name_key).collect();
        let mut found = self.shared.store.gather(&names)?.into_iter();
        let uses = self.uses_left(jobs)?;
        let asked: Vec<_> = jobs.iter().filter_map(Job::question_key).collect();
        let mut questions = self.shared.store.standing_questions(&asked)?.into_iter();
        jobs.iter()
            .map(|job| {
                let device: Option<DeviceRecord> = job.name_key().and_then(|_| found.next().flatten());
                let limited = job.limited_secret().and_then(|secret| uses.get(&secret).copied().flatten());
                let question = job.question_key().and_then(|_| questions.next().flatten());
                Ok(Facts { device, fresh_key: self.fresh_key()?, uses_left: limited, question })
            })
            .collect()
    }

    fn uses_left(&self, jobs: &[Job]) -> Result<HashMap<SecretId, Option<u64>>, StoreError> {
        let limited: HashSet<SecretId> = jobs.iter().filter_map(Job::limited_secret).collect();
        if limited.is_empty() {
            return Ok(HashMap::new());
        }
        let limited: Vec<SecretId> = limited.into_iter().collect();
        Ok(limited.iter().copied().zip(self.shared.store.uses_left(&limited)?).collect())
    }

    fn fresh_key(&mut self) -> Result<DeviceKey, StoreError> {
        if let Some(key) = self.keys.next() {
            return Ok(DeviceKey(key));
        }
        self.keys = self.shared.store.reserve_device_keys(KEY_BLOCK)?;
        self.keys.next().map(DeviceKey).ok_or_else(|| StoreError::Unavailable("no device key is left".into()))
    }

    /// Answers what needs no record; returns what does, and the facts that stand because nothing is written.
    fn decide_all(&mut self, jobs: Vec<Job>, facts: Vec<Facts>, now: Timestamp) -> (Vec<Ready>, Standing) {
        let mut ready = Vec::with_capacity(jobs.len());
        let mut standing = Standing::new();
        for (job, facts) in jobs.into_iter().zip(facts) {
            let key = job.standing_key();
            match (self.decide_one(job, &facts, now), key) {
                (Some(decided), _) => ready.push(decided),
                (None, Some(key)) => drop(standing.insert(key, facts)),
                (None, None) => {}
            }
        }
        (ready, standing)
    }

    /// Many requests for a name that is taken must not fill batch after batch: they are decided at once.
    /// Returns who has to wait for a record.
    fn decide_others(
        &mut self,
        others: Vec<Job>,
        mut standing: Standing,
        ready: &mut Vec<Ready>,
        now: Timestamp,
    ) -> Vec<Job> {
        let mut again = Vec::new();
        for job in others {
            let Some((key, facts)) = job.standing_key().and_then(|key| standing.remove_entry(&key)) else {
                again.push(job);
                continue;
            };
            match self.decide_one(job, &facts, now) {
                // What stood for this name is taken out: the others come again after the record.
                Some(decided) => ready.push(decided),
                None => drop(standing.insert(key, facts)),
            }
        }
        again
    }

    /// Answers a request that needs no record; returns one that does.
    fn decide_one(&mut self, job: Job, facts: &Facts, now: Timestamp) -> Option<Ready> {
        match decide(&job.attested, facts, now, &mut *self.entropy) {
            Decision::Provision(provision) => return Some(Ready { job, provision }),
            Decision::Unchanged(promise) => self.unchanged(job, promise),
            Decision::Joins(promise) => self.shared.waiting.for_steps(&self.shared, job, promise),
            Decision::Needs(question) => self.asks(job, question, facts.question.as_ref(), now),
            Decision::Refused(refusal) => self.refuse(job, refusal),
        }
        None
    }

    /// One transaction, one sync for all; then everyone is answered.
    fn record(&mut self, ready: Vec<Ready>, now: Timestamp, again: &mut Vec<Job>) {
        if ready.is_empty() {
            return;
        }
        let entries: Vec<Entry<'_>> = ready
            .iter()
            .map(|ready| Entry { provision: &ready.provision, origin: ready.job.attested.origin() })
            .collect();
        match self.shared.store.record(&entries, now) {
            Ok(results) => {
                self.close_replaced(&ready, &results);
                let planned = results.iter().flatten().any(|recorded| recorded.operation.is_some());
                for (ready, result) in ready.into_iter().zip(results) {
                    self.recorded(ready, result.as_ref().err(), again);
                }
                if planned {
                    self.shared.poke();
                }
            }
            Err(error) => self.refuse_all(ready.into_iter().map(|ready| ready.job).collect(), &error),
        }
    }

    /// Who was given other credentials must not go on under the old ones.
    fn close_replaced(&self, ready: &[Ready], results: &[Result<store::Recorded, Lost>]) {
        let replaced: Vec<DeviceKey> = ready
            .iter()
            .zip(results)
            .filter(|(ready, result)| result.is_ok() && ready.provision.replaces.is_some())
            .map(|(ready, _)| ready.provision.device.key)
            .collect();
        if !replaced.is_empty() {
            self.sessions.close(&replaced, Farewell::CredentialChanged);
        }
    }

    fn recorded(&self, ready: Ready, lost: Option<&Lost>, again: &mut Vec<Job>) {
        let Ready { job, provision } = ready;
        match lost {
            None if provision.device.owed.answer => {
                self.shared.waiting.for_steps(&self.shared, job, provision.promise());
            }
            None => job.grant(&self.shared, provision.promise()),
            Some(Lost::NameTaken | Lost::DeviceChanged | Lost::AnswerGone) => again.push(job),
            Some(Lost::ProfileChanged) => again.extend(self.renewed(job)),
            Some(Lost::CredentialsTaken { elsewhere: false }) => self.refuse(job, Refusal::CredentialsInUse),
            Some(Lost::CredentialsTaken { elsewhere: true }) => {
                self.refuse(job, Refusal::CredentialsInUseElsewhere);
            }
            Some(Lost::UsesExhausted) => self.refuse(job, Refusal::UsesExhausted),
            Some(Lost::Unstorable) => self.refuse(job, Refusal::RequestMalformed),
        }
    }

    /// The profile is not what it was: the same evidence is judged by the new one.
    fn renewed(&self, job: Job) -> Option<Job> {
        self.shared.profiles.clear();
        let attempt = job.attempt(self.shared.clock.now(), None, Refusal::ProfileUnknown.code());
        let Job { attested, reply, asked_at } = job;
        let renewed = self
            .shared
            .profiles
            .by_key(attested.provision_key(), &self.shared.store)
            .map_err(|error| error.refusal())
            .and_then(|profile| attested.renew(&Trust { profile }));
        match renewed {
            Ok(attested) => Some(Job { attested, reply, asked_at }),
            Err(refusal) => {
                self.shared.attempts.note(Attempt { outcome: refusal.code(), ..attempt });
                // Nobody listens any more where the send fails; the refusal then concerns nobody.
                let _ = reply.send(Outcome::Refused(refusal));
                None
            }
        }
    }

    fn unchanged(&self, job: Job, promise: Promise) {
        self.note(&job, Some(promise.device), "unchanged");
        job.grant(&self.shared, promise);
    }

    fn refuse(&self, job: Job, refusal: Refusal) {
        job.refuse(&self.shared, refusal);
    }

    fn refuse_all(&self, jobs: Vec<Job>, error: &StoreError) {
        tracing::warn!(%error, requests = jobs.len(), "a batch of requests was not recorded");
        for job in jobs {
            self.refuse(job, error.refusal());
        }
    }

    fn note(&self, job: &Job, device: Option<DeviceKey>, outcome: &'static str) {
        self.shared.attempts.note(job.attempt(self.shared.clock.now(), device, outcome));
    }
}

impl Job {
    /// What the journal says of a proven request that changed no device.
    pub(crate) fn attempt(&self, at: Timestamp, device: Option<DeviceKey>, outcome: &'static str) -> Attempt {
        let attested = &self.attested;
        Attempt {
            at,
            tenant: Some(attested.profile().tenant),
            device,
            origin: attested.origin(),
            profile: Some(attested.profile().name.clone()),
            unknown_key: None,
            registration_id: attested.name().map(|name| name.as_str().to_owned()),
            outcome,
            proven: true,
        }
    }

    /// Whose line it stands in.
    pub(crate) fn tenant(&self) -> TenantId {
        self.attested.profile().tenant
    }

    /// The wire whose connection it holds.
    pub(crate) fn wire(&self) -> Wire {
        self.attested.origin().wire
    }

    fn name_key(&self) -> Option<(TenantId, &str)> {
        self.attested.name().map(|name| (self.attested.profile().tenant, name.as_str()))
    }

    /// What a question about this request goes by, where its profile asks any.
    fn question_key(&self) -> Option<(TenantId, ProfileId, &str)> {
        let profile = self.attested.profile();
        Question::of(profile)?;
        self.attested.name().map(|name| (profile.tenant, profile.id, name.as_str()))
    }

    /// The question about this request, with a summary of it and without its evidence.
    fn new_question(&self, question: &Question) -> Option<NewQuestion> {
        let (tenant, profile, name) = self.question_key()?;
        Some(NewQuestion {
            tenant,
            profile,
            name: name.to_owned(),
            origin: self.attested.origin(),
            credential: self.attested.wish().kind(),
            gateway: self.attested.gateway(),
            question: question.clone(),
        })
    }

    fn standing_key(&self) -> Option<(TenantId, String, Option<SecretId>)> {
        let secret = self.attested.secret().map(|secret| secret.id);
        self.name_key().map(|(tenant, name)| (tenant, name.to_owned(), secret))
    }

    fn limited_secret(&self) -> Option<SecretId> {
        self.attested.secret().filter(|secret| secret.uses_left.is_some()).map(|secret| secret.id)
    }
}

#[cfg(test)]
mod tests;
