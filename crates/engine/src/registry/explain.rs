//! What would happen to a registration id, and why: every check with its answer.
//!
//! The checks are those that devices meet, in the order in which they meet them: first what attestation
//! asks, then admission's own table. What cannot be judged without the device, its last attempt tells: the profile
//! whose key it brought, the address it came from, whether its secret was right.

use std::net::IpAddr;

use domain::admission::{self, Answer, Inquiry};
use domain::name::Name;
use domain::{DeviceRecord, GroupSecret, Profile, Refusal, StandingQuestion, TenantId, Timestamp};

use super::journal::{Attempt, AttemptOutcome};
use super::{Operator, Registry, RegistryError, Tenant, What};

/// A request that is only supposed; it cannot be recorded.
#[derive(Clone, Copy, Debug)]
pub struct Supposed<'a> {
    /// The registration id, as a device would send it.
    pub registration_id: &'a str,
    /// The profile it would come under; `None` means that of a last attempt that was refused, else the device's own,
    /// else each in turn.
    pub profile: Option<&'a str>,
    /// Where it would come from; `None` means where its last attempt came from.
    pub source: Option<IpAddr>,
}

/// What a supposed request would meet under one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The profile, where the tenant has any.
    pub profile: Option<String>,
    /// Every check, in the order in which they are made.
    pub checks: Vec<ExplainedCheck>,
    /// What the device tried last, where it is among the newest attempts of all.
    pub last_attempt: Option<Attempt>,
}

/// One check and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExplainedCheck {
    /// Its name.
    pub check: &'static str,
    /// What it says.
    pub answer: Answer,
}

/// What is said of a check that does not say no.
struct Wording {
    check: &'static str,
    pass: &'static str,
    unknown: &'static str,
}

const WORDINGS: &[Wording] = &[
    Wording { check: "profile", pass: "The profile exists.", unknown: "No profile was named." },
    Wording {
        check: "proof",
        pass: "Key and secret are right.",
        unknown: "Whether the device has the right key and secret shows only when it asks.",
    },
    Wording {
        check: "name",
        pass: "The registration id keeps the rules.",
        unknown: "No registration id was given.",
    },
    Wording {
        check: "freeze",
        pass: "Nobody has stopped provisioning here.",
        unknown: "Provisioning by one of the group secrets is stopped: see muster freeze list.",
    },
    Wording {
        check: "strategy",
        pass: "The profile lets devices in.",
        unknown: "The strategy is not known.",
    },
    Wording {
        check: "secret-expiry",
        pass: "The newest group secret has not expired.",
        unknown: "There is no secret.",
    },
    Wording {
        check: "secret-networks",
        pass: "The newest group secret may be used from there.",
        unknown: "It depends on the address the device comes from: give one with --source.",
    },
    Wording {
        check: "secret-name-pattern",
        pass: "The newest group secret is good for this name.",
        unknown: "It depends on the registration id.",
    },
    Wording {
        check: "device",
        pass: "What the registry knows of the device does not stand against it.",
        unknown: "It depends on the registration id.",
    },
    Wording {
        check: "credentials",
        pass: "The credentials can be had.",
        unknown: "It depends on whether the device brings credentials of its own.",
    },
    Wording {
        check: "secret-uses",
        pass: "The newest group secret has uses left.",
        unknown: "There is no secret.",
    },
    Wording {
        check: "question",
        pass: "Nobody has to be asked, or the answer is there.",
        unknown: "A hook or a person has to answer first: see muster approval list.",
    },
];

// === impl Explanation ===

impl Explanation {
    /// The refusal that the device would meet first, and the check that it comes from.
    pub fn refused_by(&self) -> Option<(&'static str, Refusal)> {
        self.checks.iter().find_map(|check| match check.answer {
            Answer::No(refusal) => Some((check.check, refusal)),
            _ => None,
        })
    }

    /// Whether a check could not be judged.
    pub fn is_open(&self) -> bool {
        self.checks.iter().any(|check| check.answer == Answer::Unknown)
    }
}

impl ExplainedCheck {
    /// What it found, in a sentence.
    pub fn sentence(&self) -> &'static str {
        let wording = WORDINGS.iter().find(|wording| wording.check == self.check);
        match (self.answer, wording) {
            (Answer::No(refusal), _) => refusal.sentence(),
            (Answer::Pass, Some(wording)) => wording.pass,
            (Answer::Unknown, Some(wording)) => wording.unknown,
            (Answer::Pass, None) => "Nothing stands against it.",
            (Answer::Unknown, None) => "It could not be judged.",
        }
    }

    /// What to try, where there is something to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self.answer {
            Answer::No(refusal) => Some(refusal.hint()),
            Answer::Unknown if self.check == "proof" => {
                Some("See what came of its attempts: muster attempts.")
            }
            _ => None,
        }
    }
}

// === impl Registry ===

impl Registry {
    /// Explains what a supposed request would meet: under the named profile, else under that of the last attempt
    /// if it was refused, else under the device's own, else under each profile of the tenant.
    ///
    /// # Errors
    /// `profile-not-found` for a profile that was named and is not there; what the store says.
    pub fn explain(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        supposed: &Supposed<'_>,
    ) -> Result<Vec<Explanation>, RegistryError> {
        let row = self.store.read(|view| self.find(view, tenant, supposed.registration_id.trim()))?;
        let device = row.map(|row| row.record);
        let asked = device.as_ref().map_or(supposed.registration_id, |device| &device.name);
        let name = Name::from_device(Some(asked));
        let called = match &name {
            Ok(Some(name)) => name.as_str(),
            _ => asked,
        };
        let last = self.last_attempt(operator, tenant, device.as_ref(), called)?;
        let profiles = self.candidates(tenant.id, supposed.profile, last.as_ref(), device.as_ref())?;
        if let (Some(named), true) = (supposed.profile, profiles.is_empty()) {
            return Err(RegistryError::not_found(What::Profile, named));
        }
        let questions = self.questions(&name, &profiles)?;
        let source = supposed.source.or_else(|| last.as_ref()?.source.as_ref()?.parse().ok());
        let now = self.now();
        let judged = profiles.iter().zip(&questions).map(|(profile, question)| {
            let known =
                Known { name: &name, device: device.as_ref(), question: question.as_ref(), source, now };
            (Some(profile.name.clone()), known.judge(profile, met(last.as_ref(), Some(&profile.name))))
        });
        // A tenant without profiles lets nobody in, nor does one whose key the device does not have.
        let why = met(last.as_ref(), None).filter(|refusal| names_no_profile(*refusal));
        let why = why.unwrap_or(Refusal::ProfileUnknown);
        let nowhere = (None, before_admission(Answer::No(why), &name));
        let judged = judged.chain(profiles.is_empty().then_some(nowhere));
        Ok(judged.map(|(profile, checks)| Explanation::of(profile, checks, last.as_ref())).collect())
    }

    fn candidates(
        &self,
        tenant: TenantId,
        named: Option<&str>,
        last: Option<&Attempt>,
        device: Option<&DeviceRecord>,
    ) -> Result<Vec<Profile>, RegistryError> {
        let refused = last.filter(|it| matches!(it.outcome, AttemptOutcome::Refused(_)));
        let tried = refused.and_then(|it| it.profile.as_deref());
        let keyless = refused.and_then(Attempt::refusal).is_some_and(names_no_profile);
        if named.is_none() && device.is_none() && tried.is_none() && keyless {
            return Ok(Vec::new());
        }
        let found = self.store.read(|view| {
            let of = |name: &str| view.profile_by_name(tenant, name);
            let one = match (named, tried.map(of).transpose()?.flatten(), device) {
                (Some(named), ..) => of(named)?,
                (None, Some(tried), _) => Some(tried),
                (None, None, Some(device)) => view.profile_by_id(device.profile)?,
                (None, None, None) => return view.profiles(tenant),
            };
            Ok(one.into_iter().collect())
        })?;
        Ok(found.into_iter().map(|row| row.profile).collect())
    }

    /// The question that stands for the name under each of the profiles.
    fn questions(
        &self,
        name: &Result<Option<Name>, Refusal>,
        profiles: &[Profile],
    ) -> Result<Vec<Option<StandingQuestion>>, RegistryError> {
        let Ok(Some(name)) = name else { return Ok(vec![None; profiles.len()]) };
        let keys: Vec<_> = profiles.iter().map(|it| (it.tenant, it.id, name.as_str())).collect();
        Ok(self.store.standing_questions(&keys)?)
    }
}

impl Explanation {
    /// What the checks leave open, the last attempt may have met.
    fn of(profile: Option<String>, mut checks: Vec<ExplainedCheck>, last: Option<&Attempt>) -> Explanation {
        let met = met(last, profile.as_deref())
            .and_then(|refusal| Some((admission::shown_by_asking(refusal)?, refusal)));
        if let Some((check, refusal)) = met {
            let open = checks.iter_mut().find(|it| it.check == check && it.answer == Answer::Unknown);
            if let Some(open) = open {
                open.answer = Answer::No(refusal);
            }
        }
        Explanation { profile, checks, last_attempt: last.cloned() }
    }
}

/// What the device was refused for last. What it met under another profile says nothing of this one.
fn met(last: Option<&Attempt>, profile: Option<&str>) -> Option<Refusal> {
    let here = last.filter(|it| it.profile.is_none() || it.profile.as_deref() == profile);
    here.and_then(Attempt::refusal)
}

/// Whether a request that was refused so has named no profile that there is.
fn names_no_profile(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::EvidenceMissing | Refusal::ProfileUnknown)
}

/// What is known of a supposed request.
#[derive(Clone, Copy)]
struct Known<'a> {
    name: &'a Result<Option<Name>, Refusal>,
    device: Option<&'a DeviceRecord>,
    question: Option<&'a StandingQuestion>,
    source: Option<IpAddr>,
    now: Timestamp,
}

impl Known<'_> {
    /// Every check. A device is supposed to have the newest group secret, unless it met what only an older one meets.
    fn judge(self, profile: &Profile, met: Option<Refusal>) -> Vec<ExplainedCheck> {
        let mut checks = before_admission(Answer::Pass, self.name);
        let Ok(name) = self.name else { return checks };
        let mut answers = self.admitted(profile, name.as_ref(), profile.secrets.first());
        for secret in profile.secrets.iter().skip(1) {
            let older = self.admitted(profile, name.as_ref(), Some(secret));
            for ((_, answer), (_, older)) in answers.iter_mut().zip(older) {
                match older {
                    Answer::No(refusal) if met == Some(refusal) => *answer = older,
                    Answer::No(Refusal::ProvisioningFrozen) if *answer == Answer::Pass => {
                        *answer = Answer::Unknown;
                    }
                    _ => {}
                }
            }
        }
        checks.extend(answers.into_iter().map(|(check, answer)| ExplainedCheck { check, answer }));
        checks
    }

    /// What admission says to a device with this group secret.
    fn admitted(
        self,
        profile: &Profile,
        name: Option<&Name>,
        secret: Option<&GroupSecret>,
    ) -> Vec<(&'static str, Answer)> {
        admission::explain(&Inquiry {
            name,
            source: self.source,
            profile,
            secret,
            uses_left: secret.and_then(|secret| secret.uses_left),
            device: self.device,
            wish: None,
            question: self.question,
            now: self.now,
        })
    }
}

fn before_admission(profile: Answer, name: &Result<Option<Name>, Refusal>) -> Vec<ExplainedCheck> {
    let name = name.as_ref().map_or_else(|refusal| Answer::No(*refusal), |_| Answer::Pass);
    [("profile", profile), ("proof", Answer::Unknown), ("name", name)]
        .map(|(check, answer)| ExplainedCheck { check, answer })
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_of_admission_has_words_for_yes_and_for_unknown() {
        for check in admission::CHECKS {
            assert!(WORDINGS.iter().any(|wording| wording.check == check.name), "{}", check.name);
        }
    }
}
