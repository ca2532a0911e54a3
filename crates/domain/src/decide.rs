//! The decision: an attested request and the facts of the moment become what is to be recorded.

use crate::admission::{self, Inquiry};
use crate::name::Name;
use crate::plan::{self, Gate, PlannedStep};
use crate::profile::PreProvisionedCredentials;
use crate::{
    Attested, Clear, Credential, DeviceKey, DeviceState, Entropy, Generation, Held, ProfileId, Promise,
    Question, QuestionId, Refusal, Reprovision, SecretId, StandingQuestion, Strategy, TenantId, Timestamp,
    Verdict, Version, Wish,
};

/// A device as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its number.
    pub key: DeviceKey,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// The profile it belongs to.
    pub profile: ProfileId,
    /// Where it stands.
    pub state: DeviceState,
    /// Since when it stands there.
    pub state_since: Timestamp,
    /// What it holds.
    pub credential: Credential,
    /// Whether it speaks for other devices.
    pub gateway: bool,
    /// What its first connection will settle.
    pub owed: Owed,
    /// Rises with every change.
    pub version: Version,
}

/// What a device's first connection with its present credentials settles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Its answer took steps, so it may have stopped waiting: until it shows its credentials it is told them again.
    pub answer: bool,
    /// Steps wait for it.
    pub steps: bool,
    /// It was taken back while it was leaving: it may come in again, also where only new devices may.
    pub return_home: bool,
}

impl Owed {
    /// Whether a first connection settles anything.
    pub fn is_any(self) -> bool {
        self.answer || self.steps
    }
}

impl DeviceRecord {
    /// The device as it is once an operator lets it come in anew: expected, with the credentials that it has, and
    /// welcome also where only new devices are. `None` for one that has not come in.
    pub fn reset(&self, now: Timestamp) -> Option<DeviceRecord> {
        let state = self.state.reset()?;
        let owed = Owed { answer: false, return_home: true, ..self.owed };
        let version = Version(self.version.0 + 1);
        Some(DeviceRecord { state, state_since: now, owed, version, ..self.clone() })
    }
}

/// What a decision needs to know, read for it outside any transaction.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The device of the claimed name in the profile's tenant.
    pub device: Option<DeviceRecord>,
    /// A number for a new device, reserved already.
    pub fresh_key: DeviceKey,
    /// The uses left of the secret that was offered; `None` where it is not limited.
    pub uses_left: Option<u64>,
    /// The question that stands for this name under the profile.
    pub question: Option<StandingQuestion>,
}

/// What is to happen.
#[derive(Debug)]
pub enum Decision {
    /// A new or changed record.
    Provision(Box<Provision>),
    /// The same asks again: it is told the same again, nothing is written.
    Unchanged(Promise),
    /// The same asks again while its steps are being done: it waits for their end, nothing is written.
    Joins(Promise),
    /// Someone must say something first; where the question stands already, it is waited for.
    Needs(Question),
    /// No.
    Refused(Refusal),
}

/// A record to be made, and under which condition.
#[derive(Debug)]
pub struct Provision {
    /// The device as it will be.
    pub device: DeviceRecord,
    /// The version that was read, which must still stand; `None` for a new device, whose name must be free.
    pub replaces: Option<Version>,
    /// The version of the profile that was read, which must still stand.
    pub profile_version: Version,
    /// The limited secret that loses a use.
    pub spends: Option<SecretId>,
    /// What happens to the device.
    pub deed: Deed,
    /// The generation of its new credential.
    pub generation: Generation,
    /// The steps that follow from it; empty where the record is all there is to do.
    pub plan: Vec<PlannedStep>,
    /// The answered question that let it in, which is used up.
    pub answered: Option<QuestionId>,
    /// What it begins with: JSON objects, the later over the earlier.
    pub initial_attributes: Vec<String>,
    /// What the device chose, in clear: sealed before the record names it. `None` where the server derives a token.
    pub chosen: Option<Held>,
}

impl Provision {
    /// The grant that this record becomes.
    pub fn promise(&self) -> Promise {
        promise(&self.device, self.generation, self.chosen.clone())
    }
}

/// What a recorded decision did to its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Made it and gave it credentials.
    Created,
    /// Gave an expected device its credentials.
    Claimed,
    /// Gave a provisioned device new credentials.
    Rotated,
}

impl Deed {
    /// The word for it in journals.
    pub fn word(self) -> &'static str {
        match self {
            Deed::Created => "created",
            Deed::Claimed => "claimed",
            Deed::Rotated => "rotated",
        }
    }
}

/// Decides about one attested request. Touches nothing; may be asked again with newer facts.
pub fn decide(attested: &Attested, facts: &Facts, now: Timestamp, entropy: &mut dyn Entropy) -> Decision {
    provision(attested, facts, now, entropy).unwrap_or_else(Decision::Refused)
}

fn provision(
    attested: &Attested,
    facts: &Facts,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<Decision, Refusal> {
    let made = made_name(attested, entropy);
    let name = attested.name().or(made.as_ref());
    let inquiry = inquiry(attested, name, facts, now);
    admission::admit(&inquiry)?;
    let name = name.ok_or(Refusal::NameMissing)?;
    if let Some(device) = &facts.device
        && let Some(decision) = told_again(attested, device, &inquiry)
    {
        return decision;
    }
    if let Some(question) = Question::of(attested.profile()).filter(|_| allowed(&inquiry).is_none()) {
        return Ok(Decision::Needs(question));
    }
    let write = Write { attested, facts, inquiry: &inquiry };
    match &facts.device {
        Some(device) => write.change(device, entropy),
        None => write.create(name, entropy),
    }
}

/// A name of the server's making, where the device brought none and may have one. Who is asked about needs a
/// name that it asks again under.
fn made_name(attested: &Attested, entropy: &mut dyn Entropy) -> Option<Name> {
    let profile = attested.profile();
    let may = profile.strategy == Strategy::CreateNew && Question::of(profile).is_none();
    (attested.name().is_none() && may).then(|| Name::random(entropy))
}

fn inquiry<'a>(
    attested: &'a Attested,
    name: Option<&'a Name>,
    facts: &'a Facts,
    now: Timestamp,
) -> Inquiry<'a> {
    Inquiry {
        name,
        source: Some(attested.origin().source),
        profile: attested.profile(),
        secret: attested.secret(),
        uses_left: facts.uses_left,
        device: facts.device.as_ref(),
        wish: Some(attested.wish()),
        question: facts.question.as_ref(),
        now,
    }
}

/// The device is told what was decided before, or waits for it. Admission had nothing against it.
fn told_again(
    attested: &Attested,
    device: &DeviceRecord,
    inquiry: &Inquiry<'_>,
) -> Option<Result<Decision, Refusal>> {
    let same = || redelivered(attested, device);
    match device.state {
        DeviceState::Provisioning => Some(same().map(Decision::Joins)),
        DeviceState::Provisioned if inquiry.is_unanswered(device) => Some(same().map(Decision::Unchanged)),
        DeviceState::Provisioned if attested.profile().reprovision == Reprovision::ReturnExisting => {
            Some(same().map(Decision::Unchanged))
        }
        _ => None,
    }
}

/// The same again. Admission has compared the wish with what the device holds; a wish that was ignored then
/// is ignored now.
fn redelivered(attested: &Attested, device: &DeviceRecord) -> Result<Promise, Refusal> {
    let generation = device.credential.generation().ok_or(Refusal::Internal)?;
    Ok(promise(device, generation, attested.wish().chosen()))
}

/// The answer that lets it in: its question and the attributes it brought.
fn allowed<'a>(inquiry: &Inquiry<'a>) -> Option<(QuestionId, Option<&'a String>)> {
    let question = inquiry.question.filter(|question| inquiry.now < question.expires_at)?;
    match &question.verdict {
        Verdict::Allowed { attributes } => Some((question.id, attributes.as_ref())),
        _ => None,
    }
}

/// Whatever a record is made from.
struct Write<'a> {
    attested: &'a Attested,
    facts: &'a Facts,
    inquiry: &'a Inquiry<'a>,
}

impl Write<'_> {
    fn create(&self, name: &Name, entropy: &mut dyn Entropy) -> Result<Decision, Refusal> {
        let generation = Generation(entropy.next_u64());
        let profile = self.attested.profile();
        let device = DeviceRecord {
            key: self.facts.fresh_key,
            tenant: profile.tenant,
            name: name.as_str().to_owned(),
            profile: profile.id,
            state: DeviceState::Expected.provision(self.waits())?,
            state_since: self.inquiry.now,
            credential: self.attested.wish().credential(generation)?,
            gateway: self.attested.gateway(),
            owed: self.owed(),
            version: Version(1),
        };
        Ok(self.record(device, generation, None, Deed::Created, self.attested.wish()))
    }

    /// The device is in the registry already.
    fn change(&self, device: &DeviceRecord, entropy: &mut dyn Entropy) -> Result<Decision, Refusal> {
        let deed = if device.state == DeviceState::Expected { Deed::Claimed } else { Deed::Rotated };
        let wish = effective_wish(self.attested, deed);
        let given = given_beforehand(device, deed, wish);
        let generation = given.unwrap_or_else(|| Generation(entropy.next_u64()));
        let changed = DeviceRecord {
            state: device.state.provision(self.waits())?,
            state_since: self.inquiry.now,
            credential: if given.is_some() { device.credential } else { wish.credential(generation)? },
            owed: self.owed(),
            version: Version(device.version.0 + 1),
            ..device.clone()
        };
        Ok(self.record(changed, generation, Some(device.version), deed, wish))
    }

    /// Whether the answer has to wait for steps.
    fn waits(&self) -> bool {
        self.has_step(|gate| gate == Gate::BeforeReply)
    }

    /// An answer is owed where the device may give up waiting for it.
    fn owed(&self) -> Owed {
        let answer = self.has_step(|gate| matches!(gate, Gate::BeforeReply | Gate::WithReply));
        let steps = self.has_step(|gate| gate == Gate::OnFirstConnection);
        Owed { answer, steps, return_home: false }
    }

    fn has_step(&self, wanted: impl Fn(Gate) -> bool) -> bool {
        self.attested.profile().joining.steps.iter().any(|rule| wanted(rule.gate))
    }

    fn record(
        &self,
        device: DeviceRecord,
        generation: Generation,
        replaces: Option<Version>,
        deed: Deed,
        wish: &Wish,
    ) -> Decision {
        let profile = self.attested.profile();
        let spends = |secret: &&crate::GroupSecret| secret.uses_left.is_some() && deed != Deed::Rotated;
        let answer = allowed(self.inquiry);
        let at_birth = profile.joining.initial_attributes.iter().chain(answer.and_then(|(_, extra)| extra));
        Decision::Provision(Box::new(Provision {
            device,
            replaces,
            profile_version: profile.version,
            spends: self.attested.secret().filter(spends).map(|secret| secret.id),
            deed,
            generation,
            plan: plan::joining(&profile.joining.steps),
            answered: answer.map(|(question, _)| question),
            initial_attributes: if deed == Deed::Rotated { Vec::new() } else { at_birth.cloned().collect() },
            chosen: wish.chosen(),
        }))
    }
}

/// What was chosen in this request counts only where it is what the device holds.
fn promise(device: &DeviceRecord, generation: Generation, chosen: Option<Held>) -> Promise {
    let clear = match (&device.credential, chosen) {
        (Credential::Derived(_), _) => Clear::Derived,
        (_, Some(held)) => Clear::Chosen(held),
        (_, None) => Clear::Sealed,
    };
    Promise { device: device.key, tenant: device.tenant, generation, name: device.name.clone(), clear }
}

/// The generation of the credentials that an operator gave an expected device: it is told those, unless it brings
/// its own.
fn given_beforehand(device: &DeviceRecord, deed: Deed, wish: &Wish) -> Option<Generation> {
    let keeps = deed == Deed::Claimed && matches!(wish, Wish::ServerMade);
    device.credential.generation().filter(|_| keeps)
}

/// A profile may say that expected devices do not bring credentials of their own.
fn effective_wish(attested: &Attested, deed: Deed) -> &Wish {
    let keep = attested.profile().pre_provisioned_credentials == PreProvisionedCredentials::Keep;
    if keep && deed == Deed::Claimed { &Wish::ServerMade } else { attested.wish() }
}

#[cfg(test)]
mod tests;
