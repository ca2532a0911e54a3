//! The face for devices: one request in, one outcome out, and whatever the outcome promises is synced.

use std::sync::Arc;
use std::time::Duration;

use domain::attestation::{Trust, attest};
use domain::{
    Attested, CredentialKeys, Evidence, Kind, Origin, Outcome, Profile, Refusal, Request, TenantId, Verifier,
};
use tokio::sync::oneshot;

use crate::attempts::Attempt;
use crate::batch::Job;
use crate::fair_queue::FairQueue;
use crate::queue;
use crate::shared::{Shared, elsewhere};
use crate::throttle::BucketKey;

/// Provisions devices.
#[derive(Clone)]
pub struct Provisioner {
    shared: Arc<Shared>,
    queue: Arc<FairQueue<Job>>,
    patience: Duration,
}

impl Provisioner {
    pub(crate) fn new(shared: Arc<Shared>, queue: Arc<FairQueue<Job>>, patience: Duration) -> Provisioner {
        Provisioner { shared, queue, patience }
    }

    /// Carries one request out. A grant is given only after its record is synced; every refusal is journalled.
    pub async fn provision(&self, request: Request) -> Outcome {
        let wire = request.origin.wire;
        let outcome = match self.attested(request).await {
            Ok(attested) => self.recorded(attested).await,
            Err(refusal) => Outcome::Refused(refusal),
        };
        self.shared.metrics.provisioning(wire, &outcome);
        outcome
    }

    /// The keyed functions: what a device offers becomes a verifier by them before it is compared.
    ///
    /// # Errors
    /// `secrets-locked` while the server's own keys are not at hand.
    pub fn keys(&self) -> Result<&dyn CredentialKeys, Refusal> {
        self.shared.store.keys().map(|keys| keys as &dyn CredentialKeys).map_err(|error| error.refusal())
    }

    /// The tenant whose profile has this provision key.
    ///
    /// # Errors
    /// What the store says.
    pub async fn tenant_of(&self, key: &str) -> Result<Option<TenantId>, Refusal> {
        Ok(self.profile(key).await?.map(|profile| profile.tenant))
    }

    /// Notes a request that could not be read as a whole, under the name and the profile that it claims, and says what
    /// to answer: `refusal`, or `too-many-attempts` where its source has used up its attempts. It proved nothing, so it
    /// counts against its source.
    pub async fn malformed(
        &self,
        origin: Origin,
        name: Option<String>,
        key: Option<&str>,
        refusal: Refusal,
    ) -> Refusal {
        let bucket = BucketKey::new(origin.source, None);
        let now = self.shared.clock.now();
        let allowed = self.shared.throttle.allows(bucket, now);
        self.shared.throttle.unproven(bucket, now);
        let told = if allowed { refusal } else { Refusal::TooManyAttempts };
        let profile = match key.filter(|_| allowed) {
            // Without it the attempt is only harder to find.
            Some(key) => self.profile(key).await.ok().flatten(),
            None => None,
        };
        let attempt = self.attempt(origin, profile.as_deref(), None, name, told);
        self.shared.attempts.note(Attempt { proven: false, ..attempt });
        self.shared.metrics.provisioning(origin.wire, &Outcome::Refused(told));
        told
    }

    async fn attested(&self, request: Request) -> Result<Attested, Refusal> {
        let Evidence::GroupSecret { key, .. } = &request.evidence;
        let key = key.clone();
        let (origin, name) = (request.origin, request.claim.registration_id.clone());
        let profile = self.profile(&key).await?;
        let bucket = BucketKey::new(origin.source, profile.as_ref().map(|profile| profile.id));
        let trust = Trust { profile };
        let judged = self.throttled(bucket, || attest(request, &trust));
        judged.inspect_err(|refusal| {
            let attempt = self.attempt(origin, trust.profile.as_deref(), Some(&key), name, *refusal);
            self.shared.attempts.note(attempt);
        })
    }

    /// The profile that a provision key names: from memory, or read.
    async fn profile(&self, key: &str) -> Result<Option<Arc<Profile>>, Refusal> {
        if let Some(profile) = self.shared.profiles.kept(key) {
            return Ok(Some(profile));
        }
        let read = |shared: &Shared, key: &str| {
            shared.profiles.by_key(key, &shared.store).map_err(|error| error.refusal())
        };
        if !self.shared.store.is_remote() {
            return read(&self.shared, key);
        }
        let (shared, key) = (Arc::clone(&self.shared), key.to_owned());
        elsewhere(move || read(&shared, &key)).await
    }

    /// Judges unless the bucket is empty; what proves nothing is taken from it.
    fn throttled<T>(
        &self,
        bucket: BucketKey,
        judge: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let now = self.shared.clock.now();
        if !self.shared.throttle.allows(bucket, now) {
            return Err(Refusal::TooManyAttempts);
        }
        judge().inspect_err(|refusal| {
            if refusal.kind() == Kind::Unproven {
                self.shared.throttle.unproven(bucket, now);
            }
        })
    }

    async fn recorded(&self, attested: Attested) -> Outcome {
        let (reply, answer) = oneshot::channel();
        let now = self.shared.clock.now();
        self.shared.metrics.enqueued(1);
        let job = Job { attested, reply, asked_at: now };
        // Whoever has to make room, this one or another, hears it where it waits.
        if let Some((refusal, job)) = self.queue.send(job.tenant(), job) {
            self.shared.metrics.dequeued(1);
            job.refuse(&self.shared, refusal);
        }
        queue::answer(answer, self.patience).await.unwrap_or_else(Outcome::Refused)
    }

    fn attempt(
        &self,
        origin: Origin,
        profile: Option<&Profile>,
        key: Option<&str>,
        registration_id: Option<String>,
        refusal: Refusal,
    ) -> Attempt {
        let unknown_key = key.filter(|key| profile.is_none() && !key.is_empty());
        let unknown_key = unknown_key.and_then(|key| Some(short_digest(&self.keys().ok()?.verifier(key))));
        Attempt {
            at: self.shared.clock.now(),
            tenant: profile.map(|profile| profile.tenant),
            device: None,
            origin,
            profile: profile.map(|profile| profile.name.clone()),
            unknown_key,
            registration_id: registration_id.map(|name| noted(&name)),
            outcome: refusal.code(),
            proven: !matches!(refusal.kind(), Kind::Unproven | Kind::TooMany) && profile.is_some(),
        }
    }
}

/// A name as the journal keeps it: without the blanks around it, which count for nothing, and no longer than names are.
fn noted(name: &str) -> String {
    let bare = name.trim();
    let kept = if bare.is_empty() { name } else { bare };
    kept.chars().take(domain::name::MAX_CHARS).collect()
}

/// Enough of a keyed digest to see that two attempts offered the same unknown key.
fn short_digest(verifier: &Verifier) -> String {
    verifier.0[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
