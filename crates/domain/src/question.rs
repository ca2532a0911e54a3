//! What somebody else has to say before a decision: another people's logic behind a hook, or a person.
//!
//! A question belongs to a registration id under a profile. It is recorded with a summary of the request, never
//! with its evidence, and answered once; the device that asks again finds the answer.

use crate::{Profile, Timestamp};

/// A question. Never used twice, over all tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuestionId(pub u64);

impl std::fmt::Display for QuestionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What has to be asked. At least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The hook to be asked, by the name it has in the configuration.
    pub hook: Option<String>,
    /// Whether a person has to approve.
    pub person: bool,
}

impl Question {
    /// What a profile wants to have asked.
    pub fn of(profile: &Profile) -> Option<Question> {
        let question = Question { hook: profile.joining.hook.clone(), person: profile.joining.approval };
        (question.hook.is_some() || question.person).then_some(question)
    }
}

/// A question that stands in the registry, among the facts of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingQuestion {
    /// Which.
    pub id: QuestionId,
    /// What was said so far.
    pub verdict: Verdict,
    /// The moment from which on it counts for nothing.
    pub expires_at: Timestamp,
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The hook has not answered yet.
    AwaitsHook,
    /// A person has not decided yet.
    AwaitsPerson,
    /// It may come in.
    Allowed {
        /// Initial attributes that the answer brought; a JSON object.
        attributes: Option<String>,
    },
    /// It may not.
    Denied,
}

/// How long a question waits for its answer, and an answer for its device: a day, in milliseconds.
pub const KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// Most questions of a tenant that wait at once: who holds a group secret must not fill the registry.
pub const MOST_OPEN: u64 = 10_000;
/// Most answers of a tenant that wait for their device; beyond it the oldest are forgotten, and their devices are asked
/// about anew.
pub const MOST_ANSWERED: u64 = 10_000;
